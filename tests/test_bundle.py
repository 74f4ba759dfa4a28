"""Finding a bundle, and refusing one that is not what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bundles import CUTOFF, THRESHOLD, make_bundles

import cellnet
from cellnet.bundle import Bundle, available, load, models_folder
from cellnet.errors import CellnetError


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder with both small bundles, found by name."""
    monkeypatch.setenv("CELLNET_MODELS", str(tmp_path / "models"))
    return make_bundles(tmp_path / "models")


def change(folder, **keys):
    """Set keys of bundle.json; a double underscore leads one level down."""
    file = folder / "bundle.json"
    description = json.loads(file.read_text())
    for key, value in keys.items():
        *path, last = key.split("__")
        place = description
        for part in path:
            place = place[part]
        place[last] = value
    file.write_text(json.dumps(description))


def test_by_name_and_by_path(models, tmp_path, monkeypatch):
    by_name = load("model1")
    assert by_name.folder == models / "model1"
    assert by_name.identity() == load(models / "model1").identity()
    assert load(str(models / "model1")).name == "model1"
    monkeypatch.chdir(models)
    monkeypatch.setenv("CELLNET_MODELS", str(tmp_path / "nowhere"))
    assert load("model1").folder.resolve() == models / "model1"
    assert isinstance(cellnet.load("dysplasianet"), Bundle)


def test_a_name_is_looked_up_before_the_current_folder(models, tmp_path, monkeypatch):
    other = make_bundles(tmp_path / "other")
    monkeypatch.chdir(other)
    assert load("model1").folder == models / "model1"


def test_an_unknown_name_lists_the_valid_ones(models):
    assert available() == ["dysplasianet", "model1"]
    with pytest.raises(CellnetError, match="no model is called 'model2'.*dysplasianet, model1"):
        load("model2")


def test_no_model_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLNET_MODELS", str(tmp_path))
    with pytest.raises(CellnetError, match="holds no model.*CELLNET_MODELS"):
        load("model1")


def test_a_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(CellnetError, match="is not a bundle"):
        load(tmp_path)


def test_without_the_variable_models_come_with_the_program(monkeypatch):
    monkeypatch.delenv("CELLNET_MODELS", raising=False)
    assert models_folder().name in ("models", "_models")


def test_wrong_hash_is_refused_before_use(models):
    weights = models / "model1" / "model.tflite"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CellnetError, match="are not those that bundle.json names"):
        load("model1")


def test_missing_weights(models):
    (models / "model1" / "model.tflite").unlink()
    with pytest.raises(CellnetError, match="lacks its weights"):
        load("model1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schema": "cellnet/bundle/2"}, "'schema' must be cellnet/bundle/1"),
        ({"input__height": 25}, "'input.width' must be the height"),
        ({"input__channels": "BGR"}, "'input.channels' must be RGB"),
        ({"input__scale": "1/255"}, "'input.scale' is '1/255'"),
        ({"output__kind": "logits"}, "'output.kind' must be probabilities or granularity"),
        ({"output__classes": ["a", "a"]}, "'output.classes' must be .*each must be another"),
        ({"weights__format": "onnx"}, "'weights.format' must be litert"),
        ({"weights__file": "../model1/model.tflite"}, "'weights.file' must be a name"),
        ({"version": None}, "'version' is None"),
    ],
)
def test_a_description_that_breaks_the_schema(models, keys, message):
    change(models / "model1", **keys)
    with pytest.raises(CellnetError, match=message):
        load("model1")


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_description_that_is_no_object(models, text):
    (models / "model1" / "bundle.json").write_text(text)
    with pytest.raises(CellnetError, match="bundle.json"):
        load("model1")


def test_the_wrong_kind_is_refused(models):
    assert load("model1").require("probabilities").kind == "probabilities"
    with pytest.raises(CellnetError, match="'granularity' is needed here"):
        load("model1").require("granularity")


def test_preparing_scales_and_resizes(models):
    image = np.full((10, 30, 3), 51, np.uint8)
    prepared = load("model1").prepare(image)
    assert prepared.shape == (24, 24, 3) and prepared.dtype == np.float32
    np.testing.assert_allclose(prepared, 0.2, atol=1e-7)
    change(models / "model1", input__offset=-0.5)
    np.testing.assert_allclose(load("model1").prepare(image), -0.3, atol=1e-7)


def test_preparing_leaves_the_image_as_it_was(models):
    image = np.full((24, 24, 3), 51, np.uint8)
    load("model1").prepare(image)
    assert (image == 51).all()


def test_operating_point(models):
    point = load("dysplasianet").operating_point()
    assert (point.cutoff, point.threshold, point.minimum_neutrophils) == (CUTOFF, THRESHOLD, 10)
    assert point.cell is not None
    other = load("dysplasianet").operating_point(cutoff=0.3, minimum_neutrophils=4)
    assert (other.cutoff, other.threshold, other.minimum_neutrophils) == (0.3, THRESHOLD, 4)
    # The threshold was fitted with the cut-off of the file, not with this one.
    assert other.cell is None and other.smear is None
    same = load("dysplasianet").operating_point(cutoff=CUTOFF)
    assert same == point
    with pytest.raises(CellnetError, match=r"cutoff must be a number in \[0, 1\]"):
        load("dysplasianet").operating_point(cutoff=2)


def test_no_operating_point(models):
    (models / "dysplasianet" / "operating_point.json").unlink()
    bundle = load("dysplasianet")
    with pytest.raises(CellnetError, match="no operating point.*cellnet calibrate.*--cutoff"):
        bundle.operating_point()
    with pytest.raises(CellnetError, match="no operating point"):
        bundle.operating_point(cutoff=0.5)
    assert bundle.operating_point(cutoff=0.5, threshold=0.1).threshold == 0.1


def test_an_operating_point_of_other_weights(models):
    file = models / "dysplasianet" / "operating_point.json"
    point = json.loads(file.read_text())
    point["weights_sha256"] = "0" * 64
    file.write_text(json.dumps(point))
    with pytest.raises(CellnetError, match="fitted with weights 000000000000"):
        load("dysplasianet").operating_point()
