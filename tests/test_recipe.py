"""Recipes: what is shipped holds, and what does not hold says which key is wrong."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip("pydantic", reason="recipes need the training extra")

from cellnet.cli import main
from cellnet.errors import CellnetError
from cellnet.recipe import read_recipe, write_recipe
from cellnet.study import read_study
from cellnet.transfer_recipe import read_transfer

TRAINING = Path(__file__).parents[1] / "training"


def reader(path: Path):
    """Who reads a recipe of `training/`: one training, a study of candidates, or a transfer."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "kind" in content:
        return read_transfer
    return read_study if "candidates" in content else read_recipe


SHIPPED = sorted(TRAINING.glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_holds(path):
    assert reader(path)(path).name == path.stem


@pytest.mark.parametrize(
    "path", [it for it in SHIPPED if reader(it) is read_recipe], ids=lambda path: path.stem
)
def test_shipped_recipes_hold_and_survive_a_round_trip(path, tmp_path):
    recipe = read_recipe(path)
    write_recipe(recipe, tmp_path / "again.yaml")
    assert read_recipe(tmp_path / "again.yaml") == recipe


def test_the_thesis_is_in_the_recipes():
    dysplasianet = read_recipe(TRAINING / "dysplasianet.yaml")
    assert dysplasianet.data.per_class == 3000
    assert (dysplasianet.training.stop_at, dysplasianet.training.epochs) == (0.995, 100)
    assert read_recipe(TRAINING / "model1.yaml").data.hypogranulated == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("  batch: 32", "  batch: 0"), "training.batch"),
        (("  batch: 32", "  batsch: 32"), "training.batsch is no key of it; did you mean batch?"),
        (("    zoom: [0.85, 1.5]", "    zooom: 1"), "zooom is no key of it; did you mean zoom?"),
        (
            ("training:", "xyz: 1\ntraining:"),
            "xyz is no key of it; the keys there are name, source",
        ),
        (("  batch: 32", "  xyz: 32"), "the keys there are epochs, batch, precision"),
        (("target: granularity", "target: colour"), "target"),
        (("  name: dysplasianet", "  name: model2"), "network.name"),
        (("    zoom: [0.85, 1.5]", "    zoom: [1.5, 0.85]"), "zoom must be"),
        (("    zoom: [0.85, 1.5]", "    zoom: [0, 1]"), "zoom must be"),
        (("name: dysplasianet\nsource", "name: ../up\nsource"), "name"),
        (("training:", "training: ["), "no valid YAML"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, change, message):
    text = (TRAINING / "dysplasianet.yaml").read_text()
    assert change[0] in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(*change))
    with pytest.raises(CellnetError, match="wrong.yaml") as error:
        read_recipe(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_recipe, read_study, read_transfer])
@pytest.mark.parametrize(
    ("text", "message"),
    [("", "does not hold: it is empty"), ("# to come", "it is empty"), ("- a", "it holds no keys")],
)
def test_a_recipe_without_keys(text, message, read, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CellnetError, match=message):
        read(tmp_path / "a.yaml")


def test_parts_of_a_recipe_without_keys(tmp_path):
    text = (TRAINING / "dysplasianet.yaml").read_text()
    end = text.index("training:")
    for part, message in (("training:\n", "it is empty"), ("training: 3\n", "it holds no keys")):
        (tmp_path / "a.yaml").write_text(text[:end] + part)
        with pytest.raises(CellnetError, match=f"training: {message}"):
            read_recipe(tmp_path / "a.yaml")


def test_keys_of_a_study_and_of_a_transfer_are_known_too(tmp_path):
    for name, read, known, wrong in (
        ("dysplasianet-selection", read_study, "    - {folds: ", "    - {foldz: "),
        ("chapter2-svm", read_transfer, "    layer: ", "    layr: "),
    ):
        text = (TRAINING / f"{name}.yaml").read_text()
        assert known in text
        (tmp_path / "a.yaml").write_text(text.replace(known, wrong))
        told = rf"{wrong.split()[-1].strip('{:')} is no key of it; did you mean "
        with pytest.raises(CellnetError, match=rf"\.0\.{told}{known.split()[-1].strip('{:')}\?"):
            read(tmp_path / "a.yaml")


def test_a_study_is_told_by_which_key_it_names_its_classifier(tmp_path, capsys):
    text = (TRAINING / "dysplasianet-selection-small.yaml").read_text()
    assert "classifier: none" in text
    recipe = tmp_path / "a.yaml"
    recipe.write_text(text.replace("classifier: none", "classifier: absent"))
    words = ["select", str(recipe), "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    assert main(words) == 1
    told = capsys.readouterr().err
    assert "in a study by classifier: in its recipe" in told and "classifier: none" in told


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(CellnetError, match="nothing.yaml"):
        read_recipe(tmp_path / "nothing.yaml")


def test_a_specialists_recipe_is_written_out_whole(tmp_path):
    text = (TRAINING / "neutrophil-maturity.yaml").read_text()
    whole = read_recipe(TRAINING / "neutrophil-maturity.yaml")
    assert whole.of == "neutrophil"
    assert whole.classes == {"band": ["band neutrophil"], "segmented": ["segmented neutrophil"]}
    short = text.replace("band: [band neutrophil]", "band: band neutrophil")
    short = short.replace(", classes: 2", "")
    assert short != text
    (tmp_path / "short.yaml").write_text(short)
    assert read_recipe(tmp_path / "short.yaml") == whole
    begin, end = text.index("classes:\n"), text.index("network:")
    listed = text[:begin] + "classes: [reactive, blast]\n" + text[end:]
    (tmp_path / "listed.yaml").write_text(listed)
    recipe = read_recipe(tmp_path / "listed.yaml")
    assert recipe.classes == {"reactive": ["reactive"], "blast": ["blast"]}
    write_recipe(recipe, tmp_path / "again.yaml")
    assert read_recipe(tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("  segmented: [segmented neutrophil]\n", ""), "two or more are needed"),
        (("  segmented:", "  Segmented:"), "small letters"),
        (("  segmented:", "  other:"), "'other' is what a cell is called"),
        (("[segmented neutrophil]", "[]"), "made of one label or sub-type, or more"),
        (("[segmented neutrophil]", "[Band neutrophil]"), "in one of them alone"),
        (("classes: 2}", "classes: 3}"), "classes is 3, but the recipe names 2"),
        (("of: neutrophil", "of: granulocyte"), "of: Input should be"),
        (("target: class", "target: granularity"), "classes go with the target class"),
        (("  per_class: 780", "  per_class: 780\n  drawn: 0.03"), "are for the eight classes"),
        (("of: neutrophil\nclasses:\n  band: [band neutrophil]\n"
          "  segmented: [segmented neutrophil]\n", "of: neutrophil\n"), "give its classes too"),
        (("classes:\n  band: [band neutrophil]\n  segmented: [segmented neutrophil]\n",
          "classes: [basophil, eosinophil, erythroblast, ig, lymphocyte, monocyte, neutrophil, "
          "platelet]\n"), "these are Model 1's eight"),
        (("classes:\n  band: [band neutrophil]\n  segmented: [segmented neutrophil]\n",
          "classes: [blast, blast]\n"), "each once"),
    ],
)  # fmt: skip
def test_a_specialists_recipe_that_does_not_hold(tmp_path, change, message):
    text = (TRAINING / "neutrophil-maturity.yaml").read_text()
    assert change[0] in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(*change))
    with pytest.raises(CellnetError, match="wrong.yaml") as error:
        read_recipe(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
