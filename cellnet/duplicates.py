"""Find images that show the same photograph: copies of the pixels, near copies, overlapping crops.

A copy on both sides of a split makes a score look better than it is, and one image under two labels
teaches nothing. Near copies (saved again, resized, recoloured) are proposed by a perceptual hash;
crops of one field, moved against each other, by the size of their frequencies, which moving does
not change. Both are confirmed pixel by pixel on small versions of the images, laid over each other,
because two cells in the middle of the same background look alike to any hash. What becomes of them
`prepare` says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm import tqdm

__all__ = [
    "CORRELATION",
    "HASH_DISTANCE",
    "SAME_CENTRE",
    "Fingerprint",
    "Overlap",
    "connected",
    "fingerprint",
    "overlaps",
]

HASH_DISTANCE = 40
"""At most so many of the hash's 256 bits may differ between candidates."""

SPECTRUM_SIMILARITY = 0.35
"""At least so similar (a cosine) are the frequencies of candidates for moved crops."""

NEIGHBOURS = 40
"""At most so many candidates for moved crops are looked at for each image, the most similar."""

EXHAUSTIVE = 400
"""Up to so many images every pair is a candidate."""

CORRELATION = 0.9
"""At least so high is the correlation of the colours where two images of one photograph overlap.
Measured on 11,146 cells (Acevedo et al. 2020): at least 0.97 for true pairs, at most 0.81 for all
others, as looked at by eye."""

SAME_CENTRE = 0.1
"""Images that are moved by at most this share of their side show the same cell: near copies.
Moved further, they are crops of one field around two cells."""

