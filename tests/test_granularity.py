from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operators import OPERATORS

from cellnet.draw import draw_cell
from cellnet.errors import CellnetError
from cellnet.granularity import (
    Cell,
    default_sigma,
    segment,
    suppress,
)
from cellnet.images import read_image

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


def disc_cell(size=240, seed=0, granules=True):
    """A cell of known masks: nucleus, cytoplasm, background and one red cell that touches it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    radius = np.hypot(x, y) / size
    image = np.empty((size, size, 3), np.float32)
    image[:] = (252, 228, 205)
    image[np.hypot(x / size - 0.33, y / size) < 0.14] = (205, 160, 155)
    whole, nucleus = radius < 0.2, np.hypot(x / size + 0.04, y / size) < 0.11
    image[whole] = (222, 190, 205)
    if granules:
        spots = cv2.GaussianBlur((rng.random((size, size)) < 0.06).astype(np.float32), (0, 0), 0.9)
        image[whole] -= (spots[..., None] * np.array((120, 200, 60)))[whole]
    image[nucleus] = (75, 35, 120)
    image += rng.normal(0, 1.5, image.shape)
    image = cv2.GaussianBlur(np.clip(image, 0, 255), (0, 0), 0.7).astype(np.uint8)
    return image, nucleus, whole & ~nucleus


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def texture(image, mask):
    """Standard deviation in `mask`, away from its edge, of what is left of a local mean."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    fine = image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 3).astype(np.float32)
    return float(fine[inner].std())


def test_segment_finds_a_drawn_disc_and_leaves_the_red_cell_out():
    image, nucleus, cytoplasm = disc_cell()
    cell = segment(image)
    assert cell.problem == ""
    assert cell.nucleus.dtype == cell.cytoplasm.dtype == bool
    assert not (cell.nucleus & cell.cytoplasm).any()
    assert dice(cell.nucleus, nucleus) > 0.96
    assert dice(cell.cytoplasm, cytoplasm) > 0.93
    assert np.array_equal(cell.whole, cell.nucleus | cell.cytoplasm)


