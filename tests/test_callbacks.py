"""Callbacks of a training run: what is not seen from the run folder (see test_train)."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs the training extra")

from cellnet import callbacks
from cellnet.images import write_png

SIZE = 8


@pytest.fixture
def sets(tmp_path):
    rng = np.random.default_rng(0)
    paths = tuple(tmp_path / f"{number}.png" for number in range(130))
    for path in paths:
        write_png(path, rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8))
    return SimpleNamespace(validation_paths=paths, validation_labels=[n % 2 for n in range(130)])


def figures(validation, epochs):
    """What the callback says after some epochs of a network that answers an image's mean."""
    network = SimpleNamespace(
        input_shape=(None, SIZE, SIZE, 3),
        predict_on_batch=lambda images: images.mean(axis=(1, 2, 3))[:, None],
    )
    validation.set_model(network)
    told = []
    for epoch in range(epochs):
        logs = {}
        validation.on_epoch_end(epoch, logs)
        told.append(logs)
    return told


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_validation_images_that_are_kept_change_no_figure(sets, monkeypatch, batches):
    read = []

    def watched(paths, size):
        read.append(len(paths))
        return evaluation_batches(paths, size)

    evaluation_batches = callbacks.evaluation_batches
    monkeypatch.setattr(callbacks, "evaluation_batches", watched)
    # The last batch is smaller than the first two.
    monkeypatch.setattr(callbacks, "KEPT_BYTES", batches * 64 * SIZE * SIZE * 3 * 4)
    told = figures(callbacks._Validation(sets), 3)
    left = max(0, 130 - 64 * batches)
    assert read == [130, left, left]
    monkeypatch.setattr(callbacks, "KEPT_BYTES", 0)
    assert told == figures(callbacks._Validation(sets), 3)
    assert set(told[0]) == {"val_loss", "val_accuracy", "val_balanced_accuracy"}


def test_a_validation_image_that_has_gone_is_told(sets):
    Path(sets.validation_paths[5]).unlink()
    with pytest.raises(callbacks.CellnetError, match=r"5\.png"):
        figures(callbacks._Validation(sets), 1)
