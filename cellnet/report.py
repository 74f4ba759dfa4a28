"""A smear's report for people: text for a terminal, a table for a spreadsheet.

The numbers come from ``smear``; here they are only put into words, the decision first. File names
are foreign text: they are stripped of what could drive a terminal, and of what a spreadsheet would
run as a formula. The page with the gallery of cells is the business of ``smear_page``.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cellnet.cells import CLASSES, OTHER
from cellnet.foreign_text import printable
from cellnet.smear import INDETERMINATE, SUSPECTED, WHO_SHARE, SmearReport

__all__ = [
    "RESEARCH_USE",
    "TITLES",
    "cells_csv",
    "confidence_sentence",
    "decision_sentence",
    "percent",
    "predictions_csv",
    "predictions_text",
    "scale_end",
    "smear_text",
]

RESEARCH_USE = "Research use only: this is no diagnosis."

TITLES = {
    "mds-suspected": "MDS suspected",
    "no-dysplasia": "No dysplasia",
    "indeterminate": "Indeterminate",
}

_STYLES = {"mds-suspected": "1;31", "no-dysplasia": "1;32", "indeterminate": "1;33"}
_SHOWN_UNREADABLE = 10


def smear_text(
    report: SmearReport, *, width: int = 80, colour: bool = False, plain: bool = False
) -> str:
    """Write a smear's report for a terminal.

    Args:
        report: The report.
        width: Columns, at least 40.
        colour: Use ANSI colours.
        plain: Use ASCII alone.

    Returns:
        Lines, each ended.
    """
    pen = _Pen(max(width, 40), colour, plain)
    title = TITLES[report.decision]
    if report.decision != INDETERMINATE:
        title += f" ({report.confidence})"
    lines = [
        f"{pen.paint('1', printable(report.smear))}: {pen.paint(_STYLES[report.decision], title)}",
        *pen.wrap(decision_sentence(report)),
        *pen.wrap(confidence_sentence(report)),
    ]
    if report.dysplastic_fraction is not None:
        lines += ["", *_scale_lines(report, pen)]
    lines += ["", f"Differential of {_count(len(report.cells), 'cell')}"]
    lines += _differential_lines(report, pen)
    for name, found in report.specialist_counts.items():
        title = f"{_count(found['cells'], 'cell')} of the class {found['of']}, by {name}"
        lines += ["", *pen.wrap(printable(title)), *_count_lines(found, pen)]
    if report.warnings:
        lines += ["", pen.paint("33", "Warnings")]
        lines += [line for text in report.warnings for line in pen.item(printable(text))]
    if report.unreadable:
        lines += ["", f"Unreadable: {_count(len(report.unreadable), 'file')}"]
        lines += _unreadable_lines(report.unreadable, pen)
    lines += [
        "",
        *pen.wrap(
            f"A neutrophil is dysplastic at a granularity score of {report.cutoff:.6g} or less; "
            f"a smear is suspected above {percent(report.threshold)} of its neutrophils."
        ),
        *pen.wrap(
            "Models: "
            + ", ".join(
                f"{model['name']} {model['version']} ({model['sha256'][:12]})"
                for model in report.models.values()
            )
        ),
        RESEARCH_USE,
    ]
    return "\n".join(lines) + "\n"


def decision_sentence(report: SmearReport) -> str:
    """Say in one sentence what the decision rests on."""
    share, count = report.dysplastic_fraction, _count(report.neutrophils, "neutrophil")
    if share is None:
        return (
            f"There is no neutrophil among {_count(len(report.cells), 'cell')}; a decision needs "
            f"{report.min_neutrophils}."
        )
    found = f"{report.dysplastic} of {count} ({percent(share)}) dysplastic"
    if report.decision == INDETERMINATE:
        needed = f"{found}; a decision needs {report.min_neutrophils} neutrophils"
        if report.neutrophils < report.min_neutrophils:
            return f"{needed}."
        return (
            f"{needed}, and without repeated images there are {report.without_copies.neutrophils}."
        )
    relation = "above" if report.decision == SUSPECTED else "not above"
    return f"{found}, {relation} the threshold of {percent(report.threshold)}."


def confidence_sentence(report: SmearReport) -> str:
    """Say in one sentence where the interval lies."""
    interval = report.dysplastic_fraction_ci95
    if interval is None:
        return "Nothing is known of the dysplastic share."
    told = f"The 95 % interval of the share is {percent(interval[0])} to {percent(interval[1])}"
    if report.decision == INDETERMINATE:
        return f"{told}."
    if report.confidence == "clear":
        side = "above" if report.decision == SUSPECTED else "below"
        return f"{told}: all of it lies {side} the threshold."
    low, high = interval
    if low > report.threshold or high <= report.threshold:
        return f"{told}, but images repeat others: counted once each, they are too few to be sure."
    return f"{told}: the threshold lies within, so more neutrophils could change the decision."


def cells_csv(report: SmearReport) -> str:
    """Make a table of a smear: a header, then a row for each cell.

    A specialist's columns are empty where it was not asked about the cell.
    """
    header = ["file", "label", "probability", *CLASSES, "granularity", "dysplastic"]
    for one in report.specialists:
        name = safe_cell(one.name)
        header += [name, *(f"{name}: {column}" for column in ("probability", *one.classes))]
    rows = []
    for cell in report.cells:
        row = [
            safe_cell(cell.file),
            cell.label,
            cell.probability,
            *cell.probabilities,
            cell.granularity,
            cell.dysplastic,
        ]
        for one in report.specialists:
            said = cell.specialists.get(one.name)
            if said is None:
                row += [None] * (2 + len(one.classes))
            else:
                row += [said.label, said.probability, *said.probabilities.values()]
        rows.append(row)
    return _csv(header, rows)


def predictions_csv(document: Mapping[str, Any]) -> str:
    """Make a table of the document ``cellnet/predictions/1``: a row for each image answered."""
    rows = []
    header = ["file", "granularity", "dysplastic"]
    if "cutoff" not in document:
        header = ["file", "label", "probability", *_classes_of(document)]
    for cell in document["cells"]:
        values = {**cell, **cell.get("probabilities", {}), "file": safe_cell(cell["file"])}
        rows.append([values[name] for name in header])
    return _csv(header, rows)


def predictions_text(document: Mapping[str, Any], *, width: int = 80) -> str:
    """Write one network's answers for a terminal: a line for each image."""
    pen = _Pen(max(width, 40), False, False)
    cells = document["cells"]
    room = min(max(len(printable(cell["file"])) for cell in cells), max(width - 34, 12))
    if "cutoff" in document:
        lines = [f"{'file':<{room}}  granularity  at a cut-off of {document['cutoff']:.6g}"]
        answers = [
            f"{cell['granularity']:11.4f}  {'dysplastic' if cell['dysplastic'] else 'normal'}"
            for cell in cells
        ]
    else:
        wide = max(12, *(len(name) for name in _classes_of(document)))
        lines = [f"{'file':<{room}}  {'label':<{wide}}  probability"]
        answers = [f"{cell['label']:<{wide}}  {cell['probability']:11.4f}" for cell in cells]
    for cell, answer in zip(cells, answers, strict=True):
        lines.append(f"{_shorten(printable(cell['file']), room):<{room}}  {answer}")
    if document["unreadable"]:
        lines += ["", f"Unreadable: {_count(len(document['unreadable']), 'file')}"]
        lines += _unreadable_lines(document["unreadable"], pen)
    return "\n".join([*lines, "", RESEARCH_USE]) + "\n"


