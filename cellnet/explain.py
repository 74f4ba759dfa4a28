"""What in an image speaks for a network's answer: pictures, numbers, and how far to trust them.

`explain` writes a folder: for each cell its activation map (Grad-CAM), the map laid over the cell,
guided Grad-CAM and feature maps; where asked, a t-SNE of the cells, the test of deletion and
insertion, and the share of the maps on the cells. Everything stands in ``explanations.json`` too,
of which ``index.html`` is made. The bundle's own runtime answers, as in ``predict``; maps come from
the same weights in TensorFlow, of the extra ``train``.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellnet import __version__
from cellnet import explain_embedding as embedding
from cellnet import explain_faithfulness as faithfulness
from cellnet import explain_masks as masking
from cellnet import explain_pictures as pictures
from cellnet.bundle import Bundle
from cellnet.cells import OTHER
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.explain_cells import Cell, Cells, find_cells, read_cell
from cellnet.explain_network import Network
from cellnet.explain_page import page, write_plots
from cellnet.images import resize, write_png
from cellnet.operating_point import FILE as POINT
from cellnet.operating_point import is_dysplastic
from cellnet.outputs import new_folder, write_text
from cellnet.scoring import in_order, progress_bar
from cellnet.seen import count_seen, seen_warnings
from cellnet.smear import name_cells
from cellnet.smears import Source, as_bundle

__all__ = ["FILE", "PAGE", "PICTURES", "SCHEMA", "Target", "explain", "summary", "targets"]

log = logging.getLogger(__name__)

SCHEMA = "cellnet/explanations/1"
FILE = "explanations.json"
PAGE = "index.html"

PICTURES = 100
"""Cells that get pictures where nothing is said: more would make no page to look at."""

FOLDER = "pictures"

GRANULAR, HYPOGRANULAR = "granular", "hypogranular"


@dataclass(frozen=True)
class Target:
    """An answer that a map can be asked for.

    Attributes:
        name: A class, ``granular`` or ``hypogranular``.
        output: Number of the network's output.
        sign: 1 where a higher output speaks for it, -1 where a lower one does.
    """

    name: str
    output: int
    sign: int

    def score(self, answers: np.ndarray) -> np.ndarray:
        """How much answers ``(n, outputs)`` say it, ``(n,)`` in [0, 1]."""
        answer = answers[:, self.output]
        return answer if self.sign > 0 else 1 - answer


def targets(bundle: Bundle) -> dict[str, Target]:
    """What maps can be asked for, by name, in the order of the network's outputs."""
    if bundle.kind == "granularity":
        return {GRANULAR: Target(GRANULAR, 0, 1), HYPOGRANULAR: Target(HYPOGRANULAR, 0, -1)}
    classes = bundle.description["output"]["classes"]
    return {name: Target(name, output, 1) for output, name in enumerate(classes)}


