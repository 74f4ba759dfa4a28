"""Find images that show the same photograph: copies of the pixels, near copies, overlapping crops.

A copy on both sides of a split makes a score look better than it is, and one image under two labels
teaches nothing. Near copies (saved again, resized, recoloured) are proposed by a perceptual hash;
crops of one field, moved against each other, by the size of their frequencies, which moving does
not change. Copies that are turned by quarters or mirrored, as augmentation makes them, are looked
for by both in all eight ways to lay a square on itself. All are confirmed pixel by pixel on small
versions of the images, laid over each other, because two cells in the middle of the same background
look alike to any hash. What becomes of them `prepare` says.
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
    "SPECTRUM_SIMILARITY",
    "TURNED_SIMILARITY",
    "Fingerprint",
    "Overlap",
    "connected",
    "fingerprint",
    "overlaps",
    "turned",
]

HASH_DISTANCE = 80
"""At most so many of the hash's 256 bits may differ between candidates. Of 240 PBC cells that lost
4 % of their height and width at one corner 99 % are within 80 bits and none within 40; of 62
million pairs of cells about 1,000 are, in each of the eight ways."""

SPECTRUM_SIMILARITY = 0.35
"""At least so similar (a cosine) are the frequencies of candidates for moved crops."""

TURNED_SIMILARITY = 0.6
"""The same of candidates that are turned or mirrored: copies of one cell are looked for, not crops
of one field. 240 PBC cells, moved by a tenth of their side, are at 0.66 or more with themselves."""

NEIGHBOURS = 40
"""At most so many candidates for moved crops are looked at for each image, the most similar."""

EXHAUSTIVE = 400
"""Up to so many images every pair is a candidate as it stands."""

EXHAUSTIVE_TURNED = 16
"""Up to so many images every pair is a candidate in all eight ways."""

CORRELATION = 0.9
"""At least so high is the correlation of the colours where two images of one photograph overlap.
Measured on 11,146 cells (Acevedo et al. 2020): at least 0.97 for true pairs, at most 0.81 for all
others, as looked at by eye; at most 0.87 for others in the best of eight ways."""

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
        turn: How the second has to be turned to lie on the first; see `turned`.
    """

    first: int
    second: int
    shift: float
    correlation: float
    turn: int = 0


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
    bits = _hash(_low_frequencies(small)[None])[0]
    return Fingerprint(hashlib.sha256(data).hexdigest(), pixels.digest(), bits, small)


def _low_frequencies(thumbnail: np.ndarray) -> np.ndarray:
    """Give ``(16, 16) float32``, the lowest frequencies of the cosine transform."""
    grey = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = cv2.dct(grey)[:16, :16]
    low[0, 0] = 0.0  # the mean brightness says nothing
    return low


def _turned_frequencies(low: np.ndarray, turn: int) -> np.ndarray:
    """The low frequencies ``(n, 16, 16)`` of the turned images: as `turned`, without the images.

    Mirrored, every other cosine changes its sign.
    """
    sign = np.where(np.arange(low.shape[1]) % 2, -1, 1).astype(low.dtype)
    low = low * sign if turn >= 4 else low
    for _ in range(turn % 4):
        low = low.swapaxes(1, 2) * sign[:, None]
    return low


def _hash(low: np.ndarray) -> np.ndarray:
    """Give ``(n, 4) uint64``, the perceptual hashes of ``(n, 16, 16)`` low frequencies."""
    low = low.reshape(len(low), -1)
    return np.packbits(low > np.median(low, 1, keepdims=True), axis=1).view(np.uint64)


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """Lay an image on itself in one of the eight ways of a square.

    Args:
        image: ``(h, w, ...)``.
        turn: 0 to 3: turned by so many quarters against the clock; 4 to 7: mirrored left to right
            before.

    Returns:
        A contiguous array, height and width swapped where the quarters are odd.
    """
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if turn >= 4 else image, turn % 4))


def overlaps(prints: Sequence[Fingerprint], workers: int | None = None) -> list[Overlap]:
    """Find the pairs of images that are of one photograph, in place or moved by up to a third.

    Turned and mirrored copies are found where they are moved by up to a tenth. A pair that fits in
    several ways (a cell may be its own mirror image) is told once: as it stands where it fits so,
    else in the best way. Time grows a little faster than the number of images: 45 s of one core for
    eleven thousand.

    Args:
        prints: Of the images.
        workers: Threads; as many as there are processors when None.

    Returns:
        The pairs, in the order of their indices.
    """
    candidates = _candidates(prints)

    def compare(batch: list[tuple[int, int, int]]) -> list[Overlap]:
        found = []
        for (i, j, turn), (dy, dx) in zip(batch, _moved(prints, batch), strict=True):
            second = turned(prints[j].thumbnail, turn)
            overlap = _lay_over(prints[i].thumbnail, second, dy, dx)
            if overlap is not None:
                found.append(Overlap(i, j, *overlap, turn))
        return found

    best: dict[tuple[int, int], Overlap] = {}
    batches = [candidates[start : start + 512] for start in range(0, len(candidates), 512)]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        results = pool.map(compare, batches)
        for found in tqdm(results, "comparing", len(batches), unit="batch", disable=None):
            for it in found:
                held = best.setdefault((it.first, it.second), it)
                if held.turn and it.correlation > held.correlation:
                    best[it.first, it.second] = it
    return list(best.values())


