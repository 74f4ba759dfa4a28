"""What several test modules share: the folder of real cells, if there is one, and drawn cells."""

import functools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellnet.cells import CLASSES
from cellnet.draw import draw_cell
from cellnet.images import write_png

# A shell that puts the suite into the background has it ignore SIGINT, and so would every program
# that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with ``pbc``, ``bccd_cells`` and ``zheng_cellavision``; skips where it is not.

    ``CELLNET_SHARED_DATA`` names it, else it is ``../shared/data`` beside the checkout.
    """
    named = os.environ.get("CELLNET_SHARED_DATA")
    folder = Path(named or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real cells: {folder} is not there (CELLNET_SHARED_DATA names another)")
    return folder.resolve()


@pytest.fixture(scope="session")
def drawn_cell() -> Callable[..., np.ndarray]:
    """A function that draws a cell: kind, seed and size to ``(size, size, 3) uint8``."""

    @functools.cache
    def draw(kind: str = "neutrophil", seed: int = 0, size: int = 96, **how) -> np.ndarray:
        image = draw_cell(kind, np.random.default_rng(seed), size=size, **how)
        image.flags.writeable = False  # others get the same one
        return image

    return draw


@pytest.fixture
def class_folders(tmp_path, drawn_cell) -> Callable[..., Path]:
    """A function that writes so many drawn cells of each class as PNG, one folder a class."""

    def write(per_class: int = 3, classes=CLASSES, size: int = 64, name: str = "cells") -> Path:
        folder = tmp_path / name
        for label in classes:
            (folder / label).mkdir(parents=True, exist_ok=True)
            for seed in range(per_class):
                write_png(folder / label / f"{seed:03}.png", drawn_cell(label, seed, size))
        return folder

    return write


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster for the tests of a module; skips where it does not start."""
    from ray_cluster import Cluster

    # Sockets of Ray have long names, and a socket's name may have 107 characters in all.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    made = None
    try:
        made = Cluster(folder)
        yield made
    finally:
        if made is not None:
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)
