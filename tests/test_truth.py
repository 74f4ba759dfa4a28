"""What a manifest knows, set beside what small networks answer."""

import dataclasses
import hashlib
import os

import numpy as np
import pytest
from bundles import make_bundle
from painted_cohort import PaintedCohort

from cellnet.bundle import load
from cellnet.errors import CellnetError
from cellnet.manifest import Row
from cellnet.truth import (
    answer,
    count_smears,
    describe_manifest,
    groups_of,
    is_called_neutrophil,
    normal_and_dysplastic,
    read_diagnoses,
    read_patients,
    score_smears,
    suppression_of,
)


def row(**values):
    return Row(**{"path": "a.png", "sha256": "0" * 64, "label": "neutrophil", **values})


def test_suppression_and_its_two_kinds():
    rows = [row(suppression=g) for g in ("0.2000", "0.6667", "0.6666", "0.5", "")]
    found = suppression_of([*rows, row(label="monocyte", suppression="0.9")])
    assert np.isnan(found[-2:]).all()
    normal, dysplastic = normal_and_dysplastic(found)
    assert normal.tolist() == [True] + 5 * [False]
    assert dysplastic.tolist() == [False, True, True, False, False, False]


def test_groups_are_the_coarsest_that_all_rows_have():
    rows = [row(patient="p", smear="a"), row(patient="", smear="a")]
    assert groups_of(rows)[0] == "smear"
    assert groups_of(rows, "patient")[1].tolist() == ["p", ""]
    assert groups_of([row()]) == (None, None)
    assert groups_of(rows, "none") == (None, None)
    with pytest.raises(CellnetError, match="no row"):
        groups_of([row()], "smear")
    with pytest.raises(CellnetError, match="not by sha256"):
        groups_of(rows, "sha256")


def test_a_probability_of_one_half_is_not_enough():
    probabilities = np.zeros((2, 8))
    probabilities[:, 6] = 0.5, 0.5000001
    assert is_called_neutrophil(probabilities).tolist() == [False, True]
    probabilities[:, 7] = 0.7  # one rule names a cell, even where the numbers are no probabilities
    assert is_called_neutrophil(probabilities).tolist() == [False, False]


@pytest.fixture
def cohort(tmp_path):
    return PaintedCohort(tmp_path / "cohort")


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "cellnet data simulate"),
        ("set,smear\na,b\n", "line 2: no diagnosis"),
        ("set,smear,diagnosis\na,b,ill\n", "must be mds or healthy, got 'ill'"),
        ("set,smear,diagnosis\n,b,mds\n", "no set"),
    ],
)
def test_read_diagnoses_refuses(cohort, text, message):
    cohort.cell("test-by-smear", smear="s")
    manifest = cohort.write()
    if text is None:
        (cohort.folder / "truth.csv").unlink()
    else:
        (cohort.folder / "truth.csv").write_text(text)
    with pytest.raises(CellnetError, match=message):
        read_diagnoses(manifest)


def test_patients_are_told_by_the_truth_or_by_all_cells_of_a_smear(cohort):
    cohort.smear("test-by-smear", "one", "mds", 1, 1, patient="p")
    cohort.smear("test-by-smear", "mixed", "mds", 1, 0, patient="p")
    cohort.cell("test-by-smear", smear="mixed", patient="q")
    cohort.smear("test-by-smear", "unknown", "healthy", 1, 0)
    cohort.smear("proof-of-concept", "told", "healthy", 1, 0)
    manifest = cohort.write()
    assert read_patients(manifest) == {("test-by-smear", "one"): "p"}
    file = cohort.folder / "truth.csv"
    lines = [
        "set,smear,diagnosis,patient",
        "proof-of-concept,told,mds, r ",
        "test-by-smear,one,mds,",
    ]
    file.write_text("\n".join([*lines, "test-by-smear,mixed,mds,q"]))
    assert read_patients(manifest) == {
        ("test-by-smear", "one"): "p",
        ("test-by-smear", "mixed"): "q",
        ("proof-of-concept", "told"): "r",
    }
    file.write_text("\n".join([lines[0], "test-by-smear,one,mds,q"]))
    with pytest.raises(
        CellnetError, match="line 2: the smear one is of the patient 'q', but .*'p'"
    ):
        read_patients(manifest)


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


def test_a_manifest_is_described_without_an_absolute_path(cohort):
    cohort.cell("test-by-cell", g=0.1)
    found = describe_manifest(cohort.write())
    assert found["manifest"] == "cohort/manifest.csv"
    assert found["simulated"] == "painted, for tests"
    assert str(cohort.folder.parent) not in str(found)
    assert len(found["manifest_sha256"]) == 64
