"""Keras's ready-made networks by name: what they are given, and where their weights come from.

The thesis takes VGG-16 and Inception-v3 with the weights that Keras offers (chapter 4); every other
network of ``keras.applications`` can be named too. Each is built so that it takes what the
project's own networks take, RGB in [0, 1]: its preprocessing is part of it and stands in every
report. Weights are ``random``, ``imagenet``, which Keras downloads, or a file, of which it is said
exactly what does not fit. Reading such files is left to ``weight_files``.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet.bundle import sha256_of
from cellnet.errors import CellnetError
from cellnet.outputs import write_text
from cellnet.run_folder import read_kept
from cellnet.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    import keras

__all__ = [
    "IMAGENET",
    "RANDOM",
    "Application",
    "application",
    "applications",
    "bind",
    "blocks_of",
    "entrance",
    "feature_network",
    "fill",
    "hash_of",
    "without_top",
]

RANDOM, IMAGENET = "random", "imagenet"
"""What ``weights`` may say beside the place of a file."""

_SIZES = {
    "InceptionV3": 299,
    "InceptionResNetV2": 299,
    "Xception": 299,
    "NASNetLarge": 331,
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
}
_SIZE = 224  # of all others

_PATIENCE_S = 60.0  # for a server that says nothing; Keras would wait for ever


@dataclass(frozen=True)
class Application:
    """One of Keras's networks.

    Attributes:
        name: As Keras calls its builder: ``VGG16``.
        builder: Makes it.
        size: Side of its own input in pixels.
        channels: ``RGB`` or ``BGR``, the order that it wants.
        scale: What each wanted channel, 0 to 255, is multiplied by.
        offset: What is then added to each.
    """

    name: str
    builder: Callable[..., keras.Model]
    size: int
    channels: str
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    def preprocessing(self, size: int | None = None) -> dict[str, Any]:
        """What is done to an image, for a report: plain JSON values."""
        return {
            "height": size or self.size,
            "width": size or self.size,
            "resize": "bilinear, half-pixel centres, no antialias",
            "channels": self.channels,
            "scale": list(self.scale),
            "offset": list(self.offset),
            "of": "channels from 0 to 255",
        }


def applications() -> dict[str, str]:
    """All networks that can be named, each with the module of Keras that has it."""
    import_tensorflow()  # quietly, before Keras does
    import keras.applications

    found = {
        name: f"keras.applications.{value.__module__.rpartition('.')[2]}"
        for name, value in vars(keras.applications).items()
        if name[0].isupper() and callable(value)
    }
    return dict(sorted(found.items()))


def application(name: str) -> Application:
    """Find a network by the name that Keras gives it.

    Raises:
        CellnetError: There is none of that name, or TensorFlow is not installed.
    """
    known = applications()
    if name not in known:
        near = difflib.get_close_matches(name.upper(), [one.upper() for one in known], 1)
        hint = next((f"did you mean {one}? " for one in known if [one.upper()] == near), "")
        raise CellnetError(f"Keras has no network called '{name}'; {hint}it has {', '.join(known)}")
    import keras.applications

    prepare = importlib.import_module(known[name]).preprocess_input
    builder = getattr(keras.applications, name)
    return Application(name, builder, _SIZES.get(name, _SIZE), *_look_at(prepare))


def _look_at(preprocess: Callable[[np.ndarray], np.ndarray]) -> tuple[str, tuple, tuple]:
    """Tell what a preprocessing does: it reverses channels or not, and scales and shifts each."""

    def of(colour: tuple[float, float, float]) -> np.ndarray:
        # A copy, since Keras computes in place.
        return np.asarray(preprocess(np.array([[[colour]]], np.float64))).reshape(3)

    black = of((0, 0, 0))
    columns = np.stack([of(tuple(255.0 * row)) - black for row in np.eye(3)], axis=1) / 255
    for channels, matrix in (("RGB", columns), ("BGR", columns[:, ::-1])):
        scale = np.diag(matrix)
        if np.array_equal(matrix, np.diag(scale)):
            return channels, tuple(map(float, scale)), tuple(map(float, black))
    raise CellnetError(
        "this version of Keras prepares images for this network by mixing channels, "
        "which cellnet cannot record; choose another network"
    )


def entrance(found: Application, size: int) -> tuple[Any, Any]:
    """The input and what the network is given of it.

    Returns:
        ``(n, size, size, 3) float32 in [0, 1], RGB``, as all networks of the project take it; and
        the same as the network was trained to see it.
    """
    import keras
    from keras import layers

    inputs = keras.Input((size, size, 3), name="image")
    x = inputs[..., ::-1] if found.channels == "BGR" else inputs
    # float32 whatever the policy: offsets of a hundred would leave bfloat16 few decimals.
    scale = [255 * factor for factor in found.scale]
    spread = layers.Rescaling(scale, list(found.offset), dtype="float32", name="preprocessing")
    return inputs, spread(x)


def feature_network(
    name: str,
    layer: str,
    weights: str,
    size: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[keras.Model, dict[str, Any]]:
    """Build a network up to the layer whose output is taken as features.

    Args:
        name: A network of Keras.
        layer: The layer: ``fc1``, the first dense layer of VGG-16 with its 4,096 values;
            ``avg_pool``, the last pooling of Inception-v3 with its 2,048.
        weights: ``random``, ``imagenet``, or the place of a file.
        size: Side of the input; the network's own where None.
        arguments: What else Keras's builder takes, such as ``alpha``.

    Returns:
        The network, ``(n, size, size, 3) float32 in [0, 1], RGB`` in, the layer's output out,
        flattened to ``(n, features)``; and what it is, for a report.

    Raises:
        CellnetError: There is no such network or layer, it does not take the size or an argument,
            or the weights are not to be had or do not fit.
    """
    _check_weights(weights)
    found = application(name)
    side = size or found.size
    whole = _build(found, True, weights == IMAGENET, side, arguments)
    from cellnet.weight_files import stable_names

    names = {stable: name for name, stable in stable_names(whole).items()}
    if layer not in names:
        near = difflib.get_close_matches(layer, names, 3) or list(names)[-6:]
        raise CellnetError(f"{name} has no layer '{layer}'; perhaps {', '.join(near)}")
    import keras
    from keras import layers

    output = whole.get_layer(names[layer]).output
    if len(output.shape) > 2:
        output = layers.Flatten(name="features")(output)
    network = keras.Model(whole.inputs[0], output, name=f"{name}-{layer}")
    return network, {
        "backbone": name,
        "layer": layer,
        "features": int(output.shape[-1]),
        "preprocessing": found.preprocessing(side),
        "arguments": dict(arguments or {}),
        "weights": fill(network, weights, whole),
    }


def without_top(
    name: str,
    weights: str,
    size: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[keras.Model, dict[str, Any]]:
    """Build a network without its dense layers, for others to stand on it.

    Args:
        name: A network of Keras.
        weights: ``random``, ``imagenet``, or the place of a file.
        size: Side of the input; the network's own where None.
        arguments: What else Keras's builder takes.

    Returns:
        The network, ``(n, size, size, 3) float32 in [0, 1], RGB`` in, ``(n, h, w, channels)`` out;
        and what it is, for a report.

    Raises:
        CellnetError: As `feature_network`.
    """
    _check_weights(weights)
    found = application(name)
    side = size or found.size
    network = _build(found, False, weights == IMAGENET, side, arguments)
    return network, {
        "backbone": name,
        "preprocessing": found.preprocessing(side),
        "arguments": dict(arguments or {}),
        "weights": fill(network, weights),
    }


def _check_weights(weights: str) -> None:
    """Check that a file is there, before seconds go into a network that would not be filled."""
    if weights not in (RANDOM, IMAGENET) and not Path(weights).is_file():
        what = "is a folder" if Path(weights).is_dir() else "does not exist"
        raise CellnetError(
            f"the weights {weights}: such a file {what}; a recipe's weights are 'random', "
            "'imagenet', a model's name, or the place of a file as seen from the folder that the "
            "command is typed in"
        )


def _build(
    found: Application,
    top: bool,
    pretrained: bool,
    size: int,
    arguments: Mapping[str, Any] | None,
) -> keras.Model:
    given: dict[str, Any] = {
        "include_top": top,
        "weights": IMAGENET if pretrained else None,
        "input_tensor": entrance(found, size)[1],
        "input_shape": (size, size, 3),
        **(arguments or {}),
    }
    try:
        with _download():
            network = found.builder(**given)
    except (TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise CellnetError(
            f"Keras cannot build {found.name} for images of {size} x {size} pixels"
            f"{f' with {dict(arguments)}' if arguments else ''}: {told}"
        ) from error
    except Exception as error:
        # Keras raises a plain Exception where a download fails; nothing else tells them apart.
        if not pretrained:
            raise
        told = " ".join(str(error).split())
        raise CellnetError(
            f"the ImageNet weights of {found.name} cannot be downloaded ({told}); connect this "
            "machine to the network and try again (weights: imagenet), or put the file that "
            "Keras offers on it by hand (weights: FILE.h5)"
        ) from error
    return network


@contextlib.contextmanager
def _download() -> Iterator[None]:
    """Let Keras download: what it says goes to standard error, and silence ends after a while."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE_S)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(patience)


