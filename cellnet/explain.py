"""What in an image speaks for a network's answer: pictures, numbers, and how far to trust them.

`explain` writes a folder: for each cell its activation map (Grad-CAM), the map laid over the cell,
guided Grad-CAM and feature maps; where asked, a t-SNE of the cells, the test of deletion and
insertion, and the share of the maps on the cells. Everything stands in ``explanations.json`` too,
of which ``index.html`` is made. The bundle's own runtime answers, as in ``predict``; maps come from
the same weights in TensorFlow, of the extra ``train``. Going through the cells is left to
``explain_run``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cellnet import explain_embedding as embedding
from cellnet import explain_faithfulness as faithfulness
from cellnet import explain_masks as masking
from cellnet.bundle import Source, as_bundle
from cellnet.errors import CellnetError
from cellnet.explain_cells import find_cells
from cellnet.explain_class import Selection
from cellnet.explain_network import Network
from cellnet.explain_page import page, write_plots
from cellnet.explain_run import SCHEMA, ExplainRun
from cellnet.explain_targets import target_named, targets
from cellnet.outputs import new_folder, write_text

__all__ = ["FILE", "PAGE", "PICTURES", "SCHEMA", "explain", "summary", "targets"]

FILE = "explanations.json"
PAGE = "index.html"

PICTURES = 100
"""Cells that get pictures where nothing is said: more would make no page to look at."""


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
    classifier: Source | None = "model1",
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
        classifier: For a network that knows the cells of one class alone: the Model 1 bundle that
            names those whose class no folder tells; cells of other classes are left out. None (or
            ``"none"``) to explain all as if they were of the class. Of a manifest the labels
            decide.
        seed: Of all randomness.
        threads: How many files to read at a time; None for one a core.
        progress: Show progress bars where standard error is a terminal.

    Returns:
        The document ``cellnet/explanations/1``, which is also in ``out/explanations.json``.

    Raises:
        CellnetError: TensorFlow or scikit-learn is not installed, there is no such model, class or
            layer, no image can be read or is of the network's class, the classifier is missing,
            too few or too many cells are to be laid on a plane, the folder is not new, or a
            network without operating point is not told what to explain.
    """
    paths = [Path(path) for path in images]
    if tsne is not None:
        embedding.check_number(tsne)
    with new_folder(out) as folder:
        bundle = model.bundle if isinstance(model, Network) else as_bundle(model)
        asked = target_named(bundle, target)
        found = find_cells(
            paths, bundle.kind, split, None if bundle.names_the_eight else bundle.labels
        )
        selection = Selection(bundle, found, classifier)
        found = selection.found
        if tsne is not None:
            embedding.check_number(min(tsne, len(found.cells)))
        held = None
        if masks is not None:
            held = masking.find_masks(Path(masks), found.cells, found.others)
        _require(tsne is not None, tsne is not None or test is not None)
        network = model if isinstance(model, Network) else Network(bundle)
        for layer in layers:
            network.check_layer(layer)
        run = ExplainRun(network, asked, list(layers) or [network.block], held, seed, threads)
        selection.name(threads, progress)
        document = run.run(selection.found, folder, most_pictures, tsne, test, progress)
        namer = selection.classifier
        document["classifier"] = None if namer is None else namer.identity()
        document["given"] = {
            "target": target,
            "layers": run.layers,
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


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _told(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "undefined"
    if estimate["ci95"] is None:
        return f"{estimate['value']:.3f}"
    low, high = estimate["ci95"]
    return f"{estimate['value']:.3f} ({low:.3f} to {high:.3f})"
