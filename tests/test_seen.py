"""A bundle knows which photographs trained it, and whatever measures it is told so."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from pathlib import Path

import pytest
from bundles import make_bundles
from painted_cohort import PaintedCohort, painted_cohort

from cellnet.bundle import available, load
from cellnet.calibrate import calibrate
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.evaluate import evaluate
from cellnet.manifest import Row
from cellnet.record import record
from cellnet.seen import FILE, count_seen, pack_seen, read_seen, seen_warnings, sides_of
from cellnet.smears import SmearReader
from cellnet.verify import verify

SPLIT = Path(__file__).parents[1] / "training" / "splits" / "pbc.csv"


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = make_bundles(tmp_path / "models")
    monkeypatch.setenv("CELLNET_MODELS", str(folder))
    return folder


def teach(folder: Path, **sides) -> None:
    """Let a bundle say that it has seen these photographs."""
    data = pack_seen(sides)
    (folder / FILE).write_bytes(data)
    file = folder / "bundle.json"
    description = json.loads(file.read_text(encoding="utf-8"))
    description["seen"] = {"file": FILE, "sha256": hashlib.sha256(data).hexdigest()}
    file.write_text(json.dumps(description), encoding="utf-8")


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def row(number: int, split: str, made_of: int | None = None) -> Row:
    source = "" if made_of is None else digest(made_of)
    return Row(f"{number}.jpg", digest(number), "ig", split=split, source_cell=source)


def test_what_is_made_of_a_photograph_counts_as_it(models):
    rows = [row(1, "train"), row(2, "validation"), row(3, "test"), row(4, "train", made_of=5)]
    assert sides_of(rows) == {
        "train": {digest(1), digest(4), digest(5)},
        "validation": {digest(2)},
    }
    teach(models / "model1", **sides_of(rows))
    bundle = load("model1")
    later = [row(1, "test"), row(9, "test", made_of=5), row(2, "test"), row(3, "test")]
    assert count_seen(bundle, later) == {"train": 2, "validation": 1}
    warnings = seen_warnings(bundle, later)
    assert warnings[0].startswith("2 of 4 cells trained model1 ")
    assert warnings[1].startswith("1 of 4 cells chose the epoch of model1 ")
    assert len(warnings) == 2
    assert seen_warnings(bundle, later[3:]) == []


def test_the_same_photographs_give_the_same_bytes():
    some = [digest(number) for number in range(50)]
    assert pack_seen({"train": some}) == pack_seen({"train": reversed(some), "validation": []})


def test_a_bundle_that_does_not_say_is_told(models):
    bundle = load("model1")
    assert read_seen(bundle) is None and count_seen(bundle, [row(1, "test")]) is None
    assert "does not say which cells trained it" in seen_warnings(bundle, [row(1, "test")])[0]


def test_a_damaged_file_is_an_error_and_fails_verification(models):
    folder = models / "model1"
    teach(folder, train=[digest(1)])
    assert any(check.name == "cells seen" and check.passed for check in verify(folder).checks)
    (folder / FILE).write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(CellnetError, match="seen.npz of the bundle model1 cannot be read"):
        count_seen(load("model1"), [row(1, "test")])
    assert any(check.name == "cells seen" and not check.passed for check in verify(folder).checks)


def test_evaluating_on_cells_that_trained_is_cautioned_and_not_kept(models, tmp_path):
    cohort = PaintedCohort(tmp_path / "cells")
    for label in CLASSES:
        for _ in range(3):
            cohort.cell("test", label, source_cell="")
    manifest = cohort.write()
    rows = manifest.rows
    teach(models / "model1", train=[rows[0].sha256, rows[5].sha256], validation=[rows[9].sha256])
    found = evaluate("model1", manifest, repeats=20, progress=False)
    assert found["seen"] == {"model": {"train": 2, "validation": 1}}
    assert found["warnings"][0].startswith("2 of 24 cells trained model1")
    with pytest.raises(CellnetError, match="2 of the cells trained model1 and 1 chose its epoch"):
        record(found, "mine", "model1")
    teach(models / "model1", train=[digest(1)])
    clean = evaluate("model1", manifest, repeats=20, progress=False)
    assert clean["seen"] == {"model": {"train": 0, "validation": 0}}
    assert record(clean, "mine", "model1").is_file()


def test_a_cut_fitted_on_cells_that_trained_is_told_in_every_report(models, tmp_path, caplog):
    manifest = painted_cohort(tmp_path / "cohort").write()
    by_cell = manifest.split("test-by-cell")
    used = [it.source_cell or it.sha256 for it in by_cell if it.label == "neutrophil"]
    teach(models / "dysplasianet", train=used[:3])
    teach(models / "model1", train=[])
    with caplog.at_level(logging.WARNING, "cellnet"):
        point = calibrate("dysplasianet", manifest, progress=False)
    assert point.cell.fitted_on["seen"]["train"] >= 3
    assert "trained dysplasianet" in caplog.text
    (caution, *_) = SmearReader("model1", "dysplasianet").cautions
    assert caution.startswith("the cell cut-off was fitted on ")
    assert "cells that trained the network" in caution


def test_the_shipped_bundles_say_what_the_division_says():
    sides: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    with SPLIT.open(encoding="utf-8", newline="") as file:
        for entry in csv.DictReader(file):
            sides[entry["side"]].add(entry["sha256"])
    names = set(available()) & {"model1", "dysplasianet"}
    assert names == {"model1", "dysplasianet"}
    for name in names:
        seen = read_seen(load(name))
        for side in ("train", "validation"):
            assert seen[side] == {int(value, 16) for value in sides[side]}
        assert not {int(value, 16) for value in sides["test"]} & (
            seen["train"] | seen["validation"]
        )
