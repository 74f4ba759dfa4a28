"""Run chapter 5's study, time it side by side, and write the numbers into the docs.

A program (``make selections``). Each step prints the ``cellnet`` command that it runs, and goes on
where it was stopped. Steps may be named; without any, all but the last are made in this order:

    study    RUNS/dysplasianet-selection-two-cores of the recipe of that name; hours
    labels   5-fold cross-validation of M8's form, RUNS/selection-one-label, where all versions of a
             cell have one label, by group and by image; half an hour
    times    the study at a small scale with --jobs 1 and --jobs 2, RUNS/selection-times; it says
             which was faster
    docs     docs/results.md of all, as far as they have been made
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from programs import ROOT, data_of, program, run, run_steps

from cellnet import card
from cellnet.card import table
from cellnet.card_tables import share
from cellnet.jobs import HERE
from cellnet.manifest import SPLITS, read_manifest, write_manifest
from cellnet.measured_page import decimal
from cellnet.outputs import write_text
from cellnet.truth import normal_and_dysplastic, suppression_of

NAME = "selection"
STUDY = "dysplasianet-selection-two-cores"
TIMES = "selection-times"
ONE_LABEL = "selection-one-label"
FORM = "M8"  # what the study chose on two cores
RECIPE = ROOT / "training" / f"{STUDY}.yaml"


def main() -> None:
    """Run the steps that were asked for."""
    parser = program(__doc__, "PBC, a folder made of it, or a cohort")
    parser.add_argument("--jobs", type=int, default=1, help="of the study: runs at a time")
    parser.add_argument("--per-class", type=int, default=400, help="of the times: images a class")
    given = parser.parse_args()
    steps = {"study": study, "labels": one_label, "times": times, "docs": write_docs}
    run_steps(given, steps)


def study(given: argparse.Namespace) -> None:
    """Run the study, or go on with it."""
    _select(RECIPE, data_of(given), given.runs / STUDY, given.jobs)


def one_label(given: argparse.Namespace) -> None:
    """Divide by group and by image where a cell has versions of one kind alone, as photographs do.

    In the study's cohort each cell is there as a normal and as a hypogranulated one, so that to
    recall it misleads. Of half of the cells, chosen by lot, the normal versions are kept here, of
    the others the hypogranulated ones. The test sets stay, and mean nothing here.
    """
    place = given.runs / ONE_LABEL
    content = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    content["name"] = ONE_LABEL
    content["candidates"] = {FORM: content["candidates"][FORM]}
    content["data"].update(per_class=800)
    content["classifier"] = "none"
    content["first_stage"].update(epochs=6, margin=0)
    content["training"].update(epochs=20, stop_at=0.9)
    content["cross_validation"].update(
        divisions=[{"folds": 5, "by": by} for by in ("group", "image")]
    )
    content["published"] = None
    if not (place / "cohort" / "manifest.csv").exists():
        place.mkdir(parents=True, exist_ok=True)
        _keep_one_kind(_cohort(given, place / "whole", content["data"]["seed"]), place / "cohort")
    recipe = place / "recipe.yaml"
    write_text(recipe, yaml.safe_dump(content, sort_keys=False))
    _select(recipe, place / "cohort", place / "run", given.jobs)


def _cohort(given: argparse.Namespace, place: Path, seed: int) -> Path:
    """The study's cohort, or, where it has not been begun, one like it in this place."""
    cohort = given.runs / STUDY / "cohort"
    if not (cohort / "manifest.csv").exists():
        cohort = place / "cohort"
    if not (cohort / "manifest.csv").exists():
        if not (place / "data" / "manifest.csv").exists():
            run("data", "prepare", data_of(given), "--adapter", "pbc", "--out", place / "data",
                "--seed", seed)  # fmt: skip
        run("data", "simulate", place / "data", "--out", cohort, "--seed", seed)
    return cohort


def _keep_one_kind(cohort: Path, out: Path) -> None:
    manifest = read_manifest(cohort)
    normal, _ = normal_and_dysplastic(suppression_of(manifest.rows))
    rng = np.random.default_rng(1)
    keeps_normal = {
        cell: bool(rng.integers(2)) for cell in sorted({row.source_cell for row in manifest.rows})
    }
    rows = [
        row
        for row, is_normal in zip(manifest.rows, normal, strict=True)
        if row.split not in SPLITS or is_normal == keeps_normal[row.source_cell]
    ]
    told = {key: it for key, it in manifest.about.items() if key in ("sources", "simulated")}
    write_manifest(out, rows, manifest.root.resolve(), told)
    shutil.copyfile(cohort / "truth.csv", out / "truth.csv")


