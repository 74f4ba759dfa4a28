"""Explanations as one page, and their plots: made of ``explanations.json`` and the pictures beside.

The page is one file that loads nothing from elsewhere. Unlike the pages of evaluations it shows
photographs, since they are what is explained: whoever passes it on passes on the cells.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from cellnet.cells import GRANULARITY
from cellnet.errors import CellnetError
from cellnet.explain_faithfulness import ORDERS, TESTS
from cellnet.foreign_text import printable
from cellnet.images import read_image
from cellnet.measured_page import (
    COLOURS,
    DYSPLASTIC,
    FAINT,
    NORMAL,
    drawing,
    environment,
    picture,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["page", "write_plots"]

KINDS = ("cell", "overlay", "map", "guided")
_SIDE, _SHEET_SIDE, _QUALITY = 240, 480, 85
_MARKERS = "osD^v<>P"
_OWN = {None: FAINT, GRANULARITY[0]: DYSPLASTIC, GRANULARITY[1]: NORMAL}
_SPACES = {"pixels": "t-SNE of the pixels", "features": "t-SNE of the features"}


def page(document: dict[str, Any], folder: Path) -> str:
    """Make the page.

    Args:
        document: What `cellnet.explain.explain` gives, or the same read from its JSON.
        folder: Where the pictures are.

    Returns:
        One HTML document that loads nothing from elsewhere.

    Raises:
        CellnetError: A picture is missing.
    """
    shown = []
    for cell in document["cells"]:
        if cell["pictures"] is None:
            continue
        pictures = {kind: _inside(folder / cell["pictures"][kind], _SIDE) for kind in KINDS}
        sheets = {
            layer: _inside(folder / file, _SHEET_SIDE)
            for layer, file in cell["pictures"]["layers"].items()
        }
        shown.append({**cell, "pictures": pictures, "sheets": sheets})
    templates = environment()
    templates.filters["printable"] = printable
    return templates.get_template("explain.html").render(
        report=document,
        shown=shown,
        plots={
            name: picture(draw, told, height, 5.2)
            for name, (draw, told, height) in _plots(document).items()
        },
        orders=ORDERS,
        tests=TESTS,
    )


def write_plots(document: dict[str, Any], folder: Path) -> dict[str, str]:
    """Write each plot as a PNG file; their names below the folder, by plot."""
    files = {}
    for name, (draw, _, height) in _plots(document).items():
        files[name] = f"{name}.png"
        (folder / files[name]).write_bytes(drawing(draw, "png", height))
    return files


def _plots(document: dict[str, Any]) -> dict[str, tuple[Callable[[Axes], None], str, float]]:
    """What draws each plot, what is read out in its place, and its height in inches."""
    plots: dict[str, tuple[Callable[[Axes], None], str, float]] = {}
    plane, test = document["embedding"], document["faithfulness"]
    if plane is not None:
        for space, title in _SPACES.items():
            plots[f"tsne-{space}"] = (
                lambda axes, space=space: _plane(axes, plane, space),
                f"{title}, cells coloured by label",
                4.9,
            )
    if test is not None:
        for name in TESTS:
            plots[name] = (
                lambda axes, name=name: _curves(axes, test, name),
                f"Mean answer during {name} in the order of the map, of chance, of the middle",
                4.2,
            )
    return plots


def _plane(axes: Axes, found: dict[str, Any], space: str) -> None:
    labels = [*found["labels"], None]
    for number, label in enumerate(labels):
        points = [cell[space] for cell in found["cells"] if cell["label"] == label]
        if not points:
            continue
        across, up = np.array(points).T
        axes.scatter(
            across,
            up,
            s=16,
            lw=0.3,
            edgecolor="white",
            color=_OWN.get(label, COLOURS[number % len(COLOURS)]),
            marker="." if label is None else _MARKERS[number // len(COLOURS) % len(_MARKERS)],
            label=f"{'unknown' if label is None else printable(label)} ({len(points)})",
        )
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9, columnspacing=1.0,
        handletextpad=0.2,
    )  # fmt: skip


def _curves(axes: Axes, found: dict[str, Any], name: str) -> None:
    colours = dict(zip(ORDERS, (COLOURS[0], COLOURS[1], COLOURS[2]), strict=True))
    styles = dict(zip(ORDERS, ("-", (0, (4, 1.2)), (0, (1, 1))), strict=True))
    shares = np.linspace(0, 100, found["steps"] + 1)
    for order, curve in found["all"][name]["curves"].items():
        area = found["all"][name]["area"][order]["value"]
        axes.plot(
            shares, curve, color=colours[order], ls=styles[order], lw=2,
            label=f"{order} {area:.3f}",
        )  # fmt: skip
    done = "taken out" if name == "deletion" else "put in"
    axes.set(xlim=(0, 100), ylim=(0, 1.02), xlabel=f"pixels {done}, %", ylabel="mean answer")
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, title="area under the curve"
    )


def _inside(file: Path, side: int) -> str:
    """A small picture as a data address."""
    image = read_image(file)
    scale = side / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    if not done:
        raise CellnetError(f"cannot make a small picture of {file}")
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
