"""What an image file says about itself before anything is decoded: format, size, transparency.

A few bytes of header tell whether decoding would fill the memory, and a walk over the file's own
table of contents tells whether its end is missing, which decoders pass over in silence. Nothing
here decodes a pixel; `images` does, with what this module found.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_PIXELS", "Header", "Refused", "read_header"]

MAX_PIXELS = 32_000_000
"""Larger images are refused before decoding: a cell has 0.1 million pixels, a camera's field 20."""


class Refused(Exception):
    """The bytes cannot be used as an image; the message is the reason, for people."""


@dataclass(frozen=True)
class Header:
    """What decoding needs to know.

    Attributes:
        format: ``JPEG``, ``PNG``, ``BMP``, ``TIFF`` or ``WebP``.
        width: In pixels, as stored (before any rotation).
        height: In pixels, as stored.
        alpha: ``""``, ``straight`` or ``premultiplied``: what the decoder gives beside the colours.
        deep: Whether a sample has 16 bits.
        orientation: EXIF's, 1 to 8, where the decoder does not apply it by itself; else 1.
        data: The bytes to decode: the file's own, for PNG without what does not concern pixels.
    """

    format: str
    width: int
    height: int
    alpha: str
    deep: bool
    orientation: int
    data: bytes


_TRUNCATED = "the file is truncated: its end is missing"

_OTHERS = (
    (b"GIF8", "a GIF file"),
    (b"%PDF", "a PDF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (b"<svg", "an SVG drawing"),
    (b"<!DO", "an HTML page"),
    (b"<htm", "an HTML page"),
    (b"\x00\x00\x00\x01Bud1", "a desktop file"),
)


def read_header(data: bytes) -> Header:
    """Read format and size, and check that the file is whole.

    Args:
        data: All bytes of the file. The content decides on the format, not the name.

    Raises:
        Refused: When the bytes are empty, of another format, truncated or damaged in a way that
            shows without decoding.
    """
    if not data:
        raise Refused("the file is empty")
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:2] == b"BM" and len(data) > 14:
            return _bmp(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        raise Refused(_TRUNCATED) from None
    raise Refused(f"it is {_guess(data)}, not a JPEG, PNG, BMP, TIFF or WebP image")


def _refuse_several(kind: str, what: str, number: int) -> None:
    """Refuse a file of several images: which of them is the cell is not ours to choose."""
    if number > 1:
        raise Refused(
            f"the {kind} holds {number} {what}, and one image is one cell; save each as a file"
        )


def _guess(data: bytes) -> str:
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return "a video, AVIF or HEIC file"
    if not data[:512].strip(b"\0"):
        return "a file of zeros"
    try:
        text = data[:512].decode("ascii")
    except UnicodeDecodeError:
        return "a file of unknown kind"
    return "a text file" if text.isprintable() or text.split() else "a file of unknown kind"


# --------------------------------------------------------------------------------- JPEG

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # stuffed zeros and restarts are data


def _jpeg(data: bytes) -> Header:
    size: tuple[int, int] | None = None
    orientation = 1
    position = 2
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == 0xD9:
            if size is None:
                raise Refused("the JPEG holds no image")
            height, width = size
            return Header("JPEG", width, height, "", False, orientation, data)
        if marker in (0x01, 0xD8):
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker == 0xE1 and data[position + 2 : position + 8] == b"Exif\0\0":
            orientation = _exif_orientation(data[position + 2 : position + length])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and size is None:
            precision, height, width = struct.unpack_from(">BHH", data, position + 2)
            if precision != 8:
                raise Refused(
                    f"JPEG with {precision} bits a sample is not supported; save it as PNG"
                )
            size = height, width
        position += length
    raise Refused(_TRUNCATED)


# --------------------------------------------------------------------------------- PNG


def _png(data: bytes) -> Header:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[12:16] != b"IHDR":
        raise Refused("the PNG does not begin with its header")
    kept = [data[:8]]
    alpha, orientation, position = colour in (4, 6), 1, 8
    while width * height <= MAX_PIXELS:  # else the caller refuses it: its chunks do not matter
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise Refused(_TRUNCATED)
        # Ancillary chunks (small first letter) go: text, dates and broken colour profiles make the
        # decoder complain on standard error, and none of them changes a pixel. Transparency does.
        if name[:1].isupper() or name == b"tRNS":
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
                raise Refused(f"the PNG is damaged: the checksum of its {name!r} chunk is wrong")
            kept.append(data[position:end])
            alpha = alpha or name == b"tRNS"
        elif name == b"eXIf":
            orientation = _exif_orientation(data[position + 8 : end - 4])
        elif name == b"acTL":
            _refuse_several("PNG", "frames", struct.unpack_from(">I", data, position + 8)[0])
        position = end
        if name == b"IEND":
            break
    return Header(
        "PNG", width, height, "straight" if alpha else "", depth == 16, orientation, b"".join(kept)
    )


# --------------------------------------------------------------------------------- BMP


def _bmp(data: bytes) -> Header:
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative where the rows stand top down
    if compression in (0, 3, 6):  # as they are, or with bit masks
        if start + (width * bits + 31) // 32 * 4 * height > len(data):
            raise Refused(_TRUNCATED)
    elif len(data) < struct.unpack_from("<I", data, 2)[0]:
        raise Refused(_TRUNCATED)
    return Header("BMP", width, height, "", False, 1, data)


# --------------------------------------------------------------------------------- TIFF

_TIFF_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 13: "I", 16: "Q"}
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_SIZES |= {16: 8, 17: 8, 18: 8}


