"""Simulate the five sets of the thesis's chapter 5 from normal cells.

The hypogranulated neutrophils, the smears and the proof of concept of chapter 5 were never
published. `simulate` stands in for them: it takes granules out of normal neutrophils by degrees
(`granularity`), varies their stain (`stain`), and writes sets of cells and whole smears. Normal and
dysplastic cells pass through the same code and the same encoder, so that no trace of either tells
them apart. Which cell goes where, and what a smear holds, is the business of `cohort_plan`.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from cellnet.adapters import Dropped, dropped_csv
from cellnet.cells import NEUTROPHIL
from cellnet.cohort_plan import (
    DYSPLASTIC_G,
    NORMAL_G,
    OTHER_SHARES,
    SHARES,
    Plan,
    SmearTruth,
    Source,
    check_sets,
    partition,
    plan_versions,
)
from cellnet.duplicates import turned
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.granularity import default_sigma, segment, suppress
from cellnet.images import decode_image, read_bytes, write_jpeg
from cellnet.manifest import (
    COHORT_SPLITS,
    Manifest,
    Row,
    check_disjoint,
    read_manifest,
    write_manifest,
)
from cellnet.outputs import new_folder
from cellnet.stain import apply_stain

__all__ = ["Plan", "simulate"]

log = logging.getLogger(__name__)

FEW = 200  # cells; starting processes for fewer takes longer than it saves


def simulate(
    manifest: str | Path | Manifest,
    out: str | Path,
    seed: int,
    plan: Plan | None = None,
    workers: int | None = None,
    partial: bool = False,
) -> Manifest:
    """Write the five sets of chapter 5 into a new folder.

    ``train`` is made from the manifest's split "train", ``validation`` from "validation"; the three
    test sets share out "test", by patient and smear where they are known, else by source cell.
    Within ``test-by-smear`` and within ``proof-of-concept`` a source cell may be seen in several
    smears (each time with another degree of suppression, stain and orientation), in one smear
    never twice: smears of one set are thus not independent patients. ``manifest.json`` says so.

    The folder gets ``SET/normal``, ``SET/dysplastic`` (train, validation, test-by-cell) and
    ``SET/SMEAR`` (the others), ``manifest.csv`` and ``manifest.json`` (of neutrophils
    the suppression g: normal up to 0.2, dysplastic from 2/3), ``truth.csv`` (a row a
    smear) and ``dropped.csv`` (each source cell that could not be used, and why). The same
    manifest, plan and seed give the same bytes, with any number of workers.

    Args:
        manifest: The real cells, as `cellnet.prepare` lists them.
        out: The folder to make; it may exist when it is empty.
        seed: 0 or more.
        plan: How much to make; the default is chapter 5's size.
        workers: Processes; None takes one a core.
        partial: Leave a test set out, with a warning and a note in ``manifest.json``, where the
            manifest has too few cells for it (a small laboratory that only wants to train).

    Returns:
        The manifest that was written.

    Raises:
        CellnetError: When the manifest lacks cells, a source stands on two sides, or `out` is not
            empty.
    """
    plan = plan or Plan()
    if seed < 0:
        raise CellnetError(f"the seed must be 0 or more, got {seed}")
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest)
    manifest.check_files()
    check_disjoint(manifest.rows, f"the manifest {manifest.file or manifest.root}")
    workers = workers or os.cpu_count() or 1
    with new_folder(out) as folder:
        sources, dropped = _survey(manifest, workers)
        sets = partition(sources, seed)
        truth, not_made = plan_versions(sets, plan, seed, partial)
        used = [source for source in sources if source.versions]
        check_sets(used)
        rows = _write(used, manifest.root, folder, plan, workers)
        check_disjoint(rows, "the cohort")
        _write_csv(
            folder / "truth.csv",
            [asdict(t) for t in truth],
            [column.name for column in fields(SmearTruth)],
        )
        (folder / "dropped.csv").write_text(dropped_csv(dropped), encoding="utf-8")
        write_manifest(
            folder, rows, ".", _about(manifest, plan, seed, sets, truth, dropped, not_made)
        )
    for reason in not_made.values():
        log.warning("%s", reason)
    if dropped:
        log.warning(
            "%d source cells could not be used, see %s: %s",
            len(dropped),
            Path(out) / "dropped.csv",
            ", ".join(f"{number} {reason}" for reason, number in _by_reason(dropped).items()),
        )
    return read_manifest(out)


def _about(
    manifest: Manifest,
    plan: Plan,
    seed: int,
    sets: dict[str, list[Source]],
    truth: list[SmearTruth],
    dropped: list[Dropped],
    not_made: dict[str, str],
) -> dict[str, Any]:
    return {
        "adapter": "simulate",
        "seed": seed,
        "plan": asdict(plan),
        "test_shares": {"neutrophil": SHARES, "others": OTHER_SHARES},
        "suppression": {
            "meaning": "share g of the cytoplasm's granular residue that was taken out",
            "normal": NORMAL_G,
            "dysplastic": DYSPLASTIC_G,
            "operator": "masked Gaussian base + (1 - g) * residue (cellnet.granularity.suppress), "
            "sigma 0.75 to 1.5 times its default, pallor 0 to 1",
        },
        "simulated": "hypogranulation, smears and diagnoses are simulated from normal cells; the "
        "proportions beside 3,000 training images a class are this project's choice",
        "repeats": "within test-by-smear and proof-of-concept a source cell may be seen in several "
        "smears, in one smear never twice; no source cell is in two sets",
        "source_cells": {
            name: dict(sorted(Counter(s.row.label for s in found if s.versions).items()))
            for name, found in sets.items()
        },
        "smears": dict(sorted(Counter(f"{t.set} {t.diagnosis}" for t in truth).items())),
        "not_made": not_made,
        "dropped": _by_reason(dropped),
        "made_from": {
            "seed": manifest.about.get("seed"),
            "adapter": manifest.about.get("adapter"),
            "images": len(manifest.rows),
        },
    }


def _by_reason(dropped: Sequence[Dropped]) -> dict[str, int]:
    return dict(sorted(Counter(it.reason for it in dropped).items()))


# --- which cells can be used -------------------------------------------------------------------


def _survey(manifest: Manifest, workers: int) -> tuple[list[Source], list[Dropped]]:
    """Find the cytoplasm of every neutrophil, and who cannot be used."""
    wanted, dropped = [], []
    seen: dict[str, str] = {}
    for row in manifest.rows:
        key = row.source_cell or row.sha256
        if row.split not in ("train", "validation", "test") or (
            row.label != NEUTROPHIL and row.split != "test"
        ):
            continue  # the smears alone hold other cells
        if row.label == NEUTROPHIL and float(row.suppression or 0) > 0:
            detail = f"g = {row.suppression}"
            dropped.append(Dropped(row.path, "granules suppressed already", detail))
        elif key in seen:
            dropped.append(Dropped(row.path, "same source cell", f"as {seen[key]}"))
        else:
            seen[key] = row.path
            wanted.append(Source(row, key))
    tasks = [(manifest.root, source.row) for source in wanted]
    usable = []
    for source, found in zip(
        wanted, _parallel(_look, tasks, workers, "finding cytoplasm"), strict=True
    ):
        if isinstance(found, Dropped):
            dropped.append(found)
        else:
            source.shape, source.packed = found
            usable.append(source)
    # Sorted, so that the order of the manifest's rows decides nothing.
    return sorted(usable, key=lambda s: s.key), sorted(dropped, key=lambda it: it.path)


def _look(task: tuple[Path, Row]) -> Dropped | tuple[tuple[int, int], bytes]:
    """Give an image's shape and packed cytoplasm, or why it cannot be used."""
    root, row = task
    try:
        image = _load(root / row.path, row.sha256)
    except UnreadableImage as error:
        return Dropped(row.path, "unreadable", error.reason)
    if row.label != NEUTROPHIL:
        return image.shape[:2], b""
    cell = segment(image)
    if cell.problem:
        return Dropped(row.path, "no cytoplasm", cell.problem)
    return image.shape[:2], np.packbits(cell.cytoplasm).tobytes()


