import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.stain import Stain, apply_stain, draw_stain, jitter_stain

IMAGE = np.random.default_rng(0).integers(40, 220, (30, 40, 3), dtype=np.uint8)


def test_the_default_changes_nothing():
    assert np.array_equal(apply_stain(IMAGE, Stain()), IMAGE)


@pytest.mark.parametrize(
    ("stain", "expected"),
    [
        (Stain(gain=(1.1, 1.0, 0.9)), (110, 150, 180)),
        (Stain(saturation=0.0), (150, 150, 150)),
        (Stain(hue=120.0), (200, 100, 150)),  # red goes to green, green to blue, blue to red
        (Stain(gamma=2.0), (39, 88, 157)),
    ],
)
def test_what_each_number_does(stain, expected):
    image = np.full((4, 5, 3), (100, 150, 200), np.uint8)
    assert apply_stain(image, stain)[2, 2].tolist() == pytest.approx(expected, abs=1)


def test_tilt_brightens_to_the_right_and_down():
    out = apply_stain(np.full((21, 21, 3), 100, np.uint8), Stain(tilt=(0.1, 0.2)))
    assert out[10, 10, 0] == 100
    assert out[10, 20, 0] == 110 and out[10, 0, 0] == 90
    assert out[20, 10, 0] == 120 and out[0, 10, 0] == 80


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_drawn_stains_are_mild(seed):
    rng = np.random.default_rng(seed)
    stain = draw_stain(rng)
    near = jitter_stain(stain, rng)
    grey = np.full((20, 20, 3), 150, np.uint8)
    first, second = (apply_stain(grey, s).astype(int) for s in (stain, near))
    assert np.abs(first - 150).max() < 35
    assert np.abs(first - second).max() < 12
    assert np.abs(np.diff(first, axis=1)).max() <= 2
