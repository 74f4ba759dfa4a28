"""The cells of the class that a network knows, of images and folders as they are given.

DysplasiaNet knows neutrophils alone, and a specialist the cells of its class: of any other cell
they answer something too, and it means nothing. A folder's name may tell a cell's class; where none
does, Model 1 names it, as in a smear. Of a manifest the labels decide, in ``explain_cells``.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace

from cellnet.bundle import Bundle, Source, as_bundle
from cellnet.cells import CLASSES, GRANULARITY, NEUTROPHIL
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.explain_cells import Cell, Cells
from cellnet.scoring import score_files
from cellnet.smear import name_cell

__all__ = ["Selection"]


class Selection:
    """Which of the cells given a network is asked about.

    Attributes:
        found: The cells that are left; those left out are among its others, their number is told
            among its warnings.
        classifier: The bundle that names the cells whose class no folder tells; None where there is
            no such cell, or none is to be named.
    """

    def __init__(self, bundle: Bundle, found: Cells, classifier: Source | None):
        """Leave out what folders tell to be of another class, and find who names the rest.

        Args:
            bundle: The network.
            found: From `cellnet.explain_cells.find_cells`; a manifest's cells are taken as they
                are.
            classifier: A bundle that names the eight classes; None (or ``"none"``) to leave out
                nothing.

        Raises:
            CellnetError: No cell is left, or there is no such bundle.
        """
        self.found, self.classifier = found, None
        self._knows, self._of = bundle.name, _class_of(bundle)
        self._given = len(found.cells)
        self._told: list[str | None] = [None] * self._given
        if self._of is None or found.manifest is not None:
            return
        if classifier is None or classifier == "none":
            self._warn(
                f"all {self._given} cells are explained as {self._of}s, whatever they show "
                "(--classifier none)"
            )
            return
        own = _own_names(bundle)
        self._told = [_told_class(cell, self._of, own) for cell in found.cells]
        self._leave_out("the folders that they lie in")
        self._check_some(bool(self.found.cells))
        if None in self._told:
            self.classifier = self._load(classifier)

    def name(self, threads: int | None, progress: bool) -> None:
        """Have the cells named whose class no folder tells, and leave out those of other classes.

        What cannot be read stays: whoever reads it next tells why.

        Args:
            threads: How many files to read at a time; None for one a core.
            progress: Show a progress bar where standard error is a terminal.

        Raises:
            CellnetError: No cell is left, or the bundle cannot be run.
        """
        if self.classifier is None:
            return
        asked = [at for at, told in enumerate(self._told) if told is None]
        files = [self.found.cells[at].path for at in asked]
        title = "naming" if progress else None
        with closing(score_files(self.classifier, files, progress=title, threads=threads)) as said:
            for at, (_, answer) in zip(asked, said, strict=True):
                if not isinstance(answer, UnreadableImage):
                    self._told[at] = name_cell(answer)[0]
        self._leave_out(f"{self.classifier.name} {self.classifier.version}")
        self._check_some(self._of in self._told)

    def _leave_out(self, by: str) -> None:
        """Leave out the cells that are told to be of another class, and tell how many they are."""
        pairs = list(zip(self.found.cells, self._told, strict=True))
        kept = [(cell, told) for cell, told in pairs if told in (None, self._of)]
        others = [(cell, told) for cell, told in pairs if told not in (None, self._of)]
        if not others:
            return
        self._told = [told for _, told in kept]
        self.found = replace(
            self.found,
            cells=[cell for cell, _ in kept],
            others=[*self.found.others, *(cell for cell, _ in others)],
        )
        counts = sorted(Counter(told for _, told in others).items())
        self._warn(
            f"{len(others)} of {self._given} cells are no {self._of}s by {by} and were left out: "
            + ", ".join(f"{number} {name}" for name, number in counts)
        )

    def _check_some(self, is_some: bool) -> None:
        """Refuse to go on without a cell of the class, where others were left out."""
        if is_some or len(self.found.cells) == self._given:
            return
        told = list(self.found.warnings)
        if self.found.cells:
            told.append(f"{len(self.found.cells)} cannot be read")
        raise CellnetError(
            f"no cell is left for {self._knows}, which knows {self._of}s alone: {'; '.join(told)}; "
            f"give images of {self._of}s, or explain all with --classifier none"
        )

    def _load(self, classifier: Source) -> Bundle:
        try:
            return as_bundle(classifier).require_eight()
        except CellnetError as error:
            raise CellnetError(
                f"{self._knows} knows {self._of}s alone, and which cells these are is told by a "
                f"Model 1 bundle: {error}; name one with --classifier, or explain all with "
                "--classifier none"
            ) from error

    def _warn(self, text: str) -> None:
        self.found = replace(self.found, warnings=[*self.found.warnings, text])


def _class_of(bundle: Bundle) -> str | None:
    """The class whose cells alone a network knows; None where it is for any cell."""
    return NEUTROPHIL if bundle.kind == "granularity" else bundle.of


def _own_names(bundle: Bundle) -> set[str]:
    """What a network tells apart, and what its classes are made of: such a cell is of its class."""
    if bundle.kind == "granularity":
        return set(GRANULARITY)
    members = (name for names in bundle.labels.values() for name in names)
    return {name.lower() for name in (*bundle.classes, *members)}


def _told_class(cell: Cell, of: str, own: set[str]) -> str | None:
    """The class that a cell's folders tell; `of` for one of the network's own, None for none."""
    folders = [name.lower() for name in cell.folders]
    named = next((name for name in folders if name in CLASSES and name not in own), None)
    return of if named is None and own.intersection(folders) else named
