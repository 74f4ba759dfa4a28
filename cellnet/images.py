"""Files in, RGB arrays out: the only code of cellnet that opens an image.

JPEG, PNG, BMP, TIFF and WebP become ``(h, w, 3) uint8`` RGB whatever they were: grey, palette, CMYK
(in a JPEG stored inverted, as Adobe does and every reader assumes), 16 bits a sample, transparent
(put on white, a slide's background) or rotated by EXIF. Limits are checked on the header, before
anything is decoded. Whatever cannot be used is an `UnreadableImage` with file and reason, a file of
several images among it: nothing is skipped or replaced. What the images show is left to others.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from cellnet.errors import CellnetError, UnreadableImage
from cellnet.headers import MAX_PIXELS, Header, Refused, read_header

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "decode_image",
    "read_bytes",
    "read_image",
    "resize",
    "write_jpeg",
    "write_png",
]

MAX_BYTES = 128 * 2**20
"""Larger files are refused before reading: MAX_PIXELS in three colours, uncompressed, fit in."""

# What libjpeg-turbo's short interface says of channels that are stored at unusual sizes.
_RARE_SAMPLING = "Could not determine subsampling"

# Errors reach the caller as exceptions; the decoder's own lines on standard error would be seconds.
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_bytes(path: str | Path) -> bytes:
    """Read an image's file without decoding it.

    Only a regular file of at most `MAX_BYTES` is read: never a pipe or a device, which might not
    end.

    Raises:
        UnreadableImage: When it cannot be read, with the reason.
    """
    try:
        _refuse_special(os.stat(path))
        # Not blocking, should the file have become a pipe since it was looked at.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            _refuse_special(os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise Refused(f"the file has over {MAX_BYTES} bytes, the limit")
        return data
    except Refused as refused:
        raise UnreadableImage(path, str(refused)) from None
    except FileNotFoundError:
        reason = "the link points nowhere" if os.path.islink(path) else "there is no such file"
        raise UnreadableImage(path, reason) from None
    except PermissionError:
        raise UnreadableImage(path, "permission denied") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImage(path, f"it cannot be read ({reason})") from None


def _refuse_special(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise Refused("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("it is a pipe, socket or device, not a file")
    if status.st_size > MAX_BYTES:
        raise Refused(f"the file has {status.st_size} bytes; the limit is {MAX_BYTES}")


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file.

    Args:
        path: A JPEG, PNG, BMP, TIFF or WebP file; its content decides, whatever its name.

    Returns:
        ``(height, width, 3) uint8``, RGB, upright.

    Raises:
        UnreadableImage: When the file cannot be read, is no such image, is truncated or is over
            `MAX_BYTES` or `MAX_PIXELS`.
    """
    return decode_image(read_bytes(path), path)


def decode_image(data: bytes, name: str | Path = "<bytes>") -> np.ndarray:
    """Decode the bytes of an image file.

    Args:
        data: All of the file.
        name: What to call it in an error.

    Returns:
        ``(height, width, 3) uint8``, RGB, upright. Images of any size from 1 x 1 on are accepted.

    Raises:
        UnreadableImage: As `read_image`.
    """
    try:
        if len(data) > MAX_BYTES:
            raise Refused(f"the file has {len(data)} bytes; the limit is {MAX_BYTES}")
        header = read_header(data)
        if header.width < 1 or header.height < 1:
            raise Refused(f"its header says {header.width} x {header.height} pixels")
        if header.width * header.height > MAX_PIXELS:
            raise Refused(
                f"it has {header.width} x {header.height} pixels; the limit is {MAX_PIXELS}"
            )
        return _decode_jpeg(header) if header.format == "JPEG" else _decode(header)
    except Refused as refused:
        raise UnreadableImage(name, str(refused)) from None


def _decode_jpeg(header: Header) -> np.ndarray:
    """Decode without forgiving: where a scan is damaged, decoders go on with wrong pixels.

    libjpeg fills the gap with grey or shifted blocks and says so on standard error at most; in its
    strict mode simplejpeg makes an error of it. Its pixels are OpenCV's to the last bit.
    """
    kind = "RGB"
    try:
        if simplejpeg.decode_jpeg_header(header.data, strict=True)[2] in ("CMYK", "YCCK"):
            kind = "CMYK"
        image = simplejpeg.decode_jpeg(header.data, kind, strict=True)
    except ValueError as error:
        complaint = " ".join(str(error).split())
        if _RARE_SAMPLING not in complaint:
            complaint = complaint.removeprefix("Corrupt JPEG data: ")
            raise Refused(f"the JPEG data are damaged ({complaint})") from None
        kind = "rare"
    if kind != "RGB":  # of four inks OpenCV makes colours, and it knows every sampling
        data = np.frombuffer(header.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise Refused("the JPEG data are damaged or of a kind that is not supported")
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return _upright(image, header.orientation)


def _decode(header: Header) -> np.ndarray:
    as_stored = bool(header.alpha) or header.deep
    flags = cv2.IMREAD_UNCHANGED if as_stored else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(header.data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise Refused(f"the {header.format} data are damaged or of a kind that is not supported")
    if sorted(image.shape[:2]) != sorted((header.height, header.width)):
        raise Refused("its size differs from what its header says")
    if as_stored:
        if image.dtype == np.uint16:
            image = cv2.convertScaleAbs(image, alpha=1 / 257)  # 65,535 is 255, rounded
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        if image.shape[2] == 4:
            image = _on_white(image, header.alpha)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if header.format == "PNG" or as_stored:
        image = _upright(image, header.orientation)
    return image


def _on_white(image: np.ndarray, alpha: str) -> np.ndarray:
    """Put a transparent image on white: ``(h, w, 4) uint8`` to ``(h, w, 3) uint8``."""
    opacity = image[..., 3:].astype(np.uint16)
    colour = image[..., :3].astype(np.uint16)
    if alpha == "straight":
        colour = (colour * opacity + 127) // 255
    return np.minimum(colour + 255 - opacity, 255).astype(np.uint8)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo EXIF's orientation (EXIF 2.3, tag 274)."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Bring an image to a network's input size: the one resize of cellnet.

    Bilinear with half-pixel centres and without antialiasing, the same as ``tf.image.resize``. The
    sides are scaled apart, so that an image that is not square is stretched.

    Args:
        image: ``(h, w, 3)``, uint8 or float32.
        size: The side wanted, in pixels.

    Returns:
        ``(size, size, 3) float32`` in the range of the input, not rounded.

    Raises:
        ValueError: When the image has no pixels or not three channels, or the size is not positive.
    """
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image must be (h, w, 3) with h, w >= 1; got {image.shape}")
    if size < 1:
        raise ValueError(f"the size must be at least 1; got {size}")
    return cv2.resize(np.asarray(image, np.float32), (size, size), interpolation=cv2.INTER_LINEAR)


def write_jpeg(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write ``(h, w, 3) uint8`` RGB as a JPEG file; the same pixels give the same bytes."""
    _write(path, image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write ``(h, w, 3) uint8`` RGB as a PNG file."""
    _write(path, image, ".png", [])


def _write(path: str | Path, image: np.ndarray, kind: str, options: list[int]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must be (h, w, 3) uint8; got {image.shape} {image.dtype}")
    done, data = cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise CellnetError(f"cannot encode the image {path} of shape {image.shape}")
    try:
        Path(path).write_bytes(data.tobytes())
    except OSError as error:
        raise CellnetError(f"cannot write the image {path}: {error.strerror}") from None
