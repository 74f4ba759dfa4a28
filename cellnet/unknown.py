"""Cells of kinds that Model 1 never saw: what it calls them, and what would tell them from others.

The experiment of the thesis's section 6.4, with intervals, and beyond it: two more scores beside
the rule that no class holds. Known cells are those of a manifest's split that the model has not
seen; unknown ones stand in a folder of their own, or are of a class that the model's recipe left
out. A cell that trained the model, or that the manifest lists under a class it knows, is never
taken as unknown. What is computed is written in ``unknown_measure``, the page in ``unknown_page``.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cellnet import __version__
from cellnet.answering import Answers, answer
from cellnet.bundle import Bundle, load
from cellnet.cautions import cautions, unit_cautions
from cellnet.cells import CLASSES, OTHER
from cellnet.errors import CellnetError
from cellnet.evaluate import MEASURING
from cellnet.intervals import REPEATS, proportion
from cellnet.manifest import Manifest, check_disjoint, read_manifest
from cellnet.novelty import Insides, energy, fit_clouds, improbability, look_into
from cellnet.outputs import write_text
from cellnet.smear import HOLDS, name_cells
from cellnet.truth import describe_manifest, told_groups
from cellnet.unknown_cells import (
    known_rows,
    left_out_of,
    nothing_left,
    own_rows,
    strangers_in,
    tied,
)
from cellnet.unknown_measure import compare_scores, nine_columns
from cellnet.versions import environment

__all__ = ["FITTED_ON", "SCHEMA", "SCORES", "unknown"]

log = logging.getLogger(__name__)

SCHEMA = "cellnet/unknown/1"

FITTED_ON = "train"
"""The side of the manifest that distances are fitted on; nothing is measured on it."""

FEW = 30
"""Types with fewer cells are told."""

POOR = 0.8
"""A warning is given where, on the mean over the classes, fewer known cells are named right: then
one known cell in five and more is as foreign to the network as an unknown one."""

PROBABILITY, ENERGY, MAHALANOBIS = SCORES = ("probability", "energy", "mahalanobis")

_TOLD = {
    PROBABILITY: "1 - the largest probability; the program's rule is that no class holds at "
    f"{1 - HOLDS:g} and above",
    ENERGY: "- log of the sum of exp(logits)",
    MAHALANOBIS: "squared Mahalanobis distance to the nearest class mean in the last hidden layer; "
    "one covariance for all classes, shrunk",
}


def unknown(
    model: str | Path | Bundle,
    manifest: str | Path | Manifest,
    split: str = "test",
    unknown: str | Path | None = None,
    html: str | Path | None = None,
    out: str | Path | None = None,
    group: str = "auto",
    repeats: int = REPEATS,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure what a Model 1 makes of cells of kinds that it never saw.

    Args:
        model: A bundle that names the eight classes: its name, its folder, or the loaded bundle.
        manifest: A manifest: its folder, its file, or the manifest itself. Cells of its train side
            fit the distances; of `split` those that the model has not seen are the known cells.
        split: The split of the known cells; not ``train``.
        unknown: A folder of unknown cells, a sub-folder for each type; images that stand in it
            directly are one type, called like the folder. None where the model's recipe left a
            class out: the manifest's cells of that class, of every side, are unknown then (and,
            with a folder, beside it).
        html: Write a self-contained page there too.
        out: Write the answer there too, as JSON.
        group: What ties cells together, see `cellnet.truth.groups_of`; images of the folder stand
            alone.
        repeats: Bootstrap samples.
        seed: Seed of the bootstrap.
        progress: Show bars on standard error.

    Returns:
        The document ``cellnet/unknown/1`` (``cellnet/schemas/unknown.json``), of plain JSON values.

    Raises:
        CellnetError: The bundle is no Model 1, there is nothing unknown, no image could be used, a
            sub-folder is called like a class that the model knows, TensorFlow or the extra for
            plots is not installed, or a file cannot be written.
    """
    if html is not None:
        from cellnet.unknown_page import require_plots

        require_plots()
    bundle = (model if isinstance(model, Bundle) else load(model)).require_eight()
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest)
    left_out = left_out_of(bundle)
    if unknown is None and not left_out:
        raise CellnetError(
            f"{bundle.name} was taught all eight classes, so the manifest holds nothing that it "
            "never saw: give --unknown DIR, or a model whose recipe has data.left_out"
        )
    if split == FITTED_ON:
        raise CellnetError(
            f"the split '{split}' is what distances are fitted on, so nothing is measured on it; "
            "give another --split"
        )
    check_disjoint(manifest.rows, str(manifest.file or manifest.root))
    taught, known_seen = known_rows(bundle, manifest, split, left_out)
    own, own_seen = own_rows(bundle, manifest, left_out)
    strangers = None
    if unknown is not None:
        strangers = strangers_in(Path(unknown), bundle, manifest, left_out)
    if not own and not (strangers and strangers.manifest.rows):
        raise CellnetError(nothing_left(bundle, unknown, left_out, strangers))
    insides = Insides(bundle)

    known = answer(bundle, manifest, taught, progress)
    parts = []
    if own:
        parts.append((manifest, answer(bundle, manifest, own, progress)))
    if strangers is not None and strangers.manifest.rows:
        given = answer(bundle, strangers.manifest, strangers.manifest.rows, progress)
        parts.append((strangers.manifest, given))
    rows = [*known.rows, *(row for _, found in parts for row in found.rows)]
    sources = [found for _, found in parts]
    places = ["manifest" if where is manifest else "folder" for where, _ in parts]
    is_unknown = np.arange(len(rows)) >= len(known.rows)
    probabilities = np.concatenate([known.outputs, *(found.outputs for _, found in parts)])
    looks = [_look(insides, where, found, progress) for where, found in ((manifest, known), *parts)]
    features = np.concatenate([features for features, _ in looks])
    logits = np.concatenate([logits for _, logits in looks])

    fitted, distance, fit_unreadable = _distances(insides, manifest, left_out, features, progress)
    scores = {PROBABILITY: improbability(probabilities), ENERGY: energy(logits)}
    if distance is not None:
        scores[MAHALANOBIS] = distance
    column, groups = tied(rows, strangers, group)
    labels = np.array([row.label for row in rows])
    types = list(dict.fromkeys(labels[is_unknown].tolist()))
    classes = [name for name in CLASSES if (labels[~is_unknown] == name).any()]
    called = name_cells(probabilities)
    is_other = called == len(CLASSES)

    def share(members: np.ndarray) -> dict[str, Any]:
        ties = None if groups is None else groups[members]
        return proportion(is_other[members], ties).to_json()

    kinds = [(name, True, ~is_unknown & (labels == name)) for name in classes]
    kinds += [(name, False, is_unknown & (labels == name)) for name in types]
    matrix = nine_columns(probabilities, kinds, groups)
    compared = compare_scores(scores, is_unknown, labels, types, is_other, groups, repeats, seed)
    for name, found in compared["scores"].items():
        compared["scores"][name] = {"told": _TOLD[name], **found}
    unreadable = [
        *known.unreadable,
        *(entry for _, found in parts for entry in found.unreadable),
        *(strangers.unreadable if strangers else []),
    ]
    refused = strangers.refused if strangers else []
    largest = float(np.abs(_softmax(logits) - probabilities).max())
    result = {
        "schema": SCHEMA,
        "model": bundle.identity(),
        "left_out": list(left_out),
        "data": describe_manifest(manifest),
        "split": split,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cellnet": __version__,
        "environment": environment(*MEASURING),
        "bootstrap": {"samples": repeats, "seed": seed},
        "rule": f"the class with a probability over {HOLDS}, else {OTHER}",
        "groups": told_groups(column, groups),
        "known": {
            "n": int(np.count_nonzero(~is_unknown)),
            "counts": {name: int((labels[~is_unknown] == name).sum()) for name in classes},
            "seen_and_left_out": known_seen,
        },
        "unknown": {
            "n": int(np.count_nonzero(is_unknown)),
            "types": {
                name: {
                    "n": int((labels[is_unknown] == name).sum()),
                    "from": [
                        place
                        for place, found in zip(places, sources, strict=True)
                        if any(row.label == name for row in found.rows)
                    ],
                }
                for name in types
            },
            "seen_and_left_out": own_seen,
            "splits": dict(Counter(row.split for row in rows[len(known.rows) :] if row.split)),
            "folder": None if unknown is None else Path(unknown).resolve().name,
        },
        "refused": refused,
        "unreadable": unreadable,
        "matrix": matrix,
        "called_other": {"known": share(~is_unknown), "unknown": share(is_unknown)},
        "fitted": fitted,
        "largest_difference": largest,
        **compared,
        "cells": [
            {
                "file": rows[at].path,
                "type": rows[at].label,
                "called": (*CLASSES, OTHER)[called[at]],
                "probability": float(probabilities[at].max()),
                **{name: float(score[at]) for name, score in scores.items() if name != PROBABILITY},
            }
            for at in np.flatnonzero(is_unknown)
        ],
        "warnings": [
            *_seen_warnings(bundle, known_seen, own_seen),
            *_right_warnings(bundle, matrix),
            *_folder_warnings(unknown),
            *_own_warnings(fitted, refused, fit_unreadable, types, labels[is_unknown]),
            *cautions(bundle, manifest, known.rows, unreadable, {}),
            *unit_cautions(known.rows, column),
        ],
    }
    for entry in unreadable:
        log.warning("not used: %s: %s", entry["file"], entry["reason"])
    if out is not None:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(Path(out), text)
    if html is not None:
        from cellnet.unknown_page import render

        write_text(Path(html), render(result))
    return result


