"""How an evaluation is shown: a few lines for a terminal, or a page with tables and curves.

Both are made from the dictionary that `evaluate` returns and from nothing else, so a page can be
made again from a stored JSON file, and cannot show a number that the JSON lacks. The page is one
file that loads nothing from elsewhere, and no photograph of a cell is on it. The plots need
matplotlib, which comes with the extra ``train``; it is imported when a page is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellnet.cells import CLASSES
from cellnet.measured_page import (
    COLOURS,
    DYSPLASTIC,
    FAINT,
    GRID,
    INK,
    NORMAL,
    decimal,
    environment,
    interval,
    picture,
    require_plots,
    single_roc,
    unit_square,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["render", "require_plots", "summary"]

MOST_MISTAKES = 40

WAYS = {
    "smears_as_run": "Smears, as the program runs (neutrophils that Model 1 calls)",
    "smears_by_known_neutrophils": "Smears, over the manifest's own neutrophils",
    "cells": "Cells",
}


def render(result: dict[str, Any]) -> str:
    """Make the page of an evaluation.

    Args:
        result: what :func:`cellnet.evaluate.evaluate` returned, or the same read from its JSON.

    Returns:
        One HTML document that loads nothing from elsewhere.

    Raises:
        CellnetError: where matplotlib is not installed.
    """
    require_plots()
    plots: dict[str, Any]
    # Results that were stored before bundles kept the course of their training have no such key.
    history = result.get("training", {}).get("history")
    course = _course_plots(result["training"]) if history else {}
    # The thesis's figures are of Model 1's classes; a specialist has others.
    has_eight = result["kind"] == "classes" and result["confusion"]["rows"] == list(CLASSES)
    if result["kind"] == "classes":
        plots = {
            "Sensitivity and precision of each class": picture(
                lambda axes: _forest(axes, result["per_class"]),
                "Sensitivity and precision of each class with 95 % intervals",
                height=4.6,
            ),
            "ROC, one class against all others, and their mean"
            + (" (thesis: figure 6.4)" if has_eight else ""): picture(
                lambda axes: _rocs(axes, result), "ROC curves of the classes and their mean"
            ),
            **(
                {
                    "The same, upper left corner": picture(
                        lambda axes: _rocs(axes, result, corner=True),
                        "ROC curves, upper left corner",
                    )
                }
                if _enters_the_corner(result["curves"])
                else {}
            ),
            "Reliability of the probability": picture(
                lambda axes: _reliability(axes, result["calibration"], "probability", "right"),
                "Share of right answers by probability",
            ),
        }
    else:
        plots = {
            split: {way: _granularity_plots(way, found) for way, found in parts.items()}
            for split, parts in result["sets"].items()
        }
    return (
        environment()
        .get_template("evaluation.html")
        .render(
            report=result,
            plots=plots,
            course=course,
            macro=result.get("macro_roc"),
            published=result.get("published"),
            has_eight=has_eight,
            ways=WAYS,
            most_mistakes=MOST_MISTAKES,
        )
    )


def _course_plots(training: dict[str, Any]) -> dict[str, str]:
    """Pictures of the training, by title; the thesis's figure 6.2."""
    history = training["history"]
    plots = {}
    for what, across in (("accuracy", "share right"), ("loss", "loss (cross-entropy)")):
        names = [name for name in (what, f"val_{what}") if name in history]
        if names:
            plots[f"{what.capitalize()} by epoch"] = picture(
                lambda axes, names=names, across=across: _by_epoch(axes, training, names, across),
                f"{what.capitalize()} of training and validation by epoch",
                height=3.4,
            )
    return plots


def _granularity_plots(way: str, found: dict[str, Any]) -> dict[str, str]:
    """Pictures of one part of one set, by title."""
    plots = {}
    if way == "cells":
        plots["Scores of normal and dysplastic cells"] = picture(
            lambda axes: _histogram(axes, found), "Histogram of granularity scores by truth"
        )
        plots["ROC of the score"] = picture(
            lambda axes: single_roc(axes, found), "ROC curve of the granularity score"
        )
        plots["Reliability of the score"] = picture(
            lambda axes: _reliability(axes, found["calibration"], "granularity score", "normal"),
            "Share of normal cells by score",
        )
        return plots
    plots["Dysplastic share of each smear"] = picture(
        lambda axes: _smear_shares(axes, found), "Dysplastic share of each smear by diagnosis"
    )
    plots["ROC of the dysplastic share"] = picture(
        lambda axes: single_roc(axes, found), "ROC curve of the dysplastic share"
    )
    return plots