@pytest.mark.parametrize("size", [96, 150, 360, 700])
def test_segment_does_not_mind_the_size_of_the_image(size):
    image, _, cytoplasm = disc_cell()
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    truth = (
        cv2.resize(cytoplasm.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
    )
    assert dice(segment(image).cytoplasm, truth) > 0.88


@pytest.mark.parametrize("cut", [0.05, 0.15, 0.25])
def test_segment_does_not_mind_the_framing(cut):
    image, _, cytoplasm = disc_cell()
    margin = int(cut * len(image))
    image = np.ascontiguousarray(image[margin:-margin, margin:-margin])
    assert dice(segment(image).cytoplasm, cytoplasm[margin:-margin, margin:-margin]) > 0.88


@pytest.mark.parametrize("seed", range(4))
def test_segment_finds_drawn_neutrophils(seed):
    for dysplastic in (False, True):
        image = draw_cell("neutrophil", np.random.default_rng(seed), dysplastic=dysplastic)
        cell = segment(image)
        assert cell.problem == ""
        assert 0.05 < cell.whole.mean() < 0.25


def test_segment_says_why_there_is_no_cell():
    empty = np.full((120, 120, 3), 230, np.uint8)
    cell = segment(empty)
    assert "no nucleus" in cell.problem
    assert not cell.nucleus.any() and not cell.cytoplasm.any()
    y, x = np.mgrid[:120, :120] - 60
    image = np.full((120, 120, 3), (252, 228, 205), np.uint8)
    image[np.hypot(x, y) < 25] = (75, 35, 120)
    cell = segment(image)  # a naked nucleus
    assert "cytoplasm" in cell.problem
    assert not cell.whole.any()
    assert suppress(image, cell.cytoplasm, 1.0).tolist() == image.tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_segment_answers_for_any_image(height, width, kind, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, (256, 2, 30, 256)[kind], (height, width, 3)).astype(np.uint8)
    if kind == 3:
        image[:, : width // 2] = 0
    cell = segment(image)
    assert isinstance(cell, Cell)
    assert cell.whole.shape == (height, width)
    assert bool(cell.problem) == (not cell.cytoplasm.any())


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_segment_refuses_what_is_no_image(wrong):
    with pytest.raises(CellnetError, match="uint8"):
        segment(wrong)


def test_suppress_changes_nothing_at_zero_and_outside():
    image, _, cytoplasm = disc_cell()
    assert np.array_equal(suppress(image, cytoplasm, 0.0), image)
    out = suppress(image, cytoplasm, 1.0)
    assert out.dtype == np.uint8 and out.shape == image.shape
    assert np.array_equal(out[~cytoplasm], image[~cytoplasm])
    assert not np.array_equal(out, image)


@pytest.mark.parametrize("pallor", [0.0, 0.5, 1.0])
def test_suppress_takes_texture_out_by_degrees(pallor):
    image, _, cytoplasm = disc_cell()
    left = [texture(suppress(image, cytoplasm, g, pallor=pallor), cytoplasm) for g in STEPS]
    assert all(a > b for a, b in zip(left, left[1:], strict=False))
    for g, value in zip(STEPS, left, strict=True):
        assert value == pytest.approx((1 - g) * left[0], abs=0.12 * left[0])


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(1, 9), st.floats(0, 1))
def test_suppress_is_monotone_in_every_pixel(a, b, sigma, pallor):
    image, _, cytoplasm = disc_cell(120)
    low, high = sorted((a, b))
    less, more, all_ = (
        suppress(image, cytoplasm, g, sigma, pallor).astype(int) for g in (low, high, 1.0)
    )
    assert (np.abs(more - image) >= np.abs(less - image)).all()
    assert (np.abs(all_ - more) <= np.abs(all_ - less)).all()


def test_suppress_keeps_the_colour_or_pales():
    image, _, cytoplasm = disc_cell()
    before = image[cytoplasm].mean(0)
    kept = suppress(image, cytoplasm, 1.0, pallor=0.0)[cytoplasm].mean(0)
    paled = suppress(image, cytoplasm, 1.0, pallor=1.0)[cytoplasm].mean(0)
    assert np.abs(kept - before).max() < 1.5
    assert paled[1] > before[1] + 2


def test_suppress_leaves_no_halo_at_the_nucleus():
    image, nucleus, cytoplasm = disc_cell(granules=False)
    out = suppress(image, cytoplasm, 1.0).astype(int)
    ring = cv2.dilate(nucleus.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    inner = cv2.dilate(nucleus.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert np.abs(out[ring & ~inner & cytoplasm] - (222, 190, 205)).mean() < 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"g": -0.1}, "g must be"),
        ({"g": 1.1}, "g must be"),
        ({"g": float("nan")}, "g must be"),
        ({"pallor": 2.0}, "pallor must be"),
        ({"sigma": 0.0}, "sigma must be"),
        ({"mask": np.zeros((3, 3), bool)}, "mask must be"),
        ({"mask": np.zeros((240, 240), np.uint8)}, "mask must be"),
    ],
)
def test_suppress_refuses(change, words):
    image, _, cytoplasm = disc_cell()
    with pytest.raises(CellnetError, match=words):
        suppress(**({"image": image, "mask": cytoplasm, "g": 0.5} | change))


def test_default_sigma_grows_with_the_cell():
    small, large = np.zeros((2, 400, 400), bool)
    small[:20, :20] = large[:200, :200] = True
    assert default_sigma(small) == 2.0
    assert default_sigma(large) == pytest.approx(10 * np.sqrt(small.sum() / np.pi) / 8)


@pytest.mark.parametrize("name", OPERATORS)
def test_other_operators_for_testing_take_texture_out_too(name):
    image, _, cytoplasm = disc_cell()
    outputs = [OPERATORS[name](image, cytoplasm, g) for g in STEPS]
    left = [texture(out, cytoplasm) for out in outputs]
    assert np.array_equal(outputs[0], image)
    assert all(a > b for a, b in zip(left, left[1:], strict=False))
    assert left[-1] < 0.25 * left[0]
    assert all(np.array_equal(out[~cytoplasm], image[~cytoplasm]) for out in outputs)


def test_dice_on_photographs_with_masks(shared_data: Path):
    """The neutrophils of `zheng_cellavision`; nothing was fitted on them beyond a few constants."""
    folder = shared_data / "zheng_cellavision"
    found = []
    for path in sorted((folder / "images" / "neutrophil").glob("*.png")):
        cell = segment(read_image(path))
        truth = cv2.imread(str(folder / "masks" / path.name), cv2.IMREAD_GRAYSCALE)
        found.append(
            (
                dice(cell.nucleus, truth == 255),
                dice(cell.cytoplasm, truth == 128),
                dice(cell.whole, truth > 0),
            )
        )
    assert len(found) == 33
    nucleus, cytoplasm, whole = np.mean(found, axis=0)
    assert cytoplasm >= 0.90  # 0.928 when this was written; 0.85 is what is asked for
    assert nucleus >= 0.95
    assert whole >= 0.94
