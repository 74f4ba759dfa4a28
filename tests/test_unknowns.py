"""The program that runs the experiment on unknown cells: its tables, and what it does not claim."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import unknowns

from cellnet.cells import CLASSES
from cellnet.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[1]


def estimate(value, n=40, k=None):
    found = {"value": value, "ci95": [value - 0.01, value + 0.01], "n": n, "method": "test"}
    return found if k is None else {**found, "k": k}


def score(value):
    return {"auc": estimate(value), "fpr_at_95_tpr": estimate(0.25, k=5),
            "found_at_rule": {**estimate(0.5, k=10), "method": "stratified bootstrap"}}  # fmt: skip


def difference(of, less, value):
    return {"of": of, "less": less, "auc": estimate(value), "fpr_at_95_tpr": estimate(-value)}


def answer(name, left_out):
    known = [label for label in CLASSES if label != left_out]
    rows = [
        {"name": label, "known": True, "n": 4,
         "counts": [3 * (column == label) + (column == "other") for column in (*CLASSES, "other")]}
        for label in known
    ]  # fmt: skip
    rows.append({"name": left_out, "known": False, "n": 20, "counts": [0] * 6 + [12, 0, 8]})
    return {
        "model": {"name": name, "version": "1.0.0", "sha256": "ab" * 32},
        "left_out": [left_out],
        "data": {"sources": ["PBC"]},
        "split": "test",
        "created": "2024-01-01T00:00:00",
        "known": {"n": 28, "counts": dict.fromkeys(known, 3) | {"neutrophil": 10}},
        "unknown": {"n": 20},
        "rule": "the class with a probability over 0.5, else other",
        "called_other": {"known": estimate(0.25, 28, 7), "unknown": estimate(0.4, 20, 8)},
        "matrix": {"columns": [*CLASSES, "other"], "rows": rows},
        "scores": {"probability": score(0.8), "energy": score(0.7), "mahalanobis": score(0.9)},
        "differences": [
            difference("energy", "probability", -0.1),
            difference("mahalanobis", "probability", 0.1),
            difference("mahalanobis", "energy", 0.005),
        ],
        "fitted": {"problem": None, "cells": {"basophil": 30}, "split": "train", "layer": "dense2",
                   "features": 1024, "shrinkage": 0.0123},
        "warnings": ["no patient is known"],
    }  # fmt: skip


@pytest.fixture
def given(tmp_path) -> argparse.Namespace:
    work = tmp_path / "unknown"
    for name, left_out in zip(unknowns.RECIPES, ("ig", "erythroblast"), strict=True):
        (work / name / "bundle").mkdir(parents=True)
        (work / name / "unknown.json").write_text(json.dumps(answer(name, left_out)))
        history = {"epoch": [1, 2], "accuracy": [0.4, 0.71], "val_accuracy": [0.5, 0.625]}
        told = {"training": {"epoch_kept": 8, "epochs_run": 9, "history": history}}
        (work / name / "bundle" / "bundle.json").write_text(json.dumps(told))
    return argparse.Namespace(
        work=work, models=ROOT / "models", docs=tmp_path / "results.md"
    )  # fmt: skip


def test_tables_stand_between_their_marks_and_leave_the_rest(given):
    given.docs.write_text("# Results\n\nBefore.\n\n<!-- unknown cells: begin -->\nstale\n"
                          "<!-- unknown cells: end -->\n\nAfter.\n")  # fmt: skip
    unknowns.write_docs(given)
    text = given.docs.read_text("utf-8")
    assert text.startswith("# Results\n\nBefore.\n") and "\n\nAfter.\n" in text
    assert "stale" not in text
    for line in (
        "| 1 - largest probability | 0.8000 (0.7900 to 0.8100) | 25.0 % (24.0 to 26.0) | "
        "50.0 % (49.0 to 51.0) |",
        "| ig (unknown) |  |  |  |  |  |  | 12 |  | 8 |",
        "- 1 - largest probability is better by AUC than energy (energy: AUC 0.100 lower, "
        "difference -0.110 to -0.090); with energy 10.0 percentage points more of the unknown "
        "cells pass at 95 % (+9.0 to +11.0).",
        "- Mahalanobis distance and energy cannot be told apart by AUC (AUC 0.005 higher, "
        "difference -0.005 to +0.015).",
    ):
        assert line in text.splitlines(), line
    assert (
        "Of the known cells 75.0 % are named right; always saying the most frequent class" in text
    )
    assert "would give 35.7 % (neutrophil)" in text
    assert "accuracy on validation cells, %, 50.0, 62.5; in training, %, 40.0, 71.0." in text
    assert "of the unknown cells 40.0 % (39.0 to 41.0) are called other" in text
    unknowns.write_docs(given)
    assert given.docs.read_text("utf-8") == text


def test_intervals_that_hold_their_cut_are_told(given):
    unknowns.write_docs(given)
    assert "takes the cut as given" not in given.docs.read_text("utf-8")
    told = answer(unknowns.RECIPES[0], "ig")
    told["scores"]["energy"]["found_at_rule"]["method"] = "clopper-pearson"
    (given.work / unknowns.RECIPES[0] / "unknown.json").write_text(json.dumps(told))
    unknowns.write_docs(given)
    assert "takes the cut as given, though known cells set it, and is too narrow: energy." in (
        given.docs.read_text("utf-8")
    )


def test_the_shipped_model_stands_beside_the_thesis(given):
    unknowns.write_docs(given)
    text = given.docs.read_text("utf-8")
    metrics = json.loads((ROOT / "models/model1/metrics.json").read_text())
    value = 100 * metrics["evaluations"]["pbc-test"]["balanced_accuracy"]["value"]
    line = next(it for it in text.splitlines() if it.startswith("| balanced accuracy"))
    assert f"{value:.1f} %" in line and line.endswith("| 95.4 % |")
    assert "figure 6.4) |" not in text  # the mean curve has not been made of these weights
    report = {
        "model": metrics["evaluations"]["pbc-test"]["model"],
        "data": {"manifest_sha256": "0" * 64},
        "n": metrics["evaluations"]["pbc-test"]["n"],
        "macro_roc": {"auc": estimate(0.9875)},
        "training": {"epoch_kept": 1, "history": None},
    }
    (given.work / "model1.json").write_text(json.dumps(report))
    unknowns.write_docs(given)
    text = given.docs.read_text("utf-8")
    assert "0.9875 (0.9775 to 0.9975)" in text and "its page has no figure 6.2" in text


def test_what_was_not_run_is_not_there(given):
    for name in unknowns.RECIPES:
        (given.work / name / "unknown.json").unlink()
    unknowns.write_docs(given)
    assert "The experiment has not been run yet." in given.docs.read_text("utf-8")


def test_the_recipes_differ_in_what_they_leave_out_alone():
    recipes = [read_recipe(ROOT / "training" / f"{name}.yaml") for name in unknowns.RECIPES]
    assert [recipe.data.left_out for recipe in recipes] == [("ig",), ("erythroblast",)]
    plain = [
        recipe.model_copy(
            update={"name": "", "data": recipe.data.model_copy(update={"left_out": ()})}
        )
        for recipe in recipes
    ]
    assert plain[0] == plain[1]


def test_the_page_says_what_the_tables_say():
    """The decimals in the prose of docs/unknown.md stand in the tables of docs/results.md."""
    tables = (ROOT / "docs" / "results.md").read_text("utf-8")
    tables = tables.split("<!-- unknown cells: begin -->")[1]
    tables = tables.split("<!-- unknown cells: end -->")[0]
    prose = (ROOT / "docs" / "unknown.md").read_text("utf-8").split("## What was found")[1]
    numbers = set(re.findall(r"\d+\.\d+", prose)) - {"0.5"}
    assert len(numbers) > 8
    for number in numbers:
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", tables), number
