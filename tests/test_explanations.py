"""The program that measures the maps of the shipped models: what it keeps, and its tables."""

from __future__ import annotations

import argparse
import json

import explanations
import pytest


def estimate(value, n=12):
    return {"value": value, "ci95": [value - 0.01, value + 0.01], "n": n, "method": "test"}


def areas(shift):
    return {
        "n": 12,
        **{
            test: {
                "curves": {},
                "area": {order: estimate(0.1 * k + shift)
                         for k, order in enumerate(explanations.ORDERS, 1)},
                "map_less_random": estimate(-0.1),
                "map_less_centre": estimate(-0.2),
            }
            for test in explanations.TESTS
        },
    }  # fmt: skip


def document(name):
    space = {"dimensions": 7, "same_label": estimate(0.5), "silhouette": estimate(0.25)}
    has_masks = name.endswith("-masks")
    row = {"label": "neutrophil", "part": "cell", "n": 12, "faint": 0, "weight": estimate(0.5),
           "area": estimate(0.25), "weight_less_area": estimate(0.25), "others": estimate(0.4, 11),
           "weight_less_others": estimate(0.1, 11)}  # fmt: skip
    return {
        "created": "2024-01-01",
        "model": {"name": name.removesuffix("-masks"), "version": "1.0.0", "sha256": "0" * 64},
        "map": {}, "seen": None, "largest_difference": 0.01, "grouped_by": None, "warnings": [],
        "cells": [{"file": "a.png", "faint": name == "model1"}, {"file": "b.png", "faint": False}],
        "unreadable": [],
        "embedding": None if has_masks else {
            "n": 12, "labels": {"a": 6, "b": 6}, "spaces": {"pixels": space, "features": space},
            "features_less_pixels": {key: space[key] for key in ("same_label", "silhouette")},
            "cells": [{"file": "a.png"}],
        },
        "faithfulness": None if has_masks else {
            "n": 12, "all": areas(0), "by_target": {"granular": areas(0.3)},
            "cells": [{"file": "a.png"}],
        },
        "masks": {"n": 12, "rows": [row], "cells": [{"file": "a.png"}]} if has_masks else None,
    }  # fmt: skip


@pytest.fixture
def given(tmp_path) -> argparse.Namespace:
    for name in explanations.STUDIES:
        (tmp_path / name).mkdir()
        text = json.dumps(document(name))
        (tmp_path / name / "explanations.json").write_text(text)
    return argparse.Namespace(work=tmp_path, docs=tmp_path / "results.md")


def test_tables_stand_between_their_marks_and_leave_the_rest(given):
    given.docs.write_text("# Results\n\nBefore.\n\n<!-- explanations: begin -->\nold\n"
                          "<!-- explanations: end -->\n\nAfter.\n")  # fmt: skip
    explanations.write_results(given)
    explanations.write_docs(given)
    text = given.docs.read_text("utf-8")
    assert text.startswith("# Results\n\nBefore.\n") and text.endswith("\n\nAfter.\n")
    assert "old" not in text
    for line in (
        "| model1 | each cell's own answer | 12 | deletion | 0.100 (0.090 to 0.110) | "
        "0.200 (0.190 to 0.210) | 0.300 (0.290 to 0.310) | -0.100 (-0.110 to -0.090) | "
        "-0.200 (-0.210 to -0.190) |",
        "| dysplasianet | neutrophil | cell | 12 (11 with others) | 50.0 (49.0 to 51.0) | "
        "25.0 (24.0 to 26.0) | 25.0 (24.0 to 26.0) | 40.0 (39.0 to 41.0) | 10.0 (9.0 to 11.0) |",
        "| model1 | 2 | 12 | pixels | 7 | 50.0 (49.0 to 51.0) | 0.250 (0.240 to 0.260) |",
        "Cells whose map is faint: 1 of 2 (model1).",
    ):
        assert line in text.splitlines(), line
    assert "| dysplasianet | granular | 12 | insertion | 0.400 (0.390 to 0.410) |" in text
    explanations.write_docs(given)
    assert given.docs.read_text("utf-8") == text


def test_what_is_said_of_single_cells_is_not_kept(given):
    explanations.write_results(given)
    text = (given.work / "results.json").read_text("utf-8")
    assert "a.png" not in text
    assert json.loads(text)["model1"]["cells"] == 2


def test_a_new_page_of_results_is_begun(given):
    explanations.write_results(given)
    explanations.write_docs(given)
    assert given.docs.read_text("utf-8").startswith("# Results\n\n## Explanations\n")


def test_results_need_every_study(given):
    (given.work / "model1" / "explanations.json").unlink()
    with pytest.raises(SystemExit, match="make the steps before 'results'"):
        explanations.write_results(given)
