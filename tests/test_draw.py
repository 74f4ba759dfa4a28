"""Drawn cells: the same every time, of the right make, told apart by simple statistics."""

import csv
import hashlib
import json
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet import draw
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.draw import draw_cell, draw_set, draw_smear, draw_stain
from cellnet.draw_cells import KINDS, PATCH
from cellnet.draw_scene import REFERENCE, SmearLook, density
from cellnet.errors import CellnetError
from cellnet.images import read_image
from cellnet.manifest import check_disjoint, read_manifest
from cellnet.truth import read_diagnoses


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed or 0)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- one cell --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
def test_a_cell_is_an_rgb_image_and_the_same_every_time(kind):
    image = draw_cell(kind, rng(1))
    assert image.shape == (360, 360, 3) and image.dtype == np.uint8
    assert np.array_equal(image, draw_cell(kind, rng(1)))
    assert not np.array_equal(image, draw_cell(kind, rng(2)))
    corner = np.median(image.reshape(-1, 3), axis=0)
    assert corner.min() > 150  # most of the field is slide and red cells


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(CLASSES),
    seed=st.integers(0, 2**32),
    height=st.integers(16, 420),
    width=st.integers(16, 420),
    zoom=st.floats(0.25, 2.5),
)
def test_any_size_and_zoom(kind, seed, height, width, zoom):
    image = draw_cell(kind, rng(seed), size=(height, width), zoom=zoom)
    assert image.shape == (height, width, 3) and image.dtype == np.uint8


def test_the_same_cell_at_another_size_is_the_same_picture():
    large, small = draw_cell("monocyte", rng(3)), draw_cell("monocyte", rng(3), size=120)
    shrunk = cv2.resize(large, (120, 120), interpolation=cv2.INTER_AREA)
    assert np.array_equal(small, shrunk)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("plasma", {}, "kind of cell must be one of"),
        ("ig", {"granularity": 1.2}, r"must lie in \[0, 1\], got 1.2"),
        ("neutrophil", {"dysplastic": True, "granularity": 0.5}, "at most 1/3, got 0.5"),
        ("ig", {"size": 8}, "16 to 4096"),
        ("ig", {"size": (360, 5000)}, "16 to 4096"),
        ("ig", {"zoom": 0.1}, "zoom must lie"),
    ],
)
def test_a_cell_that_cannot_be_drawn(kind, options, message):
    with pytest.raises(CellnetError, match=message):
        draw_cell(kind, rng(), **options)


def test_the_slide_has_no_density():
    assert np.allclose(density(REFERENCE), 0)
    assert (density((100.0, 50.0, 120.0)) > 0).all()


def test_stain_varies_and_can_be_held():
    stains = [draw_stain(rng(i)) for i in range(8)]
    assert len({stain.background for stain in stains}) == 8
    assert draw_stain(rng(1), variation=0.0) == draw_stain(rng(2), variation=0.0)
    grey = SmearLook(background=(216.0, 214.0, 228.0), red_cells=0.0, noise=0.0)
    image = draw_cell("platelet", rng(4), stain=grey)
    assert np.abs(np.median(image, axis=(0, 1)) - (216, 214, 228)).max() <= 3


# --- told apart by what a person looks at -----------------------------------------------------


def layers(kind, count=24):
    return [KINDS[kind](rng(i), PATCH, 1.0) for i in range(count)]


def cell_area(layer):
    return float(layer.alpha.sum())


def nucleus_share(layer):
    return float(layer.nucleus.sum() / layer.alpha.sum())


def cytoplasm(layer):
    """Mean density of what is cell and not nucleus, by channel."""
    weight = layer.alpha * (1 - layer.nucleus)
    return (layer.density * (1 - layer.nucleus)).sum(axis=(1, 2)) / weight.sum()


@pytest.fixture(scope="module")
def seen():
    return {
        kind: {
            "area": np.median([cell_area(layer) for layer in found]),
            "nucleus": np.median([nucleus_share(layer) for layer in found]),
            "cytoplasm": np.median([cytoplasm(layer) for layer in found], axis=0),
        }
        for kind, found in ((kind, layers(kind)) for kind in CLASSES)
    }


def test_the_kinds_are_those_of_the_project():
    assert tuple(KINDS) == CLASSES


def test_platelets_are_small_and_have_no_nucleus(seen):
    assert seen["platelet"]["nucleus"] == 0
    others = min(seen[kind]["area"] for kind in CLASSES if kind != "platelet")
    assert seen["platelet"]["area"] < 0.5 * others


def test_sizes_follow_blood(seen):
    area = {kind: value["area"] for kind, value in seen.items()}
    assert area["monocyte"] > area["neutrophil"] > area["lymphocyte"]
    assert area["ig"] > area["lymphocyte"] and area["neutrophil"] > area["erythroblast"]


