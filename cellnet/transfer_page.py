"""The page of an experiment of transfer learning, made from its report and from nothing else.

One file that loads nothing from elsewhere, without a photograph of a cell. Where weights came from
stands beside every number, since what random weights reach says nothing of the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellnet.answer_measures import SHARES
from cellnet.measured_page import COLOURS, FAINT, environment, percent, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["render"]

SHOWN = {"rbf": "RBF", "quadratic": "quadratic", "cubic": "cubic"}


_WIDE = 9.5  # inches; names of layers are long


def render(report: dict[str, Any]) -> str:
    """Make the page of a report.

    Args:
        report: What `cellnet.transfer.transfer` returned, or the same read from its JSON.

    Returns:
        One HTML document that loads nothing from elsewhere.
    """
    svm = report["schema"] == "cellnet/features-svm/1"
    plots = _svm_plots(report) if svm else _tuning_plots(report)
    template = "features-svm.html" if svm else "fine-tuning.html"
    return (
        environment()
        .get_template(template)
        .render(report=report, plots=plots, kernels=SHOWN, shares=SHARES)
    )


def _svm_plots(report: dict[str, Any]) -> dict[str, Any]:
    results = report["results"]
    return {
        "Accuracy of each machine": picture(
            lambda axes: _accuracies(axes, results, report["published"]),
            "Accuracy of each machine with its 95 % interval",
            height=1.4 + 0.42 * len(results),
            width=_WIDE,
        ),
        "Mean over the classes, and standard deviation": picture(
            lambda axes: _averages(
                axes, [(f"{it['label']}, {SHOWN[it['kernel']]}", it["average"]) for it in results]
            ),
            "Mean and standard deviation of sensitivity, specificity and precision",
            height=1.6 + 0.55 * len(results),
            width=_WIDE,
        ),
    }


def _tuning_plots(report: dict[str, Any]) -> dict[str, Any]:
    plots: dict[str, Any] = {}
    for result in report["results"]:
        plots[result["backbone"]] = {
            "Accuracy on the validation side": picture(
                lambda axes, result=result: _sizes(axes, report, result),
                f"Validation accuracy of {result['backbone']} by images a class",
            ),
            "Mean over the classes on the test side, and standard deviation": picture(
                lambda axes, result=result: _averages(
                    axes, [(name, test["average"]) for name, test in result["tests"].items()]
                ),
                "Mean and standard deviation of sensitivity, specificity and precision",
                height=1.8 + 0.8 * len(result["tests"]),
            ),
        }
    return plots


def _accuracies(
    axes: Axes, results: Sequence[dict[str, Any]], published: dict[str, Any] | None
) -> None:
    names = [f"{it['label']}, {SHOWN[it['kernel']]}" for it in results]
    for place, result in enumerate(results):
        found = result["accuracy"]
        control = result["features"]["weights"]["from"] == "random"
        colour = FAINT if control else COLOURS[0]
        axes.plot([100 * end for end in found["ci95"]], [place] * 2, color=colour, lw=2)
        axes.plot(100 * found["value"], place, "o", color=colour, ms=7)
        theirs = (published or {}).get("accuracy", {}).get(result["features"]["backbone"])
        if theirs is not None:
            axes.plot(100 * theirs, place, "|", color=COLOURS[1], ms=16, mew=2.5)
    axes.set_yticks(range(len(names)), names, fontsize=9.5)
    axes.invert_yaxis()
    axes.margins(y=0.15)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("accuracy, %")


def _averages(axes: Axes, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Three bars with their standard deviation for each row, as in figure 4.13 of the thesis."""
    width = 0.26
    for number, (share, colour) in enumerate(zip(SHARES, COLOURS, strict=False)):
        for place, (_, average) in enumerate(rows):
            found = average[share]
            if found["mean"] is None:
                continue
            axes.barh(
                place + (number - 1) * width,
                100 * found["mean"],
                width,
                xerr=100 * (found["sd"] or 0.0),
                color=colour,
                ecolor=FAINT,
                label=share if place == 0 else None,
            )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=9.5)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 102)
    axes.set_xlabel("%")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=9.5)


def _sizes(axes: Axes, report: dict[str, Any], result: dict[str, Any]) -> None:
    sizes = report["images_per_class"]
    for number, free in enumerate(report["free_blocks"]):
        values = {
            form["images_per_class"]: form["accuracy"]["value"]
            for form in result["forms"]
            if form["free"] == free
        }
        axes.plot(
            range(len(sizes)),
            [100 * values[size] for size in sizes],
            "o-",
            color=COLOURS[number % len(COLOURS)],
            lw=1.8,
            ms=5,
            label=f"{free} free",
        )
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.margins(x=0.08)
    axes.set(xlabel="images a class", ylabel="validation accuracy, %")
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 101))
    theirs = (report["published"] or {}).get("accuracy", {}).get(result["backbone"])
    if theirs is not None:
        axes.axhline(100 * theirs, color=FAINT, ls="--", lw=1.2)
        axes.text(0, 100 * theirs, f"published, test: {percent(theirs)}", va="bottom", fontsize=9)
    axes.legend(fontsize=9.5, ncols=2)
