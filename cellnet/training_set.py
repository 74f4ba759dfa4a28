"""What a recipe trains on: photographed, simulated and drawn cells in balanced pools.

A data folder is one that ``cellnet data prepare`` wrote, a plain folder with one sub-folder a
class, which is then prepared into the run folder, or a cohort with hypogranulated neutrophils of
its own. Simulated, where there are none, and drawn cells are made there too, once, from the
recipe's seed. Only rows of the train side train; validation chooses the
epoch; the test side is never opened here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cellnet.batches import Pool
from cellnet.cells import CLASSES, GRANULARITY, NEUTROPHIL
from cellnet.cohort_plan import Plan
from cellnet.errors import CellnetError
from cellnet.manifest import Manifest, Row, check_disjoint, counts, read_manifest
from cellnet.recipe import Recipe
from cellnet.run_folder import claim_data
from cellnet.seen import sides_of
from cellnet.truth import normal_and_dysplastic, places_of, suppression_of, unknown_labels

log = logging.getLogger(__name__)

__all__ = ["TrainingSet", "assemble", "prepared_cells"]


@dataclass(frozen=True)
class TrainingSet:
    """Images of a run.

    Attributes:
        classes: Names of the labels, in the order of their indices.
        pools: What trains.
        validation_paths: Photographed (or simulated) images that choose the epoch.
        validation_labels: Their labels, as indices of ``classes``.
        about: Counts and sources, for the bundle and its card.
        seen: By side, the SHA-256 of the photographs that train or choose the epoch.
        balanced: Whether every class gives an epoch the same number of images.
    """

    classes: tuple[str, ...]
    pools: tuple[Pool, ...]
    validation_paths: tuple[Path, ...]
    validation_labels: tuple[int, ...]
    about: dict
    seen: dict[str, set[str]] = field(default_factory=dict)
    balanced: bool = True


def _suppression_rows(manifest: Manifest, split: str) -> tuple[list[Row], list[Row]]:
    """Dysplastic and normal neutrophils of a split, in the order of ``GRANULARITY``."""
    rows = manifest.split(split)
    normal, dysplastic = normal_and_dysplastic(suppression_of(rows))
    return (
        [row for row, holds in zip(rows, dysplastic, strict=True) if holds],
        [row for row, holds in zip(rows, normal, strict=True) if holds],
    )


def assemble(recipe: Recipe, data: Path, folder: Path, plan: Plan | None = None) -> TrainingSet:
    """Prepare what a recipe trains on.

    Args:
        recipe: The recipe.
        data: A prepared folder or a cohort (with ``manifest.csv``), or a folder with a sub-folder
            for each class.
        folder: Run folder; ``data``, ``cohort`` and ``drawn`` are made in it where missing.
        plan: How much of a cohort is made; None for the recipe's training images and of the test
            sets those that there are cells for.

    Returns:
        Pools of the train side and the images of the validation side.

    Raises:
        CellnetError: The folder cannot be used, a class has no image, or an image stands on two
            sides of the split.
    """
    also = unknown_labels(recipe.classes or {})
    cells = prepared_cells(data, folder, recipe.data.adapter, recipe.data.seed, also)
    cohort = drawn = None
    if recipe.target == "granularity" or recipe.data.hypogranulated:
        cohort = _cohort(recipe, cells, folder, plan)
        if not cells.is_cohort:  # one is checked in itself
            _check_sides(cells, cohort)
    if recipe.data.drawn:
        drawn = _drawn(recipe, folder)
    used = [manifest for manifest in (cells, cohort, drawn) if manifest is not None]
    left_out = recipe.data.left_out
    seen = sides_of(row for manifest in used for row in _taught(manifest.rows, left_out))
    if recipe.classes is not None:
        chosen, sets = _specialist(recipe, cells)
        return replace(sets, seen=sides_of(chosen))
    if recipe.target == "class":
        return replace(_classes(recipe, cells, cohort, drawn), seen=seen)
    return replace(_granularity(recipe, cohort, drawn), seen=seen)


def _check_sides(cells: Manifest, cohort: Manifest) -> None:
    """Check that what was made of a photograph stands on the photograph's side."""
    side_of = {row.sha256: row.split for row in cells.rows}
    for row in cohort.rows:
        side = row.split if row.split in ("train", "validation") else "test"
        if side_of.get(row.source_cell, side) != side:
            raise CellnetError(
                f"{row.path} of {cohort.file} is on the side '{side}', but was made of a "
                f"photograph that {cells.file} has on the side '{side_of[row.source_cell]}'; "
                "simulate the cohort again, or choose another --run"
            )


