"""A ready-made network of Keras with a new head, its last blocks free to learn (thesis, chapter 4).

The thesis fine-tunes VGG-16 and Inception-v3, trained on ImageNet, for the eight classes. Here it
is one network with the backbone as an argument, so that `cellnet train` and the study of table 4.3
train it like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from cellnet.backbones import RANDOM, blocks_of, without_top

POOLINGS = ("flatten", "average")


def finetuned(
    backbone: str = "VGG16",
    weights: str = RANDOM,
    pooling: str = "flatten",
    hidden: Sequence[int] = (4096, 1024),
    free: int | None = None,
    classes: int = 8,
    size: int | None = None,
    **arguments,
) -> keras.Model:
    """Build a backbone of Keras with a head of its own (thesis, section 4.3 and table 4.3).

    Input ``(n, size, size, 3) float32 in [0, 1], RGB``: the backbone's own preprocessing is its
    first layer. Output ``(n, classes) float32``, softmax probabilities. VGG-16 goes on with
    flatten, dense 4,096, dense 1,024 (ReLU) and softmax: 121,682,760 parameters at 224 pixels.
    Inception-v3 with average pooling, dense 1,024 and softmax: 23,909,160 at 299 pixels.

    Args:
        backbone: A network of ``keras.applications``, by Keras's name.
        weights: What the backbone begins with: ``random``, ``imagenet``, or the place of a file.
        pooling: What stands between backbone and head, ``flatten`` or ``average``.
        hidden: Units of the hidden dense layers.
        free: How many of the backbone's last convolutional blocks learn
            (`cellnet.backbones.blocks_of`), 0 for the head alone; None for all of it.
        classes: Number of classes, at least two.
        size: Side of the input in pixels; the backbone's own where None.
        **arguments: What else Keras's builder takes, such as ``alpha``.

    Raises:
        ValueError: An argument is out of range.
        CellnetError: The backbone is unknown or its weights are not to be had, see
            `cellnet.backbones.without_top`.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be {' or '.join(POOLINGS)}, got {pooling!r}")
    if classes < 2 or any(units < 1 for units in hidden):
        raise ValueError(
            f"at least two classes and one unit a layer are needed, got {classes} and {hidden}"
        )
    body, _ = without_top(backbone, weights, size, arguments)
    blocks = blocks_of(body)
    if free is not None and not 0 <= free <= len(blocks):
        raise ValueError(f"{backbone} has {len(blocks)} convolutional blocks, cannot free {free}")
    if free is not None:
        learning = {name for block in blocks[len(blocks) - free :] for name in block}
        for layer in body.layers:
            layer.trainable = layer.name in learning
    pool = layers.Flatten if pooling == "flatten" else layers.GlobalAveragePooling2D
    x = pool(name=f"head_{pooling}")(body.output)
    for number, units in enumerate(hidden, 1):
        x = layers.Dense(units, activation="relu", name=f"head_dense{number}")(x)
    # float32 whatever the policy: a softmax in bfloat16 has two decimals.
    outputs = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(body.inputs[0], outputs, name="finetuned")
