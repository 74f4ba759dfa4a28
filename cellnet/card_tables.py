"""Recorded evaluations as lines and Markdown tables, for cards and the README.

Pure functions of what ``record`` keeps: every number stands with its count, split and interval, and
every caution that the evaluation gave is repeated. Which file they go into is left to ``card``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cellnet.operating_point import OperatingPoint

__all__ = ["headlines", "measured_text", "share", "spell", "table"]

_WAYS = {
    "smears_as_run": "smears, as the program runs (neutrophils that Model 1 names)",
    "smears_by_known_neutrophils": "smears, over the manifest's own neutrophils",
}
_HASH = 12  # digits of a SHA-256 that people are shown

Entry = dict[str, Any]
Line = tuple[str, str, str]


def headlines(name: str, entry: Entry) -> list[Line]:
    """What was measured on, how much of it, and the chief results, for one evaluation.

    Args:
        name: Of the evaluation.
        entry: What `cellnet.record.summarise` made of it.

    Returns:
        A line for each set of the evaluation.
    """
    what = entry.get("note") or f"`{entry['data']['manifest']}`"
    if entry["kind"] == "classes":
        return [(f"{what} (`{entry['split']}`)", f"{entry['n']:,} cells", _class_line(entry))]
    lines = []
    for split, found in entry["sets"].items():
        place = f"{what} (`{split}`{_fitted_here(entry, split)})"
        smears = found.get("smears_as_run") or found.get("smears_by_known_neutrophils")
        if smears:
            lines.append((place, f"{smears['n']} smears", _smear_line(smears)))
        elif "cells" in found:
            lines.append((place, f"{found['cells']['n']:,} cells", _cell_line(found["cells"])))
    return lines


def measured_text(
    evaluations: dict[str, Entry], sha256: str, point: OperatingPoint | None = None
) -> str:
    """Write all that was measured of a bundle.

    Args:
        evaluations: By name, as `cellnet.record.read_metrics` returns them.
        sha256: Hash of the bundle's weights; evaluations of others are there for comparison.
        point: The bundle's operating point, where it has one.

    Returns:
        Markdown: a table of the chief results, then each evaluation in full.
    """
    if not evaluations:
        return "Nothing has been measured with these weights."
    rows, compared, parts = [], [], []
    for name, entry in evaluations.items():
        if entry["model"]["sha256"] == sha256:
            rows += [(f"[{name}](#{_anchor(name)})", *line) for line in headlines(name, entry)]
            parts.append(_evaluation(name, entry, point))
        else:
            compared.append(_comparison(name, entry, evaluations, sha256))
    text = [table(["evaluation", "on", "n", "result (95 % interval)"], rows, right=(2,))]
    if compared:
        text.append("**What storing the weights smaller costs**, on the same cells:")
        text.append("\n".join(f"- {line}" for line in compared))
    return "\n\n".join([*text, *parts])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Write a Markdown table; columns of the numbers ``right`` are set to the right."""
    right = set(right)
    marks = ["---:" if number in right else "---" for number in range(len(head))]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        for row in (head, marks, *rows)
    )


def share(value: float | Sequence[float] | None) -> str:
    """A share in percent, or the ends of its interval; 100 % is written for exactly 1 alone."""
    if value is None:
        return "not measurable"
    if not isinstance(value, (int, float)):
        return " to ".join(share(end).removesuffix(" %") for end in value)
    if value in (0, 1):
        return f"{100 * value:.0f} %"
    digits = 1
    while digits < 4 and float(f"{100 * value:.{digits}f}") in (0, 100):
        digits += 1
    return f"{100 * value:.{digits}f} %"


