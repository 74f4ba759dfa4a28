"""`cellnet unknown`: what a Model 1 makes of cells that it never saw, from the command inwards."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="looking into a network needs the training extra")

from bundles import PLACES, make_bundle, make_bundles, paint_cell
from painted_cohort import PaintedCohort

from cellnet import card, networks
from cellnet.answering import answer
from cellnet.auc import auc
from cellnet.bundle import load
from cellnet.cells import CLASSES
from cellnet.cli import main
from cellnet.convert import to_litert
from cellnet.errors import CellnetError
from cellnet.images import read_image, write_png
from cellnet.intervals import proportion
from cellnet.manifest import read_manifest, write_manifest
from cellnet.novelty import Insides, energy, fit_clouds, improbability, look_into
from cellnet.recipe import Recipe, read_recipe
from cellnet.seen import pack_seen
from cellnet.training_set import assemble
from cellnet.unknown import unknown
from cellnet.unknown_measure import compare_scores, nine_columns
from cellnet.unknown_page import render, summary, verdict
from cellnet.verify import read_schema

ROOT = Path(__file__).resolve().parents[1]
SHAPE = {"blocks": 6, "width": 8, "hidden": 1, "classes": 8}
TAUGHT = [name for name in CLASSES if name != "ig"]


# --- a network whose answers a test can foresee --------------------------------------------------


@functools.cache
def colour_weights() -> bytes:
    """A small network of eight classes that looks at colour alone: red and green name the class.

    Each colour passes through six blocks as what it has over its middle, and what it lacks; the
    last layer weighs their difference as the nearest of the painted places wants it.
    """
    network = networks.build("dysplasianet", **SHAPE)
    weighted = [layer for layer in network.layers if layer.weights]
    none = 1e-5  # a bias of zeros would be converted away
    for number, layer in enumerate(weighted[:-2]):
        kernel, bias = (np.zeros_like(values) for values in layer.get_weights())
        for channel in range(6):
            source = channel // 2 if number == 0 else channel
            sign = (1 - 2 * (channel % 2)) if number == 0 else 1
            kernel[1, 1, source, channel] = sign
        layer.set_weights([kernel, bias + none])
    kernel, bias = (np.zeros_like(values) for values in weighted[-2].get_weights())
    fields = len(kernel) // 8
    for channel in range(6):
        kernel[channel::8, channel] = 1 / fields
    weighted[-2].set_weights([kernel, bias + none])
    # The network spreads colours to 5 c - 3.75: c = (over - lacking + 3.75) / 5.
    places = np.array(list(PLACES.values()))
    slope = np.zeros((8, 8))
    for channel in range(4):
        slope[channel] = 60 * places[:, channel // 2] * (1 - 2 * (channel % 2)) / 5
    offset = 60 * places.sum(axis=1) * 3.75 / 5 - 30 * (places**2).sum(axis=1)
    weighted[-1].set_weights([slope, offset])
    return to_litert(network)


def make_model(folder: Path, left_out=(), seen=None) -> Path:
    """Write a bundle of `colour_weights`; it says that it was trained without some classes."""
    out = make_bundle(folder, "model1")
    weights = colour_weights()
    (out / "model.tflite").write_bytes(weights)
    told = json.loads((out / "bundle.json").read_text())
    told["network"] = {"name": "dysplasianet", "arguments": SHAPE}
    told["input"] |= {"height": 299, "width": 299}
    told["weights"] |= {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}
    told["data"] = {"left_out": list(left_out)} if left_out else {}
    if seen is not None:
        known = pack_seen(seen)
        (out / "seen.npz").write_bytes(known)
        told["seen"] = {"file": "seen.npz", "sha256": hashlib.sha256(known).hexdigest()}
    (out / "bundle.json").write_text(json.dumps(told))
    return out


def paint_set(folder: Path, train=3, test=4, labels=CLASSES, **more) -> PaintedCohort:
    """Cells of each class, of several blues, so that features vary within a class."""
    cohort = PaintedCohort(folder)
    for label in labels:
        for split, number in (("train", train), ("test", test)):
            for at in range(number):
                given = {"source_cell": "", "score": 0.2 + 0.6 * at / 5} | more
                cohort.cell(split, label, **given)
    return cohort


def paint_types(folder: Path, **types: tuple[str, int]) -> Path:
    """A folder of unknown cells: by type, what its cells look like and how many they are."""
    mark = 5000
    for name, (looks, number) in types.items():
        for at in range(number):
            mark += 1
            paint_cell(folder / name / f"{at}.png", looks, 0.3 + 0.1 * at, mark=mark)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two models, a manifest and a folder of unknown cells, which no test changes."""
    folder = tmp_path_factory.mktemp("unknown")
    cells = paint_set(folder / "cells")
    # One cell of each class is among the test cells though the model has seen it.
    own = {row.sha256 for row in cells.rows if row.split == "train"}
    seen_test = [row.sha256 for row in cells.rows if row.split == "test"][:2]
    cells.write()
    make_model(folder / "whole", seen={"train": own | {seen_test[0]}, "validation": seen_test[1:]})
    taught = {row.sha256 for row in cells.rows if row.split == "train" and row.label != "ig"}
    make_model(folder / "without", ["ig"], {"train": taught, "validation": set()})
    paint_types(folder / "types", blast=("neutrophil", 5), smudge=("other", 4))
    return folder


