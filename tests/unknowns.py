"""Train Model 1 without a class, ask what it calls that class, and write the numbers into the docs.

A program (``make unknown-cells``). Each step prints the ``cellnet`` command that it runs, and goes
on where it was stopped. Steps may be named; without any, the first three are made:

    data       RUNS/unknown/data: the cells, divided
    train      RUNS/unknown/NAME of each recipe of RECIPES; some ten minutes each on two cores
    measure    `cellnet unknown` of each, its answer and page in RUNS/unknown/NAME
    model1     `cellnet evaluate` of the shipped Model 1 on PBC, divided as it was trained: the
               report with the thesis's figures
    docs       docs/results.md of all that has been measured
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from programs import ROOT, data_of, program, run, run_steps
from release import SPLIT

from cellnet import card
from cellnet.card import table
from cellnet.evaluate import THESIS
from cellnet.measured_page import decimal, majority, percent
from cellnet.outputs import write_text
from cellnet.unknown_page import NAMES, verdict

RECIPES = ("model1-without-ig", "model1-without-erythroblast")
UNKNOWN, MODEL1 = "unknown cells", "chapter six model"
SEED = 1


def main() -> None:
    """Run the steps that were asked for."""
    parser = program(__doc__, "PBC: a folder with one sub-folder a class")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="shipped bundles")
    given = parser.parse_args()
    given.work = given.runs / "unknown"
    given.work.mkdir(parents=True, exist_ok=True)
    steps = {
        "data": prepare,
        "train": train,
        "measure": measure,
        "model1": measure_model1,
        "docs": write_docs,
    }
    run_steps(given, steps, named=("model1", "docs"))


def prepare(given: argparse.Namespace) -> None:
    """Divide the cells, once."""
    if not (given.work / "data" / "manifest.csv").exists():
        run("data", "prepare", data_of(given), "--adapter", "pbc", "--out", given.work / "data",
            "--seed", SEED)  # fmt: skip


def train(given: argparse.Namespace) -> None:
    """Train each recipe, or go on with it."""
    for name in RECIPES:
        place = given.work / name
        if (place / "bundle" / "bundle.json").exists():
            continue
        more = ["--resume"] if (place / "recipe.yaml").exists() else []
        run("train", ROOT / "training" / f"{name}.yaml", "--data", given.work / "data",
            "--run", place, *more)  # fmt: skip


def measure(given: argparse.Namespace) -> None:
    """Ask each what it calls the class that it never saw."""
    for name in RECIPES:
        place = given.work / name
        run("unknown", place / "bundle", given.work / "data", "--out", place / "unknown.json",
            "--html", place / "unknown.html")  # fmt: skip


def measure_model1(given: argparse.Namespace) -> None:
    """Make the report of the shipped Model 1 on what trained it not; nothing is recorded."""
    data = given.work / "data-of-model1"
    if not (data / "manifest.csv").exists():
        run("data", "prepare", data_of(given), "--adapter", "pbc", "--out", data,
            "--seed", SEED, "--sides", SPLIT)  # fmt: skip
    run("evaluate", given.models / "model1", data, "--out",
        given.work / "model1.json", "--html", given.work / "model1.html")  # fmt: skip


def write_docs(given: argparse.Namespace) -> None:
    """Put the tables between their marks; what has not been measured is not there."""
    studies = [
        (_read(given.work / name / "unknown.json"), _read(given.work / name / "bundle/bundle.json"))
        for name in RECIPES
    ]
    metrics = _read(given.models / "model1" / "metrics.json") or {"evaluations": {}}
    report = _read(given.work / "model1.json")
    text = given.docs.read_text(encoding="utf-8") if given.docs.is_file() else "# Results\n"
    text = card.replace(text, MODEL1, model1_section(metrics["evaluations"], report))
    done = [(found, bundle) for found, bundle in studies if found and bundle]
    write_text(given.docs, card.replace(text, UNKNOWN, unknown_section(done)))
    print(f"wrote {given.docs}", flush=True)


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


# --- Model 1 -----------------------------------------------------------------------------------


def model1_section(evaluations: dict[str, Any], report: dict[str, Any] | None) -> str:
    """Markdown of the shipped Model 1's numbers beside the thesis's.

    Args:
        evaluations: By name, of its ``metrics.json``.
        report: What ``cellnet evaluate`` answered of the same weights and cells, for the mean ROC
            curve; None where it has not been made.
    """
    found = evaluations.get("pbc-test")
    if found is None:
        return "The shipped Model 1 has not been measured on PBC."
    rows = [
        [
            "balanced accuracy (table 6.2)",
            _both(found["balanced_accuracy"]),
            f"{percent(THESIS['balanced_accuracy'])} %",
        ],
        ["accuracy", _both(found["accuracy"]), ""],
        ["called other", _both(found["other"]), ""],
    ]
    same = report is not None and report["model"]["sha256"] == found["model"]["sha256"]
    if same and report["data"].get("manifest_sha256") and report["n"] == found["n"]:
        rows.append(
            ["AUC of the mean ROC curve (figure 6.4)", _both(report["macro_roc"]["auc"], 4), ""]
        )
    told = (
        "The curves of figures 6.2 and 6.4 are on the page of `cellnet evaluate MODEL MANIFEST "
        "--html FILE`."
    )
    if same and not report["training"]["history"]:
        told += (
            " The shipped bundle was trained before bundles kept the course of their training, so "
            "its page has no figure 6.2; the courses of two other Models 1 stand below."
        )
    parts = [
        f"{found['model']['name']} {found['model']['version']} on {found['n']:,} cells of "
        f"{'; '.join(found['data']['sources'])}, split `{found['split']}`, measured "
        f"{found['created'][:10]}; written by `make unknown-cells STEPS=docs` from its "
        "`metrics.json`. In brackets: 95 % intervals. Thesis: on its own cells, which were never "
        "published. Where a field is empty, its value was not at hand.",
        table(["measure", "here", "thesis"], rows),
        table(
            ["class", "cells", "sensitivity", "specificity", "precision", "AUC"],
            [
                [
                    name,
                    f"{row['cells']:,}",
                    *(_both(row[key]) for key in ("sensitivity", "specificity", "precision")),
                    _both(row["auc"], 4),
                ]
                for name, row in found["per_class"].items()
            ],
            right=(1,),
        ),
        "Confusion matrix (figure 6.3), cells by truth (row) and answer (column):",
        _matrix(found["confusion"]["columns"], found["confusion"]["rows"],
                found["confusion"]["counts"]),
        told,
        f"Caution: {'; '.join(found['warnings'])}.",
    ]  # fmt: skip
    return "\n\n".join(parts)


def _matrix(columns: list[str], names: list[str], counts: list[list[int]]) -> str:
    rows = [
        [name, *(str(count) if count else "" for count in row)]
        for name, row in zip(names, counts, strict=True)
    ]
    return table(["", *columns], rows, right=range(1, len(columns) + 1))


# --- unknown cells -----------------------------------------------------------------------------


def unknown_section(studies: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Markdown of the experiments.

    Args:
        studies: For each what ``cellnet unknown`` answered, and the model's ``bundle.json``.
    """
    if not studies:
        return "The experiment has not been run yet."
    return "\n\n".join(part for found, bundle in studies for part in _study(found, bundle))


