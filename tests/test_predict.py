"""Files and folders to answers: one smear, or a handful of images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from bundles import CUTOFF, make_bundles, paint_cell, paint_smear

import cellnet
from cellnet.bundle import load
from cellnet.errors import CellnetError
from cellnet.predict import predict, predict_smear
from cellnet.verify import read_schema


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_bundles(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def models(home, monkeypatch):
    monkeypatch.setenv("CELLNET_MODELS", str(home))
    return home


@pytest.fixture
def smear(tmp_path) -> Path:
    return paint_smear(tmp_path / "smear-7", normal=12, dysplastic=4, lymphocytes=8)


def test_a_smear(smear):
    report = predict_smear(smear)
    document = report.to_dict()
    jsonschema.validate(document, read_schema("smear-report"))
    assert document["smear"] == "smear-7"
    assert [cell["file"] for cell in document["cells"]] == sorted(p.name for p in smear.iterdir())
    assert (document["neutrophils"], document["dysplastic"]) == (16, 4)
    assert document["dysplastic_fraction"] == 0.25
    assert document["differential"]["lymphocyte"] == {"count": 8, "fraction": 8 / 24}
    assert (document["decision"], document["confidence"]) == ("mds-suspected", "borderline")
    assert document["models"]["model1"] == load("model1").identity()
    assert document["unreadable"] == []


def test_copies_make_no_decision_and_nothing_clear(tmp_path):
    few = paint_smear(tmp_path / "few", normal=2, dysplastic=4, lymphocytes=1)
    assert predict_smear(few).decision == "indeterminate"
    for file in sorted(few.iterdir()):
        shutil.copy(file, few / f"copy of {file.name}")
    report = predict_smear(few)
    document = report.to_dict()
    jsonschema.validate(document, read_schema("smear-report"))
    assert (document["neutrophils"], document["dysplastic"]) == (12, 8)
    assert (document["decision"], document["confidence"]) == ("indeterminate", "borderline")
    assert len(document["copies"]) == 7
    assert "exact copies: 7 of 14 images repeat another" in " ".join(document["warnings"])


def test_answers_do_not_depend_on_threads_or_on_company(smear, tmp_path):
    whole = json.dumps(predict_smear(smear, threads=1).to_dict())
    assert json.dumps(predict_smear(smear, threads=5).to_dict()) == whole
    alone = tmp_path / "alone"
    for cell in json.loads(whole)["cells"]:
        shutil.rmtree(alone, ignore_errors=True)
        alone.mkdir()
        shutil.copy(smear / cell["file"], alone)
        assert predict_smear(alone).to_dict()["cells"] == [cell]


def test_the_same_from_the_package(smear):
    assert cellnet.predict_smear(smear) == predict_smear(str(smear))


def test_sub_folders_are_walked_and_named(smear):
    paint_cell(smear / "Neutrophils" / "a.png", "neutrophil")
    paint_cell(smear / "x" / "y" / "b.PNG", "monocyte")
    files = [cell.file for cell in predict_smear(smear).cells]
    assert "Neutrophils/a.png" in files and "x/y/b.PNG" in files


def test_the_name_of_a_smear(smear, monkeypatch):
    monkeypatch.chdir(smear)
    assert predict_smear(".").smear == "smear-7"
    assert predict_smear(f"{smear}/").smear == "smear-7"


def test_unreadable_and_passed_over_files_are_told(smear):
    (smear / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (smear / "empty.png").write_bytes(b"")
    (smear / ".hidden.png").write_bytes(b"")
    (smear / "notes.txt").write_text("seen by A.")
    report = predict_smear(smear)
    assert [entry["file"] for entry in report.unreadable] == ["empty.png", "torn.jpg"]
    assert all(entry["reason"] for entry in report.unreadable)
    assert len(report.cells) == 24
    assert any(
        warning.startswith("passed over: 2") and "1 hidden, 1 not named like an image" in warning
        for warning in report.warnings
    )


def test_given_cuts_take_the_place_of_the_fitted_ones(smear):
    report = predict_smear(smear, cutoff=0.05, threshold=0.9, min_neutrophils=3)
    assert (report.cutoff, report.threshold, report.min_neutrophils) == (0.05, 0.9, 3)
    assert (report.dysplastic, report.decision) == (0, "no-dysplasia")
    assert predict_smear(smear, threshold=0.25).decision == "no-dysplasia"  # equal is not above
    score = next(c.granularity for c in report.cells if c.granularity and c.granularity < 0.5)
    assert predict_smear(smear, cutoff=score).dysplastic >= 1  # equal is dysplastic


def test_too_few_neutrophils(tmp_path):
    few = predict_smear(paint_smear(tmp_path / "few", normal=0, dysplastic=9))
    assert (few.decision, few.dysplastic) == ("indeterminate", 9)
    none = predict_smear(paint_smear(tmp_path / "none", normal=0, lymphocytes=5)).to_dict()
    jsonschema.validate(none, read_schema("smear-report"))
    assert none["decision"] == "indeterminate" and none["dysplastic_fraction"] is None


def test_what_cannot_be_answered_is_one_clear_line(tmp_path, smear, home):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("a")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"x")
    bare = make_bundles(tmp_path / "bare", point=False)
    for folder, more, message in (
        (tmp_path / "gone", {}, "does not exist"),
        (smear / "cell_0000.png", {}, "is not a folder"),
        (tmp_path / "empty", {}, "there is no image in the folder"),
        (tmp_path / "text", {}, "no image in the folder .*1 not named like an image"),
        (tmp_path / "broken", {}, "none of the 1 images .* can be read; the first is a.png"),
        (smear, {"model1": "model9"}, "no model is called 'model9'"),
        (smear, {"model1": "dysplasianet"}, "'probabilities' is needed"),
        (smear, {"dysplasianet": bare / "dysplasianet"}, "has no operating point"),
        (smear, {"cutoff": 1.5}, r"cutoff must be a number in \[0, 1\]"),
    ):
        with pytest.raises(CellnetError, match=message) as caught:
            predict_smear(folder, **more)
        assert "\n" not in str(caught.value)
    assert predict_smear(smear, dysplasianet=bare / "dysplasianet", cutoff=0.5, threshold=0.1)


def test_predicting_names(smear):
    document = predict([smear])
    jsonschema.validate(document, read_schema("predictions"))
    assert list(document) == ["schema", "model", "cells", "unreadable"]
    by_smear = [
        {key: cell[key] for key in ("file", "label", "probability", "probabilities")}
        for cell in predict_smear(smear).to_dict()["cells"]
    ]
    assert document["cells"] == by_smear


def test_predicting_scores(smear):
    document = predict([smear], "dysplasianet")
    jsonschema.validate(document, read_schema("predictions"))
    assert document["cutoff"] == CUTOFF
    scores = {cell["file"]: cell["granularity"] for cell in document["cells"]}
    for cell in predict_smear(smear).cells:
        if cell.granularity is not None:
            assert scores[cell.file] == cell.granularity
    assert all(c["dysplastic"] == (c["granularity"] <= 0.9) for c in
               predict([smear], "dysplasianet", cutoff=0.9)["cells"])  # fmt: skip


def test_files_are_named_as_they_were_given(smear, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paint_cell(tmp_path / "other" / "b.png", "monocyte")
    document = predict(["smear-7/cell_0003.png", "other", "gone.png"])
    assert [cell["file"] for cell in document["cells"]] == ["smear-7/cell_0003.png", "other/b.png"]
    assert document["unreadable"] == [{"file": "gone.png", "reason": "there is no such file"}]
    assert [cell["file"] for cell in predict(["other"])["cells"]] == ["b.png"]


def test_an_image_by_another_name_is_judged_by_its_content(smear, tmp_path):
    shutil.copy(smear / "cell_0000.png", tmp_path / "cell")
    assert predict([tmp_path / "cell"])["cells"][0]["label"] == "neutrophil"


def test_predictions_that_cannot_be_made(smear, tmp_path):
    bare = make_bundles(tmp_path / "bare", point=False)
    for paths, more, message in (
        ([], {}, "no image was given"),
        ([tmp_path / "gone.png"], {}, "none of 1 images can be read.*no such file"),
        ([smear], {"cutoff": 0.5}, "model1 answers none"),
        ([smear], {"model": bare / "dysplasianet"}, "has no operating point"),
        ([smear], {"model": bare / "dysplasianet", "cutoff": 3}, "cutoff must be"),
    ):
        with pytest.raises(CellnetError, match=message):
            predict(paths, **more)
    assert predict([smear], bare / "dysplasianet", cutoff=0.5)["cutoff"] == 0.5


def test_pictures_of_any_kind_and_size(tmp_path):
    import cv2

    folder = tmp_path / "odd"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("grey.png", (40, 30)), ("alpha.png", (33, 44, 4)), ("dot.png", (1, 1, 3)),
                        ("wide.jpg", (20, 700, 3)), ("old.bmp", (50, 50, 3))):  # fmt: skip
        cv2.imwrite(str(folder / name), rng.integers(0, 256, shape, dtype=np.uint8))
    report = predict_smear(folder)
    assert len(report.cells) == 5 and not report.unreadable


def test_a_model_that_lacks_a_class_says_so_in_each_report(home, smear, tmp_path):
    copy = tmp_path / "without"
    shutil.copytree(home / "model1", copy)
    description = json.loads((copy / "bundle.json").read_text())
    description.setdefault("data", {})["left_out"] = ["ig"]
    (copy / "bundle.json").write_text(json.dumps(description))
    told = predict_smear(smear, model1=copy, cutoff=0.5, threshold=0.1).warnings
    assert any("was trained without ig" in warning for warning in told)
    assert not any("trained without" in warning for warning in predict_smear(smear).warnings)
