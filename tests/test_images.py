"""Reading: every kind of file becomes RGB, or an error with its reason; nothing hangs."""

import base64
import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cellnet import images
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.images import (
    decode_image,
    read_image,
    resize,
    write_jpeg,
    write_png,
)
from cellnet.listing import find_images


def picture(height: int = 40, width: int = 56) -> np.ndarray:
    """A smooth coloured picture, so that lossy codecs stay close to it."""
    small = np.random.default_rng(1).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


RGB = picture()
NOISE = np.random.default_rng(2).integers(0, 256, (64, 72, 3)).astype(np.uint8)


def saved(image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **how)
    return file.getvalue()


def off(one: np.ndarray, two: np.ndarray) -> int:
    assert one.shape == two.shape
    return int(np.abs(one.astype(int) - two.astype(int)).max())


PILLOW = Image.fromarray(RGB)
GREY = np.array(PILLOW.convert("L"))
GREY3 = np.stack([GREY] * 3, -1)
DEEP = GREY.astype(np.uint16) * 257
PALETTE = PILLOW.convert("P")
SECOND = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]}
ALPHA = np.full(RGB.shape[:2], 255, np.uint8)
ALPHA[:10], ALPHA[10:20] = 0, 100
RGBA = np.dstack([RGB, ALPHA])
WHITE = (RGB * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None]).round().astype(np.uint8)
GREY_WHITE = (GREY3 * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None]).round().astype(np.uint8)
LA = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])

CASES = {
    name: json.loads((Path(__file__).parent / "cases" / f"{name}.json").read_text("utf-8"))
    for name in ("decode", "resize", "tiff")
}