def fill(network: keras.Model, weights: str, whole: keras.Model | None = None) -> dict[str, Any]:
    """Give a network the weights that a recipe names, and say which they are.

    Args:
        network: Freshly built; where ``weights`` is ``imagenet``, by Keras with those weights.
        weights: ``random``, ``imagenet``, or the place of a file.
        whole: The network that it was cut out of; None where nothing was cut off.

    Returns:
        ``from`` (``random``, ``imagenet`` or ``file``), ``told`` for people, ``sha256`` of the
        network's weights, and for a file its name, its hash and the layers in it that the network
        does not have.

    Raises:
        CellnetError: The file cannot be read or does not fit.
    """
    if weights == RANDOM:
        about: dict[str, Any] = {
            "from": RANDOM,
            "told": "random, trained on nothing: what stands on them says nothing of the method",
        }
    elif weights == IMAGENET:
        about = {"from": IMAGENET, "told": "ImageNet, as Keras offers them"}
    else:
        from cellnet.weight_files import load_into

        file = Path(weights)
        unused = load_into(network, file, whole)
        about = {
            "from": "file",
            "told": f"the file {file.name}",
            "file": file.name,
            "file_sha256": sha256_of(file),
            "unused_layers": unused,
        }
    return {**about, "sha256": hash_of(network)}


