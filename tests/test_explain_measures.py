"""Explanations without a network: pictures, deletion and insertion, masks, planes of cells."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from cellnet import explain_embedding as embedding
from cellnet import explain_faithfulness as faithfulness
from cellnet import explain_masks as masking
from cellnet import explain_pictures as pictures
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.explain_cells import Cell, find_cells
from cellnet.images import read_image, write_png
from cellnet.manifest import Row, write_manifest

# ---------------------------------------------------------------- pictures


def test_what_speaks_for_one_side_is_silent_for_the_other():
    signed = np.array([[2.0, -4.0], [1.0, 0.0]], np.float32)
    values, faint = pictures.speaking(signed, 1)
    np.testing.assert_array_equal(values, [[1, 0], [0.5, 0]])
    assert not faint
    np.testing.assert_array_equal(pictures.speaking(signed, -1)[0], [[0, 1], [0, 0]])


@pytest.mark.parametrize("signed", [[[-1.0, -2.0]], [[0.0, 0.0]], [[0.04, -1.0]]])
def test_a_map_is_faint_where_hardly_anything_speaks_for_the_answer(signed):
    values, faint = pictures.speaking(np.array(signed, np.float32), 1)
    assert faint
    assert not values.any()


def test_a_map_is_stretched_over_the_picture_as_in_the_browser():
    values = np.random.default_rng(0).random((3, 4), np.float32)
    found = pictures.stretched(values, 30, 52)

    def between(at, count):
        place = min(max(at * count - 0.5, 0), count - 1)
        first = int(place)
        return first, min(first + 1, count - 1), place - first

    for y, x in ((0, 0), (29, 51), (14, 20), (7, 43)):
        top, bottom, down = between((y + 0.5) / 30, 3)
        left, right, across = between((x + 0.5) / 52, 4)
        above = values[top, left] + across * (values[top, right] - values[top, left])
        below = values[bottom, left] + across * (values[bottom, right] - values[bottom, left])
        assert found[y, x] == pytest.approx(above + down * (below - above), abs=1e-6)


def test_an_overlay_changes_the_image_where_the_map_speaks_alone():
    image = np.full((40, 60, 3), 200, np.uint8)
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = 1
    found = pictures.overlay(image, values)
    assert found.shape == image.shape and found.dtype == np.uint8
    np.testing.assert_array_equal(found[20:, 30:], image[20:, 30:])
    assert (found[2, 2] != 200).all()
    alone = pictures.map_picture(values, 40, 60)
    assert not alone[20:, 30:].any() and alone[2, 2, 1] > 200


def test_a_guided_picture_is_grey_at_nothing_and_brighter_for_more():
    guided = np.zeros((10, 10, 3), np.float32)
    np.testing.assert_array_equal(pictures.guided_picture(guided, 5, 7), np.full((5, 7, 3), 128))
    guided[4:8, 4:8, 0], guided[4:8, 4:8, 2] = 1, -1
    found = pictures.guided_picture(guided, 10, 10)
    np.testing.assert_array_equal(found[5, 5], [255, 128, 1])


def test_a_sheet_shows_every_channel_in_its_order_and_silent_ones_dark():
    features = np.zeros((4, 4, 5), np.float32)
    features[..., 1], features[..., 4] = 2, 1
    found = pictures.sheet(features)
    tile = (found.shape[1] - 1) // 3
    assert found.shape == (2 * tile + 1, 3 * tile + 1, 3)
    middle = [found[row * tile + tile // 2, column * tile + tile // 2].astype(int).sum()
              for row in range(2) for column in range(3)]  # fmt: skip
    assert middle[1] > middle[4] > middle[0] == middle[2] == middle[3]
    assert middle[5] == 3 * 255  # no sixth channel: paper
    assert pictures.sheet(np.zeros((1, 1, 4096), np.float32)).shape[0] < 1000
    assert pictures.sheet(np.zeros((300, 300, 1), np.float32)).shape == (769, 769, 3)


def test_large_pictures_are_made_smaller():
    assert pictures.shown(np.zeros((2000, 1000, 3), np.uint8)).shape == (512, 256, 3)
    assert pictures.shown(np.zeros((360, 363, 3), np.uint8)).shape == (360, 363, 3)


# ---------------------------------------------------------------- deletion and insertion


def square(size=40):
    """An image with a square at its upper left, a score of how much of it is there, and its map."""
    pixels = np.full((size, size, 3), 0.2, np.float32)
    pixels[: size // 4, : size // 4] = 1.0

    def score(inputs):
        return inputs[:, : size // 4, : size // 4].mean((1, 2, 3)) * 1.25 - 0.25

    signed = np.zeros((4, 4), np.float32)
    signed[0, 0] = 1
    return pixels, score, signed


def test_a_map_that_knows_takes_the_answer_away_at_once():
    pixels, score, signed = square()
    found = faithfulness.curves(score, pixels, signed, np.random.default_rng(0))
    deletion = found["deletion"]["map"]
    assert deletion.shape == (faithfulness.STEPS + 1,)
    # The square is a sixteenth of the image, so it is gone after two of twenty parts.
    np.testing.assert_allclose(deletion[[0, 2, 3, 20]], [1, 0, 0, 0], atol=0.08)
    insertion = found["insertion"]["map"]
    assert insertion[0] < insertion[2] and insertion[20] == pytest.approx(1)
    area = {test: {order: float(faithfulness.area(curve)) for order, curve in orders.items()}
            for test, orders in found.items()}  # fmt: skip
    assert area["deletion"]["map"] < 0.1 < area["deletion"]["random"]
    # The square is far from the middle, where a guess begins.
    assert area["deletion"]["centre"] > 0.8
    assert area["insertion"]["map"] > max(area["insertion"][it] for it in ("random", "centre"))


def test_every_order_starts_and_ends_alike_and_a_seed_gives_the_same():
    pixels, score, signed = square()
    one, other = (
        faithfulness.curves(score, pixels, signed, np.random.default_rng(3)) for _ in range(2)
    )
    for test in faithfulness.TESTS:
        assert list(one[test]) == list(faithfulness.ORDERS)
        for order in faithfulness.ORDERS:
            np.testing.assert_array_equal(one[test][order], other[test][order])
            assert one[test][order][0] == one[test]["map"][0]
            assert one[test][order][-1] == one[test]["map"][-1]


def test_a_map_without_contrast_is_no_better_than_chance_and_has_no_corner():
    pixels, score, _ = square()
    flat = np.zeros((4, 4), np.float32)
    found = faithfulness.curves(score, pixels, flat, np.random.default_rng(0))
    # Equal pixels go by lot: half of the square when half of the image is gone.
    assert found["deletion"]["map"][10] == pytest.approx(0.5, abs=0.15)


def test_areas_are_means_over_cells_and_differences_are_within_a_cell():
    def cell(map_, random, centre):
        steps = faithfulness.STEPS + 1
        curves = {"map": map_, "random": random, "centre": centre}
        return {test: {name: np.full(steps, value) for name, value in curves.items()}
                for test in faithfulness.TESTS}  # fmt: skip

    found = [cell(0.1 * k, 0.1 * k + 0.2, 0.1 * k - 0.1) for k in range(1, 13)]
    summary = faithfulness.summarised(found, None, 0)["deletion"]
    assert summary["area"]["map"]["value"] == pytest.approx(0.65)
    assert summary["area"]["map"]["n"] == 12
    low, high = summary["area"]["map"]["ci95"]
    assert low < 0.65 < high
    # The cells differ much, the pairs not at all: a bootstrap of them has no width to tell.
    assert summary["map_less_random"]["value"] == pytest.approx(-0.2)
    assert summary["map_less_random"]["ci95"] is None
    assert summary["map_less_centre"]["value"] == pytest.approx(0.1)
    assert summary["curves"]["random"] == pytest.approx([0.85] * 21)


def test_intervals_are_by_group_and_none_is_made_of_few():
    values = np.repeat(np.arange(12.0), 5)[:, None]
    groups = [str(int(value)) for value in values[:, 0]]
    [alone] = faithfulness.bootstrapped_means(values, None, 0)
    [tied] = faithfulness.bootstrapped_means(values, groups, 0)
    assert alone["value"] == tied["value"] == 5.5
    assert np.ptp(tied["ci95"]) > 1.5 * np.ptp(alone["ci95"])
    assert "by group" in tied["method"]
    [few] = faithfulness.bootstrapped_means(values[:45], groups[:45], 0)
    assert few["value"] is not None and few["ci95"] is None
    [none] = faithfulness.bootstrapped_means(values[:0], None, 0)
    assert none["value"] is None and none["n"] == 0


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_where_all_cells_agree_a_share_has_the_exact_interval_and_no_other_mean_has_one(right):
    values = np.column_stack([np.full(20, right), np.zeros(20), np.arange(20.0)])
    share, mean, spread = faithfulness.bootstrapped_means(values, None, 0, shares=[0])
    # Of 20 cells alike: 1 - 0.025 ** (1 / 20) = 0.1684 from the end, by hand.
    wanted = (0, 0.1684) if right == 0 else (0.8316, 1)
    np.testing.assert_allclose(share["ci95"], wanted, atol=1e-4)
    assert (share["value"], share["n"], share["method"]) == (right, 20, "clopper-pearson")
    # Not every 0 is a share: a difference of 0 may be one of -1 or 1 in the next cell.
    assert mean["value"] == 0 and mean["ci95"] is None and "bootstrap" in mean["method"]
    assert np.ptp(spread["ci95"]) > 1 and "bootstrap" in spread["method"]
    # Cells of one group count once: twelve groups say less than twenty cells.
    groups = [str(at % 12) for at in range(20)]
    [tied] = faithfulness.bootstrapped_means(values[:, :1], groups, 0, shares=[0])
    width = 1 - 0.025 ** (1 / 12)
    np.testing.assert_allclose(np.ptp(tied["ci95"]), width, atol=1e-4)
    assert tied["method"] == "korn-graubard"
    [few] = faithfulness.bootstrapped_means(values[:9, :1], None, 0, shares=[0])
    assert few["value"] == right and few["ci95"] is None


# ---------------------------------------------------------------- masks


def write_mask(folder, name, grey):
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / f"{name}.png", np.repeat(np.asarray(grey, np.uint8)[..., None], 3, 2))


def parted(size=8):
    grey = np.zeros((size, size), np.uint8)
    grey[:4, :4], grey[:2, :2], grey[7, 7] = 128, 255, 9
    return grey


def read_parted(folder, grey=None):
    write_mask(folder, "a", parted() if grey is None else grey)
    return masking.read_mask(folder / "a.png", 8, 8)


def test_shares_of_a_map_that_says_nothing_are_those_of_the_area(tmp_path):
    found = masking.shares(np.ones((2, 2), np.float32), None, read_parted(tmp_path))
    for part, area in (("cell", 16 / 64), ("cytoplasm", 12 / 64), ("nucleus", 4 / 64)):
        assert found[part] == {"weight": pytest.approx(area), "area": area, "others": None}


def test_shares_follow_the_map_and_those_of_others_theirs(tmp_path):
    mask = read_parted(tmp_path)
    values, control = np.zeros((2, 8, 8), np.float32)
    values[0, 0], values[3, 3], values[6, 6] = 2, 1, 1
    control[6, 6], control[2, 2] = 3, 1
    found = masking.shares(values, control, mask)
    assert [found[part]["weight"] for part in masking.PARTS] == [0.75, 0.25, 0.5]
    assert [found[part]["others"] for part in masking.PARTS] == [0.25, 0.25, 0]
    faint = masking.shares(np.zeros((2, 2), np.float32), control, mask)["cell"]
    assert faint["weight"] is None and faint["others"] == 0.25


def test_a_mask_of_two_values_tells_of_the_cell_alone(tmp_path):
    mask = read_parted(tmp_path, np.where(parted() > 100, 255, 0))
    assert list(mask) == ["cell"] and mask["cell"].sum() == 16


def test_masks_that_cannot_be_used_say_why(tmp_path):
    write_mask(tmp_path, "a", parted())
    write_mask(tmp_path, "labels", parted() // 100)
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name, side, told in (("a", 9, "8 x 8 pixels, its image 9 x 9"), ("labels", 8, "no cell"),
                             ("broken", 8, "text file")):  # fmt: skip
        with pytest.raises(UnreadableImage, match=told):
            masking.read_mask(tmp_path / f"{name}.png", side, side)


def test_a_photograph_is_no_mask(tmp_path, drawn_cell):
    told = "paint black what is around the cell, white the nucleus, and one grey the cytoplasm"
    cell = drawn_cell("neutrophil", 0, 96)
    write_png(tmp_path / "photograph.png", cell)
    with pytest.raises(UnreadableImage, match=f"photograph.png: it is in colour.*{told}"):
        masking.read_mask(tmp_path / "photograph.png", 96, 96)
    for name, grey in (("mean", cell.mean(2)), ("green", cell[..., 1])):
        write_mask(tmp_path, name, grey)
        wanted = f"{name}.png: .* are neither black nor white nor of one grey between.*{told}"
        with pytest.raises(UnreadableImage, match=wanted):
            masking.read_mask(tmp_path / f"{name}.png", 96, 96)


@pytest.mark.parametrize("value", [64, 128, 255])
def test_a_cell_that_fills_the_picture_is_no_find(value, tmp_path):
    with pytest.raises(UnreadableImage, match="nothing but the cell: no value is below 64"):
        read_parted(tmp_path, np.full((8, 8), value))


def test_masks_may_have_any_grey_and_soft_edges(tmp_path):
    grey = np.zeros((80, 80), np.float32)
    grey[10:70, 10:70], grey[30:50, 30:50] = 90, 250
    write_mask(tmp_path, "soft", cv2.GaussianBlur(grey, (0, 0), 1))
    found = masking.read_mask(tmp_path / "soft.png", 80, 80)
    # A soft edge may cost the outermost ring of pixels.
    assert 58 * 58 <= found["cell"].sum() <= 60 * 60
    assert 18 * 18 <= found["nucleus"].sum() <= 20 * 20


def test_all_real_masks_are_taken_compressed_too(shared_data, tmp_path):
    files = sorted((shared_data / "zheng_cellavision" / "masks").glob("*.png"))
    if not files:
        pytest.skip("no masks of Zheng et al.")
    for file in files:
        mask = read_image(file)
        wanted = masking.read_mask(file, *mask.shape[:2])
        for quality in (20, 75):
            data = simplejpeg.encode_jpeg(mask, quality, "RGB", "420")
            (tmp_path / "mask.jpg").write_bytes(data)
            found = masking.read_mask(tmp_path / "mask.jpg", *mask.shape[:2])
            assert list(found) == list(wanted)
            assert (found["cell"] == wanted["cell"]).mean() > 0.97


def test_no_real_photograph_is_taken_for_a_mask(shared_data, tmp_path):
    files = [it for it in sorted(shared_data.glob("*/**/*")) if it.suffix in (".png", ".jpg")]
    for file in [it for it in files if "masks" not in it.parts][::200]:
        try:
            image = read_image(file)
        except UnreadableImage:  # one of the files is none
            continue
        write_mask(tmp_path, "grey", cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        for photograph in (file, tmp_path / "grey.png"):
            with pytest.raises(UnreadableImage, match="may be a photograph"):
                masking.read_mask(photograph, *image.shape[:2])


def test_a_folder_of_masks_must_be_one(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CellnetError, match="there is no mask in"):
        masking.find_masks(tmp_path / "empty", [])
    with pytest.raises(CellnetError, match="does not exist"):
        masking.find_masks(tmp_path / "nowhere", [])
    write_mask(tmp_path / "masks", "a", parted())
    (tmp_path / "masks" / "a.bmp").write_bytes(b"")
    with pytest.raises(CellnetError, match="two masks are called a: .*a.bmp and .*a.png"):
        masking.find_masks(tmp_path / "masks", [])


TWICE = "may be that of 2 images"


@pytest.mark.parametrize(
    ("images", "given", "masks", "wanted"),
    [
        # Flat masks of images in class folders, and of a class folder alone.
        ("neutrophil/x", "", "x", "x"),
        ("neutrophil/x", "neutrophil", "x", "x"),
        ("neutrophil/x", "neutrophil/x.jpg", "x", "x"),
        # Numbered anew in each folder: a mask of that number may be either's.
        ("a/1 b/1", "", "1", f"{TWICE}|{TWICE}"),
        ("a/1 b/1", "a b", "1", f"{TWICE}|{TWICE}"),
        ("a/1 b/1", "a/1.jpg b/1.jpg", "1", f"{TWICE}|{TWICE}"),
        ("1 b/1", "", "1", f"1|{TWICE}"),
        # Laid out like the images, each has its own; some is not enough to tell the others.
        ("a/1 b/1", "", "a/1 b/1", "a/1|b/1"),
        ("a/1 b/1", "", "a/1 1", f"a/1|{TWICE}"),
        ("a/1 b/1 c/2", "", "a/1 c/2", "a/1|no mask where it lies; called like it are a/1.png|c/2"),
        ("a/1 b/1", "a b", "a/1 b/1", "a/1|b/1"),
        ("a/1", "a/1.jpg", "a/1 b/1", "a/1"),
        # That of another class's cell is nobody else's, though its number stands once.
        ("a/1 b/2", "", "m/1 n/2", "no mask where it lies|no mask where it lies"),
        ("a/7 a/8", "a", "a/8 m/7 m/8", "no mask where it lies; called like it are m/7|a/8"),
        ("a/1 b/2", "a b", "a/1 b/2", "a/1|b/2"),
        ("a/1 b/2", "", "1", "1|it has no mask"),
        ("a/1.5 a/1.6", "", "a/1.5 a/1.6", "a/1.5|a/1.6"),
        # Given twice, it is still one image.
        ("a/1", ". a", "a/1", "a/1|a/1"),
    ],
)  # fmt: skip
def test_a_mask_is_taken_where_it_can_be_of_no_other_image(images, given, masks, wanted, tmp_path):
    for name in images.split():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"")
    for name in masks.split():
        write_mask((tmp_path / "masks" / name).parent, name.split("/")[-1], parted())
    folders = [tmp_path / "images" / name for name in given.split() or [""]]
    cells = find_cells(folders, "probabilities").cells
    found = masking.find_masks(tmp_path / "masks", cells)
    for cell, told in zip(cells, wanted.split("|"), strict=True):
        file = found[cell.path]
        if isinstance(file, str):
            assert re.search(told, file), file
        else:
            assert file == tmp_path / "masks" / f"{told}.png"


def test_a_mask_may_be_of_an_image_that_a_manifest_has_and_nobody_explains(tmp_path):
    """Neutrophils alone are explained; a mask called 1 may be the monocyte's."""
    rows = [Row("neutrophil/1.jpg", "0" * 64, "neutrophil", split="test"),
            Row("neutrophil/2.jpg", "1" * 64, "neutrophil", split="test"),
            Row("monocyte/1.jpg", "2" * 64, "monocyte", split="train")]  # fmt: skip
    write_manifest(tmp_path / "list", rows, tmp_path)
    for name in "12":
        write_mask(tmp_path / "masks", name, parted())
    found = find_cells([tmp_path / "list"], "granularity")
    first, second = masking.find_masks(tmp_path / "masks", found.cells, found.others).values()
    assert f"{TWICE} (monocyte/1.jpg, neutrophil/1.jpg)" in first
    assert second == tmp_path / "masks" / "2.png"
    for name in ("neutrophil", "monocyte"):
        write_mask(tmp_path / "laid" / name, "1", parted())
    first, _ = masking.find_masks(tmp_path / "laid", found.cells, found.others).values()
    assert first == tmp_path / "laid" / "neutrophil" / "1.png"