def times(given: argparse.Namespace) -> None:
    """Time one epoch of every candidate in both stages, one at a time and two at a time.

    Training is what is done side by side, so the cohort is made once beforehand (where the study
    has been begun, it is the study's), and Model 1 is not asked for neutrophils.
    """
    place = given.runs / TIMES
    place.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    content["name"] = TIMES
    content["data"].update(per_class=given.per_class)
    content["classifier"] = "none"
    content["first_stage"].update(epochs=1, margin=0, per_class=given.per_class)
    content["training"].update(epochs=1)
    content["cross_validation"] = None
    recipe = place / "recipe.yaml"
    write_text(recipe, yaml.safe_dump(content, sort_keys=False))
    cohort = _cohort(given, place, content["data"]["seed"])
    for jobs in (1, 2):
        folder = place / f"jobs-{jobs}"
        if not (folder / "report.json").exists():
            _select(recipe, cohort, folder, jobs)
    timed = _timed(given)
    if all(timed.values()):
        print(_times(timed), flush=True)


def _timed(given: argparse.Namespace) -> dict[int, dict[str, Any] | None]:
    return {jobs: _read(given.runs / TIMES / f"jobs-{jobs}" / "report.json") for jobs in (1, 2)}


def _select(recipe: Path, data: Path, place: Path, jobs: int) -> None:
    more = ["--resume"] if (place / "recipe.yaml").exists() else []
    run("select", recipe, "--data", data, "--run", place, "--jobs", jobs, *more)


def write_docs(given: argparse.Namespace) -> None:
    """Put the tables between their marks; what has not been measured is not there."""
    report = _read(given.runs / STUDY / "report.json")
    text = given.docs.read_text(encoding="utf-8") if given.docs.is_file() else "# Results\n"
    labels = _read(given.runs / ONE_LABEL / "run" / "report.json")
    write_text(given.docs, card.replace(text, NAME, section(report, labels, _timed(given))))
    print(f"wrote {given.docs}", flush=True)


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def section(
    report: dict[str, Any] | None,
    labels: dict[str, Any] | None,
    timed: dict[int, dict[str, Any] | None],
) -> str:
    """Markdown of a study, of the divisions where a cell has one label, and of the times.

    Args:
        report: Of the study; None where it has not been run.
        labels: Of the cross-validation where a cell has one label, or None.
        timed: By number of runs at a time, the report of a study made for its time, or None.
    """
    parts = [
        "Which DysplasiaNet? Chapter 5 of the thesis, by `make selections` ([how](selection.md))."
    ]
    parts += _study(report) if report else ["The study has not been run yet."]
    if labels and labels["cross_validation"]:
        cross = labels["cross_validation"]
        parts.append(
            "**Where a cell has one label**: of half of the cells above the normal versions, of "
            f"the others the hypogranulated ones, {cross['cells']['n']:,} cells in "
            f"{cross['cells']['groups']:,} groups; {labels['chosen']['name']}'s form, "
            f"{_scale(labels, 'cross_validation')}, run {labels['created'][:10]}."
        )
        parts += _divisions(cross)
    if all(timed.values()):
        parts.append(_times(timed))
    return "\n\n".join(parts)


