"""What is measured of candidates, by hand-computable cases; networks are painted, not trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="recipes need the training extra")
import numpy as np
from bundles import make_bundle
from painted_cohort import PaintedCohort, painted_cohort

from cellnet import candidates
from cellnet.bundle import load
from cellnet.candidates import (
    check_cohort,
    check_namer,
    choose,
    measure_candidate,
    proof_of_concept,
    standing,
)
from cellnet.errors import CellnetError
from cellnet.manifest import read_manifest, write_manifest
from cellnet.operating_point import read_operating_point
from cellnet.study import read_study

TRAINING = Path(__file__).resolve().parents[1] / "training"


@pytest.fixture(scope="module")
def study():
    """The small study with the published rule of chance: its own lets every toy go on."""
    small, published = (
        read_study(TRAINING / f"dysplasianet-selection{size}.yaml") for size in ("-small", "")
    )
    rule = {"margin": published.first_stage.margin}
    return small.model_copy(update={"first_stage": small.first_stage.model_copy(update=rule)})


def train_side(made: PaintedCohort, right: int, wrong: int) -> PaintedCohort:
    """Add validation pairs of which a network of painted scores gets so many right, and wrong."""
    made.cell("train", g=0.1)
    made.cell("train", g=0.8, score=0.1)
    for number in range(right + wrong):
        source, good = f"{number + 500:064x}", number < right
        made.cell("validation", g=0.1, score=0.9 if good else 0.1, source_cell=source)
        made.cell("validation", g=0.8, score=0.1 if good else 0.9, source_cell=source)
    return made


def constant_bundle(folder: Path) -> Path:
    """A network that says one half of everything."""
    import bundles

    slope, bundles.SLOPE = bundles.SLOPE, 1e-12
    try:
        return make_bundle(folder, "dysplasianet")
    finally:
        bundles.SLOPE = slope


@pytest.fixture
def cohort(tmp_path):
    return train_side(painted_cohort(tmp_path / "cohort"), 10, 0).write()


@pytest.fixture
def run(tmp_path):
    """A run folder that has been trained."""
    made = make_bundle(tmp_path / "run", "dysplasianet")
    return made.rename(tmp_path / "run" / "bundle").parent


# --- the first stage ---------------------------------------------------------------------------


def test_a_network_that_learns_goes_on(cohort, study, tmp_path):
    found = standing(load(make_bundle(tmp_path, "dysplasianet")), cohort, study, progress=False)
    assert found["goes_on"]
    assert found["accuracy"]["value"] == 1.0
    assert found["groups"] == {"by": "source_cell", "n": 10}


def test_a_network_at_chance_is_dropped_and_the_reason_shown(tmp_path, study):
    made = train_side(PaintedCohort(tmp_path / "cohort"), 100, 0).write()
    found = standing(load(constant_bundle(tmp_path)), made, study, progress=False)
    assert not found["goes_on"]
    # Every normal cell wrong and every dysplastic one right: exactly one half of 200.
    assert found["accuracy"]["value"] == 0.5
    assert found["accuracy"]["ci95"][1] < 0.6
    assert found["reason"].startswith("balanced accuracy 50.0 % (")
    assert "at or below 60 %" in found["reason"]


def test_naming_the_more_frequent_kind_alone_is_no_learning(tmp_path, study):
    """Where one kind is more frequent, to call all cells by it is right for most of them."""
    made = PaintedCohort(tmp_path / "cohort")
    made.cell("train", g=0.1)
    for number in range(120):
        made.cell("validation", g=0.1 if number % 6 == 0 else 0.8, source_cell=f"{number:064x}")
    found = standing(load(constant_bundle(tmp_path)), made.write(), study, progress=False)
    assert found["accuracy"]["value"] == pytest.approx(5 / 6)
    assert found["balanced_accuracy"]["value"] == 0.5
    assert not found["goes_on"]


def test_few_cells_drop_nobody(tmp_path, study):
    """Of ten images nothing can be said to be at chance."""
    made = train_side(PaintedCohort(tmp_path / "cohort"), 5, 0).write()
    found = standing(load(constant_bundle(tmp_path)), made, study, progress=False)
    assert found["accuracy"]["value"] == 0.5
    assert found["goes_on"]


def test_a_patient_who_is_not_named_makes_no_other_cell_independent(tmp_path, study):
    """Of twenty patients, half of them called wrongly throughout, nothing can be said."""
    made = PaintedCohort(tmp_path / "cohort")
    made.cell("train", g=0.1)
    for number in range(400):
        good, normal = number % 20 < 10, number % 40 < 20
        made.cell("validation", g=0.1 if normal else 0.8, score=0.9 if good == normal else 0.1,
                  patient=f"p{number % 20}" if number else "")  # fmt: skip
    bundle = load(make_bundle(tmp_path, "dysplasianet"))
    found = standing(bundle, made.write(), study, progress=False)
    assert found["accuracy"]["value"] == 0.5
    assert found["groups"] == {"by": "patient", "n": 21}
    assert found["goes_on"]


@pytest.mark.parametrize("right", [(0, 4), (4, 1)])
def test_few_cells_of_a_bad_network_drop_nobody(right, tmp_path, study):
    """Samples of a handful of cells hardly differ; the exact interval knows how little they say."""
    made = PaintedCohort(tmp_path / "cohort")
    made.cell("train", g=0.1)
    for g, score, number in ((0.1, 0.9, right[0]), (0.8, 0.1, right[1])):
        for cell in range(5):
            is_right = cell < number
            made.cell("validation", g=g, score=score if is_right else 1 - score)
    bundle = load(make_bundle(tmp_path, "dysplasianet"))
    found = standing(bundle, made.write(), study, progress=False)
    assert found["balanced_accuracy"]["value"] < 0.6
    assert found["balanced_accuracy"]["method"] == "combined exact intervals"
    assert found["goes_on"]


# --- the second stage --------------------------------------------------------------------------


def test_cells_and_smears_are_measured_at_the_fitted_point(run, cohort, study):
    found = measure_candidate(run, cohort, study, progress=False)
    assert found["failed"] is None
    assert 0.27 < found["cutoff"] < 0.7
    cells = found["by_cell"]
    assert (cells["n"], cells["dysplastic"], cells["normal"]) == (25, 12, 12)
    assert cells["auc"]["value"] == cells["accuracy"]["value"] == 1.0
    assert cells["groups"] == {"by": "source_cell", "n": 12}
    smears = found["by_smear"]
    assert (smears["mds"], smears["healthy"], smears["indeterminate"]) == (4, 4, 0)
    assert smears["accuracy"]["value"] == smears["auc"]["value"] == 1.0
    assert smears["neutrophils"] == "neutrophils by the manifest's label"
    # Healthy smears have at most one dysplastic neutrophil of 13, MDS ones at least 4 of 12.
    assert 1 / 13 < found["threshold"] < 1 / 3
    assert found["threshold_ci95"] is None  # of four smears a kind
    assert 0.2 < found["cutoff_ci95"][0] < found["cutoff"] < found["cutoff_ci95"][1] < 0.75
    # The second stage's validation cells are told with their interval too, as the first's are.
    assert found["accuracy"]["value"] == found["balanced_accuracy"]["value"] == 1.0
    assert (found["accuracy"]["n"], found["accuracy"]["ci95"][0]) == (
        20,
        pytest.approx(0.6915, abs=1e-4),
    )
    assert found["groups"] == {"by": "source_cell", "n": 10}


def test_validation_cells_answered_wrongly_lower_the_accuracy(run, tmp_path, study):
    made = train_side(painted_cohort(tmp_path / "more"), 8, 2).write()
    found = measure_candidate(run, made, study, progress=False)
    assert (found["accuracy"]["k"], found["accuracy"]["n"]) == (16, 20)
    assert found["accuracy"]["method"] == "korn-graubard"
    assert found["by_cell"]["accuracy"]["value"] == 1.0


def test_an_operating_point_of_before_intervals_is_fitted_again(run, cohort, study):
    """As a study leaves it that was finished before: it is brought up to what is reported now."""
    first = measure_candidate(run, cohort, study, progress=False)
    file = run / "bundle" / "operating_point.json"
    document = json.loads(file.read_text())
    kept = json.loads((run / "by-smear.json").read_text())
    for section in (document["cell"], document["smear"], *document["also"].values()):
        section.pop("cut")
    old = "2020-01-01T00:00:00+00:00"
    file.write_text(json.dumps({**document, "created": old}))
    kept["operating_point"]["created"] = old
    (run / "by-smear.json").write_text(json.dumps(kept))
    assert measure_candidate(run, cohort, study, progress=False) == first
    point = read_operating_point(run / "bundle")
    assert point.created > old and point.cell.cut["ci95"] == first["cutoff_ci95"]
    # What was evaluated at the old point is evaluated anew, and tells the new one.
    again = json.loads((run / "by-smear.json").read_text())
    assert again["operating_point"]["created"] == point.created


def test_what_was_measured_before_is_read_again(run, cohort, study, monkeypatch):
    first = measure_candidate(run, cohort, study, progress=False)

    def refuse(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(candidates, "evaluate", refuse)
    monkeypatch.setattr(candidates, "calibrate", refuse)
    assert measure_candidate(run, cohort, study, progress=False) == first
    # Other weights are other answers.
    point = run / "bundle" / "operating_point.json"
    document = json.loads(point.read_text())
    point.write_text(json.dumps({**document, "weights_sha256": "0" * 64}))
    with pytest.raises(AssertionError, match="measured again"):
        measure_candidate(run, cohort, study, progress=False)


def test_a_corrected_diagnosis_is_measured_anew(run, cohort, study):
    first = measure_candidate(run, cohort, study, progress=False)
    proof_of_concept(run, cohort, study, progress=False)
    truth = cohort.root / "truth.csv"
    text = truth.read_text()
    for smear in ("a-mds-0", "b-mds-0"):
        assert f"{smear},mds" in text
        text = text.replace(f"{smear},mds", f"{smear},healthy")
    truth.write_text(text)
    again = measure_candidate(run, cohort, study, progress=False)
    assert (first["by_smear"]["mds"], again["by_smear"]["mds"]) == (4, 3)
    assert again["threshold"] > first["threshold"]
    assert proof_of_concept(run, cohort, study, progress=False)["mds"] == 3


def test_another_classifier_measures_anew(run, cohort, study, tmp_path):
    first = measure_candidate(run, cohort, study, progress=False)
    named = study.model_copy(update={"classifier": str(make_bundle(tmp_path / "own", "model1"))})
    again = measure_candidate(run, cohort, named, progress=False)
    assert first["by_smear"]["neutrophils"] != again["by_smear"]["neutrophils"]
    assert measure_candidate(run, cohort, study, progress=False) == first


def test_a_network_that_tells_nothing_apart_fails_and_stops_nobody(tmp_path, cohort, study):
    run = constant_bundle(tmp_path / "flat").rename(tmp_path / "flat" / "bundle").parent
    found = measure_candidate(run, cohort, study, progress=False)
    assert set(found) == {"accuracy", "balanced_accuracy", "groups", "failed"}
    assert "better than guessing" in found["failed"]


def test_anything_else_stops_the_study(run, cohort, study):
    shutil.rmtree(cohort.root / "test-by-cell")
    with pytest.raises(CellnetError, match="could be used"):
        measure_candidate(run, cohort, study, progress=False)


def test_the_proof_of_concept_uses_its_own_smears_alone(run, cohort, study):
    measure_candidate(run, cohort, study, progress=False)
    found = proof_of_concept(run, cohort, study, progress=False)
    assert {row["smear"][0] for row in found["smears"]} == {"b"}
    assert found["confusion"]["counts"] == [[4, 0], [0, 4]]
    for key in ("accuracy", "sensitivity", "specificity", "precision"):
        assert found[key]["value"] == 1.0
        assert found[key]["ci95"][0] < 0.7
    assert found["groups"] == {"by": None, "n": None}


def test_smears_of_one_patient_are_one_unit(run, tmp_path, study):
    made = train_side(PaintedCohort(tmp_path / "cohort"), 5, 0)
    for _ in range(8):
        made.cell("test-by-cell", g=0.1, score=0.9)
        made.cell("test-by-cell", g=0.8, score=0.1)
    for split in ("test-by-smear", "proof-of-concept"):
        for number in range(6):
            patient = f"{split}-{number // 3}"
            made.smear(split, f"{split[0]}{number}", "mds" if number < 3 else "healthy", 8,
                       6 if number < 3 else 0, patient=patient)  # fmt: skip
    cohort = made.write()
    measure_candidate(run, cohort, study, progress=False)
    found = proof_of_concept(run, cohort, study, progress=False)
    assert found["groups"] == {"by": "patient", "n": 2}
    assert found["accuracy"]["n"] == 6
    assert found["accuracy"]["ci95"][0] == pytest.approx(0.025 ** (1 / 2))


# --- the choice --------------------------------------------------------------------------------


def entry(accuracy, auc=1.0, by_cell=1.0, wrong=(), smears=40, patients=None):
    """What was measured of a candidate; the numbers of the smears that it judges wrongly."""
    rows = [
        {
            "smear": f"s{number}",
            **({"patient": f"p{number % patients}"} if patients else {}),
            "diagnosis": "mds" if number % 2 else "healthy",
            "decision": "mds-suspected" if number % 2 != (number in wrong) else "no-dysplasia",
        }
        for number in range(smears)
    ]
    return {
        "failed": None,
        "by_smear": {
            "accuracy": {"value": accuracy},
            "auc": {"value": auc},
            "smears": rows,
        },
        "by_cell": {"accuracy": {"value": by_cell}},
    }


@pytest.mark.parametrize(
    ("measured", "parameters", "order"),
    [
        ({"A": entry(0.9), "B": entry(0.95)}, {"A": 1, "B": 9}, ["B", "A"]),
        ({"A": entry(0.9, 0.96), "B": entry(0.9, 0.97)}, {"A": 1, "B": 9}, ["B", "A"]),
        (
            {"A": entry(0.9, 0.97, 0.98), "B": entry(0.9, 0.97, 0.99)},
            {"A": 1, "B": 9},
            ["B", "A"],
        ),
        (
            {"A": entry(1.0), "B": entry(1.0), "C": entry(1.0)},
            {"A": 3, "B": 2, "C": 5},
            list("BAC"),
        ),
        ({"A": {"failed": "no"}, "B": entry(0.6)}, {"A": 1, "B": 9}, ["B"]),
    ],
    ids=["accuracy", "auc", "cells", "parameters", "failed"],
)
def test_the_winner(measured, parameters, order):
    found = choose(measured, parameters)
    assert found["order"] == order
    assert found["name"] == order[0]


def test_who_may_be_behind_by_chance():
    """Also where the winner is right on every smear, and others on all but a few."""
    found = choose(
        {
            "A": entry(1.0),
            "B": entry(0.975, wrong=[3]),
            "C": entry(0.875, wrong=range(5)),
            "D": entry(0.85, wrong=range(6)),
        },
        dict.fromkeys("ABCD", 1),
    )
    assert found["p_values"] == {"B": 1.0, "C": 2 / 2**5, "D": 2 / 2**6}
    assert found["also_possible"] == ["B", "C"]


def test_smears_of_one_patient_tell_candidates_apart_once():
    measured = {"A": entry(1.0, patients=4), "B": entry(0.85, wrong=range(0, 24, 4), patients=4)}
    found = choose(measured, {"A": 1, "B": 1})
    assert found["p_values"] == {"B": 1.0}  # all six are of one patient


def test_smears_without_a_decision_compare_nothing():
    measured = {"A": entry(1.0), "B": entry(0.85, wrong=range(6))}
    for row in measured["B"]["by_smear"]["smears"][:6]:
        row["decision"] = "indeterminate"
    assert choose(measured, {"A": 1, "B": 1})["p_values"] == {"B": 1.0}


def test_nobody_wins_where_nobody_could_be_judged():
    found = choose({"A": {"failed": "no"}}, {"A": 1})
    assert (found["name"], found["order"]) == (None, [])
    assert choose({}, {})["name"] is None


# --- cohorts that cannot decide a study --------------------------------------------------------


def test_a_whole_cohort_is_accepted(cohort):
    check_cohort(cohort)


def test_a_classifier_that_finds_the_neutrophils_is_accepted(cohort, tmp_path):
    check_namer(cohort, load(make_bundle(tmp_path / "own", "model1")), 10, progress=False)


def test_a_classifier_that_finds_too_few_is_told_before_training(tmp_path):
    made = train_side(painted_cohort(tmp_path / "cohort"), 10, 0)
    for number in range(4):
        # A stain that the classifier does not know: neutrophils that look like something else.
        for _ in range(12):
            made.cell("proof-of-concept", g=0.1, smear=f"b-pale-{number}", painted="monocyte")
        made.truth.append(("proof-of-concept", f"b-pale-{number}", "healthy"))
    made.rows = [row for row in made.rows if not row.smear.startswith("b-healthy")]
    cohort = made.write()
    check_cohort(cohort)
    with pytest.raises(CellnetError, match="finds too few neutrophils.*'proof-of-concept'.*'none'"):
        check_namer(cohort, load(make_bundle(tmp_path / "own", "model1")), 10, progress=False)


def rewrite(cohort, keep):
    write_manifest(cohort.root, [row for row in cohort.rows if keep(row)], ".", cohort.about)
    return read_manifest(cohort.root)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda row: row.split != "proof-of-concept", "no split 'proof-of-concept'"),
        (lambda row: row.split != "train" or row.suppression < "0.5", "'train'.*has 1 and 0"),
        (lambda row: "b-mds" not in row.smear, "'proof-of-concept'.*needs smears of patients"),
    ],
    ids=["set", "kind", "diagnosis"],
)
def test_what_a_cohort_lacks_is_named(cohort, keep, message):
    with pytest.raises(CellnetError, match=message):
        check_cohort(rewrite(cohort, keep))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"smear": ""}, "belongs to no smear; name its smear"),
        ({"smear": "unheard-of"}, "smear unheard-of.*has no diagnosis in truth.csv"),
    ],
    ids=["smear", "diagnosis"],
)
def test_a_smear_set_that_fails_at_its_end_fails_at_once(cohort, changed, message):
    """Hours later it would be refused by what fits the thresholds."""
    at = next(n for n, row in enumerate(cohort.rows) if row.split == "test-by-smear")
    rows = [replace(row, **changed) if n == at else row for n, row in enumerate(cohort.rows)]
    write_manifest(cohort.root, rows, ".", cohort.about)
    with pytest.raises(CellnetError, match=message):
        check_cohort(read_manifest(cohort.root))


def test_smears_of_too_few_neutrophils_are_refused(cohort):
    check_cohort(cohort, 4)
    with pytest.raises(CellnetError, match="99 neutrophils or more; it has 0 of so many among"):
        check_cohort(cohort, 99)


def test_patients_that_contradict_each_other_are_refused(cohort):
    named = {row.smear for row in cohort.split("test-by-smear")}
    rows = [replace(row, patient="A") if row.smear in named else row for row in cohort.rows]
    write_manifest(cohort.root, rows, ".", cohort.about)
    file = cohort.root / "truth.csv"
    head, *lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{head},patient", *(f"{line},B" for line in lines)]) + "\n")
    with pytest.raises(CellnetError, match="of the patient 'B'.*of 'A'; correct one"):
        check_cohort(read_manifest(cohort.root))


def test_a_photograph_on_two_sides_is_refused(cohort):
    rows = [replace(row, source_cell="s0") if row.split == "train" else row for row in cohort.rows]
    write_manifest(cohort.root, rows, ".", cohort.about)
    with pytest.raises(CellnetError, match="on two sides"):
        check_cohort(read_manifest(cohort.root))


def test_scores_of_one_half_are_dysplastic_here_as_in_training():
    """Training's accuracy takes the larger of p and 1 - p, and of equals the first: dysplastic."""
    outputs = np.array([[1 - 0.5, 0.5]])
    assert outputs.argmax(axis=1)[0] == 0
    assert not 0.5 > candidates.HALF
