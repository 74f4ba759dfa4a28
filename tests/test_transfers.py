"""The program that measures chapters 2 and 4: what its tables say beside an accuracy."""

from __future__ import annotations

import transfers

from cellnet.answer_measures import SHARES
from cellnet.measured_page import majority


def estimate(value):
    return {"value": value, "ci95": [value - 0.01, value + 0.01], "n": 40, "method": "test"}


AVERAGE = {share: {"mean": 0.5, "sd": 0.1, "classes": 2} for share in SHARES}
MEASURED = {"accuracy": estimate(0.7), "balanced_accuracy": estimate(0.6), "average": AVERAGE}


def test_the_majority_by_hand():
    assert majority({"ig": 1, "neutrophil": 3}) == "75.0 % (neutrophil)"
    assert majority({"ig": 2, "neutrophil": 2}) == "50.0 %"  # neither is the most frequent
    assert majority({"ig": 0}) == majority({}) == "–"
    assert majority({"ig": 9_999, "neutrophil": 1}) == "99.9 % (ig)"  # never rounded up to all


def test_machines_stand_beside_the_share_of_the_most_frequent_group():
    report = {
        "name": "small",
        "cells": {"n": 40, "seen_by_a_network": 3, "by_group": {"ig": 10, "neutrophil": 30}},
        "folds": {"n": 5},
        "groups": None,
        "results": [
            {"features": {"backbone": "vgg16", "layer": "fc1", "features": 9,
                          "weights": {"from": "random"}},
             "kernel": "rbf", "by_fold": {"mean": 0.7, "sd": 0.1}, **MEASURED}
        ],
    }  # fmt: skip
    lines = list(transfers._machines(report))
    assert lines[0].endswith(
        "3 cells that model1 had seen were left out; "
        "always saying the most frequent would give 75.0 % (neutrophil):"
    )
    assert "70.0 (69.0 to 71.0)" in lines[-1]


def test_each_side_of_fine_tuning_stands_beside_its_own_share():
    """The sides are of different mixes: an accuracy of the one is no measure for the other."""
    form = {"free": 1, "images_per_class": 8, "accuracy": estimate(0.5)}
    report = {
        "name": "tuned",
        "cells": {"train": {"ig": 1, "neutrophil": 99}, "validation": {"ig": 30, "neutrophil": 10},
                  "test": {"ig": 16, "neutrophil": 24}},
        "epochs": 2,
        "images_per_class": [8],
        "free_blocks": [1],
        "results": [
            {"backbone": "vgg16", "preprocessing": {"height": 32}, "weights": {"from": "random"},
             "blocks": 3, "forms": [form], "chosen": form,
             "tests": {"balanced": {"n": 40, **MEASURED}}}
        ],
    }  # fmt: skip
    text = "\n".join(transfers._tuning(report))
    validation, test = text.split("Chosen:")
    assert "(40 cells; always saying the most frequent class would give 75.0 % (ig))" in validation
    assert "always saying the most frequent class would give 60.0 % (neutrophil)" in test
    assert "cannot be compared where their mixes differ" in test
