"""Calibration end to end on painted cells, where both cuts can be foreseen."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bundles import make_bundles
from painted_cohort import PaintedCohort, painted_cohort

from cellnet.bundle import load
from cellnet.calibrate import calibrate, summary
from cellnet.errors import CellnetError
from cellnet.evaluate import evaluate
from cellnet.operating_point import read_operating_point


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = make_bundles(tmp_path / "models", point=False)
    monkeypatch.setenv("CELLNET_MODELS", str(folder))
    return folder


def test_calibrate_writes_both_cuts_beside_the_weights(tmp_path, models):
    cohort = painted_cohort(tmp_path / "cohort").write()
    point = calibrate("dysplasianet", cohort.root, progress=False)
    bundle = load("dysplasianet")
    assert read_operating_point(models / "dysplasianet", bundle.sha256) == point
    # Dysplastic scores end at 0.27, normal ones begin at 0.7; shares end at 1/13 and begin at 1/3.
    assert point.cutoff == pytest.approx((0.27 + 0.7) / 2, abs=0.02)
    assert point.threshold == pytest.approx((1 / 13 + 4 / 12) / 2)
    assert point.cell.auc["value"] == 1.0 and point.cell.auc["ci95"][0] < 1.0
    on = point.cell.fitted_on
    assert (on["split"], on["cells"]) == ("test-by-cell", 24)
    assert (on["dysplastic"], on["normal"]) == (12, 12)
    assert (on["between"], on["grouped_by"], on["groups"]) == (1, "source_cell", 12)
    assert on["manifest"] == "cohort/manifest.csv" and len(on["manifest_sha256"]) == 64
    on = point.smear.fitted_on
    assert (on["split"], on["mds"], on["healthy"]) == ("test-by-smear", 4, 4)
    assert on["classifier"]["name"] == "model1"
    assert point.also["smear_by_known_neutrophils"]["threshold"] == point.threshold
    text = summary(point)
    assert "cell cut-off" in text and "12 dysplastic, 12 normal" in text and "4 mds" in text
    # Of four smears a kind nothing can be said of another four.
    assert "smear threshold 0.2051 (without an interval: it takes 10 of a kind, and" in text


def test_both_cuts_have_intervals_by_the_same_groups(tmp_path, models):
    cohort = painted_cohort(tmp_path / "cohort").write()
    point = calibrate("dysplasianet", cohort, progress=False)
    written = json.loads((models / "dysplasianet" / "operating_point.json").read_text())
    for part, cut, groups in (("cell", "cutoff", 12), ("smear", "threshold", None)):
        found = written[part]["cut"]
        assert found["value"] == written[part][cut]
        assert written[part]["fitted_on"].get("groups") == groups
    low, high = written["cell"]["cut"]["ci95"]
    assert low < point.cutoff < high
    assert written["smear"]["cut"]["ci95"] is None  # of four smears a kind
    # A source cell holds a normal and a dysplastic version: both are drawn, or none.
    assert written["cell"]["cut"]["method"] == "bootstrap by group"
    assert written["smear"]["cut"]["method"] == "stratified bootstrap"
    also = point.also["smear_by_known_neutrophils"]
    assert also["cut"]["value"] == also["threshold"]


def test_a_cut_without_an_interval_is_told(tmp_path, models):
    point = calibrate("dysplasianet", painted_cohort(tmp_path / "c").write(), progress=False)
    unsure = replace(point, cell=replace(point.cell, cut={**point.cell.cut, "ci95": None}))
    assert "without an interval" in summary(unsure)
    before = replace(point, cell=replace(point.cell, cut=None))
    assert f"cell cut-off {point.cutoff:.4f}: dysplastic" in summary(before)


def test_out_and_no_classifier(tmp_path, models):
    cohort = painted_cohort(tmp_path / "cohort").write()
    out = tmp_path / "point.json"
    point = calibrate("dysplasianet", cohort, out=out, classifier="none", progress=False)
    assert not (models / "dysplasianet" / "operating_point.json").exists()
    document = json.loads(out.read_text())
    assert document["also"] == {}
    assert document["smear"]["fitted_on"]["neutrophils"] == "neutrophils by the manifest's label"
    assert read_operating_point(out) == point


def test_where_it_cannot_be_written_is_told_before_the_work(tmp_path, models, monkeypatch):
    cohort = painted_cohort(tmp_path / "cohort").write()
    monkeypatch.setattr("cellnet.calibrate.answer", None)
    for out in (tmp_path / "gone", tmp_path / "gone" / "point.json"):
        with pytest.raises(CellnetError, match="there is no folder"):
            calibrate("dysplasianet", cohort, out=out, progress=False)
    (models / "dysplasianet" / "operating_point.json").mkdir()
    with pytest.raises(CellnetError, match="it is a folder"):
        calibrate("dysplasianet", cohort, progress=False)


def test_the_threshold_follows_what_model_1_calls(tmp_path, models):
    cohort = PaintedCohort(tmp_path / "cohort")
    for number in range(3):
        cohort.cell("test-by-cell", g=0.1, score=0.9)
        cohort.cell("test-by-cell", g=0.9, score=0.1)
        cohort.smear("test-by-smear", f"h{number}", "healthy", 9, 0, painted_others=1)
        cohort.smear("test-by-smear", f"m{number}", "mds", 5, 5)
    point = calibrate("dysplasianet", cohort.write(), minimum_neutrophils=5, progress=False)
    assert point.threshold == pytest.approx((0.1 + 0.5) / 2)
    assert point.also["smear_by_known_neutrophils"]["threshold"] == pytest.approx(0.25)


@pytest.mark.parametrize("said_by", ["manifest", "truth"])
def test_smears_of_one_patient_are_one_unit_of_the_intervals(tmp_path, models, said_by):
    """Sixteen smears of four patients say less than sixteen of sixteen."""
    intervals = {}
    for known in (False, True):
        cohort = PaintedCohort(tmp_path / f"cohort-{known}")
        patients = {}
        for number in range(8):
            cohort.cell("test-by-cell", g=0.1, score=0.9)
            cohort.cell("test-by-cell", g=0.9, score=0.1)
            for kind, dysplastic in (("healthy", 0), ("mds", 9)):
                name, patient = f"{kind}-{number}", f"{kind}-{number % 2}"
                patients[name] = patient
                told = {"patient": patient} if known and said_by == "manifest" else {}
                cohort.smear("test-by-smear", name, kind, 10, dysplastic, **told)
        manifest = cohort.write()
        if known and said_by == "truth":
            file = cohort.folder / "truth.csv"
            head, *lines = file.read_text().splitlines()
            lines = [f"{line},{patients[line.split(',')[1]]}" for line in lines]
            file.write_text("\n".join([f"{head},patient", *lines]))
        point = calibrate("dysplasianet", manifest, progress=False)
        on = point.smear.fitted_on
        also = point.also["smear_by_known_neutrophils"]["fitted_on"]
        if known:
            assert (on["grouped_by"], on["groups"], on["smears"]) == ("patient", 4, 16)
            assert (also["grouped_by"], also["groups"]) == ("patient", 4)
            assert point.smear.sensitivity["method"] == "korn-graubard"
            assert "8 mds, 8 healthy, in 4 groups by patient" in summary(point)
        else:
            assert "grouped_by" not in on and "grouped_by" not in also
        assert point.smear.sensitivity["value"] == 1.0
        intervals[known] = (point.smear.sensitivity["ci95"][0], point.smear.auc["ci95"][0])
    assert all(np.subtract(intervals[False], intervals[True]) > 0.1), intervals
    # The same when the operating point is measured.
    found = evaluate("dysplasianet", manifest, "test-by-smear", progress=False, repeats=50)
    measured = found["sets"]["test-by-smear"]["smears_as_run"]
    assert measured["groups"] == {"by": "patient", "n": 4}
    assert measured["sensitivity"]["ci95"][0] == pytest.approx(intervals[True][0])


def test_smears_with_few_neutrophils_take_no_part(tmp_path, models):
    cohort = painted_cohort(tmp_path / "cohort")
    cohort.smear("test-by-smear", "small", "healthy", 1, 1)
    point = calibrate("dysplasianet", cohort.write(), progress=False)
    assert point.smear.fitted_on["left_out_for_few_neutrophils"] == ["small"]
    assert point.smear.fitted_on["healthy"] == 4


def test_calibrate_refuses(tmp_path, models):
    cohort = painted_cohort(tmp_path / "cohort").write()
    with pytest.raises(CellnetError, match="granularity"):
        calibrate("model1", cohort, progress=False)
    with pytest.raises(CellnetError, match="--classifier none"):
        calibrate("dysplasianet", cohort, classifier="absent", progress=False)
    with pytest.raises(CellnetError, match="--classifier none"):
        calibrate("dysplasianet", cohort, classifier="dysplasianet", progress=False)
    lone = PaintedCohort(tmp_path / "lone")
    lone.cell("test-by-cell", g=0.1)
    with pytest.raises(CellnetError, match="test-by-smear"):
        calibrate("dysplasianet", lone.write(), progress=False)
    lone.smear("test-by-smear", "s", "mds", 1, 1)
    with pytest.raises(CellnetError, match="both kinds"):
        calibrate("dysplasianet", lone.write(), progress=False)
    assert not (models / "dysplasianet" / "operating_point.json").exists()
