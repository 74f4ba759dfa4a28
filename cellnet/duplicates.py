"""Find images that show the same photograph: copies of the bytes, of the pixels, and near copies.

A copy on both sides of a split makes a score look better than it is, and one image under two
labels teaches nothing. Near copies (saved again, resized, recoloured a little) are proposed by a
perceptual hash and confirmed on small versions of the images, because two different cells in the
middle of the same background have hashes that are close. What becomes of them `prepare` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = [
    "HASH_DISTANCE",
    "THUMBNAIL_DIFFERENCE",
    "Fingerprint",
    "connected",
    "fingerprint",
    "near_copies",
]

HASH_DISTANCE = 40
"""At most so many of the hash's 256 bits may differ between candidates."""

THUMBNAIL_DIFFERENCE = 6.0
"""At most so far apart may confirmed near copies be, as a root mean square over the pixels of their
thumbnails, in grey levels, once brightness and contrast of each colour are made equal."""

_SIDE = 32


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image to compare it with others.

    Attributes:
        sha256: Of the file's bytes, in hexadecimal.
        pixels: SHA-256 of the decoded pixels and their shape.
        bits: ``(4,) uint64``, the perceptual hash.
        thumbnail: ``(32, 32, 3) uint8``.
    """

    sha256: str
    pixels: bytes
    bits: np.ndarray
    thumbnail: np.ndarray


def fingerprint(data: bytes, image: np.ndarray) -> Fingerprint:
    """Take an image's fingerprint.

    The perceptual hash tells which of the 256 lowest frequencies of the discrete cosine transform
    of the grey image, 64 x 64 pixels, are above their median.

    Args:
        data: The file's bytes.
        image: ``(h, w, 3) uint8``, decoded from them.
    """
    image = np.ascontiguousarray(image)
    pixels = hashlib.sha256(repr(image.shape).encode())
    pixels.update(image)
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = cv2.dct(grey)[:16, :16].ravel()
    low[0] = 0.0  # the mean brightness says nothing
    bits = np.packbits(low > np.median(low)).view(np.uint64)
    thumbnail = cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Fingerprint(hashlib.sha256(data).hexdigest(), pixels.digest(), bits, thumbnail)


def candidates(prints: Sequence[Fingerprint], distance: int) -> list[tuple[int, int, int]]:
    """Give all pairs ``(i, j, distance)``, i < j, whose hashes differ in at most that many bits.

    Every pair is compared: about a second for ten thousand images, quadratic in their number.
    """
    if len(prints) < 2:
        return []
    bits = np.stack([it.bits for it in prints])
    found = []
    block = max(1, 4_000_000 // len(bits))
    for start in range(0, len(bits), block):
        here, rest = bits[start : start + block], bits[start:]
        apart = np.zeros((len(here), len(rest)), np.uint16)
        for word in range(bits.shape[1]):
            apart += np.bitwise_count(here[:, None, word] ^ rest[None, :, word])
        for i, j in np.argwhere(apart <= distance):
            if i < j:
                found.append((start + int(i), start + int(j), int(apart[i, j])))
    return found


def thumbnail_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square difference of two thumbnails, brightness and contrast made equal.

    Args:
        first: ``(32, 32, 3) uint8``.
        second: The same shape; its colours are fitted to the first's, each by its own gain (0.8 to
            1.25) and offset.

    Returns:
        In grey levels, 0 for the same image.
    """
    one = first.reshape(-1, 3).astype(np.float64)
    two = second.reshape(-1, 3).astype(np.float64)
    one -= one.mean(0)
    two -= two.mean(0)
    power = (two * two).sum(0)
    gain = np.divide((one * two).sum(0), power, out=np.ones(3), where=power > 0)
    return float(np.sqrt(np.mean((one - np.clip(gain, 0.8, 1.25) * two) ** 2)))


def near_copies(prints: Sequence[Fingerprint]) -> list[tuple[int, int, float]]:
    """Find the pairs of images that show the same photograph.

    Returns:
        ``(i, j, difference)`` with i < j, difference as `thumbnail_difference`.
    """
    pairs = []
    for i, j, _ in candidates(prints, HASH_DISTANCE):
        difference = thumbnail_difference(prints[i].thumbnail, prints[j].thumbnail)
        if difference <= THUMBNAIL_DIFFERENCE:
            pairs.append((i, j, difference))
    return pairs


def connected(number: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Join pairs into groups.

    Args:
        number: Of the things that pairs index, from 0.
        pairs: Which belong together.

    Returns:
        Every index in exactly one group; groups and their members in rising order.
    """
    parent = list(range(number))

    def top(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second in pairs:
        one, two = top(first), top(second)
        parent[max(one, two)] = min(one, two)
    groups: dict[int, list[int]] = {}
    for index in range(number):
        groups.setdefault(top(index), []).append(index)
    return list(groups.values())
