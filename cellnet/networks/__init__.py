"""Untrained Keras networks by name.

A network is one module with one builder, named in ``BUILDERS``. Builders return uncompiled Keras
models and know nothing of data, losses or rates: those belong to a recipe (``training/*.yaml``).
Keras is imported only when a network is built.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from cellnet.errors import CellnetError

if TYPE_CHECKING:
    import keras

__all__ = ["BUILDERS", "build"]

#: Name of a network: the module of its builder, which bears the same name.
BUILDERS = {
    "model1": "cellnet.networks.model1",
    "dysplasianet": "cellnet.networks.dysplasianet",
    "finetuned": "cellnet.networks.finetuned",
}


def build(name: str, **arguments) -> keras.Model:
    """Build an untrained network.

    Args:
        name: A key of ``BUILDERS``.
        **arguments: The builder's own arguments, such as ``blocks=6`` for ``dysplasianet``.

    Returns:
        An uncompiled Keras model that takes ``(n, height, width, 3) float32 in [0, 1], RGB``.

    Raises:
        CellnetError: The name is unknown, the network does not take an argument or its value, or
            Keras is not installed.
    """
    if name not in BUILDERS:
        raise CellnetError(
            f"no network is called {name!r}; the networks are {', '.join(sorted(BUILDERS))}"
        )
    try:
        module = importlib.import_module(BUILDERS[name])
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("keras", "tensorflow"):
            raise CellnetError(
                "building a network needs Keras, which is not installed; "
                'install the training extra: pip install "cellnet[train]"'
            ) from error
        raise
    try:
        return getattr(module, name)(**arguments)
    except (TypeError, ValueError) as error:
        raise CellnetError(
            f"network {name!r} refused its arguments {arguments}: {error}"
        ) from error
