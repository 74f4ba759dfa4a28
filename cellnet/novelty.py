"""How unlike the cells that a network was taught a cell is: three scores, higher for stranger ones.

A softmax shares out certainty among the classes that it has, so a cell of none of them gets an
answer too. The thesis asks the largest probability (section 6.4); the literature after it asks the
logits (energy) or what the last hidden layer sees (Mahalanobis distance). Pure functions of arrays
here; reading them out of a bundle is in `Insides`, which needs TensorFlow, comparing the scores is
left to ``unknown_measure``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cellnet.errors import CellnetError, UnreadableImage
from cellnet.images import decode_image, read_bytes, resize
from cellnet.scoring import in_order, progress_bar

if TYPE_CHECKING:
    from cellnet.bundle import Bundle
    from cellnet.manifest import Manifest, Row

__all__ = ["Clouds", "Insides", "Looks", "energy", "fit_clouds", "improbability", "look_into"]

_BATCH = 16


def improbability(probabilities: np.ndarray) -> np.ndarray:
    """One less the largest probability, the thesis's rule as a score (over 0.5: no class holds).

    Args:
        probabilities: ``(n, classes) float`` in [0, 1].

    Returns:
        ``(n,) float64`` in [0, 1].

    Source:
        Acevedo 2020, section 6.4; as a score Hendrycks and Gimpel, ICLR 2017.
    """
    return 1.0 - np.asarray(probabilities, np.float64).max(axis=1)


def energy(logits: np.ndarray) -> np.ndarray:
    """Free energy, the negative logarithm of the sum of the exponentials of the logits.

    Args:
        logits: ``(n, classes) float``, what a softmax is given.

    Returns:
        ``(n,) float64``, without bounds; temperature 1.

    Source:
        Liu, Wang, Owens and Li, NeurIPS 2020.

    >>> energy(np.array([[0.0, 0.0]])).round(3).tolist()
    [-0.693]
    """
    logits = np.asarray(logits, np.float64)
    most = logits.max(axis=1, keepdims=True)
    return -(most[:, 0] + np.log(np.exp(logits - most).sum(axis=1)))


@dataclass(frozen=True)
class Clouds:
    """Where the cells of each known class lie among the features.

    Attributes:
        labels: The classes, as indices, in the order of `means`.
        means: ``(classes, features) float64``.
        factor: ``(features, features) float64``, lower triangular: the covariance that all classes
            share is its product with its transpose.
        shrinkage: Share in [0, 1] of a multiple of the identity in that covariance.
        cells: How many cells of each class it was fitted on, in the order of `means`.
    """

    labels: tuple[int, ...]
    means: np.ndarray
    factor: np.ndarray
    shrinkage: float
    cells: tuple[int, ...]

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance to the nearest class.

        Args:
            features: ``(n, features) float``.

        Returns:
            ``(n,) float64``, 0 or more.
        """
        from scipy.linalg import solve_triangular

        features = np.asarray(features, np.float64)
        where = solve_triangular(self.factor, features.T, lower=True)
        means = solve_triangular(self.factor, self.means.T, lower=True)
        nearest = np.full(len(features), np.inf)
        for mean in means.T:
            nearest = np.minimum(nearest, ((where - mean[:, None]) ** 2).sum(axis=0))
        return nearest


def fit_clouds(features: np.ndarray, labels: np.ndarray) -> Clouds:
    """Fit class means and one covariance for all classes, shrunk as Ledoit and Wolf have it.

    Args:
        features: ``(n, features) float``, of training cells.
        labels: ``(n,) int``, their classes; two cells of each or more.

    Returns:
        What distances are measured with.

    Raises:
        ValueError: A class has fewer than two cells, or the features are the same in all cells.

    Source:
        Lee, Lee, Lee and Shin, NeurIPS 2018 (last hidden layer, no noise added to the input);
        Ledoit and Wolf, Journal of Multivariate Analysis 88 (2004) 365-411.
    """
    from sklearn.covariance import ledoit_wolf

    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    kinds, counts = np.unique(labels, return_counts=True)
    if not len(kinds) or counts.min() < 2:
        raise ValueError(f"each class needs two cells or more, got {counts.tolist()}")
    means = np.stack([features[labels == kind].mean(axis=0) for kind in kinds])
    covariance, shrinkage = ledoit_wolf(
        features - means[np.searchsorted(kinds, labels)], assume_centered=True
    )
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ValueError("the features of the cells do not vary enough for a covariance") from None
    return Clouds(
        tuple(int(kind) for kind in kinds),
        means,
        factor,
        float(shrinkage),
        tuple(int(count) for count in counts),
    )


