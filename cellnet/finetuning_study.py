"""Fine-tuning networks of Keras: how many blocks learn, and from how many images (table 4.3).

Every form is trained on the train side and measured on the validation side, which chooses one form
of each network. That one alone is measured on the test side, beside the same form trained on
classes as frequent as they are on the train side (figures 4.17 and 4.18 of the thesis). A form that
is done is not trained again, and one that was stopped goes on from its last epoch.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet import networks
from cellnet.answer_measures import measure_answers
from cellnet.backbones import bind, blocks_of, without_top
from cellnet.batches import Pool, evaluation_batches
from cellnet.cautions import drawn_cautions
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.folds import tied
from cellnet.intervals import proportion
from cellnet.manifest import Manifest, Row, label_counts
from cellnet.metrics import balanced_accuracy
from cellnet.outputs import write_text
from cellnet.recipe import Recipe
from cellnet.seen import bundles_of_file, unseen
from cellnet.tensorflow_import import import_tensorflow
from cellnet.training_set import TrainingSet, prepared_cells
from cellnet.transfer_kept import read_result
from cellnet.transfer_recipe import Backbone, FineTuning
from cellnet.truth import describe_manifest
from cellnet.weight_files import stable_names

if TYPE_CHECKING:
    import keras

__all__ = ["SCHEMA", "run"]

log = logging.getLogger(__name__)

SCHEMA = "cellnet/fine-tuning/1"

_WEIGHTS = "best.weights.h5"


def run(recipe: FineTuning, data: Path, folder: Path) -> dict[str, Any]:
    """Run the experiment, or what is left of it.

    Args:
        recipe: What to do.
        data: A prepared folder or one with a sub-folder for each class.
        folder: Run folder; ``runs/`` holds a folder for each training.

    Returns:
        The report, ``"schema": "cellnet/fine-tuning/1"``, of plain JSON values.

    Raises:
        CellnetError: A network, its weights or the data cannot be used.
    """
    backbones = {one.name: _look_at(recipe, one) for one in recipe.backbones}
    manifest = prepared_cells(data, folder, recipe.data.adapter, recipe.data.seed)
    manifest, seen, unknown = _without_seen(recipe.backbones, backbones, manifest)
    sides = {
        side: [row for row in manifest.rows if row.split == side]
        for side in ("train", "validation", "test")
    }
    missing = [name for name in CLASSES if not any(row.label == name for row in sides["train"])]
    if missing:
        raise CellnetError(
            f"the data have no {missing[0]} to train with; fine-tuning needs all of "
            f"{', '.join(CLASSES)}"
        )
    for side in ("validation", "test"):
        if not sides[side]:
            told = f" that no network has seen ({seen} were left out)" if seen else ""
            raise CellnetError(
                f"the data have no cell on the side '{side}'{told}; fine-tuning chooses on "
                "validation and is measured on test: give data with more cells, patients or smears"
            )
    _check_batch(recipe, manifest)
    bind(folder, [{"backbone": name, **about} for name, about in backbones.items()])
    results = []
    for backbone in recipe.backbones:
        forms = [
            _form(recipe, backbone, free, images, manifest, folder)
            for free in recipe.free_blocks
            for images in recipe.images_per_class
        ]
        monitor = recipe.training.monitor.removeprefix("val_")
        # Of equals the one that learns less from less.
        best = max(
            forms,
            key=lambda form: (form[monitor]["value"], -form["free"], -form["images_per_class"]),
        )
        tests = {"balanced": _test(recipe, backbone, best, True, manifest, folder)}
        if recipe.unbalanced:
            tests["unbalanced"] = _test(recipe, backbone, best, False, manifest, folder)
        results.append(
            {
                "backbone": backbone.name,
                **backbones[backbone.name],
                "forms": forms,
                "chosen": {key: best[key] for key in ("free", "images_per_class")},
                "chosen_by": f"the highest {monitor.replace('_', ' ')} on the validation side; of "
                "equals fewer free blocks, then fewer images",
                "tests": tests,
            }
        )
    return {
        "data": describe_manifest(manifest),
        "cells": {side: label_counts(rows) for side, rows in sides.items()},
        "free_blocks": recipe.free_blocks,
        "images_per_class": recipe.images_per_class,
        "epochs": recipe.training.epochs,
        "warnings": _warnings(results, sides, seen, unknown),
        "results": results,
    }


def _look_at(recipe: FineTuning, backbone: Backbone) -> dict[str, Any]:
    """Build a network once before hours are spent, and say what it is.

    Raises:
        CellnetError: It cannot be built, its weights do not fit, or it has too few blocks.
    """
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(recipe.training.seed)  # as training will: random weights stay so
    body, about = without_top(backbone.name, backbone.weights, backbone.size, backbone.arguments)
    blocks, names = blocks_of(body), stable_names(body)
    if max(recipe.free_blocks) > len(blocks):
        raise CellnetError(
            f"{backbone.name} has {len(blocks)} convolutional blocks, the recipe frees "
            f"{max(recipe.free_blocks)}; lower free_blocks"
        )
    return {
        "pooling": backbone.pooling,
        "hidden": backbone.hidden,
        "preprocessing": about["preprocessing"],
        "arguments": about["arguments"],
        "weights": about["weights"],
        "blocks": len(blocks),
        "first_layer_of_last_blocks": {
            str(free): names[blocks[-free][0]] if free else None for free in recipe.free_blocks
        },
    }


def _without_seen(
    chosen: Sequence[Backbone], about: Mapping[str, dict[str, Any]], manifest: Manifest
) -> tuple[Manifest, int, list[str]]:
    """Leave out cells of validation and test that a network's file of weights has seen.

    Returns:
        The manifest with all of its train side and what is left of the others; how many cells were
        left out; and the networks of whose files it is not known what they have seen.
    """
    measured = [row for row in manifest.rows if row.split != "train"]
    unknown, number = [], len(measured)
    for backbone in chosen:
        if about[backbone.name]["weights"]["from"] != "file":
            continue
        known, whole = bundles_of_file(backbone.weights)
        for bundle in known:
            measured = unseen(bundle, measured)
        if not whole:
            unknown.append(backbone.name)
    kept = {row.path for row in measured}
    rows = [row for row in manifest.rows if row.split == "train" or row.path in kept]
    return replace(manifest, rows=rows), number - len(measured), unknown


def _check_batch(recipe: FineTuning, manifest: Manifest) -> None:
    """Refuse a batch that some training set cannot fill, before any of them is trained on."""
    batch = recipe.training.batch
    for images in recipe.images_per_class:
        for balanced in (True, False) if recipe.unbalanced else (True,):
            total = sum(_drawn(manifest, images, recipe.data.seed, balanced).values())
            if total < batch:
                raise CellnetError(
                    f"{images} images a class{'' if balanced else ', unbalanced,'} make an epoch "
                    f"of {total}, smaller than a batch of {batch}; raise images_per_class or "
                    "lower training.batch in the recipe"
                )


def _place(folder: Path, backbone: Backbone, free: int, images: int, balanced: bool) -> Path:
    name = f"{backbone.name}-free{free}-{images}" + ("" if balanced else "-unbalanced")
    return folder / "runs" / name


def _form(
    recipe: FineTuning,
    backbone: Backbone,
    free: int,
    images: int,
    manifest: Manifest,
    folder: Path,
) -> dict[str, Any]:
    """Train one form and measure it on the validation side."""
    place = _place(folder, backbone, free, images, True)
    return _trained(recipe, backbone, free, images, True, manifest, place)


def _trained(
    recipe: FineTuning,
    backbone: Backbone,
    free: int,
    images: int,
    balanced: bool,
    manifest: Manifest,
    place: Path,
) -> dict[str, Any]:
    done = place / "validation.json"
    rows = manifest.split("validation")
    if found := read_result(done, len(rows), SCHEMA, "form"):
        return found
    from cellnet.train import fit

    place.mkdir(parents=True, exist_ok=True)
    form = recipe.run_of(backbone, free, images)
    sets = _sets(manifest, images, recipe.data.seed, balanced)
    told = f"{backbone.name}, last {free} blocks free, {images} images a class"
    log.info("%s%s", told, "" if balanced else ", unbalanced")
    start = time.monotonic()
    model = fit(form, sets, place)
    truth, called = _answers(model, manifest, rows)
    groups = tied(rows)
    count = len(CLASSES)
    result = {
        "free": free,
        "images_per_class": images,
        "balanced": balanced,
        "images": sum(pool.draws for pool in sets.pools),
        "photographs": sum(len(pool.paths) for pool in sets.pools),
        "parameters": model.count_params(),
        "trainable_parameters": int(
            sum(np.prod(weight.shape) for weight in model.trainable_weights)
        ),
        "epochs": len((place / "log.csv").read_text(encoding="utf-8").splitlines()) - 1,
        "seconds": round(time.monotonic() - start, 1),
        "accuracy": proportion(called == truth, groups).to_json(),
        "balanced_accuracy": balanced_accuracy(truth, called, count, None, groups).to_json(),
    }
    write_text(done, json.dumps(result, indent=2, allow_nan=False) + "\n")
    # Weights, optimiser and TensorBoard's files of twenty forms would fill a disk.
    (place / "checkpoint.keras").unlink(missing_ok=True)
    shutil.rmtree(place / "tensorboard", ignore_errors=True)
    return result


def _test(
    recipe: FineTuning,
    backbone: Backbone,
    best: dict[str, Any],
    balanced: bool,
    manifest: Manifest,
    folder: Path,
) -> dict[str, Any]:
    """Measure the chosen form on the test side."""
    free, images = best["free"], best["images_per_class"]
    place = _place(folder, backbone, free, images, balanced)
    done = place / "test.json"
    rows = manifest.split("test")
    if found := read_result(done, len(rows), SCHEMA, "test"):
        return found
    trained = _trained(recipe, backbone, free, images, balanced, manifest, place)
    model = _load(recipe.run_of(backbone, free, images), place / _WEIGHTS)
    truth, called = _answers(model, manifest, rows)
    result = {
        "images": trained["images"],
        "photographs": trained["photographs"],
        "by_class": _drawn(manifest, images, recipe.data.seed, balanced),
        **measure_answers(truth, called, CLASSES, tied(rows)),
    }
    write_text(done, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


def _load(form: Recipe, weights: Path) -> keras.Model:
    """The network of a form with the weights of its best epoch, in float32."""
    arguments = {**form.network.arguments, "weights": "random"}
    model = networks.build(form.network.name, **arguments)
    model.load_weights(weights)
    return model


def _sets(manifest: Manifest, images: int, seed: int, balanced: bool) -> TrainingSet:
    """The training set of a form: so many images a class, photographs repeated where they are few.

    Unbalanced, the same number of images in all, classes as frequent as among all cells of the
    train side.
    """
    draws = _drawn(manifest, images, seed, balanced)
    train = manifest.split("train")
    pools = []
    for index, label in enumerate(CLASSES):
        own = [row for row in train if row.label == label]
        # The same photographs in every form, more of them in a larger one.
        order = np.random.default_rng((seed, index)).permutation(len(own))[: draws[label]]
        paths = tuple(manifest.path_of(own[at]) for at in sorted(order.tolist()))
        pools.append(Pool(index, paths, draws[label]))
    validation = manifest.split("validation")
    return TrainingSet(
        CLASSES,
        tuple(pools),
        tuple(manifest.path_of(row) for row in validation),
        tuple(CLASSES.index(row.label) for row in validation),
        {},
        balanced=balanced,
    )


def _drawn(manifest: Manifest, images: int, seed: int, balanced: bool) -> dict[str, int]:
    """Images of each class in the training set of a form."""
    if balanced:
        return dict.fromkeys(CLASSES, images)
    # The train side alone: what the test side is like is not known to whoever trains.
    found = Counter(row.label for row in manifest.split("train"))
    total = images * len(CLASSES)
    return {label: max(1, round(total * found[label] / found.total())) for label in CLASSES}


def _answers(
    model: keras.Model, manifest: Manifest, rows: Sequence[Row]
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answer of each cell, ``(n,) int64`` twice: the most probable of the eight."""
    paths = [manifest.path_of(row) for row in rows]
    batches = evaluation_batches(paths, model.input_shape[1], 16)
    outputs = np.concatenate([model.predict_on_batch(batch) for batch in batches])
    truth = np.array([CLASSES.index(row.label) for row in rows], np.int64)
    return truth, outputs.argmax(axis=1).astype(np.int64)


