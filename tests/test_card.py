"""Records and cards: what is kept of an evaluation, what is shown, and that judgement stays."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from bundles import make_bundles
from painted_cohort import PaintedCohort, painted_cohort

from cellnet.bundle import available, load
from cellnet.card import README_BLOCK, blocks, generated, readme_table, refresh, replace
from cellnet.card_tables import share, table
from cellnet.cells import CLASSES, FIVE
from cellnet.cli import main
from cellnet.errors import CellnetError
from cellnet.evaluate import evaluate
from cellnet.record import check, read_metrics, record
from cellnet.verify import verify

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = available(ROOT / "models")


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = make_bundles(tmp_path / "models")
    monkeypatch.setenv("CELLNET_MODELS", str(folder))
    return folder


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Evaluations of the small bundles, made once."""
    folder = tmp_path_factory.mktemp("card")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLNET_MODELS", str(make_bundles(folder / "models")))
        cohort = PaintedCohort(folder / "cells")
        for label in CLASSES:
            for _ in range(4):
                cohort.cell("test", label, source_cell="")
        cohort.cell("test", "ig", painted="neutrophil", source_cell="", subtype="metamyelocyte")
        cells = cohort.write()
        alone = PaintedCohort(folder / "alone")
        for g in (0.0, 0.1, 0.8, 0.9):
            alone.cell("test", g=g)
        yield {
            "cells": evaluate("model1", cells, repeats=20, progress=False),
            "five": evaluate("model1", cells, among="five", repeats=20, progress=False),
            "alone": evaluate("model1", alone.write(), repeats=20, progress=False),
            "cohort": evaluate(
                "dysplasianet", painted_cohort(folder / "cohort").write(), repeats=20,
                progress=False,
            ),
        }  # fmt: skip


def test_a_record_keeps_values_with_count_interval_and_split(models, once):
    file = record(once["cells"], "pbc-test", "model1", note="Painted cells")
    document = json.loads(file.read_text())
    assert document["schema"] == "cellnet/metrics/1"
    assert document["weights_sha256"] == load("model1").sha256
    entry = document["evaluations"]["pbc-test"]
    assert entry["note"] == "Painted cells" and entry["quantisation"] == "float32"
    assert (entry["split"], entry["n"], entry["unreadable"]) == ("test", 33, 0)
    assert entry["accuracy"]["k"] == 32 and len(entry["accuracy"]["ci95"]) == 2
    assert set(entry["per_class"]) == set(CLASSES)
    assert entry["per_class"]["ig"]["sensitivity"]["k"] == 4
    assert entry["data"]["manifest_sha256"] == once["cells"]["data"]["manifest_sha256"]
    assert entry["warnings"] == once["cells"]["warnings"]
    assert "curves" not in entry and "mistakes" not in entry and "rows" in entry["confusion"]
    assert load("model1").description["metrics"] == "metrics.json"
    assert verify("model1").passed


def test_a_name_is_replaced_and_others_stay(models, once):
    record(once["cells"], "a", "model1")
    record(once["five"], "b", "model1")
    record(once["five"], "a", "model1")
    kept = read_metrics(load("model1"))
    assert list(kept) == ["a", "b"] and kept["a"]["among"] == list(FIVE)


def test_records_of_other_weights_are_discarded_with_a_warning(models, once, caplog):
    file = record(once["cells"], "old", "model1")
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "weights_sha256": "0" * 64}))
    assert not verify("model1").passed
    with caplog.at_level(logging.WARNING, "cellnet"):
        assert read_metrics(load("model1")) == {}
    assert "other weights" in caplog.text
    record(once["cells"], "new", "model1")
    assert list(read_metrics(load("model1"))) == ["new"] and verify("model1").passed


@pytest.mark.parametrize("content", ["[]", "{", '{"schema": "cellnet/metrics/2"}'])
def test_a_damaged_file_is_refused(models, once, content):
    (models / "model1" / "metrics.json").write_text(content)
    with pytest.raises(CellnetError, match="metrics.json.*measure again"):
        record(once["cells"], "a", "model1")
    assert not verify("model1").passed


def test_what_does_not_fit_is_refused(models, once):
    with pytest.raises(CellnetError, match="lower-case"):
        check("PBC test", "model1", None)
    with pytest.raises(CellnetError, match="differ in 'network'"):
        check("a", "model1", "dysplasianet")
    with pytest.raises(CellnetError, match="result is of the weights"):
        record(once["cells"], "a", "dysplasianet")


