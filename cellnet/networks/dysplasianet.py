"""DysplasiaNet: a granularity score for one neutrophil (thesis of A. Acevedo, chapter 5).

The eight candidates of table 5.2 are arguments of one builder; M1 is the default, and the one that
the thesis chose. With ``classes`` the same small network tells sub-types of a cell apart.
"""

from __future__ import annotations

import keras
from keras import layers

INPUT_SIZE = 299

#: The eight candidates of table 5.2, as arguments of ``dysplasianet``.
CANDIDATES = {
    "M1": {"blocks": 4, "width": 16, "hidden": 1},
    "M2": {"blocks": 6, "width": 16, "hidden": 1},
    "M3": {"blocks": 4, "width": 32, "hidden": 1},
    "M4": {"blocks": 6, "width": 32, "hidden": 1},
    "M5": {"blocks": 4, "width": 16, "hidden": 2},
    "M6": {"blocks": 6, "width": 16, "hidden": 2},
    "M7": {"blocks": 4, "width": 32, "hidden": 2},
    "M8": {"blocks": 6, "width": 32, "hidden": 2},
}


def dysplasianet(
    blocks: int = 4, width: int = 16, hidden: int = 1, classes: int = 1
) -> keras.Model:
    """Build a DysplasiaNet (thesis, section 5.3 and table 5.2).

    Input ``(n, 299, 299, 3) float32 in [0, 1], RGB``; output ``(n, 1) float32 in [0, 1]``, the
    granularity score, higher where the cytoplasm holds more granules. Blocks of a valid 3x3
    convolution with ``width`` filters and 2x2 maximum pooling, flatten, ``hidden`` dense ReLU
    layers of ``width``, dropout 0.5, one sigmoid.

    Parameters of the candidates M1 to M8: 72,977, 13,105, 290,849, 51,297, 73,249, 13,377, 291,905
    and 52,353.

    Deviation: a first layer without parameters spreads the input to 5 x - 3.75 (range -3.75 to
    1.25, since smears are bright). From [0, 1] these narrow networks stay at chance for a dozen
    epochs, or for ever.

    Args:
        blocks: Convolutional blocks, 4 or 6 in the thesis.
        width: Filters of each convolution and units of each hidden layer, 16 or 32.
        hidden: Hidden dense layers, 1 or 2.
        classes: 1 for the granularity score; from 2 on, that many softmax probabilities in place of
            the sigmoid (not in the thesis), ``(n, classes) float32``.

    Raises:
        ValueError: Fewer than one block, filter, hidden layer or class, or more than six blocks.
    """
    if not 1 <= blocks <= 6 or width < 1 or hidden < 1 or classes < 1:
        raise ValueError(
            "dysplasianet needs 1 to 6 blocks, and a width, hidden layers and classes of at least "
            f"1, got blocks={blocks}, width={width}, hidden={hidden}, classes={classes}"
        )
    inputs = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    x = layers.Rescaling(5.0, -3.75, name="spread")(inputs)
    for number in range(1, blocks + 1):
        x = layers.Conv2D(width, 3, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number in range(1, hidden + 1):
        x = layers.Dense(width, activation="relu", name=f"dense{number}")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    # float32 whatever the policy: a score in bfloat16 has two decimals.
    name, activation = ("granularity", "sigmoid") if classes == 1 else ("probabilities", "softmax")
    outputs = layers.Dense(classes, activation=activation, dtype="float32", name=name)(x)
    return keras.Model(inputs, outputs, name="dysplasianet")
