"""Weights of Keras networks in a local file: read, held against a network layer by layer, put in.

Three forms are read: ``.weights.h5`` and ``.keras``, which Keras 3 writes, and the ``.h5`` of
earlier versions, in which Keras still offers its ImageNet weights. Nothing in them is run: arrays
are read by name, and shapes and names are compared before the first is put in, so that a message
says what does not fit and a network is filled whole or not at all.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet.errors import CellnetError

if TYPE_CHECKING:
    import h5py
    import keras

__all__ = ["load_into", "read_file", "stable_names"]

_SHOWN = 4
"""Faults that a message names; the rest is counted."""


def load_into(network: keras.Model, file: Path, whole: keras.Model | None = None) -> list[str]:
    """Put the weights of a file into a network.

    Layers are found by name. Names that Keras makes up and counts (``conv2d_17``) differ from one
    session to the next: of those the order decides in which they were built.

    Args:
        network: What is filled. Each of its layers with weights must be in the file.
        file: The weights; they may hold more layers than the network has (its dense top).
        whole: The network that it was cut out of, in which made-up names are counted: one that ends
            inside a branch lacks the branches beside it, and its own count would pass over them.
            None where nothing was cut off.

    Returns:
        Names of the layers in the file that the network does not have.

    Raises:
        CellnetError: The file cannot be read as weights, a layer is missing, or a shape differs.
    """
    stored = read_file(file)
    wanted = {
        layer.name: [tuple(map(int, weight.shape)) for weight in layer.weights]
        for layer in network.layers
        if layer.weights
    }
    prefixes = {layer.name: _auto_prefix(layer) for layer in (whole or network).layers}
    own = _canonical(prefixes)
    counts = Counter(prefix for prefix in prefixes.values() if prefix is not None)
    held = _canonical({name: _guessed_prefix(name) for name in stored}, counts)
    place = {held[name]: name for name in stored}
    missing, shapes = [], []
    for name, given in wanted.items():
        at = place.get(own[name])
        if at is None:
            missing.append(name)
            continue
        there = [value.shape for value in stored[at]]
        if there != given:
            shapes.append(f"{name} needs {_told(given)} and has {_told(there)}")
    if missing or shapes:
        unused = sorted(set(stored) - {place.get(own[name]) for name in wanted})
        raise CellnetError(_misfit(file, network, missing, shapes, unused, len(wanted)))
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(stored[place[own[layer.name]]])
    used = {place[own[name]] for name in wanted}
    return [name for name in stored if name not in used]


def stable_names(network: keras.Model) -> dict[str, str]:
    """By a layer's name in this session, the one that it has in a new one, where it is built first.

    Keras counts the names that it makes up (``conv2d_17``) through all networks of a session.
    """
    own = _canonical({layer.name: _auto_prefix(layer) for layer in network.layers})
    return {name: _first_name(canonical) for name, canonical in own.items()}


def _first_name(canonical: str) -> str:
    prefix, _, rank = canonical.partition("#")
    return prefix if rank in ("", "0") else f"{prefix}_{rank}"


def _misfit(
    file: Path,
    network: keras.Model,
    missing: list[str],
    shapes: list[str],
    unused: list[str],
    number: int,
) -> str:
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {number} layers are not in it: {_few(missing)}")
        if unused:
            parts.append(f"it has others: {_few(unused)}")
    if shapes:
        parts.append(f"{len(shapes)} of {number} layers have other shapes: {_few(shapes, '; ')}")
    return (
        f"the weights {file} do not fit {network.name}: {'; '.join(parts)}; give weights of this "
        "very network (weights: FILE), or those that Keras offers (weights: imagenet)"
    )


def _few(items: list[str], joint: str = ", ") -> str:
    more = len(items) - _SHOWN
    return joint.join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _told(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "a number" for shape in shapes) or "nothing"


def _auto_prefix(layer: keras.Layer) -> str | None:
    """What Keras begins a layer's name with where nobody named it; None where somebody did."""
    prefix = _snake(type(layer).__name__)
    return prefix if re.fullmatch(rf"{prefix}(_\d+)?", layer.name) else None


