"""Headers say size and whether the file is whole, without decoding."""

import base64
import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.headers import Refused, read_header

CASES = json.loads((Path(__file__).parent / "cases" / "headers.json").read_text("utf-8"))
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype(np.uint8)
KINDS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tiff": "TIFF", ".webp": "WebP"}


def encoded(kind: str) -> bytes:
    return cv2.imencode(kind, PIXELS)[1].tobytes()


@pytest.mark.parametrize("case", CASES["files"], ids=lambda case: case["why"])
def test_file_cases(case):
    data = base64.b64decode(case["data"])
    header = read_header(data)
    expected = {key: case[key] for key in ("format", "width", "height", "alpha", "orientation")}
    assert {key: getattr(header, key) for key in expected} == expected
    assert header.data == (base64.b64decode(case["kept"]) if case["kept"] else data)


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["why"])
def test_refused_cases(case):
    with pytest.raises(Refused) as refused:
        read_header(base64.b64decode(case["data"]))
    assert str(refused.value) == case["reason"]


@pytest.mark.parametrize("kind", KINDS)
def test_format_and_size(kind):
    header = read_header(encoded(kind))
    assert (header.format, header.width, header.height) == (KINDS[kind], 13, 9)


@pytest.mark.parametrize("kind", KINDS)
def test_trailing_bytes_are_no_fault(kind):
    read_header(encoded(kind) + b"\xff\xd8 and more")


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_noticed(kind):
    data = encoded(kind)
    # A WebP may lack its last padding byte.
    for length in range(len(data) - (1 if kind == ".webp" else 0)):
        with pytest.raises(Refused):
            read_header(data[:length])


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in ((b"IHDR", body), *chunks):
        parts.append(struct.pack(">I", len(data)) + name + data)
        parts.append(struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


def test_a_huge_png_header_is_read_without_its_data():
    header = read_header(png(1_000_000, 1_000_000))
    assert header.width * header.height == 10**12


def test_png_keeps_only_what_concerns_pixels():
    whole = png(1, 1, (b"tEXt", b"a\0b"), (b"iCCP", b"x"), (b"IDAT", b"-"), (b"IEND", b""))
    assert read_header(whole).data == png(1, 1, (b"IDAT", b"-"), (b"IEND", b""))


def test_png_with_a_wrong_checksum_is_damaged():
    data = bytearray(encoded(".png"))
    data[50] ^= 1
    with pytest.raises(Refused, match="checksum"):
        read_header(bytes(data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"GIF89a....", "a GIF file"),
        (b"%PDF-1.4", "a PDF file"),
        (b"<!DOCTYPE html>", "an HTML page"),
        (b"label,count\nig,3\n", "a text file"),
        (b"\0" * 40, "a file of zeros"),
        (b"\x00\x00\x00\x20ftypavif", "AVIF"),
        (b"\x01\x02\xfe", "unknown kind"),
        (b"\xff\xd8\xff\xd9", "holds no image"),
    ],
)
def test_other_files_are_named(data, what):
    with pytest.raises(Refused, match=what):
        read_header(data)


def test_end_marker_inside_a_thumbnail_is_not_the_end():
    data = encoded(".jpg")
    small = data[:-2]
    comment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    with pytest.raises(Refused, match="truncated"):
        read_header(small[:2] + comment + small[2:])
    read_header(data[:2] + comment + data[2:])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60), st.integers(0, 400))
def test_no_bytes_raise_anything_else(kind, junk, place):
    data = encoded(kind)
    place = min(place, len(data))
    try:
        read_header(data[:place] + junk + data[place + len(junk) :])
    except Refused:
        pass
