"""Transfer learning as a user runs it: a recipe in, a report out, nothing done twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import yaml

keras = pytest.importorskip("keras", reason="transfer learning needs the training extra")
pytest.importorskip("skops", reason="transfer learning needs the training extra")

from network_bundles import random_network, write_bundle  # noqa: E402

from cellnet import finetuning_study, svm, svm_study  # noqa: E402
from cellnet.cells import CLASSES  # noqa: E402
from cellnet.cli import main  # noqa: E402
from cellnet.draw import draw_set  # noqa: E402
from cellnet.errors import CellnetError  # noqa: E402
from cellnet.images import write_jpeg  # noqa: E402
from cellnet.manifest import read_manifest, write_manifest  # noqa: E402
from cellnet.measured_page import majority  # noqa: E402
from cellnet.seen import bundles_of_file, pack_seen  # noqa: E402
from cellnet.transfer import transfer  # noqa: E402
from cellnet.transfer_recipe import FineTuning, SvmStudy, read_transfer  # noqa: E402
from cellnet.verify import read_schema  # noqa: E402

TRAINING = Path(__file__).resolve().parents[1] / "training"
OWN = sorted(
    file for file in TRAINING.glob("*.yaml") if "\nkind: " in file.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """What the recipes' second line draws."""
    folder = tmp_path_factory.mktemp("drawn") / "drawn"
    draw_set(folder, 0, per_class=12, smears=0)
    return folder


def check(run: Path, schema: str) -> dict:
    """The report of a run, valid, and its page, which loads nothing from elsewhere."""
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, read_schema(schema))
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    for mark in ("http://", "https://", "<script", ' src="/', "url("):
        assert mark not in page, mark
    assert "data:image/svg+xml" in page
    counts = report["cells"]["by_group" if schema == "features-svm" else "test"]
    assert f"would be right for {majority(counts)}" in page
    for text in report["warnings"]:
        assert text.split(":")[0] in page
    return report


# ---------------------------------------------------------------- the recipes that are shipped


def test_every_recipe_holds():
    assert {file.stem for file in OWN} >= {
        "chapter2-svm",
        "chapter4-features-svm",
        "chapter4-finetuning",
    }
    for file in OWN:
        recipe = read_transfer(file)
        assert recipe.name == file.stem
        # The first lines say how it is run, and name no machine's folder.
        told = [line for line in file.read_text("utf-8").splitlines() if line.startswith("#   ")]
        assert f"training/{file.name} --data" in told[-1]
        if isinstance(recipe, FineTuning):
            for backbone in recipe.backbones:
                recipe.run_of(backbone, recipe.free_blocks[0], recipe.images_per_class[0])


def test_the_thesis_is_what_the_recipes_ask_for():
    groups = read_transfer(TRAINING / "chapter2-svm.yaml").groups
    assert list(groups) == ["mononuclear", "granulocyte", "platelet", "smudge"]
    machines = read_transfer(TRAINING / "chapter4-features-svm.yaml")
    assert [(one.name, one.layer, one.weights) for one in machines.features] == [
        ("VGG16", "fc1", "imagenet"),
        ("InceptionV3", "avg_pool", "imagenet"),
    ]
    assert (machines.folds, machines.svm.kernels) == (5, ["rbf", "quadratic", "cubic"])
    tuning = read_transfer(TRAINING / "chapter4-finetuning.yaml")
    assert tuning.free_blocks == [1, 2, 4, 6, 8]
    assert tuning.images_per_class == [512, 1024, 2048, 4096]
    assert [(one.name, one.pooling, one.hidden) for one in tuning.backbones] == [
        ("VGG16", "flatten", [4096, 1024]),
        ("InceptionV3", "average", [1024]),
    ]