def summary(result: dict[str, Any]) -> str:
    """An evaluation in a few lines for people.

    Args:
        result: what :func:`cellnet.evaluate.evaluate` returns.
    """
    model, data = result["model"], result["data"]
    lines = [
        f"{model['name']} {model['version']} ({model['sha256'][:12]}) on {data['manifest']}, "
        f"split {result['split']}, {result['n']} cells"
    ]
    if result["kind"] == "classes":
        lines.append(_line("accuracy", result["accuracy"]))
        lines.append(_line("balanced accuracy", result["balanced_accuracy"]))
        for name, rule in result["rules"].items():
            lines.append(_line(f"{name}: balanced accuracy", rule["balanced_accuracy"]))
        if result.get("macro_roc"):
            lines.append(_line("AUC of the mean ROC curve", result["macro_roc"]["auc"]))
        error = result["calibration"]["expected_calibration_error"]
        lines.append(f"  expected calibration error {error:.4f}")
        for name, row in result["per_class"].items():
            if row["cells"]:
                lines.append(_line(f"{name}: sensitivity", row["sensitivity"]))
    for split, found in result.get("sets", {}).items():
        for part, measured in found.items():
            told = part.replace("_", " ")
            undecided = measured.get("indeterminate", 0)
            more = f", {undecided} of them indeterminate" if undecided else ""
            lines.append(f"  {split}, {told}: n = {measured['n']}{more}")
            for key in ("auc", "accuracy", "sensitivity", "specificity"):
                lines.append("  " + _line("AUC" if key == "auc" else key, measured[key]))
    lines += [f"  warning: {text}" for text in result["warnings"]]
    return "\n".join(lines)


def _line(title: str, estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return f"  {title}: undefined (n = {estimate['n']})"
    told = f"  {title} {decimal(estimate['value'])}"
    if estimate["ci95"] is not None:
        told += f" (95 % interval {interval(estimate, 'number')})"
    return told


# --- pictures ----------------------------------------------------------------------------------


def _by_epoch(axes: Axes, training: dict[str, Any], names: Sequence[str], across: str) -> None:
    history = training["history"]
    for name in names:
        is_validation = name.startswith("val_")
        axes.plot(
            history["epoch"],
            [math.nan if value is None else value for value in history[name]],
            "o-",
            ms=4,
            color=COLOURS[1 if is_validation else 0],
            label="validation" if is_validation else "training",
        )
    if training["epoch_kept"] is not None:
        axes.axvline(training["epoch_kept"], color=FAINT, lw=1, ls="--", label="epoch kept")
    axes.set(xlabel="epoch", ylabel=across)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()


def _forest(axes: Axes, per_class: dict[str, Any]) -> None:
    names = [name for name, row in per_class.items() if row["cells"]]
    for number, name in enumerate(names):
        for key, colour, shift in (
            ("sensitivity", COLOURS[0], -0.15),
            ("precision", COLOURS[1], 0.15),
        ):
            found = per_class[name][key]
            if found["value"] is None:
                continue
            axes.plot(
                [100 * end for end in found["ci95"]],
                [number + shift] * 2,
                color=colour,
                lw=2,
                solid_capstyle="round",
            )
            axes.plot(
                100 * found["value"],
                number + shift,
                "o",
                color=colour,
                ms=6,
                label=key if number == 0 else None,
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("%")
    axes.grid(axis="y", visible=False)
    low = axes.get_xlim()[0]
    axes.set_xlim(max(low, -1), 100 + (100 - max(low, 0)) * 0.03)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)


def _enters_the_corner(curves: dict[str, Any]) -> bool:
    """Whether a curve passes where 1 - specificity is at most 0.1 and sensitivity 0.9 or more."""
    return any(
        rate <= 0.1 and found >= 0.9
        for curve in curves.values()
        if curve is not None
        for rate, found in zip(curve["false_positive_rate"], curve["sensitivity"], strict=True)
    )


def _rocs(axes: Axes, result: dict[str, Any], corner: bool = False) -> None:
    for number, (name, curve) in enumerate(result["curves"].items()):
        if curve is None:
            continue
        area = decimal(result["per_class"][name]["auc"]["value"])
        # Not in steps: where cells share a score the curve is a slope.
        axes.plot(
            curve["false_positive_rate"],
            curve["sensitivity"],
            color=COLOURS[number % len(COLOURS)],
            lw=1.8,
            ls="-" if number < 4 else (0, (4, 1.2)),
            label=f"{name} {area}",
        )
    mean = result.get("macro_roc")
    if mean and mean["curve"]:
        axes.plot(
            mean["curve"]["false_positive_rate"],
            mean["curve"]["sensitivity"],
            color=INK,
            lw=2.6,
            ls=(0, (1, 1)),
            label=f"mean {decimal(mean['auc']['value'])}",
        )
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":")
    unit_square(axes, "1 - specificity", "sensitivity")
    if corner:
        axes.set(xlim=(-0.002, 0.1), ylim=(0.9, 1.002))
    else:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", title="AUC", fontsize=10, alignment="left")


