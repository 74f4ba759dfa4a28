"""Zip archives in memory, from strangers: listed and checked as a whole, unpacked a file at a time.

Refused are archives that are damaged or encrypted, that hold links, devices, archives or names that
lead out of their folder, that are packed by a method whose cost cannot be bounded, or that would
unpack to more than was allowed. What the archive says of itself is checked first, what comes out of
it when it is unpacked.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

from cellnet.errors import RefusedUpload, UnreadableImage
from cellnet.images import MAX_BYTES
from cellnet.limits import Limits

__all__ = ["clean_name", "is_hidden", "is_zip", "list_zip", "too_large", "too_many", "unpack"]

_LONGEST_NAME = 1024
_ENTRY = re.compile(rb"PK\x01\x02")
# What the standard library raises for archives that are none, and for damaged ones.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def is_zip(name: str) -> bool:
    """Whether a file is to be unpacked: its name ends in ``.zip`` and is not hidden."""
    return name.lower().endswith(".zip") and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether the name of a file or of a folder above it begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def clean_name(name: str) -> str:
    r"""Make a path below a folder of what a stranger calls a file.

    Args:
        name: With ``/`` or, as some Windows programs write, ``\`` between folders.

    Returns:
        With ``/`` between folders and at the end of a folder's name; no part is ``.`` or ``..``.

    Raises:
        RefusedUpload: It is empty, absolute, too long, or leads out of its folder.

    Example:
        >>> clean_name(".\\smear-7\\a.jpg")
        'smear-7/a.jpg'
    """
    parts = name.replace("\\", "/").split("/")
    shown = repr(name[:100])
    if len(parts) > 1 and (not parts[0] or re.fullmatch("[A-Za-z]:", parts[0])):
        raise RefusedUpload(400, f"names must be relative, {shown} is absolute; leave its root out")
    if ".." in parts or "\0" in name:
        raise RefusedUpload(
            400, f"names must lead to a file below the smear's folder, {shown} does not"
        )
    kept = [part for part in parts if part not in ("", ".")]
    if not kept or len(name) > _LONGEST_NAME:
        raise RefusedUpload(
            400, f"names have 1 to {_LONGEST_NAME} characters, {shown} has {len(name)}"
        )
    return "/".join(kept) + ("/" if parts[-1] in ("", ".") else "")


def list_zip(
    name: str, data: BytesIO, limits: Limits
) -> tuple[zipfile.ZipFile, list[tuple[str, zipfile.ZipInfo]]]:
    """Open an archive and check what it says of itself.

    Args:
        name: What to call it in an error.
        data: All of it.
        limits: Its ratio is checked here, and its number of files roughly; what all archives of an
            upload hold and unpack to is left to the caller.

    Returns:
        The archive, and its files and folders with their clean names.

    Raises:
        RefusedUpload: It is none, or breaks a rule or a limit.
    """
    shown = repr(name[:100])
    # Reading the table of contents takes memory for each entry, so they are counted before; more
    # are found where the packed data look like one, and folders are none of the files.
    with data.getbuffer() as view:
        packed = len(view)
        for number, _ in enumerate(_ENTRY.finditer(view)):
            if number > 2 * limits.files + 1000:
                raise too_many(limits)
    try:
        archive = zipfile.ZipFile(data)
    except _DAMAGED:
        raise RefusedUpload(400, f"{shown} is no zip archive, or a damaged one") from None
    entries = [
        (clean_name(info.filename), info)
        for info in archive.infolist()
        if info.filename not in ("./", "/")  # the folder itself, as some programs pack it
    ]
    for key, info in entries:
        _check_entry(info, key, shown)
    unpacked = sum(info.file_size for _, info in entries)
    if unpacked > limits.ratio * packed:
        raise RefusedUpload(
            413,
            f"{shown} would unpack to {unpacked // packed} times its size; the limit is "
            f"{limits.ratio}, which images do not reach",
        )
    return archive, entries


def _check_entry(info: zipfile.ZipInfo, name: str, archive: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    rules = (
        (info.flag_bits & 0x41, "is encrypted; pack it without a password"),
        (
            kind not in (0, stat.S_IFREG, stat.S_IFDIR),
            "is a link or a device; pack the file itself",
        ),
        (
            info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
            f"is packed by method {info.compress_type}; pack it by the usual one (deflate)",
        ),
        (is_zip(name), "is an archive in an archive; unpack it first"),
    )
    for broken, told in rules:
        if broken:
            raise RefusedUpload(400, f"{name[:100]!r} in {archive} {told}")


def too_many(limits: Limits) -> RefusedUpload:
    """Say that an upload holds more files than it may."""
    return RefusedUpload(413, f"an upload may hold {limits.files} files, this one holds more")


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    """Unpack one file; safe to call from several threads at once.

    Args:
        archive: As `list_zip` opened it.
        info: Which of its files.
        path: What to call it in an error.

    Raises:
        UnreadableImage: It is over `MAX_BYTES`, or it is not what the archive says of it.
    """
    if info.file_size > MAX_BYTES:
        raise too_large(path, info.file_size)
    try:
        with archive.open(info) as stream:
            # No more than was stated comes out; at its end the checksum is compared.
            data = stream.read(info.file_size + 1)
    except _DAMAGED:
        data = None
    if data is None or len(data) != info.file_size:
        raise UnreadableImage(path, "it is damaged in the zip archive")
    return data


def too_large(path: Path, size: int) -> UnreadableImage:
    """Say that a file is over `MAX_BYTES`, as reading it from a disk says it."""
    return UnreadableImage(path, f"the file has {size} bytes; the limit is {MAX_BYTES}")
