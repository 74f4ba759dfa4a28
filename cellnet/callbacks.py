"""Keras callbacks of a training run: validation, records, checkpoints, progress.

They run in the order in which ``standard`` gives them: the validation's figures are what the
records and the checkpoint are made from. An epoch's row is written before its checkpoint, and the
checkpoint replaces the one before it in one step, so that a run killed at any moment has a
checkpoint of a whole epoch and a row for at least every epoch up to it.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from cellnet.batches import evaluation_batches
from cellnet.errors import CellnetError
from cellnet.outputs import write_text
from cellnet.recipe import Recipe
from cellnet.training_set import TrainingSet

log = logging.getLogger(__name__)

__all__ = ["read_log", "reached", "standard"]

KEPT_BYTES = 3 << 29
"""Of validation images kept in memory: 1.6 GB are 1,500 of DysplasiaNet's inputs."""

COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "learning_rate",
)


def standard(
    recipe: Recipe, sets: TrainingSet, folder: Path, steps: int, history: list[dict[str, float]]
) -> list[keras.callbacks.Callback]:
    """The callbacks of a run, in the order in which they must run.

    Args:
        recipe: The recipe.
        sets: Where the validation images are.
        folder: Run folder.
        steps: Batches in an epoch.
        history: Rows of the epochs that are done, as ``read_log`` gives them.
    """
    return [
        _SeedDropout(recipe.training.seed),
        _Validation(sets),
        _Records(recipe, folder, history),
        keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False),
        _Progress(recipe, steps),
    ]


def reached(recipe: Recipe, row: dict[str, float]) -> bool:
    """Whether an epoch's figures end the training (the stop rule of section 5.3.3)."""
    return recipe.training.stop_at is not None and row["val_accuracy"] >= recipe.training.stop_at


def read_log(path: Path, epochs: int) -> list[dict[str, float]]:
    """Rows of ``log.csv`` for the first epochs; later ones belong to an epoch that was cut off.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not the log of so many epochs.
    """
    if not epochs:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    found = [row for row in rows if row["epoch"] <= epochs]
    if [row["epoch"] for row in found] != list(range(1, epochs + 1)):
        raise ValueError(f"it should hold the epochs 1 to {epochs}, and has {len(found)} of them")
    return found


class _SeedDropout(keras.callbacks.Callback):
    """Set the dropout's generator at each epoch: it is then no history that a kill would lose."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        for number, layer in enumerate(self.model.layers):
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                generator.state.assign(np.array([self.seed + 1000 * number, epoch], np.uint32))


class _Validation(keras.callbacks.Callback):
    """Put loss, accuracy and balanced accuracy on the validation images into the figures.

    As many of them as fit are kept in memory, so that they are not decoded again at each epoch.
    """

    def __init__(self, sets: TrainingSet):
        super().__init__()
        self.sets = sets
        self.kept: list[np.ndarray] = []

    def on_epoch_end(self, epoch, logs):
        outputs = np.concatenate([self.model.predict_on_batch(it) for it in self._batches()])
        labels = np.asarray(self.sets.validation_labels)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        right = outputs.argmax(axis=1) == labels
        logs["val_loss"] = float(
            -np.log(np.maximum(outputs[np.arange(len(labels)), labels], 1e-7)).mean()
        )
        logs["val_accuracy"] = float(right.mean())
        logs["val_balanced_accuracy"] = float(
            np.mean([right[labels == label].mean() for label in np.unique(labels)])
        )

    def _batches(self) -> Iterator[np.ndarray]:
        yield from self.kept
        done = sum(len(batch) for batch in self.kept)
        size = self.model.input_shape[1]
        room = KEPT_BYTES - sum(batch.nbytes for batch in self.kept)
        for batch in evaluation_batches(self.sets.validation_paths[done:], size):
            room -= batch.nbytes
            if room >= 0:
                self.kept.append(batch)
            yield batch


class _Records(keras.callbacks.Callback):
    """Write log.csv, the best weights and the checkpoint; stop where the recipe says so."""

    def __init__(self, recipe: Recipe, folder: Path, history: list[dict[str, float]]):
        super().__init__()
        self.recipe = recipe
        self.folder = folder
        self.history = history

    def on_epoch_end(self, epoch, logs):
        logs["learning_rate"] = float(
            keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )
        row = {key: float(logs[key]) for key in COLUMNS if key != "epoch"}
        row = {"epoch": epoch + 1.0, **row}
        monitor = self.recipe.training.monitor
        # Of two equal epochs the later one has seen more: it is kept.
        best = all(row[monitor] >= earlier[monitor] for earlier in self.history)
        self.history.append(row)
        self._write_log()
        if best:
            self._replace("best.weights.h5", self.model.save_weights)
        self._replace("checkpoint.keras", self.model.save)
        log.info(
            "epoch %d of %d: loss %.4f, accuracy %.4f, validation %.4f (balanced %.4f)%s",
            epoch + 1,
            self.recipe.training.epochs,
            row["loss"],
            row["accuracy"],
            row["val_accuracy"],
            row["val_balanced_accuracy"],
            ", the best so far" if best else "",
        )
        if reached(self.recipe, row):
            log.info("validation accuracy has reached %s: done", self.recipe.training.stop_at)
            self.model.stop_training = True

    def _write_log(self):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "epoch": int(row["epoch"])} for row in self.history)
        write_text(self.folder / "log.csv", text.getvalue())

    def _replace(self, name: str, save) -> None:
        """Save under another name, then rename: a reader never sees half a file."""
        # Keras takes the format from the suffix, so the temporary name keeps it.
        temporary = self.folder / f"part-{name}"
        try:
            save(temporary)
            os.replace(temporary, self.folder / name)
        except OSError as error:
            # What comes from within a file that is being written names no file. The half of it
            # would take the room that is to be made.
            temporary.unlink(missing_ok=True)
            raise CellnetError(
                f"cannot write {self.folder / name}: {error.strerror or error}; put that right, "
                "and go on with --resume"
            ) from error


class _Progress(keras.callbacks.Callback):
    """One bar over the whole run, with images a second and the time that is left."""

    def __init__(self, recipe: Recipe, steps: int):
        super().__init__()
        self.recipe = recipe
        self.steps = steps

    def on_train_begin(self, logs=None):
        training = self.recipe.training
        self.bar = tqdm(
            total=training.epochs * self.steps * training.batch,
            unit=" images",
            unit_scale=True,
            desc=self.recipe.name,
            disable=None,
            smoothing=0.05,
        )

    def on_epoch_begin(self, epoch, logs=None):
        done = epoch * self.steps * self.recipe.training.batch
        if self.bar.n < done:
            self.bar.initial = self.bar.n = done
            self.bar.unpause()
        self.bar.set_description(f"{self.recipe.name} epoch {epoch + 1}")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(self.recipe.training.batch)

    def on_train_end(self, logs=None):
        self.bar.close()