def test_lymphocytes_are_nearly_all_nucleus(seen):
    share = {kind: value["nucleus"] for kind, value in seen.items()}
    assert share["lymphocyte"] > 0.6
    assert share["lymphocyte"] > share["monocyte"] > share["neutrophil"]


def test_colours_of_the_cytoplasm(seen):
    dark = {kind: value["cytoplasm"].mean() for kind, value in seen.items()}
    assert dark["basophil"] == max(dark.values())
    assert dark["neutrophil"] == min(dark.values())
    red = {k: v["cytoplasm"][1] - 0.5 * v["cytoplasm"][[0, 2]].sum() for k, v in seen.items()}
    assert red["eosinophil"] > 1.3 * red["neutrophil"]
    blue = {k: v["cytoplasm"][0] - v["cytoplasm"][2] for k, v in seen.items()}
    assert blue["lymphocyte"] > blue["eosinophil"] and blue["erythroblast"] > blue["neutrophil"]


def grain(layer):
    """Fine texture of the cytoplasm: spread of the green density about its local mean."""
    plane = layer.density[1]
    fine = plane - cv2.GaussianBlur(plane, (0, 0), 2.0)
    nucleus = cv2.dilate(layer.nucleus, np.ones((9, 9)))
    inside = (cv2.erode(layer.alpha, np.ones((9, 9))) > 0.99) & (nucleus < 0.01)
    return float(fine[inside].std())


@pytest.mark.parametrize("seed", range(6))
def test_granules_fade_steadily_and_all_else_stays(seed):
    grades = [KINDS[NEUTROPHIL](rng(seed), PATCH, g) for g in (0.0, 0.15, 1 / 3, 0.6, 0.8, 1.0)]
    for layer in grades:
        assert np.array_equal(layer.nucleus, grades[0].nucleus)
        assert np.array_equal(layer.alpha, grades[0].alpha)
    textures = [grain(layer) for layer in grades]
    assert textures == sorted(textures)
    assert textures[2] < 0.75 * textures[-1] and textures[0] < 0.3 * textures[-1]


@pytest.mark.parametrize("seed", range(4))
def test_a_hypogranulated_neutrophil_is_the_same_cell_with_a_smoother_cytoplasm(seed):
    plain, few = draw_cell(NEUTROPHIL, rng(seed)), draw_cell(NEUTROPHIL, rng(seed), dysplastic=True)
    changed = np.abs(plain.astype(int) - few).max(axis=2) > 12
    y, x = np.nonzero(changed)
    assert len(y) > 200 and np.hypot(y - 180, x - 180).max() < 100
    energy = [
        float((image - cv2.GaussianBlur(image, (0, 0), 2.0))[changed].std())
        for image in (plain.astype(np.float32), few.astype(np.float32))
    ]
    assert energy[1] < energy[0]


# --- smears and sets --------------------------------------------------------------------------


def test_a_smear_and_its_truth(tmp_path):
    out = tmp_path / "smear"
    rows = draw_smear(out, 5, cells=20, dysplastic_fraction=0.5, size=96)
    files = sorted(path.name for path in out.iterdir())
    assert files == [row.file for row in rows] == [f"cell-{i:03d}.jpg" for i in range(1, 21)]
    with (tmp_path / "smear.truth.csv").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [row["label"] for row in written] == [row.label for row in rows]
    neutrophils = [row for row in rows if row.label == NEUTROPHIL]
    assert 10 <= len(neutrophils) <= 14
    assert sum(row.dysplastic == "1" for row in neutrophils) == round(0.5 * len(neutrophils))
    for row in rows:
        if row.label != NEUTROPHIL:
            assert row.suppression == row.dysplastic == ""
        elif row.dysplastic == "1":
            assert float(row.suppression) >= 0.6666
        else:
            assert float(row.suppression) <= 0.2
    assert all(read_image(out / name).shape == (96, 96, 3) for name in files)
    again = draw_smear(tmp_path / "b" / "smear", 5, cells=20, dysplastic_fraction=0.5, size=96)
    assert again == rows and contents(tmp_path / "b" / "smear") == contents(out)


