"""Evaluation end to end on painted cells, and the page that shows it."""

import copy
import json
import re
import sys
from dataclasses import replace

import pytest
from bundles import make_bundles
from painted_cohort import PaintedCohort, painted_cohort

from cellnet.cells import CLASSES, FIVE
from cellnet.errors import CellnetError
from cellnet.evaluate import evaluate
from cellnet.evaluation_page import render, require_plots, summary


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = make_bundles(tmp_path / "models")
    monkeypatch.setenv("CELLNET_MODELS", str(folder))
    return folder


def every_class(folder):
    """Four cells of each class, and two that Model 1 names wrongly."""
    cohort = PaintedCohort(folder)
    for label in CLASSES:
        for _ in range(4):
            cohort.cell("test", label, source_cell="")
    cohort.cell("test", "ig", painted="neutrophil", source_cell="", subtype="metamyelocyte")
    cohort.cell("test", "monocyte", painted="other", source_cell="")
    return cohort


@pytest.fixture
def cells(tmp_path):
    return every_class(tmp_path / "cells")


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder and the models, made once for all tests that change neither."""
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLNET_MODELS", str(make_bundles(folder / "models")))
        yield folder


@pytest.fixture(scope="module")
def classes_result(once):
    cohort = every_class(once / "cells").write()
    return evaluate("model1", cohort, repeats=50, progress=False)


@pytest.fixture(scope="module")
def granularity_result(once):
    cohort = painted_cohort(once / "cohort").write()
    return evaluate("dysplasianet", cohort, repeats=50, progress=False)


@pytest.fixture(scope="module")
def granularity_page(granularity_result):
    pytest.importorskip("matplotlib")
    return render(granularity_result)


@pytest.fixture(scope="module")
def classes_page(classes_result):
    pytest.importorskip("matplotlib")
    result = copy.deepcopy(classes_result)
    result["mistakes"][0]["file"] = "<script>alert(1)</script>"
    result["warnings"].append("<b>bold</b>")
    return render(result)


def test_classes_end_to_end(classes_result):
    found = classes_result
    json.dumps(found, allow_nan=False)
    assert found["schema"] == "cellnet/evaluation/1" and found["kind"] == "classes"
    assert found["model"]["name"] == "model1" and len(found["model"]["sha256"]) == 64
    assert found["data"]["manifest"] == "cells/manifest.csv" and found["split"] == "test"
    assert (found["n"], found["accuracy"]["k"]) == (34, 32)
    assert found["per_class"]["ig"]["sensitivity"]["k"] == 4
    assert found["other"]["k"] == 1
    assert found["groups"] == {"by": None, "n": None} and found["among"] is None
    assert [wrong["called"] for wrong in found["mistakes"]] == ["neutrophil", "other"]
    assert found["subsets"][0]["name"] == "ig: metamyelocyte"
    assert any("no patient" in text for text in found["warnings"])
    assert found["unreadable"] == []


def test_unreadable_files_are_listed_and_the_rest_is_measured(models, cells, tmp_path):
    manifest = cells.write()
    (cells.folder / cells.rows[0].path).unlink()
    found = evaluate("model1", manifest, repeats=20, progress=False)
    assert found["n"] == 33 and len(found["unreadable"]) == 1
    assert found["unreadable"][0]["file"] == cells.rows[0].path
    assert any("could not be used" in text for text in found["warnings"])


def test_five_classes_free_and_forced(models, cells):
    manifest = cells.write()
    found = evaluate("model1", manifest, among="five", repeats=20, progress=False)
    assert found["among"] == list(FIVE)
    assert found["left_out"] == {"erythroblast": 4, "ig": 5, "platelet": 4}
    assert found["rules"]["forced"]["confusion"]["columns"] == list(FIVE)
    assert found["n"] == 21
    same = evaluate("model1", manifest, among=",".join(FIVE), repeats=20, progress=False)
    assert same["rules"] == found["rules"]


def test_a_laboratory_with_five_classes_is_noticed(models, tmp_path):
    cohort = PaintedCohort(tmp_path / "five")
    for label in FIVE:
        cohort.cell("test", label, smear="s1", patient="p1")
        cohort.cell("test", label, smear="s2", patient="p2")
    found = evaluate("model1", cohort.write(), repeats=20, progress=False)
    assert found["among"] == list(FIVE) and "forced" in found["rules"]
    assert found["groups"] == {"by": "patient", "n": 2}
    assert found["accuracy"]["method"] == "korn-graubard"
    eight = evaluate(
        "model1", cohort.folder, among="eight", group="none", repeats=20, progress=False
    )
    assert "forced" not in eight["rules"] and eight["accuracy"]["method"] == "clopper-pearson"


def test_granularity_end_to_end(granularity_result):
    found = granularity_result
    json.dumps(found, allow_nan=False)
    assert found["kind"] == "granularity"
    assert found["splits"] == ["test-by-cell", "test-by-smear", "proof-of-concept"]
    assert found["operating_point"]["cutoff"] == 0.5
    assert found["classifier"]["name"] == "model1"
    by_cell = found["sets"]["test-by-cell"]["cells"]
    assert by_cell["accuracy"]["k"] == 24 and by_cell["between"] == 1
    assert by_cell["groups"] == {"by": "source_cell", "n": 12}
    proof = found["sets"]["proof-of-concept"]
    assert proof["smears_as_run"]["sensitivity"]["k"] == 4
    assert proof["smears_as_run"]["specificity"]["k"] == 4
    assert proof["smears_by_known_neutrophils"]["n"] == 8
    assert proof["cells"]["groups"]["by"] == "smear"
    assert any("painted" in text for text in found["warnings"])
    assert any("no real smear" in text for text in found["warnings"])


def test_patients_are_told_as_the_unit_where_they_are(tmp_path, models):
    """Where every cell's patient is known, nothing is said to be known for some only."""
    made = painted_cohort(tmp_path / "cohort")
    for number, row in enumerate(made.rows):
        made.rows[number] = replace(row, patient=f"P{number % 20}")
    found = evaluate("dysplasianet", made.write(), "test-by-cell", repeats=20, progress=False)
    assert found["sets"]["test-by-cell"]["cells"]["groups"]["by"] == "patient"
    assert not any("patient is known" in text for text in found["warnings"])

    tested = [row for row in made.rows if row.split == "test-by-cell"]
    made.rows[made.rows.index(tested[0])] = replace(tested[0], patient="")
    found = evaluate("dysplasianet", made.write(), "test-by-cell", repeats=20, progress=False)
    assert found["sets"]["test-by-cell"]["cells"]["groups"]["by"] == "patient"
    (told,) = [text for text in found["warnings"] if text.startswith("the patient of")]
    known = sum(bool(row.suppression) for row in tested) - 1
    assert f"the patient of 1 of {known + 1} cells is not known" in told
    assert "go by smear or source cell" in told

    found = evaluate(
        "dysplasianet",
        made.write(),
        "test-by-cell",
        group="source_cell",
        repeats=20,
        progress=False,
    )
    (told,) = [text for text in found["warnings"] if "patient is known" in text]
    assert f"of {known} of {known + 1} cells, but the intervals go by source cell" in told


