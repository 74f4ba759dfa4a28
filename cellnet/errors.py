"""The errors that a user can act on.

Every message states the rule, the value that broke it, the file and the remedy, on one line. The
command line prints it and exits 1; whatever is not one of these is a fault of the program and keeps
its traceback.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["CellnetError", "NoBetterThanGuessing", "RefusedUpload", "UnreadableImage"]


class CellnetError(Exception):
    """Something that was asked for cannot be done, and the message says why and what to do."""


class UnreadableImage(CellnetError):
    """A file that should be an image and cannot be used as one.

    Attributes:
        path: The file (or the name given with bytes that came from no file).
        reason: Why, in words for people, without the path: ``"the file is empty"``.
    """

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"cannot read the image {path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self):
        # The default would call the class with the message alone, and fail in a process pool.
        return type(self), (self.path, self.reason)


class NoBetterThanGuessing(CellnetError):
    """A network does not tell two kinds apart, so that no cut between them can be fitted."""


class RefusedUpload(CellnetError):
    """Something that was sent to the server and is not answered; the message is for who sent it.

    Attributes:
        status: The HTTP status that says so, such as 413.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
