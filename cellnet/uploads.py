"""Uploads: the body of a request to the files of one smear, in memory alone.

A body is taken piece by piece as it arrives, and refused as soon as it breaks a limit, so it never
costs more than was allowed. Images are kept as they are, zip archives packed; of other files only
the names are kept. Nothing is written to a disk. What comes out is listed as a folder would be, so
that the same files get the same answer. Archives are the business of ``zips``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cellnet.errors import RefusedUpload
from cellnet.images import MAX_BYTES
from cellnet.limits import Limits
from cellnet.listing import EXTENSIONS, Listing, list_names
from cellnet.zips import clean_name, is_hidden, is_zip, list_zip, too_large, too_many, unpack

__all__ = ["Upload", "UploadReceiver"]

_LONGEST_SMEAR = 255  # bytes, as for the name of a folder
_UNNAMED = "smear"

Source = Callable[[Path], bytes]
"""Gives the bytes of a file, which is called by this path in an error."""

# It tells its log which bytes of a stranger it did not like.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Upload:
    """The files of one smear.

    Attributes:
        smear: The smear's name.
        listing: Its files, as `find_images` lists a folder; the folder is the smear's name.
        sources: How to get the bytes of each of the listing's files.
    """

    smear: str
    listing: Listing
    sources: dict[Path, Source]

    def read(self, path: Path) -> bytes:
        """Give the bytes of a file of the listing; safe to call from several threads at once.

        Raises:
            UnreadableImage: It is too large, or damaged in its archive.
        """
        return self.sources[path](path)


class _Part:
    """A part of the body while it arrives."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.header = bytearray()
        self.value = bytearray()
        self.field = ""
        self.name = ""
        self.size = 0
        self.content = BytesIO()