@pytest.fixture(scope="module")
def found(home):
    """What the whole model makes of two types of unknown cells."""
    return unknown(home / "whole" / "model1", home / "cells", unknown=home / "types",
                   repeats=50, progress=False)  # fmt: skip


def row_of(result, name):
    (row,) = [row for row in result["matrix"]["rows"] if row["name"] == name]
    return row


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_one_document_and_writes_the_same(home, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    page, out = tmp_path / "page.html", tmp_path / "found.json"
    status = main(
        ["unknown", str(home / "whole" / "model1"), str(home / "cells"), "--unknown",
         str(home / "types"), "--json", "--html", str(page), "--out", str(out)]
    )  # fmt: skip
    said = capsys.readouterr()
    assert status == 0, said.err
    document = json.loads(said.out)
    jsonschema.validate(document, read_schema("unknown"))
    assert document == json.loads(out.read_text())
    assert document["schema"] == "cellnet/unknown/1"
    html = page.read_text(encoding="utf-8")
    assert html.lstrip().startswith("<!doctype html>") and html.count("<img ") == 4
    bare = re.sub(r'src="data:image/svg\+xml;base64,[^"]*"', "", html)
    assert not re.search(r"https?:|src=|<link|@import|url\(|<script", bare)
    assert "blast (unknown)" in html and document["model"]["sha256"] in html


def test_the_command_tells_people(home, capsys):
    assert main(["unknown", str(home / "without" / "model1"), str(home / "cells")]) == 0
    told = capsys.readouterr().out
    assert "28 known cells of cells/manifest.csv, split test; 7 unknown cells" in told
    assert "ig (7) is called: ig 100.0 %" in told
    assert "Mahalanobis distance: AUC" in told


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--split", "train"], 2, "distances are fitted on"),
        (["--group", "weather"], 2, "invalid choice"),
        ([], 1, "taught all eight classes"),
        (["--unknown", "nowhere"], 1, "does not exist"),
        (["--unknown", "{types}", "--split", "validation"], 1, "no split 'validation'"),
        (["--unknown", "{types}", "--group", "patient"], 1, "no row of the manifest names one"),
        (["--unknown", "{types}", "--out", "{types}/no/x.json"], 1, "cannot write"),
    ],
)
def test_what_cannot_be_answered_is_said(home, capsys, words, status, message):
    typed = [word.format(types=home / "types") for word in words]
    typed = ["unknown", str(home / "whole" / "model1"), str(home / "cells"), *typed]
    try:
        ended = main(typed)
    except SystemExit as end:
        ended = end.code
    said = capsys.readouterr()
    assert ended == status and said.out == ""
    assert message in said.err


# --- what is measured ----------------------------------------------------------------------------


def test_nine_columns_by_known_class_and_unknown_type(found):
    jsonschema.validate(found, read_schema("unknown"))
    columns = found["matrix"]["columns"]
    assert columns == [*CLASSES, "other"]
    assert [row["name"] for row in found["matrix"]["rows"]] == [*CLASSES, "blast", "smudge"]
    assert row_of(found, "blast")["counts"][columns.index("neutrophil")] == 5
    assert row_of(found, "smudge")["counts"][columns.index("other")] == 4
    assert row_of(found, "monocyte")["shares"][columns.index("monocyte")]["value"] == 1.0
    low, high = row_of(found, "smudge")["shares"][8]["ci95"]
    assert high == 1.0 and low == pytest.approx(0.025**0.25)
    assert found["called_other"]["unknown"]["k"] == 4
    assert found["called_other"]["unknown"]["n"] == 9
    assert found["called_other"]["known"]["k"] == 0
    assert {cell["called"] for cell in found["cells"] if cell["type"] == "blast"} == {"neutrophil"}


