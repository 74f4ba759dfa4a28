"""How answers are written: JSON or text on standard output, files, what could not be read."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellnet.errors import CellnetError
from cellnet.foreign_text import printable

__all__ = ["print_json", "print_text", "put", "terminal", "warn_unreadable", "write"]

log = logging.getLogger(__name__)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document."""
    put(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_text(text: str) -> None:
    """Print lines for people; names in them must not drive the terminal."""
    put("\n".join(map(printable, text.rstrip("\n").split("\n"))) + "\n")


def put(text: str) -> None:
    """Print text as it is, and see that it arrives.

    Raises:
        CellnetError: It cannot be written, for example because the disk is full.
        BrokenPipeError: Its reader has gone.
    """
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CellnetError(f"cannot write to standard output: {error.strerror}") from error


def terminal() -> dict[str, Any]:
    """How to write for whoever reads standard output: see `report.smear_text`."""
    is_terminal = sys.stdout.isatty()
    try:
        "█━●·•".encode(sys.stdout.encoding or "ascii")
        plain = False
    except (UnicodeEncodeError, LookupError):
        plain = True
    return {
        "width": min(shutil.get_terminal_size((80, 24)).columns, 100) if is_terminal else 80,
        "colour": is_terminal and not os.environ.get("NO_COLOR"),
        "plain": plain,
    }


def warn_unreadable(entries: Sequence[Mapping[str, str]]) -> None:
    """Say on standard error which files gave no answer, and why."""
    for entry in entries:
        log.warning("unreadable: %s: %s", entry["file"], entry["reason"])


def write(file: Path, text: str) -> None:
    """Write a whole file and say so on standard error."""
    from cellnet.outputs import write_text

    write_text(file, text)
    log.info("wrote %s", file)