def _study(report: dict[str, Any]) -> Iterator[str]:
    data, chosen, proof = report["data"], report["chosen"], report["proof_of_concept"]
    published = report["published"] or {}
    counts = ", ".join(
        f"{split} {sum(found.values()):,}" for split, found in data["counts"].items()
    )
    yield (
        f"Run {report['created'][:10]} with cellnet {report['cellnet']} on "
        f"{'; '.join(data['sources'])} ({counts} images), {_machine(report)}. "
        + (f"{data['simulated'].capitalize()}. " if data.get("simulated") else "")
        + "In brackets: 95 % intervals. Thesis: "
        + (published.get("source") or "not stated")
        + "."
    )
    yield (
        f"**First stage** (table 5.2, figure 5.3): {_scale(report, 'first_stage')}. "
        f"The rule: {report['first_stage']}."
    )
    yield table(
        ["candidate", "parameters", "thesis", "best validation accuracy", "balanced", "verdict",
         "thesis"],
        [
            [
                name,
                f"{found['parameters']:,}",
                _grouped(published.get("parameters", {}).get(name)),
                f"{_both(found['stage1']['accuracy'])} of {found['stage1']['accuracy']['n']:,}, "
                f"epoch {found['stage1']['epoch_kept']} of {found['stage1']['epochs']}",
                _both(found["stage1"]["balanced_accuracy"]),
                "goes on" if found["stage1"]["goes_on"] else "dropped",
                _verdict(name, published),
            ]
            for name, found in report["candidates"].items()
        ],
        right=(1, 2),
    )  # fmt: skip
    second = {n: f["stage2"] for n, f in report["candidates"].items() if f["stage2"]}
    if second:
        yield (
            f"**Second stage** (figure 5.4, tables 5.3 and 5.4): {_scale(report, 'training')}. In "
            "the order of the choice. Where no value of the thesis stands, it was not at hand. "
            "Intervals of cut-off and threshold are those of refits, the threshold's at the "
            "cut-off as fitted."
        )
        yield _candidates(second, chosen, published)
    if chosen["name"]:
        told = f"**{chosen['name']}** is chosen: {chosen['rule']}."
        if chosen["also_possible"]:
            told += (
                " The smears do not tell from it (exact sign test, p over 0.05): "
                f"{', '.join(chosen['also_possible'])}."
            )
        yield told
    if proof:
        smears = f"{proof['mds']} MDS smears, {proof['healthy']} healthy"
        yield f"**Proof of concept** (figure 5.5): {smears}."
        keys = ("accuracy", "sensitivity", "specificity", "precision")
        rows = [
            [
                key,
                f"{_both(proof[key])}, {proof[key]['k']} of {proof[key]['n']}",
                share_or_none(published.get("proof_of_concept", {}).get(key)) or "",
            ]
            for key in keys
        ]
        rows.append(["AUC", _both(proof["auc"], decimal), ""])
        yield table(["measure", "here", "thesis"], rows)
    yield from _folds(report)
    yield f"Caution: {'; '.join(report['warnings'])}."


def _candidates(second: dict[str, Any], chosen: dict[str, Any], published: dict[str, Any]) -> str:
    rows = []
    for name in [*chosen["order"], *(n for n in second if n not in chosen["order"])]:
        found = second[name]
        cells = published.get("by_cell", {}).get(name, {})
        smears = published.get("by_smear", {}).get(name, {})
        if found["failed"]:
            rows.append([name, found["epochs"], _both(found["accuracy"]), found["failed"],
                         *[""] * 7])  # fmt: skip
            continue
        rows.append(
            [
                name,
                found["epochs"],
                _both(found["accuracy"]),
                _beside(_cut(found, "cutoff"), cells.get("cutoff")),
                _both(found["by_cell"]["auc"], decimal),
                _both(found["by_cell"]["sensitivity"]),
                _both(found["by_cell"]["specificity"]),
                _beside(_both(found["by_cell"]["accuracy"]), share_or_none(cells.get("accuracy"))),
                _beside(_cut(found, "threshold"), smears.get("threshold")),
                _both(found["by_smear"]["auc"], decimal),
                _beside(
                    _both(found["by_smear"]["accuracy"]), share_or_none(smears.get("accuracy"))
                ),
            ]
        )
    head = ["candidate", "epochs", "validation accuracy", "cut-off", "AUC by cell",
            "dysplastic found", "normal found", "accuracy by cell", "threshold", "AUC by smear",
            "diagnostic accuracy"]  # fmt: skip
    return table(head, rows, right=(1,))


def _cut(found: dict[str, Any], name: str) -> str:
    return _both({"value": found[name], "ci95": found[f"{name}_ci95"]}, decimal)


def _scale(report: dict[str, Any], part: str) -> str:
    recipe = report["recipe"]
    per_class = recipe[part].get("per_class") or recipe["data"]["per_class"]
    return f"up to {recipe[part]['epochs']} epochs of {per_class:,} images a class"


