"""Many files through the networks: decode, run, answer in order, with bounded memory.

Each thread takes one file at a time through all that has to be done with it, decoding and inference
alike, both of which release Python's lock; so they overlap without a queue between them, and a file
is decoded once for both networks. Only a few files are under way at any time, however many are to
come. What the answers mean is left to ``smear``, and to ``evaluate`` and ``calibrate``.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cellnet.appearance import Look, look_at
from cellnet.bundle import Bundle
from cellnet.cells import NEUTROPHIL
from cellnet.errors import UnreadableImage
from cellnet.images import decode_image, read_bytes
from cellnet.runtime import default_threads
from cellnet.smear import Opinion, Specialist, name_cell

__all__ = ["CellReader", "Reading", "in_order", "progress_bar", "score_files"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reading:
    """What both networks say of one image, and how it looks.

    Attributes:
        probabilities: ``(8,) float32``, Model 1's answer.
        granularity: DysplasiaNet's score where Model 1 says neutrophil, else None.
        look: Size, stain and hash of the pixels.
        specialists: By name of each specialist of the cell's class, what it says.
    """

    probabilities: np.ndarray
    granularity: float | None
    look: Look
    specialists: Mapping[str, Opinion] = field(default_factory=dict)


class CellReader:
    """Both networks on one file after the other; safe to call from several threads at once.

    Attributes:
        model1: The bundle that names cells.
        dysplasianet: The bundle that scores neutrophils.
        specialists: Who else is asked about the cells of a class, and its bundle.
    """

    def __init__(
        self,
        model1: Bundle,
        dysplasianet: Bundle,
        specialists: Sequence[tuple[Specialist, Bundle]] = (),
    ):
        self.model1 = model1.require_eight()
        self.dysplasianet = dysplasianet.require("granularity")
        self.specialists = tuple(specialists)
        self._name = model1.runtime()
        self._score = dysplasianet.runtime()
        self._ask = [(one, bundle, bundle.runtime()) for one, bundle in self.specialists]

    def __call__(self, path: Path) -> Reading | UnreadableImage:
        """Read one image; an unreadable one is returned as the error that says why."""
        try:
            data = read_bytes(path)
        except UnreadableImage as error:
            return error
        return self.read(data, path)

    def read(self, data: bytes, path: Path) -> Reading | UnreadableImage:
        """Read one image from the bytes of its file, which is called `path` in an error."""
        try:
            image = decode_image(data, path)
        except UnreadableImage as error:
            return error
        probabilities = self._name.predict(self.model1.prepare(image)[None])[0]
        score, label = None, name_cell(probabilities)[0]
        if label == NEUTROPHIL:
            score = float(self._score.predict(self.dysplasianet.prepare(image)[None])[0, 0])
        said = {
            one.name: Opinion.of(one, runtime.predict(bundle.prepare(image)[None])[0])
            for one, bundle, runtime in self._ask
            if one.of == label
        }
        return Reading(probabilities, score, look_at(image), said)

    def warm_up(self) -> None:
        """Run every network once, so that the first image is not slower than the others.

        Raises:
            CellnetError: One of them cannot be run.
        """
        for runtime in (self._name, self._score, *(it for _, _, it in self._ask)):
            runtime.predict(np.zeros((1, *runtime.shape), np.float32))


def score_files(
    bundle: Bundle,
    paths: Iterable[str | os.PathLike[str]],
    *,
    root: str | os.PathLike[str] | None = None,
    sha256: Iterable[str] | None = None,
    progress: str | None = None,
    threads: int | None = None,
) -> Iterator[tuple[Path, np.ndarray | UnreadableImage]]:
    """Run one network on many files.

    Args:
        bundle: The network.
        paths: The images' files; an iterable of any length, never held as a whole.
        root: The folder that relative paths start from.
        sha256: What each file must have, in the order of the paths, as hexadecimal text; None to
            take the files as they are. Another file is answered like one that cannot be read.
        progress: What to write before a progress bar on standard error; None for no bar.
        threads: How many files to work on at a time; None for one a core.

    Yields:
        For each path, in the order given: the path as it was given, and either the answer,
        ``(outputs,) float32`` (probabilities, or one score), or the error that says why the image
        cannot be read.

    Raises:
        CellnetError: The model cannot be run.
    """
    runtime = bundle.runtime()
    folder = None if root is None else Path(root)

    def score(asked: tuple[Path, str | None]) -> np.ndarray | UnreadableImage:
        path = asked[0] if folder is None else folder / asked[0]
        try:
            data = read_bytes(path)
            if asked[1] is not None and hashlib.sha256(data).hexdigest() != asked[1]:
                raise UnreadableImage(path, "its sha256 is not that of the manifest")
            image = decode_image(data, path)
        except UnreadableImage as error:
            return error
        return runtime.predict(bundle.prepare(image)[None])[0]

    total = len(paths) if hasattr(paths, "__len__") else None
    hashes = repeat(None) if sha256 is None else sha256
    asked = zip((Path(path) for path in paths), hashes, strict=sha256 is not None)
    with closing(in_order(score, asked, threads)) as answers:
        for (path, _), answer in progress_bar(answers, progress, total):
            yield path, answer


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """Apply a function in threads, and give back each item with its result, in the items' order.

    At most four items for each thread are under way or waiting to be taken, so neither a long input
    nor a slow reader fills the memory.

    Args:
        function: Called in threads.
        items: Taken one by one, in the caller's thread.
        threads: How many; None for one a core.

    Raises:
        Exception: Whatever the function raises, at the place of the item that it was raised for.
    """
    threads = default_threads() if threads is None else max(1, threads)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="cellnet") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) >= 4 * threads:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def progress_bar(
    items: Iterable[Item], title: str | None, total: int | None = None, unit: str = "image"
) -> Any:
    """Show a progress bar on standard error while items pass, where that is a terminal.

    Args:
        items: What passes.
        title: What to write before the bar; None for no bar.
        total: How many will come, where known.
        unit: What one of them is.

    Returns:
        The items, with a bar or as they were.
    """
    if title is None or sys.stderr is None or not sys.stderr.isatty():
        return items
    from tqdm import tqdm  # a twentieth of a second, for terminals only

    return tqdm(items, desc=title, total=total, unit=f" {unit}s", delay=1, leave=False)
