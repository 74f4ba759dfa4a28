"""A smear's report as one page: decision, differential, and every cell to look at.

The page is self-contained (pictures are inside, nothing is fetched, no script runs), so that it can
be kept with the patient's file, mailed, and opened in ten years. Cells that need a second look come
first: dysplastic neutrophils, then within each class the least certain. How the page looks is in
``templates/smear.html``.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cellnet import __version__
from cellnet.cells import CLASSES, NEUTROPHIL, OTHER
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.foreign_text import printable
from cellnet.images import read_image
from cellnet.report import (
    RESEARCH_USE,
    TITLES,
    confidence_sentence,
    decision_sentence,
    percent,
    scale_end,
)
from cellnet.scoring import in_order
from cellnet.smear import HOLDS, WHO_SHARE, CellRow, SmearReport

__all__ = ["smear_page", "uncertainty"]

NAMES = {
    "basophil": "Basophils",
    "eosinophil": "Eosinophils",
    "erythroblast": "Erythroblasts",
    "ig": "Immature granulocytes",
    "lymphocyte": "Lymphocytes",
    "monocyte": "Monocytes",
    "neutrophil": "Neutrophils",
    "platelet": "Platelets",
    OTHER: "Other",
}

# Pictures of a routine smear are sharp on a dense screen; large smears get smaller ones, and no
# page more than it can show.
_LARGE, _LARGE_UP_TO = 176, 150
_SMALL = 96
_MOST_PICTURES = 1000
_QUALITY = 82


def smear_page(
    report: SmearReport, folder: str | os.PathLike[str], *, threads: int | None = None
) -> str:
    """Make the page.

    Args:
        report: The report.
        folder: Where its images are; they are read again for their pictures.
        threads: How many to read at a time; None for one a core.

    Returns:
        HTML, UTF-8.
    """
    # Both cost a tenth of a second, and only this page needs them.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    groups = _groups(report)
    shown, budget = [], _MOST_PICTURES
    for _, _, cells in groups:
        shown += cells[:budget]
        budget -= len(cells[:budget])
    side = _LARGE if len(shown) <= _LARGE_UP_TO else _SMALL
    pictures = _pictures([cell.file for cell in shown], Path(folder), side, threads)
    environment = Environment(
        loader=PackageLoader("cellnet"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["printable"] = printable
    return environment.get_template("smear.html").render(
        report=report,
        title=TITLES[report.decision],
        research_use=RESEARCH_USE,
        decision_sentence=decision_sentence(report),
        confidence_sentence=confidence_sentence(report),
        scale=_scale(report),
        bars=_bars(report),
        panels=_panels(report),
        groups=[_show(key, name, cells, pictures) for key, name, cells in groups],
        origin=_origin(report),
        who_share=WHO_SHARE,
        holds=HOLDS,
        names=NAMES,
        digits=3 if 0.01 <= report.cutoff <= 0.99 else 5,
        version=__version__,
        today=date.today().isoformat(),
    )


def uncertainty(cell: CellRow, cutoff: float) -> float:
    """Say how close a cell is to another answer, from 0 (sure) to 1 (on the edge).

    For the label it is how far the probability stays below 1, relative to the half where it would
    no longer hold; for a neutrophil also how close the score is to the cut-off, relative to the
    length of its side of the scale. The larger counts.
    """
    label = min(1.0, (1 - cell.probability) / (1 - HOLDS))
    if cell.granularity is None:
        return label
    side = cutoff if cell.dysplastic else 1 - cutoff
    return max(label, 1 - abs(cell.granularity - cutoff) / side if side else 1.0)


def _groups(report: SmearReport) -> list[tuple[str, str, list[CellRow]]]:
    """Cells by class, each sorted by uncertainty; those that need a second look first."""

    def chosen(label: str, dysplastic: bool | None = None) -> list[CellRow]:
        cells = [c for c in report.cells if c.label == label and c.dysplastic is dysplastic]
        return sorted(cells, key=lambda c: (-uncertainty(c, report.cutoff), c.file))

    groups = [
        ("dysplastic", "Dysplastic neutrophils", chosen(NEUTROPHIL, True)),
        (NEUTROPHIL, "Normal neutrophils", chosen(NEUTROPHIL, False)),
        (OTHER, NAMES[OTHER], chosen(OTHER)),
    ]
    groups += [(name, NAMES[name], chosen(name)) for name in CLASSES if name != NEUTROPHIL]
    return [group for group in groups if group[2]]


def _show(
    key: str, name: str, cells: Sequence[CellRow], pictures: dict[str, str]
) -> dict[str, Any]:
    shown = [
        {
            "cell": cell,
            "picture": pictures[cell.file],
            "nearest": CLASSES[int(np.argmax(cell.probabilities))] if cell.label == OTHER else "",
        }
        for cell in cells
        if cell.file in pictures
    ]
    columns = min(max(len(shown), 1), 9)
    return {
        "key": key,
        "name": name,
        "count": len(cells),
        "cells": shown,
        "left_out": len(cells) - len(shown),
        # Small groups stand side by side: what a group asks for, and how wide its cells may grow.
        "room": max(columns * 7.5 + 2, 16.5),
        "fit": 200 if columns > 6 else columns * 7.75,
    }


def _pictures(files: Iterable[str], folder: Path, side: int, threads: int | None) -> dict[str, str]:
    """Data addresses of small pictures by file; empty where the file is gone since."""

    def picture(file: str) -> str:
        try:
            image = read_image(folder / file)
        except UnreadableImage:
            return ""
        scale = side / max(image.shape[:2])
        if scale < 1:
            size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(
            ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        )
        if not done:
            raise CellnetError(f"cannot make a small picture of {folder / file}")
        return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"

    return dict(in_order(picture, files, threads))


def _scale(report: SmearReport) -> dict[str, Any]:
    """Places of the marks on the scale of the dysplastic share, in per cent of its length."""
    end = scale_end(report)
    low, high = report.dysplastic_fraction_ci95 or (0.0, 0.0)
    steps = 5
    return {
        "known": report.dysplastic_fraction is not None,
        "low": 100 * low / end,
        "width": 100 * (high - low) / end,
        "share": 100 * (report.dysplastic_fraction or 0.0) / end,
        "threshold": 100 * report.threshold / end,
        "who": 100 * WHO_SHARE / end,
        "ticks": [(100 * i / steps, f"{100 * end * i / steps:.0f} %") for i in range(steps + 1)],
    }


def _bars(report: SmearReport) -> list[dict[str, Any]]:
    """The differential, most frequent first; the dysplastic part of the neutrophils apart."""
    entries = report.differential
    longest = max(entry["fraction"] for entry in entries.values()) or 1.0
    order = sorted((*CLASSES, OTHER), key=lambda name: (-entries[name]["count"], name == OTHER))
    bars = []
    for name in order:
        entry = entries[name]
        width = 100 * entry["fraction"] / longest
        part = 0.0
        if name == NEUTROPHIL and entry["count"]:
            part = width * report.dysplastic / entry["count"]
        bars.append({"name": NAMES[name], "key": name, "width": width, "part": part, **entry})
    return bars


def _panels(report: SmearReport) -> list[dict[str, Any]]:
    """What each specialist said, for a table of its own."""
    panels = []
    for name, found in report.specialist_counts.items():
        most = max(found["counts"].values()) or 1
        bars = [
            {
                "name": label,
                "count": count,
                "fraction": found["fractions"][label],
                "width": 100 * count / most,
            }
            for label, count in found["counts"].items()
        ]
        panels.append({"name": name, "of": NAMES[found["of"]], "cells": found["cells"],
                       "bars": bars})  # fmt: skip
    return panels


def _origin(report: SmearReport) -> list[dict[str, str]]:
    """Where cut-off and threshold come from."""
    point = report.point
    lines = []
    for name, value, rule, fit, by_hand in (
        (
            "Cell cut-off",
            f"{report.cutoff:.6g}",
            "a neutrophil is dysplastic where its granularity score is at or below it",
            point.cell if point else None,
            "given by hand for this report",
        ),
        (
            "Smear threshold",
            percent(report.threshold),
            "a smear is suspected where the dysplastic share of its neutrophils is above it",
            point.smear if point else None,
            "given by hand for this report, or fitted with another cell cut-off",
        ),
    ):
        told = by_hand if point else ""
        if fit:
            told = f"fitted on {fit.fitted_on.get('split', 'a set')}"
            counts = [
                f"{fit.fitted_on[key]} {word}"
                for key, word in (
                    ("dysplastic", "dysplastic"),
                    ("normal", "normal cells"),
                    ("mds", "MDS"),
                    ("healthy", "healthy smears"),
                )
                if key in fit.fitted_on
            ]
            told += f" ({' and '.join(counts)})" if counts else ""
            low, high = fit.auc["ci95"]
            told += f", AUC {fit.auc['value']:.3f} (95 % interval {low:.3f} to {high:.3f})"
        lines.append({"name": name, "value": value, "rule": rule, "told": told})
    return lines
