"""What was measured of a bundle, kept beside its weights in ``metrics.json``.

An evaluation is kept under a name, as a summary: values with count, interval and method, split,
data, date, warnings; curves and lists of single cells stay in the full answer of ``evaluate``. The
file belongs to one set of weights, and what was measured of others is thrown away, with a warning.
How it is shown to people is left to ``card``.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

from cellnet.bundle import FILE as BUNDLE
from cellnet.bundle import Bundle, load
from cellnet.errors import CellnetError
from cellnet.outputs import write_text

__all__ = ["FILE", "SCHEMA", "check", "read_metrics", "record", "summarise"]

log = logging.getLogger(__name__)

SCHEMA = "cellnet/metrics/1"
FILE = "metrics.json"

# Too long for a summary, or said elsewhere in it.
_LEFT_OUT = frozenset(
    {
        "schema",
        "environment",
        "training",
        "published",
        "curve",
        "curves",
        "scores",
        "smears",
        "mistakes",
        "rows",
    }  # fmt: skip
)
_DIGITS = 6


def check(name: str, measured: str | Path | Bundle, into: str | Path | Bundle | None) -> Bundle:
    """Check, before hours of work, that an evaluation can be kept.

    Args:
        name: What to keep it under, such as ``pbc-test``.
        measured: The bundle to be measured.
        into: The bundle that keeps the result; None for the measured one. Another one must have
            the same network, for example its weights before they were quantised.

    Returns:
        The bundle that will keep it.

    Raises:
        CellnetError: The name does not hold, or the bundles have different networks.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise CellnetError(
            "an evaluation is recorded under a name of lower-case letters, digits, dots and "
            f"hyphens, got '{name}'"
        )
    measured = measured if isinstance(measured, Bundle) else load(measured)
    if into is None:
        return measured
    into = into if isinstance(into, Bundle) else load(into)
    for key in ("network", "output", "input"):
        if measured.description[key] != into.description[key]:
            raise CellnetError(
                f"what is measured of {measured.folder} cannot be recorded in {into.folder}: they "
                f"differ in '{key}', and only other weights of the same network may be compared"
            )
    return into


def record(
    result: dict[str, Any],
    name: str,
    measured: str | Path | Bundle,
    into: str | Path | Bundle | None = None,
    note: str = "",
) -> Path:
    """Keep an evaluation in a bundle's ``metrics.json``, in place of an older one of that name.

    Args:
        result: What `cellnet.evaluate.evaluate` returned.
        name: What to keep it under.
        measured: The bundle that was measured.
        into: The bundle that keeps the result; see `check`.
        note: What it was measured on, in a sentence for people.

    Returns:
        The file.

    Raises:
        CellnetError: The name does not hold, the bundles do not fit together, the result is of
            other weights, or the file cannot be read or written.
    """
    measured = measured if isinstance(measured, Bundle) else load(measured)
    keeper = check(name, measured, into)
    counts = (result.get("seen") or {}).get("model") or {}
    if any(counts.values()):
        raise CellnetError(
            f"{counts['train']} of the cells trained {measured.name} and {counts['validation']} "
            "chose its epoch: what was measured on them is not kept; measure it on cells that it "
            "has not seen ('cellnet data prepare --sides' keeps a division that was made before)"
        )
    if result["model"]["sha256"] != measured.sha256:
        raise CellnetError(
            f"the result is of the weights {result['model']['sha256'][:12]}..., but those of "
            f"{measured.folder} are {measured.sha256[:12]}...: measure them again"
        )
    evaluations = read_metrics(keeper)
    evaluations[name] = {
        "note": note,
        "quantisation": measured.description["weights"].get("quantisation"),
        **summarise(result),
    }
    document = {"schema": SCHEMA, "weights_sha256": keeper.sha256, "evaluations": evaluations}
    file = keeper.folder / FILE
    write_text(file, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    if keeper.description.get("metrics") != FILE:
        keeper.description["metrics"] = FILE
        write_text(keeper.folder / BUNDLE, json.dumps(keeper.description, indent=2) + "\n")
    return file


def read_metrics(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Read what was measured of a bundle.

    Returns:
        The evaluations by name, in the order in which they were first recorded; empty where there
        are none, or where they are of other weights (a warning says so).

    Raises:
        CellnetError: The file cannot be read or is no such file.
    """
    file = bundle.folder / FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CellnetError(f"cannot read {file}: {error}; remove it and measure again") from error
    if (
        not isinstance(document, dict)
        or document.get("schema") != SCHEMA
        or not isinstance(document.get("evaluations"), dict)
        or not isinstance(document.get("weights_sha256"), str)
    ):
        raise CellnetError(f"{file} breaks the schema {SCHEMA}; remove it and measure again")
    if document["weights_sha256"] != bundle.sha256:
        log.warning(
            "%s is of other weights (%s..., those at hand are %s...), so its %d evaluations are "
            "left out: measure again",
            file,
            document["weights_sha256"][:12],
            bundle.sha256[:12],
            len(document["evaluations"]),
        )
        return {}
    return document["evaluations"]


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """Shorten an evaluation to what a card needs; floats keep six decimals.

    Args:
        result: What `cellnet.evaluate.evaluate` returned.

    Returns:
        Plain JSON values; ``unreadable`` is a count.
    """
    return _shortened({**result, "unreadable": len(result["unreadable"])})


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _shortened(inner)
            for key, inner in value.items()
            # "rows" are the bins of a calibration, but the names of a confusion matrix.
            if key not in _LEFT_OUT or (key == "rows" and "counts" in value)
        }
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return round(value, _DIGITS) if isinstance(value, float) else value
