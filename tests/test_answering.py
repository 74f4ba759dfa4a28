"""What small networks answer for a manifest, and how it is counted by smear."""

import dataclasses
import hashlib
import os

import numpy as np
import pytest
from bundles import make_bundle
from painted_cohort import PaintedCohort

from cellnet.answering import answer, count_smears, is_called_neutrophil, score_smears
from cellnet.bundle import load
from cellnet.errors import CellnetError
from cellnet.manifest import Row
from cellnet.truth import (
    read_diagnoses,
)


def row(**values):
    return Row(**{"path": "a.png", "sha256": "0" * 64, "label": "neutrophil", **values})


@pytest.fixture
def cohort(tmp_path):
    return PaintedCohort(tmp_path / "cohort")


def test_a_probability_of_one_half_is_not_enough():
    probabilities = np.zeros((2, 8))
    probabilities[:, 6] = 0.5, 0.5000001
    assert is_called_neutrophil(probabilities).tolist() == [False, True]
    probabilities[:, 7] = 0.7  # one rule names a cell, even where the numbers are no probabilities
    assert is_called_neutrophil(probabilities).tolist() == [False, False]


def test_answer_lists_what_it_could_not_use(tmp_path, cohort):
    for _ in range(4):
        cohort.cell("test-by-cell", g=0.1, score=0.8)
    (cohort.folder / cohort.rows[1].path).write_bytes(b"another file")
    (cohort.folder / cohort.rows[2].path).unlink()
    broken = cohort.folder / cohort.rows[3].path
    broken.write_bytes(b"no image")
    sha256 = hashlib.sha256(b"no image").hexdigest()
    cohort.rows[3] = dataclasses.replace(cohort.rows[3], sha256=sha256)
    manifest = cohort.write()
    bundle = load(make_bundle(tmp_path, "dysplasianet"))
    found = answer(bundle, manifest, manifest.rows, progress=False)
    assert [row.path for row in found.rows] == [cohort.rows[0].path]
    assert found.outputs.shape == (1, 1) and found.outputs.dtype == np.float32
    assert found.outputs[0, 0] == pytest.approx(0.8, abs=0.02)
    assert [entry["file"] for entry in found.unreadable] == [row.path for row in cohort.rows[1:]]
    assert "sha256" in found.unreadable[0]["reason"]
    with pytest.raises(CellnetError, match="none of the 3 images"):
        answer(bundle, manifest, manifest.rows[1:], progress=False)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path, cohort):
    for _ in range(2):
        cohort.cell("test-by-cell", g=0.1, score=0.8)
    pipe = cohort.folder / cohort.rows[1].path
    pipe.unlink()
    os.mkfifo(pipe)
    manifest = cohort.write()
    bundle = load(make_bundle(tmp_path, "dysplasianet"))
    found = answer(bundle, manifest, manifest.rows, progress=False)
    assert "pipe" in found.unreadable[0]["reason"]


def test_smears_are_counted_as_the_program_sees_them(tmp_path, cohort):
    cohort.smear("test-by-smear", "one", "mds", normal=3, dysplastic=2, painted_others=2)
    cohort.smear("test-by-smear", "two", "healthy", normal=1, dysplastic=0)
    cohort.cell("test-by-smear", g=0.9, score=0.1, smear="two", painted="other")
    manifest = cohort.write()
    bundles = [load(make_bundle(tmp_path, name)) for name in ("dysplasianet", "model1")]
    smears = score_smears(*bundles, manifest, manifest.rows, progress=False)
    diagnoses = read_diagnoses(manifest)
    called = count_smears(smears.rows, smears.score, smears.called, diagnoses, 0.5)
    known = count_smears(smears.rows, smears.score, smears.known, diagnoses, 0.5)
    assert called.names == ["one", "two"] and called.mds.tolist() == [True, False]
    assert called.neutrophils.tolist() == [7, 1] and called.dysplastic.tolist() == [4, 0]
    assert known.neutrophils.tolist() == [5, 2] and known.dysplastic.tolist() == [2, 1]
    assert known.fraction.tolist() == [0.4, 0.5]
    alone = score_smears(bundles[0], None, manifest, manifest.rows, progress=False)
    assert alone.called is None and np.isnan(alone.score[~alone.known]).all()


def test_count_smears_refuses_cells_without_smear_or_diagnosis():
    yes = np.array([True])
    with pytest.raises(CellnetError, match="no smear"):
        count_smears([row(split="test-by-smear")], np.ones(1), yes, {}, 0.5)
    with pytest.raises(CellnetError, match="no diagnosis"):
        count_smears([row(split="test-by-smear", smear="s")], np.ones(1), yes, {}, 0.5)
