"""A good bundle passes every check, and each kind of damage fails the check that is for it."""

from __future__ import annotations

import hashlib
import json
import shutil

import jsonschema
import numpy as np
import pytest
from bundles import make_bundles

from cellnet.errors import CellnetError
from cellnet.verify import read_schema, verify


@pytest.fixture
def models(tmp_path):
    return make_bundles(tmp_path / "models")


def failed(folder) -> dict[str, str]:
    return {check.name: check.detail for check in verify(folder).checks if not check.passed}


def change(folder, edit) -> None:
    file = folder / "bundle.json"
    description = json.loads(file.read_text())
    edit(description)
    file.write_text(json.dumps(description))


def test_good_bundles_pass(models):
    found = verify(models / "model1")
    assert found.passed
    assert [check.name for check in found.checks] == [
        "schema", "weights", "golden file", "contract", "golden outputs",
    ]  # fmt: skip
    assert found.text().endswith(f"{models / 'model1'}: all checks passed\n")
    found = verify(models / "dysplasianet")
    assert found.passed and found.checks[-1].name == "operating point"
    document = found.to_dict()
    assert document["schema"] == "cellnet/verification/1" and document["passed"] is True


def test_schemas_are_schemas():
    for name in ("bundle", "smear-report", "smear-error", "predictions"):
        schema = read_schema(name)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"cellnet/{name}/1"


def test_damaged_weights(models):
    weights = models / "model1" / "model.tflite"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert list(failed(models / "model1")) == ["weights"]


def test_size_that_is_not_as_stated(models):
    change(models / "model1", lambda d: d["weights"].update(bytes=1))
    assert "stated are 1" in failed(models / "model1")["weights"]


def test_missing_files(models):
    (models / "model1" / "golden.npz").unlink()
    assert "No such file" in failed(models / "model1")["golden file"]
    (models / "model1" / "model.tflite").unlink()
    assert list(failed(models / "model1")) == ["weights", "golden file"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("licence"), "'licence' is a required property"),
        (lambda d: d["input"].update(resize="nearest"), "input.resize"),
        (lambda d: d["weights"].update(sha256="abc"), "weights.sha256"),
        (lambda d: d["output"].update(classes=None), "output.classes"),
    ],
)
def test_descriptions_that_break_the_schema(models, edit, message):
    change(models / "model1", edit)
    found = failed(models / "model1")
    assert list(found) == ["schema"] and message in found["schema"]


def test_a_contract_that_the_weights_break(models):
    change(models / "model1", lambda d: d["input"].update(height=25, width=25))
    assert "the tensors of" in failed(models / "model1")["contract"]


def test_weights_that_answer_otherwise(models):
    """Right hash, right shape, wrong answers: what golden outputs are for."""
    folder = models / "model1"
    with np.load(folder / "golden.npz") as golden:
        images, outputs = golden["images"], golden["outputs"]
    np.savez(folder / "golden.npz", images=images, outputs=np.roll(outputs, 1, axis=1))
    sha256 = hashlib.sha256((folder / "golden.npz").read_bytes()).hexdigest()
    change(folder, lambda d: d["golden"].update(sha256=sha256))
    found = failed(folder)
    assert list(found) == ["golden outputs"] and "largest difference" in found["golden outputs"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((2, 9, 9, 3), np.uint8)},
        {"images": np.zeros((2, 9, 9), np.uint8), "outputs": np.zeros((2, 8), np.float32)},
        {"images": np.zeros((2, 9, 9, 3), np.uint8), "outputs": np.zeros((3, 8), np.float32)},
    ],
)
def test_golden_files_that_are_none(models, arrays):
    folder = models / "model1"
    np.savez(folder / "golden.npz", **arrays)
    sha256 = hashlib.sha256((folder / "golden.npz").read_bytes()).hexdigest()
    change(folder, lambda d: d["golden"].update(sha256=sha256))
    assert list(failed(folder)) == ["golden outputs"]


def test_operating_points_that_are_missing_or_of_other_weights(models):
    folder = models / "dysplasianet"
    file = folder / "operating_point.json"
    point = json.loads(file.read_text())
    file.write_text(json.dumps({**point, "weights_sha256": "1" * 64}))
    assert "fitted with weights 111111111111" in failed(folder)["operating point"]
    file.unlink()
    assert list(failed(folder)) == ["operating point"]


def test_no_bundle_is_an_error(tmp_path):
    with pytest.raises(CellnetError, match="is not a bundle"):
        verify(tmp_path)
    shutil.copytree(make_bundles(tmp_path / "m") / "model1", tmp_path / "copy")
    (tmp_path / "copy" / "bundle.json").write_text("{")
    assert list(failed(tmp_path / "copy")) == ["schema"]