def test_cells_that_the_model_has_seen_are_no_known_ones(found):
    assert found["known"]["seen_and_left_out"] == {"train": 1, "validation": 1}
    assert found["known"]["n"] == 30 and found["known"]["counts"]["basophil"] == 2
    assert any("1 known cells trained model1; they are left out" in it for it in found["warnings"])


def test_scores_by_hand(found, home):
    """What looks like a neutrophil cannot be told; what stands between all classes can."""
    assert set(found["scores"]) == {"probability", "energy", "mahalanobis"}
    probability = found["scores"]["probability"]
    assert probability["by_type"]["smudge"]["auc"]["value"] == 1.0
    assert probability["by_type"]["smudge"]["auc"]["method"] == "newcombe"
    assert probability["by_type"]["blast"]["auc"]["value"] < 0.9
    cut = probability["cut"]
    passed = [cell for cell in found["cells"] if 1 - cell["probability"] <= cut]
    assert probability["fpr_at_95_tpr"]["k"] == len(passed)
    assert found["fitted"]["layer"] == "dense1" and found["fitted"]["features"] == 8
    assert found["fitted"]["cells"] == dict.fromkeys(CLASSES, 3)
    assert [(it["of"], it["less"]) for it in found["differences"]] == [
        ("energy", "probability"), ("mahalanobis", "probability"), ("mahalanobis", "energy"),
    ]  # fmt: skip
    for it in found["differences"]:
        areas = [found["scores"][it[key]]["auc"]["value"] for key in ("of", "less")]
        assert it["auc"]["value"] == pytest.approx(areas[0] - areas[1])
    assert found["largest_difference"] < 1e-4  # floats on both sides


def test_a_class_left_out_is_the_unknown_one(home):
    result = unknown(home / "without" / "model1", home / "cells", repeats=20, progress=False)
    jsonschema.validate(result, read_schema("unknown"))
    assert result["left_out"] == ["ig"]
    # Cells of every side: none of them trained anything.
    assert result["unknown"]["types"] == {"ig": {"n": 7, "from": ["manifest"]}}
    assert result["unknown"]["splits"] == {"train": 3, "test": 4}
    assert result["known"]["counts"] == dict.fromkeys(TAUGHT, 4)
    assert "ig" not in result["fitted"]["cells"]
    assert any("only unknown type" in text for text in result["warnings"])


def test_a_class_left_out_and_a_folder_together(home, tmp_path):
    folder = paint_types(tmp_path / "types", IG=("ig", 2), smudge=("other", 2))
    result = unknown(home / "without" / "model1", home / "cells", unknown=folder, repeats=20,
                     progress=False)  # fmt: skip
    assert result["unknown"]["types"] == {
        "ig": {"n": 9, "from": ["manifest", "folder"]},
        "smudge": {"n": 2, "from": ["folder"]},
    }


def test_images_directly_in_the_folder_are_one_type(home, tmp_path):
    folder = paint_types(tmp_path, blasts=("neutrophil", 3)) / "blasts"
    result = unknown(home / "whole" / "model1", home / "cells", unknown=folder, repeats=20,
                     progress=False)  # fmt: skip
    assert list(result["unknown"]["types"]) == ["blasts"]
    assert any("fewer than 30 cells of blasts" in text for text in result["warnings"])


def test_groups_are_the_unit_where_they_are_known(home, tmp_path):
    cells = PaintedCohort(tmp_path / "cells")
    for label in CLASSES:
        for at in range(3):
            cells.cell("train", label, source_cell="", patient=f"a{at}", score=0.2 + 0.2 * at)
            cells.cell("test", label, source_cell="", patient=f"p{at}", score=0.25 + 0.2 * at)
    model = make_model(tmp_path / "models")
    result = unknown(model, cells.write(), unknown=home / "types", repeats=30, progress=False)
    alone = result["unknown"]["n"]  # the folder's cells
    assert result["groups"] == {"by": "patient", "n": 3 + alone}
    assert result["called_other"]["known"]["method"] == "korn-graubard"
    assert any("does not say which cells trained it" in text for text in result["warnings"])


def test_the_same_seed_gives_the_same_answer(home, found):
    again = unknown(home / "whole" / "model1", home / "cells", unknown=home / "types", repeats=50,
                    progress=False)  # fmt: skip
    assert {**again, "created": ""} == {**found, "created": ""}


# --- what is refused, listed and left out --------------------------------------------------------


