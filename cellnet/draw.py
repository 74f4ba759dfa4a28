"""Cells drawn from nothing: single images, smears and labelled sets.

No photograph of a real cell may travel with the program, so the demonstration, the tests and the
examples show cells drawn here: eight classes, and neutrophils that have lost granules. The same
seed always draws the same cells. They are good enough to be named by eye; they are no substitute
for real cells when accuracy is measured. One image is made in `draw_image`, how each kind
looks is in `draw_cells` and `draw_nuclei`, the field around it in `draw_scene`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellnet.cells import CLASSES, DIFFERENTIAL, NEUTROPHIL
from cellnet.draw_image import DYSPLASTIC_UP_TO, draw_cell
from cellnet.draw_scene import SmearLook, draw_stain
from cellnet.errors import CellnetError
from cellnet.images import write_jpeg
from cellnet.manifest import SPLITS, Manifest, Row, read_manifest, write_manifest
from cellnet.outputs import new_folder, write_text

__all__ = [
    "LICENCE",
    "SOURCE",
    "DrawnCell",
    "SmearLook",
    "draw_cell",
    "draw_set",
    "draw_smear",
    "draw_stain",
]

SOURCE = "cellnet drawn cells"
LICENCE = "MIT"

SIZE = (363, 360)
"""Height and width of the images of sets and smears: the commonest of Acevedo et al. (2020)."""

NORMAL_FROM = 0.8
"""Smallest share of its granules that a normal neutrophil of a drawn smear has."""

SHARES = (0.15, 0.15)  # of validation and test in a drawn set


@dataclass(frozen=True)
class DrawnCell:
    """A row of the truth of drawn smears.

    Attributes:
        smear: The smear's name.
        file: The image's name within the smear's folder.
        label: One of `cellnet.cells.CLASSES`.
        suppression: Share of the granules that is missing, g in [0, 1] as text as in a manifest;
            empty unless a neutrophil.
        dysplastic: ``1`` or ``0``; empty unless a neutrophil.
    """

    smear: str
    file: str
    label: str
    suppression: str
    dysplastic: str


def draw_smear(
    out: str | Path,
    seed: int,
    *,
    cells: int = 60,
    dysplastic_fraction: float = 0.4,
    truth: str | Path | None = None,
    size: int | tuple[int, int] = SIZE,
    quality: int = 95,
) -> list[DrawnCell]:
    """Draw a smear: a folder of single-cell JPEG files in one stain, and its truth beside it.

    Half to seven tenths of the cells are neutrophils, the others follow adult blood. File names
    (``cell-001.jpg``) say nothing of what is shown.

    Args:
        out: The folder to make; it must be new or empty.
        seed: Draws everything.
        cells: Number of images.
        dysplastic_fraction: Share of the neutrophils that is hypogranulated, rounded to whole
            cells. They lack at least two thirds of their granules, the others at most a fifth.
        truth: CSV file to write; by default ``OUT.truth.csv`` beside the folder. A file of that
            name is replaced.
        size: Side of the images in pixels, or (height, width).
        quality: Of the JPEG files, 1 to 100.

    Returns:
        A row for each image, in the order of the file names.

    Raises:
        CellnetError: A number is out of its range, or the folder holds something.
    """
    out = Path(out)
    _check(seed, quality)
    if not 1 <= cells <= 100_000:
        raise CellnetError(f"a smear has 1 to 100000 cells, got {cells}")
    if not 0.0 <= dysplastic_fraction <= 1.0:
        raise CellnetError(f"the dysplastic fraction must lie in [0, 1], got {dysplastic_fraction}")
    file = out.with_name(out.name + ".truth.csv") if truth is None else Path(truth)
    if out.absolute() in file.absolute().parents:
        raise CellnetError(f"the truth {file} must not lie within the smear's folder {out}")
    with new_folder(out) as folder:
        bar = tqdm(total=cells, desc="drawing", unit="cell", disable=None, leave=False)
        with bar:
            rows = _smear(folder, out.name, seed, cells, dysplastic_fraction, size, quality, bar)
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_csv(file, rows)
    return rows


def draw_set(
    out: str | Path,
    seed: int,
    *,
    per_class: int = 40,
    smears: int = 2,
    cells: int = 60,
    size: int | tuple[int, int] = SIZE,
    quality: int = 95,
) -> Manifest:
    """Draw a labelled set with a manifest, and smears: ``cellnet data draw``.

    ``OUT/<class>/*.jpg`` are listed in ``OUT/manifest.csv``, split at random within each class.
    Half of the neutrophils (rounded down) lack at least two thirds of their granules: their
    suppression column says how much, for the others it is 0. ``OUT/smears/<name>/*.jpg`` are not
    in the manifest; ``OUT/smears/truth.csv`` has a row for each smear, ``OUT/smears/cells.csv``
    for each of its cells. The first, third, ... smear is healthy (up to 5 % of its neutrophils
    dysplastic), the others are those of MDS (25 to 80 %). An image depends on nothing but the
    seed, its kind and its number.

    Args:
        out: The folder to make; it must be new or empty. It appears when it is complete.
        seed: Draws everything.
        per_class: Images of each of the eight classes.
        smears: Number of smears.
        cells: Images in each smear.
        size: Side of the images in pixels, or (height, width).
        quality: Of the JPEG files, 1 to 100.

    Returns:
        The manifest as it was written.

    Raises:
        CellnetError: A number is out of its range, or the folder holds something.
    """
    out = Path(out)
    _check(seed, quality)
    if per_class < 1:
        raise CellnetError(f"a drawn set has at least 1 image a class, got {per_class}")
    if smears < 0 or (smears and not 1 <= cells <= 100_000):
        raise CellnetError(
            f"a drawn set has 0 or more smears of 1 to 100000 cells, got {smears} of {cells}"
        )
    with new_folder(out) as folder:
        total = per_class * len(CLASSES) + smears * cells
        with tqdm(total=total, desc="drawing", unit="cell", disable=None, leave=False) as bar:
            rows = _classes(folder, seed, per_class, size, quality, bar)
            if smears:
                _smears(folder / "smears", seed, smears, cells, size, quality, bar)
        about = {"adapter": "drawn", "seed": seed, "per_class": per_class, "smears": smears}
        write_manifest(folder, rows, ".", about)
    return read_manifest(out)


def _classes(
    folder: Path, seed: int, per_class: int, size: Any, quality: int, bar: tqdm
) -> list[Row]:
    rows = []
    for label in CLASSES:
        (folder / label).mkdir()
        sides = _deal(seed, label, per_class)
        for index in range(per_class):
            rng = _generator(seed, label, index)
            dysplastic = label == NEUTROPHIL and index % 2 == 1
            share = 1.0 - float(rng.uniform(2.0 / 3.0, 1.0)) if dysplastic else 1.0
            path = f"{label}/{label}-{index + 1:05d}.jpg"
            image = draw_cell(label, rng, granularity=share, size=size)
            write_jpeg(folder / path, image, quality)
            rows.append(
                Row(
                    path=path,
                    sha256=hashlib.sha256((folder / path).read_bytes()).hexdigest(),
                    label=label,
                    source=SOURCE,
                    licence=LICENCE,
                    split=sides[index],
                    suppression=_missing(share) if label == NEUTROPHIL else "",
                )
            )
            bar.update()
    return rows


def _deal(seed: int, label: str, per_class: int) -> list[str]:
    """Sides of the split for the images of a kind, at least one on each where there are three.

    Neutrophils alternate between normal and hypogranulated, so each of the two is dealt its own.
    """
    lanes = 2 if label == NEUTROPHIL else 1
    sides = [SPLITS[0]] * per_class
    for lane in range(lanes):
        places = list(range(lane, per_class, lanes))
        order = _generator(seed, f"split {label}", lane).permutation(places).tolist()
        held = [max(1, round(share * len(places))) for share in SHARES]
        for side, count in zip(SPLITS[:0:-1], held, strict=True):
            for _ in range(min(count, len(order) - 1)):
                sides[order.pop()] = side
    return sides


def _smears(
    folder: Path, seed: int, smears: int, cells: int, size: Any, quality: int, bar: tqdm
) -> None:
    folder.mkdir()
    every: list[DrawnCell] = []
    summary = []
    for number in range(smears):
        name = f"smear-{number + 1:02d}"
        rng = _generator(seed, "smears", number)
        mds = number % 2 == 1
        fraction = float(rng.uniform(0.25, 0.80) if mds else rng.uniform(0.0, 0.05))
        (folder / name).mkdir()
        own = int(rng.integers(2**31))
        rows = _smear(folder / name, name, own, cells, fraction, size, quality, bar)
        every += rows
        neutrophils = sum(row.label == NEUTROPHIL for row in rows)
        dysplastic = sum(row.dysplastic == "1" for row in rows)
        summary.append(
            {
                "set": "drawn",
                "smear": name,
                "diagnosis": "mds" if mds else "healthy",
                "cells": len(rows),
                "neutrophils": neutrophils,
                "dysplastic": dysplastic,
                "dysplastic_fraction": f"{dysplastic / neutrophils:.4f}" if neutrophils else "",
            }
        )
    _write_csv(folder / "cells.csv", every)
    with (folder / "truth.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(summary[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(summary)


def _smear(
    folder: Path,
    name: str,
    seed: int,
    cells: int,
    fraction: float,
    size: Any,
    quality: int,
    bar: tqdm,
) -> list[DrawnCell]:
    rng = _generator(seed, "smear", 0)
    stain = draw_stain(rng)
    neutrophils = max(1, round(cells * float(rng.uniform(0.5, 0.7))))
    others = rng.choice(list(DIFFERENTIAL), cells - neutrophils, p=list(DIFFERENTIAL.values()))
    dysplastic = round(fraction * neutrophils)
    plan = [(NEUTROPHIL, i < dysplastic) for i in range(neutrophils)]
    plan += [(str(label), False) for label in others]
    digits = max(3, len(str(cells)))
    rows = []
    for index, place in enumerate(rng.permutation(cells)):
        label, few = plan[place]
        own = _generator(seed, "smear cell", index)
        share = float(own.uniform(0.0, DYSPLASTIC_UP_TO) if few else own.uniform(NORMAL_FROM, 1.0))
        if label != NEUTROPHIL:
            share = 1.0
        file = f"cell-{index + 1:0{digits}d}.jpg"
        image = draw_cell(label, own, granularity=share, size=size, stain=stain)
        write_jpeg(folder / file, image, quality)
        known = label == NEUTROPHIL
        rows.append(
            DrawnCell(
                smear=name,
                file=file,
                label=label,
                suppression=_missing(share) if known else "",
                dysplastic=str(int(few)) if known else "",
            )
        )
        bar.update()
    return rows


def _missing(share: float) -> str:
    """Share of the granules that is missing, as manifests write it."""
    return f"{1.0 - share:.4f}" if share < 1.0 else "0"


def _generator(seed: int, purpose: str, index: int) -> np.random.Generator:
    """Give each drawing a generator of its own, so that none depends on what was drawn before."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), index])


def _check(seed: int, quality: int) -> None:
    if seed < 0:
        raise CellnetError(f"the seed must be 0 or more, got {seed}")
    if not 1 <= quality <= 100:
        raise CellnetError(f"the JPEG quality must lie in 1 to 100, got {quality}")


def _write_csv(path: Path, rows: Sequence[DrawnCell]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, [column.name for column in fields(DrawnCell)], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())
