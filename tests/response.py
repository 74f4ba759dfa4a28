"""Neutrophils with their granules taken out step by step, each cell by itself and all ways alike.

How a granularity score answers to suppression is measured on these: five degrees of each cell, by
the operator that training used and by the others of ``operators``, which trained nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from operators import OPERATORS

from cellnet.cells import NEUTROPHIL
from cellnet.granularity import segment, suppress
from cellnet.images import read_image, write_jpeg
from cellnet.manifest import Manifest, read_manifest, write_manifest

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Share of the granules taken out."""

WAYS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "own": suppress,
    **OPERATORS,
}
"""Operators by name; training used none but ``own``."""


def write_response(manifest: Manifest, out: Path, way: str, cells: int, seed: int = 0) -> Manifest:
    """Write five degrees of neutrophils of the test side, and their manifest (split "test").

    Args:
        manifest: Real cells, as `cellnet.prepare` lists them.
        out: The folder to write.
        way: A name in `WAYS`.
        cells: How many neutrophils; those without a cytoplasm to be found are passed over.
        seed: Chooses them.
    """
    rows = [row for row in manifest.split("test") if row.label == NEUTROPHIL]
    made, passed_over = [], 0
    for number in np.random.default_rng(seed).permutation(len(rows)):
        if len(made) == cells * len(STEPS):
            break
        row = rows[number]
        image = read_image(manifest.path_of(row))
        cell = segment(image)
        if cell.problem:
            passed_over += 1
            continue
        for g in STEPS:
            path = f"g{100 * g:03.0f}/{Path(row.path).stem}.jpg"
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            write_jpeg(out / path, WAYS[way](image, cell.cytoplasm, g), quality=95)
            sha256 = hashlib.sha256((out / path).read_bytes()).hexdigest()
            made.append(replace(row, path=path, sha256=sha256, source_cell=row.sha256,
                                suppression=f"{g:.4f}"))  # fmt: skip
    about = {
        "adapter": f"granules taken out by '{way}'",
        "seed": seed,
        "dropped": {"without a cytoplasm to be found": passed_over},
        "simulated": "granules were taken out of normal neutrophils"
        + ("" if way == "own" else ", by an operator that nothing was trained on"),
    }
    write_manifest(out, made, ".", about)
    return read_manifest(out)
