"""Training as a user runs it: a run ends in a bundle, and a kill costs nothing."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml

pytest.importorskip("tensorflow", reason="training needs the training extra")

from cellnet.cells import CLASSES, GRANULARITY
from cellnet.draw import draw_set
from cellnet.errors import CellnetError
from cellnet.manifest import read_manifest, write_manifest
from cellnet.recipe import Recipe
from cellnet.training_set import assemble

RECIPE = {
    "name": "small",
    "source": "a test",
    "target": "granularity",
    "network": {"name": "dysplasianet", "arguments": {"blocks": 6, "width": 2, "hidden": 1}},
    "data": {
        "adapter": "folder",
        "seed": 0,
        "per_class": 12,
        "simulated_per_class": 12,
        "drawn": 0.25,
        "drawn_per_class": 6,
    },
    "views": [{"share": 1.0, "zoom": [0.9, 1.1], "gain": 0.1, "noise": 2.0}],
    "training": {
        "epochs": 4,
        "batch": 8,
        "precision": "mixed_bfloat16",
        "learning_rate": 0.001,
        "schedule": "cosine",
        "monitor": "val_accuracy",
        "seed": 3,
    },
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A prepared data folder of drawn cells."""
    folder = tmp_path_factory.mktemp("cells") / "drawn"
    draw_set(folder, 5, per_class=14, smears=0)
    return folder


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def train(recipe, cells, run, *more, **kwargs):
    command = [sys.executable, "-m", "cellnet", "train", str(recipe)]
    command += ["--data", str(cells), "--run", str(run), *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
    )


def finish(process):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return out, err


