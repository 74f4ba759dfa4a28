"""Make the shipped bundles of finished runs: copy, calibrate, measure, write cards and README.

A program for whoever releases models (``make release-models``): each step prints the ``cellnet``
command that it runs, so that any of them can be typed again. Steps may be named; without any, all
are made in this order:

    copy     runs/NAME/bundle to models/NAME; a card that is there stays
    sides    which side every photograph stood on goes to training/splits/pbc.csv
    calibrate, model1, others, dysplasianet, response    fit and measure, recorded in the bundles
    cards    the program's part of the cards, and the README's table
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from programs import ROOT, copy_bundle, run, run_steps
from response import WAYS, write_response

from cellnet import card
from cellnet.adapters import adapt
from cellnet.bundle import available, sha256_of
from cellnet.manifest import Row, read_manifest, write_manifest
from cellnet.outputs import write_text
from cellnet.splits import DIGITS

NAMES = ("model1", "dysplasianet")
SPLIT = ROOT / "training" / "splits" / "pbc.csv"

RESPONSE_CELLS = 200

#: Laboratories that trained nothing: folder below the data, source, licence, note for the card.
OTHERS = {
    "zheng": (
        "zheng_cellavision/images",
        "Zheng et al., Micron 107 (2018) 55-71, data set 2",
        "for measurement only",
        "Zheng et al. 2018, CellaVision images of another laboratory, never trained on",
    ),
    "bccd": (
        "bccd_cells",
        "BCCD, cells cropped from fields",
        "MIT",
        "BCCD, another laboratory and camera, cells cropped from fields, never trained on",
    ),
}


def main() -> None:
    """Run the steps that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="finished runs are here")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="bundles go here")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument(
        "--prepared", type=Path, help="manifest that was trained on (default: RUNS/model1/data)"
    )
    parser.add_argument("--cohort", type=Path, help="default: RUNS/dysplasianet/cohort")
    parser.add_argument(
        "--others", type=Path, help="folder of zheng_cellavision/ and bccd_cells/; none: left out"
    )
    given = parser.parse_args()
    given.prepared = given.prepared or given.runs / "model1" / "data"
    given.cohort = given.cohort or given.runs / "dysplasianet" / "cohort"
    given.work = given.runs / "release"
    given.work.mkdir(parents=True, exist_ok=True)
    steps = {
        "copy": copy,
        "sides": write_sides,
        "calibrate": calibrate,
        "model1": measure_model1,
        "others": measure_others,
        "dysplasianet": measure_dysplasianet,
        "response": measure_response,
        "cards": write_cards,
    }
    run_steps(given, steps, named=())


def copy(given: argparse.Namespace) -> None:
    """Copy the bundles of the runs."""
    for name in NAMES:
        copy_bundle(given.runs / name, given.models / name)


def write_sides(given: argparse.Namespace) -> None:
    """Write which side each photograph stood on."""
    lines = sorted(
        (row.label, row.split, row.sha256[:DIGITS]) for row in read_manifest(given.prepared).rows
    )
    SPLIT.parent.mkdir(exist_ok=True)
    text = "".join(f"{sha256},{label},{side}\n" for label, side, sha256 in lines)
    write_text(SPLIT, "sha256,label,side\n" + text)
    print(f"wrote {SPLIT}: {len(lines)} images", flush=True)


def read_split() -> dict[str, tuple[str, str]]:
    """Label and side of each photograph, by the first digits of its SHA-256."""
    with SPLIT.open(encoding="utf-8", newline="") as file:
        return {row["sha256"]: (row["label"], row["side"]) for row in csv.DictReader(file)}


def calibrate(given: argparse.Namespace) -> None:
    """Fit both operating points."""
    models = given.models
    run("calibrate", models / "dysplasianet", given.cohort, "--classifier",
        models / "model1")  # fmt: skip


def measure(given: argparse.Namespace, model: Path, manifest: Path, name: str, note: str,
            *more: object) -> None:  # fmt: skip
    """Evaluate and record; the whole answer goes beside the runs, as JSON and as a page."""
    beside = given.work / f"{model.name}-{name}"
    run("evaluate", model, manifest, "--record", name, "--note", note, *more,
        "--out", f"{beside}.json", "--html", f"{beside}.html")  # fmt: skip


def measure_model1(given: argparse.Namespace) -> None:
    """Model 1 at home, before it was quantised, and on hypogranulated neutrophils."""
    model = given.models / "model1"
    measure(given, model, given.prepared, "pbc-test", "PBC, cells that trained nothing")
    before = given.runs / "model1" / "float32"
    if before.is_dir():
        note = "the same network before its weights were stored in 8 bits"
        measure(given, before, given.prepared, "float32", note, "--record-in", model)
    note = "PBC neutrophils that trained nothing, granules taken out of half of them by simulation"
    measure(given, model, given.cohort, "hypogranulated", note,
            "--split", "test-by-cell", "--among", "eight")  # fmt: skip


def measure_others(given: argparse.Namespace) -> None:
    """Model 1 on other laboratories' cells: five classes, free and forced."""
    for name, (folder, source, licence, note) in OTHERS.items():
        if given.others is None or not (given.others / folder).is_dir():
            print(f"left out: {name}, there is no folder {folder} in {given.others}", flush=True)
            continue
        list_all(given.others / folder, given.work / name, source, licence)
        measure(given, given.models / "model1", given.work / name, name, note, "--among", "five")


def list_all(folder: Path, out: Path, source: str, licence: str) -> None:
    """List every image of a laboratory that trained nothing, all on the test side.

    Nothing is left out for being like another: whoever measures on the same set counts the same.
    """
    found = adapt("folder", folder)
    rows = [
        Row(**asdict(candidate) | {
            "sha256": sha256_of(folder / candidate.path), "split": "test", "source": source,
            "licence": licence,
        })
        for candidate in found.candidates
    ]  # fmt: skip
    dropped = Counter(it.reason for it in found.dropped)
    write_manifest(out, rows, folder.resolve(), {"adapter": "folder", "dropped": dict(dropped)})
    print(f"{len(rows)} images in {out}, {len(found.dropped)} files passed over", flush=True)


def measure_dysplasianet(given: argparse.Namespace) -> None:
    """DysplasiaNet by cell, by smear, and on the proof of concept, which nothing was fitted on."""
    model = given.models / "dysplasianet"
    note = "simulated cohort of PBC cells that trained nothing"
    measure(given, model, given.cohort, "cohort", note,
            "--classifier", given.models / "model1")  # fmt: skip


def measure_response(given: argparse.Namespace) -> None:
    """How the score follows the granules that are left, whichever operator takes them out."""
    manifest = read_manifest(given.prepared)
    told = {"own": "as in training", "closing": "by a morphological closing, which trained nothing",
            "median": "by a wide median, which trained nothing"}  # fmt: skip
    for way in WAYS:
        folder = given.work / f"response-{way}"
        shutil.rmtree(folder, ignore_errors=True)
        write_response(manifest, folder, way, RESPONSE_CELLS)
        note = f"{RESPONSE_CELLS} test neutrophils, granules taken out in five steps {told[way]}"
        measure(given, given.models / "dysplasianet", folder, f"response-{way}", note)


def write_cards(given: argparse.Namespace) -> None:
    """Refresh the cards and the README's table."""
    for name in available(given.models):
        print(f"wrote {card.refresh(given.models / name)}", flush=True)
    text = given.readme.read_text(encoding="utf-8")
    table = card.readme_table(given.models)
    write_text(given.readme, card.replace(text, card.README_BLOCK, table))
    print(f"wrote {given.readme}", flush=True)


if __name__ == "__main__":
    main()
