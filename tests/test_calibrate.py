"""Calibration end to end on painted cells, where both cuts can be foreseen."""

import json

import pytest
from bundles import make_bundles
from painted_cohort import PaintedCohort, painted_cohort

from cellnet.bundle import load
from cellnet.calibrate import calibrate, summary
from cellnet.errors import CellnetError
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
