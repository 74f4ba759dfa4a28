"""Measure the maps of the shipped models on real cells, and write the numbers into the docs.

A program (``make explanations``): it lists cells of PBC that trained nothing, takes the granules
out of half of the neutrophils, types ``cellnet explain`` on them and on Zheng's cells with masks,
keeps the numbers of all answers in ``RUNS/explanations/results.json``, and puts tables of them
between the marks of ``docs/results.md``. Steps may be named; without any, all but the last are made
in this order:

    cells      manifests of PBC's test side, granules of half of the neutrophils taken out
    model1, dysplasianet, masks    explain, each into RUNS/explanations/NAME
    results    results.json of what was found
    docs       docs/results.md of results.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from programs import ROOT, data_of, program, run, run_steps
from release import DIGITS, read_split

from cellnet import card
from cellnet.adapters import adapt
from cellnet.bundle import sha256_of
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.cohort_plan import DYSPLASTIC_G, NORMAL_G
from cellnet.explain_faithfulness import ORDERS, TESTS
from cellnet.granularity import segment, suppress
from cellnet.images import read_image, write_jpeg
from cellnet.manifest import Row, write_manifest
from cellnet.measured_page import decimal, percent
from cellnet.outputs import write_text

SCHEMA = "cellnet/explanations-study/1"
NAME = "explanations"
SOURCE = "Acevedo et al. 2020, doi 10.17632/snkd93bnjr.1"
LICENCE = "CC BY 4.0"
SEED = 0
STUDIES = ("model1", "dysplasianet", "model1-masks", "dysplasianet-masks")


def main() -> None:
    """Run the steps that were asked for."""
    parser = program(__doc__, "folder that holds pbc/ and zheng_cellavision/")
    parser.add_argument("--per-class", type=int, default=100, help="cells of each class, Model 1")
    parser.add_argument("--neutrophils", type=int, default=400, help="of either side, DysplasiaNet")
    parser.add_argument("--tested", type=int, default=200, help="cells of deletion and insertion")
    given = parser.parse_args()
    given.work = given.runs / NAME
    given.work.mkdir(parents=True, exist_ok=True)
    steps = {
        "cells": write_cells,
        "model1": lambda given: explain(given, "model1", given.per_class * len(CLASSES)),
        "dysplasianet": lambda given: explain(given, "dysplasianet", 2 * given.neutrophils),
        "masks": explain_masked,
        "results": write_results,
        "docs": write_docs,
    }
    run_steps(given, steps)


def write_cells(given: argparse.Namespace) -> None:
    """List so many test cells of each class, and simulate the neutrophils of DysplasiaNet."""
    home = data_of(given) / "pbc"
    sides = read_split()
    rng = np.random.default_rng(SEED)
    by_class: dict[str, list[Row]] = {label: [] for label in CLASSES}
    for candidate in adapt("pbc", home).candidates:
        sha256 = sha256_of(home / candidate.path)
        if sides.get(sha256[:DIGITS], ("", ""))[1] == "test":
            by_class[candidate.label].append(
                Row(candidate.path, sha256, candidate.label, source=SOURCE, licence=LICENCE,
                    split="test")
            )  # fmt: skip
    drawn = {
        label: [rows[at] for at in sorted(rng.permutation(len(rows))[: given.per_class])]
        for label, rows in by_class.items()
    }
    about = {"adapter": "pbc", "seed": SEED}
    write_manifest(given.work / "cells" / "model1", sum(drawn.values(), []), home.resolve(), about)
    print({label: len(rows) for label, rows in drawn.items()}, flush=True)
    write_neutrophils(given, home, by_class[NEUTROPHIL], rng)


def write_neutrophils(
    given: argparse.Namespace, home: Path, rows: list[Row], rng: np.random.Generator
) -> None:
    """Write normal and dysplastic neutrophils, each of another photograph, by one way of writing.

    The degrees are those of the simulated cohort; stain and orientation stay as they are.
    """
    folder = given.work / "cells" / "dysplasianet"
    shutil.rmtree(folder, ignore_errors=True)
    wanted = {"normal": (NORMAL_G, given.neutrophils), "dysplastic": (DYSPLASTIC_G,
              given.neutrophils)}  # fmt: skip
    order = [rows[at] for at in rng.permutation(len(rows))]
    made, passed = [], 0
    for label, (bounds, number) in wanted.items():
        (folder / label).mkdir(parents=True)
        while number and order:
            row = order.pop()
            image = read_image(home / row.path)
            cell = segment(image)
            if cell.problem:
                passed += 1
                continue
            g = float(rng.uniform(*bounds))
            name = f"{label}/{row.sha256[:DIGITS]}.jpg"
            write_jpeg(folder / name, suppress(image, cell.cytoplasm, g))
            made.append(
                Row(name, sha256_of(folder / name), NEUTROPHIL, source=SOURCE, licence=LICENCE,
                    split="test", source_cell=row.sha256, suppression=f"{g:.4f}")
            )  # fmt: skip
            number -= 1
    write_manifest(folder, made, ".", {"adapter": "simulate", "seed": SEED, "dropped": passed})
    print(f"{len(made)} neutrophils in {folder}, {passed} without a cytoplasm", flush=True)


def explain(given: argparse.Namespace, name: str, cells: int) -> None:
    """Explain a model on the cells that were listed for it."""
    typed(given, name, given.work / "cells" / name, "--tsne", cells,
          "--faithfulness", given.tested)  # fmt: skip


def explain_masked(given: argparse.Namespace) -> None:
    """Explain both models on Zheng's cells: Model 1 on all, DysplasiaNet on the neutrophils."""
    home = given.data / "zheng_cellavision"
    masks = ("--masks", home / "masks")
    typed(given, "model1-masks", home / "images", *masks)
    typed(given, "dysplasianet-masks", home / "images" / NEUTROPHIL, *masks)