def percent(share: float) -> str:
    """Write a share with one decimal, such as ``12.3 %``."""
    return f"{100 * share:.1f} %"


def scale_end(report: SmearReport) -> float:
    """Choose where a scale of the dysplastic share should end, so that all its marks are on it."""
    interval = report.dysplastic_fraction_ci95 or (0.0, 1.0)
    most = max(interval[1], report.threshold, WHO_SHARE)
    return next((end for end in (0.25, 0.5) if most <= 0.95 * end), 1.0)


def safe_cell(text: str) -> str:
    """Make foreign text safe for a spreadsheet, which runs what begins like a formula."""
    text = printable(text)
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") else text


class _Pen:
    """Width, colours and characters of the terminal that is written for."""

    def __init__(self, width: int, colour: bool, plain: bool):
        self.width = width
        self.colour = colour
        self.bar, self.line, self.dot, self.axis = "#-o." if plain else "█━●·"
        self.bullet = "-" if plain else "•"

    def paint(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.colour else text

    def wrap(self, text: str, indent: str = "", first: str | None = None) -> list[str]:
        start = indent if first is None else first
        return textwrap.wrap(
            text,
            self.width,
            initial_indent=start,
            subsequent_indent=indent,
            break_on_hyphens=False,
        ) or [""]

    def item(self, text: str) -> list[str]:
        return self.wrap(text, "    ", f"  {self.bullet} ")


def _scale_lines(report: SmearReport, pen: _Pen) -> list[str]:
    """The share with its interval on a line, and under it the threshold and WHO's line."""
    end = scale_end(report)
    room = min(pen.width - 12, 60)
    low, high = report.dysplastic_fraction_ci95 or (0.0, 0.0)

    def place(share: float) -> int:
        return round(share / end * (room - 1))

    marks = [pen.axis] * room
    marks[place(low) : place(high) + 1] = pen.line * (place(high) - place(low) + 1)
    marks[place(report.dysplastic_fraction or 0.0)] = pen.dot
    style = _STYLES[report.decision].split(";")[1]
    lines = [f"  0 % {pen.paint(style, ''.join(marks))} {100 * end:.0f} %"]
    for share, name in sorted([(report.threshold, "threshold"), (WHO_SHARE, "WHO line")]):
        at = place(share)
        label = f"{name} {percent(share)}"
        text = f"{' ' * at}^ {label}" if at + len(label) + 2 <= room else (
            f"{' ' * (at - len(label) - 1)}{label} ^"
        )  # fmt: skip
        lines.append(f"      {text}")
    return lines


def _differential_lines(report: SmearReport, pen: _Pen) -> list[str]:
    entries = report.differential
    longest = max(entry["fraction"] for entry in entries.values()) or 1
    room = pen.width - 32
    lines = []
    for name in (*CLASSES, OTHER):
        count, share = entries[name]["count"], entries[name]["fraction"]
        bar = pen.bar * max(round(share / longest * room), 1 if count else 0)
        shown = f"  {name:<12} {count:5d}  {percent(share):>7}  {bar}"
        lines.append(shown.rstrip())
    return lines


def _count_lines(found: Mapping[str, Any], pen: _Pen) -> list[str]:
    """A line for each class of a specialist: how many cells, and their share."""
    wide = max(12, *(len(name) for name in found["counts"]))
    most = max(found["counts"].values()) or 1
    room = max(pen.width - 20 - wide, 1)
    lines = []
    for name, count in found["counts"].items():
        share = found["fractions"][name]
        bar = pen.bar * max(round(count / most * room), 1 if count else 0)
        told = "" if share is None else percent(share)
        lines.append(f"  {name:<{wide}} {count:5d}  {told:>7}  {bar}".rstrip())
    return lines


def _classes_of(document: Mapping[str, Any]) -> list[str]:
    """What the network of a document with names tells apart."""
    return list(document["cells"][0]["probabilities"])


def _unreadable_lines(entries: Sequence[Mapping[str, str]], pen: _Pen) -> list[str]:
    lines = []
    for entry in entries[:_SHOWN_UNREADABLE]:
        lines += pen.item(f"{printable(entry['file'])}: {printable(entry['reason'])}")
    if len(entries) > _SHOWN_UNREADABLE:
        lines += pen.item(f"and {len(entries) - _SHOWN_UNREADABLE} more, all of them in --json")
    return lines


def _csv(header: list[str], rows: list[list[Any]]) -> str:
    words = {True: "true", False: "false", None: ""}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([words[v] if v is None or isinstance(v, bool) else v for v in row])
    return stream.getvalue()


def _shorten(text: str, room: int) -> str:
    return text if len(text) <= room else f"...{text[len(text) - room + 3 :]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
