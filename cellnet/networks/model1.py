"""Model 1: eight classes of blood cells from one cell's image (thesis of A. Acevedo, table 6.1).

``model1`` is the network of the thesis. With ``batch_norm=True`` it builds the same network with a
batch normalisation behind each convolution and its pooling, which trains in far fewer epochs;
``fold`` turns such a trained twin into the thesis's network, with the same outputs and not one
parameter more.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

#: Filters of the six 3x3 convolutions; a 2x2 maximum pooling follows each but the last.
FILTERS = (32, 64, 128, 256, 512, 512)
INPUT_SIZE = 224


def model1(classes: int = 8, batch_norm: bool = False) -> keras.Model:
    """Build Model 1 of the thesis (chapter 6, table 6.1).

    Input ``(n, 224, 224, 3) float32 in [0, 1], RGB``; output ``(n, classes) float32``, softmax
    probabilities. Five blocks of a valid 3x3 convolution and 2x2 maximum pooling, a sixth
    convolution, dense 4,096 with dropout 0.5, dense 1,024, softmax. 27,010,376 parameters with
    eight classes.

    Deviation: weights start from He's initialisation, since Glorot's shrinks the signal of six
    ReLU convolutions without normalisation.

    Args:
        classes: Number of classes, at least two.
        batch_norm: Build the training twin: convolution without bias, pooling, normalisation with
            an offset but no scale, ReLU. A normalisation whose scale is positive commutes with
            maximum pooling, so that it is computed on a quarter of the pixels and still folds
            exactly (see ``fold``).

    Raises:
        ValueError: Fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"model1 needs at least two classes, got {classes}")
    inputs = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    x = inputs
    for number, filters in enumerate(FILTERS, 1):
        x = layers.Conv2D(
            filters,
            3,
            activation=None if batch_norm else "relu",
            use_bias=not batch_norm,
            kernel_initializer="he_normal",
            name=f"conv{number}",
        )(x)
        if number < len(FILTERS):
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
        if batch_norm:
            x = layers.BatchNormalization(scale=False, momentum=0.95, name=f"norm{number}")(x)
            x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name="dense1")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name="dense2")(x)
    # float32 whatever the policy: a softmax in bfloat16 has two decimals.
    outputs = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="model1")


def fold(twin: keras.Model) -> keras.Model:
    """Fold a trained ``model1(batch_norm=True)`` into the network of the thesis.

    With mean m, variance v, offset b and no scale, normalisation of a convolution is the
    convolution with kernel k / sqrt(v + e) and bias b - m / sqrt(v + e). The factor is positive and
    ReLU is monotone, so both commute with the pooling between them and the outputs are the same up
    to rounding.

    Args:
        twin: The trained twin, of any dtype policy.

    Returns:
        ``model1(batch_norm=False)`` in float32 with the folded weights. A network without
        normalisations is copied as it is.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        plain = model1(classes=twin.output_shape[-1])
    finally:
        keras.config.set_dtype_policy(policy)
    names = {layer.name for layer in twin.layers}
    for layer in plain.layers:
        if not layer.weights:
            continue
        weights = [np.asarray(w, np.float32) for w in twin.get_layer(layer.name).get_weights()]
        norm_name = layer.name.replace("conv", "norm")
        if layer.name.startswith("conv") and norm_name in names:
            norm = twin.get_layer(norm_name)
            offset, mean, variance = (np.asarray(w, np.float32) for w in norm.get_weights())
            factor = 1.0 / np.sqrt(variance + norm.epsilon)
            weights = [weights[0] * factor, offset - mean * factor]
        layer.set_weights(weights)
    return plain