def mapped(name, values, target="granular", group=""):
    cell = Cell(Path(f"{name}.png"), name, "neutrophil", group)
    return masking.Map(cell, target, np.asarray(values, np.float32), 8, 8)


def test_the_control_is_the_mean_of_other_maps_of_the_same_answer():
    maps = [
        mapped("a", [[1, 0], [0, 0]]),
        mapped("b", [[0, 0.25], [0, 0]]),
        mapped("c", [[0, 1], [1, 0]]),
        mapped("faint", np.zeros((2, 2))),
        mapped("other", [[0, 0], [0, 1]], "hypogranular"),
    ]
    a, b, c, faint, other = masking.means_of_others(maps, False)
    # Each map weighs 1, whatever its strongest point is; a faint one is no map.
    np.testing.assert_allclose(a, [[0, 0.75], [0.25, 0]])
    np.testing.assert_allclose(b, [[0.5, 0.25], [0.25, 0]])
    np.testing.assert_allclose(c, [[0.5, 0.5], [0, 0]])
    np.testing.assert_allclose(faint, [[1 / 3, 0.5], [1 / 6, 0]], atol=1e-6)
    assert other is None


def test_cells_of_ones_own_group_are_no_control():
    maps = [mapped("a", [[1, 0]], group="one"), mapped("b", [[1, 0]], group="one"),
            mapped("c", [[0, 1]], group="two")]  # fmt: skip
    a, b, c = masking.means_of_others(maps, True)
    for own in (a, b):
        np.testing.assert_array_equal(own, [[0, 1]])
    np.testing.assert_array_equal(c, [[1, 0]])
    assert masking.means_of_others(maps[:2], True) == [None, None]