def explain(
    model: Source | Network,
    images: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    target: str | None = None,
    layers: Sequence[str] = (),
    split: str | None = None,
    most_pictures: int = PICTURES,
    tsne: int | None = None,
    test: int | None = None,
    masks: str | os.PathLike[str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Explain a network's answers for images.

    Args:
        model: The bundle: its name, its folder or the loaded bundle; or its network, opened.
        images: Images and folders of them, or one manifest; see `find_cells` for their labels.
        out: Folder to make.
        target: What to explain instead of each cell's own answer: a class, ``granular`` or
            ``hypogranular``.
        layers: Names of layers whose feature maps to draw; none for the last block's.
        split: Of the manifest; None for ``test``.
        most_pictures: How many cells get pictures, the first ones.
        tsne: How many cells to lay on a plane, drawn by the seed; None for no plane.
        test: How many cells to test the maps on by deletion and insertion, likewise.
        masks: Folder of masks, see `cellnet.explain_masks.find_masks`; None for none.
        seed: Of all randomness.
        threads: How many files to read at a time; None for one a core.
        progress: Show progress bars where standard error is a terminal.

    Returns:
        The document ``cellnet/explanations/1``, which is also in ``out/explanations.json``.

    Raises:
        CellnetError: TensorFlow or scikit-learn is not installed, there is no such model, class or
            layer, no image can be read, too few or too many cells are to be laid on a plane, the
            folder is not new, or a network without operating point is not told what to explain.
    """
    paths = [Path(path) for path in images]
    if tsne is not None:
        embedding.check_number(tsne)
    with new_folder(out) as folder:
        bundle = model.bundle if isinstance(model, Network) else as_bundle(model)
        asked = _asked(bundle, target)
        found = find_cells(
            paths, bundle.kind, split, None if bundle.names_the_eight else bundle.labels
        )
        if tsne is not None:
            embedding.check_number(min(tsne, len(found.cells)))
        held = None
        if masks is not None:
            held = masking.find_masks(Path(masks), found.cells, found.others)
        _require(tsne is not None, tsne is not None or test is not None)
        network = model if isinstance(model, Network) else Network(bundle)
        for layer in layers:
            network.check_layer(layer)
        study = _Study(network, asked, list(layers) or [network.block], held, seed, threads)
        document = study.run(found, folder, most_pictures, tsne, test, progress)
        document["given"] = {
            "target": target,
            "layers": study.layers,
            "pictures": most_pictures,
            "tsne": tsne,
            "faithfulness": test,
            "masks": None if masks is None else Path(os.path.abspath(masks)).name,
            "seed": seed,
        }
        document["plots"] = write_plots(document, folder)
        write_text(folder / FILE, json.dumps(document, indent=2, allow_nan=False) + "\n")
        write_text(folder / PAGE, page(document, folder))
    return document


def summary(document: dict[str, Any], out: str | os.PathLike[str]) -> str:
    """What was found, in a few lines for people."""
    model, cells = document["model"], document["cells"]
    drawn = sum(cell["pictures"] is not None for cell in cells)
    lines = [
        f"{os.fspath(out)}/{PAGE}: {model['name']} {model['version']} ({model['sha256'][:12]}), "
        f"{_counted(len(cells), 'cell')} explained, {drawn} of them with pictures"
    ]
    lines += [f"  unreadable: {it['file']}: {it['reason']}" for it in document["unreadable"]]
    plane, test, masks = (document[key] for key in ("embedding", "faithfulness", "masks"))
    if plane is not None and plane["features_less_pixels"] is not None:
        for name, space in plane["spaces"].items():
            lines.append(
                f"  {name}: neighbours of the same label {_told(space['same_label'])}, "
                f"silhouette {_told(space['silhouette'])}"
            )
    if test is not None:
        for name in faithfulness.TESTS:
            areas = test["all"][name]["area"]
            told = ", ".join(f"{order} {_told(areas[order])}" for order in faithfulness.ORDERS)
            lines.append(f"  {name}, n = {test['n']}: {told}")
    for row in masks["rows"] if masks is not None else []:
        number = row["others"]["n"]
        lines.append(
            f"  {row['label'] or 'all'}, {row['part']}, n = {row['n']}: share of the map "
            f"{_told(row['weight'])}, of the area {_told(row['area'])}, of other cells' maps "
            f"{_told(row['others'])}{'' if number == row['n'] else f', n = {number}'}"
        )
    if masks is not None and masks["left_out"]:
        first = masks["left_out"][0]
        lines.append(
            f"  {_counted(len(masks['left_out']), 'cell')} without a usable mask; the first is "
            f"{first['file']}: {first['reason']}"
        )
    return "\n".join([*lines, *(f"  warning: {text}" for text in document["warnings"])])


class _Study:
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
        warnings = [*found.warnings, *seen_warnings(self.bundle, photographs)]
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


def _asked(bundle: Bundle, name: str | None) -> Target | None:
    if name is None:
        return None
    known = targets(bundle)
    if name not in known:
        raise CellnetError(
            f"{bundle.name} answers no '{name}'; a map can be asked for {', '.join(known)}"
        )
    return known[name]


def _require(sklearn: bool, plots: bool) -> None:
    """Say what is missing before the work instead of after it."""
    for package, needed in (("sklearn", sklearn), ("matplotlib", plots)):
        try:
            if needed:
                __import__(package)
        except ImportError:
            raise CellnetError(
                f"this needs {package}, which is not installed; install the training extra: "
                'pip install "cellnet[train]"'
            ) from None


def _none_readable(unreadable: Sequence[dict[str, str]]) -> str:
    first = unreadable[0]
    return (
        f"none of {len(unreadable)} images can be read; the first is {first['file']}: "
        f"{first['reason']}"
    )


def _safe(stem: str) -> str:
    """A file's name that every system and every page takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", stem)[:60]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _told(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "undefined"
    if estimate["ci95"] is None:
        return f"{estimate['value']:.3f}"
    low, high = estimate["ci95"]
    return f"{estimate['value']:.3f} ({low:.3f} to {high:.3f})"
