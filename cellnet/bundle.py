"""A trained model as a folder: its weights, what they mean, and the operating point beside them.

`load` finds a bundle by name or path, checks ``bundle.json`` and the hash of the weights before
anything is run, and hands out what predicting needs: preprocessing, runtime, operating point.
Writing bundles is left to ``convert``, the full check (schema, contract, golden outputs) to
``verify``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet.cells import CLASSES, OTHER
from cellnet.errors import CellnetError

if TYPE_CHECKING:
    from cellnet.operating_point import OperatingPoint
    from cellnet.runtime import Runtime

__all__ = [
    "FILE",
    "KINDS",
    "SCHEMA",
    "Bundle",
    "Source",
    "as_bundle",
    "available",
    "check_description",
    "class_names_fault",
    "find",
    "load",
    "models_folder",
    "sha256_of",
]

SCHEMA = "cellnet/bundle/1"
FILE = "bundle.json"
KINDS = ("probabilities", "granularity")
"""What a network answers: class probabilities (Model 1's eight, or a specialist's own), or a score
(DysplasiaNet)."""

CLASS_NAME = re.compile(r"[a-z0-9](?:[a-z0-9 _-]{0,38}[a-z0-9])?")
"""How a class may be called: it becomes a folder's name, a column, a key."""

MODELS_VARIABLE = "CELLNET_MODELS"

# What predicting reads of bundle.json, and of which type. The JSON schema says the rest; reading it
# here would cost a tenth of a second at each start, so `verify` does that.
_KEYS = {
    "schema": str,
    "name": str,
    "version": str,
    "input.height": int,
    "input.width": int,
    "input.channels": str,
    "input.scale": (int, float),
    "input.offset": (int, float),
    "output.kind": str,
    "weights.file": str,
    "weights.format": str,
    "weights.sha256": str,
}