def test_the_truth_goes_where_it_is_told(tmp_path):
    draw_smear(tmp_path / "s", 1, cells=1, size=64, truth=tmp_path / "deep" / "t.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "s"]
    with pytest.raises(CellnetError, match="must not lie within the smear's folder"):
        draw_smear(tmp_path / "t", 1, cells=1, size=64, truth=tmp_path / "t" / "truth.csv")
    assert not (tmp_path / "t").exists()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("draw") / "set"
    return out, draw_set(out, 3, per_class=6, smears=2, cells=12, size=64)


def test_the_manifest_agrees_with_the_files(drawn):
    out, manifest = drawn
    assert read_manifest(out).rows == manifest.rows and len(manifest.rows) == 48
    manifest.check_files()
    check_disjoint(manifest.rows)
    listed = {row.path: row.sha256 for row in manifest.rows}
    found = {name: sha for name, sha in contents(out).items() if name.split("/")[0] in CLASSES}
    assert listed == found
    for row in manifest.rows:
        assert row.path.startswith(f"{row.label}/")
        assert (row.source, row.licence) == (draw.SOURCE, "MIT")
        assert bool(row.suppression) == (row.label == NEUTROPHIL)
    for label in CLASSES:
        sides = Counter(row.split for row in manifest.rows if row.label == label)
        assert set(sides) == {"train", "validation", "test"}


def test_half_of_the_neutrophils_have_lost_their_granules(drawn):
    _, manifest = drawn
    g = [row.suppression for row in manifest.rows if row.label == NEUTROPHIL]
    assert g.count("0") == 3
    assert all(2 / 3 - 1e-4 <= float(value) <= 1 for value in g if value != "0")


def test_the_smears_agree_with_their_truth(drawn):
    out, _ = drawn
    with (out / "smears" / "cells.csv").open(newline="") as stream:
        cells = list(csv.DictReader(stream))
    with (out / "smears" / "truth.csv").open(newline="") as stream:
        truth = list(csv.DictReader(stream))
    assert [row["diagnosis"] for row in truth] == ["healthy", "mds"]
    assert [path.name for path in sorted((out / "smears").iterdir()) if path.is_dir()] == [
        row["smear"] for row in truth
    ]
    for row in truth:
        own = [cell for cell in cells if cell["smear"] == row["smear"]]
        assert {cell["file"] for cell in own} == {
            path.name for path in (out / "smears" / row["smear"]).iterdir()
        }
        assert int(row["cells"]) == len(own) == 12
        assert int(row["neutrophils"]) == sum(cell["label"] == NEUTROPHIL for cell in own)
        assert int(row["dysplastic"]) == sum(cell["dysplastic"] == "1" for cell in own)
    assert float(truth[0]["dysplastic_fraction"]) <= 0.05 < float(truth[1]["dysplastic_fraction"])
    diagnoses = read_diagnoses(type(drawn[1])(out, [], {}, out / "smears" / "cells.csv"))
    assert list(diagnoses.values()) == [False, True]


def test_a_set_is_the_same_every_time_and_an_image_does_not_depend_on_the_others(drawn, tmp_path):
    out, _ = drawn
    draw_set(tmp_path / "again", 3, per_class=6, smears=2, cells=12, size=64)
    assert contents(tmp_path / "again") == contents(out)
    draw_set(tmp_path / "fewer", 3, per_class=2, smears=0, size=64)
    fewer = {name: sha for name, sha in contents(tmp_path / "fewer").items() if "/" in name}
    assert len(fewer) == 16 and fewer.items() <= contents(out).items()
    draw_set(tmp_path / "other", 4, per_class=1, smears=0, size=64)
    assert not set(contents(tmp_path / "other").values()) & set(contents(out).values())
    about = json.loads((out / "manifest.json").read_text())
    assert (about["adapter"], about["seed"], about["root"]) == ("drawn", 3, ".")


@pytest.mark.parametrize("make", [draw_set, draw_smear])
def test_a_folder_that_holds_something_is_left_alone(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(CellnetError, match="must be new or empty"):
        make(tmp_path / "out", 1)
    assert contents(tmp_path) == {"out/mine.txt": hashlib.sha256(b"mine").hexdigest()}


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "out").mkdir()
    draw_set(tmp_path / "out", 1, per_class=1, smears=0, size=32)
    assert (tmp_path / "out" / "manifest.csv").is_file()


def test_a_broken_run_leaves_nothing(tmp_path, monkeypatch):
    def broken(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(draw, "write_jpeg", broken)
    with pytest.raises(KeyboardInterrupt):
        draw_set(tmp_path / "out", 1, per_class=1, size=32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (draw_set, {"seed": -1}, "seed must be 0 or more, got -1"),
        (draw_set, {"per_class": 0}, "at least 1 image a class"),
        (draw_set, {"smears": -1}, "0 or more smears"),
        (draw_set, {"quality": 0}, "quality must lie in 1 to 100"),
        (draw_smear, {"cells": 0}, "1 to 100000 cells, got 0"),
        (draw_smear, {"dysplastic_fraction": 1.5}, r"must lie in \[0, 1\], got 1.5"),
    ],
)
def test_numbers_out_of_range(make, options, message, tmp_path):
    with pytest.raises(CellnetError, match=message):
        make(tmp_path / "out", **{"seed": 1, **options})
    assert list(tmp_path.iterdir()) == []