@pytest.mark.slow
def test_chapter2_in_its_small_form(drawn, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["transfer", str(TRAINING / "chapter2-svm-small.yaml"), "--data", str(drawn)]
    assert main([*words, "--run", str(run), "--json"]) == 0
    report = check(run, "features-svm")
    assert json.loads(capsys.readouterr().out) == report
    # Erythroblasts are in no group, and nothing that was drawn is a smudge cell.
    assert report["cells"]["left_out"] == {"erythroblast": 12}
    assert report["cells"]["by_group"] == {
        "mononuclear": 24,
        "granulocyte": 48,
        "platelet": 12,
        "smudge": 0,
    }
    assert any("no cell of: smudge" in text for text in report["warnings"])
    assert any("random" in text and "control" in text for text in report["warnings"])
    assert [it["kernel"] for it in report["results"]] == ["rbf", "quadratic", "cubic"]
    for result in report["results"]:
        assert result["features"]["features"] == 4096
        assert np.sum(result["confusion"]["counts"]) == result["n"] == 84
        assert result["per_class"]["smudge"]["sensitivity"]["value"] is None
        trained, about = svm.load(run / result["machine"])
        assert about["answers"] == list(report["groups"])
        assert trained.n_features_in_ == 4096
    # Without --resume it is left alone, with it nothing is left to do.
    assert main([*words, "--run", str(run)]) == 1
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--run", str(run), "--resume"]) == 0
    again = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert again["results"] == report["results"]
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_chapter4_machines_in_their_small_form(drawn, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["transfer", str(TRAINING / "chapter4-features-svm-small.yaml"), "--data", str(drawn)]
    assert main([*words, "--run", str(run)]) == 0
    report = check(run, "features-svm")
    assert {
        (it["features"]["backbone"], it["features"]["features"]) for it in report["results"]
    } == {
        ("VGG16", 4096),
        ("InceptionV3", 2048),
    }
    assert report["groups"] is None and list(report["results"][0]["per_class"]) == list(CLASSES)
    assert "warning: " in capsys.readouterr().out


@pytest.mark.slow
def test_chapter4_finetuning_in_its_small_form(drawn, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["transfer", str(TRAINING / "chapter4-finetuning-small.yaml"), "--data", str(drawn)]
    assert main([*words, "--run", str(run)]) == 0
    report = check(run, "fine-tuning")
    (result,) = report["results"]
    assert [(form["free"], form["images_per_class"]) for form in result["forms"]] == [
        (1, 16),
        (8, 16),
    ]
    one, eight = result["forms"]
    assert one["trainable_parameters"] < eight["trainable_parameters"] < one["parameters"]
    assert result["first_layer_of_last_blocks"] == {"1": "block5_conv3", "8": "block3_conv2"}
    assert set(result["tests"]) == {"balanced", "unbalanced"}
    for test in result["tests"].values():
        assert test["n"] == sum(report["cells"]["test"].values()) == 16
    # One form alone was measured on the test side, and no checkpoint stays.
    assert len(list(run.glob("runs/*/test.json"))) == 2
    assert not list(run.glob("runs/*/checkpoint.keras"))
    assert any("says nothing of fine-tuning" in text for text in report["warnings"])


# ---------------------------------------------------------------- machines on features


def machines(**changes) -> dict:
    """A recipe whose network is quick to build."""
    content = {
        "kind": "features-svm",
        "name": "machines",
        "source": "a test",
        "data": {"adapter": "folder", "seed": 0},
        "features": [
            {
                "name": "MobileNet",
                "layer": "global_average_pooling2d",
                "weights": "random",
                "size": 32,
                "arguments": {"alpha": 0.25},
            }
        ],
        "svm": {"kernels": ["rbf", "cubic"]},
        "folds": 3,
    }
    return {**content, **changes}


def write(folder: Path, content: dict) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.fixture
def stub(monkeypatch):
    """The mean colour in place of a network, so that what surrounds it is tested in no time."""
    from cellnet.features import Extractor

    def opened(source, seed):
        about = {
            "backbone": source.name,
            "layer": source.layer,
            "features": 3,
            "preprocessing": {"height": 16, "width": 16, "resize": "bilinear", "channels": "RGB",
                              "scale": 1.0, "offset": 0.0},
            "arguments": {},
            "weights": {"from": source.weights, "told": "a stub", "sha256": "0" * 64},
        }  # fmt: skip
        return Extractor(about, 16, lambda images: images.mean(axis=(1, 2)))

    monkeypatch.setattr(svm_study, "_open", opened)


def test_an_interrupted_study_goes_on(drawn, tmp_path, stub, monkeypatch):
    recipe, run = write(tmp_path, machines()), tmp_path / "run"
    crossed = []
    real = svm.cross_validate

    def once(features, labels, folds, kernel, cost):
        crossed.append(kernel)
        if len(crossed) == 2:
            raise KeyboardInterrupt
        return real(features, labels, folds, kernel, cost)

    monkeypatch.setattr(svm, "cross_validate", once)
    with pytest.raises(KeyboardInterrupt):
        transfer(recipe, drawn, run)
    assert not (run / "report.json").exists()
    report = transfer(recipe, drawn, run, resume=True)
    assert crossed == ["rbf", "cubic", "cubic"]
    assert [it["kernel"] for it in report["results"]] == ["rbf", "cubic"]


def test_other_weights_do_not_go_into_a_run(drawn, tmp_path, stub, monkeypatch):
    """What is done stands on the weights that it was begun with."""
    recipe, run = write(tmp_path, machines()), tmp_path / "run"
    transfer(recipe, drawn, run)
    begun = json.loads((run / "networks.json").read_text(encoding="utf-8"))
    begun[0]["weights"]["sha256"] = "1" * 64
    (run / "networks.json").write_text(json.dumps(begun), encoding="utf-8")
    with pytest.raises(CellnetError, match="begun with another MobileNet.*another --run"):
        transfer(recipe, drawn, run, resume=True)


def test_tied_cells_stay_in_one_fold(drawn, tmp_path, stub, monkeypatch):
    """Two cells a patient: wherever the one is tested, the other does not train."""
    manifest = read_manifest(drawn)
    patients, rows = {}, []
    for row in sorted(manifest.rows, key=lambda row: (row.label, row.split, row.path)):
        number = patients.setdefault(row.label, 0)
        patients[row.label] += 1
        rows.append(replace(row, patient=f"{row.label}-{row.split}-{number // 2}"))
    write_manifest(tmp_path / "tied", rows, manifest.root.resolve())
    held = {}

    def look(features, labels, folds, kernel, cost):
        held["folds"] = folds
        return real(features, labels, folds, kernel, cost)

    real = svm.cross_validate
    monkeypatch.setattr(svm, "cross_validate", look)
    report = transfer(write(tmp_path, machines()), tmp_path / "tied", tmp_path / "run")
    fold_of = {}
    for row, fold in zip(rows, held["folds"], strict=True):
        assert fold_of.setdefault(row.patient, fold) == fold
    assert report["cells"]["tied_groups"] == len(fold_of) < len(rows)
    assert not any("no patient" in text for text in report["warnings"])
    assert report["results"][0]["accuracy"]["method"] == "korn-graubard"


def test_smudge_cells_of_ones_own_are_a_group(drawn, tmp_path, stub):
    """A class beside the eight: a sub-folder that the recipe names."""
    cells = tmp_path / "cells"
    manifest = read_manifest(drawn)
    for row in manifest.rows:
        if row.label in ("lymphocyte", "platelet"):
            file = cells / row.label / Path(row.path).name
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(manifest.path_of(row), file)
    rng = np.random.default_rng(0)
    (cells / "smudge").mkdir()
    for number in range(6):
        blot = np.full((60, 60, 3), 200) + rng.integers(-40, 40, (60, 60, 3))
        write_jpeg(cells / "smudge" / f"{number}.jpg", blot.astype(np.uint8))
    groups = {"mononuclear": ["lymphocyte"], "platelet": ["platelet"], "smudge": ["smudge"]}
    data = {"adapter": "folder", "seed": 0, "also": ["smudge"]}
    recipe = write(tmp_path, machines(groups=groups, data=data))
    report = transfer(recipe, cells, tmp_path / "run")
    assert report["cells"]["by_group"] == {"mononuclear": 12, "platelet": 12, "smudge": 6}
    assert report["cells"]["by_class"]["smudge"] == 6
    # No other command takes such data for what they are not.
    with pytest.raises(CellnetError, match="label 'smudge' is unknown"):
        read_manifest(tmp_path / "run" / "data")
    # And a folder that the recipe does not name is passed over, and told.
    report = transfer(write(tmp_path, machines(name="other")), cells, tmp_path / "other")
    assert "smudge" not in report["cells"]["by_class"]
    assert "'smudge' is named after no" in (tmp_path / "other/data/dropped.csv").read_text("utf-8")


def test_too_few_cells_are_told(drawn, tmp_path, stub):
    data = {"adapter": "folder", "seed": 0, "per_class": 2}
    with pytest.raises(CellnetError, match="3 folds need 3 cells of basophil.*the data have 2"):
        transfer(write(tmp_path, machines(data=data)), drawn, tmp_path / "run")


@pytest.mark.parametrize("plain", [False, True])
def test_folds_that_are_refused_leave_no_run_behind(plain, drawn, class_folders, tmp_path, stub):
    data, run = class_folders(4) if plain else drawn, tmp_path / "run"
    with pytest.raises(CellnetError, match="take fewer folds"):
        transfer(write(tmp_path, machines(folds=50)), data, run)
    assert not run.exists()
    assert transfer(write(tmp_path, machines(folds=2)), data, run)["folds"]["n"] == 2


def test_a_refusal_keeps_what_was_prepared_before(class_folders, tmp_path, stub, monkeypatch):
    recipe, run = write(tmp_path, machines(folds=2)), tmp_path / "run"
    with monkeypatch.context() as stopped:
        stopped.setattr(
            svm_study, "_choose", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            transfer(recipe, class_folders(4), run)
    with pytest.raises(CellnetError, match="begun with other data"):
        transfer(recipe, class_folders(3, name="others"), run, resume=True)
    assert (run / "data" / "manifest.csv").exists()


def test_classes_that_the_data_lack_are_told(drawn, tmp_path, stub, capsys):
    manifest = read_manifest(drawn)
    rows = [row for row in manifest.rows if row.label not in ("ig", "platelet")]
    write_manifest(tmp_path / "six", rows, manifest.root.resolve())
    words = ["transfer", str(write(tmp_path, machines())), "--data", str(tmp_path / "six")]
    assert main([*words, "--run", str(tmp_path / "run")]) == 0
    report = check(tmp_path / "run", "features-svm")
    told = "there is no cell of: ig, platelet. What is measured says nothing"
    assert any(text.startswith(told) for text in report["warnings"])
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "run" / "report.html").read_text("utf-8")
    whole = transfer(write(tmp_path, machines()), drawn, tmp_path / "whole")
    assert not any("no cell of" in text for text in whole["warnings"])


def test_a_kept_result_that_is_not_whole_is_named(drawn, tmp_path, stub):
    recipe, run = write(tmp_path, machines()), tmp_path / "run"
    first = transfer(recipe, drawn, run)
    file = next((run / "results").glob("*-rbf.json"))
    whole = json.loads(file.read_text("utf-8"))
    for part in [{"accuracy": {"n": 96}}, *({**whole, key: None} for key in whole)]:
        file.write_text(json.dumps(part), encoding="utf-8")
        with pytest.raises(CellnetError, match=f"{file}.*; remove it, and it is "):
            transfer(recipe, drawn, run, resume=True)
    file.unlink()
    again = transfer(recipe, drawn, run, resume=True)
    assert again["results"][0]["confusion"] == first["results"][0]["confusion"]


def test_a_model_of_the_same_data_set_is_told(drawn, tmp_path, run_folder):
    """Neither of drawn cells, nor of another data set, nor where the model does not say."""
    bundle = run_folder(tmp_path / "mine", set()).parent / "bundle"
    plain = json.loads((bundle / "bundle.json").read_text())
    own = {
        "cells": {"sources": ["a laboratory"]},
        "drawn": {"sources": ["cellnet drawn cells (MIT)"]},
    }
    manifest = read_manifest(drawn)
    recipe = write(
        tmp_path,
        machines(
            features=[{"layer": "dense1", "weights": str(bundle)}],
            svm={"kernels": ["rbf"]},
            data={"adapter": "folder", "seed": 0, "per_class": 2},
            folds=2,
        ),
    )
    for name, source, data, akin in (
        ("same", "a laboratory", own, True),
        ("other", "elsewhere", own, False),
        ("drawn", manifest.rows[0].source, own, False),
        ("silent", "a laboratory", {}, False),
    ):
        (bundle / "bundle.json").write_text(json.dumps({**plain, "data": data}))
        rows = [replace(row, source=source) for row in manifest.rows]
        write_manifest(tmp_path / name, rows, manifest.root.resolve())
        report = transfer(recipe, tmp_path / name, tmp_path / f"run-{name}")
        told = [text for text in report["warnings"] if "of the same data set" in text]
        assert len(told) == akin, name
        assert not any("same laboratory" in text for text in report["warnings"])


def test_what_a_network_has_seen_is_left_out(drawn, tmp_path):
    """A model of this project: its own training cells would flatter its features."""
    arguments = {"blocks": 6, "width": 4, "hidden": 1}
    bundle = write_bundle(tmp_path, random_network(**arguments), **arguments)
    manifest = read_manifest(drawn)
    features = [{"layer": "dense1", "weights": str(bundle)}]
    recipe = write(tmp_path, machines(features=features, svm={"kernels": ["rbf"]}, folds=2))
    with pytest.raises(CellnetError, match="does not say which cells trained it"):
        transfer(recipe, drawn, tmp_path / "run")
    told = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(
        json.dumps({**told, "network": {"name": "finetuned", "arguments": {}}})
    )
    with pytest.raises(CellnetError, match="cannot be looked into.*best.weights.h5 of its run"):
        transfer(recipe, drawn, tmp_path / "run")
    (bundle / "bundle.json").write_text(json.dumps(told))
    known = {row.sha256 for row in manifest.rows if row.split != "test"}
    description = json.loads((bundle / "bundle.json").read_text())
    (bundle / "seen.npz").write_bytes(pack_seen({"train": known}))
    description["seen"] = {"file": "seen.npz", "sha256": "0" * 64}
    (bundle / "bundle.json").write_text(json.dumps(description))
    report = transfer(recipe, drawn, tmp_path / "run")
    assert report["cells"]["seen_by_a_network"] == len(known)
    assert report["cells"]["n"] == len(manifest.rows) - len(known) == 16
    assert report["results"][0]["features"]["weights"]["from"] == "model"
    assert any("were left out" in text for text in report["warnings"])
    check(tmp_path / "run", "features-svm")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What ``cellnet train`` leaves of a network, without its weights; one network for all."""
    arguments = {"blocks": 6, "width": 4, "hidden": 1}
    made = write_bundle(tmp_path_factory.mktemp("bundle"), random_network(**arguments), **arguments)

    def leave(folder: Path, known: set[str], began: str = "random") -> Path:
        bundle = folder / "bundle"
        shutil.copytree(made, bundle)
        (bundle / "seen.npz").write_bytes(pack_seen({"train": known}))
        description = json.loads((bundle / "bundle.json").read_text())
        description["seen"] = {"file": "seen.npz", "sha256": "0" * 64}
        (bundle / "bundle.json").write_text(json.dumps(description))
        recipe = yaml.safe_load((TRAINING / "backbone-drawn.yaml").read_text("utf-8"))
        recipe["network"]["arguments"]["weights"] = began
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        return folder / "best.weights.h5"

    return leave


def test_which_cells_trained_a_file(tmp_path, run_folder):
    """A chain of files is asked to its end; any that cannot say leaves it open."""
    first = run_folder(tmp_path / "first", {"a" * 64})
    second = run_folder(tmp_path / "second", {"b" * 64}, str(first))
    for file, number, whole in ((first, 1, True), (second, 2, True)):
        known, all_of_it = bundles_of_file(file)
        assert (len(known), all_of_it) == (number, whole)
    stray = tmp_path / "stray.weights.h5"
    assert bundles_of_file(stray) == ([], False)
    third = run_folder(tmp_path / "third", {"c" * 64}, str(stray))
    known, whole = bundles_of_file(third)
    assert len(known) == 1 and not whole
    (tmp_path / "first" / "recipe.yaml").unlink()
    assert not bundles_of_file(second)[1]
    # A recipe that names its own file ends the search.
    again = run_folder(tmp_path / "again", {"d" * 64}, str(tmp_path / "again/best.weights.h5"))
    known, whole = bundles_of_file(again)
    assert len(known) == 1 and not whole


def small_network() -> keras.Model:
    from cellnet.backbones import without_top

    return without_top("MobileNet", "random", 32, {"alpha": 0.25})[0]


def test_cells_that_trained_a_file_are_left_out_of_the_machines(drawn, tmp_path, run_folder):
    """Two files of one name: both are in the report, each with its own caution."""
    manifest = read_manifest(drawn)
    known = {row.sha256 for row in manifest.rows if row.split != "test"}
    files = [run_folder(tmp_path / "mine", known), tmp_path / "theirs" / "best.weights.h5"]
    (tmp_path / "theirs").mkdir()
    for seed, file in enumerate(files):
        keras.utils.set_random_seed(seed)
        small_network().save_weights(file)
    features = [{**machines()["features"][0], "weights": str(file)} for file in files]
    recipe = write(tmp_path, machines(features=features, svm={"kernels": ["rbf"]}, folds=2))
    report = transfer(recipe, drawn, tmp_path / "run")
    check(tmp_path / "run", "features-svm")
    assert report["cells"]["seen_by_a_network"] == len(known) == len(manifest.rows) - 16
    labels = [it["label"] for it in report["results"]]
    assert labels == [
        "MobileNet global_average_pooling2d (mine/best.weights.h5)",
        "MobileNet global_average_pooling2d (theirs/best.weights.h5)",
    ]
    first, second = (it["features"]["weights"]["sha256"] for it in report["results"])
    assert first != second
    open_ones = [text for text in report["warnings"] if "is not known; these cells" in text]
    assert [text.partition(":")[0] for text in open_ones] == labels[1:]
    for label in labels:
        assert any(text.startswith(f"{label}: the weights are") for text in report["warnings"])
    # Results of other cells are not gone on with.
    file = next((tmp_path / "run" / "results").glob("*mine*.json"))
    stored = json.loads(file.read_text("utf-8"))
    stored["accuracy"]["n"] = 96
    file.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(CellnetError, match="measured on 96 cells.*16 now.*another --run"):
        transfer(recipe, drawn, tmp_path / "run", resume=True)


def test_labels_tell_features_apart():
    def labels(*changes):
        base = {"name": "MobileNet", "layer": "gap", "weights": "random"}
        features = [{**base, **change} for change in changes]
        return SvmStudy.model_validate(machines(features=features)).labels

    assert labels({}, {"layer": "fc"}) == ["MobileNet gap (random)", "MobileNet fc (random)"]
    assert labels({"weights": "a/x/w.h5"}, {"weights": "b/x/w.h5"}, {"weights": "c/v.h5"}) == [
        "MobileNet gap (a/x/w.h5)",
        "MobileNet gap (b/x/w.h5)",
        "MobileNet gap (v.h5)",
    ]
    assert labels({"size": 32}, {}, {"size": 32, "arguments": {"alpha": 0.5}}) == [
        "MobileNet gap (random, 32 pixels, alpha as Keras has it)",
        "MobileNet gap (random, own size, alpha as Keras has it)",
        "MobileNet gap (random, 32 pixels, alpha 0.5)",
    ]
    models = [{"layer": "d", "weights": f"{place}/bundle"} for place in "ab"]
    told = SvmStudy.model_validate(machines(features=models)).labels
    assert told == ["a/bundle d", "b/bundle d"]
    assert svm_study._file_names(["a_b c", "a b_c", "a"]) == ["a-b-c", "a-b-c-2", "a"]


def test_what_was_left_out_is_told(drawn, tmp_path, stub, capsys, caplog):
    """Unreadable files and copies: on standard output, on the page and in the report."""
    cells = tmp_path / "cells"
    manifest = read_manifest(drawn)
    for row in manifest.rows:
        if row.label in ("lymphocyte", "platelet"):
            file = cells / row.label / Path(row.path).name
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(manifest.path_of(row), file)
    shutil.copy(file, file.with_name("copy.jpg"))
    for name in ("torn.jpg", "torn2.jpg"):
        (cells / "platelet" / name).write_bytes(b"\xff\xd8\xff no image")
    run = tmp_path / "run"
    with caplog.at_level("INFO"):
        assert main(["transfer", str(write(tmp_path, machines())), "--data", str(cells), "--run",
                     str(run)]) == 0  # fmt: skip
    assert "3 left out, see dropped.csv" in caplog.text
    report = json.loads((run / "report.json").read_text("utf-8"))
    assert report["data"]["dropped"] == {"exact copy": 1, "unreadable": 2}
    told = "3 images were left out when the data were prepared, see dropped.csv: 1 exact copy, 2"
    assert told in capsys.readouterr().out
    page = (run / "report.html").read_text("utf-8")
    assert "3 images when the data were prepared" in page and "2 unreadable" in page


# ---------------------------------------------------------------- fine-tuning


class Fixed:
    """A network that was trained already and calls every cell by the first class."""

    input_shape = (None, 16, 16, 3)
    trainable_weights = ()

    def count_params(self):
        return 1

    def predict_on_batch(self, batch):
        return np.eye(8, dtype=np.float32)[np.zeros(len(batch), int)]


@pytest.fixture
def tuned(monkeypatch):
    """Fine-tuning whose networks are not trained, so that what surrounds it is tested quickly."""
    import cellnet.train

    def fit(form, sets, place):
        (place / "log.csv").write_text("epoch\n0\n")
        return Fixed()

    monkeypatch.setattr(cellnet.train, "fit", fit)
    monkeypatch.setattr(finetuning_study, "_load", lambda form, weights: Fixed())


def tuning(weights: str = "random") -> dict:
    content = yaml.safe_load((TRAINING / "finetuning-drawn.yaml").read_text("utf-8"))
    backbone = {"name": "MobileNet", "weights": weights, "pooling": "average", "hidden": [],
                "size": 32, "arguments": {"alpha": 0.25}}  # fmt: skip
    return {
        **content,
        "data": {"adapter": "folder", "seed": 0},
        "backbones": [backbone],
        "free_blocks": [1],
        "images_per_class": [4],
    }


def test_fine_tuning_leaves_out_what_a_file_has_seen(drawn, tmp_path, tuned, run_folder):
    manifest = read_manifest(drawn)
    test = [row for row in manifest.rows if row.split == "test"]
    known = {row.sha256 for row in test[:5]} | {
        row.sha256 for row in manifest.rows if row.split == "train"
    }
    mine = run_folder(tmp_path / "mine", known)
    small_network().save_weights(mine)
    report = transfer(write(tmp_path, tuning(str(mine))), drawn, tmp_path / "run")
    check(tmp_path / "run", "fine-tuning")
    assert sum(report["cells"]["test"].values()) == len(test) - 5
    assert report["results"][0]["tests"]["balanced"]["n"] == len(test) - 5
    assert sum(report["cells"]["train"].values()) == len(manifest.split("train"))
    assert any(text.startswith("5 cells of validation and test") for text in report["warnings"])
    assert not any("is not known; cells" in text for text in report["warnings"])
    # Of a file on its own nothing is known.
    alone = tmp_path / "alone.weights.h5"
    shutil.copy(mine, alone)
    report = transfer(write(tmp_path, tuning(str(alone))), drawn, tmp_path / "other")
    assert sum(report["cells"]["test"].values()) == len(test)
    assert any(
        text.startswith("MobileNet: what its file of weights was trained on is not known")
        for text in report["warnings"]
    )
    # Nor is what was measured on other cells gone on with.
    file = next((tmp_path / "other").glob("runs/*/test.json"))
    stored = json.loads(file.read_text("utf-8"))
    stored["accuracy"]["n"] = 3
    file.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(CellnetError, match="measured on 3 cells.*another --run"):
        transfer(tmp_path / "recipe.yaml", drawn, tmp_path / "other", resume=True)


def test_classes_that_a_side_lacks_are_told(drawn, tmp_path, tuned):
    manifest = read_manifest(drawn)

    def without(name, lost):
        rows = [row for row in manifest.rows if not lost(row)]
        write_manifest(tmp_path / name, rows, manifest.root.resolve())
        return tmp_path / name

    recipe = write(tmp_path, tuning())
    some = without("some", lambda row: row.split == "test" and row.label in ("ig", "platelet"))
    report = transfer(recipe, some, tmp_path / "run")
    (told,) = (text for text in report["warnings"] if "side has no" in text)
    assert told.startswith("the test side has no ") and "ig" in told and "platelet" in told
    for side in ("validation", "test"):
        none = without(side, lambda row, side=side: row.split == side)
        with pytest.raises(CellnetError, match=f"no cell on the side '{side}'; fine-tuning"):
            transfer(recipe, none, tmp_path / f"run-{side}")
    # Unbalanced is as the train side is, whatever stands in test.
    rare = without("rare", lambda row: row.split != "train" and row.label == "basophil")
    both = [read_manifest(folder) for folder in (drawn, rare)]
    drawings = [finetuning_study._drawn(one, 40, 0, False) for one in both]
    assert drawings[0] == drawings[1] and sum(drawings[0].values()) == 320


def test_training_sets_are_as_large_and_as_balanced_as_asked(drawn):
    manifest = read_manifest(drawn)
    rows = [row for row in manifest.rows if row.label != "platelet" or row.split != "train"]
    rows += [row for row in manifest.rows if row.label == "platelet" and row.split == "train"][:2]
    manifest = replace(manifest, rows=rows)
    sets = finetuning_study._sets(manifest, 6, 0, True)
    assert [pool.draws for pool in sets.pools] == [6] * 8 and sets.balanced
    # Few photographs are repeated, many are not all used.
    assert [len(pool.paths) for pool in sets.pools] == [6] * 7 + [2]
    larger = finetuning_study._sets(manifest, 8, 0, True)
    for small, large in zip(sets.pools, larger.pools, strict=True):
        assert set(small.paths) <= set(large.paths)
    train = {manifest.path_of(row) for row in manifest.rows if row.split == "train"}
    assert {path for pool in larger.pools for path in pool.paths} <= train
    unbalanced = finetuning_study._sets(manifest, 6, 0, False)
    draws = [pool.draws for pool in unbalanced.pools]
    assert draws[-1] < draws[0] and abs(sum(draws) - 48) <= 4 and not unbalanced.balanced


def test_unbalanced_batches_are_shuffled(drawn):
    from cellnet.batches import Pool, Sampler

    pools = [Pool(0, (Path("a"),), 3), Pool(1, (Path("b"), Path("c")), 9)]
    with pytest.raises(CellnetError, match="same number"):
        Sampler(pools, 0)
    sampler = Sampler(pools, 0, balanced=False)
    assert sampler.epoch_size == 12
    for epoch in range(2):
        labels = [sampler.sample(12 * epoch + place)[1] for place in range(12)]
        assert sorted(labels) == [0] * 3 + [1] * 9
        assert labels != sorted(labels)
    again = Sampler(pools, 0, balanced=False)
    assert [again.sample(place) for place in range(24)] == [
        sampler.sample(place) for place in range(24)
    ]


def test_a_training_that_is_not_kept_whole_is_named(drawn, tmp_path, tuned):
    recipe, run = write(tmp_path, tuning()), tmp_path / "run"
    transfer(recipe, drawn, run)
    for file in [*run.glob("runs/*/test.json"), *run.glob("runs/*/validation.json")]:
        whole = json.loads(file.read_text("utf-8"))
        # What a training is worth on validation is asked where its test is to be made.
        file.with_name("test.json").unlink(missing_ok=True)
        for key in ("photographs", "balanced_accuracy"):
            file.write_text(json.dumps({**whole, key: None}), encoding="utf-8")
            with pytest.raises(CellnetError, match=f"{file}.*; remove it, and it is "):
                transfer(recipe, drawn, run, resume=True)
        file.unlink()
        transfer(recipe, drawn, run, resume=True)
        assert json.loads(file.read_text("utf-8")).keys() == whole.keys()


def test_a_batch_that_no_epoch_fills_is_told_before_anything_is_trained(drawn, tmp_path, tuned):
    content, run = tuning(), tmp_path / "run"
    content["training"]["batch"] = 500
    told = "^4 images a class make an epoch of 32, smaller than a batch of 500; raise images_per_c"
    with pytest.raises(CellnetError, match=told):
        transfer(write(tmp_path, {**content, "images_per_class": [64, 4]}), drawn, run)
    assert not run.exists()
    # As large as a balanced epoch, which one of classes as frequent as they are falls short of.
    manifest = read_manifest(drawn)
    few = [row for row in manifest.rows if row.split != "train"]
    for number, label in enumerate(CLASSES):
        own = [row for row in manifest.split("train") if row.label == label]
        few += own[: 7 if number == 0 else 3]
    write_manifest(tmp_path / "few", few, manifest.root.resolve())
    total = sum(finetuning_study._drawn(read_manifest(tmp_path / "few"), 4, 0, False).values())
    assert total < 32
    content["training"]["batch"] = 32
    recipe = write(tmp_path, content)
    with pytest.raises(CellnetError, match=f"unbalanced, make an epoch of {total}, smaller"):
        transfer(recipe, tmp_path / "few", run)
    content["unbalanced"] = False
    recipe = write(tmp_path, content)
    assert set(transfer(recipe, tmp_path / "few", run)["results"][0]["tests"]) == {"balanced"}


def test_bars_begin_at_nothing():
    """Their length is what they say."""
    from matplotlib.figure import Figure

    from cellnet.transfer_page import _averages

    axes = Figure().subplots()
    average = {"mean": 0.9, "sd": 0.01, "classes": 8}
    _averages(axes, [("one", dict.fromkeys(("sensitivity", "specificity", "precision"), average))])
    assert axes.get_xlim()[0] == 0


def test_what_tensorflow_advises_programmers_is_not_shown():
    code = (
        "from cellnet.cli.streams import set_up_streams\n"
        "from cellnet.tensorflow_import import import_tensorflow\n"
        "set_up_streams(False)\n"
        "tf = import_tensorflow()\n"
        "same = tf.function(lambda number: number)\n"
        "for number in range(9):\n"
        "    same(number)\n"  # each a new trace, of which TensorFlow warns
        "tf.get_logger().error('a fault')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "retracing" not in result.stderr and "error: a fault" in result.stderr


def test_too_many_free_blocks_are_told_before_anything_is_trained(drawn, tmp_path):
    content = yaml.safe_load((TRAINING / "chapter4-finetuning-small.yaml").read_text("utf-8"))
    content["free_blocks"] = [14]
    with pytest.raises(CellnetError, match="13 convolutional blocks, the recipe frees 14"):
        transfer(write(tmp_path, content), drawn, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    # A folder that was there before stays, and what was wrong can be set right in it.
    (tmp_path / "run").mkdir()
    with pytest.raises(CellnetError, match="13 convolutional blocks"):
        transfer(write(tmp_path, content), drawn, tmp_path / "run")
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {".lock"}


# ---------------------------------------------------------------- recipes that do not hold


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": None}, "kind None; cellnet transfer runs"),
        ({"kind": "selection"}, "kind 'selection'; cellnet transfer runs features-svm and"),
        ({"groups": {"a": ["lymphocyte"], "b": ["smudge"]}}, "'smudge', which is no class"),
        ({"groups": {"a": ["lymphocyte"], "b": ["lymphocyte"]}}, "in one group alone"),
        ({"groups": {"a": ["lymphocyte"]}}, "two or more"),
        ({"data": {"adapter": "folder", "seed": 0, "also": ["ig"]}}, "a class already"),
        ({"data": {"adapter": "folder", "seed": 0, "also": ["../x"]}}, "small letters"),
        ({"svm": {"kernels": ["linear"]}}, "svm.kernels"),
        ({"folds": 1}, "folds"),
        ({"fold": 5}, r"fold is no key of it; did you mean folds\?"),
        ({"features": machines()["features"] * 2}, "must differ"),
    ],
)
def test_a_recipe_that_does_not_hold_says_why(changes, told, tmp_path):
    with pytest.raises(CellnetError, match=told) as error:
        read_transfer(write(tmp_path, machines(**changes)))
    assert str(tmp_path / "recipe.yaml") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"free_blocks": [1, 1]}, "free_blocks must differ"),
        ({"free_blocks": [-1]}, "at least 0"),
        ({"images_per_class": [0]}, "at least 1"),
        ({"data": {"adapter": "pbc", "seed": 0, "also": ["smudge"]}}, "eight classes"),
        ({"data": {"adapter": "pbc", "seed": 0, "per_class": 4}}, "images_per_class"),
        (
            {"backbones": [{**tuning()["backbones"][0], "hidden": [32, 0]}]},
            r"0\.hidden\.1: .*than 0",
        ),
        ({"backbones": [{**tuning()["backbones"][0], "pooling": "max"}]}, r"0\.pooling: .*flatten"),
    ],
)
def test_a_recipe_of_fine_tuning_that_does_not_hold_says_why(changes, told, tmp_path):
    content = yaml.safe_load((TRAINING / "chapter4-finetuning.yaml").read_text("utf-8"))
    with pytest.raises(CellnetError, match=told):
        read_transfer(write(tmp_path, {**content, **changes}))


def test_other_files_are_no_recipes(tmp_path):
    for text, told in (("a: [", "no valid YAML"), ("- a", "holds no keys"), ("", "it is empty")):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(CellnetError, match=told):
            read_transfer(tmp_path / "a.yaml")
    with pytest.raises(CellnetError, match="cannot read the recipe"):
        read_transfer(tmp_path / "none.yaml")
    assert SvmStudy.model_validate(machines()).folds == 3


@pytest.mark.parametrize(
    ("command", "recipe", "right"),
    [
        ("transfer", "model1", "train"),
        ("transfer", "dysplasianet-selection", "select"),
        ("train", "chapter2-svm", "transfer"),
        ("train", "dysplasianet-selection", "select"),
        ("select", "chapter4-finetuning", "transfer"),
        ("select", "dysplasianet", "train"),
    ],
)
def test_a_recipe_for_another_command_names_it(command, recipe, right, drawn, tmp_path, capsys):
    file = TRAINING / f"{recipe}.yaml"
    words = [command, str(file), "--data", str(drawn), "--run", str(tmp_path / "run")]
    assert main(words) == 1
    told = capsys.readouterr().err
    assert f"is one for 'cellnet {right}', not for 'cellnet {command}'" in told
    assert f"run: cellnet {right} {file}" in told and "Field required" not in told


def test_data_that_are_not_there_leave_no_folder(tmp_path, stub, capsys):
    recipe, run = write(tmp_path, machines()), tmp_path / "run"
    assert main(["transfer", str(recipe), "--data", str(tmp_path / "none"), "--run", str(run)]) == 1
    assert "no data folder at" in capsys.readouterr().err
    assert not run.exists()


def test_data_must_be_given(tmp_path, monkeypatch):
    monkeypatch.delenv("CELLNET_DATA", raising=False)
    with pytest.raises(CellnetError, match="--data"):
        transfer(write(tmp_path, machines()), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_the_division_that_it_was_begun_with(tmp_path):
    _bind_division = svm_study._bind_division
    rows = [SimpleNamespace(sha256=f"{number:064x}") for number in range(6)]
    folds = np.array([0, 1, 2, 0, 1, 2])
    _bind_division(tmp_path, rows, folds)
    _bind_division(tmp_path, rows, folds)
    # As many cells, dealt out otherwise, or others.
    for other, dealt in ((rows, folds[::-1]), ([*rows[:-1], SimpleNamespace(sha256="a")], folds)):
        with pytest.raises(CellnetError, match=r"folds\.json.*dealt out otherwise.*--run"):
            _bind_division(tmp_path, other, dealt)
    (tmp_path / "folds.json").write_text("{")
    with pytest.raises(CellnetError, match=r"folds\.json"):
        _bind_division(tmp_path, rows, folds)