def _study(found: dict[str, Any], bundle: dict[str, Any]) -> Iterator[str]:
    model, known, strange = found["model"], found["known"]["n"], found["unknown"]["n"]
    training = bundle.get("training") or {}
    rule, rows = found["called_other"], found["matrix"]["rows"]
    columns = found["matrix"]["columns"]
    right = sum(row["counts"][columns.index(row["name"])] for row in rows if row["known"])
    yield (
        f"**{model['name']} {model['version']}** (weights `{model['sha256'][:12]}`, epoch "
        f"{training.get('epoch_kept')} of {training.get('epochs_run')}), trained without "
        f"{', '.join(found['left_out'])}; measured {found['created'][:10]} on "
        f"{'; '.join(found['data']['sources'])}: {known:,} known cells of the split "
        f"`{found['split']}`, {strange:,} unknown ones of all sides, since none of them trained "
        f"anything. Of the known cells {percent(right / known)} % are named right; always saying "
        f"the most frequent class would give {majority(found['known']['counts'])}. AUC counts "
        "known cells in this mix, too. In brackets: 95 % intervals."
    )
    history = training.get("history")
    if history:
        yield (
            "Its course (figure 6.2), an epoch after the other: accuracy on validation cells, %, "
            f"{_course(history['val_accuracy'])}; in training, %, {_course(history['accuracy'])}."
        )
    yield (
        f"The rule, {found['rule']}: of the unknown cells {_both(rule['unknown'])} are called "
        f"other, of the known ones, wrongly, {_both(rule['known'])}."
    )
    yield _matrix(
        columns,
        [row["name"] + ("" if row["known"] else " (unknown)") for row in rows],
        [row["counts"] for row in rows],
    )
    yield table(
        ["score", "AUC", "unknown cells that pass where 95 % of the known ones do",
         "unknown cells found at the rule's price"],
        [
            [NAMES[name], _both(it["auc"], 4), _both(it["fpr_at_95_tpr"]),
             _both(it["found_at_rule"])]
            for name, it in found["scores"].items()
        ],
    )  # fmt: skip
    held = [
        NAMES[name]
        for name, it in found["scores"].items()
        if "bootstrap" not in it["found_at_rule"]["method"]
    ]
    if held:
        yield (
            "In the last column the interval takes the cut as given, though known cells set it, "
            f"and is too narrow: {', '.join(held)}."
        )
    yield "\n".join(
        f"- {told[0].upper() + told[1:]}." for told in map(verdict, found["differences"])
    )
    fitted = found["fitted"]
    if not fitted["problem"]:
        yield (
            f"Distances: {sum(fitted['cells'].values()):,} cells of the side `{fitted['split']}`, "
            f"layer `{fitted['layer']}` ({fitted['features']:,} values), shrinkage "
            f"{fitted['shrinkage']:.4f}."
        )
    yield f"Caution: {'; '.join(found['warnings'])}."


def _course(values: list[float]) -> str:
    return ", ".join(percent(value) for value in values)


def _both(found: dict[str, Any], digits: int | None = None) -> str:
    """A value with its interval: a share in percent, or a number with so many digits."""

    def write(value: float) -> str:
        return percent(value) if digits is None else decimal(value, digits)

    if found["value"] is None:
        return "not measurable"
    told = write(found["value"]) + (" %" if digits is None else "")
    if found["ci95"] is None:
        return told
    return f"{told} ({' to '.join(write(end) for end in found['ci95'])})"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
