"""What networks answer for the cells of a manifest, by cell and counted by smear.

Calibrating, evaluating and the experiments ask here, so that every file that could not be used is
listed in one way. What is known of the cells is left to ``truth``, what is computed of both to
``measure`` and ``operating_point``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.manifest import Manifest, Row
from cellnet.operating_point import is_dysplastic
from cellnet.smear import name_cells

if TYPE_CHECKING:
    from cellnet.bundle import Bundle

__all__ = [
    "Answers",
    "SmearCounts",
    "SmearScores",
    "answer",
    "count_smears",
    "is_called_neutrophil",
    "score_smears",
]


@dataclass(frozen=True)
class Answers:
    """What a network answered for rows of a manifest.

    Attributes:
        rows: the n rows whose image could be used, in the manifest's order.
        outputs: (n, classes) probabilities or (n, 1) granularity scores, float32.
        unreadable: ``{"file", "reason"}`` of every other row.
    """

    rows: list[Row]
    outputs: np.ndarray
    unreadable: list[dict[str, str]]


@dataclass(frozen=True)
class SmearScores:
    """Cells of smears with what both networks say of them.

    Attributes:
        rows: the n rows whose image could be used.
        score: (n,) float64 granularity score; NaN where the cell was not scored.
        known: (n,) bool, a neutrophil by the manifest's label.
        called: (n,) bool, a neutrophil as the program would see it; None without a classifier.
        unreadable: ``{"file", "reason"}`` of every other row.
    """

    rows: list[Row]
    score: np.ndarray
    known: np.ndarray
    called: np.ndarray | None
    unreadable: list[dict[str, str]]


@dataclass(frozen=True)
class SmearCounts:
    """Neutrophils and dysplastic neutrophils of each smear.

    Attributes:
        names: m smears.
        mds: (m,) bool, the diagnosis.
        neutrophils: (m,) int.
        dysplastic: (m,) int.
        patients: (m,) str, whose blood each is; empty where that is not known. None for all
            unknown.
    """

    names: list[str]
    mds: np.ndarray
    neutrophils: np.ndarray
    dysplastic: np.ndarray
    patients: np.ndarray | None = None

    @property
    def fraction(self) -> np.ndarray:
        """(m,) float64 dysplastic share of the neutrophils; NaN without neutrophils."""
        share = np.full(len(self.names), np.nan)
        some = self.neutrophils > 0
        share[some] = self.dysplastic[some] / self.neutrophils[some]
        return share


def answer(
    bundle: Bundle, manifest: Manifest, rows: Sequence[Row], progress: bool = True
) -> Answers:
    """Run a network on rows of a manifest.

    Args:
        bundle: the network.
        manifest: where the rows' images are.
        rows: which ones.
        progress: show a bar on standard error.

    Returns:
        The outputs, and what could not be used: unreadable images, and files that are not those
        that the manifest lists (another sha256).

    Raises:
        CellnetError: where no image could be used.
    """
    from cellnet.scoring import score_files

    unreadable: dict[str, str] = {}
    kept, outputs = [], []
    scored = score_files(
        bundle,
        [Path(row.path) for row in rows],
        root=manifest.root,
        sha256=[row.sha256 for row in rows],
        progress=bundle.name if progress else None,
    )
    for row, (_, output) in zip(rows, scored, strict=True):
        if isinstance(output, UnreadableImage):
            unreadable[row.path] = output.reason
        else:
            kept.append(row)
            outputs.append(output)
    if not kept:
        first = next(iter(unreadable.items()), ("", "no row was given"))
        raise CellnetError(
            f"none of the {len(rows)} images of {manifest.file or manifest.root} could be used, "
            f"the first is {first[0]}: {first[1]}"
        )
    return Answers(
        kept,
        np.stack(outputs),
        [
            {"file": row.path, "reason": unreadable[row.path]}
            for row in rows
            if row.path in unreadable
        ],
    )


def is_called_neutrophil(probabilities: np.ndarray) -> np.ndarray:
    """Which cells Model 1 calls neutrophils: a probability over 0.5 (thesis, section 6.4).

    Args:
        probabilities: (n, 8) float.

    Returns:
        (n,) bool.
    """
    return name_cells(probabilities) == CLASSES.index(NEUTROPHIL)


def score_smears(
    bundle: Bundle,
    classifier: Bundle | None,
    manifest: Manifest,
    rows: Sequence[Row],
    progress: bool = True,
) -> SmearScores:
    """Score the neutrophils of smears: those of the manifest, and those that Model 1 calls so.

    Args:
        bundle: DysplasiaNet.
        classifier: Model 1, or None to take the manifest's neutrophils alone.
        manifest: where the rows' images are.
        rows: all cells of the smears.
        progress: show a bar on standard error.

    Returns:
        All cells that could be used, with scores for the neutrophils of either kind.

    Raises:
        CellnetError: where no image could be used.
    """
    unreadable: list[dict[str, str]] = []
    called_paths: set[str] = set()
    if classifier is not None:
        classes = answer(classifier, manifest, rows, progress)
        called = is_called_neutrophil(classes.outputs)
        called_paths = {row.path for row, yes in zip(classes.rows, called, strict=True) if yes}
        rows, unreadable = classes.rows, classes.unreadable
    wanted = [row for row in rows if row.label == NEUTROPHIL or row.path in called_paths]
    scored = answer(bundle, manifest, wanted, progress)
    scores = {
        row.path: float(value) for row, value in zip(scored.rows, scored.outputs[:, 0], strict=True)
    }
    refused = {entry["file"] for entry in scored.unreadable}
    kept = [row for row in rows if row.path not in refused]
    return SmearScores(
        rows=kept,
        score=np.array([scores.get(row.path, np.nan) for row in kept]),
        known=np.array([row.label == NEUTROPHIL for row in kept]),
        called=(
            None if classifier is None else np.array([row.path in called_paths for row in kept])
        ),
        unreadable=[*unreadable, *scored.unreadable],
    )


def count_smears(
    rows: Sequence[Row],
    score: np.ndarray,
    neutrophil: np.ndarray,
    diagnoses: dict[tuple[str, str], bool],
    cutoff: float,
    patients: Mapping[tuple[str, str], str] | None = None,
) -> SmearCounts:
    """Count neutrophils and dysplastic neutrophils of each smear.

    Args:
        rows: n cells of smears.
        score: (n,) granularity scores; finite for every neutrophil.
        neutrophil: (n,) bool, the cells to count.
        diagnoses: from :func:`cellnet.truth.read_diagnoses`.
        cutoff: a neutrophil is dysplastic where its score is at or below it.
        patients: from :func:`cellnet.truth.read_patients`.

    Returns:
        The counts, smears in the order of their first cell; a smear without neutrophils too.

    Raises:
        CellnetError: where a cell belongs to no smear, or a smear has no diagnosis.
    """
    dysplastic = np.asarray(is_dysplastic(score, cutoff)) & neutrophil
    numbers: dict[tuple[str, str], int] = {}
    for row in rows:
        if not row.smear:
            raise CellnetError(f"the cell {row.path} of split '{row.split}' belongs to no smear")
        if (row.split, row.smear) not in diagnoses:
            raise CellnetError(
                f"the smear {row.smear} of split '{row.split}' has no diagnosis in truth.csv"
            )
        numbers.setdefault((row.split, row.smear), len(numbers))
    at = np.array([numbers[row.split, row.smear] for row in rows], dtype=np.int64)
    return SmearCounts(
        names=[smear for _, smear in numbers],
        mds=np.array([diagnoses[key] for key in numbers], dtype=bool),
        neutrophils=np.bincount(at[neutrophil], minlength=len(numbers)),
        dysplastic=np.bincount(at[dysplastic], minlength=len(numbers)),
        patients=np.array([patients.get(key, "") for key in numbers]) if patients else None,
    )