def _candidates(prints: Sequence[Fingerprint]) -> list[tuple[int, int, int]]:
    """Give the pairs to look at and how to turn the second: ``(first, second, turn)``, sorted."""
    number = len(prints)
    exhaustive = range(8 if number <= EXHAUSTIVE_TURNED else 1 if number <= EXHAUSTIVE else 0)
    every = {(i, j, t) for i in range(number) for j in range(i + 1, number) for t in exhaustive}
    left = [turn for turn in range(8) if turn not in exhaustive]
    if not left:
        return sorted(every)
    return sorted(every.union(_close_hashes(prints, left), _close_spectra(prints, left)))


def _close_hashes(
    prints: Sequence[Fingerprint], turns: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    bits = np.stack([it.bits for it in prints])
    low = np.stack([_low_frequencies(it.thumbnail) for it in prints])
    block = max(1, 1_000_000 // len(bits))
    for turn in turns:
        others = _hash(_turned_frequencies(low, turn))
        for start in range(0, len(bits), block):
            here, rest = bits[start : start + block], others[start:]
            apart = np.zeros((len(here), len(rest)), np.uint16)
            for word in range(bits.shape[1]):
                apart += np.bitwise_count(here[:, None, word] ^ rest[None, :, word])
            for i, j in np.argwhere(apart <= HASH_DISTANCE):
                if i < j:
                    yield start + int(i), start + int(j), turn


def _grey(thumbnails: Iterable[np.ndarray]) -> np.ndarray:
    grey = np.stack([cv2.cvtColor(it, cv2.COLOR_RGB2GRAY) for it in thumbnails])
    grey = grey.astype(np.float32)
    return (grey - grey.mean((1, 2), keepdims=True)) * _WINDOW


_WINDOW = np.outer(np.hanning(SIDE + 2)[1:-1], np.hanning(SIDE + 2)[1:-1]).astype(np.float32)


def _close_spectra(
    prints: Sequence[Fingerprint], turns: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    sizes = _spectra(prints)
    mean = sizes.mean(0)
    spectra = _unit(sizes - mean)
    for half in (0, 1, 4, 5):
        # Turning by two quarters leaves the sizes of the frequencies as they are.
        ways = [turn for turn in (half, half + 2) if turn in turns]
        if not ways:
            continue
        others = _unit(sizes[:, _turned_places(half)] - mean) if half else spectra
        least = [SPECTRUM_SIMILARITY if turn == 0 else TURNED_SIMILARITY for turn in ways]
        for i, j, value in _most_similar(spectra, others, min(least)):
            for turn, enough in zip(ways, least, strict=True):
                if value >= enough:
                    yield (i, j, turn) if i < j else (j, i, _inverse(turn))


def _most_similar(
    spectra: np.ndarray, others: np.ndarray, least: float
) -> Iterator[tuple[int, int, float]]:
    """Give for each row of the ones the most similar rows of the others, but for its own."""
    for start in range(0, len(spectra), 512):
        similar = spectra[start : start + 512] @ others.T
        similar[np.arange(len(similar)), start + np.arange(len(similar))] = -1.0
        close = similar >= least
        crowded = np.flatnonzero(np.count_nonzero(close, axis=1) > NEIGHBOURS)
        if len(crowded):
            last = np.partition(similar[crowded], -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]
            close[crowded] &= similar[crowded] >= last[:, None]
        for row, place in np.argwhere(close):
            yield start + int(row), int(place), float(similar[row, place])


def _spectra(prints: Sequence[Fingerprint]) -> np.ndarray:
    """Give ``(n, 780) float32``, the logarithms of the sizes of low frequencies.

    They stand row by row: 0 to 19 and -19 to -1 waves downwards, 0 to 19 to the right.
    """
    parts = []
    for start in range(0, len(prints), 1024):
        size = np.abs(np.fft.rfft2(_grey(it.thumbnail for it in prints[start : start + 1024])))
        low = np.concatenate([size[:, :20, :20], size[:, -19:, :20]], 1)
        parts.append(np.log1p(low).reshape(len(size), -1).astype(np.float32))
    return np.concatenate(parts)


def _turned_places(turn: int) -> np.ndarray:
    """Where in an image's `_spectra` those of the turned image stand: ``(780,) int``.

    A wave and the one that runs against it have the same size.
    """
    down, right = np.meshgrid(np.r_[:20, -19:0], np.arange(20), indexing="ij")
    down, right = {1: (right, -down), 4: (down, -right), 5: (right, down)}[turn]
    sign = np.where(right < 0, -1, 1)
    return (down * sign % 39 * 20 + right * sign).ravel()


def _unit(spectra: np.ndarray) -> np.ndarray:
    return spectra / (np.linalg.norm(spectra, axis=1, keepdims=True) + 1e-6)


def _inverse(turn: int) -> int:
    """The turn that takes a turn back; mirroring and turning does so itself."""
    return turn if turn >= 4 else -turn % 4


def _moved(prints: Sequence[Fingerprint], ties: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Estimate how far the second of each pair, turned, is moved: ``(n, 2) int``, down, right."""
    sides = [((i, 0), (j, turn)) for i, j, turn in ties]
    place = {
        it: position for position, it in enumerate(sorted({it for two in sides for it in two}))
    }
    waves = np.fft.rfft2(_grey(turned(prints[index].thumbnail, turn) for index, turn in place))
    first = waves[[place[one] for one, _ in sides]]
    second = waves[[place[two] for _, two in sides]]
    # Phase alone gives a sharp peak; the square root keeps faint frequencies from shouting.
    cross = second * np.conj(first)
    cross /= np.sqrt(np.abs(cross)) + 1e-6
    peaks = np.fft.irfft2(cross, s=(SIDE, SIDE)).reshape(len(ties), -1).argmax(1)
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