def typed(given: argparse.Namespace, name: str, *words: object) -> None:
    """Type ``cellnet explain``, in place of what an earlier run wrote."""
    out = given.work / name
    shutil.rmtree(out, ignore_errors=True)
    model = ROOT / "models" / name.removesuffix("-masks")
    run("explain", model, *words, "--out", out, "--pictures", 24, "--seed", SEED)


def write_results(given: argparse.Namespace) -> None:
    """Keep the numbers of all answers, without what is said of single cells."""
    found: dict[str, Any] = {"schema": SCHEMA}
    for name in STUDIES:
        file = given.work / name / "explanations.json"
        if not file.is_file():
            sys.exit(f"cellnet: error: there is no {file}; make the steps before 'results'")
        document = json.loads(file.read_text(encoding="utf-8"))
        kept = ("created", "model", "map", "seen", "largest_difference", "grouped_by", "warnings")
        found[name] = {key: document[key] for key in kept}
        found[name]["cells"] = len(document["cells"])
        found[name]["faint"] = sum(cell["faint"] for cell in document["cells"])
        found[name]["unreadable"] = len(document["unreadable"])
        for part in ("embedding", "faithfulness", "masks"):
            held = document[part]
            found[name][part] = held and {k: v for k, v in held.items() if k != "cells"}
    write_text(given.work / "results.json", json.dumps(found, indent=2) + "\n")
    print(f"wrote {given.work / 'results.json'}", flush=True)


def write_docs(given: argparse.Namespace) -> None:
    """Put the tables between their marks."""
    found = json.loads((given.work / "results.json").read_text(encoding="utf-8"))
    text = given.docs.read_text(encoding="utf-8") if given.docs.is_file() else "# Results\n"
    write_text(given.docs, card.replace(text, NAME, section(found)))
    print(f"wrote {given.docs}", flush=True)