def _warnings(
    results: Sequence[dict[str, Any]],
    sides: dict[str, list[Row]],
    seen: int,
    unknown: Sequence[str],
) -> list[str]:
    """Reasons for caution that stand beside every number."""
    found = []
    for result in results:
        weights = result["weights"]
        if weights["from"] == "random":
            found.append(
                f"{result['backbone']}: the weights are random, trained on nothing. What is frozen "
                "stays so: this shows that the chain holds and says nothing of fine-tuning"
            )
        elif weights["from"] == "file":
            found.append(
                f"{result['backbone']}: the weights are {weights['told']}; where they are not "
                "those of ImageNet that the thesis used, its numbers are not comparable"
            )
    found += [
        f"{name}: what its file of weights was trained on is not known; cells of validation and "
        "test may be among it, and its numbers would flatter it then"
        for name in unknown
    ]
    if seen:
        found.append(
            f"{seen} cells of validation and test trained or chose a network whose weights are "
            "used here, and were left out"
        )
    for side in ("validation", "test"):
        lacking = [name for name in CLASSES if not any(row.label == name for row in sides[side])]
        if lacking:
            found.append(
                f"the {side} side has no {', '.join(lacking)}: what is measured there says nothing "
                "of how such cells are named, and its means are over the other classes"
            )
    rows = [row for held in sides.values() for row in held]
    if not any(row.patient or row.smear for row in rows):
        found.append(
            "no patient and no smear is known for any cell: cells of one patient may stand in "
            "training and test, so the numbers are optimistic and their intervals too narrow"
        )
    return [*found, *drawn_cautions(rows)]
