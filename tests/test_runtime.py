"""Running LiteRT files: right answers, the same in any company, and a clean terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bundles import make_bundles

from cellnet.bundle import load
from cellnet.errors import CellnetError
from cellnet.runtime import Runtime, default_threads


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_bundles(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).random((17, 24, 24, 3), dtype=np.float32)


def test_answers(models):
    for name in ("model1", "dysplasianet"):
        bundle = load(models / name)
        with np.load(bundle.folder / "golden.npz") as golden:
            prepared = np.stack([bundle.prepare(image) for image in golden["images"]])
            answers = bundle.runtime().predict(prepared)
            assert answers.dtype == np.float32
            np.testing.assert_allclose(answers, golden["outputs"], atol=1e-4)


@pytest.mark.parametrize("sizes", [[17], [1] * 17, [3, 5, 9], [16, 1]])
def test_grouping_does_not_change_a_bit(models, inputs, sizes):
    runtime = load(models / "model1").runtime()
    whole = runtime.predict(inputs)
    parts, begin = [], 0
    for size in sizes:
        parts.append(runtime.predict(inputs[begin : begin + size]))
        begin += size
    assert np.array_equal(np.concatenate(parts), whole)


def test_threads_share_a_runtime(models, inputs):
    runtime = load(models / "model1").runtime()
    whole = runtime.predict(inputs)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: runtime.predict(one[None])[0], list(inputs) * 5))
    assert np.array_equal(np.stack(answers), np.concatenate([whole] * 5))


def test_no_image_is_no_answer(models):
    empty = np.empty((0, 24, 24, 3), np.float32)
    assert load(models / "model1").runtime().predict(empty).shape == (0, 8)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 24, 24, 3), np.uint8),
        np.zeros((1, 25, 24, 3), np.float32),
        np.zeros((24, 24, 3), np.float32),
        np.zeros((1, 24, 24, 1), np.float32),
    ],
)
def test_wrong_images_are_refused(models, images):
    with pytest.raises(CellnetError, match=r"takes float32 images of shape \(n, 24, 24, 3\)"):
        load(models / "model1").runtime().predict(images)


def test_not_a_number_is_refused(models):
    images = np.full((1, 24, 24, 3), np.nan, np.float32)
    with pytest.raises(CellnetError, match="not a number"):
        load(models / "model1").runtime().predict(images)


def test_a_file_that_is_no_model(tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(b"no model at all")
    with pytest.raises(CellnetError, match="cannot be opened as a LiteRT model"):
        Runtime(file, (24, 24, 3), 8).predict(np.zeros((1, 24, 24, 3), np.float32))


def test_tensors_that_are_not_as_described(models):
    runtime = Runtime(models / "model1" / "model.tflite", (24, 24, 3), 1)
    with pytest.raises(CellnetError, match=r"the tensors of .* expected .*float32 \(1, 1\)"):
        runtime.predict(np.zeros((1, 24, 24, 3), np.float32))


SPEAKS = """
import os, sys
import numpy as np
from cellnet.bundle import load
bundle = load(sys.argv[1])
images = np.zeros((1, bundle.size, bundle.size, 3), np.float32)
print(bundle.runtime().predict(images).shape)
os.write(2, b"said\\n")
"""


def test_the_terminal_stays_clean_and_tensorflow_away(models):
    code = SPEAKS + "assert not {'tensorflow', 'keras', 'scipy'} & set(sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code, str(models / "model1")], capture_output=True, text=True
    )
    assert (result.stdout, result.stderr, result.returncode) == ("(1, 8)\n", "said\n", 0)


def test_a_closed_standard_error_is_no_obstacle(models):
    code = "import os; os.close(2)\n" + SPEAKS.rsplit("\n", 2)[0]
    result = subprocess.run(
        [sys.executable, "-c", code, str(models / "model1")], stdout=subprocess.PIPE, text=True
    )
    assert (result.stdout, result.returncode) == ("(1, 8)\n", 0)


def test_threads_by_default(monkeypatch):
    monkeypatch.delenv("CELLNET_THREADS", raising=False)
    assert 1 <= default_threads() <= min(8, os.cpu_count() or 1)
    monkeypatch.setenv("CELLNET_THREADS", "3")
    assert default_threads() == 3
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("CELLNET_THREADS", wrong)
        with pytest.raises(CellnetError, match="CELLNET_THREADS must be"):
            default_threads()