def bind(folder: Path, networks: Sequence[Mapping[str, Any]]) -> None:
    """Bind a run to its networks: with other weights, what is done and what is to come would mix.

    Args:
        folder: The run folder; ``networks.json`` in it says what it was begun with.
        networks: What is said of each network in the report.

    Raises:
        CellnetError: The run was begun with others.
    """
    stored = folder / "networks.json"
    given = json.loads(json.dumps(list(networks)))
    remedy = "it says what the run was begun with, so choose another --run"
    begun = read_kept(stored, remedy)
    if begun is None:
        write_text(stored, json.dumps(given, indent=2) + "\n")
        return
    if not isinstance(begun, list) or len(begun) != len(given):
        raise CellnetError(f"{stored} does not tell of {len(given)} networks; {remedy}")
    for one, other in zip(begun, given, strict=True):
        if one != other:
            raise CellnetError(
                f"{folder} was begun with another {one['backbone']} ({one['weights']['told']}, "
                f"SHA-256 {one['weights']['sha256'][:12]}...) than it is given now "
                f"({other['weights']['told']}, {other['weights']['sha256'][:12]}...); give that "
                "one, or choose another --run"
            )


def hash_of(network: keras.Model) -> str:
    """SHA-256 of a network's weights, in their order, as hexadecimal text."""
    digest = hashlib.sha256()
    for value in network.get_weights():
        digest.update(repr((value.shape, str(value.dtype))).encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).reshape(-1))
    return digest.hexdigest()


def blocks_of(network: keras.Model) -> list[list[str]]:
    """The convolutional blocks of a network, first to last, each the names of its layers.

    Inception networks are cut behind each ``mixed`` concatenation, as their authors draw them;
    what comes before the first is one block. All other networks are cut before each convolution,
    so that a block is a convolution and what follows it: VGG-16 has thirteen. Only so can table 4.3
    free six or eight blocks of it, since it has but five poolings.
    """
    names = [layer.name for layer in network.layers]
    ends = [at for at, name in enumerate(names) if re.fullmatch(r"mixed\d+", name)]
    if ends:
        starts = [0, *(end + 1 for end in ends[:-1])]
    else:
        starts = [at for at, layer in enumerate(network.layers) if _is_convolution(layer)]
    return [names[start:end] for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]


def _is_convolution(layer: keras.Layer) -> bool:
    kind = type(layer).__name__
    return "Conv2D" in kind and kind != "Conv2DTranspose"