def spell(value: Any) -> str:
    """A setting for people: ``0.85 to 1.5`` for a range, ``3`` for 3.0."""
    if isinstance(value, (list, tuple)):
        return " to ".join(spell(inner) for inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- the chief results -------------------------------------------------------------------------


def _class_line(entry: Entry) -> str:
    present = entry["classes_with_cells"]
    if len(present) == 1:
        parts = [f"called {present[0]}: {_both(entry['per_class'][present[0]]['sensitivity'])}"]
        parts += [
            f"{found['name'].partition(': ')[2]}: {_both(found['accuracy'])} "
            f"of {found['accuracy']['n']:,}"
            for found in entry["subsets"]
            if found["by"] == "granules"
        ]
        return "; ".join(parts)
    forced = entry["rules"].get("forced")
    if forced:
        free = entry["rules"]["free"]
        return (
            f"balanced accuracy forced among {len(entry['among'])} "
            f"{_both(forced['balanced_accuracy'])}, free among eight "
            f"{_both(free['balanced_accuracy'])}"
        )
    return (
        f"balanced accuracy {_both(entry['balanced_accuracy'])}; accuracy "
        f"{_both(entry['accuracy'])}"
    )


def _cell_line(cells: Entry) -> str:
    within = cells["rank_correlation"]["within_a_source_cell"]
    if cells["between"] and within:
        return (
            f"rank correlation within a cell {_both(within, _number)}; AUC of untouched against "
            f"3/4 and more {_both(cells['untouched_against_three_quarters'], _number)}"
        )
    return (
        f"balanced accuracy {_both(cells['balanced_accuracy'])}; sensitivity "
        f"{_both(cells['sensitivity'])}, specificity {_both(cells['specificity'])}; AUC "
        f"{_both(cells['auc'], _number)}"
    )


def _smear_line(smears: Entry) -> str:
    told = (
        f"sensitivity {_both(smears['sensitivity'])} of {smears['sensitivity']['n']} MDS smears, "
        f"specificity {_both(smears['specificity'])} of {smears['specificity']['n']} healthy; AUC "
        f"{_both(smears['auc'], _number)}"
    )
    if smears["indeterminate"]:
        told += f"; {smears['indeterminate']} indeterminate"
    return told


def _comparison(name: str, entry: Entry, evaluations: dict[str, Entry], sha256: str) -> str:
    """One evaluation of other weights of the same network, beside that of the bundle's own."""
    told = f"`{name}` ({entry['quantisation']}, weights `{entry['model']['sha256'][:_HASH]}`)"
    for other, own in evaluations.items():
        same = all(own.get(key) == entry.get(key) for key in ("kind", "split", "n", "among"))
        if not same or own["model"]["sha256"] != sha256:
            continue
        if own["data"].get("manifest_sha256") != entry["data"].get("manifest_sha256"):
            continue
        if entry["kind"] != "classes":
            break
        before, after = entry["balanced_accuracy"], own["balanced_accuracy"]
        loss = 100 * (before["value"] - after["value"])
        verdict = f"{abs(loss):.2f} percentage points {'lost' if loss > 0 else 'gained'}"
        return (
            f"{told}: balanced accuracy {_both(before, _fine)}, against {_both(after, _fine)} of "
            f"`{other}` ({own['quantisation']}), n = {entry['n']:,}: "
            f"{'the same' if round(abs(loss), 2) == 0 else verdict}"
        )
    return f"{told}: {'; '.join(' '.join(line) for line in headlines(name, entry))}"


# --- an evaluation in full ---------------------------------------------------------------------


def _evaluation(name: str, entry: Entry, point: OperatingPoint | None) -> str:
    parts = [f"### {name}", "\n".join(f"- {line}" for line in _conditions(entry, point))]
    if entry["kind"] == "classes":
        parts += _classes(entry)
    else:
        for split, found in entry["sets"].items():
            for way, title in _WAYS.items():
                if way in found:
                    parts += [f"`{split}`, {title}; {found[way]['rule']}:", _smears(found[way])]
            if "cells" in found:
                tied = _tied(found["cells"].get("groups"))
                title = f"`{split}`, cells{tied}; {found['cells']['rule']}:"
                parts += [title, _cells(found["cells"])]
    return "\n\n".join(parts)


def _conditions(entry: Entry, point: OperatingPoint | None) -> list[str]:
    data = entry["data"]
    told = [f"`{data['manifest']}`"]
    if data.get("manifest_sha256"):
        told.append(f"SHA-256 `{data['manifest_sha256'][:_HASH]}`")
    told += [f"{key} {data[key]}" for key in ("adapter", "seed") if data.get(key) is not None]
    if data.get("dropped"):
        dropped = data["dropped"]
        told.append(
            "left out beforehand: "
            + (", ".join(f"{count} {reason}" for reason, count in dropped.items())
               if isinstance(dropped, dict) else str(dropped))
        )  # fmt: skip
    lines = [f"Data: {', '.join(told)}. {'; '.join(data.get('sources', []))}".rstrip()]
    if entry.get("note"):
        lines.insert(0, f"{entry['note']}.")
    lines.append(f"Split `{entry['split']}`, n = {entry['n']:,} cells{_tied(entry.get('groups'))}.")
    lines.append(
        f"Measured {entry['created'][:10]} with cellnet {entry['cellnet']}, weights "
        f"`{entry['model']['sha256'][:_HASH]}` ({entry['quantisation']})."
    )
    if entry.get("classifier"):
        used = entry["classifier"]
        lines.append(f"Neutrophils of smears named by {used['name']} `{used['sha256'][:_HASH]}`.")
    if entry["unreadable"]:
        lines.append(f"{entry['unreadable']} files could not be used.")
    used_point = entry.get("operating_point")
    if used_point and point is not None and used_point["created"] != point.created:
        lines.append(
            f"**Measured at another operating point** (cut-off {used_point['cutoff']:.4f}, "
            f"threshold {used_point['threshold']:.4f}, fitted {used_point['created']})."
        )
    return [*lines, *(f"Caution: {text}." for text in entry["warnings"])]


def _tied(groups: dict[str, Any] | None) -> str:
    """What intervals take as the unit."""
    if groups is None:
        return ""
    if not groups["by"]:
        return "; intervals take cells as independent"
    return f"; intervals take each of {groups['n']:,} {groups['by'].replace('_', ' ')}s as the unit"


def _classes(entry: Entry) -> list[str]:
    rows = [
        _row("balanced accuracy", entry["balanced_accuracy"]),
        _row("accuracy", entry["accuracy"]),
        _row("called other (never right)", entry["other"]),
    ]
    for name, found in entry["rules"].items():
        rows.append(_row(f"balanced accuracy, {name}: {found['rule']}", found["balanced_accuracy"]))
        rows.append(_row(f"accuracy, {name}", found["accuracy"]))
    error = entry["calibration"]["expected_calibration_error"]
    parts = [
        f"A cell is named by: {entry['rule']}, where no other rule is given.",
        table(["measure", "value", "95 % interval", "n"], rows, right=(1, 3)),
        f"Expected calibration error of the probability: {share(error)} "
        f"({entry['calibration']['bins']} bins).",
    ]
    forced = entry["rules"].get("forced")
    if forced:
        free = entry["rules"]["free"]
        rows = [
            [name, f"{found['n']:,}", _both(found), _both(free["sensitivity"][name])]
            for name, found in forced["sensitivity"].items()
        ]
        head = ["class", "cells", "sensitivity, forced", "sensitivity, free"]
        parts.append(table(head, rows, right=(1,)))
    elif len(entry["classes_with_cells"]) > 1:
        rows = []
        for name in entry["classes_with_cells"]:
            found = entry["per_class"][name]
            shares = [_both(found[key]) for key in ("sensitivity", "specificity", "precision")]
            rows.append([name, f"{found['cells']:,}", *shares, _both(found["f1"]),
                         _both(found["auc"], _number)])  # fmt: skip
        head = ["class", "cells", "sensitivity", "specificity", "precision", "F1", "AUC"]
        parts.append(table(head, rows, right=(1,)))
    if entry["subsets"]:
        rows = [
            [f"{found['by']}: {found['name']}", f"{found['accuracy']['n']:,}",
             _both(found["accuracy"])]
            for found in entry["subsets"]
        ]  # fmt: skip
        parts.append(table(["of these", "cells", "named rightly"], rows, right=(1,)))
    return parts


def _cells(cells: Entry) -> str:
    counts = f"{cells['dysplastic']:,} dysplastic, {cells['normal']:,} normal"
    if cells["between"]:
        counts += f", {cells['between']:,} between (in the rank correlations alone)"
    rows = [
        ["cells", counts, "", f"{cells['n']:,}"],
        *(_row(key.replace("_", " "), cells[key])
          for key in ("balanced_accuracy", "accuracy", "sensitivity", "specificity")),
        _row("AUC, dysplastic against normal", cells["auc"], _number),
    ]  # fmt: skip
    if cells["untouched_against_three_quarters"]["value"] is not None:
        rows.append(_row("AUC, untouched against 3/4 and more suppressed",
                         cells["untouched_against_three_quarters"], _number))  # fmt: skip
    within = cells["rank_correlation"]["within_a_source_cell"]
    if within and within["value"] is not None:
        rows.append(_row("rank correlation of score and granules left, within a source cell",
                         within, _number))  # fmt: skip
    every = cells["rank_correlation"]["all_cells"]
    if every["value"] is not None:
        rows.append(["rank correlation, all cells", _number(every["value"]), "", f"{every['n']:,}"])
    return table(["measure", "value", "95 % interval", "n"], rows, right=(1, 3))


def _smears(smears: Entry) -> str:
    counts = f"{smears['mds']} MDS, {smears['healthy']} healthy"
    rows = [
        ["smears", counts, "", str(smears["n"])],
        ["indeterminate", str(smears["indeterminate"]), "", str(smears["n"])],
        *(_row(key.replace("_", " "), smears[key])
          for key in ("sensitivity", "specificity", "balanced_accuracy", "accuracy")),
        _row("AUC of the dysplastic share", smears["auc"], _number),
    ]  # fmt: skip
    return table(["measure", "value", "95 % interval", "n"], rows, right=(1, 3))


def _row(title: str, found: Entry, write=share) -> list[str]:
    ends = found["ci95"]
    span = "" if ends is None else " to ".join(write(end).removesuffix(" %") for end in ends)
    return [title, write(found["value"]), span, f"{found['n']:,}"]


def _both(found: Entry, write=share) -> str:
    if found["value"] is None or found["ci95"] is None:
        return write(found["value"])
    ends = " to ".join(write(end).removesuffix(" %") for end in found["ci95"])
    return f"{write(found['value'])} ({ends})"


def _number(value: float | None) -> str:
    if value is None:
        return "not measurable"
    return "> 0.9999" if 0.99995 <= value < 1 else f"{value:.4f}"


def _fine(value: float | None) -> str:
    return "not measurable" if value is None else f"{100 * value:.2f} %"


def _fitted_here(entry: Entry, split: str) -> str:
    is_fitted = any(f"fitted on this very split ({split})" in text for text in entry["warnings"])
    return ", on which it was fitted" if is_fitted else ""


def _anchor(name: str) -> str:
    """The anchor of a heading ``### name``, as code-hosting sites make it."""
    return name.replace(".", "")
