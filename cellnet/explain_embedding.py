"""Cells on a plane by likeness: t-SNE of their pixels beside that of the network's features.

A picture of t-SNE may show islands where there are none, and it has no unit. So the separation of
the labels is measured in the space itself: how often the nearest other cells bear the same label,
and the silhouette; a cell's own group has no part in either. The thesis shows such planes in
figures 5.6 and 6.5. scikit-learn and SciPy come with the extra ``train``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from cellnet.errors import CellnetError
from cellnet.explain_faithfulness import bootstrapped_means

__all__ = [
    "FEWEST",
    "MOST",
    "check_number",
    "distances",
    "embedded",
    "plane",
    "silhouettes",
    "voted",
]

FEWEST, MOST = 10, 3000
"""Cells that a plane is made of: below there are no neighbourhoods, above it takes hours."""

NEIGHBOURS = 5
"""How many others vote on a cell's label; fewer where a label has no more cells than that."""

PERPLEXITY = 30.0

_COLUMNS = 8192  # of the values, that are worked on at a time


def check_number(cells: int) -> None:
    """Refuse a plane of too few or too many cells.

    Raises:
        CellnetError: With the limits.
    """
    if not FEWEST <= cells <= MOST:
        raise CellnetError(
            f"t-SNE takes {FEWEST} to {MOST} cells, got {cells}; give so many images, say with "
            "--tsne how many of them to draw, or leave it out"
        )


def distances(values: np.ndarray) -> np.ndarray:
    """Euclidean distances between rows, ``(n, d)`` of any type to ``(n, n) float64``."""
    n, d = values.shape
    products = np.zeros((n, n))
    for start in range(0, d, _COLUMNS):
        part = values[:, start : start + _COLUMNS].astype(np.float64)
        part -= part.mean(0)
        products += part @ part.T
    norms = np.diag(products)
    squared = np.maximum(norms[:, None] + norms - 2 * products, 0)
    np.fill_diagonal(squared, 0)
    return np.sqrt(squared)


def plane(apart: np.ndarray, seed: int) -> np.ndarray:
    """Lay cells on a plane by t-SNE (van der Maaten and Hinton, JMLR 2008).

    Args:
        apart: ``(n, n) float64`` distances.
        seed: Of its randomness. It starts from the first two principal coordinates.

    Returns:
        ``(n, 2) float64``.
    """
    from scipy.linalg import eigh
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n = len(apart)
    inner = -0.5 * apart**2
    inner = inner - inner.mean(0) - inner.mean(1)[:, None] + inner.mean()
    _, start = eigh(inner, subset_by_index=[n - 2, n - 1])
    start = start[:, ::-1]
    start = start * np.sign(start[np.abs(start).argmax(0), [0, 1]])  # of two mirror images, one
    start = 1e-4 * start / np.maximum(start.std(0), 1e-12)
    tsne = TSNE(
        perplexity=min(PERPLEXITY, (n - 1) / 3),
        init=start.astype(np.float32),
        metric="precomputed",
        random_state=seed,
    )
    # Threads add in no fixed order, and a thousand short steps wait for the slowest of them.
    with threadpool_limits(1):
        return tsne.fit_transform(apart).astype(np.float64)


def voted(
    apart: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
    neighbours: int = NEIGHBOURS,
) -> list[str]:
    """Label each cell by the nearest other ones.

    Args:
        apart: ``(n, n) float64`` distances.
        labels: Of each cell.
        groups: What ties cells together, a name each: those of the cell's own group have no vote.
            None where every cell stands alone.
        neighbours: How many vote.

    Returns:
        The label with most votes for each cell; of equals, that of the nearest cell.
    """
    found = []
    for at, row in enumerate(apart):
        own = {at} if groups is None else {i for i, it in enumerate(groups) if it == groups[at]}
        nearest = [i for i in np.argsort(row, kind="stable").tolist() if i not in own | {at}]
        votes = Counter(labels[i] for i in nearest[:neighbours])
        # A counter keeps the order in which labels came, and so the nearest of equals.
        found.append(max(votes, key=lambda label: votes[label]) if votes else "")
    return found


