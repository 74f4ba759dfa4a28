"""Measure chapters 2 and 4 with weights of one's own, and write the numbers into the docs.

A program (``make transfers``), for machines that ImageNet's weights are out of reach of: it draws
cells, trains a small backbone on them, types ``cellnet transfer`` with the recipes below, and puts
tables of the reports between the marks of ``docs/results.md``. Each step prints the ``cellnet``
command that it runs, and goes on where it was stopped. Steps may be named; without any, all but the
last are made in this order:

    drawn      RUNS/drawn-400, cells drawn from nothing
    backbone   RUNS/backbone-drawn, trained on them
    NAME       RUNS/NAME of training/NAME.yaml: features-svm-models, features-svm-drawn,
               chapter2-svm-drawn, finetuning-drawn
    docs       docs/results.md of the four reports
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from programs import ROOT, data_of, program, run, run_steps

from cellnet import card
from cellnet.answer_measures import SHARES
from cellnet.measured_page import interval, majority, percent
from cellnet.outputs import write_text

NAME = "transfer learning"
MACHINES = ("features-svm-models", "features-svm-drawn", "chapter2-svm-drawn")
TUNING = "finetuning-drawn"
TRAINING = ROOT / "training"


def main() -> None:
    """Run the steps that were asked for."""
    given = program(__doc__, "PBC, or a folder made of it by data prepare").parse_args()
    if not given.steps:
        data_of(given)  # said before the backbone is trained, which needs none
    steps = {
        "drawn": draw,
        "backbone": train,
        **{name: partial(study, name=name) for name in (*MACHINES, TUNING)},
        "docs": write_docs,
    }
    run_steps(given, steps)


def draw(given: argparse.Namespace) -> None:
    """Draw cells, where they are not drawn yet."""
    out = given.runs / "drawn-400"
    if not (out / "manifest.csv").exists():
        run("data", "draw", "--out", out, "--seed", 20, "--per-class", 400, "--smears", 0)


def train(given: argparse.Namespace) -> None:
    """Train the backbone on them."""
    place = given.runs / "backbone-drawn"
    if not (place / "bundle").exists():
        recipe = TRAINING / "backbone-drawn.yaml"
        run("train", recipe, "--data", given.runs / "drawn-400", "--run", place, *_on(place))


def study(given: argparse.Namespace, name: str) -> None:
    """Run one of the recipes, with the weights of the backbone where it was trained."""
    place = given.runs / name
    if not (place / "report.json").exists():
        text = (TRAINING / f"{name}.yaml").read_text(encoding="utf-8")
        recipe = given.runs / f"{name}.yaml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_text(recipe, text.replace("runs/backbone-drawn/", f"{given.runs}/backbone-drawn/"))
        run("transfer", recipe, "--data", data_of(given), "--run", place, *_on(place))


def _on(place: Path) -> list[str]:
    return ["--resume"] if (place / "recipe.yaml").exists() else []


def write_docs(given: argparse.Namespace) -> None:
    """Put the tables between their marks."""
    found = {
        name: json.loads((given.runs / name / "report.json").read_text(encoding="utf-8"))
        for name in (*MACHINES, TUNING)
    }
    log = given.runs / "backbone-drawn" / "log.csv"
    with log.open(encoding="utf-8", newline="") as file:
        epochs = [float(row["val_balanced_accuracy"]) for row in csv.DictReader(file)]
    text = given.docs.read_text(encoding="utf-8") if given.docs.is_file() else "# Results\n"
    write_text(given.docs, card.replace(text, NAME, section(found, epochs)))
    print(f"wrote {given.docs}", flush=True)


def section(found: dict[str, Any], epochs: list[float]) -> str:
    """Markdown of four reports, and of the backbone's validation figure by epoch."""
    days = sorted({report["created"][:10] for report in found.values()})
    lines = [
        "Written by `make transfers` (recipes of the same names in `training/`), "
        f"{' to '.join(dict.fromkeys((days[0], days[-1])))}, on two processor cores. ImageNet's "
        "weights were out of reach of that machine, so **no number here is a result of the "
        "thesis's method**: weights are this project's own models' (`model`), a MobileNet's "
        "(quarter width, 96 pixels) that was trained on drawn cells and has seen no photograph "
        "(`file`), or random (a control). Published with ImageNet's weights on the whole of PBC "
        "(Acevedo et al., Computer Methods and Programs in Biomedicine 180 (2019) 105020): "
        "machines on features of VGG-16 86 %, of Inception-v3 90 %; fine-tuned 96 % and 95 %. The "
        "values of the thesis's tables 2.1 and 4.3 were not at hand.",
        "",
        f"The MobileNet was trained for {len(epochs)} epochs; the best names "
        f"{percent(max(epochs))} % of drawn cells that it had not seen (balanced accuracy). In "
        "brackets: 95 % intervals. PBC names no patients, so all of this is optimistic.",
    ]
    for name in MACHINES:
        lines += ["", *_machines(found[name])]
    lines += ["", *_tuning(found[TUNING])]
    return "\n".join(lines)