def test_a_cut_judged_where_it_was_fitted_is_said(tmp_path, models):
    from cellnet.calibrate import calibrate

    cohort = painted_cohort(tmp_path / "cohort").write()
    calibrate("dysplasianet", cohort, progress=False)
    found = evaluate("dysplasianet", cohort, repeats=20, progress=False)
    told = [text for text in found["warnings"] if "optimistic" in text]
    assert any("cut-off" in text and "test-by-cell" in text for text in told)
    assert any("threshold" in text and "test-by-smear" in text for text in told)
    alone = evaluate("dysplasianet", cohort, "proof-of-concept", repeats=20, progress=False)
    assert not any("fitted on this" in text for text in alone["warnings"])
    assert list(alone["sets"]) == ["proof-of-concept"]


def test_without_classifier(tmp_path, models):
    cohort = painted_cohort(tmp_path / "cohort").write()
    found = evaluate(
        "dysplasianet", cohort, "proof-of-concept", classifier="none", repeats=20, progress=False
    )
    assert found["classifier"] is None
    assert "smears_as_run" not in found["sets"]["proof-of-concept"]


def test_smears_of_patients_need_no_known_granules(tmp_path, models):
    cohort = PaintedCohort(tmp_path / "cohort")
    for number in range(8):
        diagnosis, score = ("mds", 0.1) if number % 2 else ("healthy", 0.9)
        cohort.truth.append(("test-by-smear", f"s{number}", diagnosis))
        for _ in range(12):
            cohort.cell("test-by-smear", score=score, smear=f"s{number}", patient=f"p{number}")
    found = evaluate(
        "dysplasianet", cohort.write(), "test-by-smear", group="patient", repeats=20, progress=False
    )
    assert "cells" not in found["sets"]["test-by-smear"]
    assert found["sets"]["test-by-smear"]["smears_as_run"]["accuracy"]["value"] == 1.0


