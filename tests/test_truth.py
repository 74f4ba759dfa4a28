"""What a manifest knows, set beside what small networks answer."""

import numpy as np
import pytest
from painted_cohort import PaintedCohort

from cellnet.errors import CellnetError
from cellnet.manifest import Row
from cellnet.truth import (
    describe_manifest,
    groups_of,
    normal_and_dysplastic,
    read_diagnoses,
    read_patients,
    suppression_of,
    told_groups,
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


def test_a_name_that_is_missing_makes_nobody_else_independent():
    rows = [row(patient="p", source_cell="1"), row(patient="p", source_cell="2"),
            row(smear="p"), row(smear="p"), row(source_cell="1"), row()]  # fmt: skip
    column, names = groups_of(rows)
    assert column == "patient"
    assert names.tolist() == ["p", "p", "smear p", "smear p", "source_cell 1", ""]
    # A smear that was put together of several patients' cells tells of nobody whose a cell is.
    rows = [row(patient=name, smear="a") for name in ("p", "q", "")]
    assert groups_of(rows)[1].tolist() == ["p", "q", "smear a"]
    # Of another set the smear may be another one.
    rows = [row(patient="p", smear="a", split="x"), row(smear="a", split="y")]
    assert groups_of(rows)[1].tolist() == ["p", "smear a"]


def test_groups_are_the_coarsest_that_any_row_has():
    rows = [row(patient="p", smear="a"), row(patient="", smear="a")]
    column, names = groups_of(rows)
    assert (column, names.tolist()) == ("patient", ["p", "p"])
    assert groups_of(rows, "patient")[1].tolist() == ["p", ""]
    assert groups_of([row()]) == (None, None)
    assert groups_of(rows, "none") == (None, None)
    with pytest.raises(CellnetError, match="no row"):
        groups_of([row()], "smear")
    with pytest.raises(CellnetError, match="not by sha256"):
        groups_of(rows, "sha256")


def test_a_cell_that_nothing_ties_is_a_unit():
    rows = [row(source_cell="a"), row(source_cell="a"), row(), row(), row()]
    assert told_groups(*groups_of(rows)) == {"by": "source_cell", "n": 4}
    assert told_groups(*groups_of(rows[1:])) == {"by": "source_cell", "n": 4}
    assert told_groups(*groups_of(rows[2:])) == {"by": None, "n": None}


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


def test_a_manifest_is_described_without_an_absolute_path(cohort):
    cohort.cell("test-by-cell", g=0.1)
    found = describe_manifest(cohort.write())
    assert found["manifest"] == "cohort/manifest.csv"
    assert found["simulated"] == "painted, for tests"
    assert str(cohort.folder.parent) not in str(found)
    assert len(found["manifest_sha256"]) == 64
