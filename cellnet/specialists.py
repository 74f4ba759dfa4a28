"""Which networks the cells of a class go on to: the modular system of the thesis's chapter 6.

Model 1 names a cell; networks that know one class may say more of it. DysplasiaNet does so for
neutrophils, and with it a smear is decided. Others are declared in a YAML file: the one beside the
naming bundle's weights, ``specialists.yaml``, or one that is named in its place. Their answers
stand beside the cell's name and decide nothing. Only what can be run as it stands is let through.
Running the networks is left to ``scoring``, counting their answers to ``smear``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellnet.bundle import FILE as BUNDLE
from cellnet.bundle import Bundle, Source, as_bundle, available, load, models_folder
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.errors import CellnetError
from cellnet.smear import Specialist

__all__ = ["FILE", "Declaration", "Declared", "declared"]

FILE = "specialists.yaml"
"""What the declaration beside a naming bundle's weights is called."""

DECIDING = "dysplasianet"
"""The granularity network where none is declared, and the role of whichever is used."""

ROLES = ("model1", DECIDING)
"""Roles in a report that no specialist may be called by."""

Declared = str | os.PathLike[str] | Mapping[str, Source | Sequence[Source]]
"""A YAML file, or what one says: by class a bundle, or several."""


@dataclass(frozen=True)
class Declaration:
    """Which networks cells go on to.

    Attributes:
        granularity: The one that scores neutrophils and with which a smear is decided.
        others: Every other specialist, in the order in which they are declared, and its bundle.
    """

    granularity: Bundle
    others: tuple[tuple[Specialist, Bundle], ...] = ()


def declared(
    naming: Bundle, given: Declared | None = None, granularity: Source | None = None
) -> Declaration:
    """Find and check the networks that cells go on to.

    Args:
        naming: The bundle that names the eight classes.
        given: A declaration in place of the file beside the naming bundle's weights. Bundles in a
            file are named, or are paths from the file's own folder; those in a mapping are found as
            `cellnet.bundle.load` finds them.
        granularity: Takes the place of the declared network that scores neutrophils.

    Returns:
        The networks. ``dysplasianet`` scores neutrophils where nothing else is said.

    Raises:
        CellnetError: The file cannot be read or breaks the rules; a class is unknown; a bundle is
            missing, is for another class, declared twice, answers what it may not, or leads back.
    """
    place, entries = _entries(naming, given)
    scoring: Bundle | None = None
    others: list[tuple[Specialist, Bundle]] = []
    known: dict[str, str] = {}
    for of, source in entries:
        where = f"{place or 'specialists'}: {of}"
        if place is not None:
            bundle = _load_from(place.parent, str(source), where)
        else:
            bundle = as_bundle(source)
        if bundle.sha256 == naming.sha256:
            raise CellnetError(
                f"{where} goes on to {bundle.name}, which named the cell: a circle; name a network "
                "that knows more of the class"
            )
        if bundle.sha256 in known:
            raise CellnetError(
                f"{where} goes on to {bundle.name}, to which {known[bundle.sha256]} goes on "
                "already; declare each network once"
            )
        known[bundle.sha256] = of
        if (bundle.folder / FILE).is_file():
            raise CellnetError(
                f"{where} goes on to {bundle.name}, which has specialists of its own "
                f"({bundle.folder / FILE}); cells go on once, so declare these here instead"
            )
        if bundle.kind == "granularity":
            if of != NEUTROPHIL:
                raise CellnetError(
                    f"{where} goes on to {bundle.name}, which answers a granularity score; that "
                    f"is for {NEUTROPHIL}s, whose share decides a smear"
                )
            if scoring is not None:
                raise CellnetError(
                    f"{where} goes on to {scoring.name} and {bundle.name}, two granularity "
                    "networks, and a smear is decided with one; leave one out"
                )
            scoring = bundle
            continue
        if bundle.of not in (None, of):
            raise CellnetError(
                f"{where} goes on to {bundle.name}, which is for the class {bundle.of} "
                f"('output.of' of its {BUNDLE}); declare it there"
            )
        taken = [other.name for other, _ in others]
        if bundle.name in (*ROLES, *taken):
            raise CellnetError(
                f"{where} goes on to a second network that is called {bundle.name}; a report could "
                f"not tell them apart: give it another 'name' in {bundle.folder / BUNDLE}"
            )
        others.append((Specialist(bundle.name, of, bundle.classes), bundle))
    if granularity is not None:
        scoring = as_bundle(granularity)
    return Declaration(scoring or load(DECIDING), tuple(others))


def _entries(naming: Bundle, given: Declared | None) -> tuple[Path | None, list[tuple[str, Any]]]:
    """The file that was read, or None for a mapping, and each class with a bundle of it."""
    if isinstance(given, Mapping):
        return None, _pairs(given, "specialists")
    file = naming.folder / FILE if given is None else Path(given)
    if given is None and not file.is_file():
        return None, []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CellnetError(f"cannot read the specialists {file}: {reason}") from error
    told = [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]
    if told == [f"{NEUTROPHIL}: {DECIDING}"] and not (file.parent / DECIDING).exists():
        # What is shipped, and what happens without a file: a parser would cost each start 20 ms.
        return file, []
    import yaml

    try:
        content = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        message = " ".join(str(error).split())
        raise CellnetError(f"the specialists {file} are no valid YAML: {message}") from error
    return file, _pairs({} if content is None else content, str(file))


def _loader() -> Any:
    """YAML's safe loader, but a class that stands there twice is an error, not the last of both."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            found = super().construct_mapping(node, deep)
            if len(found) < len(node.value):
                raise yaml.constructor.ConstructorError(
                    None, None, "a class stands there twice", node.start_mark
                )
            return found

    return Loader


def _pairs(content: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(content, Mapping):
        raise CellnetError(
            f"{where} must say by class which bundles its cells go on to, such as "
            f"'{NEUTROPHIL}: [{DECIDING}]', got {content!r}"
        )
    pairs = []
    for of, sources in content.items():
        if of not in CLASSES:
            raise CellnetError(
                f"{where}: there is no class {of!r}; the classes are {', '.join(CLASSES)}"
            )
        single = isinstance(sources, (str, os.PathLike, Bundle))
        listed = [sources] if single else sources
        if not isinstance(listed, (list, tuple)) or not listed:
            raise CellnetError(
                f"{where}: {of} must name a bundle, or a list of them, got {sources!r}"
            )
        for source in listed:
            if not isinstance(source, (str, os.PathLike, Bundle)) or source == "":
                raise CellnetError(
                    f"{where}: {of} must name a bundle by its name or path, got {source!r}"
                )
            pairs.append((of, source))
    return pairs


def _load_from(home: Path, source: str, where: str) -> Bundle:
    """Load what a file names: a model by its name, or a folder from the file's own."""
    is_name = "/" not in source and os.sep not in source and source not in (".", "..")
    if is_name and (models_folder() / source / BUNDLE).is_file():
        return load(models_folder() / source)
    folder = home / source
    if not (folder / BUNDLE).is_file():
        names = ", ".join(available()) or "none"
        raise CellnetError(
            f"{where} goes on to '{source}', which is no bundle: there is no {folder / BUNDLE}"
            + (f", and the models in {models_folder()} are {names}" if is_name else "")
        )
    return load(folder)
