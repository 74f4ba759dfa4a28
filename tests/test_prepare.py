"""Preparing: whatever does not belong is listed with its reason, and nobody is on two sides."""

import csv
import os
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.cells import CLASSES
from cellnet.cli import main
from cellnet.draw import draw_set
from cellnet.duplicates import turned
from cellnet.errors import CellnetError
from cellnet.images import read_image, write_jpeg, write_png
from cellnet.listing import find_images
from cellnet.manifest import check_disjoint, counts, read_manifest
from cellnet.prepare import prepare


def reasons(out):
    with (out / "dropped.csv").open(newline="") as file:
        return {row["path"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


def test_clean_cells_are_divided(class_folders, tmp_path):
    source = class_folders(per_class=4, size=64)
    prepared = prepare(source, "folder", tmp_path / "out")
    table = counts(prepared.manifest.rows)
    assert set(table) == {"train", "validation", "test"}
    assert all(set(labels) == set(CLASSES) for labels in table.values())
    assert prepared.dropped == [] and reasons(tmp_path / "out") == {}
    manifest = read_manifest(tmp_path / "out")
    assert manifest.rows == prepared.manifest.rows and len(manifest.rows) == 32
    manifest.check_files()
    about = manifest.about
    assert (about["adapter"], about["seed"], about["images"]) == ("folder", 0, 32)
    assert "32 images in" in prepared.summary()


def test_same_seed_same_bytes_and_the_source_is_only_read(class_folders, tmp_path):
    source = class_folders(per_class=3, classes=("ig", "monocyte"))
    before = sorted((p, p.stat().st_mtime_ns) for p in source.rglob("*"))
    for out in ("a", "b"):
        prepare(source, "folder", tmp_path / out, seed=5, workers=3)
    prepare(source, "folder", tmp_path / "c", seed=6)
    for name in ("manifest.csv", "manifest.json", "dropped.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a/manifest.json").read_bytes() != (
        tmp_path / "c/manifest.json"
    ).read_bytes()
    assert sorted((p, p.stat().st_mtime_ns) for p in source.rglob("*")) == before


def test_everything_left_out_is_listed_with_its_reason(class_folders, tmp_path, drawn_cell):
    source = class_folders(per_class=3, classes=("ig", "monocyte", "neutrophil"), size=120)
    ig, monocyte, neutrophil = (source / name for name in ("ig", "monocyte", "neutrophil"))
    (ig / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 50)
    (ig / "empty.png").touch()
    (ig / ".hidden.png").write_bytes(b"x")
    (ig / "notes.txt").write_text("x")
    shutil.copy(ig / "000.png", ig / "copy.png")
    cv2.imwrite(str(ig / "same pixels.bmp"), cv2.imread(str(ig / "000.png")))
    write_jpeg(ig / "saved again.jpg", read_image(ig / "001.png"), 80)
    shutil.copy(monocyte / "000.png", neutrophil / "both.png")
    write_jpeg(neutrophil / "nearly both.jpg", read_image(monocyte / "001.png"), 80)
    write_png(source / "stray.png", drawn_cell("ig", 99))
    prepared = prepare(source, "folder", tmp_path / "out")
    assert reasons(tmp_path / "out") == {
        "ig/.hidden.png": ("hidden", ""),
        "ig/broken.jpg": ("unreadable", "the file is truncated: its end is missing"),
        "ig/copy.png": ("exact copy", "of ig/000.png"),
        "ig/empty.png": ("unreadable", "the file is empty"),
        "ig/notes.txt": ("not named like an image", ""),
        "ig/same pixels.bmp": ("exact copy", "of ig/000.png"),
        "ig/saved again.jpg": ("near copy", "of ig/001.png"),
        "monocyte/000.png": ("two labels", "monocyte here, neutrophil as neutrophil/both.png"),
        "monocyte/001.png": (
            "near copy with two labels",
            "monocyte here, neutrophil as neutrophil/nearly both.jpg",
        ),
        "neutrophil/both.png": ("two labels", "neutrophil here, monocyte as monocyte/000.png"),
        "neutrophil/nearly both.jpg": (
            "near copy with two labels",
            "neutrophil here, monocyte as monocyte/001.png",
        ),
        "stray.png": ("no class folder", "it stands beside the folders"),
    }
    kept = {row.path for row in prepared.manifest.rows}
    everything = {p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()}
    assert kept | set(reasons(tmp_path / "out")) == everything
    assert "12 left out, see dropped.csv: " in prepared.summary()
    assert prepared.manifest.about["dropped"]["exact copy"] == 2


def test_turned_and_mirrored_copies_are_left_out(class_folders, tmp_path):
    source = class_folders(per_class=9, classes=("ig", "monocyte"), size=120)
    ig = source / "ig"
    for turn in range(1, 8):
        copy = turned(read_image(ig / f"{turn:03}.png"), turn)
        if turn % 2:
            write_png(ig / f"turned {turn}.png", copy)
        else:
            write_jpeg(ig / f"turned {turn}.jpg", copy, 80)
    write_png(source / "monocyte" / "same.png", turned(read_image(ig / "008.png"), 4))
    prepared = prepare(source, "folder", tmp_path / "out")
    assert reasons(tmp_path / "out") == {
        "ig/turned 1.png": ("near copy", "of ig/001.png, turned"),
        "ig/turned 2.jpg": ("near copy", "of ig/002.png, turned"),
        "ig/turned 3.png": ("near copy", "of ig/003.png, turned"),
        "ig/turned 4.jpg": ("near copy", "of ig/004.png, mirrored"),
        "ig/turned 5.png": ("near copy", "of ig/005.png, mirrored"),
        "ig/turned 6.jpg": ("near copy", "of ig/006.png, mirrored"),
        "ig/turned 7.png": ("near copy", "of ig/007.png, mirrored"),
        "ig/008.png": (
            "near copy with two labels",
            "ig here, monocyte as monocyte/same.png, mirrored",
        ),
        "monocyte/same.png": (
            "near copy with two labels",
            "monocyte here, ig as ig/008.png, mirrored",
        ),
    }
    assert len(prepared.manifest.rows) == 17


def test_a_drawn_set_can_be_prepared(tmp_path, capsys):
    """It has smears beside its class folders."""
    drawn = tmp_path / "drawn"
    draw_set(drawn, 0, per_class=3, smears=1, cells=5, size=64)
    prepare_it = ["data", "prepare", str(drawn), "--adapter", "folder"]
    assert main([*prepare_it, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "5 images: the folder 'smears' is named after no class" in told.err
    assert "24 images in" in told.out + told.err and "5 no class folder" in told.out + told.err
    listed = reasons(tmp_path / "out")
    assert listed["smears/smear-01/cell-001.jpg"] == (
        "no class folder", "the folder 'smears' is named after no class",
    )  # fmt: skip
    assert len(read_manifest(tmp_path / "out").rows) == 24


def test_crops_of_one_field_stay_together(class_folders, tmp_path, drawn_cell):
    source = class_folders(per_class=10, classes=("ig", "monocyte"), size=120)
    field = np.concatenate([drawn_cell("ig", 50, 240), drawn_cell("monocyte", 51, 240)], 1)
    write_png(source / "ig" / "left.png", np.ascontiguousarray(field[:, 60:300]))
    write_png(source / "monocyte" / "right.png", np.ascontiguousarray(field[:, 116:356]))
    for seed in range(4):
        prepared = prepare(source, "folder", tmp_path / str(seed), seed=seed)
        assert prepared.dropped == []
        left, right = (
            r for r in prepared.manifest.rows if r.path.endswith(("left.png", "right.png"))
        )
        assert left.source_cell == right.source_cell != ""
        assert left.split == right.split
        assert prepared.manifest.about["overlapping"] == 2


def test_patients_stay_whole(class_folders, tmp_path):
    source = class_folders(per_class=12, classes=("ig", "monocyte"), size=64)
    with (source / "metadata.csv").open("w") as file:
        file.write("path,patient,smear\n")
        for index, path in enumerate(sorted(source.rglob("*.png"))):
            file.write(f"{path.relative_to(source)},p{index % 6},{index % 2}\n")
    rows = prepare(source, "folder", tmp_path / "out").manifest.rows
    check_disjoint(rows)
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert {row.patient for row in rows} == {f"p{i}" for i in range(6)}


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_no_copy_patient_smear_or_source_cell_on_two_sides(data, drawn_cell, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("property")
    number = data.draw(st.integers(1, 14))
    picture = {}
    lines = ["path,patient,smear,source_cell"]
    (tmp / "cells").mkdir()
    for index in range(number):
        label = data.draw(st.sampled_from(("ig", "monocyte")))
        seed = data.draw(st.integers(0, 9))  # the same seed is the same picture
        known = [data.draw(st.sampled_from(["", "", "1", "2", "3"])) for _ in range(3)]
        path = tmp / "cells" / label / f"{index}.jpg"
        picture[f"{label}/{index}.jpg"] = seed
        path.parent.mkdir(exist_ok=True)
        write_jpeg(path, drawn_cell("ig", seed, 64), data.draw(st.sampled_from([95, 80])))
        lines.append(",".join([f"{label}/{index}.jpg", *known]))
    (tmp / "cells" / "metadata.csv").write_text("\n".join(lines))
    try:
        prepared = prepare(tmp / "cells", "folder", tmp / "out", seed=data.draw(st.integers(0, 3)))
    except CellnetError as error:
        assert "no image" in str(error)  # all had two labels
        return
    rows = prepared.manifest.rows
    check_disjoint(rows)
    assert len(rows) + len(prepared.dropped) == number
    # Of each picture one file is left, however often it was saved again.
    assert len({picture[row.path] for row in rows}) == len(rows)


def test_moved_data_are_found_with_another_root(class_folders, tmp_path):
    source = class_folders(per_class=3, classes=("ig",), size=32)
    prepare(source, "folder", tmp_path / "out")
    moved = source.rename(tmp_path / "moved")
    with pytest.raises(CellnetError, match="if the data were moved"):
        read_manifest(tmp_path / "out").check_files()
    read_manifest(tmp_path / "out", root=moved).check_files()


def test_another_division_is_not_written_over(class_folders, tmp_path):
    source = class_folders(per_class=4, classes=("ig", "monocyte"))
    prepare(source, "folder", tmp_path / "out", seed=1)
    before = (tmp_path / "out" / "manifest.csv").read_bytes()
    with pytest.raises(CellnetError, match="another division, made with seed 1;"):
        prepare(source, "folder", tmp_path / "out", seed=2)
    assert (tmp_path / "out" / "manifest.csv").read_bytes() == before


def test_one_may_prepare_into_the_source_and_again(class_folders):
    source = class_folders(per_class=3, classes=("ig",), size=32)
    first = prepare(source, "folder", source / "prepared")
    again = prepare(source, "folder", source / "prepared")
    assert again.manifest.rows == first.manifest.rows


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"adapter": "bccd"}, "no adapter 'bccd'"),
        ({"fractions": (0.5, 0.5, 0.5)}, "make 1"),
        ({"train_cap": 0}, "at least 1; got 0"),
    ],
)
def test_wrong_wishes_are_refused(class_folders, tmp_path, how, message):
    source = class_folders(per_class=1, classes=("ig",), size=32)
    with pytest.raises(CellnetError, match=message):
        prepare(source, **{"adapter": "folder", "out": tmp_path / "out"} | how)
    assert not (tmp_path / "out").exists()


def test_nothing_readable_is_an_error_with_the_first_reason(tmp_path):
    (tmp_path / "cells" / "ig").mkdir(parents=True)
    (tmp_path / "cells" / "ig" / "a.png").touch()
    with pytest.raises(CellnetError, match="no image .* is left of 1: .*unreadable.*empty"):
        prepare(tmp_path / "cells", "folder", tmp_path / "out")


def test_a_place_that_cannot_be_written_is_an_error(class_folders, tmp_path):
    source = class_folders(per_class=1, classes=("ig",), size=32)
    (tmp_path / "file").touch()
    with pytest.raises(CellnetError, match="cannot write the manifest"):
        prepare(source, "folder", tmp_path / "file" / "out")


@pytest.mark.slow
def test_the_known_copies_of_pbc_are_left_out(shared_data, tmp_path):
    # Two classes as links, so that the whole set need not be read.
    source = tmp_path / "pbc"
    names = ("EO_225902", "EO_220125", "EO_433229", "EO_1007", "EO_398276", "EO_924136")
    more = ("BNE_191112", "BNE_100878", "BNE_253038", "BNE_489079")
    for label, wanted in (("eosinophil", names), ("neutrophil", more)):
        (source / label).mkdir(parents=True)
        for name in wanted:
            os.symlink(shared_data / "pbc" / label / f"{name}.jpg", source / label / f"{name}.jpg")
    os.symlink(shared_data / "pbc/neutrophil/.DS_169665.jpg", source / "neutrophil/.DS_169665.jpg")
    assert len(find_images(source).files) == 10
    prepared = prepare(source, "pbc", tmp_path / "out")
    assert {path: reason for path, (reason, _) in reasons(tmp_path / "out").items()} == {
        "eosinophil/EO_225902.jpg": "two labels",
        "neutrophil/BNE_191112.jpg": "two labels",
        "eosinophil/EO_433229.jpg": "exact copy",
        "eosinophil/EO_924136.jpg": "near copy",
        "neutrophil/.DS_169665.jpg": "hidden",
    }
    one, two = (r for r in prepared.manifest.rows if r.path[-14:-4] in ("BNE_253038", "BNE_489079"))
    assert one.source_cell == two.source_cell != "" and one.split == two.split


def test_a_division_that_was_made_before_is_kept(class_folders, tmp_path, capsys):
    """On the sides of the old division, copies of its images included; what is new tests."""
    source = class_folders(per_class=8, classes=("ig", "monocyte"))
    rows = prepare(source, "folder", tmp_path / "first", seed=3).manifest.rows
    new = {row.sha256 for row in rows[::7]}
    old = [row for row in rows if row.sha256 not in new]
    sides = tmp_path / "sides.csv"
    lines = [f"{row.sha256[:12]},{row.split}\n" for row in old]
    sides.write_text("".join(["sha256,side\n", *lines]))
    again = prepare(source, "folder", tmp_path / "again", seed=8, sides=sides)
    assert {row.sha256: row.split for row in again.manifest.rows} == {
        row.sha256: "test" if row.sha256 in new else row.split for row in rows
    }
    # A copy of a cell that trained comes first by its name, and so takes the cell's place.
    trained = next(row for row in old if row.split == "train")
    image = cv2.cvtColor(read_image(source / trained.path), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(source / trained.label / "-first.bmp"), image)
    third = prepare(source, "folder", tmp_path / "third", sides=sides)
    (copy,) = [row for row in third.manifest.rows if row.path.endswith("-first.bmp")]
    assert copy.split == "train" and copy.sha256 != trained.sha256
    with pytest.raises(CellnetError, match="holds another division, made with sides"):
        prepare(source, "folder", tmp_path / "third")
    command = ["data", "prepare", str(source), "--adapter", "folder", "--out", str(tmp_path / "x")]
    assert main([*command, "--sides", str(tmp_path / "no.csv")]) == 1
    assert "there is no file" in capsys.readouterr().err
    assert main([*command, "--sides", str(sides)]) == 0
