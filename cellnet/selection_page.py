"""How a study of candidates is shown: a few lines for a terminal, or a page with tables and curves.

Both are made from the dictionary that `selection.select` returns and from nothing else, so a page
can be made again from a stored ``report.json``. Beside what was measured stands what the literature
reports, where the study's recipe knows it. The page is one file that loads nothing from elsewhere,
and no photograph of a cell is on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellnet.measured_page import (
    COLOURS,
    FAINT,
    INK,
    decimal,
    environment,
    interval,
    percent,
    picture,
    require_plots,
    single_roc,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["render", "summary"]


def render(report: dict[str, Any]) -> str:
    """Make the page of a study.

    Args:
        report: What `cellnet.selection.select` returned, or the same read from its JSON.

    Returns:
        One HTML document that loads nothing from elsewhere.

    Raises:
        CellnetError: matplotlib is not installed.
    """
    require_plots()
    second = {
        name: found["stage2"]
        for name, found in report["candidates"].items()
        if found["stage2"] is not None
    }
    plots = {
        "first": picture(
            lambda axes: _first_stage(axes, report),
            "Balanced validation accuracy of each candidate in each epoch of the first stage",
            width=9.0,
        ),
        "second": picture(
            lambda axes: _courses(
                axes, report, second, report["recipe"]["training"]["stop_at"], "stop rule"
            ),
            "Validation accuracy of each remaining candidate in each epoch of the second stage",
            width=9.0,
        )
        if second
        else None,
        "proof": {
            "ROC of the dysplastic share": picture(
                lambda axes: single_roc(axes, report["proof_of_concept"]),
                "ROC curve of the dysplastic share in the proof of concept",
            )
        }
        if report["proof_of_concept"]
        else None,
        "folds": picture(
            lambda axes: _folds(axes, report["cross_validation"]["divisions"]),
            "Accuracy of each fold by division",
            width=9.0,
            height=3.6,
        )
        if report["cross_validation"] and report["cross_validation"]["divisions"]
        else None,
    }
    measured = {name: found for name, found in second.items() if not found["failed"]}
    return (
        environment()
        .get_template("selection.html")
        .render(
            report=report,
            plots=plots,
            second=second,
            measured=measured,
            order=report["chosen"]["order"],
            published=report["published"] or {},
            total_seconds=sum(session["seconds"] for session in report["time"]["sessions"]),
        )
    )


def summary(report: dict[str, Any]) -> str:
    """A study in a few lines for people.

    Args:
        report: What `cellnet.selection.select` returns.
    """
    lines = [f"{report['study']} on {report['data']['manifest']}"]
    for name, found in report["candidates"].items():
        line = f"  {name} ({found['parameters']:,} parameters): "
        second = found["stage2"]
        if second is None:
            lines.append(f"{line}dropped, {found['stage1']['reason']}")
        elif second["failed"]:
            lines.append(f"{line}{second['failed']}")
        else:
            lines.append(
                f"{line}by cell {_told(second['by_cell']['accuracy'])}, "
                f"by smear {_told(second['by_smear']['accuracy'])}, "
                f"AUC by smear {decimal(second['by_smear']['auc']['value'])}"
            )
    chosen, proof = report["chosen"], report["proof_of_concept"]
    if chosen["name"] is not None:
        lines.append(f"  chosen: {chosen['name']} ({chosen['rule']})")
        if chosen["also_possible"]:
            lines.append(f"  chance may have put behind it: {', '.join(chosen['also_possible'])}")
        lines.append(
            f"  proof of concept, {proof['n']} smears: "
            + ", ".join(
                f"{key} {_told(proof[key])}" for key in ("accuracy", "sensitivity", "specificity")
            )
        )
    for division in (report["cross_validation"] or {"divisions": []})["divisions"]:
        lines.append(f"  {division['name']} cross-validation: {_told(division['pooled'])} of cells")
    return "\n".join([*lines, *(f"  warning: {text}" for text in report["warnings"])])


def _told(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "undefined"
    return f"{percent(estimate['value'])} % ({interval(estimate)})"


# --- plots -------------------------------------------------------------------------------------


def _first_stage(axes: Axes, report: dict[str, Any]) -> None:
    rule = report["recipe"]["first_stage"]
    courses = {name: found["stage1"] for name, found in report["candidates"].items()}
    # What the rule looks at; reports of before it was kept have the other alone.
    known = all("validation_balanced_accuracy" in course for course in courses.values())
    chance = 100 * rule["chance"]
    axes.axhspan(chance - 100 * rule["margin"], chance + 100 * rule["margin"], color="#f1f2f5")
    shown = "validation_balanced_accuracy" if known else "validation_accuracy"
    _courses(axes, report, courses, rule["chance"], "chance", shown)
    if known:
        axes.set_ylabel("balanced validation accuracy, %")


def _courses(
    axes: Axes,
    report: dict[str, Any],
    courses: dict[str, Any],
    line: float | None,
    line_is: str,
    shown: str = "validation_accuracy",
) -> None:
    """A figure by epoch; a candidate keeps its colour, and dashes where it goes out."""
    from matplotlib.ticker import MaxNLocator

    names = list(report["candidates"])
    most = max(course["epochs"] for course in courses.values())
    for name, course in courses.items():
        number = names.index(name)
        dropped = not course.get("goes_on", True)
        axes.plot(
            range(1, course["epochs"] + 1),
            [100 * value for value in course[shown]],
            color=COLOURS[number % len(COLOURS)],
            lw=1.8,
            ls=(0, (3, 2)) if dropped else "-",
            marker="o" if most < 40 else None,
            ms=4,
            label=f"{name}, dropped" if dropped else name,
        )
        axes.plot(
            course["epochs"],
            100 * course[shown][-1],
            "o",
            color=COLOURS[number % len(COLOURS)],
            ms=6,
        )
    if line is not None:
        axes.axhline(100 * line, color=INK, lw=1, ls=":")
        axes.annotate(
            f"{line_is}, {100 * line:g} %", (1, 100 * line), xycoords=("axes fraction", "data"),
            xytext=(-2, 3), textcoords="offset points", ha="right", fontsize=9, color=FAINT,
        )  # fmt: skip
    axes.set(xlabel="epoch", ylabel="validation accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, most + 0.5)
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 101.5))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _folds(axes: Axes, divisions: list[dict[str, Any]]) -> None:
    """A dot for each fold; their mean, with its interval over them, beside."""
    for place, division in enumerate(divisions):
        colour = COLOURS[0] if division["by"] == "group" else COLOURS[1]
        values = [100 * row["accuracy"]["value"] for row in division["rows"]]
        axes.plot(values, [place] * len(values), "o", color=colour, ms=7, alpha=0.55, mec="white")
        found = division["accuracy"]
        if found["ci95"] is not None:
            axes.plot([100 * end for end in found["ci95"]], [place + 0.25] * 2, color=INK, lw=2)
        if found["mean"] is not None:
            axes.plot(100 * found["mean"], place + 0.25, "D", color=INK, ms=5)
    axes.set_yticks(range(len(divisions)), [division["name"] for division in divisions])
    axes.set_ylim(-0.6, len(divisions) - 0.3)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("accuracy, % (dots: folds; below: their mean, 95 % interval over the folds)")
