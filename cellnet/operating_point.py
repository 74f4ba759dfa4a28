"""The operating point of a granularity network: the cell cut-off and the smear threshold.

A neutrophil is dysplastic where its score is at or below the cut-off; a smear is MDS-suspected
where the dysplastic share of its neutrophils is above the threshold. Both are fitted on ROC curves
of sets that trained nothing, and the file beside the weights says on which, with what result, and
for which weights. A network without that file is refused: no default stands in for it. NumPy alone.
Running the network is left to ``calibrate``, the whole judgement of a smear to ``smear``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.auc import auc
from cellnet.errors import CellnetError, NoBetterThanGuessing
from cellnet.intervals import proportion
from cellnet.outputs import write_text
from cellnet.roc import YOUDEN_RULE, cut_estimate, roc_curve, youden

__all__ = [
    "CELL_COMPARISON",
    "FILE",
    "MINIMUM_NEUTROPHILS",
    "SMEAR_COMPARISON",
    "Fit",
    "OperatingPoint",
    "fit_cutoff",
    "fit_threshold",
    "is_dysplastic",
    "is_suspected",
    "point_file",
    "read_operating_point",
    "write_operating_point",
]

SCHEMA = "cellnet/operating-point/1"
FILE = "operating_point.json"
CELL_COMPARISON = "dysplastic where score <= cutoff"
SMEAR_COMPARISON = "mds-suspected where dysplastic_fraction > threshold"
SCORE = (
    "granularity score: the network's sigmoid output in [0, 1]; higher is more granular, "
    "1 is a normal neutrophil, 0 a hypogranulated one"
)
MINIMUM_NEUTROPHILS = 10
"""Fewer neutrophils than this give no decision: with 10, a share of one half still has an exact
95 % interval from 0.19 to 0.81."""


@dataclass(frozen=True)
class Fit:
    """How one of the two cuts was fitted, and what it does on the set that it was fitted on.

    Attributes:
        comparison: which side of the cut means what.
        criterion: the rule that chose the cut.
        fitted_on: the data: manifest, split, counts, whatever else names them.
        auc: area under the ROC curve; ``value``, ``ci95``, ``n``, ``method``.
        sensitivity: share of the positives (dysplastic cells, MDS smears) found, at the cut;
            ``value``, ``ci95``, ``k``, ``n``, ``method``.
        specificity: the same of the negatives (normal cells, healthy smears).
        youden: sensitivity + specificity - 1 at the cut.
        cut: the cut with the interval of refits, see :func:`cellnet.roc.cut_estimate`; ``value``,
            ``ci95`` (None where it gives none), ``n``, ``method``. None in a file that was made
            before there was one.
    """

    comparison: str
    criterion: str
    fitted_on: dict[str, Any]
    auc: dict[str, Any]
    sensitivity: dict[str, Any]
    specificity: dict[str, Any]
    youden: float
    cut: dict[str, Any] | None = None

    def to_json(self) -> dict:
        """The fit as a dictionary of plain JSON values."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class OperatingPoint:
    """The cell cut-off and the smear threshold of one set of weights.

    Attributes:
        cutoff: a neutrophil is dysplastic where its granularity score is at or below it; in [0, 1].
        threshold: a smear is MDS-suspected where the dysplastic share of its neutrophils is above
            it; in [0, 1].
        minimum_neutrophils: fewer neutrophils than this give no decision.
        model: name of the bundle.
        weights_sha256: hash of the weights that it was fitted with, and belongs to.
        cell: how the cut-off was fitted; None only for one that a user gave by hand.
        smear: how the threshold was fitted; None only for one that a user gave by hand.
        score: how the score is defined.
        created: ISO date and time of the fit.
        cellnet: version of the program that fitted it.
        also: results that stand beside the fit and decide nothing.
    """

    cutoff: float
    threshold: float
    minimum_neutrophils: int = MINIMUM_NEUTROPHILS
    model: str = ""
    weights_sha256: str = ""
    cell: Fit | None = None
    smear: Fit | None = None
    score: str = SCORE
    created: str = ""
    cellnet: str = ""
    also: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("cutoff", "threshold"):
            value = getattr(self, name)
            if not _is_number(value) or not 0.0 <= value <= 1.0:
                raise CellnetError(f"{name} must be a number in [0, 1], got {value!r}")
        least = self.minimum_neutrophils
        if isinstance(least, bool) or not isinstance(least, int) or least < 1:
            raise CellnetError(
                f"minimum_neutrophils must be a whole number of at least 1, got {least!r}"
            )

    def is_dysplastic(self, score: float | np.ndarray) -> bool | np.ndarray:
        """Whether a neutrophil with this score is dysplastic.

        Args:
            score: see :func:`is_dysplastic`.
        """
        return is_dysplastic(score, self.cutoff)

    def is_suspected(self, dysplastic: int, neutrophils: int) -> bool | None:
        """Whether a smear with these counts is MDS-suspected.

        Args:
            dysplastic: number of dysplastic neutrophils.
            neutrophils: number of neutrophils.

        Returns:
            See :func:`is_suspected`.
        """
        return is_suspected(dysplastic, neutrophils, self.threshold, self.minimum_neutrophils)

    def to_json(self) -> dict:
        """The operating point as the dictionary that is written beside the weights."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "weights_sha256": self.weights_sha256,
            "score": self.score,
            "cell": {"cutoff": self.cutoff, **(self.cell.to_json() if self.cell else {})},
            "smear": {"threshold": self.threshold, **(self.smear.to_json() if self.smear else {})},
            "minimum_neutrophils": self.minimum_neutrophils,
            "created": self.created,
            "cellnet": self.cellnet,
            "also": self.also,
        }


def is_dysplastic(score: float | np.ndarray, cutoff: float) -> bool | np.ndarray:
    """Whether a neutrophil with this score is dysplastic: the one rule of cells.

    Args:
        score: a number, or an array of any shape, in [0, 1]. Scores are compared in float64,
            so a float32 score is neither rounded up nor down.
        cutoff: at or below it a neutrophil is dysplastic; in [0, 1].

    Returns:
        A bool, or an array of bool of the same shape.
    """
    if np.ndim(score) == 0:
        return bool(float(score) <= cutoff)
    return np.asarray(score, dtype=np.float64) <= cutoff


def is_suspected(
    dysplastic: int, neutrophils: int, threshold: float, minimum_neutrophils: int
) -> bool | None:
    """Whether a smear with these counts is MDS-suspected: the one rule of smears.

    Args:
        dysplastic: number of dysplastic neutrophils.
        neutrophils: number of neutrophils.
        threshold: a dysplastic share above it is suspected, one equal to it is not; in [0, 1].
        minimum_neutrophils: fewer give no answer; at least 1.

    Returns:
        True or False; None where there are fewer neutrophils than the minimum.

    Raises:
        ValueError: unless 0 <= dysplastic <= neutrophils.
    """
    if not 0 <= dysplastic <= neutrophils:
        raise ValueError(
            f"dysplastic must lie between 0 and neutrophils, got {dysplastic} of {neutrophils}"
        )
    if neutrophils < max(minimum_neutrophils, 1):
        return None
    return dysplastic / neutrophils > threshold


def fit_cutoff(
    dysplastic: np.ndarray,
    score: np.ndarray,
    groups: np.ndarray | None = None,
    fitted_on: dict[str, Any] | None = None,
) -> tuple[float, Fit]:
    """Fit the cell cut-off on neutrophils whose truth is known.

    Args:
        dysplastic: (n,) bool, the truth.
        score: (n,) granularity scores in [0, 1].
        groups: (n,) source cell (or smear, or patient) of each neutrophil; intervals treat them as
            the unit. None for independent cells.
        fitted_on: what names the data; counts are added.

    Returns:
        The cut-off and how it was found.

    Raises:
        CellnetError: where one of the two classes is missing, or no cut-off beats guessing.
    """
    dysplastic = np.asarray(dysplastic, dtype=bool)
    counts = {
        "cells": len(dysplastic),
        "dysplastic": int(np.count_nonzero(dysplastic)),
        "normal": int(np.count_nonzero(~dysplastic)),
    }
    return _fit(dysplastic, score, True, groups, fitted_on, counts, CELL_COMPARISON, "cut-off")


def fit_threshold(
    suspected: np.ndarray,
    fraction: np.ndarray,
    groups: np.ndarray | None = None,
    fitted_on: dict[str, Any] | None = None,
) -> tuple[float, Fit]:
    """Fit the smear threshold on smears whose diagnosis is known.

    Args:
        suspected: (n,) bool, whether the smear is of a patient with MDS.
        fraction: (n,) share of its neutrophils that are dysplastic at the cell cut-off.
        groups: (n,) patient of each smear, or None where each stands alone.
        fitted_on: what names the data; counts are added.

    Returns:
        The threshold and how it was found.

    Raises:
        CellnetError: where one of the two diagnoses is missing, or no threshold beats guessing.
    """
    suspected = np.asarray(suspected, dtype=bool)
    counts = {
        "smears": len(suspected),
        "mds": int(np.count_nonzero(suspected)),
        "healthy": int(np.count_nonzero(~suspected)),
    }
    return _fit(
        suspected, fraction, False, groups, fitted_on, counts, SMEAR_COMPARISON, "threshold"
    )


def _fit(
    positive: np.ndarray,
    value: np.ndarray,
    lower: bool,
    groups: np.ndarray | None,
    fitted_on: dict[str, Any] | None,
    counts: dict[str, int],
    comparison: str,
    what: str,
) -> tuple[float, Fit]:
    """Fit a cut on a ROC curve; see :func:`fit_cutoff` and :func:`fit_threshold`."""
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if not positive.any() or positive.all():
        raise CellnetError(f"a {what} needs cases of both kinds to be fitted on, got {told}")
    value = np.asarray(value, dtype=np.float64)
    choice = youden(roc_curve(positive, value, lower))
    if not math.isfinite(choice.cut):
        raise NoBetterThanGuessing(
            f"no {what} is better than guessing on {told}: the network does not tell them apart; "
            "train it again before it is calibrated"
        )
    called = value <= choice.cut if lower else value > choice.cut
    groups = None if groups is None else np.asarray(groups)

    def share(hits: np.ndarray, among: np.ndarray) -> dict:
        return proportion(hits[among], None if groups is None else groups[among]).to_json()

    return choice.cut, Fit(
        comparison=comparison,
        criterion=YOUDEN_RULE,
        fitted_on={**(fitted_on or {}), **counts},
        auc=auc(positive, value, lower, groups).to_json(),
        sensitivity=share(called, positive),
        specificity=share(~called, ~positive),
        youden=choice.youden,
        cut=cut_estimate(positive, value, lower, groups).to_json(),
    )


def write_operating_point(path: str | Path, point: OperatingPoint) -> Path:
    """Write an operating point; the old file stays until the new one is complete.

    Args:
        path: a bundle's folder, or the file itself (a name that ends in ``.json``).
        point: what to write.

    Returns:
        The file written.

    Raises:
        CellnetError: where the folder does not exist or cannot be written to.
    """
    file = point_file(path)
    text = json.dumps(point.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(file, text)
    return file


def read_operating_point(path: str | Path, weights_sha256: str | None = None) -> OperatingPoint:
    """Read an operating point, and check that it belongs to the weights at hand.

    Args:
        path: a bundle's folder, or the file itself.
        weights_sha256: hash of the weights that it is wanted for; None to skip that check.

    Returns:
        The operating point.

    Raises:
        CellnetError: where the file is missing, is no operating point, or was fitted with other
            weights.
    """
    file = point_file(path)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CellnetError(
            f"there is no operating point at {file}, and no default stands in for it: fit one with "
            f"`cellnet calibrate {file.parent} MANIFEST`"
        ) from None
    except (OSError, ValueError) as error:
        raise CellnetError(f"cannot read the operating point {file}: {error}") from error
    try:
        point = _from_json(document)
    except CellnetError as error:
        raise CellnetError(
            f"{file} is no valid operating point: {error}; fit it again with "
            f"`cellnet calibrate {file.parent} MANIFEST`"
        ) from error
    if weights_sha256 is not None and point.weights_sha256 != weights_sha256:
        raise CellnetError(
            f"the operating point {file} was fitted with weights {point.weights_sha256[:12]}..., "
            f"but the weights at hand are {weights_sha256[:12]}...: fit it again with "
            f"`cellnet calibrate {file.parent} MANIFEST`"
        )
    return point


def point_file(path: str | Path) -> Path:
    """The file of an operating point: in a bundle's folder, or the one that was named itself."""
    path = Path(path)
    is_named = path.suffix == ".json" or (path.exists() and not path.is_dir())
    return path if is_named else path / FILE


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _from_json(document: object) -> OperatingPoint:
    """Check a parsed file and make the operating point.

    Raises:
        CellnetError: naming the key, the rule and the value.
    """
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise CellnetError(f"schema must be {SCHEMA!r}, got {found!r}")
    parts = {}
    for part, cut, comparison in (
        ("cell", "cutoff", CELL_COMPARISON),
        ("smear", "threshold", SMEAR_COMPARISON),
    ):
        section = document.get(part)
        if not isinstance(section, dict) or cut not in section:
            raise CellnetError(f"{part}.{cut} is missing")
        if section.get("comparison") != comparison:
            raise CellnetError(
                f"{part}.comparison must be {comparison!r}, got {section.get('comparison')!r}"
            )
        parts[cut] = section[cut]
        parts[part] = _fit_from_json(part, section)
    for key in ("model", "weights_sha256", "score", "created", "cellnet"):
        if not isinstance(document.get(key), str) or not document[key]:
            raise CellnetError(f"{key} must be a text, got {document.get(key)!r}")
        parts[key] = document[key]
    also = document.get("also", {})
    if not isinstance(also, dict):
        raise CellnetError(f"also must be an object, got {also!r}")
    point = OperatingPoint(
        **parts, minimum_neutrophils=document.get("minimum_neutrophils"), also=also
    )
    for part, cut in (("cell", "cutoff"), ("smear", "threshold")):
        fitted = parts[part].cut
        if fitted is not None and fitted["value"] != parts[cut]:
            raise CellnetError(
                f"{part}.cut is of {fitted['value']}, but the {cut} is {parts[cut]}: the interval "
                "belongs to another fit"
            )
    return point