def test_unreadable_images_are_listed_and_the_rest_is_measured(home, tmp_path):
    folder = paint_types(tmp_path / "types", smudge=("other", 3))
    (folder / "smudge" / "torn.png").write_bytes((folder / "smudge" / "0.png").read_bytes()[:40])
    (folder / "smudge" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    cells = paint_set(tmp_path / "cells")
    manifest = cells.write()
    for split in ("train", "test"):
        last = [row for row in cells.rows if row.split == split][-1]
        (tmp_path / "cells" / last.path).write_bytes(b"no image")
    result = unknown(home / "whole" / "model1", manifest, unknown=folder, repeats=20,
                     progress=False)  # fmt: skip
    assert result["unknown"]["n"] == 3
    named = {entry["file"] for entry in result["unreadable"]}
    assert {"smudge/torn.png", "smudge/gone.png"} < named and len(named) == 3
    assert result["fitted"]["cells"]["platelet"] == 2
    assert any("could not be read and fitted nothing" in text for text in result["warnings"])


def test_images_that_are_no_unknown_cells_are_left_out(home, tmp_path):
    folder = paint_types(tmp_path / "types", smudge=("other", 2))
    manifest = read_manifest(home / "cells")
    shutil.copy(manifest.path_of(manifest.rows[0]), folder / "smudge" / "known.png")
    shutil.copy(folder / "smudge" / "0.png", folder / "smudge" / "0-again.png")
    result = unknown(home / "whole" / "model1", home / "cells", unknown=folder, repeats=20,
                     progress=False)  # fmt: skip
    assert result["unknown"]["n"] == 2
    reasons = {entry["file"]: entry["reason"] for entry in result["refused"]}
    assert "the manifest lists it as basophil" in reasons["smudge/known.png"]
    assert "repeats smudge/0-again.png" in reasons["smudge/0.png"]


def test_images_that_trained_the_model_are_no_unknown_cells(home, tmp_path):
    folder = paint_types(tmp_path / "types", smudge=("other", 2))
    hashes = [
        hashlib.sha256((folder / "smudge" / f"{at}.png").read_bytes()).hexdigest() for at in (0, 1)
    ]
    model = make_model(tmp_path / "one", seen={"train": [hashes[0]], "validation": []})
    result = unknown(model, home / "cells", unknown=folder, repeats=20, progress=False)
    assert result["unknown"]["n"] == 1
    assert result["refused"] == [
        {"file": "smudge/0.png", "reason": "it trained model1 or chose its epoch"}
    ]
    model = make_model(tmp_path / "both", seen={"train": hashes, "validation": []})
    with pytest.raises(CellnetError, match="none of the 2 images .* it trained model1"):
        unknown(model, home / "cells", unknown=folder, progress=False)


@pytest.mark.parametrize("make", [lambda it: it.mkdir(), lambda it: (it / "sub").mkdir(
    parents=True)], ids=["empty", "an empty sub-folder"])  # fmt: skip
def test_an_empty_folder_is_refused(home, tmp_path, make):
    make(tmp_path / "types")
    with pytest.raises(CellnetError, match="no image in .*types"):
        unknown(home / "whole" / "model1", home / "cells", unknown=tmp_path / "types")


def test_a_type_called_like_a_class_is_refused(home, tmp_path):
    folder = paint_types(tmp_path / "types", Monocyte=("other", 1))
    with pytest.raises(CellnetError, match="Monocyte is called like the class 'monocyte'"):
        unknown(home / "whole" / "model1", home / "cells", unknown=folder)


def test_without_a_training_side_there_is_no_distance(home, tmp_path):
    cells = paint_set(tmp_path / "cells", train=0)
    result = unknown(home / "whole" / "model1", cells.write(), unknown=home / "types", repeats=20,
                     progress=False)  # fmt: skip
    jsonschema.validate(result, read_schema("unknown"))
    assert set(result["scores"]) == {"probability", "energy"}
    assert len(result["differences"]) == 1
    assert "fewer than two cells of basophil" in result["fitted"]["problem"]
    assert any("no Mahalanobis distance" in text for text in result["warnings"])
    assert "no distance to them can be fitted" in render(result)


def test_a_manifest_whose_known_cells_were_all_seen_is_refused(home, tmp_path):
    cells = paint_set(tmp_path / "cells")
    hashes = [row.sha256 for row in cells.rows]
    model = make_model(tmp_path / "models", seen={"train": hashes, "validation": []})
    with pytest.raises(CellnetError, match="all 32 known cells of the split 'test' trained"):
        unknown(model, cells.write(), unknown=home / "types")


def test_a_photograph_on_two_sides_is_refused(home, tmp_path):
    manifest = read_manifest(home / "cells")
    rows = [row for row in manifest.rows if row.split == "test"][:1]
    rows.append(replace(rows[0], path="again.png", split="train"))
    write_manifest(tmp_path / "twice", rows, manifest.root.resolve())
    with pytest.raises(CellnetError, match="on two sides"):
        unknown(home / "whole" / "model1", tmp_path / "twice", unknown=home / "types")


def test_a_model_that_is_no_model_1_is_refused(home, tmp_path):
    models = make_bundles(tmp_path)
    with pytest.raises(CellnetError, match="answers 'granularity'"):
        unknown(models / "dysplasianet", home / "cells", unknown=home / "types")
    # It names the eight classes, but its weights are those of no network that can be opened.
    with pytest.raises(CellnetError, match="are not those of the network"):
        unknown(models / "model1", home / "cells", unknown=home / "types", progress=False)


def test_a_bundle_that_left_out_nonsense_is_refused(home, tmp_path):
    model = make_model(tmp_path, ["blast"])
    with pytest.raises(CellnetError, match="data.left_out must name some of"):
        unknown(model, home / "cells")


@pytest.mark.parametrize("poor", [False, True])
def test_a_network_that_does_not_know_what_it_was_taught_is_told(home, tmp_path, capsys, poor):
    """Three of the eight classes look like other cells here: the mean is 62.5 %, below 80 %."""
    cells = PaintedCohort(tmp_path / "cells")
    for number, label in enumerate(CLASSES):
        for _ in range(20 if label == "neutrophil" else 2):
            looks = "other" if poor and number < 3 else label
            cells.cell("test", label, score=0.5, painted=looks, source_cell="")
    cells.write()
    page = tmp_path / "page.html"
    assert main(["unknown", str(home / "whole" / "model1"), str(tmp_path / "cells"), "--unknown",
                 str(home / "types"), "--html", str(page)]) == 0  # fmt: skip
    told = capsys.readouterr().out
    rule = "names 62.5 % of the known cells right, on the mean over the classes; below 80 %"
    for text in (told, page.read_text("utf-8")):
        assert (rule in text) == poor
    # Fourteen cells of seven classes beside twenty neutrophils.
    assert "would be right for 58.8 % (neutrophil)" in page.read_text("utf-8")


def test_the_page_says_that_known_cells_are_found_byte_for_byte(home, found, tmp_path):
    """A cell of the manifest, saved again, passes as unknown: nobody is told that it cannot."""
    known = next(row for row in read_manifest(home / "cells").rows if row.split == "train")
    folder = tmp_path / "types" / "blast"
    folder.mkdir(parents=True)
    shutil.copy(home / "cells" / known.path, folder / "copy.png")
    write_png(folder / "again.png", read_image(home / "cells" / known.path))
    with (folder / "again.png").open("ab") as file:
        file.write(b"saved again")
    result = unknown(home / "whole" / "model1", home / "cells", unknown=tmp_path / "types",
                     repeats=5, progress=False)  # fmt: skip
    assert [it["file"] for it in result["refused"]] == ["blast/copy.png"]
    assert [it["file"] for it in result["cells"]] == ["blast/again.png"]
    pytest.importorskip("matplotlib")
    assert "byte for byte: one that was saved again" in render(result)
    assert "byte for byte" in summary(found)
    without = unknown(home / "without" / "model1", home / "cells", repeats=5, progress=False)
    assert not any("byte for byte" in text for text in without["warnings"])


# --- scores and their comparison, by hand --------------------------------------------------------


def test_the_network_is_what_the_bundle_runs(home):
    """Features and logits come of float weights: their softmax is the bundle's own answer."""
    bundle, manifest = load(home / "whole" / "model1"), read_manifest(home / "cells")
    rows = manifest.rows[:20]
    seen = look_into(Insides(bundle), manifest, rows)
    assert seen.rows == rows and seen.features.shape == (20, 8) and seen.logits.shape == (20, 8)
    own = answer(bundle, manifest, rows, progress=False).outputs
    shifted = np.exp(seen.logits - seen.logits.max(axis=1, keepdims=True))
    assert np.allclose(shifted / shifted.sum(axis=1, keepdims=True), own, atol=1e-4)


def test_energy_and_improbability():
    assert improbability(np.array([[0.7, 0.3], [0.5, 0.5]])).tolist() == pytest.approx([0.3, 0.5])
    assert energy(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])) == pytest.approx(
        [-1000.0, 1000.0 - np.log(2)]
    )


