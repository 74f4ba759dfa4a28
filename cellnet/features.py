"""What a network sees in each cell: the values of one of its layers, computed once and kept.

The thesis takes VGG-16 and Inception-v3 as they are and lets a support vector machine decide on
their features (its chapters 2 and 4). Features come from a network of Keras or from one of this
project's own bundles; both take the same images. They are written to the run folder in parts, so
that hours of them survive an interruption. What is decided on them is left to ``svm``.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellnet import bundle as bundles
from cellnet.backbones import IMAGENET, RANDOM, feature_network
from cellnet.batches import evaluation_batches
from cellnet.errors import CellnetError
from cellnet.manifest import Manifest, Row
from cellnet.scoring import progress_bar

__all__ = ["Extractor", "extract", "open_extractor"]

PART = 256
"""Images in a part; a part that is complete is never computed again."""

_BATCH = 16


@dataclass(frozen=True)
class Extractor:
    """A network that is ready to be looked into.

    Attributes:
        about: What it is, for a report: ``backbone``, ``layer``, ``features``, ``preprocessing``
            and ``weights``, which say where they came from.
        size: Side of its input in pixels.
        run: ``(n, size, size, 3) float32 in [0, 1], RGB`` in, ``(n, features) float32`` out.
        bundle: The bundle, where it is one.
    """

    about: dict[str, Any]
    size: int
    run: Callable[[np.ndarray], np.ndarray]
    bundle: bundles.Bundle | None = None

    @property
    def key(self) -> str:
        """What tells its features from others: 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:16]


def open_extractor(
    name: str | None,
    layer: str,
    weights: str,
    size: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Extractor:
    """Open a network of Keras, or one of this project's bundles.

    Args:
        name: A network of Keras; None where ``weights`` is a bundle, which knows its own.
        layer: The layer whose output is taken: ``fc1`` of VGG-16, ``avg_pool`` of Inception-v3,
            ``dense1`` or ``pool5`` of Model 1.
        weights: ``random``, ``imagenet``, the place of a file, or a bundle's name or folder.
        size: Side of the input; the network's own where None.
        arguments: What else Keras's builder takes.

    Raises:
        CellnetError: There is no such network, layer or file, it does not fit, or a bundle is given
            what only a network of Keras takes.
    """
    if weights not in (RANDOM, IMAGENET) and _is_bundle(weights):
        if name is not None or size is not None or arguments:
            raise CellnetError(
                f"{weights} is a model of its own: leave name, size and arguments out beside it"
            )
        return _of_bundle(bundles.load(weights), layer)
    if name is None:
        raise CellnetError(
            f"the weights '{weights}' are no model of cellnet, so the network must be named, such "
            "as VGG16"
        )
    network, about = feature_network(name, layer, weights, size, arguments)

    def run(images: np.ndarray) -> np.ndarray:
        return np.asarray(network.predict_on_batch(images), np.float32)

    return Extractor(about, network.input_shape[1], run)


def _is_bundle(weights: str) -> bool:
    if (Path(weights) / bundles.FILE).is_file():
        return True
    plain = os.sep not in weights and "/" not in weights
    return plain and weights in bundles.available()


def _of_bundle(bundle: bundles.Bundle, layer: str) -> Extractor:
    from cellnet.export_graph import Graph
    from cellnet.export_weights import read_layers
    from cellnet.tensorflow_import import import_tensorflow

    tf = import_tensorflow()

    class Tap(Graph):
        """A graph that remembers what each layer answers."""

        def _passed(self, name, x):
            self.seen[name] = x

    graph = Tap(bundle, [each.as_floats() for each in read_layers(bundle)], variables=True)

    images_of = tf.TensorSpec([None, bundle.size, bundle.size, 3], tf.float32)

    @tf.function(input_signature=[images_of], autograph=False)
    def look(images):
        graph.seen = {}
        graph.run(images)
        if layer not in graph.seen:
            known = ", ".join(name for name in graph.seen)
            raise CellnetError(f"{bundle.name} has no layer '{layer}'; it has {known}")
        values = graph.seen[layer]
        return tf.reshape(values, [tf.shape(values)[0], int(np.prod(values.shape[1:]))])

    number = int(look.get_concrete_function().structured_outputs.shape[-1])

    def run(images: np.ndarray) -> np.ndarray:
        # The graph scales pixels itself, and its resize leaves images of its own size as they are.
        return look(tf.constant(images * np.float32(255))).numpy()

    given = bundle.description["input"]
    about = {
        "backbone": bundle.name,
        "layer": layer,
        "features": number,
        "preprocessing": {key: given[key] for key in sorted(given)},
        "arguments": {},
        "weights": {
            "from": "model",
            "told": f"{bundle.name} {bundle.version}, a model of this project",
            **bundle.identity(),
        },
    }
    return Extractor(about, bundle.size, run, bundle)


def extract(
    extractor: Extractor, manifest: Manifest, rows: Sequence[Row], folder: Path, told: str = ""
) -> np.ndarray:
    """Compute the features of cells, or read those that were computed before.

    Args:
        extractor: The network.
        manifest: Where the images are.
        rows: Which ones.
        folder: Where parts are kept; made when it is not there.
        told: What to write before a progress bar; nothing for no bar.

    Returns:
        ``(n, features) float32``, in the order of the rows.

    Raises:
        UnreadableImage: An image cannot be read.
        CellnetError: A value is no number: the weights are broken; or a part cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    starts = range(0, len(rows), PART)
    for number, start in enumerate(progress_bar(starts, told or None, len(starts), "part")):
        members = rows[start : start + PART]
        # Which network and which images: other than those, a part is computed anew.
        names = "".join([extractor.key, *(row.sha256 for row in members)])
        digest = hashlib.sha256(names.encode()).hexdigest()
        file = folder / f"{number:05}.npz"
        values = _read(file, digest)
        if values is None:
            paths = [manifest.path_of(row) for row in members]
            batches = evaluation_batches(paths, extractor.size, _BATCH)
            values = np.concatenate([extractor.run(batch) for batch in batches])
            if not np.isfinite(values).all():
                raise CellnetError(
                    f"the layer {extractor.about['layer']} of {extractor.about['backbone']} "
                    f"answers something that is no number on {members[0].path} or after it; its "
                    "weights are broken"
                )
            _write(file, digest, values)
        parts.append(values)
    return np.concatenate(parts)


def _read(file: Path, digest: str) -> np.ndarray | None:
    try:
        with np.load(file, allow_pickle=False) as held:
            return held["features"] if str(held["of"]) == digest else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(file: Path, digest: str, values: np.ndarray) -> None:
    part = file.with_name(f".{file.name}.part.npz")
    try:
        np.savez(part, features=values, of=np.array(digest))
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CellnetError(f"cannot write {file}: {error.strerror or error}") from error