def rows(run):
    if not (run / "log.csv").exists():
        return []
    with (run / "log.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("full", ["log.csv", "part-checkpoint.keras"])
def test_a_full_disk_is_told_with_the_file(full, tmp_path):
    """What a file runs into while it is written names no file by itself."""
    import keras

    from cellnet.callbacks import COLUMNS, _Records

    (tmp_path / full).symlink_to("/dev/full")
    records = _Records(Recipe.model_validate(RECIPE), tmp_path, [])
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    records.set_model(model)
    name = full.removeprefix("part-")
    with pytest.raises(CellnetError, match=f"cannot write {tmp_path / name}: No space left"):
        records.on_epoch_end(0, dict.fromkeys(COLUMNS, 0.5))
    assert name == "log.csv" or not (tmp_path / full).is_symlink()  # no half of it takes the room


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_end(recipe, cells, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(train(recipe, cells, whole))

    process = train(recipe, cells, broken)
    deadline = time.monotonic() + 600
    while len(rows(broken)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (broken / "bundle").exists()
    assert 2 <= len(rows(broken)) < 4

    # Without --resume the run is left alone.
    again = train(recipe, cells, broken)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 1
    assert "--resume" in err
    assert "Traceback" not in err

    finish(train(recipe, cells, broken, "--resume"))
    assert [float(row["loss"]) for row in rows(broken)] == [
        float(row["loss"]) for row in rows(whole)
    ]
    assert rows(broken) == rows(whole)
    weights = [run / "bundle" / "model.tflite" for run in (whole, broken)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert list((whole / "tensorboard").rglob("events.out.*"))

    # A finished run has nothing to go on with, and says so by ending well.
    finish(train(recipe, cells, whole, "--resume"))
    assert len(rows(whole)) == 4

    from cellnet import bundle

    trained = bundle.load(whole / "bundle")
    assert trained.kind == "granularity"
    assert trained.version == "0.0.0"  # nobody has said what these weights are, nor lent them
    assert trained.description["licence"] == "not stated"
    assert trained.description["network"]["parameters"] > 0
    golden = np.load(whole / "bundle" / "golden.npz")
    outputs = trained.runtime().predict(
        np.stack([trained.prepare(image) for image in golden["images"]])
    )
    np.testing.assert_allclose(outputs, golden["outputs"], atol=1e-5)


def test_a_changed_recipe_does_not_go_on(recipe, cells, tmp_path):
    from cellnet.recipe import read_recipe, write_recipe
    from cellnet.train import train

    run = tmp_path / "run"
    run.mkdir()
    write_recipe(read_recipe(recipe), run / "recipe.yaml")
    recipe.write_text(recipe.read_text().replace("epochs: 4", "epochs: 5"))
    with pytest.raises(CellnetError, match="differs"):
        train(recipe, cells, run, resume=True)


@pytest.mark.parametrize(
    "network, told",
    [
        ({"name": "dysplasianet", "arguments": {"blocks": 7}}, "needs 1 to 6 blocks"),
        ({"name": "dysplasianet", "arguments": {"wydth": 8}}, "'wydth'"),
        ({"name": "dysplasianet", "arguments": {"classes": 2}}, "has 2 outputs.*a score needs 1"),
        ({"name": "model1", "arguments": {}}, "has 8 outputs.*a score needs 1"),
    ],
)
def test_a_network_that_does_not_fit_is_told_before_anything_is_made(
    network, told, cells, tmp_path
):
    from cellnet.train import train

    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump({**make().model_dump(mode="json"), "network": network}))
    with pytest.raises(CellnetError, match=told):
        train(recipe, cells, run)
    assert not run.exists()


@pytest.fixture(scope="module")
def finished(cells, tmp_path_factory):
    """A recipe of one epoch, and a run of it."""
    from cellnet.train import train

    folder = tmp_path_factory.mktemp("finished")
    content = {**RECIPE, "training": {**RECIPE["training"], "epochs": 1}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    train(folder / "recipe.yaml", cells, folder / "run")
    return folder / "recipe.yaml", folder / "run"


@pytest.mark.parametrize("file", ["checkpoint.keras", "best.weights.h5", "log.csv"])
def test_a_run_that_cannot_be_read_is_told_with_the_remedy(file, finished, cells, tmp_path):
    from cellnet.train import train

    recipe, made = finished
    run = shutil.copytree(made, tmp_path / "run", symlinks=True)
    shutil.rmtree(run / "bundle")
    content = (run / file).read_bytes()
    (run / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(CellnetError, match=f"{file}: .*begins anew"):
        train(recipe, cells, run, resume=True)
    for name in ("checkpoint.keras", "best.weights.h5", "log.csv"):
        (run / name).unlink()
    assert train(recipe, cells, run, resume=True).is_dir()


def test_two_at_once_are_refused(recipe, cells, tmp_path):
    import fcntl

    from cellnet.train import train

    run = tmp_path / "run"
    from cellnet.recipe import read_recipe, write_recipe

    run.mkdir()
    write_recipe(read_recipe(recipe), run / "recipe.yaml")
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CellnetError, match="another process"):
            train(recipe, cells, run, resume=True)


@pytest.mark.parametrize(
    ("data", "message"), [(None, "--data"), ("nowhere", "no data folder at nowhere")]
)
def test_missing_data_are_named(recipe, tmp_path, data, message, monkeypatch):
    from cellnet.train import train

    monkeypatch.delenv("CELLNET_DATA", raising=False)
    with pytest.raises(CellnetError, match=message):
        train(recipe, data, tmp_path / "run")


def test_a_folder_with_other_things_is_left_alone(recipe, cells, tmp_path):
    from cellnet.train import train

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(CellnetError, match="not empty"):
        train(recipe, cells, tmp_path / "run")


def make(**changes):
    content = {**RECIPE, **{key: changes[key] for key in changes if key in RECIPE}}
    content["data"] = {**RECIPE["data"], **changes.get("data", {})}
    return Recipe.model_validate(content)


def test_granularity_trains_on_the_train_side_alone(cells, tmp_path):
    sets = assemble(make(), cells, tmp_path)
    assert sets.classes == GRANULARITY
    trained = {path for pool in sets.pools for path in pool.paths}
    cohort = read_manifest(tmp_path / "cohort")
    held = {cohort.path_of(row) for row in cohort.rows if row.split != "train"}
    assert held
    assert not trained & held
    sources = {row.source_cell for row in cohort.rows if cohort.path_of(row) in trained}
    others = {row.source_cell for row in cohort.rows if row.split != "train"}
    assert sources
    assert not sources & others
    assert not trained & set(sets.validation_paths)
    assert [sum(p.draws for p in sets.pools if p.label == label) for label in (0, 1)] == [12, 12]
    assert [pool.draws for pool in sets.pools] == [3, 9, 3, 9]


def test_a_cohort_of_ones_own_trains_as_it_is(cells, tmp_path):
    """A laboratory with real hypogranulated cells simulates none."""
    for name in ("simulated", "run"):
        (tmp_path / name).mkdir()
    assemble(make(), cells, tmp_path / "simulated")
    own, run = tmp_path / "simulated" / "cohort", tmp_path / "run"
    given = read_manifest(own)
    assert given.is_cohort and not read_manifest(cells).is_cohort
    for row in given.rows:  # real images have no other photograph behind them
        assert row.sha256 != row.source_cell
    write_manifest(
        tmp_path / "own", [replace(row, source_cell=row.sha256) for row in given.rows], given.root
    )
    for _ in range(2):
        sets = assemble(make(), tmp_path / "own", run)
        trained = {path for pool in sets.pools[1::2] for path in pool.paths}
        assert trained <= {given.path_of(row) for row in given.split("train")}
    assert (run / "cohort").resolve() == (tmp_path / "own").resolve()
    assert not (run / "data").exists()
    # Where nothing comes of it, the link to it goes with the claim, and it stays.
    from cellnet.train import train

    recipe, other = tmp_path / "model1.yaml", tmp_path / "other"
    network = {"name": "dysplasianet", "arguments": {"blocks": 6, "width": 2, "classes": 8}}
    made = make(target="class", network=network, data={"hypogranulated": 0.5, "drawn": 0.0})
    recipe.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    with pytest.raises(CellnetError, match="no basophil"):
        train(recipe, tmp_path / "own", other)
    assert not other.exists() and (tmp_path / "own" / "manifest.csv").exists()


def test_half_of_model1s_neutrophils_have_lost_their_granules(cells, tmp_path):
    recipe = make(target="class", data={"hypogranulated": 0.5, "per_class": 20})
    sets = assemble(recipe, cells, tmp_path)
    assert sets.classes == CLASSES
    neutrophils = [pool for pool in sets.pools if CLASSES[pool.label] == "neutrophil"]
    origin = {pool.paths[0].parts[len(tmp_path.parts)]: pool.draws for pool in neutrophils[:2]}
    assert origin == {"drawn": 5, "cohort": 8}
    assert neutrophils[2].draws == 7
    cohort = read_manifest(tmp_path / "cohort")
    by_path = {cohort.path_of(row): row for row in cohort.rows}
    assert all(float(by_path[path].suppression) > 0.66 for path in neutrophils[1].paths)
    manifest = read_manifest(cells)
    assert set(sets.validation_paths) == {
        manifest.path_of(row) for row in manifest.rows if row.split == "validation"
    }


def test_a_missing_class_is_named(cells, tmp_path):
    manifest = read_manifest(cells)
    rows = [row for row in manifest.rows if row.label != "basophil"]
    write_manifest(tmp_path / "less", rows, manifest.root)
    recipe = make(target="class", data={"drawn": 0.0})
    with pytest.raises(CellnetError, match="no basophil"):
        assemble(recipe, tmp_path / "less", tmp_path)


def test_a_wrong_folder_does_not_bind_the_run(recipe, cells, tmp_path):
    from cellnet.train import train

    run = tmp_path / "run"
    (tmp_path / "wrong").mkdir()
    for wrong in (tmp_path / "wrong", tmp_path / "gone"):
        with pytest.raises(CellnetError):
            train(recipe, wrong, run)
        assert not run.exists()
    # A folder that somebody made stays.
    run.mkdir()
    with pytest.raises(CellnetError):
        train(recipe, tmp_path / "gone", run)
    assert os.listdir(run) == [".lock"]


def test_other_data_do_not_go_into_a_run(cells, tmp_path):
    """A run's sides follow from its data: others would train on what was kept to measure."""
    assemble(make(), cells, tmp_path)
    assemble(make(), cells, tmp_path)
    other = tmp_path / "other"
    draw_set(other, 6, per_class=6, smears=0)
    with pytest.raises(CellnetError, match="begun with other data.*another --run"):
        assemble(make(), other, tmp_path)
    plain = tmp_path / "plain"
    for label in ("neutrophil", "basophil"):
        (plain / label).mkdir(parents=True)
    with pytest.raises(CellnetError, match="begun with other data"):
        assemble(make(), plain, tmp_path)


def test_a_cohort_of_another_division_is_refused(cells, tmp_path):
    sets = assemble(make(), cells, tmp_path)
    assert sets.pools
    manifest = read_manifest(cells)
    swapped = {"train": "test", "test": "train"}
    rows = [replace(row, split=swapped.get(row.split, row.split)) for row in manifest.rows]
    write_manifest(tmp_path / "swapped", rows, manifest.root.resolve())
    (tmp_path / "data.json").unlink()
    with pytest.raises(CellnetError, match="made of a photograph"):
        assemble(make(), tmp_path / "swapped", tmp_path)


def test_an_image_that_broke_after_preparation_is_named(recipe, tmp_path):
    from cellnet.train import train

    folder = tmp_path / "cells"
    draw_set(folder, 7, per_class=12, smears=0)
    run = tmp_path / "run"
    content = yaml.safe_load(recipe.read_text())
    content["data"]["drawn"] = 0.0
    recipe.write_text(yaml.safe_dump(content))
    from cellnet.recipe import read_recipe

    assemble(read_recipe(recipe), folder, run_begun(run, recipe))
    broken = sorted((run / "cohort" / "train" / "normal").iterdir())
    for path in broken:
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CellnetError, match=r"normal/.*\.jpg"):
        train(recipe, folder, run, resume=True)


def run_begun(run, recipe):
    """A run folder as it is before its first epoch."""
    from cellnet.recipe import read_recipe, write_recipe

    run.mkdir()
    write_recipe(read_recipe(recipe), run / "recipe.yaml")
    return run