def test_a_map_that_knows_its_cell_beats_those_of_others_and_one_of_the_middle_does_not(tmp_path):
    """Cells stand at other places; one kind of map follows them, the other stays where most are."""
    rng = np.random.default_rng(0)
    masks, follows, stays = {}, [], []
    for at in range(12):
        top, left = rng.integers(0, 6, 2)
        grey = np.zeros((8, 8), np.uint8)
        grey[top : top + 3, left : left + 3] = 255
        write_mask(tmp_path, str(at), grey)
        middle = np.zeros((8, 8))
        middle[2:6, 2:6] = 1
        follows.append(mapped(at, grey / 255))
        stays.append(mapped(at, middle))
        masks[follows[-1].cell.path] = tmp_path / f"{at}.png"
    [found] = masking.measured(masks, follows, False, 0)["rows"]
    assert found["weight"]["value"] == 1 and found["n"] == found["others"]["n"] == 12
    assert found["weight_less_others"]["ci95"][0] > 0.5
    [found] = masking.measured(masks, stays, False, 0)["rows"]
    assert found["weight_less_area"]["value"] > 0.1
    assert found["weight_less_others"]["value"] == pytest.approx(0, abs=1e-6)


def test_shares_are_summed_up_by_label():
    def row(label, weight, area, others=0.3):
        parts = {"cell": {"weight": weight, "area": area, "others": others}}
        return {"label": label, "parts": parts}

    rows = [row("neutrophil", 0.5 + 0.01 * k, 0.25) for k in range(11)]
    rows += [row("neutrophil", None, 0.9), row("monocyte", 0.2, 0.4, None), row(None, 0.1, 0.1)]
    every, monocytes, neutrophils = masking.summarised(rows, None, 0)
    assert (every["label"], every["n"], every["faint"]) == (None, 13, 1)
    assert (monocytes["label"], monocytes["n"]) == ("monocyte", 1)
    assert (neutrophils["n"], neutrophils["faint"]) == (11, 1)
    assert neutrophils["weight"]["value"] == pytest.approx(0.55)
    assert neutrophils["area"]["value"] == pytest.approx(0.25)  # of the cells that count
    assert neutrophils["weight_less_area"]["value"] == pytest.approx(0.3)
    assert neutrophils["weight_less_area"]["ci95"][0] > 0.28
    assert neutrophils["others"]["value"] == pytest.approx(0.3)
    assert neutrophils["weight_less_others"]["value"] == pytest.approx(0.25)
    assert monocytes["weight"]["ci95"] is None
    assert monocytes["weight"]["value"] == 0.2 and monocytes["others"]["value"] is None
    assert (every["weight"]["n"], every["others"]["n"]) == (13, 12)
    alone = masking.summarised(rows[:12], None, 0)
    assert [it["label"] for it in alone] == ["neutrophil"]


