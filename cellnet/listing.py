"""Which files of a folder are images, by their names, and what is said of the others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cellnet.errors import CellnetError, UnreadableImage

__all__ = [
    "EXTENSIONS",
    "Listing",
    "check_some",
    "find_images",
    "list_names",
    "name_below",
    "told_passed_over",
]

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp")
)
"""What the name of an image ends in, in lower or upper case."""


@dataclass
class Listing:
    """What `find_images` found in a folder.

    Attributes:
        folder: The folder that was given.
        files: The images by name, sorted by the path below the folder. Not opened yet.
        passed_over: What was left out and why, in the same order; a folder that was not entered is
            one.
        unreadable: Folders that could not be listed; what they hold is unknown.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)
    unreadable: list[UnreadableImage] = field(default_factory=list)

    def relative(self, file: Path) -> str:
        """Give a file's path below the folder, with ``/`` between folders."""
        return file.relative_to(self.folder).as_posix()

    @property
    def reasons(self) -> dict[str, int]:
        """How many were left out for which reason."""
        return dict(Counter(reason for _, reason in self.passed_over))


def find_images(folder: str | Path) -> Listing:
    """Find the images in a folder and its sub-folders, by their names.

    Hidden files and folders (their names begin with a dot) and names that are no image's (see
    `EXTENSIONS`) are passed over and counted. Links are followed; a folder that is reached twice is
    walked once. An image's name on a broken link or a pipe is listed, so that reading it says why
    it cannot be used.

    Raises:
        CellnetError: When there is no such folder, or it cannot be listed.
    """
    folder = Path(folder)
    listing = Listing(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise CellnetError(f"the folder {folder} {what}; give a folder of images")
    seen: set[tuple[int, int]] = set()
    # Linked folders wait until the real ones are walked: a folder then keeps its own name.
    waiting, linked = [folder], []
    while waiting or linked:
        here = waiting.pop() if waiting else linked.pop(0)
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                listing.passed_over.append((here, "links to a folder that was walked already"))
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if here == folder:
                raise CellnetError(f"cannot list the folder {here}: {error.strerror}") from None
            listing.unreadable.append(UnreadableImage(here, error.strerror or str(error)))
            continue
        for entry in found:
            path = here / entry.name
            if entry.name.startswith("."):
                listing.passed_over.append((path, "hidden"))
            elif entry.is_dir():
                (linked if entry.is_symlink() else waiting).append(path)
            else:
                _enter(listing, path)
    return _sorted(listing)


def list_names(folder: str | Path, names: Iterable[str]) -> Listing:
    """List files that are in no folder, as `find_images` would if they were in this one.

    Args:
        folder: The folder to speak of; it need not exist.
        names: Paths below it with ``/`` between folders, each one once, without ``.`` and ``..``;
            those that end in ``/`` are folders.
    """
    listing = Listing(Path(folder))
    hidden: set[str] = set()
    for name in names:
        parts = name.split("/")
        depth = next((at for at, part in enumerate(parts) if part.startswith(".")), None)
        if depth is not None:  # a folder that is not entered is one entry, whatever it holds
            hidden.add("/".join(parts[: depth + 1]))
        elif parts[-1]:
            _enter(listing, listing.folder / name)
    listing.passed_over += [(listing.folder / name, "hidden") for name in hidden]
    return _sorted(listing)


def _enter(listing: Listing, path: Path) -> None:
    if path.suffix.lower() in EXTENSIONS:
        listing.files.append(path)
    else:
        listing.passed_over.append((path, "not named like an image"))


def _sorted(listing: Listing) -> Listing:
    listing.files.sort(key=listing.relative)
    listing.passed_over.sort(key=lambda it: listing.relative(it[0]))
    return listing


def name_below(folder: Path, path: Path) -> str:
    """Name a file by its path below a folder, with ``/`` between folders."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def told_passed_over(listing: Listing) -> list[str]:
    """Say how many files of a folder are no images; empty where all are."""
    if not listing.passed_over:
        return []
    reasons = ", ".join(f"{number} {reason}" for reason, number in listing.reasons.items())
    count = len(listing.passed_over)
    return [f"passed over: {count} {'entry' if count == 1 else 'entries'} ({reasons})"]


def check_some(listing: Listing, unreadable: Sequence[dict[str, str]]) -> None:
    """Check that something is left to answer.

    Args:
        listing: What was found in a folder.
        unreadable: ``{"file", "reason"}``, first of folders, then of images.

    Raises:
        CellnetError: There is no image, or none can be read; says why.
    """
    if not listing.files:
        notes = [*told_passed_over(listing), *(str(error) for error in listing.unreadable)]
        raise CellnetError(
            f"there is no image in the folder {listing.folder}"
            + (f" ({'; '.join(notes)})" if notes else "")
        )
    images = unreadable[len(listing.unreadable) :]
    if len(images) >= len(listing.files):
        raise CellnetError(
            f"none of the {len(listing.files)} images in the folder {listing.folder} can be read; "
            f"the first is {images[0]['file']}: {images[0]['reason']}"
        )
