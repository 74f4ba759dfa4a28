"""Features of networks, named by support vector machines: the thesis's figure 4.7 and table 2.1.

Every network's features are computed once for every cell; every kernel is then tried by
cross-validation on the same folds, in which all that shows one patient, smear or photograph stands
together. Cells that a network of this project was trained with, or chosen by, are left out for all.
Each result is written when it is there, so an interrupted study goes on. The machines that are
stored in the end are trained on all cells; what they are worth is what the folds say.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellnet import svm
from cellnet.answer_measures import measure_answers
from cellnet.backbones import bind
from cellnet.bundle import Bundle
from cellnet.cautions import drawn_cautions, is_elsewhere
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.features import Extractor, extract, open_extractor
from cellnet.folds import deal, tied
from cellnet.manifest import Manifest, Row, label_counts
from cellnet.metrics import mean_and_sd
from cellnet.outputs import write_text
from cellnet.run_folder import read_kept
from cellnet.seen import bundles_of_file, unseen
from cellnet.tensorflow_import import import_tensorflow
from cellnet.training_set import prepared_cells
from cellnet.transfer_kept import read_result
from cellnet.transfer_recipe import FeatureSource, SvmStudy
from cellnet.truth import describe_manifest

__all__ = ["SCHEMA", "run"]

log = logging.getLogger(__name__)

SCHEMA = "cellnet/features-svm/1"


@dataclass(frozen=True)
class _Cells:
    """What is named: rows, their groups, and what was left out."""

    rows: list[Row]
    names: list[str]
    truth: np.ndarray
    left_out: dict[str, int]
    seen: int


def run(recipe: SvmStudy, data: Path, folder: Path) -> dict[str, Any]:
    """Run the experiment, or what is left of it.

    Args:
        recipe: What to do.
        data: A prepared folder or one with a sub-folder for each class.
        folder: Run folder. ``features/`` and ``results/`` hold what is done, ``svm/`` the trained
            machines.

    Returns:
        The report, ``"schema": "cellnet/features-svm/1"``, of plain JSON values.

    Raises:
        CellnetError: A network, its weights or the data cannot be used, or there are too few cells.
    """
    # All networks are opened before the first image is read: a wrong file shows at once.
    opened = [_open(source, recipe.seed) for source in recipe.features]
    networks = [it.about for it in opened]
    trained, unknown = _trained_by(recipe, opened)
    del opened  # VGG-16 alone is half a gigabyte
    manifest = prepared_cells(data, folder, recipe.data.adapter, recipe.data.seed, recipe.data.also)
    cells = _choose(recipe, manifest, [bundle for known in trained.values() for bundle in known])
    groups = tied(cells.rows)
    _check_folds(cells, groups, recipe.folds)
    bind(folder, networks)
    folds = deal(cells.truth.tolist(), groups, recipe.folds, recipe.seed)
    _bind_division(folder, cells.rows, folds)
    log.info(
        "%s: %d cells of %s in %d folds",
        recipe.name,
        len(cells.rows),
        ", ".join(cells.names),
        recipe.folds,
    )
    results = []
    for source, label, name in zip(
        recipe.features, recipe.labels, _file_names(recipe.labels), strict=True
    ):
        results += _results(recipe, source, label, name, manifest, cells, groups, folds, folder)
    return {
        "data": describe_manifest(manifest),
        "cells": {
            "n": len(cells.rows),
            "by_class": label_counts(cells.rows),
            "by_group": {
                name: int(np.count_nonzero(cells.truth == at))
                for at, name in enumerate(cells.names)
            },
            "left_out": cells.left_out,
            "seen_by_a_network": cells.seen,
            "tied_groups": len(set(groups.tolist())),
        },
        "groups": recipe.groups,
        "folds": {
            "n": recipe.folds,
            "seed": recipe.seed,
            "rule": "patient, smear, source cell and overlapping crops of one photograph stay in "
            "one fold",
            "cells": np.bincount(folds, minlength=recipe.folds).tolist(),
        },
        "cost": recipe.svm.cost,
        "warnings": _warnings(recipe, cells, results, trained, unknown),
        "results": results,
    }


def _bind_division(folder: Path, rows: Sequence[Row], folds: np.ndarray) -> None:
    """Keep how the cells are dealt out, so that no report mixes machines of two divisions.

    Raises:
        CellnetError: The folder was begun with another division.
    """
    lines = "".join(f"{row.sha256} {fold}\n" for row, fold in zip(rows, folds, strict=True))
    dealt = {"sha256": hashlib.sha256(lines.encode()).hexdigest()}
    file = folder / "folds.json"
    begun = read_kept(file, "it says how cells were dealt out, so choose another --run")
    if begun is None:
        write_text(file, json.dumps(dealt) + "\n")
    elif begun != dealt:
        raise CellnetError(
            f"{file}: the cells are dealt out otherwise than when this run was begun, with other "
            "data or by another version of cellnet; choose another --run"
        )


def _open(source: FeatureSource, seed: int) -> Extractor:
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(seed)  # of weights that are random, so that they stay the same
    return open_extractor(source.name, source.layer, source.weights, source.size, source.arguments)


def _trained_by(
    recipe: SvmStudy, opened: Sequence[Extractor]
) -> tuple[dict[str, list[Bundle]], list[str]]:
    """By label the bundles that say what trained its weights; and where that is not all known."""
    trained: dict[str, list[Bundle]] = {}
    unknown = []
    for source, label, extractor in zip(recipe.features, recipe.labels, opened, strict=True):
        if extractor.bundle is not None:
            trained[label] = [extractor.bundle]
        elif extractor.about["weights"]["from"] == "file":
            trained[label], whole = bundles_of_file(source.weights)
            if not whole:
                unknown.append(label)
    return trained, unknown


def _choose(recipe: SvmStudy, manifest: Manifest, bundles: Sequence[Bundle]) -> _Cells:
    """The cells that are named, in the manifest's order."""
    rows: list[Row] | None = list(manifest.rows)
    for bundle in bundles:
        rows = unseen(bundle, rows)
        if rows is None:
            raise CellnetError(
                f"the model {bundle.name} does not say which cells trained it, so its "
                "features could be measured on those; take one that says so (trained or shipped "
                "with this version of cellnet)"
            )
    group_of = {name: name for name in _classes(recipe)}
    names = [name for name in group_of if any(row.label == name for row in rows)]
    if recipe.groups is not None:
        group_of = {name: group for group, held in recipe.groups.items() for name in held}
        names = list(recipe.groups)
    used = [row for row in rows if row.label in group_of]
    if recipe.data.per_class is not None:
        used = _at_most(used, recipe.data.per_class, recipe.data.seed)
    return _Cells(
        used,
        names,
        np.array([names.index(group_of[row.label]) for row in used], np.int64),
        label_counts(row for row in rows if row.label not in group_of),
        len(manifest.rows) - len(rows),
    )