# ---------------------------------------------------------------- planes of cells


def clouds(per_label=12, apart=20.0, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (3 * per_label, 9000))
    labels = [name for name in "abc" for _ in range(per_label)]
    for number, label in enumerate("abc"):
        values[np.array(labels) == label, number] += apart * 3
    return values.astype(np.float32), labels


def test_distances_are_euclids():
    values, _ = clouds()
    found = embedding.distances(values)
    wanted = np.linalg.norm(values[:, None].astype(float) - values[None], axis=-1)
    np.testing.assert_allclose(found, wanted, atol=1e-6 * wanted.max())
    bytes_ = np.random.default_rng(0).integers(0, 256, (20, 50), dtype=np.uint8)
    wanted = np.linalg.norm(bytes_[:, None].astype(float) - bytes_[None], axis=-1)
    np.testing.assert_allclose(embedding.distances(bytes_), wanted, atol=1e-6 * wanted.max())


def test_neighbours_vote_and_the_nearest_of_equals_decides():
    at = np.array([0.0, 1, 2, 3, 4.2, 9, 10, 11])
    labels = list("aabbccca")
    apart = np.abs(at[:, None] - at)
    assert embedding.voted(apart, labels)[0] == "b"  # a b b c c: b is nearer than c
    assert embedding.voted(apart, labels)[6] == "c"


