"""Throughput of training DysplasiaNet: cellnet's way against the plain Keras way, in one run.

Both read the same JPEG files, train the same network with the same optimiser and batch, and augment
in the same manner. The plain way is what Keras's own guides show: ``image_dataset_from_directory``,
augmentation layers mapped over the data set, prefetch, ``fit``, in float32. It is measured a second
time in the recipe's precision, so that one sees what comes from the precision and what from the
input pipeline. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recipe", type=Path, default=ROOT / "training" / "dysplasianet.yaml")
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", action="store_true", help="leave the other precisions out")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(compare(arguments, Path(scratch))))


def compare(arguments: argparse.Namespace, scratch: Path) -> dict:
    """Images a second of each way, and the share of the time that waiting for input costs."""
    from cellnet.recipe import read_recipe

    recipe = read_recipe(arguments.recipe)
    batch = recipe.training.batch
    steps = arguments.images // 2 // batch * 2
    files, what = measure.cells(arguments.data, steps * batch, scratch / "cells")
    folder = scratch / "classes"
    for number, file in enumerate(files):
        target = folder / ("dysplastic", "normal")[number % 2] / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        measure.link(file, target)
    precision = recipe.training.precision
    ways = {
        "cellnet": _cellnet(recipe, folder, steps),
        "cellnet, data in memory": _cellnet(recipe, folder, steps, in_memory=True),
        "plain": _plain(recipe, folder, steps, "float32"),
    }
    if precision != "float32" and not arguments.few:
        ways["cellnet, float32"] = _cellnet(recipe, folder, steps, precision="float32")
        ways[f"plain, {precision}"] = _plain(recipe, folder, steps, precision)
    speeds = measure.medians(ways, arguments.rounds)
    return {
        "images_per_second": {name: round(speed, 1) for name, speed in speeds.items()},
        "ratio": speeds["cellnet"] / speeds["plain"],
        "ratio_same_precision": speeds["cellnet"]
        / speeds.get(f"plain, {precision}", speeds["plain"]),
        "input_share": max(0.0, 1 - speeds["cellnet"] / speeds["cellnet, data in memory"]),
        "network": recipe.network.name,
        "precision": precision,
        "batch": batch,
        "images": steps * batch,
        "rounds": arguments.rounds,
        "what": what,
    }


def _cellnet(recipe, folder: Path, steps: int, precision: str | None = None, in_memory=False):
    """A function that trains ``steps`` batches as ``cellnet train`` does; images a second."""
    import keras

    from cellnet import networks
    from cellnet.batches import Pool, Sampler, training_dataset
    from cellnet.train import _compile

    training = recipe.training
    pools = [
        Pool(label, tuple(sorted((folder / name).iterdir())), steps * training.batch // 2)
        for label, name in enumerate(("dysplastic", "normal"))
    ]
    keras.config.set_dtype_policy(precision or training.precision)
    model = networks.build(recipe.network.name, **recipe.network.arguments)
    _compile(model, recipe, steps)
    keras.config.set_dtype_policy("float32")
    data = training_dataset(
        Sampler(pools, training.seed), recipe.augment_views(), model.input_shape[1], training.batch
    )
    if in_memory:
        data = data.take(4).cache().repeat().prefetch(4)
    # One batch past the cache's end, which is where the cache is complete.
    return _timed(model, data, steps, training.batch, warm_up=5 if in_memory else 2)


def _plain(recipe, folder: Path, steps: int, precision: str):
    """The same by Keras's own means."""
    import keras
    import tensorflow as tf
    from keras import layers

    from cellnet import networks

    training, view = recipe.training, recipe.views[0]
    keras.config.set_dtype_policy(precision)
    model = networks.build(recipe.network.name, **recipe.network.arguments)
    model.compile(
        keras.optimizers.Adam(training.learning_rate), "binary_crossentropy", metrics=["accuracy"]
    )
    keras.config.set_dtype_policy("float32")
    size = model.input_shape[1]
    data = keras.utils.image_dataset_from_directory(
        folder,
        label_mode="binary",
        image_size=(size, size),
        batch_size=training.batch,
        verbose=False,
    )
    # The recipe's augmentation as far as Keras has layers for it: gamma becomes contrast.
    augmentation = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.5),
            layers.RandomZoom((1 / view.zoom[1] - 1, 1 / view.zoom[0] - 1)),
            layers.RandomTranslation(view.shift, view.shift),
            layers.RandomBrightness(view.gain),
            layers.RandomContrast(max(abs(math.log(level)) for level in view.gamma)),
            layers.RandomHue(view.hue / 180),
            layers.RandomSaturation((view.saturation[0] / 2, view.saturation[1] / 2)),
            layers.Rescaling(1 / 255),
        ]
    )
    data = data.map(
        lambda images, labels: (augmentation(images, training=True), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return _timed(model, data.repeat().prefetch(tf.data.AUTOTUNE), steps, training.batch)


def _timed(model, data, steps: int, batch: int, warm_up: int = 2):
    """Warm up once (tracing, first reads), then hand out the function that is timed."""
    model.fit(data, steps_per_epoch=warm_up, verbose=0)
    return lambda: measure.per_second(
        lambda: model.fit(data, steps_per_epoch=steps, verbose=0), steps * batch
    )


if __name__ == "__main__":
    main()
