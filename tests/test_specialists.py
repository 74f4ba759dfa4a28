"""Specialists: cells of a class go on to other networks, as YAML says, and decide nothing."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from bundles import make_bundle, make_bundles, make_operating_point, make_specialist, paint_cell
from bundles import paint_smear as paint
from painted_cohort import PaintedCohort

from cellnet.bundle import load, sha256_of
from cellnet.calibrate import load_classifier
from cellnet.cli import main
from cellnet.errors import CellnetError
from cellnet.evaluate import evaluate
from cellnet.evaluation_page import summary
from cellnet.manifest import Row
from cellnet.predict import predict_smear, predict_smears
from cellnet.record import read_metrics
from cellnet.scoring import CellReader, score_files
from cellnet.smear import CellRow, Opinion, Specialist, judge, name_cell
from cellnet.smear_page import smear_page
from cellnet.smears import SmearReader
from cellnet.specialists import declared
from cellnet.truth import places_of, unknown_labels
from cellnet.verify import read_schema, verify

MODELS = Path(__file__).resolve().parents[1] / "models"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The models folder: both networks, and one that tells early from late neutrophils."""
    folder = make_bundles(tmp_path / "models")
    make_specialist(folder, "maturity", of="neutrophil")
    monkeypatch.setenv("CELLNET_MODELS", str(folder))
    return folder


@pytest.fixture
def mine(tmp_path):
    """A laboratory's own folder with a network for lymphocytes."""
    make_specialist(tmp_path / "mine", "kinds", ("reactive", "blast", "normal"))
    return tmp_path / "mine"


@pytest.fixture
def smear(tmp_path) -> Path:
    """12 neutrophils with much blue (late), 4 with little (early), 8 lymphocytes (normal)."""
    return paint(tmp_path / "smear", normal=12, dysplastic=4, lymphocytes=8)