def _reliability(axes: Axes, calibration: dict[str, Any], across: str, what: str) -> None:
    rows = [row for row in calibration["rows"] if row["n"]]
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":")
    most = max(row["n"] for row in rows) if rows else 1
    for row in rows:
        width = row["high"] - row["low"]
        axes.bar(row["low"], 0.2 * row["n"] / most, width, align="edge", color=GRID, zorder=1)
        axes.plot([row["confidence"]] * 2, row["right_ci95"], color=COLOURS[0], lw=1.6, zorder=3)
    axes.plot(
        [row["confidence"] for row in rows],
        [row["right"] for row in rows],
        "o",
        color=COLOURS[0],
        ms=5,
        zorder=4,
    )
    unit_square(axes, f"{across} (grey: how many cells)", f"share {what}")


def _histogram(axes: Axes, found: dict[str, Any]) -> None:
    edges = found["scores"]["edges"]
    width = edges[1] - edges[0]
    for key, colour, shift in (("dysplastic", DYSPLASTIC, 0.0), ("normal", NORMAL, 0.5)):
        axes.bar(
            [edge + shift * width for edge in edges[:-1]],
            found["scores"][key],
            0.5 * width,
            align="edge",
            color=colour,
            label=f"{key} ({found[key]})",
        )
    cut = float(found["rule"].rsplit(" ", 1)[1])
    axes.axvline(cut, color=INK, lw=1.2, ls="--", label=f"cut-off {decimal(cut)}")
    if max([*found["scores"]["dysplastic"], *found["scores"]["normal"]]) > 50:
        axes.set_yscale("symlog", linthresh=10)
    axes.set(xlim=(0, 1), xlabel="granularity score", ylabel="cells", ylim=(0, None))
    axes.grid(axis="x", visible=False)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda at: labels[at].startswith("cut-off"))
    axes.legend(
        [handles[at] for at in order],
        [labels[at] for at in order],
        fontsize=9.5,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3,
        columnspacing=1.2,
    )


def _smear_shares(axes: Axes, found: dict[str, Any]) -> None:
    """A dot for each smear, side by side where shares are alike."""
    for place, (diagnosis, colour) in enumerate((("healthy", NORMAL), ("mds", DYSPLASTIC))):
        shares = sorted(
            100 * smear["dysplastic_fraction"]
            for smear in found["smears"]
            if smear["diagnosis"] == diagnosis and smear["decision"] != "indeterminate"
        )
        taken: dict[int, int] = {}
        for share in shares:
            level = round(share / 2.5)
            number = taken.get(level, 0)
            taken[level] = number + 1
            aside = (number + 1) // 2 * (1 if number % 2 else -1)
            axes.plot(
                place + max(-0.45, min(0.45, 0.055 * aside)),
                share,
                "o",
                color=colour,
                ms=6,
                alpha=0.75,
                mec="white",
                mew=0.6,
            )
    cut = 100 * float(found["rule"].rsplit(" ", 1)[1])
    axes.axhline(cut, color=INK, lw=1.2, ls="--")
    axes.text(0.5, cut + 1, f"threshold {cut:.1f} %", ha="center", va="bottom", fontsize=10)
    axes.set_xticks([0, 1], [f"healthy ({found['healthy']})", f"MDS ({found['mds']})"])
    axes.set(xlim=(-0.5, 1.5), ylim=(-2, 102), ylabel="dysplastic neutrophils, %")
    axes.grid(axis="x", visible=False)
