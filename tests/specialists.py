"""Train and measure the second specialist, band against segmented neutrophils, for the docs.

A program (``make specialists``). Each step prints the ``cellnet`` command that it runs:

    data      RUNS/maturity/data: PBC, divided as the shipped models were trained
    train     RUNS/maturity/run of training/neutrophil-maturity.yaml; goes on where it stopped

These two are made where no step is named. Whoever releases the bundle names the others too, which
write into the project:

    copy      its bundle to models/neutrophil-maturity; what else stands there stays
    measure   the test side, once; recorded in the bundle and its card
    docs      docs/results.md and the README's table of what was recorded
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from programs import ROOT, copy_bundle, data_of, program, run, run_steps
from release import SPLIT

from cellnet import card
from cellnet.bundle import Bundle, load
from cellnet.card import table
from cellnet.card_tables import share
from cellnet.measured_page import decimal
from cellnet.outputs import write_text
from cellnet.record import read_metrics

NAME = "neutrophil-maturity"
MARKS = "specialists"
RECIPE = ROOT / "training" / f"{NAME}.yaml"
RECORD = "pbc-test"
NOTE = "PBC, band and segmented neutrophils that trained nothing"


def main() -> None:
    """Run the steps that were asked for."""
    parser = program(__doc__, "PBC, one folder a class")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="the bundle goes here")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    given = parser.parse_args()
    given.work = given.runs / "maturity"
    given.work.mkdir(parents=True, exist_ok=True)
    steps = {"data": prepare, "train": train, "copy": copy, "measure": measure, "docs": write_docs}
    run_steps(given, steps, named=("copy", "measure", "docs"))


def prepare(given: argparse.Namespace) -> None:
    """Divide PBC as it was divided for Model 1, so that both are tested on what trained neither."""
    run("data", "prepare", data_of(given), "--adapter", "pbc", "--seed", 1, "--sides", SPLIT,
        "--out", given.work / "data")  # fmt: skip


def train(given: argparse.Namespace) -> None:
    """Train, or go on."""
    folder = given.work / "run"
    resume = ["--resume"] if (folder / "recipe.yaml").is_file() else []
    run("train", RECIPE, "--data", given.work / "data", "--run", folder, *resume)


def copy(given: argparse.Namespace) -> None:
    """Copy the bundle of the finished run."""
    copy_bundle(given.work / "run", given.models / NAME)


def measure(given: argparse.Namespace) -> None:
    """Evaluate on the test side and record; the whole answer goes beside the run."""
    beside = given.work / "evaluation"
    run("evaluate", given.models / NAME, given.work / "data", "--record", RECORD, "--note", NOTE,
        "--out", f"{beside}.json", "--html", f"{beside}.html")  # fmt: skip


def write_docs(given: argparse.Namespace) -> None:
    """Put the tables between their marks."""
    text = given.docs.read_text(encoding="utf-8") if given.docs.is_file() else "# Results\n"
    bundle = load(given.models / NAME)
    write_text(given.docs, card.replace(text, MARKS, section(bundle)))
    text = given.readme.read_text(encoding="utf-8")
    write_text(given.readme, card.replace(text, card.README_BLOCK, card.readme_table(given.models)))
    print(f"wrote {given.docs} and {given.readme}", flush=True)


def section(bundle: Bundle) -> str:
    """Markdown of what was recorded of the second specialist."""
    found = read_metrics(bundle).get(RECORD)
    if found is None:
        sys.exit(f"cellnet: error: {bundle.folder} has no record '{RECORD}'; make the step measure")
    told, counts = bundle.description, bundle.description["data"]["cells"]["counts"]
    first, second = bundle.classes
    course = told["training"]
    cells = {
        side: ", ".join(f"{counts[side].get(name, 0):,} {name}" for name in bundle.classes)
        for side in ("train", "validation", "test")
    }
    rows = [
        _row("accuracy", found["accuracy"]),
        _row("balanced accuracy", found["balanced_accuracy"]),
        *(
            _row(f"sensitivity, {name}", found["per_class"][name]["sensitivity"])
            for name in bundle.classes
        ),
        _row(f"AUC, {first} against {second}", found["per_class"][first]["auc"], decimal),
        _row("named `other`", found["other"]),
    ]
    matrix = found["confusion"]
    lines = [
        "Written by `make specialists`: "
        f"{bundle.name} {bundle.version}, {told['network']['parameters']:,} parameters, "
        f"{course['epochs_run']} epochs; kept is epoch {course['epoch_kept']}, the best by "
        f"balanced accuracy on the validation side ({share(course['val_balanced_accuracy'])}).",
        "",
        f"Trained on {cells['train']}; epoch chosen on {cells['validation']}; measured once on "
        f"{found['n']:,} cells of the test side ({cells['test']}). The division is that of the "
        "shipped models (`prepare --seed 1`, kept in `training/splits/pbc.csv`): the test side "
        "trained none of them.",
        "",
        table(["measure", "value", "95 % interval", "n"], rows, right=(1, 3)),
        "",
        "Cells by truth (row) and answer:",
        "",
        table(
            ["", *matrix["columns"]],
            [[name, *counted] for name, counted in
             zip(matrix["rows"], matrix["counts"], strict=True)],
            right=range(1, len(matrix["columns"]) + 1),
        ),
        "",
        *(f"- Caution: {text}." for text in found["warnings"]),
    ]  # fmt: skip
    return "\n".join(lines)


def _row(title: str, found: dict[str, Any], write=share) -> list[str]:
    ends = "" if found["ci95"] is None else " to ".join(write(end) for end in found["ci95"])
    return [title, write(found["value"]), ends, f"{found['n']:,}"]


if __name__ == "__main__":
    main()
