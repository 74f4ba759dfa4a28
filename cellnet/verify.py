"""Check a bundle before it is trusted: files, description, contract, and what the weights answer.

`load` refuses weights that are not those of the description. This goes further: the whole schema,
the tensors of the weights against the description, the golden outputs on this machine, and whether
operating point and recorded metrics belong to the weights. Every check is made that can be, and
says what it found.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.bundle import FILE, Bundle, check_description, find, sha256_of
from cellnet.errors import CellnetError
from cellnet.record import FILE as METRICS
from cellnet.record import SCHEMA as METRICS_SCHEMA

__all__ = ["Check", "Verification", "read_golden", "read_schema", "verify"]

SCHEMA = "cellnet/verification/1"

# Largest difference from the golden outputs. Another processor adds in another order; with 8-bit
# activations a last bit may fall on the other side of a step.
TOLERANCE = {"float32": 1e-4}
TOLERANCE_QUANTISED = 0.02


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        passed: Whether it is as it should be.
        detail: What was found, in a few words.
    """

    name: str
    passed: bool
    detail: str


@dataclass
class Verification:
    """What `verify` found.

    Attributes:
        folder: The bundle's folder.
        checks: In the order in which they were made.
    """

    folder: Path
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def text(self) -> str:
        """A line for each check, then the outcome."""
        width = max(len(check.name) for check in self.checks)
        lines = [
            f"{'pass' if check.passed else 'FAIL'}  {check.name:<{width}}  {check.detail}"
            for check in self.checks
        ]
        failed = sum(not check.passed for check in self.checks)
        outcome = f"{failed} of {len(self.checks)} checks failed" if failed else "all checks passed"
        return "\n".join([*lines, f"{self.folder}: {outcome}"]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The document ``cellnet/verification/1``."""
        return {
            "schema": SCHEMA,
            "bundle": os.fspath(self.folder),
            "passed": self.passed,
            "checks": [
                {"name": check.name, "passed": check.passed, "detail": check.detail}
                for check in self.checks
            ],
        }


def verify(name_or_path: str | os.PathLike[str]) -> Verification:
    """Check a bundle.

    Args:
        name_or_path: A model's name, or a bundle's folder.

    Returns:
        What was found; a damaged bundle is a finding, not an error.

    Raises:
        CellnetError: There is no such bundle.
    """
    folder = find(name_or_path)
    found = Verification(folder)
    description: dict[str, Any] = {}

    def check(name: str, look: Callable[[], str]) -> bool:
        try:
            detail, passed = look(), True
        except CellnetError as error:
            detail, passed = str(error), False
        found.checks.append(Check(name, passed, detail))
        return passed

    def read() -> str:
        description.update(_read_json(folder / FILE))
        _check_schema(description)
        check_description(folder / FILE, description)
        return f"{FILE} is {description['schema']}"

    if not check("schema", read):
        return found
    bundle = Bundle(folder, description)
    is_whole = check("weights", lambda: _check_hash(bundle.weights, description["weights"]))
    has_golden = check(
        "golden file",
        lambda: _check_hash(folder / description["golden"]["file"], description["golden"]),
    )
    if "seen" in description:
        check(
            "cells seen",
            lambda: _check_hash(folder / description["seen"]["file"], description["seen"]),
        )
    if is_whole:
        runs = check("contract", lambda: _check_contract(bundle))
        if runs and has_golden:
            check("golden outputs", lambda: _check_golden(bundle))
    if bundle.kind == "granularity":
        check("operating point", lambda: _check_point(bundle))
    if (folder / METRICS).is_file():
        check("metrics", lambda: _check_metrics(bundle))
    return found


def read_schema(name: str) -> dict[str, Any]:
    """Read one of the JSON schemas that come with the package, such as ``smear-report``."""
    return json.loads((resources.files("cellnet") / "schemas" / f"{name}.json").read_text("utf-8"))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CellnetError(f"cannot read {file.name}: {error}") from error
    if not isinstance(document, dict):
        raise CellnetError(f"{file.name} is no JSON object")
    return document


def _check_schema(description: dict[str, Any]) -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(read_schema("bundle"))
    errors = sorted(validator.iter_errors(description), key=lambda error: error.json_path)
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise CellnetError(f"{FILE}: {first.json_path[2:] or 'top level'}: {first.message}{more}")


def _check_hash(file: Path, stated: dict[str, Any]) -> str:
    try:
        size, found = file.stat().st_size, sha256_of(file)
    except OSError as error:
        raise CellnetError(f"cannot read {file.name}: {error.strerror}") from error
    if found != stated["sha256"].lower():
        raise CellnetError(
            f"the SHA-256 of {file.name} is {found[:12]}..., stated is {stated['sha256'][:12]}..."
        )
    if stated.get("bytes", size) != size:
        raise CellnetError(f"{file.name} has {size} bytes, stated are {stated['bytes']}")
    return f"{file.name}, {size:,} bytes, SHA-256 {found[:12]}..."


def _check_contract(bundle: Bundle) -> str:
    """Tensors as described, answers that are probabilities or scores, and the same in company."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 50, 60, 3), dtype=np.uint8)
    inputs = np.stack([bundle.prepare(image) for image in images])
    runtime = bundle.runtime()
    together = runtime.predict(inputs)
    alone = np.concatenate([runtime.predict(one[None]) for one in inputs])
    if not np.array_equal(together, alone):
        raise CellnetError("an image's answer depends on the images beside it")
    if together.min() < 0 or together.max() > 1:
        raise CellnetError(f"answers from {together.min()} to {together.max()} leave [0, 1]")
    if bundle.kind == "probabilities" and not np.allclose(together.sum(1), 1, atol=1e-4):
        raise CellnetError(f"the probabilities of an image add up to {together.sum(1).max()}")
    side = bundle.size
    return f"float32 (n, {side}, {side}, 3) to float32 (n, {bundle.outputs}), {bundle.kind}"


def read_golden(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Read a bundle's golden images and what its weights answered for them.

    Returns:
        ``(k, h, w, 3) uint8, RGB`` and ``(k, outputs) float32``.

    Raises:
        CellnetError: The file cannot be read, or holds something else.
    """
    file = bundle.folder / bundle.description["golden"]["file"]
    try:
        with np.load(file, allow_pickle=False) as stored:
            images, wanted = stored["images"], stored["outputs"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CellnetError(f"cannot read {file.name}: {error}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise CellnetError(f"{file.name}: images must be uint8 (k, h, w, 3), got {images.shape}")
    if wanted.shape != (len(images), bundle.outputs):
        raise CellnetError(
            f"{file.name}: outputs must be {(len(images), bundle.outputs)}, got {wanted.shape}"
        )
    return images, wanted


def _check_golden(bundle: Bundle) -> str:
    images, wanted = read_golden(bundle)
    inputs = np.stack([bundle.prepare(image) for image in images])
    difference = float(np.abs(bundle.runtime().predict(inputs) - wanted).max())
    tolerance = TOLERANCE.get(bundle.description["weights"]["quantisation"], TOLERANCE_QUANTISED)
    told = f"{len(images)} images, largest difference {difference:.1g}, allowed {tolerance:g}"
    if not difference <= tolerance:
        raise CellnetError(told)
    return told


def _check_point(bundle: Bundle) -> str:
    point = bundle.operating_point()
    return f"cut-off {point.cutoff:.4g}, threshold {point.threshold:.4g}, fitted for these weights"


def _check_metrics(bundle: Bundle) -> str:
    document = _read_json(bundle.folder / METRICS)
    evaluations = document.get("evaluations")
    if document.get("schema") != METRICS_SCHEMA or not isinstance(evaluations, dict):
        raise CellnetError(f"{METRICS} breaks the schema {METRICS_SCHEMA}")
    found = str(document.get("weights_sha256"))
    if found != bundle.sha256:
        raise CellnetError(
            f"{METRICS} was measured of weights {found[:12]}..., not of these: measure again with "
            f"'cellnet evaluate {bundle.folder} MANIFEST --record NAME'"
        )
    return f"{len(evaluations)} evaluations of these weights"