def _load(path: Path, sha256: str) -> np.ndarray:
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UnreadableImage(path, "the file is not the one that the manifest lists (sha256)")
    return decode_image(data, name=str(path))


# --- writing it --------------------------------------------------------------------------------


def _write(
    sources: Sequence[Source], root: Path, folder: Path, plan: Plan, workers: int
) -> list[Row]:
    """Write every version; the rows in the order of their paths."""
    for name in sorted({str(Path(v.path).parent) for s in sources for v in s.versions}):
        (folder / name).mkdir(parents=True)
    tasks = [(source, root, folder, plan.quality) for source in sources]
    rows = []
    for source, hashes in zip(
        sources, _parallel(_make, tasks, workers, "writing cells"), strict=True
    ):
        for version, sha256 in zip(source.versions, hashes, strict=True):
            rows.append(
                replace(
                    source.row,
                    path=version.path,
                    sha256=sha256,
                    smear=version.smear,
                    source_cell=source.key,
                    split=version.split,
                    suppression="" if version.g is None else f"{version.g:.4f}",
                )
            )
    return sorted(rows, key=lambda row: (COHORT_SPLITS.index(row.split), row.path))


def _make(task: tuple[Source, Path, Path, int]) -> list[str]:
    """Write all versions of one source cell; return their hashes."""
    source, root, folder, quality = task
    image = _load(root / source.row.path, source.row.sha256)
    height, width = source.shape
    mask = None
    if source.packed:
        bits = np.frombuffer(source.packed, np.uint8)
        mask = np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
    hashes = []
    for version in source.versions:
        made = image
        if mask is not None and version.g is not None:
            made = suppress(
                image, mask, version.g, default_sigma(mask) * version.blur, version.pallor
            )
        made = turned(apply_stain(made, version.stain), version.turn)
        path = folder / version.path
        write_jpeg(path, made, quality=quality)
        hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return hashes


def _parallel(work: Callable, tasks: Sequence, workers: int, title: str) -> Iterator:
    """Yield the results in order, with a progress bar; few tasks stay in this process."""
    bar = {"total": len(tasks), "desc": title, "unit": "cell", "disable": None}
    if workers == 1 or len(tasks) < FEW:
        yield from tqdm(map(work, tasks), **bar)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a threaded program can hang
    with ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
        yield from tqdm(pool.map(work, tasks, chunksize=16), **bar)


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
