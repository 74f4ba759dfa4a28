"""The file of a cohort's results: JSON lines that survive an interruption, for one run at a time.

A line is complete when it ends; what a killed run left behind its last line is cut off, lines of
smears that could not be judged are taken out so that they are tried again, and reports stay byte
for byte. A file made with other models or another operating point is refused, as is one that this
program did not write. What the lines say is the business of ``smear``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cellnet.errors import CellnetError
from cellnet.smear import SCHEMA

__all__ = ["CONTENTS", "ERROR_SCHEMA", "Images", "ResultsFile", "of_contents", "of_files"]

ERROR_SCHEMA = "cellnet/smear-error/1"

CONTENTS = "images_sha256"
"""The key of a line that binds its report to the contents of the images: `of_contents`."""

_BEGINS = b'{"schema": "cellnet/smear-'


@dataclass(frozen=True, slots=True)
class Images:
    """Which images a report was made of, in a few bytes, so that a cohort's fit in memory.

    Attributes:
        names: `of_files` of their names.
        contents: `of_contents`; None in a line that was written before these were kept.
    """

    names: bytes
    contents: str | None


class ResultsFile:
    """A JSON lines file, locked, checked and open for more.

    Args:
        file: Where it is, or will be.
        made_with: Keys and values that every report in it must have: models, cut-off, ...

    Attributes:
        done: By name of each smear whose report is in it: its images.
    """

    def __init__(self, file: Path, made_with: Mapping[str, Any]):
        self.file = file
        self.done: dict[str, Images] = {}
        self._made_with = json.loads(json.dumps(made_with))
        self._stream: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> ResultsFile:
        if self.file.exists() and not self.file.is_file():
            what = "a folder" if self.file.is_dir() else "no plain file"
            raise CellnetError(f"cannot write results to {self.file}: it is {what}")
        if not self.file.parent.is_dir():
            raise CellnetError(
                f"cannot write results to {self.file}: there is no folder {self.file.parent}; "
                "make it"
            )
        try:
            self._take_lock()
            self._mend()
            self._stream = self.file.open("ab")
        except OSError as error:
            self._release()
            raise self._unwritable(error) from error
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._stream is not None:
                self._stream.close()
        except OSError as failure:
            if error is None:
                raise self._unwritable(failure) from failure
        finally:
            self._release()

    def append(self, document: Mapping[str, Any]) -> None:
        """Write one line, and hand it to the system at once.

        Raises:
            CellnetError: It cannot be written; what is there stays, and the run can be taken up.
        """
        line = json.dumps(document, allow_nan=False).encode() + b"\n"
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def append_error(self, smear: str, error: str) -> None:
        """Write the line of a smear that could not be judged."""
        self.append({"schema": ERROR_SCHEMA, "smear": smear, "error": error})

    def _unwritable(self, error: OSError) -> CellnetError:
        return CellnetError(
            f"cannot write results to {self.file}: {error.strerror or error}; "
            "the same command goes on where it stopped"
        )

    def _take_lock(self) -> None:
        """Lock a file beside the results; they themselves may be replaced while mending."""
        import fcntl

        place = self.file.with_name(self.file.name + ".lock")
        while True:
            lock = place.open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise CellnetError(
                    f"another run is writing {self.file}; wait for it, or choose another --out"
                ) from None
            # The run before may have removed it between the opening and the locking.
            try:
                if os.path.samestat(os.fstat(lock.fileno()), place.stat()):
                    self._lock = lock
                    return
            except FileNotFoundError:
                pass
            lock.close()

    def _release(self) -> None:
        if self._lock is not None:
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _mend(self) -> None:
        """Read what is there; take out unfinished and failed lines."""
        if not self.file.exists():
            return
        keep: list[tuple[int, int]] = []  # where runs of lines that stay begin and end
        position = 0
        with self.file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                begin, position = position, position + len(line)
                if self._stays(line, number):
                    if keep and keep[-1][1] == begin:
                        begin = keep.pop()[0]
                    keep.append((begin, position))
                elif not line.endswith(b"\n"):
                    break
            ended = position == 0 or line.endswith(b"\n")
        if keep == [(0, position)] and ended or position == 0:
            return
        part = self.file.with_name(f".{self.file.name}.part")
        try:
            with self.file.open("rb") as old, part.open("wb") as new:
                for begin, end in keep:
                    old.seek(begin)
                    _copy(old, new, end - begin)
                if keep and keep[-1][1] == position and not ended:
                    new.write(b"\n")
                new.flush()
                os.fsync(new.fileno())
            shutil.copymode(self.file, part)
            os.replace(part, self.file.resolve())
        finally:
            part.unlink(missing_ok=True)

    def _stays(self, line: bytes, number: int) -> bool:
        """Whether a line is a report, which is then noted; False for an error or a torn end.

        Raises:
            CellnetError: It is neither, or the report was made with something else.
        """
        is_torn = not line.endswith(b"\n")
        try:
            document = json.loads(line)
        except ValueError:
            document = None
            if is_torn and line[: len(_BEGINS)] == _BEGINS[: len(line)]:
                return False
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema == ERROR_SCHEMA:
            return False
        if schema != SCHEMA or not isinstance(document.get("smear"), str):
            raise CellnetError(
                f"line {number} of {self.file} is no report of a smear, so predict-smears did not "
                "write that file; choose another --out"
            )
        for key, value in self._made_with.items():
            found = document.get(key)
            if key == "specialists":
                parts = found.items() if isinstance(found, dict) else ()
                found = {name: asked.get("of") for name, asked in parts if isinstance(asked, dict)}
            if found != value:
                raise CellnetError(
                    f"{self.file} was made with {key} {_short(found)}, but now it is "
                    f"{_short(value)}; repeat the old choice, or choose another --out"
                )
        names = of_files(
            entry["file"] for part in ("cells", "unreadable") for entry in document.get(part, ())
        )
        self.done[document["smear"]] = Images(names, document.get(CONTENTS))
        return True


def of_files(names: Iterable[str]) -> bytes:
    """Sixteen bytes that stand for a set of files' names."""
    return hashlib.sha256("\0".join(sorted(names)).encode(errors="surrogateescape")).digest()[:16]


def of_contents(contents: Mapping[str, str]) -> str:
    """Give a SHA-256 that stands for files' names and bytes, in hexadecimal.

    Args:
        contents: By name of each file the SHA-256 of its bytes, in hexadecimal; empty for one that
            could not be read.
    """
    lines = "".join(f"{name}\0{contents[name]}\n" for name in sorted(contents))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def _copy(old: IO[bytes], new: IO[bytes], count: int) -> None:
    while count > 0:
        block = old.read(min(count, 1 << 20))
        if not block:
            raise OSError("the file became shorter while it was read")
        new.write(block)
        count -= len(block)


def _short(value: Any) -> str:
    """A value for a message: of models the name, the version and the beginning of the hash."""
    if not isinstance(value, dict):
        return str(value)
    if all(isinstance(of, str) for of in value.values()):
        return ", ".join(f"{name} for {of}" for name, of in value.items()) or "none"
    return ", ".join(
        f"{model.get('name')} {model.get('version')} ({str(model.get('sha256'))[:12]})"
        for model in value.values()
        if isinstance(model, dict)
    )