def _classes(recipe: SvmStudy) -> list[str]:
    """The classes that the data may have."""
    return [*CLASSES, *recipe.data.also]


def _at_most(rows: Sequence[Row], number: int, seed: int) -> list[Row]:
    """At most so many rows of each class, whichever the seed says."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.label, []).append(place)
    kept: set[int] = set()
    for label, members in sorted(places.items()):
        rng = np.random.default_rng((seed, *label.encode()))
        kept.update(rng.permutation(members)[:number].tolist())
    return [row for place, row in enumerate(rows) if place in kept]


def _check_folds(cells: _Cells, groups: np.ndarray, folds: int) -> None:
    held = {
        name: len(set(groups[cells.truth == at].tolist())) for at, name in enumerate(cells.names)
    }
    present = {name: number for name, number in held.items() if number}
    if len(present) < 2:
        raise CellnetError(
            f"two groups of cells are needed to tell apart, the data have {len(present)}: "
            f"{', '.join(present) or 'none'}"
        )
    for name, number in present.items():
        if number < folds:
            raise CellnetError(
                f"{folds} folds need {folds} cells of {name} of different patients, smears and "
                f"photographs, the data have {number}; take fewer folds in the recipe"
            )


def _results(
    recipe: SvmStudy,
    source: FeatureSource,
    label: str,
    name: str,
    manifest: Manifest,
    cells: _Cells,
    groups: np.ndarray,
    folds: np.ndarray,
    folder: Path,
) -> list[dict[str, Any]]:
    """All kernels on the features of one network, ``name`` in the names of its files."""
    places = {kernel: folder / "results" / f"{name}-{kernel}.json" for kernel in recipe.svm.kernels}
    done = {
        kernel: read_result(file, len(cells.rows), SCHEMA, "result")
        for kernel, file in places.items()
    }
    if all(done.values()):
        return [done[kernel] for kernel in recipe.svm.kernels]
    extractor = _open(source, recipe.seed)
    start = time.monotonic()
    features = extract(extractor, manifest, cells.rows, folder / "features" / name, label)
    seconds = time.monotonic() - start
    log.info("%s: %d features of %d cells", label, features.shape[1], len(features))
    for kernel, file in places.items():
        if done[kernel]:
            continue
        start = time.monotonic()
        called = np.full(len(features), -1, np.int64)
        right = []
        for fold, answers in svm.cross_validate(
            features, cells.truth, folds, kernel, recipe.svm.cost
        ):
            called[folds == fold] = answers
            right.append(float(np.mean(answers == cells.truth[folds == fold])))
        crossed = time.monotonic() - start
        trained = svm.machine(kernel, recipe.svm.cost).fit(features, cells.truth)
        stored = folder / "svm" / f"{name}-{kernel}.skops"
        stored.parent.mkdir(exist_ok=True)
        support = int(trained[-1].n_support_.sum())
        svm.save(
            trained,
            stored,
            {
                "answers": cells.names,
                "kernel": kernel,
                "cost": recipe.svm.cost,
                "features": extractor.about,
                "cells": len(features),
                "support_vectors": support,
            },
        )
        measured = measure_answers(cells.truth, called, cells.names, groups)
        done[kernel] = {
            "label": label,
            "features": extractor.about,
            "kernel": kernel,
            "seconds": {"features": round(seconds, 1), "cross_validation": round(crossed, 1)},
            "machine": stored.relative_to(folder).as_posix(),
            "support_vectors": support,
            "by_fold": {"accuracy": right, **mean_and_sd(right)},
            **measured,
        }
        file.parent.mkdir(exist_ok=True)
        write_text(file, json.dumps(done[kernel], indent=2, allow_nan=False) + "\n")
        log.info(
            "%s, %s: accuracy %.4f in %d folds",
            label,
            kernel,
            measured["accuracy"]["value"],
            recipe.folds,
        )
    return [done[kernel] for kernel in recipe.svm.kernels]


def _file_names(labels: Sequence[str]) -> list[str]:
    """The labels as names of files, each a different one."""
    names: list[str] = []
    for label in labels:
        plain = name = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")
        number = 2
        while name in names:
            name, number = f"{plain}-{number}", number + 1
        names.append(name)
    return names


def _warnings(
    recipe: SvmStudy,
    cells: _Cells,
    results: Sequence[dict[str, Any]],
    bundles: Mapping[str, Sequence[Bundle]],
    unknown: Sequence[str],
) -> list[str]:
    """Reasons for caution that stand beside every number."""
    found = []
    random = sorted(
        {it["label"] for it in results if it["features"]["weights"]["from"] == "random"}
    )
    if random:
        found.append(
            f"{', '.join(random)}: the weights are random, trained on nothing. These rows are a "
            "control; they say nothing of the method"
        )
    weights_of = {
        it["label"]: it["features"]["weights"]
        for it in results
        if it["features"]["weights"]["from"] in ("model", "file")
    }
    for label, weights in weights_of.items():
        # Keras offers ImageNet's as a file too.
        other = ", not" if weights["from"] == "model" else "; where they are not"
        found.append(
            f"{label}: the weights are {weights['told']}{other} those of ImageNet that the thesis "
            "used, its numbers are not comparable"
        )
    found += [
        f"{label}: what this file was trained on is not known; these cells may be among it, and "
        "its numbers would flatter it then"
        for label in unknown
    ]
    if cells.seen:
        found.append(
            f"{cells.seen} cells trained or chose a network whose features are used here, and "
            "were left out"
        )
    found += [
        f"{label}: its weights were trained on other cells of the same data set, if not of the "
        "same patients; on cells from elsewhere its numbers may be lower"
        for label, known in bundles.items()
        if any(_is_akin(bundle, cells.rows) for bundle in known)
    ]
    if not any(row.patient or row.smear for row in cells.rows):
        found.append(
            "no patient and no smear is known for any cell: cells of one patient may stand in two "
            "folds, so the numbers are optimistic and their intervals too narrow"
        )
    held = {cells.names[at] for at in set(cells.truth.tolist())}
    lacking = [name for name in recipe.groups or _classes(recipe) if name not in held]
    if lacking:
        found.append(
            f"there is no cell of: {', '.join(lacking)}. What is measured says nothing of how such "
            "cells are named, and its means are over the others"
        )
    if cells.left_out:
        told = ", ".join(f"{number} {name}" for name, number in cells.left_out.items())
        found.append(f"cells of classes that are in no group were left out: {told}")
    return [*found, *drawn_cautions(cells.rows)]


def _is_akin(bundle: Bundle, rows: Sequence[Row]) -> bool:
    """Whether some of the photographs are known to be of a data set that trained the bundle."""
    named = [row for row in rows if row.source and not drawn_cautions([row])]
    # All of no cells are elsewhere, unless the bundle does not say what trained it.
    return is_elsewhere(bundle, []) and not is_elsewhere(bundle, named)