def section(found: dict[str, Any]) -> str:
    """Markdown of what `write_results` kept."""
    lines = [
        "Written by `make explanations`, on the shipped models "
        + " and ".join(
            f"{found[name]['model']['name']} {found[name]['model']['version']}"
            for name in ("model1", "dysplasianet")
        )
        + f", {found['model1']['created']}. In brackets: 95 % intervals, bootstrap over cells.",
        "",
        "Deletion and insertion, area under the mean answer (deletion: lower is better; insertion: "
        "higher is better):",
        "",
        "| model | explained | n | test | map | random map | nearest to the middle "
        "| map less random | map less middle |",
        "| --- | --- | ---: | --- | --- | --- | --- | --- | --- |",
    ]
    for name in ("model1", "dysplasianet"):
        test = found[name]["faithfulness"]
        parts = {"each cell's own answer": test["all"]}
        parts |= test["by_target"] if name == "dysplasianet" else {}
        for told, part in parts.items():
            for kind in TESTS:
                areas = [part[kind]["area"][order] for order in ORDERS]
                differences = [part[kind][f"map_less_{it}"] for it in ("random", "centre")]
                lines.append(
                    f"| {name} | {told} | {part['n']} | {kind} | "
                    + " | ".join(_number(it) for it in (*areas, *differences))
                    + " |"
                )
    lines += [
        "",
        "Share of the map that falls on the cell, Zheng et al. 2018, with its masks; a map that "
        "says nothing would have the share of the area, one that knows no more than where cells "
        "stand that of the mean map of the other cells explained for the same answer (the last "
        "two columns are of the cells that have such others):",
        "",
        "| model | cells | part | n | of the map, % | of the area, % | difference, points "
        "| of other cells' maps, % | difference, points |",
        "| --- | --- | --- | ---: | --- | --- | --- | --- | --- |",
    ]
    for name in ("model1-masks", "dysplasianet-masks"):
        for row in found[name]["masks"]["rows"]:
            keys = ("weight", "area", "weight_less_area", "others", "weight_less_others")
            values = (_share(row[key]) for key in keys)
            number = row["others"]["n"]
            told = f"{row['n']}" if number == row["n"] else f"{row['n']} ({number} with others)"
            lines.append(
                f"| {name.removesuffix('-masks')} | {row['label'] or 'all'} | {row['part']} | "
                f"{told} | {' | '.join(values)} |"
            )
    lines += [
        "",
        "How well labels part, in the pixels that a network sees and in what its last block makes "
        "of them (not on the plane of t-SNE):",
        "",
        "| model | labels | n | space | dimensions | named as their neighbours, % | silhouette |",
        "| --- | --- | ---: | --- | ---: | --- | --- |",
    ]
    for name in ("model1", "dysplasianet"):
        plane = found[name]["embedding"]
        rows = [(space, values["dimensions"], values) for space, values in plane["spaces"].items()]
        rows.append(("features less pixels", "", plane["features_less_pixels"]))
        for space, dimensions, values in rows:
            lines.append(
                f"| {name} | {len(plane['labels'])} | {plane['n']} | {space} | {dimensions} | "
                f"{_share(values['same_label'])} | {_number(values['silhouette'])} |"
            )
    faint = {name: found[name]["faint"] for name in STUDIES if found[name]["faint"]}
    told = ", ".join(
        f"{number} of {found[name]['cells']} ({name})" for name, number in faint.items()
    )
    lines += ["", f"Cells whose map is faint: {told or 'none'}."]
    return "\n".join(lines)


def _number(estimate: dict[str, Any]) -> str:
    told = decimal(estimate["value"], 3)
    if estimate["ci95"] is None:
        return told
    return f"{told} ({' to '.join(decimal(end, 3) for end in estimate['ci95'])})"


def _share(estimate: dict[str, Any]) -> str:
    told = percent(estimate["value"])
    if estimate["ci95"] is None:
        return told
    return f"{told} ({' to '.join(percent(end) for end in estimate['ci95'])})"


if __name__ == "__main__":
    main()
