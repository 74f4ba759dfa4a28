"""What the pages of measured numbers share: how a number is written, colours, plots, templates.

Every value on such a page stands with its interval, and no value is rounded up to a whole that it
is not. Plots are SVG inside the page, so that it loads nothing from elsewhere; they need
matplotlib, which comes with the extra ``train`` and is imported when a plot is drawn. What a page
shows is left to ``evaluation_page`` and ``selection_page``.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cellnet.errors import CellnetError

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS",
    "DYSPLASTIC",
    "FAINT",
    "GRID",
    "INK",
    "NORMAL",
    "count",
    "decimal",
    "drawing",
    "environment",
    "interval",
    "majority",
    "percent",
    "picture",
    "require_plots",
    "single_roc",
    "unit_square",
]

# Okabe and Ito's colours, which people with any colour vision can tell apart, and a grey.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#7f6000",
    "#000000",
)
INK, FAINT, GRID = "#1d2433", "#6b7385", "#dfe3ea"
DYSPLASTIC, NORMAL = "#d55e00", "#0072b2"


def require_plots() -> None:
    """Check that the plotting library is there, before hours of work are spent.

    Raises:
        CellnetError: where it is not, naming the extra that brings it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise CellnetError(
            "pages of measured numbers need matplotlib, which is not installed: install the extra "
            "with `pip install 'cellnet[train]'`"
        ) from None


def environment() -> Environment:
    """The templates of ``cellnet/templates``, which escape what they are given and miss nothing."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("cellnet"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        percent=percent,
        interval=interval,
        majority=majority,
        number=decimal,
        heat=_heat,
        count=count,
    )
    return found


# --- numbers for people ------------------------------------------------------------------------


def _cut(value: float, digits: int) -> str:
    """A number with so many digits; never rounded up to its whole, which only a whole may show."""
    text = f"{value:.{digits}f}"
    if float(text) in (1.0, 100.0) and value < float(text):
        return f"{float(text) - 10.0**-digits:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent, without the sign."""
    return "–" if value is None else _cut(100 * value, digits)


def decimal(value: float | None, digits: int = 4) -> str:
    """A number with so many digits."""
    return "–" if value is None else _cut(value, digits)


def interval(estimate: dict[str, Any], form: str = "percent") -> str:
    """Both ends of an estimate's 95 % interval, as ``percent`` or ``number``; empty without one."""
    if estimate["ci95"] is None:
        return ""
    show = percent if form == "percent" else decimal
    return " to ".join(show(end) for end in estimate["ci95"])


def count(value: int) -> str:
    """A count with narrow spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def majority(counts: Mapping[str, int]) -> str:
    """What always saying the most frequent class would give, in percent, and which class it is.

    >>> majority({"ig": 1, "neutrophil": 3}), majority({"ig": 2, "neutrophil": 2})
    ('75.0 % (neutrophil)', '50.0 %')
    """
    most = max(counts.values(), default=0)
    if not most:
        return percent(None)
    names = [name for name, number in counts.items() if number == most]
    told = f"{percent(most / sum(counts.values()))} %"
    return f"{told} ({names[0]})" if len(names) == 1 else told


def _heat(count: int, total: int) -> str:
    """Background of a confusion matrix's field: the share of its row, on a root scale."""
    share = math.sqrt(count / total) if total else 0.0
    return f"{0.75 * share:.3f}"


# --- plots ------------------------------------------------------------------------------------


def picture(
    draw: Callable[[Axes], None], told: str, height: float = 4.2, width: float = 5.2
) -> str:
    """An <img> with an SVG inside.

    Args:
        draw: Draws on the axes that it is given.
        told: What is read out in place of the picture.
        height: In inches.
        width: In inches; a hundred times as many pixels wide on the page.
    """
    from markupsafe import Markup, escape

    drawn = drawing(draw, "svg", height, width)
    data = base64.b64encode(drawn).decode("ascii")
    return Markup(
        f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(told)}" '
        f'width="{100 * width:.0f}">'
    )


def drawing(
    draw: Callable[[Axes], None], form: str, height: float = 4.2, width: float = 5.2
) -> bytes:
    """A drawing as a file's bytes; the same drawing gives the same bytes.

    Args:
        draw: Draws on the axes that it is given.
        form: ``svg`` or ``png``.
        height: In inches.
        width: In inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "font.size": 11,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": FAINT,
        "ytick.color": INK,
        "axes.grid": True,
        "grid.color": GRID,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "cellnet",
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        stream = io.BytesIO()
        undated = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, dpi=150, metadata=undated)
    return stream.getvalue()


def unit_square(axes: Axes, across: str, up: str) -> None:
    """Set axes for shares from 0 to 1 both ways."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up, aspect="equal")


def single_roc(axes: Axes, found: dict[str, Any]) -> None:
    """Draw a ROC curve with its AUC and the operating point.

    Args:
        axes: where to.
        found: ``curve`` (or None), ``auc``, ``sensitivity`` and ``specificity``, as ``measure``
            gives them.
    """
    curve = found["curve"]
    unit_square(axes, "1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":")
    if curve is None:
        axes.text(0.5, 0.55, "one of the two kinds is missing", ha="center", color=FAINT)
        return
    axes.plot(
        curve["false_positive_rate"],
        curve["sensitivity"],
        color=COLOURS[0],
        lw=2,
        label=f"AUC {decimal(found['auc']['value'])}",
        clip_on=False,
    )
    if None not in (found["sensitivity"]["value"], found["specificity"]["value"]):
        axes.plot(
            1 - found["specificity"]["value"],
            found["sensitivity"]["value"],
            "o",
            ms=9,
            color=COLOURS[1],
            label="operating point",
            clip_on=False,
            zorder=5,
        )
    axes.legend(loc="lower right")
