"""Transfer learning as a user runs it: a recipe in, a report out, nothing done twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

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
from cellnet.seen import pack_seen  # noqa: E402
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
            "preprocessing": {"height": 16, "width": 16, "channels": "RGB"},
            "arguments": {},
            "weights": {"from": source.weights, "told": "a stub", "sha256": "0" * 64},
        }
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


def test_what_a_network_has_seen_is_left_out(drawn, tmp_path):
    """A model of this project: its own training cells would flatter its features."""
    arguments = {"blocks": 6, "width": 4, "hidden": 1}
    bundle = write_bundle(tmp_path, random_network(**arguments), **arguments)
    manifest = read_manifest(drawn)
    features = [{"layer": "dense1", "weights": str(bundle)}]
    recipe = write(tmp_path, machines(features=features, svm={"kernels": ["rbf"]}, folds=2))
    with pytest.raises(CellnetError, match="does not say which cells trained it"):
        transfer(recipe, drawn, tmp_path / "run")
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


# ---------------------------------------------------------------- fine-tuning


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


def test_too_many_free_blocks_are_told_before_anything_is_trained(drawn, tmp_path):
    content = yaml.safe_load((TRAINING / "chapter4-finetuning-small.yaml").read_text("utf-8"))
    content["free_blocks"] = [14]
    with pytest.raises(CellnetError, match="13 convolutional blocks, the recipe frees 14"):
        transfer(write(tmp_path, content), drawn, tmp_path / "run")
    # What was wrong can be set right in the same folder.
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {".lock"}


# ---------------------------------------------------------------- recipes that do not hold


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "selection"}, "kind 'selection'; cellnet transfer runs features-svm and"),
        ({"groups": {"a": ["lymphocyte"], "b": ["smudge"]}}, "'smudge', which is no class"),
        ({"groups": {"a": ["lymphocyte"], "b": ["lymphocyte"]}}, "in one group alone"),
        ({"groups": {"a": ["lymphocyte"]}}, "two or more"),
        ({"data": {"adapter": "folder", "seed": 0, "also": ["ig"]}}, "a class already"),
        ({"data": {"adapter": "folder", "seed": 0, "also": ["../x"]}}, "small letters"),
        ({"svm": {"kernels": ["linear"]}}, "svm.kernels"),
        ({"folds": 1}, "folds"),
        ({"fold": 5}, "fold: Extra inputs"),
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
    ],
)
def test_a_recipe_of_fine_tuning_that_does_not_hold_says_why(changes, told, tmp_path):
    content = yaml.safe_load((TRAINING / "chapter4-finetuning.yaml").read_text("utf-8"))
    with pytest.raises(CellnetError, match=told):
        read_transfer(write(tmp_path, {**content, **changes}))


def test_other_files_are_no_recipes(tmp_path):
    for text, told in (("a: [", "no valid YAML"), ("- a", "does not hold"), ("", "does not hold")):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(CellnetError, match=told):
            read_transfer(tmp_path / "a.yaml")
    with pytest.raises(CellnetError, match="cannot read the recipe"):
        read_transfer(tmp_path / "none.yaml")
    assert SvmStudy.model_validate(machines()).folds == 3


def test_data_must_be_given(tmp_path, monkeypatch):
    monkeypatch.delenv("CELLNET_DATA", raising=False)
    with pytest.raises(CellnetError, match="--data"):
        transfer(write(tmp_path, machines()), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