def test_cells_of_ones_own_group_have_no_vote():
    at = np.array([0, 0.1, 0.2, 0.3, 5, 5.1, 5.2, 5.3, 5.4, 5.5])
    labels = list("aaaabbbbbb")
    apart = np.abs(at[:, None] - at)
    groups = ["one"] * 4 + list("123456")
    assert embedding.voted(apart, labels)[0] == "a"
    assert embedding.voted(apart, labels, groups)[0] == "b"


def test_silhouettes_are_those_of_the_field():
    metrics = pytest.importorskip("sklearn.metrics")
    values, labels = clouds(apart=20)
    apart = embedding.distances(values)
    wanted = metrics.silhouette_samples(apart, np.array(labels), metric="precomputed")
    np.testing.assert_allclose(embedding.silhouettes(apart, labels), wanted, atol=1e-12)
    alone = [str(at) for at in range(len(labels))]
    np.testing.assert_allclose(embedding.silhouettes(apart, labels, alone), wanted, atol=1e-12)


def test_cells_of_ones_own_group_have_no_part_in_the_silhouette():
    at = np.array([0.0, 0.1, 4.0, 5.0, 6.0, 7.0])
    apart = np.abs(at[:, None] - at)
    found = embedding.silhouettes(apart, list("aaabbb"), ["one", "one", *"3456"])
    # The first: 4.0 to the third of its label (its twin at 0.1 is none), 6.0 on average to b.
    assert found[0] == pytest.approx((6 - 4) / 6)
    assert found[2] == pytest.approx((2 - 3.95) / 3.95)
    assert embedding.silhouettes(apart, list("aaabbb"))[0] == pytest.approx((6 - 2.05) / 6)
    # Of its label there is only its own group: nothing can be said.
    tied = embedding.silhouettes(apart, list("aaabbb"), ["one"] * 3 + list("456"))
    assert tied[:3].tolist() == [0, 0, 0] and (tied[3:] > 0).all()
    assert embedding.silhouettes(np.zeros((4, 4)), list("aabb")).tolist() == [0] * 4


