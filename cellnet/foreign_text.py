"""Foreign text made safe to show: names of files and folders, and what is told about them.

A name may hold whatever its file system takes: control characters that drive a terminal, bytes that
are no text. Text for people passes through here; JSON keeps names as they are. No other module is
imported, so that the command line can clean its errors at no cost.
"""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""Replace bytes that are no UTF-8 and control characters, line ends among them.

    Example:
        >>> printable("a\x1b[31m.jpg")
        'a�[31m.jpg'
    """
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a surrogate pair; no character for people either
        pass
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)