def declare(folder: Path, text: str, name: str = "specialists.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


# --- from outside ------------------------------------------------------------------------------


def test_a_few_lines_of_yaml_plug_a_network_in(home, mine, smear, tmp_path, capsys):
    file = declare(mine, "neutrophil: [dysplasianet, maturity]\nlymphocyte: kinds  # beside me\n")
    words = ["predict-smear", str(smear)]
    assert main([*words, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    words += ["--specialists", str(file)]
    table, page = tmp_path / "cells.csv", tmp_path / "report.html"
    assert main([*words, "--json", "--csv", str(table), "--html", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, read_schema("smear-report"))

    assert document["specialists"] == {
        "maturity": {
            "of": "neutrophil",
            "cells": 16,
            "counts": {"early": 4, "late": 12, "other": 0},
            "fractions": {"early": 0.25, "late": 0.75, "other": 0.0},
        },
        "kinds": {
            "of": "lymphocyte",
            "cells": 8,
            "counts": {"reactive": 0, "blast": 0, "normal": 8, "other": 0},
            "fractions": {"reactive": 0.0, "blast": 0.0, "normal": 1.0, "other": 0.0},
        },
    }
    assert list(document["models"]) == ["model1", "dysplasianet", "maturity", "kinds"]
    assert document["models"]["kinds"] == load(mine / "kinds").identity()
    for cell in document["cells"]:
        said = cell["specialists"]
        assert list(said) == [{"neutrophil": "maturity", "lymphocyte": "kinds"}[cell["label"]]]
        (told,) = said.values()
        assert told["probability"] == max(told["probabilities"].values()) > 0.5
        assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    # Nothing else has changed: what was decided, of which cells, with which numbers.
    for part in (document, *document["cells"]):
        del part["specialists"]
    del document["models"]["maturity"], document["models"]["kinds"]
    assert document == before

    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 24
    of_kind = {row["label"]: row for row in rows}
    assert of_kind["neutrophil"]["maturity"] in ("early", "late")
    assert of_kind["neutrophil"]["kinds"] == of_kind["neutrophil"]["kinds: blast"] == ""
    assert float(of_kind["lymphocyte"]["kinds: normal"]) > 0.5
    assert of_kind["lymphocyte"]["maturity: probability"] == ""

    html = page.read_text()
    assert "Neutrophils, 16 cells, by maturity" in html
    assert "Lymphocytes, 8 cells, by kinds" in html
    assert html.count('<abbr title="maturity"') == 16
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "16 cells of the class neutrophil, by maturity\n  early            4   25.0 %" in text
    assert "kinds 0.0.1" in text


def test_the_file_beside_the_naming_bundle_is_the_default(home, smear):
    plain = json.dumps(predict_smear(smear).to_dict())
    declare(home / "model1", "# the shipped one\nneutrophil: dysplasianet\n")
    assert json.dumps(predict_smear(smear).to_dict()) == plain
    declare(home / "model1", "neutrophil: maturity\n")
    assert list(predict_smear(smear).specialist_counts) == ["maturity"]
    other = make_bundle(home.parent / "other", "model1")
    assert not predict_smear(smear, model1=other).specialists
    # Nobody in the file, nobody in the mapping: DysplasiaNet decides all the same.
    empty = declare(home, "# nobody\n", "empty.yaml")
    for nobody in (empty, {}):
        assert json.dumps(predict_smear(smear, specialists=nobody).to_dict()) == plain


def test_another_granularity_network_may_decide_and_the_option_wins(home, smear, tmp_path, capsys):
    other = make_bundle(tmp_path / "lab", "dysplasianet")
    told = json.loads((other / "bundle.json").read_text())
    told["version"] = "7.0.0"
    # Other weights: a flatbuffer may end in bytes that nobody reads.
    weights = (other / "model.tflite").read_bytes() + b"\0\0\0\0"
    (other / "model.tflite").write_bytes(weights)
    import hashlib

    told["weights"].update(sha256=hashlib.sha256(weights).hexdigest(), bytes=len(weights))
    (other / "bundle.json").write_text(json.dumps(told))
    make_operating_point(other)
    file = declare(tmp_path / "lab", "neutrophil: [maturity, ./dysplasianet]\n")
    words = ["predict-smear", str(smear), "--json", "--specialists", str(file)]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["models"]["dysplasianet"]["version"] == "7.0.0"
    assert main([*words, "--dysplasianet", "dysplasianet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["models"]["dysplasianet"]["version"] == "0.0.1"
    assert list(document["specialists"]) == ["maturity"]


def test_a_cohort_goes_on_with_the_same_specialists_alone(home, mine, tmp_path):
    for number in range(2):
        paint(tmp_path / "cohort" / f"s{number}", normal=12, dysplastic=number, lymphocytes=2)
    cohort, out = tmp_path / "cohort", tmp_path / "out.jsonl"
    both = {"neutrophil": "maturity", "lymphocyte": mine / "kinds"}
    predict_smears(cohort, out, specialists=both)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    for line in lines:
        jsonschema.validate(line, read_schema("smear-report"))
        line.pop("images_sha256")
    assert lines == [predict_smear(cohort / f"s{n}", specialists=both).to_dict() for n in range(2)]
    before = out.read_bytes()
    assert predict_smears(cohort, out, specialists=both).present == 2
    assert out.read_bytes() == before
    with pytest.raises(CellnetError, match=r"made with models .*kinds 0.0.1.*but now it is model1"):
        predict_smears(cohort, out)
    # The same networks, but another class's cells.
    with pytest.raises(CellnetError, match="kinds for lymphocyte, but now.*kinds for monocyte"):
        predict_smears(
            cohort, out, specialists={"neutrophil": "maturity", "monocyte": mine / "kinds"}
        )
    assert out.read_bytes() == before
    plain = tmp_path / "plain.jsonl"
    predict_smears(cohort, plain)
    with pytest.raises(CellnetError, match="made with models"):
        predict_smears(cohort, plain, specialists=both)


def test_predict_names_with_the_specialists_own_classes(home, mine, tmp_path, capsys):
    for number, granularity in enumerate((0.05, 0.5, 0.95)):
        paint_cell(tmp_path / "cells" / f"{number}.png", "lymphocyte", granularity)
    words = ["predict", str(tmp_path / "cells"), "--model", str(mine / "kinds")]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, read_schema("predictions"))
    assert [cell["label"] for cell in document["cells"]] == ["reactive", "blast", "normal"]
    assert list(document["cells"][0]["probabilities"]) == ["reactive", "blast", "normal"]
    assert main([*words, "--csv", str(tmp_path / "a.csv")]) == 0
    header = (tmp_path / "a.csv").read_text().splitlines()[0]
    assert header == "file,label,probability,reactive,blast,normal"
    assert main(words) == 0
    assert "0.png  reactive" in capsys.readouterr().out


def test_a_cell_that_no_class_holds_for_is_other(home, tmp_path):
    (bundle,) = [load(home / "maturity")]
    one = Specialist("maturity", "neutrophil", bundle.classes)
    assert Opinion.of(one, [0.5, 0.5]).label == "other"
    assert Opinion.of(one, np.array([0.25, 0.75], np.float32)).to_dict() == {
        "label": "late", "probability": 0.75, "probabilities": {"early": 0.25, "late": 0.75},
    }  # fmt: skip
    assert name_cell([0.4, 0.3, 0.3], ("a", "b", "c")) == ("other", 0.4)
    with pytest.raises(CellnetError, match="a cell has 2 probabilities"):
        Opinion.of(one, [0.2, 0.3, 0.5])


def test_without_a_cell_of_the_class_shares_are_unknown(home, tmp_path):
    folder = paint(tmp_path / "none", normal=0, lymphocytes=3)
    report = predict_smear(folder, specialists={"neutrophil": "maturity"})
    document = report.to_dict()
    jsonschema.validate(document, read_schema("smear-report"))
    assert document["specialists"]["maturity"]["cells"] == 0
    assert set(document["specialists"]["maturity"]["fractions"].values()) == {None}
    assert "specialists" not in document["cells"][0]
    assert "Neutrophils, 0 cells, by maturity" in smear_page(report, folder)


def test_a_specialist_is_measured_on_its_own_classes(home, tmp_path):
    cohort = PaintedCohort(tmp_path / "cells")
    for number in range(6):
        early = number % 2 == 0
        subtype = "band neutrophil" if early else "segmented neutrophil"
        cohort.cell("test", score=0.1 if early else 0.9, subtype=subtype, source_cell="")
    cohort.cell("test", score=0.9, subtype="band neutrophil", source_cell="")  # a mistake
    cohort.cell("test", "monocyte", source_cell="")
    manifest = cohort.write()
    file = home / "maturity" / "bundle.json"
    told = json.loads(file.read_text())
    told["output"]["labels"] = {"early": ["band neutrophil"], "late": ["segmented neutrophil"]}
    file.write_text(json.dumps(told))
    found = evaluate("maturity", manifest, repeats=20, progress=False,
                     html=tmp_path / "page.html", out=tmp_path / "page.json")  # fmt: skip
    assert found["kind"] == "classes" and found["n"] == 7
    assert found["confusion"] == {
        "rows": ["early", "late"],
        "columns": ["early", "late", "other"],
        "counts": [[3, 1, 0], [0, 3, 0]],
    }
    assert found["left_out"] == {"monocyte": 1}
    assert found["per_class"]["early"]["sensitivity"]["k"] == 3
    assert found["per_class"]["late"]["auc"]["value"] > 0.8
    (mistake,) = found["mistakes"]
    assert (mistake["truth"], mistake["called"]) == ("early", "late")
    assert "early: sensitivity" in summary(found)
    page = (tmp_path / "page.html").read_text()
    assert "late" in page and "of the eight" not in page and "hesis" not in page
    assert verify("maturity").passed
    with pytest.raises(CellnetError, match="tells early, late apart"):
        evaluate("maturity", manifest, among="five", progress=False)
    with pytest.raises(CellnetError, match="no cell of the classes reactive"):
        evaluate(load(make_specialist(tmp_path, "kinds", ("reactive", "blast"))), manifest,
                 progress=False)  # fmt: skip


def test_what_needs_the_eight_refuses_a_specialist(home, smear, capsys):
    message = "names the classes basophil, .* is needed here, but .*maturity.* names early, late"
    for call in (
        lambda: predict_smear(smear, model1="maturity"),
        lambda: CellReader(load("maturity"), load("dysplasianet")),
        lambda: load_classifier("maturity"),
    ):
        with pytest.raises(CellnetError, match=message):
            call()
    assert main(["predict-smear", str(smear), "--model1", "maturity"]) == 1
    assert "is needed here" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "maturity", str(smear), "--among", "five"])
    assert end.value.code == 2 and "does not name them" in capsys.readouterr().err


def test_the_server_asks_no_specialist(home):
    declare(home / "model1", "neutrophil: maturity\n")
    assert list(SmearReader().models) == ["model1", "dysplasianet", "maturity"]
    # As `cellnet serve` opens it: tests/test_server.py shows what it answers.
    reader = SmearReader("model1", "dysplasianet", specialists={})
    assert list(reader.models) == ["model1", "dysplasianet"]
    with pytest.raises(SystemExit) as end:
        main(["serve", "--specialists", "a.yaml"])
    assert end.value.code == 2


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neutrophil: [", "no valid YAML"),
        ("- dysplasianet", "must say by class which bundles"),
        ("dysplasianet", "must say by class which bundles"),
        ("neutrophile: maturity", "there is no class 'neutrophile'; the classes are basophil"),
        ("other: maturity", "there is no class 'other'"),
        ("5: maturity", "there is no class 5"),
        ("neutrophil:", "must name a bundle, or a list of them, got None"),
        ("neutrophil: []", r"must name a bundle, or a list of them, got \[\]"),
        ("neutrophil: {a: b}", "must name a bundle, or a list of them"),
        ("neutrophil: [maturity, 3]", "by its name or path, got 3"),
        ("neutrophil: ['']", "by its name or path, got ''"),
        ("neutrophil: maturity\nneutrophil: dysplasianet", "a class stands there twice"),
        ("neutrophil: maturitty", "'maturitty', which is no bundle.*maturity, model1"),
        ("neutrophil: ../nowhere/kinds", "'../nowhere/kinds', which is no bundle: there is no"),
        ("lymphocyte: maturity", "for the class neutrophil .'output.of'"),
        ("lymphocyte: dysplasianet", "answers a granularity score; that is for neutrophils"),
        ("neutrophil: [maturity, maturity]", "to which neutrophil goes on already"),
        ("lymphocyte: ./kinds\nmonocyte: ./kinds", "to which lymphocyte goes on already"),
        ("neutrophil: [dysplasianet, ./second]", "two granularity networks"),
        ("neutrophil: model1", "which named the cell: a circle"),
        ("neutrophil: ./chief", "has specialists of its own.*cells go on once"),
        ("neutrophil: ./maturity", "a second network that is called maturity"),
        ("lymphocyte: ./posing", "a second network that is called model1"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_hold(home, mine, smear, text, message, capsys):
    for name in ("second", "chief", "twin"):
        make_specialist(mine, name)
    declare(mine / "chief", "neutrophil: maturity\n")
    rename(make_specialist(mine, "posing"), "model1")
    if "second" in text:
        shutil.rmtree(mine / "second")
        shutil.copytree(home / "dysplasianet", mine / "second")
        change_weights(mine / "second")
    if "./maturity" in text:
        # Found in the models folder first, so only a path leads to this one.
        text = "neutrophil: [maturity, ./twin]"
        rename(change_weights(mine / "twin"), "maturity")
    file = declare(mine, text)
    with pytest.raises(CellnetError, match=message) as caught:
        predict_smear(smear, specialists=file)
    assert "\n" not in str(caught.value)
    assert main(["predict-smear", str(smear), "--specialists", str(file)]) == 1
    assert "cellnet: error: " in capsys.readouterr().err


def rename(bundle: Path, name: str) -> Path:
    told = json.loads((bundle / "bundle.json").read_text())
    told["name"] = name
    (bundle / "bundle.json").write_text(json.dumps(told))
    return bundle


def change_weights(bundle: Path) -> Path:
    """The same network in other bytes: a flatbuffer may end in some that nobody reads."""
    import hashlib

    weights = (bundle / "model.tflite").read_bytes() + b"\0\0\0\0"
    (bundle / "model.tflite").write_bytes(weights)
    told = json.loads((bundle / "bundle.json").read_text())
    told["weights"].update(sha256=hashlib.sha256(weights).hexdigest(), bytes=len(weights))
    (bundle / "bundle.json").write_text(json.dumps(told))
    return bundle


def test_a_missing_file_and_a_mapping_that_does_not_hold(home, smear):
    with pytest.raises(CellnetError, match="cannot read the specialists .*gone.yaml: No such file"):
        predict_smear(smear, specialists="gone.yaml")
    with pytest.raises(CellnetError, match="cannot read the specialists"):
        predict_smear(smear, specialists=home)
    for given, message in (
        ({"neutrofil": "maturity"}, "there is no class 'neutrofil'"),
        ({"neutrophil": "maturitty"}, "no model is called 'maturitty'"),
        ({"neutrophil": 3}, "must name a bundle, or a list of them, got 3"),
    ):
        with pytest.raises(CellnetError, match=message):
            predict_smear(smear, specialists=given)


def test_names_are_found_in_the_models_folder_then_beside_the_file(home, mine):
    naming = load("model1")
    make_specialist(mine, "maturity", ("old", "young"))
    file = declare(mine, "neutrophil: maturity\n")
    ((one, bundle),) = declared(naming, file).others
    assert one == Specialist("maturity", "neutrophil", ("early", "late"))
    assert bundle.folder == home / "maturity"
    for text in ("neutrophil: ./maturity", f"neutrophil: [{mine / 'maturity'}]"):
        ((one, _),) = declared(naming, declare(mine, text)).others
        assert one.classes == ("old", "young")
    ((_, bundle),) = declared(naming, declare(mine, "lymphocyte: kinds")).others
    assert bundle.folder == mine / "kinds"
    loaded = load(mine / "kinds")
    assert declared(naming, {"lymphocyte": [loaded]}).others[0][1] is loaded


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"classes": ["early"]}, "two or more are needed"),
        ({"classes": ["early", "early"]}, "each must be another one"),
        ({"classes": ["early", "other"]}, "'other' is what a cell is called"),
        ({"classes": ["early", "Late"]}, "small letters"),
        ({"classes": ["early", "<b>"]}, "small letters"),
        ({"classes": ["early", 3]}, "small letters"),
        ({"classes": None}, "two or more are needed"),
        ({"of": "neutrophile"}, "'output.of' must be a class of Model 1"),
        ({"labels": {"middle": ["x"]}}, "'output.labels' must be"),
        ({"labels": {"early": "x"}}, "'output.labels' must be"),
        ({"kind": "granularity"}, "'output.classes' must be left out"),
    ],
)
def test_a_bundle_that_breaks_the_rules_of_its_classes(home, output, message):
    file = home / "maturity" / "bundle.json"
    told = json.loads(file.read_text())
    told["output"].update(output)
    file.write_text(json.dumps(told))
    with pytest.raises(CellnetError, match=message):
        load("maturity")
    assert not verify("maturity").passed


def test_the_eight_are_for_every_cell(home):
    file = home / "model1" / "bundle.json"
    told = json.loads(file.read_text())
    told["output"]["of"] = "neutrophil"
    file.write_text(json.dumps(told))
    with pytest.raises(CellnetError, match="in a bundle with classes of its own"):
        load("model1")


def test_more_outputs_than_classes_are_found(home, smear):
    file = home / "maturity" / "bundle.json"
    told = json.loads(file.read_text())
    told["output"]["classes"] = ["early", "middle", "late"]
    file.write_text(json.dumps(told))
    assert not verify("maturity").passed
    with pytest.raises(CellnetError):
        predict_smear(smear, specialists={"neutrophil": "maturity"})


def test_rows_are_judged_with_what_was_said_of_them():
    """Counts by hand, without an image."""
    from cellnet.operating_point import OperatingPoint

    one = Specialist("kinds", "lymphocyte", ("a", "b"))
    lymphocyte = [0, 0, 0, 0, 1, 0, 0, 0]
    rows = [
        CellRow.of(f"{n}.png", lymphocyte, None, 0.5, {"kinds": Opinion.of(one, values)})
        for n, values in enumerate([(0.9, 0.1), (0.5, 0.5), (0.2, 0.8), (0.6, 0.4)])
    ]
    report = judge("s", rows, OperatingPoint(0.5, 0.1), specialists=[one])
    assert report.specialist_counts["kinds"]["counts"] == {"a": 2, "b": 1, "other": 1}
    assert report.specialist_counts["kinds"]["fractions"]["other"] == 0.25


def test_classes_are_made_of_labels_or_sub_types(tmp_path):
    cohort = PaintedCohort(tmp_path)
    cohort.cell("test", "lymphocyte", subtype="Reactive")
    cohort.cell("test", "monocyte")
    cohort.cell("test", "neutrophil", subtype="band neutrophil")
    manifest = cohort.write()
    rows: list[Row] = manifest.rows
    assert places_of({"x": ["reactive"], "y": ["monocyte"]}, rows, manifest) == [0, 1, None]
    assert places_of({"x": ["lymphocyte", "monocyte"], "y": ["Band Neutrophil"]}, rows, manifest) \
        == [0, 0, 1]  # fmt: skip
    with pytest.raises(CellnetError, match="is of two classes: its label 'lymphocyte' makes it y"):
        places_of({"x": ["reactive"], "y": ["lymphocyte"]}, rows, manifest)
    assert unknown_labels({"x": ["Reactive", "ig"], "y": ["band neutrophil"]}) == ["reactive"]


# --- training ----------------------------------------------------------------------------------


def recipe_of(**changes):
    pytest.importorskip("pydantic", reason="recipes need the training extra")
    from cellnet.recipe import Recipe

    return Recipe.model_validate(
        {
            "name": "kinds",
            "source": "a test",
            "target": "class",
            "classes": {"mature": ["lymphocyte", "segmented neutrophil"], "young": ["blast"]},
            "network": {"name": "dysplasianet"},
            "data": {"adapter": "folder", "seed": 0, "per_class": 5},
            "views": [{"share": 1.0}],
            "training": {
                "epochs": 1,
                "batch": 2,
                "precision": "float32",
                "learning_rate": 0.001,
                "schedule": "constant",
                "monitor": "val_accuracy",
                "seed": 0,
            },
            **changes,
        }
    )


@pytest.fixture
def own_folder(class_folders) -> Path:
    """Lymphocytes and blasts, and monocytes that belong to no class."""
    folder = class_folders(12, ["lymphocyte", "erythroblast", "monocyte"])
    (folder / "erythroblast").rename(folder / "Blast")
    return folder


def test_a_plain_folder_trains_classes_of_ones_own(own_folder, tmp_path):
    from cellnet.training_set import assemble

    (tmp_path / "run").mkdir()
    recipe = recipe_of()
    assert recipe.network.arguments == {"classes": 2}
    sets = assemble(recipe, own_folder, tmp_path / "run")
    assert sets.classes == ("mature", "young")
    assert [(pool.label, pool.draws) for pool in sets.pools] == [(0, 5), (1, 5)]
    for pool, folder in zip(sets.pools, ("lymphocyte", "Blast"), strict=True):
        assert pool.paths and {path.parent.name for path in pool.paths} == {folder}
    counts = sets.about["cells"]["counts"]
    assert set(counts) == {"train", "validation", "test"}
    assert all(set(found) == {"mature", "young"} for found in counts.values())
    assert sum(sum(found.values()) for found in counts.values()) == 24
    trained = {path for pool in sets.pools for path in pool.paths}
    assert len(sets.validation_labels) == len(sets.validation_paths) > 0
    assert not trained & set(sets.validation_paths)
    assert {len(sets.seen[side]) for side in sets.seen} == {
        len(trained), len(sets.validation_paths)
    }  # fmt: skip
    # The same again, of what was prepared before.
    assert assemble(recipe, own_folder, tmp_path / "run") == sets


def test_a_class_without_cells_is_named(own_folder, tmp_path):
    from cellnet.training_set import assemble

    for name in ("reactive", "segmented neutrophil"):
        (tmp_path / name).mkdir()
        recipe = recipe_of(classes=["lymphocyte", name])
        with pytest.raises(CellnetError, match=f"no {name} .{name}. on the side 'train'") as caught:
            assemble(recipe, own_folder, tmp_path / name)
        assert "are lymphocyte, monocyte, its sub-types not known" in str(caught.value)
        assert f"add cells of {name} from other patients" in str(caught.value)


def test_prepare_knows_the_folders_that_it_is_told(own_folder, tmp_path, capsys):
    words = ["data", "prepare", str(own_folder), "--adapter", "folder", "--out"]
    assert main([*words, str(tmp_path / "eight")]) == 0
    assert "12 images: the folder 'Blast' is named after no class" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "mine"), "--also", "blast"]) == 0
    assert "blast" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main([*words, str(tmp_path / "x"), "--also", "blast,,"])
    assert end.value.code == 2 and "names with commas between" in capsys.readouterr().err