def _fit_from_json(part: str, section: dict) -> Fit:
    for key in ("auc", "sensitivity", "specificity"):
        estimate = section.get(key)
        interval = estimate.get("ci95") if isinstance(estimate, dict) else None
        if not _is_interval(interval) or not _is_number(estimate.get("value")):
            raise CellnetError(f"{part}.{key} must hold a value and its ci95, got {estimate!r}")
    cut = section.get("cut")
    if cut is not None and not (
        isinstance(cut, dict)
        and _is_number(cut.get("value"))
        and (cut.get("ci95", 0) is None or _is_interval(cut.get("ci95")))
    ):
        raise CellnetError(f"{part}.cut must hold a value and its ci95 or null, got {cut!r}")
    if not isinstance(section.get("criterion"), str):
        raise CellnetError(f"{part}.criterion must be a text, got {section.get('criterion')!r}")
    if not isinstance(section.get("fitted_on"), dict) or not section["fitted_on"].get("split"):
        raise CellnetError(f"{part}.fitted_on must name the split that it was fitted on")
    if not _is_number(section.get("youden")):
        raise CellnetError(f"{part}.youden must be a number, got {section.get('youden')!r}")
    names = ("comparison", "criterion", "fitted_on", "auc", "sensitivity", "specificity", "youden")
    return Fit(**{name: section[name] for name in names}, cut=cut)
