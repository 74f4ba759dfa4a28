"""Support vector machines on features: three kernels, cross-validated, stored without pickle.

As in the thesis (chapters 2 and 4): radial basis functions, a cubic and a quadratic polynomial, one
machine for each pair of classes. Features are standardised within the fold: mean and spread come
from the cells that train and never from those that test. A stored machine is a skops file: data
that names the few types it is made of, which are compared with a list before the first is made.
Where features come from is left to ``features``.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet import __version__
from cellnet.errors import CellnetError
from cellnet.outputs import write_text

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["KERNELS", "SCHEMA", "cross_validate", "load", "machine", "save"]

SCHEMA = "cellnet/svm/1"

KERNELS: dict[str, dict[str, Any]] = {
    "rbf": {"kernel": "rbf"},
    "quadratic": {"kernel": "poly", "degree": 2, "coef0": 1.0},
    "cubic": {"kernel": "poly", "degree": 3, "coef0": 1.0},
}
"""By name: exp(-g |x - y|^2), (1 + g x.y)^2 and (1 + g x.y)^3, with g one over the number of
features times their variance, which standardising makes 1."""

_CACHE_MB = 1000

_TYPES = {
    ("builtins", "dict", "DictNode"),
    ("builtins", "list", "ListNode"),
    ("builtins", "str", "JsonNode"),
    ("builtins", "str", "TypeNode"),
    ("builtins", "tuple", "TupleNode"),
    ("numpy", "float64", "NdArrayNode"),
    ("numpy", "ndarray", "NdArrayNode"),
    ("sklearn.pipeline", "Pipeline", "ObjectNode"),
    ("sklearn.preprocessing._data", "StandardScaler", "ObjectNode"),
    ("sklearn.svm._classes", "SVC", "ObjectNode"),
}
"""All that a stored machine is made of: module, name, and how skops makes it. The list that skops
itself trusts is far longer, and holds types that a forged file can do harm with."""


def machine(kernel: str, cost: float) -> Pipeline:
    """Build an untrained machine: standardisation, then the support vectors.

    Args:
        kernel: One of `KERNELS`.
        cost: Of a cell on the wrong side of the margin, C.

    Raises:
        CellnetError: There is no such kernel.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if kernel not in KERNELS:
        raise CellnetError(f"there is no kernel '{kernel}'; there are {', '.join(KERNELS)}")
    chosen = SVC(C=cost, gamma="scale", cache_size=_CACHE_MB, **KERNELS[kernel])
    return make_pipeline(StandardScaler(), chosen)


def cross_validate(
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, kernel: str, cost: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Train on all folds but one and name the cells of that one, for each in turn.

    Args:
        features: ``(n, f) float32``.
        labels: ``(n,) int``.
        folds: ``(n,) int``, the fold of each cell.
        kernel: One of `KERNELS`.
        cost: See `machine`.

    Yields:
        The fold, and ``(m,) int``, what its cells are called.
    """
    for fold in np.unique(folds):
        tested = folds == fold
        trained = machine(kernel, cost).fit(features[~tested], labels[~tested])
        yield int(fold), trained.predict(features[tested])


def save(trained: Pipeline, file: Path, about: dict[str, Any]) -> None:
    """Store a trained machine, and beside it a JSON file that says what it is.

    Args:
        trained: As `machine` builds it.
        file: ``NAME.skops``; ``NAME.json`` is written beside it.
        about: What its answers and its features are: plain JSON values.

    Raises:
        CellnetError: A file cannot be written.
    """
    import sklearn
    import skops.io

    try:
        data = skops.io.dumps(trained)
        file.write_bytes(data)
    except OSError as error:
        raise CellnetError(f"cannot write {file}: {error.strerror}") from error
    document = {
        "schema": SCHEMA,
        "cellnet": __version__,
        "scikit-learn": sklearn.__version__,
        "file": file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        **about,
    }
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_text(file.with_suffix(".json"), text)


def load(file: str | Path) -> tuple[Pipeline, dict[str, Any]]:
    """Read a stored machine.

    Nothing of the file is run: it may only be made of the types that a machine of this module is
    made of, and must be the one that the JSON file beside it names.

    Args:
        file: ``NAME.skops``.

    Returns:
        The machine, which names ``(n, f)`` features, and what is said of it.

    Raises:
        CellnetError: A file is missing or no such machine, or the two do not belong together.
    """
    import skops.io

    file = Path(file)
    beside = file.with_suffix(".json")
    try:
        data = file.read_bytes()
        about = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CellnetError(f"cannot read the stored machine {file}: {error}") from error
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise CellnetError(f"{beside} does not describe a machine ({SCHEMA})")
    found = hashlib.sha256(data).hexdigest()
    if found != about.get("sha256"):
        raise CellnetError(
            f"the machine {file} is not the one that {beside.name} names: its SHA-256 is "
            f"{found[:12]}..., expected {str(about.get('sha256'))[:12]}...; train it again"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            foreign = sorted(set(_types(json.loads(archive.read("schema.json")))) - _TYPES)
        if foreign:
            told = ", ".join(f"{module}.{name} ({how})" for module, name, how in foreign[:4])
            raise CellnetError(
                f"the machine {file} is made of types that no machine of cellnet has: {told}; "
                "do not trust it, and train it again"
            )
        trained = skops.io.loads(data, trusted=[])
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise CellnetError(f"the machine {file} cannot be read ({told}); train it again") from error
    return trained, about


def _types(node: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, dict):
        if "__class__" in node or "__loader__" in node:
            yield tuple(str(node.get(key, "")) for key in ("__module__", "__class__", "__loader__"))
        for value in node.values():
            yield from _types(value)
    elif isinstance(node, list):
        for value in node:
            yield from _types(value)
