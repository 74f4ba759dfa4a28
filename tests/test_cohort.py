import csv
import hashlib
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet import cohort
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.cohort import Plan, simulate
from cellnet.cohort_plan import SHARES, Source, check_sets, partition, plan_versions
from cellnet.draw import draw_cell
from cellnet.errors import CellnetError
from cellnet.images import read_image, write_jpeg
from cellnet.manifest import COHORT_SPLITS, Row, read_manifest, write_manifest

PLAN = Plan(train_per_class=7, validation_versions=2, smears=4, proof_smears=2, cells=(4, 6))
SMEAR_SETS = ("test-by-smear", "proof-of-concept")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A manifest of drawn cells, with one that has no cytoplasm and one that is no image."""
    folder = tmp_path_factory.mktemp("cells")
    rows = []

    def add(name, image, label, split, **more):
        path = folder / name
        if image is None:
            path.write_bytes(b"no image")
        else:
            write_jpeg(path, image)
        rows.append(
            Row(
                name,
                hashlib.sha256(path.read_bytes()).hexdigest(),
                label,
                split=split,
                source="drawn",
                licence="MIT",
                **more,
            )
        )

    number = 0
    for split, count in (("train", 4), ("validation", 2), ("test", 27)):
        for i in range(count):
            number += 1
            image = draw_cell(NEUTROPHIL, np.random.default_rng(number), size=160)
            add(f"n{number}.jpg", image, NEUTROPHIL, split, subtype="band" if i % 2 else "")
    for label in CLASSES:
        for _ in range(2 if label != NEUTROPHIL else 0):
            number += 1
            image = draw_cell(label, np.random.default_rng(number), size=160)
            add(f"o{number}.jpg", image, label, "test")
    add("plain.jpg", np.full((160, 160, 3), 220, np.uint8), NEUTROPHIL, "train")
    add("broken.jpg", None, NEUTROPHIL, "test")
    image = draw_cell(NEUTROPHIL, np.random.default_rng(99), size=160, dysplastic=True)
    add("done.jpg", image, NEUTROPHIL, "train", suppression="0.9")
    write_manifest(folder, rows, ".")
    return folder


@pytest.fixture(scope="module")
def made(cells, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "cohort"
    simulate(cells, out, 3, PLAN, workers=1)
    return out


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tree(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_the_five_sets(made):
    manifest = read_manifest(made)
    manifest.check_files()
    kinds = defaultdict(lambda: defaultdict(list))
    for row in manifest.rows:
        kinds[row.split][row.path.split("/")[1]].append(row)
    assert tuple(kinds) == COHORT_SPLITS
    for split, each in (("train", 7), ("validation", 4), ("test-by-cell", None)):
        assert sorted(kinds[split]) == ["dysplastic", "normal"]
        normal, dysplastic = kinds[split]["normal"], kinds[split]["dysplastic"]
        assert len(normal) == len(dysplastic) == (each or len(normal))
        assert all(row.label == NEUTROPHIL for row in normal + dysplastic)
        assert all(0 <= float(row.suppression) <= 0.2 for row in normal)
        assert all(2 / 3 <= float(row.suppression) <= 1 for row in dysplastic)
        assert {r.source_cell for r in normal} == {r.source_cell for r in dysplastic}
    assert len(kinds["test-by-smear"]) == 4
    assert len(kinds["proof-of-concept"]) == 2
    for row in manifest.rows:
        path = made / row.path
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
        assert read_image(path).shape == (160, 160, 3)
    listed = {row.path for row in manifest.rows}
    assert {p for p in tree(made) if p.endswith(".jpg")} == listed


def test_truth_agrees_with_the_manifest(made):
    rows = read_manifest(made).rows
    truth = table(made / "truth.csv")
    assert list(truth[0]) == [
        "set",
        "smear",
        "diagnosis",
        "cells",
        "neutrophils",
        "dysplastic",
        "dysplastic_fraction",
    ]
    assert [(t["set"], t["diagnosis"]) for t in truth].count(("test-by-smear", "mds")) == 2
    assert len(truth) == 6
    for smear in truth:
        found = [row for row in rows if row.smear == smear["smear"]]
        assert {row.split for row in found} == {smear["set"]}
        assert all(row.path.startswith(f"{smear['set']}/{smear['smear']}/") for row in found)
        neutrophils = [row for row in found if row.label == NEUTROPHIL]
        dysplastic = [row for row in neutrophils if float(row.suppression) >= 2 / 3]
        assert all(row.suppression == "" for row in found if row.label != NEUTROPHIL)
        assert 4 <= len(found) <= 6
        assert len(found) == int(smear["cells"])
        assert len(neutrophils) == int(smear["neutrophils"])
        assert len(dysplastic) == int(smear["dysplastic"])
        share = len(dysplastic) / len(neutrophils)
        assert float(smear["dysplastic_fraction"]) == pytest.approx(share, abs=1e-6)
        low, high = (0.15, 0.9) if smear["diagnosis"] == "mds" else (0, 0.05)
        assert low <= share <= high
        assert len({row.source_cell for row in found}) == len(found)  # never twice in a smear


def test_sources_keep_their_side(cells, made):
    split_of = {row.sha256: row.split for row in read_manifest(cells).rows}
    sets = defaultdict(set)
    for row in read_manifest(made).rows:
        sets[row.source_cell].add(row.split)
        home = row.split if row.split in ("train", "validation") else "test"
        assert split_of[row.source_cell] == home
    assert all(len(found) == 1 for found in sets.values())


def test_what_could_not_be_used_is_listed(made):
    # As `data prepare` lists what it leaves out.
    dropped = {it["path"]: (it["reason"], it["detail"]) for it in table(made / "dropped.csv")}
    assert set(dropped) == {"plain.jpg", "broken.jpg", "done.jpg"}
    assert dropped["plain.jpg"][0] == "no cytoplasm" and "no nucleus" in dropped["plain.jpg"][1]
    assert dropped["broken.jpg"][0] == "unreadable" and dropped["broken.jpg"][1]
    assert dropped["done.jpg"] == ("granules suppressed already", "g = 0.9")
    about = json.loads((made / "manifest.json").read_text())
    assert about["dropped"] == dict.fromkeys(sorted(reason for reason, _ in dropped.values()), 1)
    assert about["seed"] == 3
    assert "never twice" in about["repeats"]
    assert about["not_made"] == {}


def test_the_same_seed_gives_the_same_bytes_with_any_workers(cells, made, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "FEW", 0)
    simulate(cells, tmp_path / "again", 3, PLAN, workers=2)
    assert tree(tmp_path / "again") == tree(made)
    monkeypatch.undo()
    simulate(cells, tmp_path / "other", 4, replace(PLAN, smears=0, proof_smears=0))
    assert tree(tmp_path / "other") != tree(made)
    assert not list(tmp_path.glob(".*"))


def test_the_order_of_the_rows_decides_nothing(cells, made, tmp_path):
    write_manifest(tmp_path / "m", read_manifest(cells).rows[::-1], cells)
    simulate(tmp_path / "m", tmp_path / "out", 3, PLAN, workers=1)
    assert tree(tmp_path / "out") == tree(made)


def test_an_output_folder_with_files_is_refused(cells, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(CellnetError, match="new or empty"):
        simulate(cells, tmp_path, 1, PLAN)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing(cells, tmp_path, monkeypatch):
    def fail(task):
        raise OSError("disk full")

    monkeypatch.setattr(cohort, "_make", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate(cells, tmp_path / "out", 1, PLAN, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_too_few_cells_are_refused_or_noted(cells, tmp_path, caplog):
    plan = replace(PLAN, cells=(30, 100))
    with pytest.raises(CellnetError, match="different neutrophils.*make smaller smears"):
        simulate(cells, tmp_path / "out", 1, plan, workers=1)
    made = simulate(cells, tmp_path / "out", 1, plan, workers=1, partial=True)
    assert set(made.about["not_made"]) == set(SMEAR_SETS)
    assert {row.split for row in made.rows} == {"train", "validation", "test-by-cell"}
    assert "different neutrophils" in caplog.text


def test_a_manifest_that_leaks_is_refused(cells, tmp_path):
    manifest = read_manifest(cells)
    rows = [
        replace(row, patient="p1") if row.path in ("n1.jpg", "n6.jpg") else row
        for row in manifest.rows
    ]
    write_manifest(tmp_path / "m", rows, cells)
    with pytest.raises(CellnetError, match="patient p1 on two sides"):
        simulate(tmp_path / "m", tmp_path / "out", 1, PLAN)


def test_a_real_smear_called_like_a_simulated_one(cells, tmp_path):
    names = {"n1.jpg": "smear-001", "n5.jpg": "proof-002"}
    rows = [replace(r, smear=names.get(r.path, r.smear)) for r in read_manifest(cells).rows]
    write_manifest(tmp_path / "m", rows, cells)
    made = simulate(tmp_path / "m", tmp_path / "out", 1, PLAN, workers=1)
    assert {row.smear for row in made.rows if row.split == "train"} == {"", "smear-001"}
    assert {row.smear for row in made.rows if row.split == "validation"} == {"", "proof-002"}
    truth = {(line["set"], line["smear"]) for line in table(tmp_path / "out" / "truth.csv")}
    assert ("test-by-smear", "simulated-smear-001") in truth
    assert ("proof-of-concept", "simulated-proof-002") in truth
    smears = [row for row in made.rows if row.split in SMEAR_SETS]
    assert {(row.split, row.smear) for row in smears} == truth
    assert all(row.path.startswith(f"{row.split}/{row.smear}/") for row in smears)


def test_a_file_that_changed_is_dropped(cells, tmp_path):
    manifest = read_manifest(cells)
    rows = [replace(row, sha256="0" * 64) if row.path == "n1.jpg" else row for row in manifest.rows]
    write_manifest(tmp_path / "m", rows, cells)
    simulate(tmp_path / "m", tmp_path / "out", 1, PLAN, workers=1)
    reasons = {r["path"]: r["detail"] for r in table(tmp_path / "out" / "dropped.csv")}
    assert "not the one that the manifest lists" in reasons["n1.jpg"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_per_class": -1}, "train_per_class"),
        ({"cells": (1, 5)}, "cells"),
        ({"cells": (9, 5)}, "cells"),
        ({"mds": (0.5, 1.5)}, "mds"),
        ({"quality": 0}, "quality"),
    ],
)
def test_a_plan_that_cannot_be(change, words):
    with pytest.raises(CellnetError, match=words):
        Plan(**change)


def test_no_neutrophil_to_train_on(cells, tmp_path):
    rows = [row for row in read_manifest(cells).rows if row.split != "train"]
    write_manifest(tmp_path / "m", rows, cells)
    with pytest.raises(CellnetError, match="no usable neutrophil for the set 'train'"):
        simulate(tmp_path / "m", tmp_path / "out", 1, PLAN, workers=1, partial=True)
    with pytest.raises(CellnetError, match="seed"):
        simulate(tmp_path / "m", tmp_path / "out", -1, PLAN)


def sources_from(spec):
    """Source cells whose patients and smears keep their side, from (label, patient, smear)."""
    splits = ("train", "validation", "test", "test")
    side = {}
    sources = []
    for i, (label, patient, smear) in enumerate(spec):
        # A smear belongs to one patient, and a patient to one split.
        owner = f"p{patient}" if patient else ""
        slide = f"s{smear}-{patient}" if smear else ""
        split = side.setdefault(owner or slide or i, splits[i % len(splits)])
        sha256 = hashlib.sha256(str(i).encode()).hexdigest()
        row = Row(f"{i}.jpg", sha256, label, patient=owner, smear=slide, split=split)
        sources.append(Source(row, sha256))
    return sources


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(CLASSES[:3] + (NEUTROPHIL,) * 3), st.integers(0, 12), st.integers(0, 2)
        ),
        max_size=120,
    ),
    st.integers(0, 2**32 - 1),
)
def test_no_source_cell_patient_or_smear_in_two_sets(spec, seed):
    sources = sources_from(spec)
    sets = partition(sources, seed)
    assert sorted(s.key for found in sets.values() for s in found) == sorted(s.key for s in sources)
    plan = Plan(train_per_class=0, validation_versions=0, smears=3, proof_smears=2, cells=(3, 5))
    plan_versions(sets, plan, seed, partial=True)
    where = defaultdict(set)
    for source in sources:
        for version in source.versions:
            assert source in sets[version.split]
            for value in (source.key, source.row.patient, source.row.smear):
                if value:
                    where[value].add(version.split)
            where[version.smear].add(version.split)
    where.pop("", None)
    assert all(len(found) == 1 for found in where.values())
    check_sets(sources)


@settings(max_examples=30, deadline=None)
@given(st.integers(30, 300), st.integers(0, 2**32 - 1))
def test_the_test_cells_are_shared_out_as_planned(number, seed):
    sources = sources_from([(NEUTROPHIL, 0, 0)] * number)
    for source in sources:
        source.row = replace(source.row, split="test")
    sets = partition(sources, seed)
    for name, share in SHARES.items():
        assert abs(len(sets[name]) - share * number) <= 1.5


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_smears_of_the_default_plan(seed):
    spec = [(label, 0, 0) for label in CLASSES for _ in range(400 if label == NEUTROPHIL else 100)]
    sources = sources_from(spec)
    for source in sources:
        source.row = replace(source.row, split="test")
    plan = Plan(
        train_per_class=0, validation_versions=0, by_cell_versions=0, smears=6, proof_smears=3
    )
    truth, not_made = plan_versions(partition(sources, seed), plan, seed)
    assert not not_made
    assert [t.diagnosis for t in truth].count("mds") == 3 + 2
    for smear in truth:
        low, high = (0.15, 0.9) if smear.diagnosis == "mds" else (0.0, 0.05)
        assert 30 <= smear.cells <= 100
        assert 0.45 * smear.cells <= smear.neutrophils <= 0.9 * smear.cells
        assert low <= smear.dysplastic / smear.neutrophils <= high


def test_a_leak_in_the_plan_is_caught():
    sources = sources_from([(NEUTROPHIL, 0, 0)] * 4)
    for source in sources:
        source.row = replace(source.row, patient="p1")
    plan_versions(
        {
            "train": sources[:2],
            "validation": sources[2:],
            "test-by-cell": [],
            "test-by-smear": [],
            "proof-of-concept": [],
        },
        Plan(train_per_class=2, by_cell_versions=0, smears=0, proof_smears=0),
        1,
    )
    with pytest.raises(CellnetError, match="patient p1 on two sides"):
        check_sets(sources)


def test_a_simulated_smear_called_like_a_real_one_is_caught():
    sources = sources_from([(NEUTROPHIL, 0, 0)] * 2)
    plan = Plan(train_per_class=1, validation_versions=0, smears=0, proof_smears=0)
    sets = {name: [] for name in COHORT_SPLITS}
    plan_versions({**sets, "train": sources[:1], "test-by-cell": sources[1:]}, plan, 1)
    version = sources[1].versions[0]
    sources[0].row = replace(sources[0].row, smear="smear-001")
    sources[0].versions = [replace(v, smear="smear-001") for v in sources[0].versions]
    sources[1].versions = [replace(version, split="test-by-smear", smear="smear-001")]
    with pytest.raises(CellnetError, match="smear smear-001 on two sides"):
        check_sets(sources)