class UploadReceiver:
    """Takes a body of the type ``multipart/form-data``.

    Its fields are ``files`` (once or more, each with a file name, which may hold folders) and
    ``smear`` (the smear's name; not needed). A file called ``*.zip`` is unpacked.

    Args:
        content_type: The header of the request.
        content_length: Likewise, where it has one.
        limits: What is allowed.

    Raises:
        RefusedUpload: The type is another, or the stated length is over the limit.
    """

    def __init__(self, content_type: str, content_length: str | None, limits: Limits):
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise RefusedUpload(
                415,
                "send the images as multipart/form-data in the field 'files', got "
                f"{content_type[:100] or 'no content type'!r}",
            )
        self._limits = limits
        self._received = 0
        if content_length is not None and content_length.isdecimal():
            self._check_size(int(content_length))
        self._part = _Part()
        self._ended = False
        self._parts: list[_Part] = []
        self._smear: str | None = None
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._take_header,
                    "on_header_value": self._take_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open,
                    "on_part_data": self._take,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from None

    def receive(self, piece: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            RefusedUpload: What arrived so far breaks a rule or a limit.
        """
        self._received += len(piece)
        self._check_size(self._received)
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed(str(error)) from None

    def finish(self) -> Upload:
        """Make the upload when all pieces are there; opens the archives.

        Raises:
            RefusedUpload: The body is not complete, or its files break a rule or a limit.
        """
        if not self._ended:
            raise _malformed("its end is missing")
        found: list[tuple[str, Source]] = []
        unpacked = 0
        for part in self._parts:
            if is_zip(part.name):
                archive, entries = list_zip(part.name, part.content, self._limits)
                found += [(name, partial(unpack, archive, info)) for name, info in entries]
                unpacked += sum(info.file_size for _, info in entries)
            elif part.size > MAX_BYTES:
                found.append((part.name, partial(_refuse, part.size)))
            else:
                found.append((part.name, partial(_whole, part.content)))
        if sum(not name.endswith("/") for name, _ in found) > self._limits.files:
            raise too_many(self._limits)
        if unpacked > self._limits.unpacked_bytes:
            raise RefusedUpload(
                413,
                f"the upload would unpack to {unpacked} bytes; the limit is "
                f"{self._limits.unpacked_bytes}",
            )
        smear, top = self._name([name for name, _ in found])
        sources: dict[str, Source] = {}
        for name, source in found:
            name = name.removeprefix(top)
            if name in sources and not name.endswith("/"):
                raise RefusedUpload(
                    400, f"two files are called {name[:100]!r}; each needs a name of its own"
                )
            if name:  # else it is the smear's own folder
                sources[name] = source
        folder = Path(smear)
        listing = list_names(folder, sources)
        return Upload(smear, listing, {folder / name: it for name, it in sources.items()})

    def close(self) -> None:
        """Let go of what was received, which an upload that was made of it keeps."""
        # The parser and its callbacks hold each other, and with them all of the body.
        self._parser.callbacks = {}
        self._part, self._parts = _Part(), []

    def _name(self, names: list[str]) -> tuple[str, str]:
        """Name the smear; and say what to take off its files' names: the smear's own folder."""
        # A Mac packs another folder beside the one that was meant.
        tops = {
            name.partition("/")[0] if "/" in name else None
            for name in names
            if not name.startswith("__MACOSX/")
        }
        top = tops.pop() if len(tops) == 1 else None
        smear = self._smear
        if smear is None and len(self._parts) == 1 and is_zip(self._parts[0].name):
            smear = self._parts[0].name.rpartition("/")[2][: -len(".zip")]
        smear = smear or top or _UNNAMED
        return smear, f"{smear}/" if smear == top else ""

    def _check_size(self, size: int) -> None:
        if size > self._limits.upload_bytes:
            raise RefusedUpload(
                413, f"an upload may have {self._limits.upload_bytes} bytes, this one has more"
            )

    # ------------------------------------------------------------------ called by the parser

    def _begin(self) -> None:
        self._part = _Part()

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _end_header(self) -> None:
        part = self._part
        part.headers[bytes(part.header).lower()] = bytes(part.value)
        part.header, part.value = bytearray(), bytearray()

    def _open(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get(b"content-disposition"))
        part.field = options.get(b"name", b"").decode("utf-8", "replace")
        if part.field == "files":
            if b"filename" not in options:
                raise RefusedUpload(400, "each of 'files' needs a file name, one has none")
            # Bytes that are no text stay what they are, as in the name of a file on a disk.
            part.name = clean_name(options[b"filename"].decode("utf-8", "surrogateescape"))
            if part.name.endswith("/"):
                raise RefusedUpload(400, f"{part.name[:100]!r} is the name of a folder, not a file")
            self._parts.append(part)
            if len(self._parts) > self._limits.files:
                raise too_many(self._limits)
        elif part.field != "smear" or self._smear is not None:
            raise RefusedUpload(
                400,
                "an upload has the fields 'files', once or more, and 'smear', at most once; got "
                f"{part.field[:100]!r}" + (" twice" if part.field == "smear" else ""),
            )

    def _take(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        if part.field == "smear":
            if part.size > _LONGEST_SMEAR:
                raise _bad_smear()
        elif is_hidden(part.name):
            return
        elif not is_zip(part.name):
            if Path(part.name).suffix.lower() not in EXTENSIONS:
                return
            if part.size > MAX_BYTES:
                part.content = BytesIO()
                return
        part.content.write(data[start:end])

    def _close(self) -> None:
        part = self._part
        if part.field == "smear":
            name = part.content.getvalue().decode("utf-8", "surrogateescape")
            if not name or name in (".", "..") or set(name) & set("/\\\0"):
                raise _bad_smear()
            self._smear = name

    def _end(self) -> None:
        self._ended = True


def _whole(content: BytesIO, path: Path) -> bytes:
    return content.getvalue()


def _refuse(size: int, path: Path) -> bytes:
    raise too_large(path, size)


def _bad_smear() -> RefusedUpload:
    return RefusedUpload(
        400,
        f"the smear's name has 1 to {_LONGEST_SMEAR} bytes, and is one that a folder could have",
    )


def _malformed(why: str) -> RefusedUpload:
    return RefusedUpload(400, f"the body is no complete multipart/form-data: {why}")
