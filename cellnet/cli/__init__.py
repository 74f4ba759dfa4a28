"""The command line: what can be typed, and how a run ends.

Each module of this package is a subject: the parsers of its commands, and for each command the
few lines that call one public function. Answers go to standard output, everything else to standard
error. What a command needs is imported when it runs, so that ``cellnet --help`` costs milliseconds.
Exit status: 0 answered (whatever the answer), 1 could not answer (one line says why), 2 wrong
usage, 130 interrupted, 141 the reader of the answer has gone, 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from cellnet import __version__
from cellnet.cli import (
    data,
    explaining,
    exporting,
    measuring,
    predicting,
    serving,
    training,
    verifying,
)
from cellnet.cli.streams import say, set_up_streams
from cellnet.errors import CellnetError
from cellnet.foreign_text import printable

__all__ = ["build_parser", "main"]

# In the order of `cellnet --help`.
_SUBJECTS = (
    predicting,
    data,
    training,
    measuring,
    verifying,
    explaining,
    exporting,
    serving,
)

# What the extras bring, by the name that is imported: the first that has it is named.
_EXTRAS = {
    "train": "h5py keras matplotlib pandas pydantic scipy seaborn skops sklearn tensorboard "
    "tensorflow",
    "serve": "fastapi python_multipart starlette uvicorn",
    "ray": "ray",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: What was typed after ``cellnet``; None for this process's own arguments.

    Returns:
        The exit status.
    """
    try:
        _end_on_termination()
        arguments = build_parser().parse_args(argv)
        set_up_streams(arguments.verbose)
        return arguments.command(arguments)
    except CellnetError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        extra = next((name for name, held in _EXTRAS.items() if missing in held.split()), None)
        if extra is None:
            raise
        return _fail(
            f"this needs {missing}, which is not installed; install the extra '{extra}': "
            f"pip install 'cellnet[{extra}]'"
        )
    except KeyboardInterrupt:
        say("cellnet: interrupted")
        return 130
    except BrokenPipeError:
        # The reader has gone, for example `head`. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None:
            return _fail(f"{error.filename}: {error.strerror}")
        if error.errno is None:
            raise
        return _fail(f"the system refused something that is needed: {error.strerror}")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = _Parser(
        prog="cellnet",
        description="Names the cells of a blood smear and judges whether its neutrophils are "
        "hypogranulated. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"cellnet {__version__}")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subject in _SUBJECTS:
        subject.add(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Like its base; what was typed is cleaned before an error repeats it."""

    def error(self, message: str) -> NoReturn:
        super().error(" ".join(map(printable, message.splitlines())))


def _end_on_termination() -> None:
    """Let a polite kill unwind the program, so that folders half made are taken away."""

    def end(*_: object) -> NoReturn:
        sys.exit(143)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def _fail(message: str) -> int:
    say(f"cellnet: error: {message}")
    return 1