def test_distances_against_their_definition():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(4, 4))
    features = rng.normal(size=(400, 4)) @ mix
    labels = np.repeat([2, 5], 200)
    features[labels == 5] += 3
    clouds = fit_clouds(features, labels)
    assert (clouds.labels, clouds.cells) == ((2, 5), (200, 200))
    covariance = clouds.factor @ clouds.factor.T
    residuals = features - clouds.means[(labels == 5).astype(int)]
    sample = residuals.T @ residuals / len(features)
    identity = np.trace(sample) / 4 * np.eye(4)
    assert 0 < clouds.shrinkage < 1
    assert covariance == pytest.approx(
        (1 - clouds.shrinkage) * sample + clouds.shrinkage * identity
    )
    inverse = np.linalg.inv(covariance)
    wanted = [min((x - m) @ inverse @ (x - m) for m in clouds.means) for x in features[:5]]
    assert clouds.distance(features[:5]) == pytest.approx(wanted)


def test_distances_that_cannot_be_fitted():
    with pytest.raises(ValueError, match="two cells or more"):
        fit_clouds(np.eye(3), np.array([0, 0, 1]))
    with pytest.raises(ValueError, match="do not vary"):
        fit_clouds(np.ones((4, 3)), np.array([0, 0, 1, 1]))