# --- what the network makes of them ------------------------------------------------------------


def _look(
    insides: Insides, manifest: Manifest, found: Answers, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits of cells that were answered, in their order."""
    seen = look_into(insides, manifest, found.rows, insides.layer if progress else None)
    if seen.unreadable:  # it was read a moment ago
        first = seen.unreadable[0]
        raise CellnetError(
            f"{manifest.root / first['file']} has changed while it was measured: {first['reason']}"
        )
    return seen.features, seen.logits


def _distances(
    insides: Insides,
    manifest: Manifest,
    left_out: Sequence[str],
    features: np.ndarray,
    progress: bool,
) -> tuple[dict[str, Any], np.ndarray | None, list[dict[str, str]]]:
    """Fit class means and covariance on the train side, and measure how far off cells lie.

    Returns:
        What was fitted (``problem`` says why not, else it is None), the distances of the cells, and
        the training cells that could not be read.
    """
    rows = [row for row in manifest.rows if row.split == FITTED_ON and row.label not in left_out]
    fitted: dict[str, Any] = {
        "split": FITTED_ON,
        "layer": insides.layer,
        "features": insides.features,
        "cells": {},
        "shrinkage": None,
        "problem": None,
    }
    taught = [name for name in CLASSES if name not in left_out]
    counts = Counter(row.label for row in rows)
    scarce = [name for name in taught if counts[name] < 2]
    if scarce:
        fitted["problem"] = (
            f"the manifest has fewer than two cells of {', '.join(scarce)} on its side "
            f"'{FITTED_ON}', so no distance to them can be fitted"
        )
        return fitted, None, []
    seen = look_into(insides, manifest, rows, f"{FITTED_ON} side" if progress else None)
    labels = np.array([CLASSES.index(row.label) for row in seen.rows], dtype=np.int64)
    try:
        if set(labels.tolist()) != {CLASSES.index(name) for name in taught}:
            raise ValueError("not every class has a cell that can be read")
        clouds = fit_clouds(seen.features, labels)
    except ValueError as error:
        fitted["problem"] = f"no distance can be fitted on the side '{FITTED_ON}': {error}"
        return fitted, None, seen.unreadable
    fitted["cells"] = {
        CLASSES[label]: number for label, number in zip(clouds.labels, clouds.cells, strict=True)
    }
    fitted["shrinkage"] = clouds.shrinkage
    return fitted, clouds.distance(features), seen.unreadable


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


# --- caution -----------------------------------------------------------------------------------


def _seen_warnings(bundle: Bundle, seen: dict[str, int] | None, own: int) -> list[str]:
    if seen is None:
        return [
            f"the bundle {bundle.name} does not say which cells trained it, so known cells may be "
            "among these that it has seen"
        ]
    told = {"train": "trained", "validation": "chose the epoch of"}
    found = [
        f"{number} known cells {told[side]} {bundle.name}; they are left out"
        for side, number in seen.items()
        if number
    ]
    if own:
        found.append(
            f"{own} unknown cells of the manifest are left out: they show photographs that "
            f"{bundle.name} has seen under another class"
        )
    return found


def _right_warnings(bundle: Bundle, matrix: dict[str, Any]) -> list[str]:
    """Tell where the network does not know what it was taught."""
    at = {name: place for place, name in enumerate(matrix["columns"])}
    right = [row["counts"][at[row["name"]]] / row["n"] for row in matrix["rows"] if row["known"]]
    mean = float(np.mean(right))
    if mean >= POOR:
        return []
    return [
        f"{bundle.name} names {100 * mean:.1f} % of the known cells right, on the mean over the "
        f"classes; below {100 * POOR:g} % what it makes of unknown cells says little: train it "
        "better first"
    ]


def _folder_warnings(folder: str | Path | None) -> list[str]:
    if folder is None:
        return []
    return [
        "images of the folder were compared with known cells and with those that trained the model "
        "byte for byte: one that was saved again, resized or cut is taken as unknown"
    ]


def _own_warnings(
    fitted: dict[str, Any],
    refused: Sequence[dict[str, str]],
    unreadable: Sequence[dict[str, str]],
    types: Sequence[str],
    labels: np.ndarray,
) -> list[str]:
    found = []
    if fitted["problem"]:
        found.append(f"no Mahalanobis distance: {fitted['problem']}")
    if unreadable:
        found.append(
            f"{len(unreadable)} cells of the side '{FITTED_ON}' could not be read and fitted "
            f"nothing, the first is {unreadable[0]['file']}: {unreadable[0]['reason']}"
        )
    if refused:
        found.append(f"{len(refused)} images of the folder are no unknown cells and were left out")
    few = [name for name in types if np.count_nonzero(labels == name) < FEW]
    if few:
        found.append(f"fewer than {FEW} cells of {', '.join(few)}: their intervals are wide")
    if len(types) == 1:
        found.append(
            f"{types[0]} is the only unknown type: how other types fare cannot be told from it"
        )
    return found