# --- the shipped ones --------------------------------------------------------------------------


def test_what_is_shipped_declares_dysplasianet_alone(monkeypatch):
    monkeypatch.setenv("CELLNET_MODELS", str(MODELS))
    found = declared(load("model1"))
    assert found.granularity.folder == MODELS / "dysplasianet" and not found.others
    # By a parser too, for which the default spares the time.
    again = declared(load("model1"), {"neutrophil": "dysplasianet"})
    assert again.granularity.identity() == found.granularity.identity() and not again.others


def test_the_second_specialist_is_whole_and_small():
    bundle = load(MODELS / "neutrophil-maturity")
    assert verify(bundle.folder).passed
    assert (bundle.classes, bundle.of) == (("band", "segmented"), "neutrophil")
    assert bundle.labels == {"band": ("band neutrophil",), "segmented": ("segmented neutrophil",)}
    assert bundle.weights.stat().st_size < 500_000
    assert set(bundle.description["data"]["cells"]["counts"]["test"]) == {"band", "segmented"}
    card = (bundle.folder / "CARD.md").read_text(encoding="utf-8")
    for told in ("one laboratory", "matter of opinion", "names no patient"):
        assert told in card


def test_the_results_are_those_that_were_recorded():
    specialists = pytest.importorskip("specialists", reason="needs the training extra")
    from cellnet.card import generated

    bundle = load(MODELS / "neutrophil-maturity")
    (entry,) = read_metrics(bundle).values()
    assert entry["split"] == "test" and entry["seen"]["model"] == {"train": 0, "validation": 0}
    counts = bundle.description["data"]["cells"]["counts"]
    assert entry["n"] == sum(counts["test"].values())
    shown = generated(specialists.ROOT.joinpath("docs/results.md").read_text(encoding="utf-8"))
    assert shown[specialists.MARKS] == specialists.section(bundle)