def compare(known, strange, refused=0, **more):
    score = np.array([*known, *strange], dtype=float)
    is_unknown = np.arange(len(score)) >= len(known)
    strata = np.where(is_unknown, "blast", "monocyte")
    called = np.zeros(len(score), dtype=bool)
    called[:refused] = True
    scores = {"a": score, "b": -score} | more.pop("scores", {})
    return compare_scores(scores, is_unknown, strata, ["blast"], called, repeats=200, **more)


def test_comparison_by_hand():
    known = np.arange(20)  # 95 % of them lie at or below 18
    found = compare(known, [18, 18.5, 25, 3] * 3, refused=2)
    one = found["scores"]["a"]
    assert one["auc"]["value"] == pytest.approx((18.5 + 19 + 20 + 3.5) / 80)
    assert one["cut"] == 18
    assert (one["fpr_at_95_tpr"]["k"], one["fpr_at_95_tpr"]["n"]) == (6, 12)
    # Two known cells may be refused: 18 and 19 lie above the cut at 17.
    assert one["found_at_rule"]["k"] == 9
    assert one["by_type"]["blast"]["auc"] == one["auc"]
    other = found["scores"]["b"]
    assert other["auc"]["value"] == pytest.approx(1 - one["auc"]["value"])
    (difference,) = found["differences"]
    assert (difference["of"], difference["less"]) == ("b", "a")
    assert difference["auc"]["value"] == pytest.approx(1 - 2 * one["auc"]["value"])
    # Paired: in each sample b is 1 - a, so the ends of the difference follow from those of a.
    low, high = one["auc"]["ci95"]
    assert difference["auc"]["ci95"] == pytest.approx([1 - 2 * high, 1 - 2 * low])
    json.dumps(found, allow_nan=False)


def test_of_a_handful_of_patients_no_sample_is_trusted():
    """Thirty unknown cells of three patients say as much as three do."""
    rng = np.random.default_rng(7)
    known, strange = rng.normal(0, 1, 60), rng.normal(1.5, 1, 30)
    groups = np.array([*range(60), *np.repeat([100, 101, 102], 10)])
    found = compare(known, strange, groups=groups)
    score, is_unknown = np.array([*known, *strange]), np.arange(90) >= 60
    one, (difference,) = found["scores"]["a"], found["differences"]
    assert one["auc"] == auc(is_unknown, score, groups=groups).to_json()
    assert one["auc"]["method"] == "newcombe"
    assert one["fpr_at_95_tpr"]["method"] == "korn-graubard"
    assert difference["auc"]["ci95"] is None and difference["auc"]["value"] < 0
    assert "cannot be told apart" in verdict({**difference, "of": "energy", "less": "probability"})


@pytest.mark.parametrize("tied", [False, True], ids=["alone", "tied"])
def test_the_price_of_the_rule_is_drawn_with_its_cut(tied):
    """The interval against samples drawn here by hand, one cell after the other."""
    rng = np.random.default_rng(3)
    known, strange = rng.normal(0, 1, 120).round(1), rng.normal(1.5, 1, 60).round(1)
    groups = np.repeat(np.arange(60), 3) if tied else None
    one = compare(known, strange, refused=6, groups=groups)["scores"]["a"]["found_at_rule"]
    refused = np.arange(120) < 6
    shares = []
    for _ in range(4000):
        if tied:
            mine = (3 * rng.integers(0, 40, 40)[:, None] + np.arange(3)).ravel()
            theirs = (3 * rng.integers(0, 20, 20)[:, None] + np.arange(3)).ravel()
        else:
            mine, theirs = rng.integers(0, 120, 120), rng.integers(0, 60, 60)
        price = refused[mine].sum()
        cut = min(it for it in known[mine] if np.sum(known[mine] > it) <= price)
        shares.append(np.mean(strange[theirs] > cut))
    assert one["ci95"] == pytest.approx(np.quantile(shares, [0.025, 0.975]), abs=0.06)
    assert one["ci95"][0] <= one["value"] <= one["ci95"][1]
    # With the cut held it would be far too narrow.
    exact = proportion(np.arange(60) < one["k"]).ci95
    assert one["ci95"][1] - one["ci95"][0] > 1.2 * (exact[1] - exact[0])
    assert one["method"] == ("bootstrap by group" if tied else "stratified bootstrap")


