"""The program that writes a study's numbers into the docs: only what was measured stands there."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="the program needs the training extra")
import selections
from painted_cohort import PaintedCohort

from cellnet.manifest import read_manifest


def estimate(value, low, high, n=10):
    return {"value": value, "ci95": [low, high], "n": n, "method": "test", "k": round(value * n)}


def report(seconds: float = 100.0, threads: int = 2) -> dict:
    """A study of two candidates, one of them dropped."""
    half = estimate(0.5, 0.4, 0.55)
    most = estimate(0.975, 0.95, 0.99, 984)
    second = {
        "epochs": 17, "failed": None, "accuracy": most,
        "cutoff": 0.61, "cutoff_ci95": [0.55, 0.7], "threshold": 0.1, "threshold_ci95": None,
        "by_cell": dict.fromkeys(("auc", "sensitivity", "specificity", "accuracy"), most),
        "by_smear": dict.fromkeys(("auc", "accuracy"), most),
    }  # fmt: skip
    published = {
        "source": "a thesis", "parameters": {"M1": 72977, "M5": 73249}, "dropped": ["M5"],
        "by_cell": {"M1": {"cutoff": 0.979, "accuracy": 0.977}},
        "by_smear": {"M1": {"threshold": 0.123}}, "proof_of_concept": {"sensitivity": 0.955},
    }  # fmt: skip
    division = {
        "name": "5-fold", "accuracy": {"mean": 0.97, "sd": 0.01, "ci95": [0.95, 0.99]},
        "auc": {"mean": 0.99, "sd": None, "ci95": None}, "pooled": most,
        "pooled_auc": {**most, "value": 0.981},
    }  # fmt: skip
    return {
        "created": "2027-01-02T00:00:00", "cellnet": "0.1.0", "warnings": ["toys"],
        "data": {"sources": ["PBC"], "counts": {"train": {"neutrophil": 6000}}, "simulated": "yes"},
        "environment": {"cores": "2", "machine": "x86_64"}, "first_stage": "drop who stays",
        "recipe": {
            "data": {"per_class": 600}, "training": {"epochs": 100},
            "first_stage": {"epochs": 20, "per_class": 200},
            "cross_validation": {"epochs": 8, "per_class": None},
        },
        "time": {
            "sessions": [{"seconds": seconds, "place": "this machine", "threads": threads}],
            "runs": {"a": {}},
        },
        "published": published,
        "candidates": {
            "M1": {"parameters": 72977, "stage2": second,
                   "stage1": {"accuracy": most, "balanced_accuracy": most, "goes_on": True,
                              "epoch_kept": 3, "epochs": 20}},
            "M5": {"parameters": 73249, "stage2": None,
                   "stage1": {"accuracy": half, "balanced_accuracy": half, "goes_on": False,
                              "epoch_kept": 1, "epochs": 20}},
        },
        "chosen": {"name": "M1", "rule": "the best", "order": ["M1"], "also_possible": []},
        "proof_of_concept": {
            "mds": 20, "healthy": 20,
            **dict.fromkeys(("accuracy", "sensitivity", "specificity", "precision", "auc"), most),
        },
        "cross_validation": {
            "cells": {"n": 6984, "groups": 900}, "divisions": [division],
            "by_image_minus_by_group": [
                {"folds": 5, "difference": {"value": 0.012, "ci95": [0.002, 0.02]},
                 "of_folds": {"value": 0.012, "ci95": [-0.01, 0.03]},
                 "tied_in_training": {"same": 10, "other": 2000}}
            ],
        },
    }  # fmt: skip


def given(folder: Path) -> argparse.Namespace:
    return argparse.Namespace(runs=folder, docs=folder / "results.md")


def test_what_was_not_measured_is_not_there(tmp_path):
    (tmp_path / "results.md").write_text("# Results\n\nA person's words.\n")
    selections.write_docs(given(tmp_path))
    text = (tmp_path / "results.md").read_text()
    assert "A person's words." in text
    assert "has not been run yet" in text
    assert "|" not in text


def test_a_study_is_told_in_tables_with_the_thesis_beside(tmp_path):
    place = tmp_path / selections.STUDY
    place.mkdir()
    (place / "report.json").write_text(json.dumps(report()))
    selections.write_docs(given(tmp_path))
    text = (tmp_path / "results.md").read_text()
    for line in (
        "| M1 | 72,977 | 72,977 | 97.5 % (95.0 to 99.0) of 984, epoch 3 of 20 "
        "| 97.5 % (95.0 to 99.0) | goes on | go",
        "| M5 | 73,249 | 73,249 | 50.0 % (40.0 to 55.0) of 10, epoch 1 of 20 "
        "| 50.0 % (40.0 to 55.0) | dropped | dropped",
        "| M1 | 17 | 97.5 % (95.0 to 99.0) | 0.6100 (0.5500 to 0.7000); thesis 0.979 |",
        "| 0.1000; thesis 0.123 |",
        "97.5 % (95.0 to 99.0); thesis 97.7 %",
        "| sensitivity | 97.5 % (95.0 to 99.0), 959 of 984 | 95.5 % |",
        "| precision | 97.5 % (95.0 to 99.0), 959 of 984 |  |",
        "| 5-fold | 97.00 % ± 1.00 % | 95.0 to 99.0 % | 0.9900 | 97.5 % (95.0 to 99.0) "
        "| 0.9810 (0.9500 to 0.9900) |",
        "by +1.20 percentage points (+0.20 to +2.00 of these networks; "
        "-1.00 to +3.00 over the folds)",
        "10 are of the cell's own kind and 2,000 of the other.",
        "**M1** is chosen: the best.",
    ):
        assert line in text, line
    assert "Side by side" not in text
    again = text
    selections.write_docs(given(tmp_path))
    assert (tmp_path / "results.md").read_text() == again


def test_the_divisions_where_a_cell_has_one_label_are_told_apart(tmp_path):
    place = tmp_path / selections.ONE_LABEL / "run"
    place.mkdir(parents=True)
    (place / "report.json").write_text(json.dumps(report()))
    selections.write_docs(given(tmp_path))
    text = (tmp_path / "results.md").read_text()
    assert "**Where a cell has one label**" in text
    assert "M1's form, up to 8 epochs of 600 images a class, run 2027-01-02." in text
    assert "| 5-fold | 97.00 % ± 1.00 % |" in text


def test_of_each_cell_one_kind_is_kept_and_the_test_sets_stay(tmp_path):
    made = PaintedCohort(tmp_path / "cohort")
    for number in range(40):
        for g in (0.0, 0.1, 0.8, 0.9):
            made.cell("train" if number % 4 else "validation", g=g, source_cell=f"{number}")
    for g in (0.1, 0.8):
        made.cell("test-by-cell", g=g, source_cell="tested")
    made.write()
    selections._keep_one_kind(made.folder, tmp_path / "kept")
    kept = read_manifest(tmp_path / "kept")
    assert len(kept.split("test-by-cell")) == 2
    kinds = {}
    for row in kept.split("train", "validation"):
        kinds.setdefault(row.source_cell, []).append(float(row.suppression) < 0.5)
    assert len(kinds) == 40
    assert all(len(found) == 2 and len(set(found)) == 1 for found in kinds.values())
    assert 10 < sum(found[0] for found in kinds.values()) < 30
    kept.check_files()
    assert (tmp_path / "kept" / "truth.csv").exists()


def test_times_are_compared_where_both_were_measured(tmp_path):
    for jobs, seconds, threads in ((1, 300.0, 16), (2, 200.0, 8)):
        place = tmp_path / selections.TIMES / f"jobs-{jobs}"
        place.mkdir(parents=True)
        (place / "report.json").write_text(json.dumps(report(seconds, threads)))
    selections.write_docs(given(tmp_path))
    text = (tmp_path / "results.md").read_text()
    assert (
        "300 s with `--jobs 1` (16 threads each), 200 s with `--jobs 2` (8 threads each), "
        "1.50 times as fast"
    ) in text


def test_threads_are_those_of_the_sessions():
    found = report(threads=1)
    assert selections._threads(found) == "1 thread"
    found["time"]["sessions"].append({"seconds": 1.0, "place": "there", "threads": 4})
    assert selections._threads(found) == "1 or 4 threads"


def test_a_candidate_that_could_not_be_judged_has_its_validation_accuracy(tmp_path):
    found = report()
    failed = {"epochs": 9, "failed": "no cut-off", "accuracy": estimate(0.52, 0.45, 0.6)}
    found["candidates"]["M5"]["stage2"] = failed
    text = selections.section(found, None, {1: None, 2: None})
    (row,) = [line for line in text.splitlines() if "no cut-off" in line]
    assert row.startswith("| M5 | 9 | 52.0 % (45.0 to 60.0) | no cut-off | ")
    head = next(line for line in text.splitlines() if line.startswith("| candidate | epochs |"))
    assert row.count("|") == head.count("|")


def test_steps_type_what_a_user_would(tmp_path, monkeypatch):
    typed = []
    monkeypatch.setattr(selections, "run", lambda *words: typed.append([str(w) for w in words]))
    monkeypatch.setattr(
        sys, "argv", ["selections.py", "study", "times", "--runs", str(tmp_path), "--data", "cells"]
    )
    (tmp_path / selections.STUDY).mkdir()
    (tmp_path / selections.STUDY / "recipe.yaml").touch()
    selections.main()
    assert typed[0][0] == "select"
    assert typed[0][-1] == "--resume"
    assert [words[:2] for words in typed[1:3]] == [["data", "prepare"], ["data", "simulate"]]
    assert [words[words.index("--jobs") + 1] for words in typed[3:]] == ["1", "2"]
    from cellnet.study import read_study

    timed = read_study(tmp_path / selections.TIMES / "recipe.yaml")
    assert timed.training.epochs == timed.first_stage.epochs == 1
    assert timed.cross_validation is None
