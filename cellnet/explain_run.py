"""Explaining cells, one after another: answer, map, pictures, and what is measured of the maps.

`ExplainRun` reads each image once, and those drawn for a t-SNE or for deletion and insertion once
more. What it is asked for, and the folder around it, are left to ``explain``.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from cellnet import __version__
from cellnet import explain_embedding as embedding
from cellnet import explain_faithfulness as faithfulness
from cellnet import explain_masks as masking
from cellnet import explain_pictures as pictures
from cellnet.cells import OTHER
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.explain_cells import Cell, Cells, manifest_cautions, read_cell
from cellnet.explain_network import Network
from cellnet.explain_targets import GRANULAR, HYPOGRANULAR, Target, targets
from cellnet.images import resize, write_png
from cellnet.operating_point import FILE as POINT
from cellnet.operating_point import is_dysplastic
from cellnet.scoring import in_order, progress_bar
from cellnet.seen import count_seen, seen_warnings
from cellnet.smear import name_cells

__all__ = ["SCHEMA", "ExplainRun"]

SCHEMA = "cellnet/explanations/1"

FOLDER = "pictures"


class ExplainRun:
    """One run: the network, what is asked of it, and what is done with each cell."""

    def __init__(
        self,
        network: Network,
        asked: Target | None,
        layers: list[str],
        masks: Mapping[Path, Path | str] | None,
        seed: int,
        threads: int | None,
    ):
        self.network, self.bundle = network, network.bundle
        self.asked, self.layers, self.masks = asked, layers, masks
        self.seed, self.threads = seed, threads
        self.targets = targets(self.bundle)
        self.cutoff = None
        if self.bundle.kind == "granularity" and (self.bundle.folder / POINT).is_file():
            self.cutoff = self.bundle.operating_point().cutoff
        self.runtime = self.bundle.runtime()

    def run(
        self,
        found: Cells,
        folder: Path,
        most_pictures: int,
        tsne: int | None,
        test: int | None,
        progress: bool,
    ) -> dict[str, Any]:
        """Look at every cell once, and at those drawn for a measurement once more."""
        (folder / FOLDER).mkdir()
        rows, kept, maps, unreadable = [], [], [], list(found.unreadable)
        difference, otherwise = 0.0, 0
        for cell, image, answer in self._answered(found.cells, "explaining" if progress else None):
            if isinstance(image, UnreadableImage):
                unreadable.append({"file": cell.name, "reason": image.reason})
                continue
            insight = self.network.look(image)
            difference = max(difference, float(np.abs(insight.answer - answer).max()))
            otherwise += self._decided(insight.answer) != self._decided(answer)
            target = self._target(answer)
            signed = insight.maps[..., target.output]
            values, faint = pictures.speaking(signed, target.sign)
            drawn = None
            if len(rows) < most_pictures:
                name = f"{len(rows) + 1:04d}-{_safe(cell.path.stem)}"
                drawn = self._draw(folder, name, image, target, signed, values)
            rows.append(
                {
                    "file": cell.name,
                    "label": cell.label,
                    "answer": self._told(answer),
                    "target": target.name,
                    "faint": faint,
                    "pictures": drawn,
                }
            )
            kept.append((cell, target, target.sign * signed))
            if self.masks is not None:
                maps.append(masking.Map(cell, target.name, values, *image.shape[:2]))
        if not rows:
            raise CellnetError(_none_readable(unreadable))
        photographs = [cell.row() for cell, _, _ in kept]
        warnings = [
            *found.warnings,
            *manifest_cautions(self.bundle, found, photographs),
            *seen_warnings(self.bundle, photographs),
        ]
        if otherwise:
            warnings.append(
                f"{otherwise} of {len(rows)} cells would be answered otherwise by the network with "
                "float activations, of which the maps are"
            )
        if len(rows) > most_pictures:
            warnings.append(
                f"pictures of the first {most_pictures} of {len(rows)} cells alone; --pictures "
                "gives another number"
            )
        plane = None
        if tsne is not None:
            cells = [cell for cell, _, _ in kept]
            plane, missing = self._embed(cells, found.grouped_by, tsne, progress)
            warnings += missing
        tested = None
        if test is not None:
            tested, missing = self._test(kept, found.grouped_by, test, progress)
            warnings += missing
        return {
            "schema": SCHEMA,
            "cellnet": __version__,
            "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "model": self.bundle.identity(),
            "kind": self.bundle.kind,
            "targets": list(self.targets),
            "cutoff": self.cutoff,
            "map": {
                "layer": self.network.block,
                "rows": kept[0][2].shape[0],
                "columns": kept[0][2].shape[1],
                "field": self.network.field,
                "input": self.bundle.size,
            },
            "data": found.data,
            "grouped_by": found.grouped_by,
            "cells": rows,
            "unreadable": unreadable,
            "largest_difference": difference,
            "seen": count_seen(self.bundle, photographs),
            "embedding": plane,
            "faithfulness": tested,
            "masks": None
            if self.masks is None
            else masking.measured(
                self.masks, maps, found.grouped_by is not None, self.seed, progress
            ),
            "warnings": warnings,
        }

    def _answered(
        self, cells: Sequence[Cell], title: str | None
    ) -> Iterator[tuple[Cell, np.ndarray | UnreadableImage, np.ndarray | None]]:
        """Each cell with its image and the runtime's answer, or with why it cannot be read."""

        def read(cell: Cell) -> tuple[Cell, np.ndarray | UnreadableImage, np.ndarray | None]:
            try:
                cell, image = read_cell(cell)
            except UnreadableImage as error:
                return cell, error, None
            return cell, image, self.runtime.predict(self.bundle.prepare(image)[None])[0]

        with closing(in_order(read, cells, self.threads)) as answers:
            for _, found in progress_bar(answers, title, len(cells)):
                yield found

    def _target(self, answer: np.ndarray) -> Target:
        if self.asked is not None:
            return self.asked
        if self.bundle.kind != "granularity":
            return list(self.targets.values())[int(answer.argmax())]
        if self.cutoff is None:
            raise CellnetError(
                f"the bundle {self.bundle.folder} has no operating point, so nothing says which "
                "side a cell is on: fit one with 'cellnet calibrate', or say with --class "
                f"{GRANULAR} or {HYPOGRANULAR} what to explain"
            )
        return self.targets[HYPOGRANULAR if is_dysplastic(answer[0], self.cutoff) else GRANULAR]

    def _told(self, answer: np.ndarray) -> dict[str, Any]:
        """The answer as `predict` tells it."""
        if self.bundle.kind == "granularity":
            score = float(answer[0])
            dysplastic = None if self.cutoff is None else is_dysplastic(score, self.cutoff)
            return {"granularity": score, "dysplastic": dysplastic}
        named = int(name_cells(answer[None])[0])
        return {"label": (*self.targets, OTHER)[named], "probability": float(answer.max())}

    def _decided(self, answer: np.ndarray) -> str | bool | None:
        told = self._told(answer)
        return told["dysplastic"] if self.bundle.kind == "granularity" else told["label"]

    def _draw(
        self,
        folder: Path,
        name: str,
        image: np.ndarray,
        target: Target,
        signed: np.ndarray,
        values: np.ndarray,
    ) -> dict[str, Any]:
        """Write a cell's pictures; their files below the folder."""
        picture = pictures.shown(image)
        height, width = picture.shape[:2]
        guided = self.network.guided_gradient(image, target.output, target.sign)
        guided = guided * pictures.stretched(values, *guided.shape[:2])[..., None]
        made = {
            "cell": picture,
            "overlay": pictures.overlay(picture, values),
            "map": pictures.map_picture(values, height, width),
            "guided": pictures.guided_picture(guided, height, width),
        }
        drawn: dict[str, Any] = {"layers": {}}
        for kind, content in made.items():
            drawn[kind] = f"{FOLDER}/{name}.{kind}.png"
            write_png(folder / drawn[kind], content)
        drawn["values"] = f"{FOLDER}/{name}.map.npy"
        np.save(folder / drawn["values"], signed)
        for layer in self.layers:
            drawn["layers"][layer] = f"{FOLDER}/{name}.{layer}.png"
            write_png(
                folder / drawn["layers"][layer], pictures.sheet(self.network.features(image, layer))
            )
        return drawn

    def _embed(
        self, cells: Sequence[Cell], grouped: str | None, wanted: int, progress: bool
    ) -> tuple[dict[str, Any] | None, list[str]]:
        """t-SNE of cells drawn by the seed, or None where too few can be read; and warnings."""
        chosen, pixels, features, warnings = [], [], [], []
        title = "reading features" if progress else None
        for cell, image, _ in self._answered(self._drawn_by_lot(cells, wanted), title):
            if isinstance(image, UnreadableImage):  # it could be read a moment ago
                warnings.append(f"not on the plane of t-SNE: {cell.name}: {image.reason}")
                continue
            chosen.append(cell)
            # A byte a value: three times a thousand images of 299 x 299 are a gigabyte.
            pixels.append(np.rint(resize(image, self.bundle.size)).astype(np.uint8).ravel())
            features.append(self.network.look(image).features.ravel())
        if len(chosen) < embedding.FEWEST:
            told = (
                f"no plane of t-SNE: it takes at least {embedding.FEWEST} cells, and "
                f"{len(chosen)} could be read; give more images"
            )
            return None, [*warnings, told]
        found = embedding.embedded(
            {"pixels": np.stack(pixels), "features": np.stack(features)},
            [cell.label for cell in chosen],
            [cell.group for cell in chosen] if grouped else None,
            self.seed,
        )
        spaces = found["spaces"]
        points = [spaces[name].pop("points") for name in ("pixels", "features")]
        cells_at = [
            {"file": cell.name, "label": cell.label, "pixels": pixel, "features": feature}
            for cell, pixel, feature in zip(chosen, *points, strict=True)
        ]
        return {**found, "layer": self.network.block, "cells": cells_at}, warnings

    def _test(
        self,
        kept: Sequence[tuple[Cell, Target, np.ndarray]],
        grouped: str | None,
        wanted: int,
        progress: bool,
    ) -> tuple[dict[str, Any] | None, list[str]]:
        """Deletion and insertion on cells drawn by the seed, or None; and warnings."""
        drawn = self._drawn_by_lot(kept, wanted)

        def take_apart(task: tuple[int, tuple[Cell, Target, np.ndarray]]):
            number, (cell, target, signed) = task
            try:
                _, image = read_cell(cell)
            except UnreadableImage as error:
                return error
            return faithfulness.curves(
                lambda inputs: target.score(self.runtime.predict(inputs)),
                self.bundle.prepare(image),
                signed,
                np.random.default_rng((self.seed, number)),
            )

        chosen, found, warnings = [], [], []
        with closing(in_order(take_apart, list(enumerate(drawn)), self.threads)) as answers:
            title = "deleting and inserting" if progress else None
            for (_, it), curve in progress_bar(answers, title, len(drawn)):
                if isinstance(curve, UnreadableImage):  # it could be read a moment ago
                    warnings.append(f"not taken apart: {it[0].name}: {curve.reason}")
                    continue
                chosen.append(it)
                found.append(curve)
        if not found:
            return None, [*warnings, "no test of faithfulness: no image could be read again"]
        names = [target.name for _, target, _ in chosen]
        groups = [cell.group for cell, _, _ in chosen] if grouped else None

        def summarised(name: str | None) -> dict[str, Any]:
            held = [at for at, it in enumerate(names) if name in (None, it)]
            tied = None if groups is None else [groups[at] for at in held]
            about = faithfulness.summarised([found[at] for at in held], tied, self.seed)
            return {"n": len(held), **about}

        areas = [
            {
                "file": cell.name,
                "target": target.name,
                **{
                    name: {order: float(faithfulness.area(it)) for order, it in tested.items()}
                    for name, tested in curve.items()
                },
            }
            for (cell, target, _), curve in zip(chosen, found, strict=True)
        ]
        present = [name for name in self.targets if name in names]
        return {
            "n": len(chosen),
            "steps": faithfulness.STEPS,
            "orders": faithfulness.ORDERS,
            "tests": faithfulness.TESTS,
            "blur": faithfulness.BLUR,
            "all": summarised(None),
            "by_target": {name: summarised(name) for name in present} if len(present) > 1 else {},
            "cells": areas,
        }, warnings

    def _drawn_by_lot(self, items: Sequence[Any], wanted: int) -> list[Any]:
        """So many of the items, drawn by the seed, in their order; all where there are no more."""
        if wanted >= len(items):
            return list(items)
        rng = np.random.default_rng(self.seed)
        return [items[at] for at in sorted(rng.choice(len(items), wanted, replace=False))]


def _none_readable(unreadable: Sequence[dict[str, str]]) -> str:
    first = unreadable[0]
    return (
        f"none of {len(unreadable)} images can be read; the first is {first['file']}: "
        f"{first['reason']}"
    )


def _safe(stem: str) -> str:
    """A file's name that every system and every page takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", stem)[:60]
