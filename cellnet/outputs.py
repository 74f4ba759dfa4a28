"""Files and folders that a command writes: checked before the work, written whole or not at all.

A folder that is filled over hours is held by one process at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from cellnet.errors import CellnetError

__all__ = ["check_writable", "hold", "new_folder", "write_text"]

log = logging.getLogger(__name__)

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")

_FILE, _FOLDER = ".part", ".partial"  # how what is being made is called
_OLD = "old"  # what a new folder replaces stands there for a moment


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
        if _is_special(file) or _descriptor(file) is not None:
            continue
        if file.is_dir():
            raise CellnetError(f"cannot write {file}: it is a folder; give a file's name")
        if not file.parent.is_dir():
            raise CellnetError(f"cannot write {file}: there is no folder {file.parent}; make it")
        with _told(file), _beside(file) as (part, _):
            part.unlink()


def write_text(file: Path, text: str, private: bool = False) -> None:
    """Write a text file as UTF-8; an older file stays until the new one is complete.

    A link is written through, and what is no file is written to, not replaced: a pipe, a device,
    ``/dev/stdout`` even where the shell sends it to a file.

    Args:
        file: Where.
        text: What.
        private: Nobody but the owner may read a file that is made.

    Raises:
        CellnetError: It cannot be written, for example because the disk is full.
    """
    with _told(file):
        number = _descriptor(file)
        if number is not None:
            sys.stdout.flush()
            with open(os.dup(number), "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            return
        if _is_special(file):
            with file.open("w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            return
        with _beside(file) as (part, stream):
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
            if file.exists():
                part.chmod(file.stat().st_mode & 0o777)
            elif not private:  # it is made so
                part.chmod(0o666 & ~_umask())
            os.replace(part, file.resolve())


@contextlib.contextmanager
def new_folder(
    out: str | os.PathLike[str], replaces: Callable[[Path], bool] = lambda _: False
) -> Iterator[Path]:
    """Give a folder to fill, which becomes `out` at the end, or vanishes on an error.

    What runs that were killed have left beside `out` is removed first, and told.

    Args:
        out: Folder to be; new, or an empty one.
        replaces: Whether a folder that is there makes room when the new one is whole; by default
            none does. Where a run is killed in the very moment between, the next call puts the old
            one back.

    Yields:
        A folder within a hidden one beside it.

    Raises:
        CellnetError: There is something in `out` already that is not to be replaced, no folder
            can be made, or the disk is full before the folder is.
    """
    out = Path(out)
    _sweep(out, _FOLDER)
    is_folder = out.is_dir() and not out.is_symlink()
    has_room = not any(out.iterdir()) if is_folder else not os.path.lexists(out)
    makes_room = is_folder and not has_room and replaces(out)
    if not (has_room or makes_room):
        raise CellnetError(
            f"the output folder must be new or empty, {out} is not; choose another or remove it"
        )
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside, lock = _own(out, _FOLDER)
    except OSError as error:
        raise CellnetError(f"cannot make a folder in {out.parent}: {error.strerror}") from error
    with lock:
        try:
            fresh = aside / "new"
            fresh.mkdir()
            with _full_disk_told(out):
                yield fresh
            with _told(out):
                if makes_room and out.exists():
                    os.replace(out, aside / _OLD)
                os.replace(fresh, out)  # replaces an empty folder too
        finally:
            _put_back(aside, out)
            shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def hold(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder for this process; the lock (``.lock``) falls with the process.

    Args:
        folder: An existing folder.
        doing: What a process does that holds it, such as ``trains``, for the message.

    Raises:
        CellnetError: Another process holds it, or the lock cannot be written.
    """
    file = folder / ".lock"
    with _told(file):
        stream = file.open("w")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CellnetError(f"another process {doing} in {folder}") from error
        yield


def _is_special(file: Path) -> bool:
    return file.exists() and not file.is_file() and not file.is_dir()


def _descriptor(file: Path) -> int | None:
    """The open file of this process that a place stands for.

    It is written to where it stands: to open its name again would cut off what it holds, and a
    replacement would leave standard output without a name.
    """
    path = os.path.abspath(file)
    for _ in range(10):  # /dev/stdout leads to /proc/self/fd/1
        found = _DESCRIPTOR.fullmatch(path)
        if found:
            return int(found[1])
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(number), os.stat(file)):
                return number
    return None


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CellnetError(f"cannot write {file}: {error.strerror or error}") from error


@contextlib.contextmanager
def _full_disk_told(out: Path) -> Iterator[None]:
    """Name the folder where what fills it only says that there is no room, and not for what."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise CellnetError(
            f"cannot write {out}: {error.strerror}; nothing is left of it"
        ) from error


@contextlib.contextmanager
def _beside(file: Path) -> Iterator[tuple[Path, IO[str]]]:
    """A new file in the folder of the one to come; removed unless it has been moved away."""
    home = file.resolve()
    _sweep(home, _FILE)
    part, stream = _own(home, _FILE)
    try:
        with stream:
            yield part, stream
    finally:
        part.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    return f".{target.name[:100]}."


def _own(target: Path, suffix: str) -> tuple[Path, IO[str]]:
    """Make a hidden file or folder beside a target, and lock it for this process.

    Returns:
        It, and the locked stream: of the file itself, or of a file ``.lock`` in the folder. The
        lock falls with the process, however that ends.
    """
    while True:
        how = {"dir": target.parent, "prefix": _prefix(target), "suffix": suffix}
        try:
            if suffix == _FOLDER:
                place = Path(tempfile.mkdtemp(**how))
                locked = place / ".lock"
                number = os.open(locked, os.O_RDWR | os.O_CREAT, 0o600)
            else:
                number, name = tempfile.mkstemp(**how)
                place = locked = Path(name)
            stream = open(number, "w", encoding="utf-8", newline="")
            with contextlib.suppress(OSError):  # without locks, nobody sweeps there either
                fcntl.flock(stream, fcntl.LOCK_EX)
            # Another process may have swept it away between making and locking.
            if os.path.samestat(os.fstat(number), locked.stat()):
                return place, stream
            stream.close()
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise


def _sweep(target: Path, suffix: str) -> None:
    """Remove what runs that were killed have left beside a target; what is in use stays."""
    pattern = re.compile(re.escape(_prefix(target)) + "[a-z0-9_]{8}" + re.escape(suffix))
    try:
        left = [it for it in os.scandir(target.parent) if pattern.fullmatch(it.name)]
    except OSError:
        return
    for entry in left:
        place = Path(entry.path)
        if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
            continue
        locked = place / ".lock" if suffix == _FOLDER else place
        try:
            with locked.open("ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # It may have become whole, or been swept away, between opening and locking.
                if not os.path.samestat(os.fstat(stream.fileno()), locked.stat()):
                    continue
                if suffix == _FOLDER:
                    _put_back(place, target)
                    shutil.rmtree(place)
                else:
                    place.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue
        except OSError as error:
            log.warning(
                "%s may be what a killed run has left and cannot be removed (%s); remove it if no "
                "other run writes %s",
                place,
                error.strerror,
                target,
            )
            continue
        log.warning("removed %s, which a killed run had left", place)


def _put_back(aside: Path, target: Path) -> None:
    """Put back what was to be replaced, where nothing has come in its place."""
    if (aside / _OLD).exists() and not target.exists():
        os.replace(aside / _OLD, target)


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
