"""The card of a bundle, ``CARD.md``: numbers by the program, judgement by a person.

What stands between marks such as ``<!-- measured: begin -->`` is made from ``bundle.json``,
``recipe.yaml``, ``operating_point.json`` and ``metrics.json`` and written anew by ``cellnet
evaluate --record`` and ``cellnet calibrate``; everything else in the file is a person's and is
kept. The README's table of shipped models is made from the same files. How one evaluation becomes
lines and tables is written in ``card_tables``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cellnet.bundle import Bundle, available, load
from cellnet.card_tables import headlines, measured_text, share, spell, table
from cellnet.errors import CellnetError
from cellnet.manifest import COHORT_SPLITS, SPLITS
from cellnet.operating_point import FILE as POINT
from cellnet.operating_point import Fit, read_operating_point
from cellnet.outputs import write_text
from cellnet.record import read_metrics

__all__ = ["FILE", "README_BLOCK", "blocks", "generated", "readme_table", "refresh", "replace"]

log = logging.getLogger(__name__)

FILE = "CARD.md"
README_BLOCK = "models"

_WHAT = {
    "probabilities": "names a blood cell: a probability for each of eight classes",
    "granularity": "scores how granular a neutrophil's cytoplasm is, from 0 to 1",
}
_DATA = {
    "cells": "Photographed cells",
    "cohort": "Simulated cohort: photographed neutrophils, granules taken out by degrees",
    "drawn": "Cells drawn from nothing",
}


def _what(bundle: Bundle) -> str:
    """What a bundle does, in a few words."""
    if bundle.kind == "granularity" or bundle.names_the_eight:
        return _WHAT[bundle.kind]
    told = f"a specialist for the class {bundle.of}" if bundle.of else "a specialist"
    return f"{told}: a probability for each of {', '.join(bundle.classes)}"


def refresh(bundle: str | Path | Bundle) -> Path:
    """Write the program's part of a bundle's card; make the card where there is none.

    Args:
        bundle: Its name, its folder or the bundle.

    Returns:
        The card's file.

    Raises:
        CellnetError: A file of the bundle does not hold, or the card cannot be written.
    """
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    file = bundle.folder / FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = _new_card(bundle)
    except (OSError, ValueError) as error:
        raise CellnetError(f"cannot read the card {file}: {error}") from error
    for name, content in blocks(bundle).items():
        text = replace(text, name, content)
    write_text(file, text)
    return file


def blocks(bundle: Bundle) -> dict[str, str]:
    """Make the program's part of a card.

    Returns:
        Markdown by the name of its marks: ``identity``, ``data``, ``training``, ``operating
        point`` (granularity alone), ``measured``. ``training`` is missing where PyYAML is not
        installed, so that what stands there is kept.

    Raises:
        CellnetError: A file of the bundle does not hold.
    """
    evaluations = read_metrics(bundle)
    made: dict[str, Callable[[], str]] = {
        "identity": lambda: _identity(bundle),
        "data": lambda: _data(bundle),
        "training": lambda: _training(bundle),
    }
    point = None
    if bundle.kind == "granularity":
        if (bundle.folder / POINT).is_file():
            point = read_operating_point(bundle.folder, bundle.sha256)
        made["operating point"] = lambda: _operating_point(point)
    made["measured"] = lambda: measured_text(evaluations, bundle.sha256, point)
    found = {}
    for name, make in made.items():
        try:
            found[name] = make()
        except ModuleNotFoundError as error:
            log.warning("the card's part '%s' is left as it is: %s is not installed", name,
                        error.name)  # fmt: skip
    return found


def generated(text: str) -> dict[str, str]:
    """Find the program's parts in a card or README, by the name of their marks."""
    pattern = r"<!-- ([a-z ]+): begin -->\n(.*?)<!-- \1: end -->"
    return {match[1]: match[2].strip("\n") for match in re.finditer(pattern, text, re.DOTALL)}