def _snake(name: str) -> str:
    """``BatchNormalization`` as ``batch_normalization``, ``Conv2D`` as ``conv2d``."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


_AUTOMATIC = re.compile(
    r"(conv2d|depthwise_conv2d|separable_conv2d|conv2d_transpose|batch_normalization|dense|"
    r"layer_normalization|normalization|embedding)(?:_\d+)?"
)


def _guessed_prefix(name: str) -> str | None:
    """The same of a name alone, since a file does not say of which kind a layer is."""
    found = _AUTOMATIC.fullmatch(name)
    return found[1] if found else None


def _canonical(
    prefixes: Mapping[str, str | None], counts: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Names as they are; made-up ones by their rank among those of their kind.

    Args:
        prefixes: By name, what a made-up one begins with, else None.
        counts: How many the whole network has of a kind. Where there are fewer, some were left out,
            and a number's distance from the first tells more than its rank: Keras counts on while
            it builds a network, so what was left out is a gap.
    """
    ranks: dict[str, list[tuple[int, str]]] = {}
    for name, prefix in prefixes.items():
        if prefix is not None:
            number = int(name[len(prefix) + 1 :] or 0)
            ranks.setdefault(prefix, []).append((number, name))
    canonical = {name: name for name, prefix in prefixes.items() if prefix is None}
    for prefix, members in ranks.items():
        members.sort()
        is_whole = counts is None or len(members) >= counts.get(prefix, 0)
        for rank, (number, name) in enumerate(members):
            canonical[name] = f"{prefix}#{rank if is_whole else number - members[0][0]}"
    return canonical


def read_file(file: Path) -> dict[str, list[np.ndarray]]:
    """Read the weights of each layer that has some, in the file's order.

    Returns:
        By layer name, its arrays in Keras's order.

    Raises:
        CellnetError: The file is missing, of none of the three forms, or damaged.
    """
    import h5py

    try:
        source: Any = file
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if "model.weights.h5" not in archive.namelist():
                    raise CellnetError(
                        f"the weights {file} are a zip archive without model.weights.h5; "
                        "give a file that Keras saved: .keras, .weights.h5 or .h5"
                    )
                source = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(source, "r") as store:
            if "model_weights" in store:  # a whole model, saved by an earlier Keras
                return _read_earlier(store["model_weights"])
            return _read_earlier(store) if _has(store, "layer_names") else _read_keras3(store)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        told = " ".join(str(error).split())
        raise CellnetError(
            f"the weights {file} cannot be read as Keras weights ({told}); "
            "give a file that Keras saved: .keras, .weights.h5 or .h5"
        ) from error


def _has(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _texts(group: h5py.Group, name: str) -> list[str]:
    """A list of names, which long ones are kept in parts of: ``layer_names0``, and so on."""
    if name in group.attrs:
        parts = [group.attrs[name]]
    else:
        parts = []
        while f"{name}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{name}{len(parts)}"])
    return [
        text.decode("utf-8") if isinstance(text, bytes) else str(text)
        for part in parts
        for text in part
    ]


def _read_earlier(store: h5py.Group) -> dict[str, list[np.ndarray]]:
    found = {}
    for name in _texts(store, "layer_names"):
        weights = [np.asarray(store[name][text]) for text in _texts(store[name], "weight_names")]
        if weights:
            found[name] = weights
    return found


def _read_keras3(store: h5py.Group) -> dict[str, list[np.ndarray]]:
    """Arrays lie in groups called ``vars``, numbered; the group knows its layer's name."""
    found: dict[str, list[np.ndarray]] = {}
    doubled: Counter[str] = Counter()

    def visit(path: str, item: Any) -> None:
        parts = path.split("/")
        if parts[-1] != "vars" or parts[0] == "optimizer" or "seed_generator" in parts:
            return
        numbers = sorted((key for key in item if key.isdecimal()), key=int)
        if not numbers:
            return
        name = item.attrs.get("name", parts[-2] if len(parts) > 1 else path)
        name = name.decode("utf-8") if isinstance(name, bytes) else str(name)
        doubled[name] += 1
        found[name if doubled[name] == 1 else f"{name}:{doubled[name]}"] = [
            np.asarray(item[number]) for number in numbers
        ]

    store.visititems(visit)
    if not found:
        raise ValueError("it holds no layer's weights")
    return found