def test_twins_do_not_part_labels():
    """Pictures of one cell lie together; labels that say nothing else do not part by them."""
    rng = np.random.default_rng(4)
    values = np.repeat(rng.normal(size=(20, 8)), 4, axis=0) + 0.01 * rng.normal(size=(80, 8))
    labels, groups = (
        list(np.repeat(list("ab" * 10), 4)),
        [str(it) for it in np.repeat(range(20), 4)],
    )
    found = embedding.embedded({"pixels": values, "features": values}, labels, groups, 0)
    bare = embedding.silhouettes(embedding.distances(values), labels).mean()
    space = found["spaces"]["pixels"]["silhouette"]
    assert space["value"] < bare and space["ci95"][0] < 0 < bare


def test_a_plane_keeps_what_is_near_and_its_seed():
    values, labels = clouds(apart=60)
    apart = embedding.distances(values)
    points = embedding.plane(apart, seed=1)
    assert points.shape == (36, 2) and np.isfinite(points).all()
    assert embedding.voted(embedding.distances(points), labels) == labels
    np.testing.assert_array_equal(points, embedding.plane(apart, seed=1))


def test_separation_is_measured_in_each_space_with_its_difference():
    near, labels = clouds(apart=0)
    far, _ = clouds(apart=60)
    found = embedding.embedded({"pixels": near, "features": far}, [*labels[:-1], None], None, 0)
    assert (found["n"], found["unlabelled"], found["labels"]) == (
        36,
        1,
        {"a": 12, "b": 12, "c": 11},
    )
    assert found["most_frequent"] == pytest.approx(12 / 35)
    pixels, features = found["spaces"]["pixels"], found["spaces"]["features"]
    assert features["same_label"]["value"] == 1 and features["same_label"]["n"] == 35
    assert pixels["same_label"]["value"] < 0.7
    assert features["silhouette"]["value"] > 0.1 > pixels["silhouette"]["value"]
    # All are named right, and yet not every further cell would be.
    low, high = features["same_label"]["ci95"]
    assert low == pytest.approx(0.025 ** (1 / 35)) and high == 1
    gained = found["features_less_pixels"]["same_label"]
    assert gained["value"] == pytest.approx(1 - pixels["same_label"]["value"])
    assert gained["ci95"][0] > 0
    assert features["dimensions"] == 9000