@dataclass(frozen=True)
class Bundle:
    """A trained model whose description and weights have been checked.

    Attributes:
        folder: Where it stands.
        description: All of ``bundle.json``.
    """

    folder: Path
    description: dict[str, Any]

    @property
    def name(self) -> str:
        """The bundle's name, such as ``model1``."""
        return self.description["name"]

    @property
    def version(self) -> str:
        """The bundle's version, such as ``1.0.0``."""
        return self.description["version"]

    @property
    def sha256(self) -> str:
        """Hash of the weights' file, 64 hexadecimal digits in lower case."""
        return self.description["weights"]["sha256"].lower()

    @property
    def weights(self) -> Path:
        """The weights' file, a LiteRT flatbuffer."""
        return self.folder / self.description["weights"]["file"]

    @property
    def kind(self) -> str:
        """What the network answers, one of `KINDS`."""
        return self.description["output"]["kind"]

    @property
    def size(self) -> int:
        """Height and width of the network's input in pixels."""
        return self.description["input"]["height"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its probabilities, in their order; none for a score."""
        return tuple(self.description["output"].get("classes") or ())

    @property
    def names_the_eight(self) -> bool:
        """Whether it names `cellnet.cells.CLASSES`, in their order, as Model 1 does."""
        return self.classes == CLASSES

    @property
    def of(self) -> str | None:
        """The class whose cells alone it is for; None for any cell."""
        return self.description["output"].get("of")

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """By class, the labels and sub-types of a manifest that it stands for."""
        told = self.description["output"].get("labels") or {}
        return {name: tuple(told.get(name, (name,))) for name in self.classes}

    @property
    def outputs(self) -> int:
        """How many numbers the network answers for an image: one a class, or 1 for a score."""
        return len(self.classes) or 1

    def identity(self) -> dict[str, str]:
        """Name, version and weights' hash, as they stand in every report."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}

    def require(self, kind: str) -> Bundle:
        """Return the bundle itself where it is of this kind.

        Raises:
            CellnetError: It answers something else.
        """
        if self.kind != kind:
            raise CellnetError(
                f"a bundle whose output is '{kind}' is needed here, but {self.folder} "
                f"({self.name}) answers '{self.kind}'; name another one"
            )
        return self

    def require_eight(self) -> Bundle:
        """Return the bundle itself where it names the eight classes.

        Raises:
            CellnetError: It answers a score, or names other classes.
        """
        if not self.require("probabilities").names_the_eight:
            raise CellnetError(
                f"a bundle that names the classes {', '.join(CLASSES)} is needed here, but "
                f"{self.folder} ({self.name}) names {', '.join(self.classes)}; name another one"
            )
        return self

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Make the network's input of an image, as the bundle states.

        Args:
            image: ``(h, w, 3) uint8, RGB``, any size.

        Returns:
            ``(size, size, 3) float32, RGB``, resized bilinearly, then scaled and shifted.
        """
        from cellnet.images import resize

        given = self.description["input"]
        pixels = resize(image, self.size)
        pixels *= np.float32(given["scale"])
        if given["offset"]:
            pixels += np.float32(given["offset"])
        return pixels

    def runtime(self) -> Runtime:
        """Open the weights for running; they stay mapped from the file."""
        from cellnet.runtime import Runtime

        return Runtime(self.weights, (self.size, self.size, 3), self.outputs)

    def operating_point(
        self,
        cutoff: float | None = None,
        threshold: float | None = None,
        minimum_neutrophils: int | None = None,
    ) -> OperatingPoint:
        """Give the operating point that decisions with these weights rest on.

        Args:
            cutoff: Takes the place of the fitted cell cut-off.
            threshold: Takes the place of the fitted smear threshold.
            minimum_neutrophils: Takes the place of the stated minimum.

        Raises:
            CellnetError: There is none beside the weights (and not both values were given), it
                belongs to other weights, or a value is out of range.
        """
        from cellnet import operating_point as points

        given: dict[str, Any] = {
            "cutoff": cutoff,
            "threshold": threshold,
            "minimum_neutrophils": minimum_neutrophils,
        }
        given = {key: value for key, value in given.items() if value is not None}
        if (self.folder / points.FILE).is_file():
            point = points.read_operating_point(self.folder, self.sha256)
        elif cutoff is not None and threshold is not None:
            return points.OperatingPoint(**given, model=self.name, weights_sha256=self.sha256)
        else:
            raise CellnetError(
                f"the bundle {self.folder} has no operating point ({points.FILE}), so nothing can "
                f"be decided with it: fit one with 'cellnet calibrate {self.folder} MANIFEST', or "
                "give both --cutoff and --threshold"
            )
        # What was fitted for one value says nothing of the value that takes its place, nor is a
        # threshold fitted for another cut-off than the one that it was fitted with.
        if given.get("cutoff", point.cutoff) != point.cutoff:
            given |= {"cell": None, "smear": None}
        if given.get("threshold", point.threshold) != point.threshold:
            given["smear"] = None
        return replace(point, **given)


def load(name_or_path: str | os.PathLike[str]) -> Bundle:
    """Find a bundle and check it: its description, and the hash of its weights.

    Args:
        name_or_path: A name (``"model1"``), looked up in `models_folder`; or the path of a bundle's
            folder.

    Returns:
        The bundle, ready to use.

    Raises:
        CellnetError: There is no such bundle, its description breaks the schema, or its weights are
            missing or are not those that the description names.
    """
    folder = find(name_or_path)
    bundle = Bundle(folder, _read_description(folder))
    if not bundle.weights.is_file():
        raise CellnetError(f"the bundle {folder} lacks its weights, {bundle.weights.name}")
    found = sha256_of(bundle.weights)
    if found != bundle.sha256:
        raise CellnetError(
            f"the weights {bundle.weights} are not those that {FILE} names: their SHA-256 is "
            f"{found[:12]}..., expected {bundle.sha256[:12]}...; fetch the bundle again"
        )
    return bundle


Source = str | os.PathLike[str] | Bundle
"""A bundle, or where it is: its name or its folder."""


def as_bundle(source: Source) -> Bundle:
    """Load a bundle, unless it is one."""
    return source if isinstance(source, Bundle) else load(source)


def models_folder() -> Path:
    """Give the folder in which bundles are looked up by name.

    The environment variable ``CELLNET_MODELS``, else the bundles that came with the installed
    package, else ``models/`` of the checkout.
    """
    if os.environ.get(MODELS_VARIABLE):
        return Path(os.environ[MODELS_VARIABLE])
    package = Path(__file__).resolve().parent
    installed = package / "_models"
    return installed if available(installed) else package.parent / "models"


def available(folder: Path | None = None) -> list[str]:
    """List the names of the bundles in a folder; in `models_folder` where none is given."""
    folder = models_folder() if folder is None else folder
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / FILE).is_file())


def sha256_of(file: Path) -> str:
    """Compute the SHA-256 of a file, as 64 hexadecimal digits in lower case."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """Find a bundle's folder by name or path, as `load` does, without checking what is in it.

    Raises:
        CellnetError: There is no such bundle; the message lists those that there are.
    """
    text = os.fspath(name_or_path)
    separators = os.sep + (os.altsep or "")
    is_name = isinstance(name_or_path, str) and not any(mark in text for mark in separators)
    home = models_folder()
    if is_name and text not in ("", ".", "..") and (home / text / FILE).is_file():
        return home / text
    path = Path(text)
    if text and (path / FILE).is_file():
        return path
    if not is_name or path.is_dir():
        raise CellnetError(
            f"{text or 'an empty name'} is not a bundle: a bundle is a folder with a {FILE}"
        )
    names = available(home)
    told = f"the models in {home} are {', '.join(names)}" if names else f"{home} holds no model"
    raise CellnetError(
        f"no model is called '{text}': {told}; give one of them, a bundle's folder, "
        f"or set {MODELS_VARIABLE}"
    )


def _read_description(folder: Path) -> dict[str, Any]:
    file = folder / FILE
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CellnetError(f"cannot read {file}: {error}") from error
    check_description(file, description)
    return description


def check_description(file: Path, description: Any) -> None:
    """Check that this program can run what a ``bundle.json`` describes.

    Args:
        file: Where it was read from, for the message.
        description: Its content.

    Raises:
        CellnetError: A key that predicting needs is missing, or has a value that this program does
            not know.
    """
    for key, kind in _KEYS.items():
        value: Any = description
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise CellnetError(
                f"{file} breaks the schema {SCHEMA}: '{key}' is {value!r}; "
                "see 'cellnet verify' for the whole check"
            )
    _check_meaning(file, description)


def _check_meaning(file: Path, description: dict[str, Any]) -> None:
    """Refuse what this program cannot run, rather than run it wrongly."""
    given, output, weights = (description[key] for key in ("input", "output", "weights"))
    rules = [
        ("schema", description["schema"], description["schema"] == SCHEMA, SCHEMA),
        ("output.kind", output["kind"], output["kind"] in KINDS, " or ".join(KINDS)),
        ("weights.format", weights["format"], weights["format"] == "litert", "litert"),
        ("input.channels", given["channels"], given["channels"] == "RGB", "RGB"),
        (
            "input.width",
            given["width"],
            given["width"] == given["height"] > 0,
            f"the height, {given['height']}, and over 0",
        ),
        (
            "weights.file",
            weights["file"],
            Path(weights["file"]).name == weights["file"],
            "a name without a folder",
        ),
    ]
    classes, of, labels = (output.get(key) for key in ("classes", "of", "labels"))
    if output["kind"] == "probabilities":
        fault = class_names_fault(classes)
        rules.append(("output.classes", classes, not fault, f"names of classes ({fault})"))
        own = classes != list(CLASSES)
        rule = f"a class of Model 1 ({', '.join(CLASSES)}), in a bundle with classes of its own"
        rules.append(("output.of", of, of is None or (own and of in CLASSES), rule))
        # Only a list of classes that holds has been seen to have members that can be compared.
        is_whole = labels is None or (own and not fault and _tells_labels(labels, classes))
        rules.append(
            ("output.labels", labels, is_whole, "lists of names for classes of the bundle")
        )
    else:
        for key, value in (("classes", classes), ("of", of), ("labels", labels)):
            rules.append((f"output.{key}", value, value is None, "left out where a score is given"))
    for key, value, holds, rule in rules:
        if not holds:
            raise CellnetError(f"{file}: '{key}' must be {rule}, got {value!r}")


def _tells_labels(labels: Any, classes: list[str]) -> bool:
    return (
        isinstance(labels, dict)
        and set(labels) <= set(classes)
        and all(
            isinstance(names, list) and names and all(isinstance(name, str) for name in names)
            for names in labels.values()
        )
    )


def class_names_fault(names: Any) -> str:
    """Say what is wrong with the names of a network's classes, or nothing.

    Args:
        names: Whatever stands where a list of names should.
    """
    if not isinstance(names, list) or len(names) < 2:
        return "two or more are needed"
    for name in names:
        if not isinstance(name, str) or not CLASS_NAME.fullmatch(name):
            return (
                f"each is of small letters, digits, blanks, '-' and '_', 40 at most, got {name!r}"
            )
        if name == OTHER:
            return f"'{OTHER}' is what a cell is called that no class holds for"
    if len(set(names)) < len(names):
        return "each must be another one"
    return ""
