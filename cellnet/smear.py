"""From the cells of one smear to a decision: counts, differential, interval, warnings.

Pure arithmetic on labels, probabilities and scores, with NumPy's help at most: no image and no
network, so that each rule can be tested by hand and written again in another language. The rules
are the thesis's (sections 5.3 and 6.4); where they meet a tie, it is said on which side it falls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cellnet.cells import CLASSES, NEUTROPHIL, OTHER
from cellnet.errors import CellnetError
from cellnet.intervals import clopper_pearson
from cellnet.operating_point import OperatingPoint, is_dysplastic, is_suspected

__all__ = [
    "BORDERLINE",
    "CLEAR",
    "DECISIONS",
    "INDETERMINATE",
    "SCHEMA",
    "SUSPECTED",
    "UNSUSPECTED",
    "WHO_SHARE",
    "CellRow",
    "Opinion",
    "SmearReport",
    "Specialist",
    "judge",
    "name_cell",
    "name_cells",
]

SCHEMA = "cellnet/smear-report/1"

SUSPECTED, UNSUSPECTED, INDETERMINATE = "mds-suspected", "no-dysplasia", "indeterminate"
DECISIONS = (SUSPECTED, UNSUSPECTED, INDETERMINATE)
CLEAR, BORDERLINE = "clear", "borderline"

HOLDS = 0.5
"""A class holds when its probability is over this, else the cell is `other` (section 6.4)."""

WHO_SHARE = 0.10
"""WHO calls a lineage dysplastic from this share of its cells on; shown, never used."""

# When a smear deserves a second look. Shares of the cells, or of the files.
MANY_OTHER = 0.20
MANY_UNREADABLE = 0.10
FEW_CELLS = 30  # the thesis's smears hold 30 to 100 cells (table 5.1)


@dataclass(frozen=True)
class Specialist:
    """A network that says more of the cells of one class; it takes no part in the decision.

    Attributes:
        name: Of its bundle, and its role in a report.
        of: The class whose cells it is asked about.
        classes: What it tells apart, in the order of its probabilities.
    """

    name: str
    of: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Opinion:
    """What a specialist says of one cell.

    Attributes:
        label: One of its classes, or ``other``.
        probability: The largest of its probabilities.
        probabilities: By class.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]

    @classmethod
    def of(cls, specialist: Specialist, probabilities: Sequence[float] | np.ndarray) -> Opinion:
        """Read a specialist's answer, ``(classes,)`` in [0, 1], by the rule of `name_cell`."""
        label, probability = name_cell(probabilities, specialist.classes)
        values = map(float, probabilities)
        return cls(label, probability, dict(zip(specialist.classes, values, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """The opinion as it stands in a report."""
        return {
            "label": self.label,
            "probability": self.probability,
            "probabilities": dict(self.probabilities),
        }


@dataclass(frozen=True)
class CellRow:
    """What was found out about one image.

    Attributes:
        file: Path relative to the folder that was given, with ``/`` between folders.
        label: One of `cellnet.cells.CLASSES`, or ``other``.
        probability: The largest of the eight probabilities.
        probabilities: By class, in the order of `cellnet.cells.CLASSES`.
        granularity: DysplasiaNet's score in [0, 1], higher is more granular; None unless
            neutrophil.
        dysplastic: Whether the score is at or below the cut-off; None unless neutrophil.
        specialists: By name of each specialist of the cell's class, what it says.
    """

    file: str
    label: str
    probability: float
    probabilities: tuple[float, ...]
    granularity: float | None = None
    dysplastic: bool | None = None
    specialists: Mapping[str, Opinion] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The row as it stands in a report."""
        return {
            "file": self.file,
            "label": self.label,
            "probability": self.probability,
            "probabilities": dict(zip(CLASSES, self.probabilities, strict=True)),
            "granularity": self.granularity,
            "dysplastic": self.dysplastic,
            # Only where there are some, as in a report.
            **(
                {"specialists": {name: it.to_dict() for name, it in self.specialists.items()}}
                if self.specialists
                else {}
            ),
        }

    @classmethod
    def of(
        cls,
        file: str,
        probabilities: Sequence[float] | np.ndarray,
        granularity: float | None,
        cutoff: float,
        specialists: Mapping[str, Opinion] | None = None,
    ) -> CellRow:
        """Read the networks' answers for one image.

        Args:
            file: The image's name.
            probabilities: ``(8,)`` in [0, 1].
            granularity: DysplasiaNet's score for a neutrophil; whatever it is, it is left out of
                the row of another cell.
            cutoff: A neutrophil is dysplastic where its score is at or below it.
            specialists: What the specialists of its class say, by their names.

        Raises:
            CellnetError: A neutrophil comes without a score.
        """
        label, probability = name_cell(probabilities)
        values = tuple(float(value) for value in probabilities)
        said = specialists or {}
        if label != NEUTROPHIL:
            return cls(file, label, probability, values, specialists=said)
        if granularity is None:
            raise CellnetError(f"the neutrophil {file} has no granularity score")
        score = float(granularity)
        return cls(file, label, probability, values, score, is_dysplastic(score, cutoff), said)


@dataclass(frozen=True)
class SmearReport:
    """The judgement of one smear; `to_dict` gives the JSON document ``cellnet/smear-report/1``.

    Attributes:
        smear: The folder's name.
        models: By role (``model1``, ``dysplasianet``, names of specialists): name, version and
            weights' hash.
        cells: A row for each image that could be read, in the order of the files' names.
        unreadable: ``{"file", "reason"}`` of each image that could not.
        cutoff: Of the granularity score, for a cell.
        threshold: Of the dysplastic share, for the smear.
        min_neutrophils: Fewer give no decision.
        warnings: Sentences for people.
        copies: Names of the rows whose image repeats that of an earlier one. They are counted like
            any other, but make no decision and no confidence that was not there without them.
        specialists: Who was asked more of the cells of a class, beside DysplasiaNet.
        point: Where cut-off and threshold come from; not part of the document.
    """

    smear: str
    models: Mapping[str, Mapping[str, str]]
    cells: tuple[CellRow, ...]
    unreadable: tuple[Mapping[str, str], ...]
    cutoff: float
    threshold: float
    min_neutrophils: int
    warnings: tuple[str, ...] = ()
    copies: frozenset[str] = frozenset()
    specialists: tuple[Specialist, ...] = ()
    point: OperatingPoint | None = field(default=None, repr=False, compare=False)

    @property
    def differential(self) -> dict[str, dict[str, float]]:
        """Count and share of all cells, for each class and ``other``; shares 0 without cells."""
        labels = [cell.label for cell in self.cells]
        total = max(len(labels), 1)
        counts = {name: labels.count(name) for name in (*CLASSES, OTHER)}
        return {name: {"count": count, "fraction": count / total} for name, count in counts.items()}

    @property
    def neutrophils(self) -> int:
        """How many cells are neutrophils."""
        return sum(cell.label == NEUTROPHIL for cell in self.cells)

    @property
    def dysplastic(self) -> int:
        """How many neutrophils are dysplastic."""
        return sum(cell.dysplastic is True for cell in self.cells)

    @property
    def dysplastic_fraction(self) -> float | None:
        """Dysplastic share of the neutrophils; None without a neutrophil."""
        return self.dysplastic / self.neutrophils if self.neutrophils else None

    @property
    def dysplastic_fraction_ci95(self) -> tuple[float, float] | None:
        """Exact (Clopper-Pearson) 95 % interval of the share; None without a neutrophil."""
        return clopper_pearson(self.dysplastic, self.neutrophils) if self.neutrophils else None

    @property
    def specialist_counts(self) -> dict[str, dict[str, Any]]:
        """What each specialist was asked and said, by its name.

        Returns:
            ``of`` (the class), ``cells`` (how many of it), ``counts`` and ``fractions`` of them by
            the specialist's classes and ``other``; fractions are None without a cell.
        """
        found = {}
        for one in self.specialists:
            said = [cell.specialists[one.name].label for cell in self.cells if cell.label == one.of]
            counts = {name: said.count(name) for name in (*one.classes, OTHER)}
            found[one.name] = {
                "of": one.of,
                "cells": len(said),
                "counts": counts,
                "fractions": {
                    name: count / len(said) if said else None for name, count in counts.items()
                },
            }
        return found

    @property
    def without_copies(self) -> SmearReport:
        """The same smear with each image counted once; itself where none repeats another."""
        if not self.copies:
            return self
        once = tuple(cell for cell in self.cells if cell.file not in self.copies)
        return replace(self, cells=once, copies=frozenset())

    @property
    def decision(self) -> str:
        """One of `DECISIONS`: a share above the threshold is suspected, one equal to it is not.

        Copies do not make up the minimum of neutrophils.
        """
        suspected = is_suspected(
            self.dysplastic, self.neutrophils, self.threshold, self.min_neutrophils
        )
        if suspected is None or self.without_copies.neutrophils < self.min_neutrophils:
            return INDETERMINATE
        return SUSPECTED if suspected else UNSUSPECTED

    @property
    def confidence(self) -> str:
        """``clear`` where the whole interval is on the decision's side of the threshold.

        Else ``borderline``, as is every ``indeterminate`` smear. An interval that ends on the
        threshold lies below it, as does a share equal to it. Where images repeat others, the same
        must hold with each counted once.
        """
        interval = self.dysplastic_fraction_ci95
        if interval is None or self.decision == INDETERMINATE:
            return BORDERLINE
        low, high = interval
        if not (low > self.threshold or high <= self.threshold):
            return BORDERLINE
        once = self.without_copies
        if once is self:
            return CLEAR
        return once.confidence if once.decision == self.decision else BORDERLINE

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, keys in the documented order."""
        interval = self.dysplastic_fraction_ci95
        return {
            "schema": SCHEMA,
            "smear": self.smear,
            "models": {role: dict(model) for role, model in self.models.items()},
            "cells": [cell.to_dict() for cell in self.cells],
            "unreadable": [dict(entry) for entry in self.unreadable],
            "differential": self.differential,
            "neutrophils": self.neutrophils,
            "dysplastic": self.dysplastic,
            "dysplastic_fraction": self.dysplastic_fraction,
            "dysplastic_fraction_ci95": None if interval is None else list(interval),
            "cutoff": self.cutoff,
            "threshold": self.threshold,
            "min_neutrophils": self.min_neutrophils,
            "decision": self.decision,
            "confidence": self.confidence,
            "warnings": list(self.warnings),
            # Only where there are some, as corrections.
            **({"copies": sorted(self.copies)} if self.copies else {}),
            **({"specialists": self.specialist_counts} if self.specialists else {}),
        }


def name_cell(
    probabilities: Sequence[float] | np.ndarray, classes: Sequence[str] = CLASSES
) -> tuple[str, float]:
    """Name a cell: its class where a probability is over 0.5, else ``other`` (section 6.4).

    Args:
        probabilities: ``(classes,)`` in [0, 1], in the classes' order.
        classes: What the network tells apart; the eight of Model 1 where nothing is given.

    Returns:
        The label, and the largest probability.

    Raises:
        CellnetError: There are not as many as classes, or one is no number.

    Example:
        >>> name_cell([0, 0, 0, 0, 0, 0.25, 0.75, 0])
        ('neutrophil', 0.75)
        >>> name_cell([0, 0, 0, 0, 0, 0.5, 0.5, 0])
        ('other', 0.5)
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.shape != (len(classes),) or not np.isfinite(values).all():
        raise CellnetError(
            f"a cell has {len(classes)} probabilities, all of them numbers, got "
            f"{np.array2string(values, threshold=20)}"
        )
    return (*classes, OTHER)[int(name_cells(values[None])[0])], float(values.max())


def name_cells(probabilities: np.ndarray) -> np.ndarray:
    """Name many cells by the rule of `name_cell`, which stands here alone.

    Args:
        probabilities: ``(n, classes)`` in [0, 1]; Model 1's are in the order of
            `cellnet.cells.CLASSES`.

    Returns:
        ``(n,) int64``, places among the classes; their number, 8 of Model 1, for ``other``.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    return np.where(values.max(axis=1) > HOLDS, values.argmax(axis=1), values.shape[1])


def judge(
    smear: str,
    cells: Sequence[CellRow],
    point: OperatingPoint,
    *,
    models: Mapping[str, Mapping[str, str]] | None = None,
    unreadable: Sequence[Mapping[str, str]] = (),
    warnings: Sequence[str] = (),
    copies: Iterable[str] = (),
    specialists: Sequence[Specialist] = (),
) -> SmearReport:
    """Judge one smear.

    Args:
        smear: Its name.
        cells: A row for each image that could be read, made with the point's cut-off.
        point: Cut-off, threshold and minimum of neutrophils.
        models: By role: name, version and weights' hash.
        unreadable: ``{"file", "reason"}`` of each image that could not.
        warnings: What was noticed beside the rows; warnings about the rows are added here.
        copies: Names of the rows whose image repeats that of an earlier one.
        specialists: Who was asked more of the cells of a class; the rows hold what they said.
    """
    return SmearReport(
        smear=smear,
        models=models or {},
        cells=tuple(cells),
        unreadable=tuple(unreadable),
        cutoff=point.cutoff,
        threshold=point.threshold,
        min_neutrophils=point.minimum_neutrophils,
        warnings=(*_count_warnings(cells, len(unreadable)), *warnings),
        copies=frozenset(copies),
        specialists=tuple(specialists),
        point=point,
    )


def _count_warnings(cells: Sequence[CellRow], unreadable: int) -> list[str]:
    """Warn of what the counts alone tell."""
    found = []
    files = len(cells) + unreadable
    if unreadable > MANY_UNREADABLE * files:
        found.append(
            f"many unreadable: {unreadable} of {files} images could not be used "
            f"({unreadable / files:.0%})"
        )
    if 0 < len(cells) < FEW_CELLS:
        found.append(f"few cells: {len(cells)}, where a smear should have {FEW_CELLS} or more")
    others = sum(cell.label == OTHER for cell in cells)
    if others > MANY_OTHER * len(cells):
        found.append(
            f"many other: no class holds for {others} of {len(cells)} cells "
            f"({others / len(cells):.0%}); is each image one stained cell?"
        )
    return found