def embedded(
    spaces: dict[str, np.ndarray],
    labels: Sequence[str | None],
    groups: Sequence[str] | None,
    seed: int,
) -> dict[str, Any]:
    """Lay cells on a plane in each space, and measure how well their labels part.

    Args:
        spaces: ``(n, d)`` values by name: ``pixels`` and ``features``.
        labels: Of each cell, None where unknown.
        groups: What ties cells together, a name each; None where every cell stands alone.
        seed: Of t-SNE and the bootstrap.

    Returns:
        ``n``, ``perplexity``, ``labels`` (cells by label), ``unlabelled``, ``neighbours`` (how many
        vote), ``most_frequent`` (share of the largest label, which guessing would reach),
        ``spaces``: for each ``dimensions``, ``points`` ``(n, 2)`` and the estimates ``same_label``
        and ``silhouette``; and ``features_less_pixels`` with both estimates. They rest on cells
        that have another of their label, of another group where groups are known; estimates and
        ``most_frequent`` are None where there are no two such labels.

    Raises:
        CellnetError: Fewer than ten cells, or more than 3,000.
    """
    n = len(labels)
    check_number(n)
    counts = Counter(label for label in labels if label is not None)
    units = range(n) if groups is None else groups
    of_label: dict[str, set[Any]] = {}
    for label, unit in zip(labels, units, strict=True):
        if label is not None:
            of_label.setdefault(label, set()).add(unit)
    # A cell whose label no other group has could be named by nobody.
    usable = {label for label, found in of_label.items() if len(found) > 1}
    known = np.array([label in usable for label in labels])
    measured = len(usable) > 1
    fewest = min((counts[label] for label in usable), default=2)
    neighbours = min(NEIGHBOURS, fewest - 1)
    truth = [label for label, is_known in zip(labels, known, strict=True) if is_known]
    tied = None if groups is None else [groups[at] for at in np.flatnonzero(known)]
    found: dict[str, Any] = {}
    columns: dict[str, np.ndarray] = {}
    for name, values in spaces.items():
        apart = distances(values.reshape(n, -1))
        found[name] = {"dimensions": values[0].size, "points": plane(apart, seed).tolist()}
        if measured:
            columns[f"{name}/same_label"], columns[f"{name}/silhouette"] = _separation(
                apart[np.ix_(known, known)], truth, tied, neighbours
            )
    difference = None
    if measured:
        first, second = spaces
        for measure in ("same_label", "silhouette"):
            columns[f"difference/{measure}"] = (
                columns[f"{second}/{measure}"] - columns[f"{first}/{measure}"]
            )
        shares = [list(columns).index(f"{name}/same_label") for name in spaces]
        means = bootstrapped_means(np.stack(list(columns.values()), 1), tied, seed, shares)
        estimates = dict(zip(columns, means, strict=True))
        difference = {it: estimates[f"difference/{it}"] for it in ("same_label", "silhouette")}
    for name in spaces:
        for measure in ("same_label", "silhouette"):
            found[name][measure] = estimates[f"{name}/{measure}"] if measured else None
    return {
        "n": n,
        "perplexity": min(PERPLEXITY, (n - 1) / 3),
        "labels": dict(sorted(counts.items())),
        "unlabelled": n - sum(counts.values()),
        "neighbours": neighbours,
        "most_frequent": max(Counter(truth).values()) / len(truth) if measured else None,
        "spaces": found,
        "features_less_pixels": difference,
    }


def _separation(
    apart: np.ndarray, labels: Sequence[str], groups: Sequence[str] | None, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each cell's neighbours vote for its label, and its silhouette; (n,) float64 each."""
    votes = voted(apart, labels, groups, neighbours)
    same = np.array([vote == label for vote, label in zip(votes, labels, strict=True)], float)
    return same, silhouettes(apart, labels, groups)


def silhouettes(
    apart: np.ndarray, labels: Sequence[str], groups: Sequence[str] | None = None
) -> np.ndarray:
    """How much nearer each cell is to others of its label than to those of the next label.

    Args:
        apart: ``(n, n) float64`` distances.
        labels: Of each cell.
        groups: What ties cells together, a name each: to those of its own group a cell is not
            compared. None where every cell stands alone.

    Returns:
        ``(n,) float64`` in [-1, 1]: (b - a) / max(a, b), a the mean distance to cells of its own
        label, b the smallest such mean of the other labels. 0 where there is nothing to compare.

    Source:
        Rousseeuw, Journal of Computational and Applied Mathematics 20 (1987) 53-65.
    """
    n = len(labels)
    names, own = np.unique(np.asarray(labels), return_inverse=True)
    tied = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    others = (tied[:, None] != tied).astype(float)
    members = np.eye(len(names))[own]
    counts = others @ members
    means = np.full(counts.shape, np.inf)
    np.divide((apart * others) @ members, counts, out=means, where=counts > 0)
    inside = means[np.arange(n), own]
    means[np.arange(n), own] = np.inf
    outside = means.min(1)
    found = np.zeros(n)
    told = np.isfinite(inside) & np.isfinite(outside) & (np.maximum(inside, outside) > 0)
    found[told] = (outside - inside)[told] / np.maximum(inside, outside)[told]
    return found
