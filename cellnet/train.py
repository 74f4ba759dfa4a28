"""Training a network from a recipe, in a run folder that can be killed and gone on with.

A run folder holds::

    recipe.yaml        the resolved recipe
    data.json          which data it was begun with; others are refused
    data/ cohort/ drawn/   what was prepared for it, where the data folder did not bring it
    log.csv            a row for each epoch
    tensorboard/       the same for TensorBoard
    checkpoint.keras   network and optimiser after the last whole epoch
    best.weights.h5    weights of the best epoch by the recipe's validation figure
    bundle/            the trained bundle, written at the end
    float32/           the same before its weights were quantised, where they were

Every epoch is a function of the checkpoint before it: the order of the images and their
augmentation follow from seed and position, and the dropout's generator is set anew at each epoch. A
run that was killed and went on ends with the same weights as one that was not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

from cellnet.batches import Sampler, training_dataset
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.outputs import hold
from cellnet.recipe import Recipe, read_recipe
from cellnet.run_folder import claim, data_of, folder_of, release
from cellnet.tensorflow_import import import_tensorflow
from cellnet.training_set import TrainingSet, assemble

log = logging.getLogger(__name__)

__all__ = ["check_network", "fit", "train"]


def train(
    recipe: str | Path,
    data: str | Path | None = None,
    run: str | Path | None = None,
    resume: bool = False,
) -> Path:
    """Train the network of a recipe and write its bundle.

    Args:
        recipe: A recipe file (``training/*.yaml``).
        data: A folder with one sub-folder a class, one that ``cellnet data prepare`` wrote, or a
            cohort with hypogranulated neutrophils. Default: the environment variable
            ``CELLNET_DATA``.
        run: Run folder; default ``runs/NAME`` below the current folder.
        resume: Go on with the run that the folder holds, from its last whole epoch.

    Returns:
        The folder of the bundle.

    Raises:
        CellnetError: The recipe does not hold, the data cannot be used, the run folder holds a run
            and ``resume`` is not set or the recipe has changed, or one that cannot be read; another
            process trains there, or TensorFlow is not installed.
    """
    settings = read_recipe(recipe)
    folder = folder_of(run, settings.name)
    images = data_of(data, "training")
    made = claim(folder, settings, resume)
    with hold(folder, "trains"):
        try:
            check_network(settings)
            sets = assemble(settings, images, folder)
        except CellnetError:
            release(folder, made)
            raise
        log.info(
            "%s: %d training images, %d for validation, classes %s",
            settings.name,
            sum(len(pool.paths) for pool in sets.pools),
            len(sets.validation_paths),
            ", ".join(sets.classes),
        )
        model = fit(settings, sets, folder)
        from cellnet.convert import write_bundle

        return write_bundle(model, settings, sets, folder)


def check_network(recipe: Recipe) -> None:
    """Check that a recipe's network can be built and answers what it is to be trained for.

    Building takes a second; to find out after the data are prepared may take hours.

    Raises:
        CellnetError: It cannot, does not, or TensorFlow is not installed.
    """
    import_tensorflow()
    import keras

    from cellnet import networks

    network = recipe.network
    outputs = networks.build(network.name, **network.arguments).output_shape[-1]
    keras.utils.clear_session()  # names of layers are counted
    names = len(recipe.classes or CLASSES)
    wanted, what = (1, "a score") if recipe.target == "granularity" else (names, f"{names} classes")
    if outputs != wanted:
        raise CellnetError(
            f"the network {network.name} of the recipe {recipe.name} has {outputs} outputs with "
            f"the arguments {network.arguments}, and {what} needs {wanted}; correct its network"
        )


def fit(recipe: Recipe, sets: TrainingSet, folder: Path):
    """Train until the recipe's end and return the network with its best weights.

    Args:
        recipe: The recipe.
        sets: Images to train and to validate with.
        folder: Run folder; goes on from its checkpoint where there is one.

    Returns:
        The Keras model with the weights of the best epoch, under the recipe's dtype policy.
    """
    import_tensorflow()
    import keras

    training = recipe.training
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.precision)
    try:
        return _fit(recipe, sets, folder)
    finally:
        keras.config.set_dtype_policy(policy)


def _fit(recipe: Recipe, sets: TrainingSet, folder: Path):
    import keras

    tf = import_tensorflow()
    from cellnet import callbacks, networks

    training = recipe.training
    sampler = Sampler(sets.pools, training.seed, sets.balanced)
    steps = sampler.epoch_size // training.batch
    if steps == 0:
        raise CellnetError(
            f"an epoch of {sampler.epoch_size} images is smaller than a batch of {training.batch}; "
            "raise data.per_class or lower training.batch in the recipe"
        )
    checkpoint = folder / "checkpoint.keras"
    if checkpoint.exists():
        with _kept(checkpoint):
            model = keras.models.load_model(checkpoint)
        done = int(model.optimizer.iterations.numpy()) // steps
        log.info("going on after epoch %d", done)
    else:
        keras.utils.set_random_seed(training.seed)
        model = networks.build(recipe.network.name, **recipe.network.arguments)
        _compile(model, recipe, steps)
        done = 0
    with _kept(folder / "log.csv"):
        history = callbacks.read_log(folder / "log.csv", done)
    finished = done >= training.epochs or (history and callbacks.reached(recipe, history[-1]))
    if not finished:
        size, outputs = model.input_shape[1], model.output_shape[-1]
        dataset = training_dataset(sampler, recipe.augment_views(), size, training.batch, done)
        if outputs > 1:
            dataset = dataset.map(lambda images, labels: (images, tf.one_hot(labels, outputs)))
        try:
            model.fit(
                dataset,
                initial_epoch=done,
                epochs=training.epochs,
                steps_per_epoch=steps,
                callbacks=callbacks.standard(recipe, sets, folder, steps, history),
                shuffle=False,
                verbose=0,
            )
        except tf.errors.OpError:
            if sampler.failure is not None:
                raise sampler.failure from None
            raise
    best = folder / "best.weights.h5"
    with _kept(best):
        model.load_weights(best)
    return model


@contextmanager
def _kept(file: Path) -> Iterator[None]:
    """Say which file of a run cannot be read, and what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise CellnetError(
            f"cannot go on with {file}: {' '.join(str(error).split())}; remove checkpoint.keras, "
            f"best.weights.h5 and log.csv from {file.parent}, and its training begins anew"
        ) from error


def _compile(model, recipe: Recipe, steps: int) -> None:
    """Adam with the recipe's rate; XLA off, since it is four times slower on a CPU."""
    import keras

    training = recipe.training
    rate = training.learning_rate
    if training.schedule == "cosine":
        warmup = round(training.warmup_epochs * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=rate / 100 if warmup else rate,
            decay_steps=max(1, training.epochs * steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    binary = model.output_shape[-1] == 1
    loss = keras.losses.BinaryCrossentropy if binary else keras.losses.CategoricalCrossentropy
    metric = keras.metrics.BinaryAccuracy if binary else keras.metrics.CategoricalAccuracy
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=loss(label_smoothing=training.label_smoothing),
        metrics=[metric(name="accuracy")],
        jit_compile=False,
    )