@pytest.mark.slow
def test_real_cells_are_named_as_well_as_was_recorded(shared_data):
    from release import DIGITS, read_split

    split, chosen = read_split(), []
    for prefix, name in (("BNE", "band"), ("SNE", "segmented")):
        files = sorted((shared_data / "pbc" / "neutrophil").glob(f"{prefix}_*.jpg"))
        of_test = (
            file for file in files
            if split.get(sha256_of(file)[:DIGITS], ("", ""))[1] == "test"
        )  # fmt: skip
        chosen += [(file, name) for file, _ in zip(of_test, range(60), strict=False)]
    bundle = load(MODELS / "neutrophil-maturity")
    answers = score_files(bundle, [file for file, _ in chosen])
    right = [
        name_cell(answer, bundle.classes)[0] == name
        for (_, answer), (_, name) in zip(answers, chosen, strict=True)
    ]
    (entry,) = read_metrics(bundle).values()
    assert len(right) == 120
    # Four standard errors of a share of 120 cells, at most.
    assert np.mean(right) == pytest.approx(entry["balanced_accuracy"]["value"], abs=0.15)


# --- the page for a laboratory -----------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[1] / "docs" / "specialists.md"

#: What makes the page's recipe a small one: the same keys, other numbers.
SMALL = {
    "per_class: 1000": "per_class: 8",
    "epochs: 40": "epochs: 2",
    "width: 16": "width: 2",
    "batch: 16": "batch: 8",
}