def test_a_label_of_few_cells_can_still_win():
    values, labels = clouds(per_label=4, apart=60)
    found = embedding.embedded({"pixels": values, "features": values}, labels, None, 0)
    assert found["neighbours"] == 3
    assert found["features_less_pixels"]["same_label"] == {
        "value": 0, "ci95": None, "n": 12,
        "method": "bootstrap of the mean by cell, percentile, 2000 samples",
    }  # fmt: skip
    assert found["spaces"]["pixels"]["same_label"]["value"] == 1


@pytest.mark.parametrize("labels", [[None] * 12, ["a"] * 12, ["a"] * 11 + ["b"]])
def test_without_two_labels_there_is_a_plane_and_no_measure(labels):
    values, _ = clouds(4)
    found = embedding.embedded({"pixels": values, "features": values}, labels, None, 0)
    assert found["features_less_pixels"] is None and found["most_frequent"] is None
    assert found["spaces"]["pixels"]["same_label"] is None
    assert len(found["spaces"]["pixels"]["points"]) == 12


@pytest.mark.parametrize("count", [9, 3001])
def test_planes_of_too_few_or_too_many_cells_are_refused(count):
    values = np.zeros((count, 1), np.uint8)
    with pytest.raises(CellnetError, match=f"10 to 3000 cells, got {count}"):
        embedding.embedded({"pixels": values, "features": values}, [None] * count, None, 0)


def test_equal_cells_make_a_plane_too():
    values = np.ones((12, 5), np.uint8)
    found = embedding.embedded({"pixels": values, "features": values}, list("ab" * 6), None, 0)
    assert np.isfinite(found["spaces"]["pixels"]["points"]).all()


def test_labels_of_one_group_each_are_not_measured():
    """Nobody could vote for such a label; 0 % would read as if its cells did not lie together."""
    values, labels = clouds()
    found = embedding.embedded({"pixels": values, "features": values}, labels, labels, 0)
    assert found["features_less_pixels"] is None and found["most_frequent"] is None
    two = [f"{label}{at % 2}" for at, label in enumerate(labels)]
    found = embedding.embedded({"pixels": values, "features": values}, labels, two, 0)
    assert found["spaces"]["pixels"]["same_label"]["value"] == 1.0
