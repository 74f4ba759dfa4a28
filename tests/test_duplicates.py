"""Copies, near copies and overlapping crops are found; cells that only look alike are not."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellnet import duplicates
from cellnet.duplicates import SAME_CENTRE, connected, fingerprint, overlaps, turned


def texture(seed: int, size: int = 200) -> np.ndarray:
    """Blobs on a pale ground, ``(size, size, 3) uint8``: as much structure as a field of cells."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), (235, 225, 215), np.uint8)
    for _ in range(size // 8):
        centre = tuple(int(v) for v in rng.integers(0, size, 2))
        colour = tuple(int(v) for v in rng.integers(40, 210, 3))
        cv2.circle(image, centre, int(rng.integers(8, 24)), colour, -1)
    return image


def prints(*images: np.ndarray):
    return [fingerprint(image.tobytes(), image) for image in images]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


CHANGES = {
    "saved again": lambda image: jpeg(image, 60),
    "resized": lambda image: cv2.resize(image, (150, 140), interpolation=cv2.INTER_AREA),
    "darker": lambda image: (image * 0.85).astype(np.uint8),
    "tinted": lambda image: np.clip(image * [1.05, 0.95, 0.9], 0, 255).astype(np.uint8),
    "noisy": lambda image: np.clip(
        image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255
    ).astype(np.uint8),
    "cut by a few pixels": lambda image: image[4:, 6:],
}


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_are_found_among_others(change):
    image = texture(0)
    found = overlaps(prints(image, texture(1), CHANGES[change](image), texture(2)))
    assert [(it.first, it.second) for it in found] == [(0, 2)]
    assert found[0].shift <= SAME_CENTRE and found[0].correlation > 0.9


def moved(image: np.ndarray) -> np.ndarray:
    """Moved by a twentieth of the side, as augmentation does it."""
    step = np.float32([[1, 0, 0.05 * image.shape[1]], [0, 1, 0.05 * image.shape[0]]])
    return cv2.warpAffine(image, step, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize("turn", range(1, 8))
@pytest.mark.parametrize("change", ["alone", "saved again", "resized", "darker", "moved"])
def test_turned_and_mirrored_copies_are_found_among_others(turn, change):
    image = texture(0)
    copy = {"alone": np.copy, "moved": moved, **CHANGES}[change](turned(image, turn))
    found = overlaps(prints(image, texture(1), copy, texture(2)))
    assert [(it.first, it.second) for it in found] == [(0, 2)]
    # What has to be done to the copy to lay it on the image again.
    assert np.array_equal(turned(turned(image, turn), found[0].turn), image)
    assert found[0].shift <= SAME_CENTRE and found[0].correlation > 0.9


def test_turning_by_hand():
    image = np.array([[1, 2], [3, 4]])
    assert [turned(image, turn).tolist() for turn in range(8)] == [
        [[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]],
        [[2, 1], [4, 3]], [[1, 3], [2, 4]], [[3, 4], [1, 2]], [[4, 2], [3, 1]],
    ]  # fmt: skip


@pytest.mark.parametrize("turn", range(8))
def test_what_is_known_of_an_image_is_turned_as_the_image_is(turn):
    """So that no image need be turned to look for its copies."""
    one, two = prints(texture(0, 64), turned(texture(0, 64), turn))
    low = duplicates._low_frequencies(one.thumbnail)[None]
    bits = duplicates._hash(duplicates._turned_frequencies(low, turn))[0]
    assert np.bitwise_count(bits ^ two.bits).sum() <= 2  # bits on the median are rounded
    if turn in (1, 4, 5):
        sizes, wanted = duplicates._spectra([one]), duplicates._spectra([two])
        np.testing.assert_allclose(sizes[:, duplicates._turned_places(turn)], wanted, atol=1e-3)


def test_an_image_that_is_its_own_mirror_image_is_told_once_and_as_it_stands():
    half = texture(6)[:, :100]
    image = np.concatenate([half, half[:, ::-1]], 1)
    found = overlaps(prints(image, texture(1), jpeg(image, 70)))
    assert [(it.first, it.second, it.turn) for it in found] == [(0, 2, 0)]


@pytest.mark.parametrize(("down", "right"), [(60, 0), (0, -70), (50, 45), (-40, 60)])
def test_crops_of_one_field_are_found_with_their_shift(down, right):
    field = texture(3, 400)
    one = field[100:300, 100:300]
    two = field[100 + down : 300 + down, 100 + right : 300 + right]
    (found,) = overlaps(prints(one, texture(4), two))
    assert (found.first, found.second) == (0, 2)
    assert found.shift == pytest.approx(np.hypot(down, right) / 200, abs=0.02)
    assert found.shift > SAME_CENTRE


def test_large_sets_find_the_same_without_comparing_all(monkeypatch):
    field = texture(5, 400)
    images = [texture(seed) for seed in range(10, 70)]
    images += [field[100:300, 100:300], field[130:330, 120:320], jpeg(images[0], 70)]
    monkeypatch.setattr(duplicates, "EXHAUSTIVE", 0)
    monkeypatch.setattr(duplicates, "EXHAUSTIVE_TURNED", 0)
    found = [(it.first, it.second) for it in overlaps(prints(*images))]
    assert found == [(0, 62), (60, 61)]


def test_large_sets_find_turned_copies_without_comparing_all(monkeypatch):
    images = [texture(seed) for seed in range(10, 50)]
    images += [jpeg(turned(images[turn], turn), 70) for turn in range(1, 8)]
    images += [moved(turned(images[10 + turn], turn)) for turn in range(1, 8)]
    monkeypatch.setattr(duplicates, "EXHAUSTIVE", 0)
    monkeypatch.setattr(duplicates, "EXHAUSTIVE_TURNED", 0)
    assert [(it.first, it.second, it.turn) for it in overlaps(prints(*images))] == [
        (1, 40, 3), (2, 41, 2), (3, 42, 1), (4, 43, 4), (5, 44, 5), (6, 45, 6), (7, 46, 7),
        (11, 47, 3), (12, 48, 2), (13, 49, 1), (14, 50, 4), (15, 51, 5), (16, 52, 6), (17, 53, 7),
    ]  # fmt: skip


def test_cells_on_the_same_ground_are_different(drawn_cell):
    images = [drawn_cell("lymphocyte", seed, 200) for seed in range(12)]
    assert overlaps(prints(*images)) == []


def test_even_images_are_compared_by_colour():
    grey, same, other = (np.full((50, 50, 3), value, np.uint8) for value in (90, 90, 130))
    found = overlaps(prints(grey, same, other))
    assert [(it.first, it.second, it.shift) for it in found] == [(0, 1, 0.0)]


@pytest.mark.parametrize("number", [0, 1])
def test_nothing_to_compare(number):
    assert overlaps(prints(*[texture(0)] * number)) == []


def test_shape_is_part_of_the_pixels():
    one, two = np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)
    assert fingerprint(b"", one).pixels != fingerprint(b"", two).pixels
    assert fingerprint(b"a", one).sha256 != fingerprint(b"b", one).sha256


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))
        )
    )
)
def test_connected_puts_everyone_in_one_group(case):
    number, pairs = case
    groups = connected(number, pairs)
    assert sorted(index for group in groups for index in group) == list(range(number))
    group_of = {index: place for place, group in enumerate(groups) for index in group}
    assert all(group_of[one] == group_of[two] for one, two in pairs)
    assert all(group == sorted(group) for group in groups)


def test_connected_by_hand():
    assert connected(6, [(4, 1), (1, 3), (0, 5)]) == [[0, 5], [1, 3, 4], [2]]