KINDS = {
    "jpeg": (saved(RGB, "JPEG", quality=98, subsampling=0), RGB, 12),
    "progressive jpeg": (saved(RGB, "JPEG", quality=98, subsampling=0, progressive=True), RGB, 12),
    "grey jpeg": (saved(GREY, "JPEG", quality=98), GREY3, 6),
    "cmyk jpeg": (saved(PILLOW.convert("CMYK"), "JPEG", quality=98, subsampling=0), RGB, 14),
    "png": (saved(RGB, "PNG"), RGB, 0),
    "grey png": (saved(GREY, "PNG"), GREY3, 0),
    "palette png": (saved(PALETTE, "PNG"), np.array(PALETTE.convert("RGB")), 0),
    "black and white png": (
        saved(PILLOW.convert("1"), "PNG"),
        np.array(PILLOW.convert("1").convert("RGB")),
        0,
    ),
    "16-bit grey png": (saved(DEEP, "PNG"), GREY3, 0),
    "16-bit rgb png": (cv2.imencode(".png", np.uint16(257) * RGB[..., ::-1])[1].tobytes(), RGB, 0),
    "rgba png": (saved(RGBA, "PNG"), WHITE, 1),
    "grey alpha png": (saved(LA, "PNG"), GREY_WHITE, 1),
    "bmp": (saved(RGB, "BMP"), RGB, 0),
    "grey bmp": (saved(GREY, "BMP"), GREY3, 0),
    "palette bmp": (saved(PALETTE, "BMP"), np.array(PALETTE.convert("RGB")), 0),
    "32-bit bmp": (saved(RGBA, "BMP"), RGB, 0),
    "tiff": (saved(RGB, "TIFF"), RGB, 0),
    "lzw tiff": (saved(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "deflate tiff": (saved(RGB, "TIFF", compression="tiff_adobe_deflate"), RGB, 0),
    "grey tiff": (saved(GREY, "TIFF"), GREY3, 0),
    "16-bit grey tiff": (saved(DEEP, "TIFF"), GREY3, 0),
    "16-bit rgb tiff": (
        cv2.imencode(".tiff", np.uint16(257) * RGB[..., ::-1])[1].tobytes(),
        RGB,
        0,
    ),
    "palette tiff": (saved(PALETTE, "TIFF"), np.array(PALETTE.convert("RGB")), 0),
    "cmyk tiff": (saved(PILLOW.convert("CMYK"), "TIFF"), RGB, 1),
    "rgba tiff": (saved(RGBA, "TIFF"), WHITE, 1),
    "webp": (saved(RGB, "WEBP", lossless=True), RGB, 0),
    "lossy webp": (saved(RGB, "WEBP", quality=98), RGB, 24),
    "rgba webp": (saved(RGBA, "WEBP", lossless=True, exact=True), WHITE, 1),
}


@pytest.mark.parametrize(
    "case", [*CASES["decode"]["files"], *CASES["tiff"]["files"]], ids=lambda case: case["why"]
)
def test_decoding_cases(case):
    image = decode_image(base64.b64decode(case["data"]))
    expected = np.frombuffer(base64.b64decode(case["rgb"]), np.uint8)
    # The version of a codec may round otherwise, as another program's may.
    assert off(image, expected.reshape(case["height"], case["width"], 3)) <= case.get(
        "tolerance", 0
    )


@pytest.mark.parametrize("case", CASES["resize"]["images"], ids=lambda case: case["why"])
def test_resize_cases(case):
    pixels = np.frombuffer(base64.b64decode(case["rgb"]), np.uint8)
    found = resize(pixels.reshape(case["height"], case["width"], 3), case["size"])
    expected = np.frombuffer(base64.b64decode(case["values"]), "<f4").reshape(found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_rgb(kind, tmp_path, capfd):
    data, expected, tolerance = KINDS[kind]
    path = tmp_path / "cell.dat"  # the content decides, not the name
    path.write_bytes(data)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert off(image, expected) <= tolerance
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_files_are_refused_quietly(kind, share, capfd):
    data = KINDS[kind][0]
    with pytest.raises(UnreadableImage):
        decode_image(data[: int(len(data) * share)])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "tiff", "webp"])
def test_trailing_bytes_are_no_fault(kind):
    data, expected, tolerance = KINDS[kind]
    assert off(decode_image(data + b"camera's own notes \xff\xd8\xff"), expected) <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_exif_rotation_is_undone(kind, mode, orientation):
    if kind == "JPEG" and mode == "RGBA":
        pytest.skip("a JPEG has no transparency")
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = PILLOW if mode == "RGB" else Image.fromarray(np.dstack([RGB, np.full_like(GREY, 255)]))
    how = {"lossless": True} if kind == "WEBP" else {"quality": 98} if kind == "JPEG" else {}
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    image = decode_image(saved(image, kind, exif=exif, **how))
    assert off(image, undo(RGB)) <= (24 if kind == "JPEG" else 0)


def test_broken_colour_profile_and_text_do_not_speak(capfd):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    data = saved(RGB, "PNG")
    data = data[:33] + chunk(b"iCCP", b"x\0\0junk") + chunk(b"tEXt", b"") + data[33:]
    assert off(decode_image(data), RGB) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3)])
def test_tiny_images_are_read_and_resized(tmp_path, size):
    image = np.full((*size, 3), (200, 10, 90), np.uint8)
    write_png(tmp_path / "a.png", image)
    assert off(read_image(tmp_path / "a.png"), image) == 0
    assert np.allclose(resize(image, 7), (200, 10, 90))


