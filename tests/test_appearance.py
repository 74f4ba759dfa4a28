"""Warnings of smears that look unlike those that the networks know."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from cellnet.appearance import Look, look_at, look_warnings
from cellnet.cells import FIVE
from cellnet.draw import draw_cell
from cellnet.images import read_image
from cellnet.listing import find_images
from cellnet.stain import Stain, apply_stain

KINDS = ("neutrophil", "lymphocyte", "monocyte")
CASES = json.loads((Path(__file__).parent / "cases" / "appearance.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def cells() -> list[np.ndarray]:
    return [draw_cell(KINDS[i % 3], np.random.default_rng(i)) for i in range(9)]


def warnings_of(images: list[np.ndarray], label: str = "neutrophil") -> list[str]:
    names = [f"{number}.jpg" for number in range(len(images))]
    return look_warnings(names, [label] * len(images), [look_at(image) for image in images])


@pytest.mark.parametrize("case", CASES["looks"], ids=lambda case: case["why"])
def test_look_cases(case):
    pixels = np.frombuffer(base64.b64decode(case["rgb"]), np.uint8)
    tile = pixels.reshape(case["height"], case["width"], 3)
    found = asdict(look_at(np.tile(tile, (*case["repeat"], 1))))
    found["pixels"] = found["pixels"].hex()
    assert found == pytest.approx(case["look"], abs=1e-9)


@pytest.mark.parametrize("case", CASES["warnings"], ids=lambda case: case["why"])
def test_warning_cases(case):
    cells = case["cells"]
    looks = [{**c["look"], "pixels": bytes.fromhex(c["look"]["pixels"])} for c in cells]
    found = look_warnings(
        [c["file"] for c in cells], [c["label"] for c in cells], [Look(**look) for look in looks]
    )
    assert found == case["warnings"]


def test_pixels_of_one_level_are_all_taken_or_none():
    """Which of equal pixels come first must not decide: it differs from library to library."""
    image = np.full((20, 20, 3), 100, np.uint8)
    image[:10, :, 2] = np.arange(20)  # equally dark, and unlike in blue
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(image.reshape(-1, 3)).reshape(image.shape)
    assert look_at(shuffled).blue_over_red == look_at(image).blue_over_red == -40.5


def test_drawn_cells_look_as_they_should(cells):
    assert warnings_of(cells) == []


def test_mild_differences_between_smears_pass(cells):
    for stain in (Stain(gain=(0.95, 1.03, 1.05)), Stain(gamma=1.14), Stain(saturation=0.86)):
        assert warnings_of([apply_stain(image, stain) for image in cells]) == []


def pale(image):
    return (image.astype(float) * 0.35 + 0.65 * np.array([255, 229, 202])).astype(np.uint8)


def grey(image):
    return np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (pale, "under-stained"),
        (grey, "off-colour"),
        (lambda image: image[..., ::-1].copy(), "off-colour"),  # red and blue exchanged
        (lambda image: (image * 0.5).astype(np.uint8), "off-colour"),  # dark
        (lambda image: 255 - image, "off-colour"),
    ],
)
def test_what_no_network_knows_is_told(cells, change, word):
    assert any(warning.startswith(word) for warning in warnings_of([change(c) for c in cells]))


def test_platelets_and_a_handful_of_cells_say_nothing_of_the_stain(cells):
    odd = [grey(image) for image in cells]
    assert warnings_of(odd, "platelet") == []
    assert warnings_of(odd[:4]) == []


def test_sizes():
    sizes = [(300, 300), (480, 640), (50, 50), (100, 200), (600, 400)]
    images = [np.full((*size, 3), number, np.uint8) for number, size in enumerate(sizes)]
    (warning,) = warnings_of(images[:4])
    assert warning.startswith("not the size of one cell: 3 of 4 images")
    assert "1.jpg (640 x 480), 2.jpg (50 x 50), 3.jpg (200 x 100)" in warning
    assert warnings_of(images[4:]) == []


def test_one_pixel_is_enough_to_measure():
    assert look_at(np.zeros((1, 1, 3), np.uint8)).height == 1


def test_copies_are_told_whatever_their_file(cells):
    (warning,) = warnings_of([*cells, cells[2], cells[2]])
    assert warning == (
        "exact copies: 2 of 11 images repeat another; they are counted, but add nothing to how "
        "sure the decision is: 9.jpg = 2.jpg, 10.jpg = 2.jpg"
    )
    flat = np.zeros((70, 80, 3), np.uint8)
    assert warnings_of([flat, flat.transpose(1, 0, 2)]) == []


def test_many_names_are_cut_short(cells):
    (warning,) = warnings_of([*cells, *([cells[0]] * 5)])
    assert warning.endswith("11.jpg = 0.jpg, and 2 more")


def test_ranges_hold_on_real_cells(shared_data):
    """Measured when the ranges were chosen: pbc and zheng pass, bccd does not."""
    rng = np.random.default_rng(0)
    for folder, passes in (
        ("pbc", True),
        ("zheng_cellavision/images", True),
        ("bccd_cells", False),
    ):
        files = [f for name in FIVE for f in find_images(shared_data / folder / name).files]
        chosen = rng.choice(len(files), 40, replace=False)
        warnings = warnings_of([read_image(files[number]) for number in chosen])
        assert (warnings == []) is passes, (folder, warnings)