def test_evaluate_refuses(tmp_path, models, cells):
    manifest = cells.write()
    with pytest.raises(CellnetError, match="no split 'validation'"):
        evaluate("model1", manifest, "validation", progress=False)
    with pytest.raises(CellnetError, match="no class 'neutrofil'"):
        evaluate("model1", manifest, among="neutrofil,monocyte", progress=False)
    with pytest.raises(CellnetError, match="two classes or more"):
        evaluate("model1", manifest, among="monocyte", progress=False)
    with pytest.raises(CellnetError, match="class network"):
        evaluate("dysplasianet", manifest, among="five", progress=False)
    with pytest.raises(CellnetError, match="known suppression"):
        evaluate("dysplasianet", manifest, progress=False)
    with pytest.raises(CellnetError, match="cannot write"):
        evaluate("model1", manifest, out=tmp_path / "no" / "x.json", repeats=5, progress=False)
    (models / "dysplasianet" / "operating_point.json").unlink()
    with pytest.raises(CellnetError, match="cellnet calibrate"):
        evaluate("dysplasianet", manifest, progress=False)


def test_the_same_seed_gives_the_same_answer(models, cells):
    manifest = cells.write()
    first, second = (evaluate("model1", manifest, repeats=30, progress=False) for _ in range(2))
    for result in (first, second):
        result.pop("created")
    assert first == second


def test_summary_names_model_split_and_interval(classes_result, granularity_result):
    text = summary(classes_result)
    assert "split test, 34 cells" in text and "balanced accuracy 0.9" in text
    assert "95 % interval" in text
    text = summary(granularity_result)
    assert "proof-of-concept, smears as run: n = 8" in text and "AUC 1.0000" in text


# --- the page ----------------------------------------------------------------------------------


def test_the_page_of_a_class_network(models, cells, tmp_path):
    pytest.importorskip("matplotlib")
    page, document = tmp_path / "page.html", tmp_path / "result.json"
    found = evaluate("model1", cells.write(), html=page, out=document, repeats=20, progress=False)
    assert json.loads(document.read_text()) == found
    html = page.read_text(encoding="utf-8")
    assert html.lstrip().startswith("<!doctype html>")
    assert found["model"]["sha256"] in html and "cells/manifest.csv" in html
    assert html.count("<img ") == 4 and html.count("alt=") == 4
    assert "no patient" in html


HISTORY = {
    "epoch": [1, 2, 3],
    "loss": [1.2, None, 0.4],
    "accuracy": [0.5, 0.7, 0.9],
    "val_loss": [1.3, 0.8, 0.6],
    "val_accuracy": [0.4, 0.75, 0.8],
}


def keep_history(models, history):
    file = models / "model1" / "bundle.json"
    told = json.loads(file.read_text())
    told["training"] = {"epochs_run": 3, "epoch_kept": 2, "history": history}
    file.write_text(json.dumps(told))


