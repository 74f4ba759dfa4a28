"""Standard error: lines for people."""

from __future__ import annotations

import logging
import sys

from cellnet.foreign_text import printable

__all__ = ["say", "set_up_streams"]


class _StandardError(logging.Handler):
    """Log lines for people: ``cellnet: warning: ...``, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"cellnet: {level}{record.getMessage()}"
        bars = sys.modules.get("tqdm")
        if bars is None:
            say(line)
        else:
            with bars.tqdm.external_write_mode(file=sys.stderr):
                say(line)


def set_up_streams(verbose: bool) -> None:
    """Send log lines to standard error; more of them where the user asked for more."""
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal lacks is no reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("cellnet").setLevel(logging.DEBUG if verbose else logging.INFO)
    # At the root: libraries that find none there put their own, and each line would be said twice.
    root = logging.getLogger()
    if not any(isinstance(handler, _StandardError) for handler in root.handlers):
        root.addHandler(_StandardError())


def say(line: str) -> None:
    """Print one line on standard error, where anybody listens."""
    try:
        # Names of files are foreign text; one of them must not drive the terminal.
        print(printable(" ".join(line.splitlines())), file=sys.stderr, flush=True)
    except OSError:  # nobody listens
        pass
