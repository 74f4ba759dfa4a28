"""Files that a command was asked to write: checked before the work, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cellnet.errors import CellnetError

__all__ = ["check_writable", "write_text"]


def check_writable(*files: Path | None) -> None:
    """Check that files can be written, so that long work is not done for nothing.

    Args:
        *files: Places of files to come; None is passed over.

    Raises:
        CellnetError: A folder is missing or cannot be written to, a place is a folder, or two are
            the same.
    """
    seen: set[Path] = set()
    for file in files:
        if file is None:
            continue
        if file.resolve() in seen:
            raise CellnetError(f"two outputs would be written to {file}; give each its own file")
        seen.add(file.resolve())
        if _is_special(file):
            continue
        if file.is_dir():
            raise CellnetError(f"cannot write {file}: it is a folder; give a file's name")
        if not file.parent.is_dir():
            raise CellnetError(f"cannot write {file}: there is no folder {file.parent}; make it")
        with _told(file), _beside(file) as (part, _):
            part.unlink()


def write_text(file: Path, text: str) -> None:
    """Write a text file as UTF-8; an older file stays until the new one is complete.

    Raises:
        CellnetError: It cannot be written, for example because the disk is full.
    """
    with _told(file):
        if _is_special(file):  # /dev/stdout, a pipe: nothing to replace
            with file.open("w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            return
        with _beside(file) as (part, stream):
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
            mode = file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask()
            part.chmod(mode)
            # A link is written through, not replaced.
            os.replace(part, file.resolve())


def _is_special(file: Path) -> bool:
    return file.exists() and not file.is_file() and not file.is_dir()


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CellnetError(f"cannot write {file}: {error.strerror or error}") from error


@contextlib.contextmanager
def _beside(file: Path) -> Iterator[tuple[Path, IO[str]]]:
    """A new file in the folder of the one to come; removed unless it has been moved away."""
    home = file.resolve()
    number, name = tempfile.mkstemp(dir=home.parent, prefix=f".{home.name[:100]}.", suffix=".part")
    part = Path(name)
    try:
        with open(number, "w", encoding="utf-8", newline="") as stream:
            yield part, stream
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