def test_where_the_rule_refuses_every_known_cell_all_are_found():
    one = compare(range(4), [1, 2, 9], refused=4)["scores"]["a"]["found_at_rule"]
    assert (one["k"], one["n"], one["method"]) == (3, 3, "clopper-pearson")


def test_scores_that_part_perfectly_have_intervals_too():
    found = compare(range(10), range(20, 30))["scores"]["a"]
    assert found["auc"]["value"] == 1.0 and found["auc"]["method"] == "newcombe"
    assert found["auc"]["ci95"][0] < 1
    assert found["fpr_at_95_tpr"]["value"] == 0
    assert found["fpr_at_95_tpr"]["ci95"][1] == pytest.approx(1 - 0.025**0.1)
    assert found["found_at_rule"]["k"] == 10


def test_equal_scores_tell_nothing():
    found = compare([1] * 8, [1] * 8)
    assert found["scores"]["a"]["auc"]["value"] == 0.5
    assert found["scores"]["a"]["fpr_at_95_tpr"]["value"] == 1.0
    assert found["differences"][0]["auc"]["value"] == 0
    assert "cannot be told apart" in verdict(
        {**found["differences"][0], "of": "energy", "less": "probability"}
    )


def test_versions_of_one_cell_widen_the_interval():
    rng = np.random.default_rng(1)
    known, strange = rng.normal(0, 1, 30), rng.normal(1, 1, 30)
    alone = compare(np.repeat(known, 4), np.repeat(strange, 4))["scores"]["a"]["auc"]
    tied = compare(np.repeat(known, 4), np.repeat(strange, 4),
                   groups=np.repeat(np.arange(60), 4))["scores"]["a"]["auc"]  # fmt: skip
    assert tied["value"] == alone["value"] and tied["method"] == "bootstrap by group"
    width = [it["ci95"][1] - it["ci95"][0] for it in (alone, tied)]
    assert width[1] > 1.5 * width[0]


def test_a_comparison_needs_both_kinds_and_finite_scores():
    with pytest.raises(ValueError, match="known and unknown cells are needed"):
        compare([1, 2], [])
    with pytest.raises(ValueError, match="finite"):
        compare([1, np.inf], [2])


def test_a_matrix_by_hand():
    values = np.full((3, 8), 0.05)
    values[0, 2], values[1, 2], values[2, 4] = 0.65, 0.5, 0.65
    members = np.array([True, True, False])
    matrix = nine_columns(values, [("erythroblast", True, members), ("blast", False, ~members)])
    assert matrix["rows"][0]["counts"] == [0, 0, 1, 0, 0, 0, 0, 0, 1]  # 0.5 is not over 0.5
    assert matrix["rows"][1]["counts"] == [0, 0, 0, 0, 1, 0, 0, 0, 0]


# --- the page ------------------------------------------------------------------------------------


def test_names_of_files_and_types_cannot_write_into_the_page(found):
    pytest.importorskip("matplotlib")
    result = json.loads(json.dumps(found).replace("smudge", "<script>alert(1)</script>"))
    result["refused"] = [{"file": "<b>bold</b>", "reason": "x"}]
    html = render(result)
    assert "<script>" not in html and "<b>bold" not in html and "&lt;script&gt;" in html
    assert "smudge (4) is called: other 100.0 %" in summary(found)


# --- data.left_out -------------------------------------------------------------------------------


def recipe_with(**data) -> dict:
    content = read_recipe(ROOT / "training" / "unknown-drawn.yaml").model_dump(mode="json")
    content["data"] = {**content["data"], **data}
    return content


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    from cellnet.draw import draw_set

    folder = tmp_path_factory.mktemp("drawn") / "cells"
    draw_set(folder, 7, per_class=8, smears=0, size=96)
    return folder