class Insides:
    """A bundle's network, asked for its last hidden layer and its logits.

    The weights are the bundle's, as floats, and so is what passes between layers: a bundle with
    8-bit weights rounds that too, so its own answers may differ by some hundredths.

    Attributes:
        size: Side of the network's input in pixels.
        layer: Name of the last hidden layer.
        features: How many values it answers.
    """

    def __init__(self, bundle: Bundle):
        """Read the bundle's weights.

        Raises:
            CellnetError: TensorFlow is not installed, or the weights are not those of the network
                that the bundle names.
        """
        from cellnet.export_graph import Graph
        from cellnet.export_weights import read_layers
        from cellnet.tensorflow_import import import_tensorflow

        tf = import_tensorflow()
        layers = [layer.as_floats() for layer in read_layers(bundle)]
        graph = Graph(bundle, layers, variables=True)
        size = bundle.size

        @tf.function(
            input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32)], autograph=False
        )
        def look(images):
            *_, hidden, logits = graph.run(images)
            return tf.reshape(hidden, [-1, int(np.prod(hidden.shape[1:]))]), logits

        self.size = size
        self.layer = layers[-2].name
        self.features = int(look.get_concrete_function().structured_outputs[0].shape[-1])
        self._look = look

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answer images of the network's size, ``(n, size, size, 3) float32 in [0, 255], RGB``.

        Returns:
            ``(n, features)`` and ``(n, classes) float32``, features and logits.
        """
        # The graph resizes and scales: images of its own size stay as they are.
        hidden, logits = self._look(np.ascontiguousarray(images, np.float32))
        return hidden.numpy(), logits.numpy()


@dataclass(frozen=True)
class Looks:
    """Features and logits of cells.

    Attributes:
        rows: The n rows whose image could be used, in the order in which they were given.
        features: ``(n, features) float32``.
        logits: ``(n, classes) float32``.
        unreadable: ``{"file", "reason"}`` of every other row.
    """

    rows: list[Row]
    features: np.ndarray
    logits: np.ndarray
    unreadable: list[dict[str, str]]


def look_into(
    insides: Insides, manifest: Manifest, rows: Sequence[Row], told: str | None = None
) -> Looks:
    """Read cells and look at what a network makes of them.

    Args:
        insides: The network.
        manifest: Where the rows' images are.
        rows: Which ones.
        told: What to write before a progress bar; None for no bar.

    Returns:
        What was found of the images that can be used: those that can be read and have the SHA-256
        of their row.

    Raises:
        CellnetError: An answer is no number: the weights are broken.
    """
    kept: list[Row] = []
    unreadable, features, logits, waiting = [], [], [], []

    def answer() -> None:
        if waiting:
            hidden, last = insides.look(np.stack(waiting))
            features.append(hidden)
            logits.append(last)
            waiting.clear()

    with closing(in_order(lambda row: _read(manifest.path_of(row), row, insides.size), rows)) as it:
        for row, image in progress_bar(it, told, len(rows)):
            if isinstance(image, UnreadableImage):
                unreadable.append({"file": row.path, "reason": image.reason})
                continue
            kept.append(row)
            waiting.append(image)
            if len(waiting) == _BATCH:
                answer()
    answer()
    found = (
        np.concatenate(features) if features else np.empty((0, insides.features), np.float32),
        np.concatenate(logits) if logits else np.empty((0, 0), np.float32),
    )
    if not all(np.isfinite(values).all() for values in found):
        raise CellnetError(
            f"the layer {insides.layer} answers something that is no number; the weights or an "
            "image are broken"
        )
    return Looks(kept, *found, unreadable)


def _read(path: Path, row: Row, size: int) -> np.ndarray | UnreadableImage:
    try:
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise UnreadableImage(path, "its sha256 is not that of the manifest")
        return resize(decode_image(data, path), size)
    except UnreadableImage as error:
        return error
