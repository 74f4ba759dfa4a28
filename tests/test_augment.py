"""Augmentation: nothing changes unless a view says so, and what it says is what happens."""

import numpy as np
import pytest

from cellnet.augment import View, augment, choose_view
from cellnet.images import resize


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    smooth = rng.uniform(0, 255, (8, 8, 3)).astype(np.uint8)
    return resize(smooth, 90).round().astype(np.uint8)


def test_only_turned_and_flipped_keeps_the_mean_colour(image):
    rng = np.random.default_rng(1)
    means = [augment(image, 60, View(), rng).mean(axis=(0, 1)) for _ in range(20)]
    assert np.abs(np.mean(means, axis=0) - image.mean(axis=(0, 1))).max() < 12


def test_an_unturned_view_samples_as_prediction_does(image):
    class Still:
        """A generator that leaves the image as it lies."""

        def uniform(self, low, high, size=None):
            return np.zeros(size) if size else (low + high) / 2 if low * high < 0 else low

        def random(self):
            return 0.9

    still = augment(image, 60, View(), Still())
    assert np.abs(still.astype(float) - resize(image, 60)).max() <= 4
    assert np.abs(still.astype(float) - resize(image, 60)).mean() < 1


def test_same_state_same_image(image):
    view = View(zoom=(0.8, 2), shift=0.1, gain=0.2, gamma=(0.5, 2), hue=20, noise=5, blur=(0, 2))
    one = augment(image, 60, view, np.random.default_rng(3))
    two = augment(image, 60, view, np.random.default_rng(3))
    three = augment(image, 60, view, np.random.default_rng(4))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (60, 60, 3)
    assert one.dtype == np.uint8
    assert (one != three).any()


def test_zoom_makes_a_disc_larger():
    yy, xx = np.mgrid[:120, :120]
    disc = np.where((yy - 59.5) ** 2 + (xx - 59.5) ** 2 < 20**2, 40, 220).astype(np.uint8)
    image = np.repeat(disc[:, :, None], 3, axis=2)
    areas = []
    for zoom in (0.5, 1.0, 2.0):
        view = augment(image, 120, View(zoom=(zoom, zoom)), np.random.default_rng(0))[..., 0] < 130
        # Beyond the border the disc's mirror images begin.
        areas.append(view[30:90, 30:90].sum() if zoom < 1 else view.sum())
    np.testing.assert_allclose(areas, [314, 1257, 5027], rtol=0.03)


def test_grey_stays_grey_under_hue_and_saturation():
    grey = np.full((40, 40, 3), 100, np.uint8)
    view = View(hue=90, saturation=(0.2, 2))
    for seed in range(10):
        result = augment(grey, 40, view, np.random.default_rng(seed))
        assert np.abs(result.astype(int) - 100).max() <= 1


def test_views_are_drawn_by_their_shares():
    views = [View(share=3), View(share=1, hue=10)]
    rng = np.random.default_rng(0)
    drawn = [choose_view(views, rng).hue for _ in range(2000)]
    assert 0.2 < np.mean([hue == 10 for hue in drawn]) < 0.3