def _folds(report: dict[str, Any]) -> Iterator[str]:
    cross = report["cross_validation"]
    if not cross or not cross["divisions"]:
        if report["recipe"]["cross_validation"] and report["chosen"]["name"]:
            yield "**Cross-validation** (table 5.5): its folds have not been run to their end."
        return
    yield (
        f"**Cross-validation** (table 5.5) over {cross['cells']['n']:,} cells in "
        f"{cross['cells']['groups']:,} groups, {_scale(report, 'cross_validation')}. The AUC of "
        "all cells sets scores of different folds' networks on one scale. Intervals of all cells "
        "hold for the networks that were trained; those over the folds (Student's t) let training "
        "differ too."
    )
    yield from _divisions(cross)


def _divisions(cross: dict[str, Any]) -> Iterator[str]:
    yield table(
        ["division", "accuracy of the folds, mean and SD", "95 % over the folds",
         "AUC, mean and SD",
         "accuracy, all cells", "AUC, all cells"],
        [
            [
                division["name"],
                _spread(division["accuracy"], lambda value: f"{100 * value:.2f} %"),
                _ends(division["accuracy"]["ci95"]),
                _spread(division["auc"], decimal),
                _both(division["pooled"]),
                _both(division["pooled_auc"], decimal),
            ]
            for division in cross["divisions"]
        ],
    )  # fmt: skip
    for gain in cross["by_image_minus_by_group"]:
        found = gain["difference"]
        if found["value"] is None:
            continue
        told = [f"{_points(it['ci95'])} {of}" for it, of in (
            (found, "of these networks"), (gain["of_folds"], "over the folds")
        ) if it["ci95"]]  # fmt: skip
        tied = gain["tied_in_training"]
        yield (
            f"With {gain['folds']} folds, dividing by image as the thesis did changes the accuracy "
            f"by {100 * found['value']:+.2f} percentage points"
            + (f" ({'; '.join(told)})" if told else "")
            + f". Of the versions of the cells that networks were trained on, {tied['same']:,} "
            f"are of the cell's own kind and {tied['other']:,} of the other."
        )


def _points(ends: list[float]) -> str:
    """An interval of a difference in percentage points."""
    return " to ".join(f"{100 * end:+.2f}" for end in ends)


def _times(timed: dict[int, dict[str, Any]]) -> str:
    seconds = {
        jobs: sum(session["seconds"] for session in found["time"]["sessions"])
        for jobs, found in timed.items()
    }
    one = timed[1]
    return (
        f"**Side by side.** {len(one['time']['runs'])} runs of one epoch of "
        f"{2 * one['recipe']['data']['per_class']:,} images, choice and report included, on "
        f"{_machine(one)}: {seconds[1]:.0f} s with `--jobs 1` ({_threads(one)} each), "
        f"{seconds[2]:.0f} s with `--jobs 2` ({_threads(timed[2])} each), "
        f"{seconds[1] / seconds[2]:.2f} times as fast."
    )


def _threads(report: dict[str, Any]) -> str:
    """What each run had; a study that was gone on with elsewhere may have had several numbers."""
    found = sorted({session["threads"] for session in report["time"]["sessions"]})
    return f"{' or '.join(map(str, found))} thread{'' if found == [1] else 's'}"


def _grouped(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _verdict(name: str, published: dict[str, Any]) -> str:
    if name not in published.get("parameters", {}):
        return ""
    return "dropped" if name in published["dropped"] else "goes on"


def _machine(report: dict[str, Any]) -> str:
    found = report["environment"]
    places = {session["place"] for session in report["time"]["sessions"]} - {HERE}
    return ", ".join([f"{found['cores']} cores ({found['machine']})", *sorted(places)])


def _beside(here: str, published: Any) -> str:
    return here if published is None else f"{here}; thesis {published}"


def share_or_none(value: float | None) -> str | None:
    """A published share in percent, as many digits of it as were published."""
    return None if value is None else f"{100 * value:.2f}".removesuffix("0") + " %"


def _both(found: dict[str, Any], write=share) -> str:
    if found["value"] is None or found["ci95"] is None:
        return "not measurable" if found["value"] is None else write(found["value"])
    ends = " to ".join(write(end).removesuffix(" %") for end in found["ci95"])
    return f"{write(found['value'])} ({ends})"


def _ends(ends: list[float] | None) -> str:
    return "–" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"


def _spread(found: dict[str, float | None], write) -> str:
    told = write(found["mean"])
    return told if found["sd"] is None else f"{told} ± {write(found['sd'])}"


if __name__ == "__main__":
    main()
