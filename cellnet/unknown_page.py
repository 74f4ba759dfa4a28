"""How the experiment on unknown cells is shown: a few lines for a terminal, or a page.

Both are made from the document that `cellnet.unknown.unknown` returns and from nothing else. The
page is one file that loads nothing from elsewhere, and no photograph of a cell is on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellnet.measured_page import (
    COLOURS,
    FAINT,
    decimal,
    environment,
    interval,
    percent,
    picture,
    require_plots,
    unit_square,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NAMES", "render", "require_plots", "summary", "verdict"]

NAMES = {
    "probability": "1 - largest probability",
    "energy": "energy",
    "mahalanobis": "Mahalanobis distance",
}
"""What the scores are called."""

MOST_REFUSED = 40


def render(result: dict[str, Any]) -> str:
    """Make the page of an experiment.

    Args:
        result: What `cellnet.unknown.unknown` returned, or the same read from its JSON.

    Returns:
        One HTML document that loads nothing from elsewhere.

    Raises:
        CellnetError: matplotlib is not installed.
    """
    require_plots()
    plots = {
        "ROC: unknown cells found, known cells refused": picture(
            lambda axes: _rocs(axes, result), "ROC curves of the scores"
        ),
    }
    for name, found in result["scores"].items():
        plots[NAMES[name][0].upper() + NAMES[name][1:]] = picture(
            lambda axes, found=found, name=name: _histogram(axes, found, name),
            f"Histogram of the score {NAMES[name]} for known and unknown cells",
        )
    return (
        environment()
        .get_template("unknown.html")
        .render(
            report=result,
            plots=plots,
            names=NAMES,
            verdicts=[verdict(it) for it in result["differences"]],
            most_refused=MOST_REFUSED,
        )
    )


def verdict(difference: dict[str, Any]) -> str:
    """Say which of two scores tells unknown cells better, as far as the intervals allow.

    Args:
        difference: One of ``differences``: figures of ``of`` less those of ``less``.
    """
    found = difference["auc"]
    of, less = NAMES[difference["of"]], NAMES[difference["less"]]
    told = (
        f"AUC {decimal(abs(found['value']), 3)} {'higher' if found['value'] >= 0 else 'lower'}"
        f"{_ends(found)}"
    )
    passing = _passing(difference)
    if _holds_zero(found):
        return f"{of} and {less} cannot be told apart by AUC ({told}){passing}"
    better, worse = (of, less) if found["value"] > 0 else (less, of)
    return f"{better} is better by AUC than {worse} ({of}: {told}){passing}"


def _passing(difference: dict[str, Any]) -> str:
    """How many more or fewer unknown cells pass at 95 %, where the interval allows to say so."""
    found = difference["fpr_at_95_tpr"]
    if _holds_zero(found):
        return ""
    ends = " to ".join(f"{100 * end:+.1f}" for end in found["ci95"])
    return (
        f"; with {NAMES[difference['of']]} {abs(100 * found['value']):.1f} percentage points "
        f"{'more' if found['value'] > 0 else 'fewer'} of the unknown cells pass at 95 % ({ends})"
    )


def _holds_zero(found: dict[str, Any]) -> bool:
    return found["ci95"] is None or found["ci95"][0] <= 0 <= found["ci95"][1]


def _ends(found: dict[str, Any]) -> str:
    if found["ci95"] is None:
        return ""
    return f", difference {' to '.join(f'{end:+.3f}' for end in found['ci95'])}"


def summary(result: dict[str, Any]) -> str:
    """An experiment in a few lines for people.

    Args:
        result: What `cellnet.unknown.unknown` returns.
    """
    model, data = result["model"], result["data"]
    known, strange = result["known"]["n"], result["unknown"]["n"]
    lines = [
        f"{model['name']} {model['version']} ({model['sha256'][:12]}): {known} known cells of "
        f"{data['manifest']}, split {result['split']}; {strange} unknown cells",
        _share("unknown cells called other", result["called_other"]["unknown"]),
        _share("known cells called other, wrongly", result["called_other"]["known"]),
    ]
    columns = result["matrix"]["columns"]
    for row in result["matrix"]["rows"]:
        if row["known"]:
            continue
        order = sorted(range(len(columns)), key=lambda at, row=row: -row["counts"][at])
        told = ", ".join(
            f"{columns[at]} {percent(row['shares'][at]['value'])} %"
            for at in order
            if row["counts"][at]
        )
        lines.append(f"  {row['name']} ({row['n']}) is called: {told}")
    for name, found in result["scores"].items():
        lines.append(
            f"  {NAMES[name]}: AUC {decimal(found['auc']['value'])}"
            f" ({interval(found['auc'], 'number')}); "
            f"{percent(found['fpr_at_95_tpr']['value'])} % of the unknown cells pass where 95 % of "
            "the known ones do"
        )
    lines += [f"  {verdict(it)}" for it in result["differences"]]
    lines += [f"  warning: {text}" for text in result["warnings"]]
    return "\n".join(lines)


def _share(title: str, found: dict[str, Any]) -> str:
    return (
        f"  {title}: {percent(found['value'])} % ({interval(found)}), {found['k']} of {found['n']}"
    )


# --- pictures ----------------------------------------------------------------------------------


def _rocs(axes: Axes, result: dict[str, Any]) -> None:
    for number, (name, found) in enumerate(result["scores"].items()):
        axes.plot(
            found["curve"]["false_positive_rate"],
            found["curve"]["sensitivity"],
            color=COLOURS[number],
            lw=2,
            ls=("-", "--", "-.")[number % 3],
            label=f"{NAMES[name]} {decimal(found['auc']['value'], 3)}",
            clip_on=False,
        )
    rule = result["called_other"]
    axes.plot(
        rule["known"]["value"],
        rule["unknown"]["value"],
        "o",
        ms=8,
        color=COLOURS[7],
        label="the program's rule",
        clip_on=False,
        zorder=5,
    )
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":")
    unit_square(axes, "share of known cells refused", "share of unknown cells found")
    axes.legend(loc="lower right", fontsize=9.5, title="AUC", alignment="left")


def _histogram(axes: Axes, found: dict[str, Any], name: str) -> None:
    edges = found["histogram"]["edges"]
    width = edges[1] - edges[0]
    for kind, colour in (("known", COLOURS[0]), ("unknown", COLOURS[1])):
        counts = found["histogram"][kind]
        shares = [100 * count / sum(counts) for count in counts]
        axes.bar(edges[:-1], shares, width, align="edge", color=colour, alpha=0.55, label=kind)
    axes.axvline(found["cut"], color=FAINT, lw=1.2, ls="--", label="95 % of the known below")
    axes.set(xlabel=NAMES[name], ylabel="share of the kind, %")
    axes.grid(axis="x", visible=False)
    axes.legend(fontsize=9.5)