SIDE = 64
_LEAST_OVERLAP = 0.3


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image to compare it with others.

    Attributes:
        sha256: Of the file's bytes, in hexadecimal.
        pixels: SHA-256 of the decoded pixels and their shape.
        bits: ``(4,) uint64``, the perceptual hash.
        thumbnail: ``(64, 64, 3) uint8``.
    """

    sha256: str
    pixels: bytes
    bits: np.ndarray
    thumbnail: np.ndarray


@dataclass(frozen=True)
class Overlap:
    """Two images of one photograph.

    Attributes:
        first: Index of the one.
        second: Index of the other, larger than the first.
        shift: How far the second is moved against the first, as a share of the side.
        correlation: Of the colours where they overlap.
    """

    first: int
    second: int
    shift: float
    correlation: float


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
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))[:16, :16].ravel()
    low[0] = 0.0  # the mean brightness says nothing
    bits = np.packbits(low > np.median(low)).view(np.uint64)
    return Fingerprint(hashlib.sha256(data).hexdigest(), pixels.digest(), bits, small)


def overlaps(prints: Sequence[Fingerprint], workers: int | None = None) -> list[Overlap]:
    """Find the pairs of images that are of one photograph, in place or moved by up to a third.

    Time grows a little faster than the number of images: 35 s of one core for ten thousand.

    Args:
        prints: Of the images.
        workers: Threads; as many as there are processors when None.

    Returns:
        The pairs, in the order of their indices.
    """
    number = len(prints)
    if number <= EXHAUSTIVE:
        pairs = [(i, j) for i in range(number) for j in range(i + 1, number)]
    else:
        pairs = sorted(set(_close_hashes(prints)) | set(_close_spectra(prints)))

    def compare(batch: list[tuple[int, int]]) -> list[Overlap]:
        found = []
        for (i, j), (dy, dx) in zip(batch, _moved(prints, batch), strict=True):
            overlap = _lay_over(prints[i].thumbnail, prints[j].thumbnail, dy, dx)
            if overlap is not None:
                found.append(Overlap(i, j, *overlap))
        return found

    batches = [pairs[start : start + 512] for start in range(0, len(pairs), 512)]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        results = pool.map(compare, batches)
        bar = tqdm(results, "comparing", len(batches), unit="batch", disable=None)
        return [overlap for found in bar for overlap in found]


def _close_hashes(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    bits = np.stack([it.bits for it in prints])
    block = max(1, 4_000_000 // len(bits))
    for start in range(0, len(bits), block):
        here, rest = bits[start : start + block], bits[start:]
        apart = np.zeros((len(here), len(rest)), np.uint16)
        for word in range(bits.shape[1]):
            apart += np.bitwise_count(here[:, None, word] ^ rest[None, :, word])
        for i, j in np.argwhere(apart <= HASH_DISTANCE):
            if i < j:
                yield start + int(i), start + int(j)


def _grey(prints: Sequence[Fingerprint]) -> np.ndarray:
    grey = np.stack([cv2.cvtColor(it.thumbnail, cv2.COLOR_RGB2GRAY) for it in prints])
    grey = grey.astype(np.float32)
    return (grey - grey.mean((1, 2), keepdims=True)) * _WINDOW


_WINDOW = np.outer(np.hanning(SIDE + 2)[1:-1], np.hanning(SIDE + 2)[1:-1]).astype(np.float32)


def _close_spectra(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    parts = []
    for start in range(0, len(prints), 1024):
        size = np.abs(np.fft.rfft2(_grey(prints[start : start + 1024])))
        low = np.concatenate([size[:, :20, :20], size[:, -19:, :20]], 1)
        parts.append(np.log1p(low).reshape(len(size), -1).astype(np.float32))
    spectra = np.concatenate(parts)
    spectra -= spectra.mean(0)
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True) + 1e-6
    for start in range(0, len(spectra), 512):
        similar = spectra[start : start + 512] @ spectra.T
        similar[np.arange(len(similar)), start + np.arange(len(similar))] = -1.0
        most = np.argpartition(similar, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
        close = np.take_along_axis(similar, most, 1) >= SPECTRUM_SIMILARITY
        for row, place in np.argwhere(close):
            i, j = start + int(row), int(most[row, place])
            yield min(i, j), max(i, j)


def _moved(prints: Sequence[Fingerprint], pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Estimate how far the second of each pair is moved: ``(n, 2) int``, down and right."""
    used = sorted({index for pair in pairs for index in pair})
    place = {index: position for position, index in enumerate(used)}
    waves = np.fft.rfft2(_grey([prints[index] for index in used]))
    first = waves[[place[i] for i, _ in pairs]]
    second = waves[[place[j] for _, j in pairs]]
    # Phase alone gives a sharp peak; the square root keeps faint frequencies from shouting.
    cross = second * np.conj(first)
    cross /= np.sqrt(np.abs(cross)) + 1e-6
    peaks = np.fft.irfft2(cross, s=(SIDE, SIDE)).reshape(len(pairs), -1).argmax(1)
    shift = np.stack([peaks // SIDE, peaks % SIDE], 1)
    return np.where(shift > SIDE // 2, shift - SIDE, shift)


def _lay_over(
    first: np.ndarray, second: np.ndarray, dy: int, dx: int
) -> tuple[float, float] | None:
    """Give shift and correlation of two thumbnails, or None when they are different photographs."""
    height, width = SIDE - abs(dy), SIDE - abs(dx)
    if height * width < _LEAST_OVERLAP * SIDE * SIDE:
        return None
    one = first[max(0, -dy) :, max(0, -dx) :][:height, :width]
    # Without its rim the second fits in three by three ways: the best makes up for rounding.
    two = second[max(0, dy) :, max(0, dx) :][1 : height - 1, 1 : width - 1]
    values = cv2.matchTemplate(one, two, cv2.TM_CCOEFF_NORMED)
    y, x = divmod(int(values.argmax()), 3)
    value = float(values[y, x])
    if value < CORRELATION:
        return None
    if min(part.std((0, 1)).max() for part in (one, two)) < 1.0:
        # Hardly any structure to correlate: even areas are the same when their colours are.
        if np.abs(first.mean((0, 1)) - second.mean((0, 1))).max() >= 1.0:
            return None
        return 0.0, 1.0
    return float(np.hypot(dy + 1 - y, dx + 1 - x)) / SIDE, min(value, 1.0)


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