@pytest.fixture
def laboratory(tmp_path, monkeypatch, class_folders) -> Path:
    """A folder as the page describes it, with drawn cells that stand in for kinds."""
    from cellnet.draw import draw_smear

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLNET_MODELS", str(MODELS))
    stand_ins = {"normal": "lymphocyte", "Reactive": "monocyte", "blast": "erythroblast"}
    class_folders(12, stand_ins.values(), name="lymphocytes")
    for kind, drawn in stand_ins.items():
        (tmp_path / "lymphocytes" / drawn).rename(tmp_path / "lymphocytes" / kind)
    class_folders(2, ["lymphocyte"], name="new-lymphocytes")
    for number in (1, 2):
        draw_smear(tmp_path / "smears" / f"smear-{number}", number, cells=24)
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run(laboratory, capsys):
    pytest.importorskip("tensorflow", reason="training needs the training extra")
    from test_readme import blocks, commands

    text = PAGE.read_text(encoding="utf-8")
    recipe, declaration = (content for language, content in blocks(text) if language == "yaml")
    for shown, small in SMALL.items():
        assert recipe.count(shown) == 1
        recipe = recipe.replace(shown, small)
    (laboratory / "lymphocyte-kinds.yaml").write_text(recipe)
    (laboratory / "specialists.yaml").write_text(declaration)
    typed = commands(text)
    assert len(typed) == 9
    for command in typed:
        program, *words = command.split()
        assert program == "cellnet"
        assert main(words) == 0, (command, capsys.readouterr().err)
    (code,) = (content for language, content in blocks(text) if language == "python")
    exec(code, {})
    out = capsys.readouterr().out

    bundle = load("runs/lymphocyte-kinds/bundle")
    assert bundle.classes == ("normal", "reactive", "blast") and bundle.of == "lymphocyte"
    assert bundle.description["seen"]["images"]["train"] > 0
    counts = bundle.description["data"]["cells"]["counts"]
    assert set(counts["train"]) == {"normal", "reactive", "blast"}
    reports = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    assert len(reports) == 2
    for report in reports:
        jsonschema.validate(report, read_schema("smear-report"))
        assert list(report["specialists"]) == ["neutrophil-maturity", "lymphocyte-kinds"]
        named = report["specialists"]["lymphocyte-kinds"]
        assert named["cells"] == report["differential"]["lymphocyte"]["count"]
        assert sum(named["counts"].values()) == named["cells"]
    assert str(reports[0]["specialists"]["lymphocyte-kinds"]["counts"]) in out
    assert "by lymphocyte-kinds" in Path("report.html").read_text()
    assert "lymphocyte-kinds: blast" in Path("cells.csv").read_text().splitlines()[0]
    explained = json.loads(Path("explained/explanations.json").read_text())
    assert explained["targets"] == ["normal", "reactive", "blast"]
    assert {cell["label"] for cell in explained["cells"]} <= {"normal", "reactive", "blast"}


@pytest.mark.slow
def test_a_specialist_is_exported_as_it_answers(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="exports need the training extra")
    from cellnet.export import export

    monkeypatch.setenv("CELLNET_MODELS", str(MODELS))
    for to in ("litert", "tfjs"):
        told = export("neutrophil-maturity", to, tmp_path / to)
        assert told["classes"] == ["band", "segmented"]
        assert told["outputs"]["answer"]["shape"] == [None, 2]
        jsonschema.validate(told, read_schema("export"))
