"""Batches for training: which image comes when, read and augmented while the network works.

``Sampler`` decides the order of an endless stream of samples as a function of the seed and the
position alone, so a run that goes on from an epoch sees what an unbroken run would have seen.
``training_dataset`` reads, warps and batches that stream in parallel with tf.data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cellnet.augment import View, augment, choose_view
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.images import read_image, resize
from cellnet.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Pool", "Sampler", "evaluation_batches", "training_dataset"]


@dataclass(frozen=True)
class Pool:
    """Images of one class and one origin, and how many of them an epoch takes.

    Attributes:
        label: Index of the class.
        paths: Images; used evenly, whatever their number.
        draws: Images that one epoch takes from the pool.
    """

    label: int
    paths: tuple[Path, ...]
    draws: int


class Sampler:
    """An endless, seeded order of samples, balanced unless it is asked not to be.

    Every class gives the same number of images to an epoch ("resampling to N a class"): a pool with
    fewer repeats its images, one with more uses another part of them in the next epoch. Classes
    alternate, so that every batch is balanced too.

    Args:
        pools: At least one for each class; the draws of each class add up to the same number.
        seed: Seed of the order.
        balanced: Whether they must. Else each class gives as many as its pools draw, and all are
            shuffled together, as in the thesis's unbalanced training (its figure 4.17).

    Raises:
        CellnetError: A pool is empty, or classes are not balanced and should be.
    """

    def __init__(self, pools: Sequence[Pool], seed: int, balanced: bool = True):
        totals: dict[int, int] = {}
        for pool in pools:
            if pool.draws and not pool.paths:
                raise CellnetError(f"no image to train class {pool.label} with")
            totals[pool.label] = totals.get(pool.label, 0) + pool.draws
        if (balanced and len(set(totals.values())) != 1) or 0 in totals.values():
            raise CellnetError(
                f"classes must give an epoch the same number of images, got {totals}"
            )
        self.pools = tuple(pools)
        self.seed = seed
        self.balanced = balanced
        self.classes = sorted(totals)
        #: Samples in an epoch.
        self.epoch_size = sum(totals.values())
        #: The image that stopped a dataset of this sampler: TensorFlow passes on no exception.
        self.failure: UnreadableImage | None = None
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    def sample(self, position: int) -> tuple[Path, int]:
        """The image and the label at a position of the stream (epoch = position // epoch_size)."""
        epoch, place = divmod(position, self.epoch_size)
        pool, index = self._order(epoch)[place]
        return self.pools[pool].paths[index], self.pools[pool].label

    def _epoch_order(self, epoch: int) -> np.ndarray:
        """``(epoch_size, 2) int64``: pool and index in the pool; classes alternate if balanced."""
        columns = []
        for label in self.classes:
            column = [
                np.stack([np.full(pool.draws, number), self._draws(number, pool, epoch)], axis=1)
                for number, pool in enumerate(self.pools)
                if pool.label == label
            ]
            rng = np.random.default_rng((self.seed, epoch, label))
            columns.append(rng.permutation(np.concatenate(column)))
        if not self.balanced:
            rng = np.random.default_rng((self.seed, epoch, 3))
            return rng.permutation(np.concatenate(columns))
        return np.stack(columns, axis=1).reshape(-1, 2)

    def _draws(self, number: int, pool: Pool, epoch: int) -> np.ndarray:
        """Indices that an epoch takes: a window of an endless row of permutations of the pool."""
        positions = np.arange(epoch * pool.draws, (epoch + 1) * pool.draws)
        rounds, places = np.divmod(positions, max(1, len(pool.paths)))
        result = np.empty(pool.draws, np.int64)
        for turn in np.unique(rounds):
            rng = np.random.default_rng((self.seed, number, turn, 1))
            here = rounds == turn
            result[here] = rng.permutation(len(pool.paths))[places[here]]
        return result


def training_dataset(
    sampler: Sampler, views: Sequence[View], size: int, batch: int, start_epoch: int = 0
) -> tf.data.Dataset:
    """Endless batches of augmented images from disk.

    Args:
        sampler: Order of the samples.
        views: Ways in which an image may be seen (see ``cellnet.augment``).
        size: Side of the network's input in pixels.
        batch: Images in a batch; an epoch is ``epoch_size // batch`` batches, the rest is left out.
        start_epoch: Epoch to begin with.

    Returns:
        Dataset of ``((batch, size, size, 3) float32 in [0, 1], RGB; (batch,) int32)``.

    Raises:
        tensorflow.errors.OpError: While iterating, where an image has become unreadable since its
            manifest was written; ``sampler.failure`` then says which, and why.
    """
    tf = import_tensorflow()
    views = list(views)
    steps = sampler.epoch_size // batch

    def load(ticket: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(int(ticket), steps * batch)
        position = epoch * sampler.epoch_size + place
        path, label = sampler.sample(position)
        rng = np.random.default_rng((sampler.seed, position, 2))
        try:
            image = read_image(path)
        except UnreadableImage as error:
            sampler.failure = error
            raise
        return augment(image, size, choose_view(views, rng), rng), np.int32(label)

    def to_tensors(ticket):
        image, label = tf.numpy_function(load, [ticket], (tf.uint8, tf.int32), stateful=False)
        image.set_shape((size, size, 3))
        label.set_shape(())
        return image, label

    first = start_epoch * steps * batch
    tickets = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    dataset = tickets.map(to_tensors, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch, drop_remainder=True)
    # Pixels travel as bytes as far as here: a quarter of the memory traffic.
    dataset = dataset.map(lambda image, label: (tf.cast(image, tf.float32) / 255.0, label))
    return dataset.prefetch(4)


def evaluation_batches(paths: Sequence[Path], size: int, batch: int = 64):
    """Batches of images as prediction sees them: resized, not augmented.

    Args:
        paths: Images.
        size: Side of the network's input in pixels.
        batch: Images in a batch; the last one may be smaller.

    Yields:
        ``(n, size, size, 3) float32 in [0, 1], RGB``.

    Raises:
        cellnet.errors.UnreadableImage: An image cannot be read.
    """
    from concurrent.futures import ThreadPoolExecutor

    def load(path: Path) -> np.ndarray:
        return resize(read_image(path), size)

    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(paths), batch):
            images = list(pool.map(load, paths[start : start + batch]))
            yield np.stack(images).astype(np.float32) / 255.0