def _tiff_directories(data: bytes) -> Iterator[dict[int, tuple[int, ...]]]:
    """Walk from directory to directory: values by tag (none where they are no whole numbers)."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    pointer, step = ("Q", 20) if big else ("I", 12)
    (start,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
    seen: set[int] = set()
    while start and start not in seen:
        seen.add(start)
        (number,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
        start += 8 if big else 2
        if start + number * step > len(data):
            raise Refused(_TRUNCATED)
        yield dict(_tiff_entries(data, start, number, order, big))
        (start,) = struct.unpack_from(order + pointer, data, start + number * step)


def _tiff_entries(
    data: bytes, start: int, number: int, order: str, big: bool
) -> Iterator[tuple[int, tuple[int, ...]]]:
    entry_format, inline = ("HHQ", 8) if big else ("HHI", 4)
    for index in range(number):
        position = start + index * (20 if big else 12)
        tag, kind, count = struct.unpack_from(order + entry_format, data, position)
        place = position + (12 if big else 8)
        length = _TIFF_SIZES.get(kind, 1) * count
        if length > inline:
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, place)
            if place + length > len(data):
                raise Refused(_TRUNCATED)
        letter = _TIFF_TYPES.get(kind, "s")
        values = struct.unpack_from(f"{order}{count}{letter}", data, place) if letter != "s" else ()
        yield tag, values


def _tiff(data: bytes) -> Header:
    directories = _tiff_directories(data)
    tags = next(directories, {})

    def first(tag: int, default: int) -> int:
        return (tags.get(tag) or (default,))[0]

    width, height = first(256, 0), first(257, 0)
    samples, photometric = first(277, 1), first(262, 1)
    bits, kind = max(tags.get(258) or (1,)), first(339, 1)
    if bits > 16 or kind not in (1, 4):
        what = {2: "signed", 3: "floating-point"}.get(kind, "")
        raise Refused(
            f"TIFF with {bits}-bit {what} samples is not supported; save it with 8 or 16 bits"
        )
    offsets = tags.get(273) or tags.get(324) or ()
    lengths = tags.get(279) or tags.get(325) or (1,) * len(offsets)
    if not offsets:
        raise Refused("the TIFF holds no image")
    if any(o + n > len(data) for o, n in zip(offsets, lengths, strict=False)):
        raise Refused(_TRUNCATED)
    colours = {2: 3, 5: 4, 6: 3}.get(photometric, 1)
    alpha = ""
    if samples > colours:
        if photometric != 2 or samples != 4:
            raise Refused("TIFF with extra channels is supported for RGB only; save it as RGB")
        # With 8 bits the decoder has multiplied the colours by the transparency already.
        alpha = "straight" if bits == 16 and first(338, 0) != 1 else "premultiplied"
    _refuse_several("TIFF", "pages", 1 + sum(map(_is_page, directories)))
    deep = bits == 16 and photometric in (0, 1, 2)
    return Header("TIFF", width, height, alpha, deep, 1, data)


def _is_page(tags: dict[int, tuple[int, ...]]) -> bool:
    """Whether a further directory is an image of its own, not a smaller copy or a mask."""
    reduced_or_mask = (tags.get(254) or (0,))[0] & 0b101
    reduced_of_old = (tags.get(255) or (1,))[0] == 2
    return not reduced_or_mask and not reduced_of_old and 256 in tags


def _exif_orientation(data: bytes) -> int:
    data = data.removeprefix(b"Exif\0\0")
    try:
        tags = next(_tiff_directories(data), {}) if data[:2] in (b"II", b"MM") else {}
    except (Refused, struct.error):
        return 1
    values = tags.get(274, ())
    return values[0] if values and 1 <= values[0] <= 8 else 1


# --------------------------------------------------------------------------------- WebP


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data) + 1:  # the last padding byte is often left out
        raise Refused(_TRUNCATED)
    width = height = 0
    alpha, orientation, frames, position = False, 1, 0, 12
    while position + 8 <= min(len(data), size + 8):
        name, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if name == b"VP8X":
            alpha = bool(data[body] & 0x10)
            width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
            height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        elif name == b"VP8L" and not width:
            (bits,) = struct.unpack_from("<I", data, body + 1)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
            alpha = bool(bits >> 28 & 1)
        elif name == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, body + 6))
        elif name == b"EXIF":
            orientation = _exif_orientation(data[body : body + length])
        elif name == b"ANMF":
            frames += 1
        position = body + length + length % 2
    _refuse_several("WebP", "frames", frames)
    return Header("WebP", width, height, "straight" if alpha else "", False, orientation, data)