def replace(text: str, name: str, content: str) -> str:
    """Put new content between the marks of a name, and leave everything else as it is.

    Args:
        text: A card or README.
        name: Of the marks; where there are none, a section with them is added at the end.
        content: Markdown.

    Raises:
        CellnetError: One mark is there without the other, or twice.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    filled = f"{begin}\n{content.strip()}\n{end}"
    counts = text.count(begin), text.count(end)
    if counts == (0, 0):
        title = name[0].upper() + name[1:]
        return f"{text.rstrip()}\n\n## {title}\n\n{filled}\n"
    if counts != (1, 1) or text.index(begin) > text.index(end):
        raise CellnetError(
            f"the marks {begin} and {end} must stand once each, in this order; found {counts[0]} "
            f"and {counts[1]}: put them right by hand"
        )
    return text[: text.index(begin)] + filled + text[text.index(end) + len(end) :]


def readme_table(models: str | Path) -> str:
    """Make the README's table of shipped models, with what was measured of each.

    Args:
        models: The folder of the bundles.

    Returns:
        A Markdown table, a row for each set of each evaluation; a sentence where there is no
        bundle.

    Raises:
        CellnetError: A bundle does not hold.
    """
    models = Path(models)
    names = available(models)
    if not names:
        return "No trained model is here yet."
    rows = []
    for name in sorted(names, key=lambda it: (load(models / it).kind == "granularity", it)):
        bundle = load(models / name)
        weights = bundle.description["weights"]
        first = (
            f"[**{name}**]({models.name}/{name}/{FILE}) {_what(bundle)}; "
            f"{_parameters(bundle)}{_megabytes(weights)}"
        )
        lines = [
            line
            for evaluation, entry in read_metrics(bundle).items()
            if entry["model"]["sha256"] == bundle.sha256
            for line in headlines(evaluation, entry)
        ] or [("not measured", "", "")]
        for line in lines:
            rows.append([first, *line])
            first = ""
    head = ["model", "measured on", "n", "result (95 % interval)"]
    return table(head, rows, right=(2,))


# --- parts -------------------------------------------------------------------------------------


def _identity(bundle: Bundle) -> str:
    told, weights = bundle.description, bundle.description["weights"]
    network = told["network"]
    arguments = ", ".join(f"{key} {value}" for key, value in network["arguments"].items())
    size, given = bundle.size, told["input"]
    shift = f" {given['offset']:+g}" if given["offset"] else ""
    classes = told["output"].get("classes")
    answer = f"probabilities of {', '.join(classes)}" if classes else (
        "one granularity score in [0, 1]; 1 is a normal neutrophil, 0 a hypogranulated one"
    )  # fmt: skip
    rows = [
        ["what it does", _what(bundle)],
        ["name, version", f"{bundle.name} {bundle.version}, {told['created'][:10]}"],
        ["network", f"{network['name']}{f' ({arguments})' if arguments else ''}; "
                    f"{_parameters(bundle).rstrip('; ') or 'parameters not stated'}"],
        ["input", f"{size} x {size}, {given['channels']}, resize {given['resize']}, then times "
                  f"{given['scale']:.6g}{shift}"],
        ["answer", answer],
        ["weights", f"`{weights['file']}`, {weights['bytes']:,} bytes, {weights['format']}, "
                    f"{weights['quantisation']}, SHA-256 `{weights['sha256'][:16]}`"],
        ["licence", told["licence"]],
    ]  # fmt: skip
    return table(["", ""], rows)


def _data(bundle: Bundle) -> str:
    parts = []
    for key, about in bundle.description.get("data", {}).items():
        counts = about.get("counts") if isinstance(about, dict) else None
        if not counts:
            continue
        order = (*SPLITS, *COHORT_SPLITS)
        counts = {split: counts[split] for split in sorted(counts, key=order.index)}
        labels = list(dict.fromkeys(label for split in counts.values() for label in split))
        rows = [
            [label, *(f"{counts[split].get(label, 0):,}" for split in counts)] for label in labels
        ]
        if len(labels) > 1:
            rows.append(["all", *(f"{sum(found.values()):,}" for found in counts.values())])
        lines = [f"**{_DATA.get(key, key)}**, images by split:", ""]
        lines.append(table(["", *counts], rows, right=range(1, len(counts) + 1)))
        told = [f"Source: {source}." for source in about.get("sources", [])]
        if about.get("seed") is not None:
            told.append(f"Seed {about['seed']}.")
        parts.append("\n".join([*lines, "", " ".join(told)]).rstrip())
    return "\n\n".join(parts) or "The bundle does not say what it was trained on."


def _training(bundle: Bundle) -> str:
    file = bundle.folder / str(bundle.description.get("recipe") or "")
    if not file.is_file():
        return "The bundle holds no recipe."
    from cellnet.recipe import read_recipe

    recipe = read_recipe(file)
    data, how = recipe.data, recipe.training
    mixed = [f"{data.per_class:,} of each class"]
    if recipe.classes:
        mixed += [f"{name} is {', '.join(made_of)}" for name, made_of in recipe.classes.items()]
    if data.hypogranulated:
        mixed.append(f"{100 * data.hypogranulated:g} % of the neutrophils hypogranulated")
    if data.drawn:
        mixed.append(f"{100 * data.drawn:g} % of each class drawn")
    if data.left_out:
        mixed.append(f"no image at all of {', '.join(data.left_out)}")
    rate = f"{how.learning_rate:g}, {how.schedule}"
    if how.warmup_epochs:
        rate += f" after {how.warmup_epochs:g} epochs of rise"
    stop = f"at most {how.epochs}"
    if how.stop_at is not None:
        stop += f", or until val_accuracy reaches {100 * how.stop_at:g} %"
    rows = [
        ["recipe", f"`{file.name}`: {recipe.source}"],
        ["images in an epoch", "; ".join(mixed)],
        *(
            [f"view {number}, {100 * view.share / sum(v.share for v in recipe.views):.3g} %",
             "any turn and flip; " + "; ".join(
                 f"{key} {spell(value)}" for key, value in view.model_dump().items()
                 if key != "share")]
            for number, view in enumerate(recipe.views, 1)
        ),
        ["epochs", f"{stop}; the best by {how.monitor} is kept"],
        ["Adam", f"rate {rate}; batch {how.batch}; {how.precision}"
                 + (f"; label smoothing {how.label_smoothing:g}" if how.label_smoothing else "")],
        ["seeds", f"data {data.seed}, training {how.seed}"],
    ]  # fmt: skip
    for key, value in bundle.description.get("training", {}).items():
        if key != "history":  # a figure on the page of `cellnet evaluate`
            rows.append([key.replace("_", " "), spell(value)])
    return table(["", ""], rows)


def _operating_point(point: Any) -> str:
    if point is None:
        return "None was fitted for these weights, so nothing can be decided with them."
    rows, written = [], point.to_json()
    for name, cut, fit, section in (
        ("cell cut-off", point.cutoff, point.cell, written["cell"]),
        ("smear threshold", point.threshold, point.smear, written["smear"]),
    ):
        rows.append([name, _cut(cut, section), *_fitted(fit)])
    other = point.also.get("smear_by_known_neutrophils")
    if other:
        fit = Fit(**{key: other[key] for key in Fit.__dataclass_fields__ if key in other})
        rows.append(["(smear threshold over the manifest's neutrophils; decides nothing)",
                     _cut(other["threshold"], other), *_fitted(fit)])  # fmt: skip
    head = ["", "value", "rule", "fitted on", "AUC", "sensitivity", "specificity"]
    told = [f"No decision with fewer than {point.minimum_neutrophils} neutrophils."]
    if point.cell is not None:
        told.append(f"Chosen by: {point.cell.criterion.rstrip('.')}.")
    told.append(f"Fitted {point.created[:10]} with cellnet {point.cellnet}.")
    return table(head, rows, right=(1,)) + "\n\n" + " ".join(told)


def _cut(value: float, section: dict[str, Any]) -> str:
    """A cut with the interval of its refits, where the file has one."""
    ends = (section.get("cut") or {}).get("ci95")
    return f"{value:.4f}" + (f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else "")


def _fitted(fit: Fit | None) -> list[str]:
    if fit is None:
        return ["given by hand", "", "", "", ""]
    on = fit.fitted_on
    kinds = [f"{on[key]:,} {key}" for key in ("dysplastic", "normal", "mds", "healthy")
             if key in on]  # fmt: skip
    what = f"`{on['split']}`" + (f": {', '.join(kinds)}" if kinds else "")
    if "neutrophils" in on:
        what += f"; {on['neutrophils']}"
    low, high = fit.auc["ci95"]
    shares = [
        f"{share(found['value'])} ({share(found['ci95'])})"
        for found in (fit.sensitivity, fit.specificity)
    ]
    return [fit.comparison, what, f"{fit.auc['value']:.4f} ({low:.4f} to {high:.4f})", *shares]


def _parameters(bundle: Bundle) -> str:
    number = bundle.description["network"].get("parameters")
    return "" if number is None else f"{number:,} parameters; "


def _megabytes(weights: dict[str, Any]) -> str:
    kind = {"dynamic-range-int8": "8-bit weights"}.get(weights["quantisation"])
    return f"{weights['bytes'] / 1e6:.1f} MB, {kind or weights['quantisation']}"


def _new_card(bundle: Bundle) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cellnet"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,  # noqa: S701 - Markdown
    )  # fmt: skip
    told = bundle.description
    sources = {
        source
        for about in told.get("data", {}).values()
        if isinstance(about, dict)
        for source in about.get("sources", [])
    }
    return environment.get_template("card.md").render(
        name=bundle.name, kind=bundle.kind, of=bundle.of, classes=bundle.classes,
        is_specialist=bundle.kind == "probabilities" and not bundle.names_the_eight,
        what=_what(bundle), licence=told["licence"],
        sources=sorted(sources), is_pbc=any("10.17632/snkd93bnjr" in source for source in sources),
        hypogranulated=_hypogranulated(bundle),
    )  # fmt: skip


def _hypogranulated(bundle: Bundle) -> str:
    """Share of the neutrophils whose granules were taken out for training; empty where none."""
    file = bundle.folder / str(bundle.description.get("recipe") or "")
    if not file.is_file():
        return ""
    from cellnet.recipe import read_recipe

    part = read_recipe(file).data.hypogranulated
    return f"{100 * part:g} %" if part else ""
