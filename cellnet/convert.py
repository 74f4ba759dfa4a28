"""A trained Keras network becomes a bundle: LiteRT weights, their description and golden outputs.

Networks of a million parameters and more are stored with 8-bit weights (dynamic range: activations
stay in float), a quarter of the size; the float32 weights go beside the bundle, in the run folder,
so that what the quantisation costs can be measured. Small networks keep their floats.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet import __version__, bundle, networks, seen
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.errors import CellnetError
from cellnet.outputs import new_folder
from cellnet.recipe import Recipe, write_recipe
from cellnet.tensorflow_import import import_tensorflow
from cellnet.training_set import TrainingSet

if TYPE_CHECKING:
    import keras

__all__ = ["to_litert", "write_bundle"]

QUANTISE_FROM = 1_000_000
"""Parameters from which a network is stored with 8-bit weights."""

HISTORY = ("loss", "accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy")
"""Figures of each epoch that a bundle keeps (figure 6.2 of the thesis shows the first four)."""


def write_bundle(model: keras.Model, recipe: Recipe, sets: TrainingSet, folder: Path) -> Path:
    """Write the bundle of a finished run.

    Args:
        model: The trained network, of any dtype policy.
        recipe: What it was trained by.
        sets: What it was trained on; its counts and sources go into the description.
        folder: Run folder. ``folder/bundle`` is written anew; where the weights are quantised,
            ``folder/float32`` holds the same bundle with the weights as they were trained.

    Returns:
        ``folder/bundle``.

    Raises:
        CellnetError: The files cannot be written.
    """
    plain = _plain(model, recipe)
    quantise = plain.count_params() >= QUANTISE_FROM
    try:
        if quantise:
            _write(plain, False, recipe, sets, folder / "float32")
        return _write(plain, quantise, recipe, sets, folder / "bundle")
    except OSError as error:
        raise CellnetError(f"cannot write the bundle into {folder}: {error.strerror}") from error


def to_litert(model: keras.Model, quantise: bool = False) -> bytes:
    """Convert a network for the inference runtime.

    Args:
        model: A float32 network.
        quantise: Store weights as 8-bit integers with a scale for each channel.

    Returns:
        A LiteRT flatbuffer that takes ``(n, height, width, 3) float32 in [0, 1], RGB``.
    """
    tf = import_tensorflow()

    # By way of a concrete function weights stay variables, which LiteRT then finds empty.
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # The converter announces its temporary folder on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        return converter.convert()


def _plain(model: keras.Model, recipe: Recipe) -> keras.Model:
    """The network as published, in float32: normalisations folded, dtype policy gone."""
    import keras

    if recipe.network.name == "model1":
        from cellnet.networks.model1 import fold

        return fold(model)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        plain = networks.build(recipe.network.name, **_shape_of(recipe))
    finally:
        keras.config.set_dtype_policy(policy)
    plain.set_weights([np.asarray(weight, np.float32) for weight in model.get_weights()])
    return plain


def _shape_of(recipe: Recipe) -> dict:
    """The builder's arguments less the weights that training began with: it has others now."""
    return {key: value for key, value in recipe.network.arguments.items() if key != "weights"}


def _write(
    model: keras.Model, quantise: bool, recipe: Recipe, sets: TrainingSet, target: Path
) -> Path:
    with new_folder(target, replaces=lambda _: True) as part:
        _fill(part, model, quantise, recipe, sets, target.parent)
    return target


def _fill(
    part: Path, model: keras.Model, quantise: bool, recipe: Recipe, sets: TrainingSet, run: Path
) -> None:
    weights = to_litert(model, quantise)
    (part / "model.tflite").write_bytes(weights)
    write_recipe(recipe, part / "recipe.yaml")
    height, width = model.input_shape[1:3]
    description = {
        "schema": bundle.SCHEMA,
        "name": recipe.name,
        "version": recipe.version,
        "network": {
            "name": recipe.network.name,
            "arguments": {
                key: value for key, value in _shape_of(recipe).items() if key != "batch_norm"
            },
            "parameters": model.count_params(),
        },
        "input": {
            "height": height,
            "width": width,
            "channels": "RGB",
            "resize": "bilinear, half-pixel centres, no antialias",
            "scale": 1 / 255,
            "offset": 0.0,
        },
        "output": {
            "kind": "probabilities" if recipe.target == "class" else "granularity",
            "classes": list(sets.classes) if recipe.target == "class" else None,
            **({"of": recipe.of} if recipe.of else {}),
            **({"labels": recipe.classes} if recipe.classes else {}),
        },
        "weights": {
            "file": "model.tflite",
            "format": "litert",
            "quantisation": "dynamic-range-int8" if quantise else "float32",
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
        },
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cellnet": __version__,
        "licence": recipe.licence,
        "recipe": "recipe.yaml",
        "data": sets.about,
        "training": _course(recipe, run),
    }
    (part / bundle.FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    golden = _golden(bundle.load(part))
    (part / "golden.npz").write_bytes(golden)
    known = seen.pack_seen(sets.seen)
    (part / seen.FILE).write_bytes(known)
    description["golden"] = {
        "file": "golden.npz",
        "sha256": hashlib.sha256(golden).hexdigest(),
    }
    description["seen"] = {
        "file": seen.FILE,
        "sha256": hashlib.sha256(known).hexdigest(),
        "images": {side: len(hashes) for side, hashes in sets.seen.items()},
    }
    (part / bundle.FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _course(recipe: Recipe, run: Path) -> dict[str, Any]:
    """How long the run was, which of its epochs was kept, and the figures of each epoch."""
    with (run / "log.csv").open(encoding="utf-8", newline="") as file:
        epochs = list(csv.DictReader(file))
    # Of equals the later is kept, as the checkpoint does.
    best = max(reversed(epochs), key=lambda row: float(row[recipe.training.monitor]))
    return {
        "epochs_run": len(epochs),
        "epoch_kept": int(best["epoch"]),
        recipe.training.monitor: round(float(best[recipe.training.monitor]), 4),
        "history": _history(epochs),
    }


def _history(epochs: Sequence[Mapping[str, str]]) -> dict[str, list[int] | list[float | None]]:
    """The figures of ``log.csv`` as lists over epochs; a loss that was no number is None."""
    figures: dict[str, list[int] | list[float | None]] = {
        "epoch": [int(row["epoch"]) for row in epochs]
    }
    for name in HISTORY:
        if all(name in row for row in epochs):
            values = [float(row[name]) for row in epochs]
            figures[name] = [round(it, 6) if math.isfinite(it) else None for it in values]
    return figures


def _golden(trained: bundle.Bundle) -> bytes:
    """Drawn cells and what the weights answer for them, so that any machine can check itself.

    The images are kept beside the outputs, since drawing may change from version to version.
    """
    from cellnet.draw import draw_cell

    rng = np.random.default_rng(20200724)
    images = [draw_cell(label, rng, size=120) for label in CLASSES]
    images += [draw_cell(NEUTROPHIL, rng, size=120, granularity=g) for g in (0.66, 0.33, 0.0)]
    inputs = np.stack([trained.prepare(image) for image in images])
    outputs = trained.runtime().predict(inputs)
    file = io.BytesIO()
    np.savez_compressed(file, images=np.stack(images), outputs=outputs)
    return file.getvalue()