def prepared_cells(
    data: Path, folder: Path, adapter: str, seed: int, also: Sequence[str] = ()
) -> Manifest:
    """Bind a run to its data, and prepare them where nobody did.

    Args:
        data: A prepared folder (with ``manifest.csv``) or one with a sub-folder for each class.
        folder: Run folder; ``data`` is made in it where ``data`` is not prepared.
        adapter: How a folder without a manifest is read.
        seed: Of its division into sides.
        also: Classes beside the eight that the data may have.

    Raises:
        CellnetError: The folder cannot be used, is not that which the run was begun with, or an
            image stands on two sides of the split.
    """
    claim_data(data, folder)
    if not (data / "manifest.csv").exists():
        prepared = folder / "data"
        if not (prepared / "manifest.csv").exists():
            from cellnet.prepare import prepare

            log.info("preparing %s", data)
            made = prepare(data, adapter, prepared, seed=seed, also=also)
            log.info("%s", made.summary())
        data = prepared
    manifest = read_manifest(data, also=also)
    check_disjoint(manifest.rows, str(manifest.file))
    manifest.check_files()
    return manifest


def _cohort(recipe: Recipe, cells: Manifest, folder: Path, plan: Plan | None) -> Manifest:
    own = folder / "cohort"
    if own.is_symlink() and not own.exists():
        own.unlink()  # to a cohort that has moved
    if cells.is_cohort and not own.exists():
        own.symlink_to(cells.file.parent.resolve())
    if not (own / "manifest.csv").exists():
        from cellnet.cohort import simulate

        log.info("simulating hypogranulated neutrophils and smears")
        partial = plan is None
        plan = plan or Plan(train_per_class=recipe.data.simulated_per_class)
        simulate(cells, own, recipe.data.seed, plan, partial=partial)
    manifest = read_manifest(own)
    check_disjoint(manifest.rows, str(manifest.file))
    return manifest


def _drawn(recipe: Recipe, folder: Path) -> Manifest:
    if not (folder / "drawn" / "manifest.csv").exists():
        from cellnet.draw import draw_set

        log.info("drawing cells")
        draw_set(folder / "drawn", recipe.data.seed, per_class=recipe.data.drawn_per_class)
    return read_manifest(folder / "drawn")


def _paths(manifest: Manifest, rows: list[Row]) -> tuple[Path, ...]:
    return tuple(manifest.path_of(row) for row in rows)


def _classes(
    recipe: Recipe, cells: Manifest, cohort: Manifest | None, drawn: Manifest | None
) -> TrainingSet:
    """Eight classes; some neutrophils without granules, some of everything drawn."""
    total = recipe.data.per_class
    train = cells.split("train")
    pools = []
    for index, label in enumerate(CLASSES):
        if label in recipe.data.left_out:
            continue
        photographed = [row for row in train if row.label == label]
        if not photographed:
            raise CellnetError(
                f"the data have no {label} to train with; Model 1 needs all of "
                f"{', '.join(CLASSES)}, less what data.left_out names"
            )
        left = total
        if drawn is not None:
            own = [row for row in drawn.split("train") if row.label == label]
            draws = round(recipe.data.drawn * total)
            pools.append(Pool(index, _paths(drawn, own), draws))
            left -= draws
        if cohort is not None and label == NEUTROPHIL:
            own, _ = _suppression_rows(cohort, "train")
            draws = round(recipe.data.hypogranulated * left)
            pools.append(Pool(index, _paths(cohort, own), draws))
            left -= draws
        pools.append(Pool(index, _paths(cells, photographed), left))
    validation = _taught(cells.split("validation"), recipe.data.left_out)
    return TrainingSet(
        CLASSES,
        tuple(pools),
        _paths(cells, validation),
        tuple(CLASSES.index(row.label) for row in validation),
        _about(recipe, cells, cohort, drawn),
    )