def _machines(report: dict[str, Any]) -> Iterator[str]:
    cells, folds = report["cells"], report["folds"]["n"]
    among = f"{len(report['groups'])} groups" if report["groups"] else "eight classes"
    told = f"`{report['name']}`: {cells['n']:,} photographed cells, {among}, {folds} folds"
    if cells["seen_by_a_network"]:
        told += f"; {cells['seen_by_a_network']:,} cells that model1 had seen were left out"
    told += f"; always saying the most frequent would give {majority(cells['by_group'])}"
    yield f"{told}:"
    yield ""
    yield (
        "| features | weights | kernel | accuracy, % | balanced accuracy, % "
        "| mean ± sd over folds, % "
        "| mean ± sd over classes: sensitivity, specificity, precision, % |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for it in report["results"]:
        layer = f"{it['features']['backbone']} {it['features']['layer']}"
        yield (
            f"| {layer}, {it['features']['features']:,} | {it['features']['weights']['from']} "
            f"| {it['kernel']} | {_estimate(it['accuracy'])} "
            f"| {_estimate(it['balanced_accuracy'])} "
            f"| {percent(it['by_fold']['mean'])} ± {percent(it['by_fold']['sd'])} "
            f"| {_average(it['average'])} |"
        )
    if report["groups"]:
        best = max(report["results"], key=lambda it: it["accuracy"]["value"])
        yield ""
        weights = best["features"]["weights"]["from"]
        yield f"Its best machine (weights `{weights}`, {best['kernel']}) by group:"
        yield ""
        yield "| group | n | sensitivity, % | specificity, % | precision, % |"
        yield "| --- | ---: | --- | --- | --- |"
        for name, row in best["per_class"].items():
            yield (
                f"| {name} | {row['cells']:,} | "
                + " | ".join(_estimate(row[share]) for share in SHARES)
                + " |"
            )


def _tuning(report: dict[str, Any]) -> Iterator[str]:
    for result in report["results"]:
        validation = sum(report["cells"]["validation"].values())
        size = result["preprocessing"]["height"]
        yield (
            f"`{report['name']}`: {result['backbone']} at {size} pixels, weights "
            f"`{result['weights']['from']}`, {report['epochs']} epochs; accuracy on the validation "
            f"side ({validation:,} cells; always saying the most frequent class would give "
            f"{majority(report['cells']['validation'])}) by free blocks of {result['blocks']} and "
            "images a class:"
        )
        yield ""
        sizes = report["images_per_class"]
        yield "| free blocks | " + " | ".join(f"{it}" for it in sizes) + " |"
        yield "| ---: |" + " --- |" * len(sizes)
        for free in report["free_blocks"]:
            values = {
                form["images_per_class"]: form["accuracy"]
                for form in result["forms"]
                if form["free"] == free
            }
            yield f"| {free} | " + " | ".join(_estimate(values[it]) for it in sizes) + " |"
        chosen = result["chosen"]
        yield ""
        yield (
            f"Chosen: {chosen['free']} blocks free, {chosen['images_per_class']} images a class. "
            "It on the test side, trained on as many images of each class, and on classes as "
            "frequent as on the train side; always saying the most frequent class would give "
            f"{majority(report['cells']['test'])}. Accuracy follows the mix of classes, so "
            "validation and test accuracy cannot be compared where their mixes differ:"
        )
        yield ""
        yield (
            "| trained | n | accuracy, % | balanced accuracy, % "
            "| mean ± sd over classes: sensitivity, specificity, precision, % |"
        )
        yield "| --- | ---: | --- | --- | --- |"
        for name, test in result["tests"].items():
            yield (
                f"| {name} | {test['n']:,} | {_estimate(test['accuracy'])} "
                f"| {_estimate(test['balanced_accuracy'])} | {_average(test['average'])} |"
            )


def _estimate(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "–"
    return f"{percent(found['value'])} ({interval(found)})"


def _average(found: dict[str, Any]) -> str:
    def one(share: str) -> str:
        spread = found[share]
        told = f"{percent(spread['mean'])} ± {percent(spread['sd'])}"
        most = max(found[name]["classes"] for name in SHARES)
        return told if spread["classes"] == most else f"{told} ({spread['classes']} classes)"

    return ", ".join(one(share) for share in SHARES)


if __name__ == "__main__":
    main()