def sibling(models):
    """Other weights of Model 1's network, as those before they were quantised are."""
    import hashlib

    folder = models.parent / "float32"
    shutil.copytree(models / "model1", folder)
    weights = (folder / "model.tflite").read_bytes() + b"\0\0\0\0"
    (folder / "model.tflite").write_bytes(weights)
    told = json.loads((folder / "bundle.json").read_text())
    told["weights"] |= {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}
    (folder / "bundle.json").write_text(json.dumps(told))
    return folder


def test_other_weights_of_the_network_are_compared_and_never_claimed(models, once):
    other = sibling(models)
    result = {**once["cells"], "model": load(other).identity()}
    result["balanced_accuracy"] = {**result["balanced_accuracy"], "value": 0.98, "ci95": [0.9, 1.0]}
    record(once["cells"], "pbc-test", "model1")
    record(result, "float32", other, into="model1")
    assert not (other / "metrics.json").exists()
    text = blocks(load("model1"))["measured"]
    assert "`float32`" in text and "0.50 percentage points lost" in text
    assert "### float32" not in text
    assert "float32`" not in readme_table(models)


def test_a_card_is_made_filled_and_refreshed_around_the_judgement(models, once):
    record(once["cells"], "pbc-test", "model1", note="Painted cells")
    card = refresh("model1")
    text = card.read_text()
    parts = generated(text)
    assert parts == blocks(load("model1"))
    assert set(parts) == {"identity", "data", "training", "measured"}
    for heading in ("What it is", "Intended use", "Data", "Measured", "Limits", "Licence",
                    "Citation"):  # fmt: skip
        assert f"## {heading}" in text
    assert "| ig | 5 | 80.0 % (" in parts["measured"] and "n = 33 cells" in parts["measured"]
    assert "Caution: no patient" in parts["measured"]
    card.write_text(text.replace("## Limits\n", "## Limits\n\nA person's words.\n"))
    record(once["five"], "five", "model1")
    refresh("model1")
    text = card.read_text()
    assert "A person's words." in text and "forced among 5" in generated(text)["measured"]
    assert "sensitivity, forced" in text


def test_a_class_alone_is_told_as_what_it_is_called(models, once):
    record(once["alone"], "alone", "model1")
    text = blocks(load("model1"))["measured"]
    assert "called neutrophil: 100 % (" in text and "suppressed, g >= 2/3: 100 % (" in text


def test_the_card_of_a_granularity_network(models, once, caplog):
    record(once["cohort"], "cohort", "dysplasianet", note="A painted cohort")
    refresh("dysplasianet")
    parts = generated((models / "dysplasianet" / "CARD.md").read_text())
    assert "cell cut-off | 0.5000" in parts["operating point"]
    for words in ("`test-by-cell`, cells", "smears, as the program runs", "8 smears",
                  "sensitivity 100 % (", "of 4 MDS smears", "within a source cell"):  # fmt: skip
        assert words in parts["measured"]
    assert "another operating point" not in parts["measured"]
    point = models / "dysplasianet" / "operating_point.json"
    point.write_text(point.read_text().replace("2024-01-01", "2024-02-02"))
    assert "Measured at another operating point" in blocks(load("dysplasianet"))["measured"]
    point.unlink()
    assert "nothing can be decided" in blocks(load("dysplasianet"))["operating point"]


def test_the_interval_of_a_cut_stands_beside_it_where_it_is_known(models):
    point = models / "dysplasianet" / "operating_point.json"
    document = json.loads(point.read_text())
    document["cell"]["cut"] = {"value": 0.5, "ci95": [0.4, 0.61], "n": 100, "method": "bootstrap"}
    document["smear"]["cut"] = {
        "value": document["smear"]["threshold"], "ci95": None, "n": 9, "method": "bootstrap",
    }  # fmt: skip
    document["also"]["smear_by_known_neutrophils"] = {
        **document["smear"], "threshold": 0.2,
        "cut": {"value": 0.2, "ci95": [0.1, 0.3], "n": 9, "method": "bootstrap"},
    }  # fmt: skip
    point.write_text(json.dumps(document))
    told = blocks(load("dysplasianet"))["operating point"]
    assert "| cell cut-off | 0.5000 (0.4000 to 0.6100) | dysplastic" in told
    assert f"| smear threshold | {document['smear']['threshold']:.4f} | mds-suspected" in told
    assert "decides nothing) | 0.2000 (0.1000 to 0.3000) | mds-suspected" in told