def _specialist(recipe: Recipe, cells: Manifest) -> tuple[list[Row], TrainingSet]:
    """Classes of one's own, in equal parts; the rows that are used, and the set."""
    names = tuple(recipe.classes)
    shown = {
        row.path: place
        for row, place in zip(cells.rows, places_of(recipe.classes, cells.rows, cells), strict=True)
        if place is not None
    }
    sides = {
        side: [row for row in cells.rows if row.split == side and row.path in shown]
        for side in ("train", "validation")
    }
    for place, name in enumerate(names):
        for side, rows in sides.items():
            if not any(shown[row.path] == place for row in rows):
                there = sorted({row.label for row in cells.rows})
                more = sorted({row.subtype for row in cells.rows if row.subtype})
                raise CellnetError(
                    f"the data have no {name} ({', '.join(recipe.classes[name])}) on the side "
                    f"'{side}'; the labels of {cells.file} are {', '.join(there)}, its sub-types "
                    f"{', '.join(more) or 'not known'}. Name others of them in the recipe's "
                    f"classes, or add cells of {name} from other patients or smears, so that each "
                    "side has some"
                )
    pools = [
        Pool(
            place,
            _paths(cells, [row for row in sides["train"] if shown[row.path] == place]),
            recipe.data.per_class,
        )
        for place in range(len(names))
    ]
    chosen = [row for row in cells.rows if row.path in shown]
    about = {
        "cells": {
            "counts": counts([replace(row, label=names[shown[row.path]]) for row in chosen]),
            "sources": sorted({_cited(row) for row in chosen}),
            "seed": cells.about.get("seed"),
        }
    }
    return chosen, TrainingSet(
        names,
        tuple(pools),
        _paths(cells, sides["validation"]),
        tuple(shown[row.path] for row in sides["validation"]),
        about,
    )


def _granularity(recipe: Recipe, cohort: Manifest, drawn: Manifest | None) -> TrainingSet:
    """Neutrophils with and without their granules."""
    total = recipe.data.per_class
    pools = []
    for index in range(len(GRANULARITY)):
        left = total
        if drawn is not None:
            own = _suppression_rows(drawn, "train")[index]
            draws = round(recipe.data.drawn * total)
            pools.append(Pool(index, _paths(drawn, own), draws))
            left -= draws
        own = _suppression_rows(cohort, "train")[index]
        pools.append(Pool(index, _paths(cohort, own), left))
    validation = _suppression_rows(cohort, "validation")
    return TrainingSet(
        GRANULARITY,
        tuple(pools),
        tuple(path for rows in validation for path in _paths(cohort, rows)),
        tuple(index for index, rows in enumerate(validation) for _ in rows),
        _about(recipe, None, cohort, drawn),
    )


def _about(
    recipe: Recipe, cells: Manifest | None, cohort: Manifest | None, drawn: Manifest | None
) -> dict:
    """Counts by split and label of each manifest that was used, its sources, what was left out."""
    left_out = recipe.data.left_out
    about = {"left_out": list(left_out)} if left_out else {}
    for name, manifest in (("cells", cells), ("cohort", cohort), ("drawn", drawn)):
        if manifest is not None:
            about[name] = {
                "counts": counts(_taught(manifest.rows, left_out)),
                "sources": sorted({_cited(row) for row in manifest.rows}),
                "seed": manifest.about.get("seed"),
            }
    return about


def _taught(rows: Iterable[Row], left_out: Sequence[str]) -> list[Row]:
    """Rows less those of the train and validation sides whose class is left out."""
    return [
        row for row in rows if row.label not in left_out or row.split not in ("train", "validation")
    ]


def _cited(row: Row) -> str:
    """Source and licence of a row, as far as they are known."""
    source = row.source or "source not stated"
    return f"{source} ({row.licence})" if row.licence else source
