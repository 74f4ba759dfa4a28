"""What another JPEG decoder costs: real cells as Python and as Chromium decode them.

``browser.py`` has Chromium decode the cells and read them; here its pixels are held against
Python's, both go through the same networks, and what the app answers is held against Python too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.bundle import load
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.images import read_image
from cellnet.operating_point import is_dysplastic
from cellnet.smear import name_cell

SEED = 0


def choose(data: Path, count: int) -> list[Path]:
    """Choose cells from one sub-folder a class: half of them neutrophils, by a fixed seed.

    Args:
        data: The folder.
        count: How many; fewer come where there are fewer.
    """
    dice = random.Random(SEED)
    chosen: list[Path] = []
    others = [name for name in CLASSES if name != NEUTROPHIL]
    for names, wanted in (((NEUTROPHIL,), count // 2), (others, count - count // 2)):
        found = [file for name in names for file in sorted((data / name).glob("[!.]*.jpg"))]
        chosen += dice.sample(found, min(wanted, len(found)))
    return chosen


def compare(files: Sequence[Path], folder: Path, browser: dict[str, Any]) -> dict[str, Any]:
    """Hold Chromium's pixels, and the app's answers, against Python's.

    Args:
        files: The images.
        folder: Chromium's pixels of each, as ``NUMBER.rgb``.
        browser: What ``bench.mjs decode`` printed.
    """
    images = browser["images"]
    pixels = changed = cells = most = 0
    python, same_networks, app = [], [], []
    reader = _Reader()
    for number, (file, image) in enumerate(zip(files, images, strict=True)):
        ours = read_image(file)
        raw = np.fromfile(folder / f"{number}.rgb", dtype=np.uint8)
        theirs = raw.reshape(image["height"], image["width"], 3)
        if theirs.shape != ours.shape:
            raise RuntimeError(f"{file} is {ours.shape} in Python, {theirs.shape} in Chromium")
        apart = np.abs(ours.astype(np.int16) - theirs).max(axis=2)
        pixels += apart.size
        changed += int(np.count_nonzero(apart))
        cells += bool(apart.any())
        most = max(most, int(apart.max()))
        python.append(reader.read(ours))
        same_networks.append(reader.read(theirs))
        app.append((np.array(image["probabilities"]), image["granularity"]))
    return {
        "cells": len(images),
        "neutrophils": sum(granularity is not None for _, granularity in python),
        "engine": browser["engine"],
        "chromium": browser["chromium"],
        "cells_that_differ": cells,
        "pixels_that_differ": changed / pixels,
        "largest_difference": most,
        "same_networks": reader.differences(python, same_networks),
        "app": reader.differences(python, app),
    }


#: Eight probabilities, and a granularity score where the cell is called neutrophil.
Answer = tuple[np.ndarray, float | None]


class _Reader:
    """Both networks as cellnet runs them."""

    def __init__(self) -> None:
        self._networks = [(it, it.runtime()) for it in (load("model1"), load("dysplasianet"))]
        self._point = self._networks[1][0].operating_point()

    def read(self, image: np.ndarray) -> Answer:
        (naming, names), (scoring, scores) = self._networks
        probabilities = names.predict(naming.prepare(image)[None])[0]
        if name_cell(probabilities)[0] != NEUTROPHIL:
            return probabilities, None
        return probabilities, float(scores.predict(scoring.prepare(image)[None])[0].item())

    def differences(self, one: list[Answer], other: list[Answer]) -> dict[str, Any]:
        """How far two lists of answers to the same cells lie apart."""
        pairs = list(zip(one, other, strict=True))
        scored = [(a[1], b[1]) for a, b in pairs if a[1] is not None and b[1] is not None]
        calls = [tuple(is_dysplastic(g, self._point.cutoff) for g in pair) for pair in scored]
        return {
            "probability": max(float(np.abs(a[0] - b[0]).max()) for a, b in pairs),
            "granularity": max((abs(a - b) for a, b in scored), default=0.0),
            "labels": sum(name_cell(a[0])[0] != name_cell(b[0])[0] for a, b in pairs),
            "calls": sum(a != b for a, b in calls),
        }
