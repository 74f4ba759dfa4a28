"""Which files of a folder are taken for images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cellnet.errors import CellnetError
from cellnet.listing import find_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_find_images_walks_sorts_and_counts(tmp_path):
    touch(tmp_path, "b/2.PNG", "b/10.jpg", "a.tiff", "c/d/e.WebP", "z.bmp", "b.jpeg")
    touch(tmp_path, ".hidden.png", ".git/x.png", "b/Thumbs.db", "notes.txt", "b/.DS_1.jpg", "png")
    listing = find_images(tmp_path)
    relative = [listing.relative(file) for file in listing.files]
    assert relative == sorted(relative)
    assert set(relative) == {"a.tiff", "b.jpeg", "b/10.jpg", "b/2.PNG", "c/d/e.WebP", "z.bmp"}
    assert listing.reasons == {"hidden": 3, "not named like an image": 3}
    assert len(listing.passed_over) == 6


def test_an_empty_folder_has_no_images_and_nothing_passed_over(tmp_path):
    listing = find_images(tmp_path)
    assert listing.files == [] and listing.passed_over == [] and listing.unreadable == []


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "a/1.png", "elsewhere/2.png")
    root = tmp_path / "a"
    (root / "again").symlink_to(root)
    (root / "0").symlink_to(tmp_path / "elsewhere")
    (root / "1").symlink_to(tmp_path / "elsewhere")
    (root / "file.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    (root / "broken.png").symlink_to(tmp_path / "nowhere")
    listing = find_images(root)
    names = [listing.relative(file) for file in listing.files]
    assert names == ["0/2.png", "1.png", "broken.png", "file.png"]
    assert listing.reasons == {"links to a folder that was walked already": 2}


def test_a_real_folder_keeps_its_name_beside_a_link_to_it(tmp_path):
    touch(tmp_path, "z/1.png")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    listing = find_images(tmp_path)
    assert [listing.relative(file) for file in listing.files] == ["z/1.png"]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.png", "b/2.png")
    scandir = os.scandir

    def deny(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    listing = find_images(tmp_path)
    assert [listing.relative(file) for file in listing.files] == ["a/1.png"]
    (error,) = listing.unreadable
    assert (error.path, error.reason) == (tmp_path / "b", "Permission denied")
    with pytest.raises(CellnetError, match="cannot list the folder"):
        find_images(tmp_path / "b")


def test_no_folder_is_an_error(tmp_path):
    touch(tmp_path, "a.png")
    with pytest.raises(CellnetError, match="does not exist"):
        find_images(tmp_path / "b")
    with pytest.raises(CellnetError, match="is not a folder"):
        find_images(tmp_path / "a.png")