def test_the_page_shows_the_thesis_figures(models, cells, tmp_path):
    """Figures 6.2 (where the bundle keeps its training), 6.3, 6.4, and table 6.2's value."""
    pytest.importorskip("matplotlib")
    keep_history(models, HISTORY)
    page = tmp_path / "page.html"
    found = evaluate("model1", cells.write(), html=page, repeats=20, progress=False)
    assert found["training"] == {"epoch_kept": 2, "history": HISTORY}
    assert found["published"] == {"source": "Acevedo 2020, table 6.2", "balanced_accuracy": 0.954}
    html = page.read_text(encoding="utf-8")
    for text in ("Thesis: figure 6.2", "figure 6.3", "figure 6.4", "Accuracy by epoch",
                 "Loss by epoch", "95.4 % (Acevedo 2020, table 6.2)",
                 "AUC of the mean ROC curve"):  # fmt: skip
        assert text in html, text
    assert html.count("<img ") == 6 and "was not kept" not in html
    assert "AUC of the mean ROC curve" in summary(found)


def test_a_bundle_without_its_course_says_so(classes_result, classes_page):
    assert classes_result["training"] == {"epoch_kept": None, "history": None}
    assert "The course of the training was not kept in this bundle" in classes_page
    old = {key: value for key, value in classes_result.items() if key not in
           ("training", "macro_roc", "published")}  # fmt: skip
    assert "was not kept" in render(old)  # an answer that was stored by an earlier version


def test_the_thesis_stands_beside_its_own_network_and_classes_alone(models, cells):
    manifest = cells.write()
    assert evaluate("model1", manifest, among="five", repeats=5, progress=False)[
        "published"
    ] is None  # fmt: skip
    file = models / "model1" / "bundle.json"
    file.write_text(file.read_text().replace('"data": {}', '"data": {"left_out": ["ig"]}'))
    found = evaluate("model1", manifest, repeats=5, progress=False)
    assert found["published"] is None
    assert any("trained without ig: none of the 5 here" in text for text in found["warnings"])


def test_a_course_whose_lists_differ_in_length_is_refused(models, cells):
    keep_history(models, {"epoch": [1, 2], "loss": [0.5]})
    with pytest.raises(CellnetError, match="training.history in its bundle.json differ in length"):
        evaluate("model1", cells.write(), progress=False)


def test_the_page_of_a_granularity_network(granularity_page):
    html = granularity_page
    for text in ("test-by-cell", "proof-of-concept", "Dysplastic share of each smear", "b-mds-0"):
        assert text in html
    assert html.count("<img ") == 3 + 2 * (2 + 2 + 3)


def test_the_page_loads_nothing_from_elsewhere(classes_page, granularity_page):
    for html in (classes_page, granularity_page):
        bare = re.sub(r'src="data:image/svg\+xml;base64,[^"]*"', "", html)
        assert not re.search(r"https?:|src=|<link|@import|url\(|<script", bare)


def test_names_of_files_cannot_write_into_the_page(classes_page):
    assert "<script>" not in classes_page and "<b>bold" not in classes_page
    assert "&lt;script&gt;" in classes_page


def test_pages_of_undefined_values(models, tmp_path):
    pytest.importorskip("matplotlib")
    cohort = PaintedCohort(tmp_path / "one")
    cohort.cell("test", "monocyte")
    cohort.cell("proof-of-concept", g=0.1, smear="s")
    cohort.truth.append(("proof-of-concept", "s", "healthy"))
    manifest = cohort.write()
    text = summary(
        evaluate("dysplasianet", manifest, "proof-of-concept", repeats=5, progress=False)
    )
    assert "undefined" in text and "1 of them indeterminate" in text
    for model, split in (("model1", "test"), ("dysplasianet", "proof-of-concept")):
        result = evaluate(model, manifest, split, repeats=5, progress=False)
        html = render(result)
        assert "nan" not in re.sub(r'src="[^"]*"', "", html).lower().split()


def test_a_missing_plotting_library_names_the_extra(monkeypatch, models, cells, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CellnetError, match=r"cellnet\[train\]"):
        require_plots()
    with pytest.raises(CellnetError, match="matplotlib"):
        evaluate("model1", cells.write(), html=tmp_path / "x.html", progress=False)