def test_another_laboratorys_cells_are_not_said_to_stand_in_training(models, tmp_path):
    cohort = PaintedCohort(tmp_path / "cells")
    for label in CLASSES:
        cohort.cell("test", label, source_cell="")
    cells = cohort.write()
    for source, words in (("painted", "stand in training"), ("PBC", "of one patient, so the")):
        file = models / "model1" / "bundle.json"
        told = json.loads(file.read_text()) | {"data": {"cells": {"sources": [f"{source} (MIT)"]}}}
        file.write_text(json.dumps(told))
        warnings = evaluate("model1", cells, repeats=20, progress=False)["warnings"]
        assert any(words in text for text in warnings)


def test_data_and_recipe_are_told(models):
    pytest.importorskip("yaml")
    for name in ("model1", "dysplasianet"):
        shutil.copy(ROOT / "training" / f"{name}.yaml", models / name / "recipe.yaml")
        file = models / name / "bundle.json"
        told = json.loads(file.read_text())
        counts = {"train": {"neutrophil": 1600, "ig": 20}, "test": {"neutrophil": 1241}}
        told["data"] = {"cells": {"counts": counts, "sources": ["PBC (CC BY 4.0)"], "seed": 0}}
        told["training"] = {"epochs_run": 18}
        file.write_text(json.dumps(told))
        found = blocks(load(name))
        assert "| neutrophil | 1,600 | 1,241 |" in found["data"]
        assert "| all | 1,620 | 1,241 |" in found["data"] and "PBC (CC BY 4.0)" in found["data"]
        assert "| epochs run | 18 |" in found["training"]
        assert "view 1" in found["training"] and "any turn" in found["training"]
    assert "50 % of the neutrophils hypogranulated" in blocks(load("model1"))["training"]
    assert "until val_accuracy reaches 99.5 %" in found["training"]


def test_marks_are_replaced_or_refused():
    text = "before\n<!-- a b: begin -->\nold\n<!-- a b: end -->\nafter\n"
    new = replace(text, "a b", "new\n\nlines")
    assert new == text.replace("old", "new\n\nlines") and replace(new, "a b", "old") == text
    assert generated(new) == {"a b": "new\n\nlines"}
    assert replace("words\n", "data", "x").endswith(
        "## Data\n\n<!-- data: begin -->\nx\n<!-- data: end -->\n"
    )
    for wrong in (text.replace("<!-- a b: end -->", ""), text + text):
        with pytest.raises(CellnetError, match="once each"):
            replace(wrong, "a b", "new")


def test_shares_are_never_rounded_to_certainty():
    assert share(1.0) == "100 %" and share(0.0) == "0 %" and share(0.1) == "10.0 %"
    assert share(0.9997) == "99.97 %" and share(0.9854) == "98.5 %" and share(0.00004) == "0.004 %"
    assert share([0.97, 1]) == "97.0 to 100" and share(None) == "not measurable"
    assert table(["a", "b"], [["1|2", "x\ny"]], right=(1,)) == (
        "| a | b |\n| --- | ---: |\n| 1\\|2 | x y |"
    )


def test_the_readmes_table(models, once, tmp_path):
    assert "No trained model" in readme_table(tmp_path / "none")
    record(once["cells"], "pbc-test", "model1", note="Painted cells")
    text = readme_table(models)
    assert "[**model1**](models/model1/CARD.md)" in text and "Painted cells (`test`)" in text
    assert "| not measured |" in text
    assert text.index("model1") < text.index("dysplasianet")


def test_commands_record_and_refresh(models, tmp_path, capsys):
    cohort = painted_cohort(tmp_path / "cohort").write()
    assert main(["calibrate", "dysplasianet", str(cohort.root)]) == 0
    card = models / "dysplasianet" / "CARD.md"
    assert "fitted on" in card.read_text()
    command = ["evaluate", "dysplasianet", str(cohort.root)]
    assert main([*command, "--record", "cohort", "--note", "A painted cohort"]) == 0
    assert "A painted cohort" in card.read_text()
    assert verify("dysplasianet").passed
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--note", "lost"])
    assert "--record NAME" in capsys.readouterr().err
    assert main([*command, "--record", "A B"]) == 1
    assert "lower-case" in capsys.readouterr().err
    out = tmp_path / "point.json"
    before = card.read_text()
    assert main(["calibrate", "dysplasianet", str(cohort.root), "--out", str(out)]) == 0
    assert card.read_text() == before


# --- what is shipped --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_says_what_its_files_say(name):
    pytest.importorskip("yaml")
    bundle = load(ROOT / "models" / name)
    card = (bundle.folder / "CARD.md").read_text(encoding="utf-8")
    assert generated(card) == blocks(bundle), "run: python tests/release.py cards"
    assert read_metrics(bundle), f"nothing is recorded of {name}"


def test_the_readme_says_what_was_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert generated(readme)[README_BLOCK] == readme_table(ROOT / "models")