def test_a_class_left_out_gives_no_image(drawn, tmp_path):
    """Neither photographed nor drawn, to train or to choose the epoch; and is not called seen."""
    recipe = Recipe.model_validate(recipe_with(drawn=0.25, drawn_per_class=2, per_class=8))
    sets = assemble(recipe, drawn, tmp_path)
    ig = CLASSES.index("ig")
    assert sets.classes == CLASSES
    assert {pool.label for pool in sets.pools} == set(range(8)) - {ig}
    assert ig not in sets.validation_labels and set(sets.validation_labels) == set(range(8)) - {ig}
    used = [path for pool in sets.pools for path in pool.paths] + [*sets.validation_paths]
    assert used and not any(path.parent.name == "ig" for path in used)
    made = [read_manifest(drawn), read_manifest(tmp_path / "drawn")]
    hashes = {row.sha256 for manifest in made for row in manifest.rows if row.label == "ig"}
    assert hashes and not hashes & (sets.seen["train"] | sets.seen["validation"])
    assert sets.about["left_out"] == ["ig"]
    assert "ig" not in sets.about["cells"]["counts"]["train"]
    assert sets.about["cells"]["counts"]["test"]["ig"] > 0


def test_unknown_cells_that_show_a_taught_photograph_are_left_out(home, tmp_path):
    """A likeness of a taught cell of another class, by the manifest's source cell."""
    cells = paint_set(tmp_path / "cells")
    cells.cell("train", "monocyte", source_cell="one photograph")
    cells.cell("train", "ig", source_cell="one photograph")
    model = make_model(
        tmp_path / "models", ["ig"], {"train": {"one photograph"}, "validation": set()}
    )
    result = unknown(model, cells.write(), repeats=5, progress=False)
    jsonschema.validate(result, read_schema("unknown"))
    assert (result["unknown"]["n"], result["unknown"]["seen_and_left_out"]) == (7, 1)
    assert any("1 unknown cells of the manifest are left out" in it for it in result["warnings"])


def test_nothing_is_left_out_unless_it_is_asked_for(drawn, tmp_path):
    sets = assemble(Recipe.model_validate(recipe_with(left_out=[])), drawn, tmp_path)
    assert "left_out" not in sets.about and {pool.label for pool in sets.pools} == set(range(8))


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ({"left_out": ["blast"]}, {}, "Input should be"),
        ({"left_out": ["ig", "ig"]}, {}, "each class once"),
        ({"left_out": [*CLASSES[:7]]}, {}, "leaves two or more"),
        ({"left_out": ["neutrophil"], "hypogranulated": 0.5}, {}, "data.hypogranulated is 0.5"),
        ({}, {"target": "granularity"}, "for the eight classes"),
    ],
)
def test_what_cannot_be_left_out_is_refused(data, more, message):
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate({**recipe_with(**data), **more})


@pytest.mark.slow
def test_train_without_a_class_then_ask_what_it_is_called(tmp_path, capsys):
    """The whole way, as a user types it; trained for less long than the recipe has it."""
    import yaml

    recipe = tmp_path / "unknown-drawn.yaml"
    content = recipe_with(per_class=16)
    content["training"]["epochs"] = 2
    recipe.write_text(yaml.safe_dump(content))
    data, run = tmp_path / "drawn", tmp_path / "run"
    assert main(["data", "draw", "--out", str(data), "--seed", "7", "--per-class", "20",
                 "--smears", "0"]) == 0  # fmt: skip
    assert main(["train", str(recipe), "--data", str(data), "--run", str(run)]) == 0
    bundle = load(run / "bundle")
    jsonschema.validate(bundle.description, read_schema("bundle"))
    assert bundle.description["data"]["left_out"] == ["ig"]
    history = bundle.description["training"]["history"]
    assert history["epoch"] == [1, 2]
    assert {len(values) for values in history.values()} == {2}
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} < set(history)
    told = card.blocks(bundle)["training"]
    assert "no image at all of ig" in told and "history" not in told
    assert main(["verify", str(run / "bundle")]) == 0
    capsys.readouterr()
    assert main(["unknown", str(run / "bundle"), str(data), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, read_schema("unknown"))
    assert document["unknown"]["types"] == {"ig": {"n": 20, "from": ["manifest"]}}
    rows = [row for row in read_manifest(data).rows if row.split == "train" and row.label != "ig"]
    assert sum(document["fitted"]["cells"].values()) == len(rows) > 80
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.html"
    assert main(["evaluate", str(run / "bundle"), str(data), "--html", str(page)]) == 0
    html = page.read_text("utf-8")
    assert "figure 6.2" in html and "Loss by epoch" in html
    assert "unknown-drawn was trained without ig" in html