# ------------------------------------------------------------------------- refusals


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    "data",
    [
        png_header(1_000_000, 1_000_000),
        b"BM" + struct.pack("<IHHIIiiHHI", 0, 0, 0, 54, 40, 10**6, 10**6, 1, 24, 0) + b"\0" * 99,
        saved(RGB, "JPEG").replace(
            struct.pack(">HH", *RGB.shape[:2]), struct.pack(">HH", 65000, 65000), 1
        ),
        saved(RGB, "WEBP", lossless=True)[:21] + struct.pack("<I", 0x0FFFFFFF) + b"\0" * 9999,
    ],
    ids=["png", "bmp", "jpeg", "webp"],
)
def test_huge_sizes_cost_nothing(data, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(UnreadableImage, match="limit is 32000000|truncated"):
        decode_image(data)


def test_limits_on_bytes_hold_before_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    path = tmp_path / "a.png"
    path.write_bytes(b"\0" * 101)
    with pytest.raises(UnreadableImage, match="the file has 101 bytes; the limit is 100"):
        read_image(path)
    with pytest.raises(UnreadableImage, match="101 bytes"):
        decode_image(b"\0" * 101, path)


def test_a_large_sparse_file_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(UnreadableImage, match="limit"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"These are not the cells you want.", "it is a text file, not a JPEG"),
        (b"GIF89a" + b"\0" * 20, "it is a GIF file"),
        (saved(np.float32(GREY), "TIFF"), "32-bit floating-point samples"),
        (saved(LA, "TIFF"), "extra channels"),
        (saved(RGB, "TIFF", **SECOND), "the TIFF holds 2 pages"),
        (saved(RGB, "WEBP", **SECOND), "the WebP holds 2 frames"),
        (saved(RGB, "PNG", **SECOND), "the PNG holds 2 frames"),
        (png_header(0, 5), "0 x 5 pixels|truncated"),
        (b"\xff\xd8\xff\xd9", "holds no image"),
    ],
)
def test_refusals_name_file_and_reason(tmp_path, content, reason, capfd):
    path = tmp_path / "cell.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read_image(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_damaged_pixels_are_refused():
    data = bytearray(saved(RGB, "PNG"))
    place = data.index(b"IDAT") + 30
    data[place] ^= 0xFF
    with pytest.raises(UnreadableImage, match="damaged"):
        decode_image(bytes(data))


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"subsampling": 2}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_damaged_inside_is_refused_quietly(mode, how, capfd):
    """Its end marker is there, and decoders that forgive make a picture of it."""
    if mode == "CMYK" and "subsampling" in how:
        pytest.skip("a sampling that only the forgiving decoder knows")
    whole = saved(Image.fromarray(NOISE).convert(mode), "JPEG", quality=90, **how)
    assert decode_image(whole).shape == NOISE.shape
    scan = whole.index(b"\xff\xda") + 20
    for start in (scan, (scan + len(whole)) // 2):
        data = whole[:start] + whole[start + len(whole) // 4 :]
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
        capfd.readouterr()
        with pytest.raises(UnreadableImage, match="the JPEG data are damaged"):
            decode_image(data)
        assert capfd.readouterr() == ("", "")


def test_most_damage_inside_a_jpeg_shows():
    """Codes may fall into step again and end where they should: not all of it can show."""
    whole = saved(NOISE, "JPEG", quality=90)
    scan, random = whole.index(b"\xff\xda") + 20, np.random.default_rng(3)
    refused = 0
    for place in random.integers(scan, len(whole) - 100, 50):
        junk = random.integers(0, 255, 60, np.uint8).tobytes()
        try:
            decode_image(whole[:place] + junk + whole[place + 60 :])
        except UnreadableImage:
            refused += 1
    assert refused >= 40


def test_a_jpeg_of_rare_sampling_is_read():
    image = Image.fromarray(RGB).convert("CMYK")
    assert off(decode_image(saved(image, "JPEG", quality=98, subsampling=2)), RGB) <= 40


def test_a_thumbnail_is_no_second_page():
    small = Image.fromarray(RGB[::4, ::4])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    data = saved(RGB, "TIFF", save_all=True, append_images=[small])
    assert off(decode_image(data), RGB) == 0


def test_places_that_are_no_files(tmp_path):
    with pytest.raises(UnreadableImage, match="no such file"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(UnreadableImage, match="it is a folder"):
        read_image(tmp_path / "folder.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone")
    with pytest.raises(UnreadableImage, match="the link points nowhere"):
        read_image(tmp_path / "link.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with pytest.raises(UnreadableImage, match="cannot be read"):
        read_image(tmp_path / "loop.jpg")
    with pytest.raises(UnreadableImage, match="null"):
        read_image("a\0b.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    caught = []

    def read():
        try:
            read_image(tmp_path / "pipe.jpg")
        except UnreadableImage as error:
            caught.append(error.reason)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert caught == ["it is a pipe, socket or device, not a file"]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
def test_a_device_is_refused(tmp_path):
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with pytest.raises(UnreadableImage, match="device"):
        read_image(tmp_path / "zero.jpg")


def test_permission_denied(tmp_path):
    path = tmp_path / "a.png"
    write_png(path, RGB)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_image(path)


def test_permission_denied_is_told_for_any_user(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_png(path, RGB)

    def deny(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_image(path)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.binary(min_size=1, max_size=20), st.floats(0, 1))
def test_damage_gives_an_image_or_an_error_never_a_crash(kind, junk, share):
    data = KINDS[kind][0]
    place = int(share * len(data))
    try:
        image = decode_image(data[:place] + junk + data[place + len(junk) :])
    except UnreadableImage as error:
        assert error.reason
    else:
        assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8


# ------------------------------------------------------------------------- resize


@pytest.mark.parametrize("shape", [(360, 363), (366, 369), (81, 44), (300, 300), (1, 5), (900, 7)])
@pytest.mark.parametrize("size", [224, 299, 30])
def test_resize_is_bilinear_with_half_pixel_centres(shape, size):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)

    def weights(length):
        places = (np.arange(size) + 0.5) * length / size - 0.5
        low = np.floor(places).astype(int)
        matrix = np.zeros((size, length))
        for row, (place, left) in enumerate(zip(places, low, strict=True)):
            matrix[row, np.clip(left, 0, length - 1)] += 1 - (place - left)
            matrix[row, np.clip(left + 1, 0, length - 1)] += place - left
        return matrix

    rows = np.tensordot(weights(shape[0]), image.astype(float), 1)
    expected = np.tensordot(weights(shape[1]), rows, (1, 1)).transpose(1, 0, 2)
    result = resize(image, size)
    assert result.shape == (size, size, 3) and result.dtype == np.float32
    assert np.abs(result - expected).max() < 2e-3


@pytest.mark.slow
def test_resize_is_tensorflows():
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("the extra 'train' is not installed")
    code = (
        "import sys, numpy as np, tensorflow as tf; from cellnet.images import resize\n"
        "rng = np.random.default_rng(0); worst = 0\n"
        "for shape in [(360, 363), (81, 44), (1, 1), (640, 480), (448, 448)]:\n"
        "  image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)\n"
        "  for size in (224, 299):\n"
        "    theirs = tf.image.resize(image, (size, size), 'bilinear', antialias=False).numpy()\n"
        "    worst = max(worst, np.abs(theirs - resize(image, size)).max())\n"
        "print(worst / 255)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Of networks' range [0, 1], on noise; TensorFlow rounds its coordinates to float32.
    assert float(done.stdout) < 2e-4


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_resize_refuses_what_is_no_image(shape):
    with pytest.raises(ValueError, match="must be"):
        resize(np.zeros(shape, np.uint8), 8)


def test_resize_refuses_a_size_of_nothing():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        resize(RGB, 0)


# ------------------------------------------------------------------------- writing


def test_written_images_come_back(tmp_path):
    write_png(tmp_path / "a.png", RGB)
    assert off(read_image(tmp_path / "a.png"), RGB) == 0
    write_jpeg(tmp_path / "a.jpg", RGB, quality=95)
    write_jpeg(tmp_path / "b.jpg", RGB, quality=95)
    assert off(read_image(tmp_path / "a.jpg"), RGB) < 40
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_writing_refuses_other_arrays_and_places(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        write_png(tmp_path / "a.png", RGB.astype(np.float32))
    with pytest.raises(CellnetError, match="cannot write the image"):
        write_png(tmp_path / "no" / "a.png", RGB)


def test_real_cells_are_read(shared_data):
    listing = find_images(shared_data / "pbc" / "neutrophil")
    assert listing.reasons == {"hidden": 1}
    for file in listing.files[:5]:
        assert read_image(file).shape[2] == 3
