"""`cellnet explain`: the folder that it writes, and that its maps are those of the exports."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from bundles import make_bundle, make_bundles, make_specialist, paint_cell, paint_smear
from network_bundles import grad_cam, keras, prepared, random_network, tf, write_bundle

from cellnet import explain_page, export_parity, networks
from cellnet.bundle import load
from cellnet.cells import CLASSES
from cellnet.cli import main
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.evaluate import evaluate
from cellnet.explain import PAGE, explain, summary, targets
from cellnet.explain_cells import find_cells, read_cell
from cellnet.explain_class import Selection
from cellnet.explain_network import Network
from cellnet.export import export
from cellnet.export_savedmodel import open_outputs
from cellnet.images import read_image, write_png
from cellnet.manifest import Row, write_manifest
from cellnet.verify import read_schema

SHIPPED = Path(__file__).resolve().parents[1] / "models"
SMALL = {"blocks": 5, "width": 8, "hidden": 2}


@pytest.fixture(scope="module")
def keras_network():
    return random_network(**SMALL)


@pytest.fixture(scope="module")
def folder(keras_network, tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), keras_network, **SMALL)


@pytest.fixture(scope="module")
def network(folder) -> Network:
    return Network(load(folder))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 70, 90, 3), dtype=np.uint8)


@pytest.fixture
def cells(tmp_path, drawn_cell) -> Path:
    """Drawn neutrophils, six normal and six dysplastic, and a mask for each but one."""
    for label in ("normal", "dysplastic"):
        (tmp_path / "cells" / label).mkdir(parents=True)
        for seed in range(6):
            image = drawn_cell("neutrophil", seed, 96, dysplastic=label == "dysplastic")
            write_png(tmp_path / "cells" / label / f"{label}-{seed}.png", image)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((96, 96, 3), np.uint8)
    mask[24:72, 24:72], mask[40:56, 40:56] = 128, 255
    for file in sorted((tmp_path / "cells").glob("*/*.png"))[1:]:
        write_png(tmp_path / "masks" / file.name, mask)
    return tmp_path / "cells"


def typed(*words) -> int:
    return main(["explain", *map(str, words)])


def check(document: dict) -> None:
    schema = read_schema("explanations")
    jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())


# ---------------------------------------------------------------- the command


def test_the_command_writes_pictures_numbers_and_a_page(folder, cells, tmp_path, capsys):
    out = tmp_path / "out"
    assert typed(
        folder, cells, "--out", out, "--tsne", 12, "--faithfulness", 3, "--json",
        "--masks", tmp_path / "masks", "--layer", "conv1", "--layer", "dense2", "--pictures", 2,
    ) == 0  # fmt: skip
    said = capsys.readouterr()
    document = json.loads(said.out)
    check(document)
    assert document == json.loads((out / "explanations.json").read_text("utf-8"))
    assert document["model"] == load(folder).identity()
    assert "pictures of the first 2 of 12 cells alone" in said.err
    assert document["map"] | {"field": 0} == {
        "layer": "pool5", "rows": 7, "columns": 7, "field": 0, "input": 299,
    }  # fmt: skip

    rows = document["cells"]
    assert [row["file"] for row in rows[:2]] == [
        "dysplastic/dysplastic-0.png", "dysplastic/dysplastic-1.png",
    ]  # fmt: skip
    assert [row["label"] for row in rows] == ["dysplastic"] * 6 + ["normal"] * 6
    assert all(row["pictures"] is None for row in rows[2:])
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    told = {PAGE, "explanations.json", *document["plots"].values()}
    for row in rows[:2]:
        layers = row["pictures"].pop("layers")
        assert list(layers) == ["conv1", "dense2"]
        told |= {*row["pictures"].values(), *layers.values()}
        assert read_image(out / row["pictures"]["map"]).any() != row["faint"]
    assert written == told
    for name in document["plots"].values():
        assert read_image(out / name).std() > 0
    assert read_image(out / rows[0]["pictures"]["overlay"]).shape == (96, 96, 3)

    assert set(document["plots"]) == {"tsne-pixels", "tsne-features", "deletion", "insertion"}
    assert document["embedding"]["labels"] == {"dysplastic": 6, "normal": 6}
    assert document["faithfulness"]["n"] == len(document["faithfulness"]["cells"]) == 3
    masks = document["masks"]
    assert masks["n"] == 11
    assert masks["left_out"] == [
        {"file": "dysplastic/dysplastic-0.png", "reason": "it has no mask"}
    ]
    area = {row["part"]: row["area"]["value"] for row in masks["rows"] if row["label"] == "normal"}
    assert area == {"cell": 0.25, "cytoplasm": pytest.approx(2 / 9), "nucleus": 1 / 36}


def test_the_answer_for_people_stands_in_lines(folder, cells, tmp_path, capsys):
    assert typed(folder, cells, "--out", tmp_path / "out", "--tsne", 12, "--pictures", 0) == 0
    said = capsys.readouterr().out
    assert "12 cells explained, 0 of them with pictures" in said
    assert re.search(r"features: neighbours of the same label \d\.\d{3} \(", said)


def test_answers_are_those_of_predict(folder, cells, tmp_path, capsys):
    found = explain(folder, [cells], tmp_path / "out", most_pictures=0)
    assert main(["predict", str(cells), "--model", str(folder), "--json"]) == 0
    predicted = json.loads(capsys.readouterr().out)["cells"]
    assert [{"file": row["file"], **row["answer"]} for row in found["cells"]] == predicted
    sides = {True: "hypogranular", False: "granular"}
    assert [row["target"] for row in found["cells"]] == [
        sides[row["dysplastic"]] for row in predicted
    ]
    assert found["largest_difference"] < 1e-4


def test_what_cannot_be_read_is_listed_and_the_rest_explained(folder, cells, tmp_path, capsys):
    (cells / "normal" / "normal-3.png").write_bytes(b"")
    assert typed(folder, cells, "--out", tmp_path / "out", "--json") == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    check(document)
    assert document["unreadable"] == [
        {"file": "normal/normal-3.png", "reason": "the file is empty"}
    ]
    assert len(document["cells"]) == 11
    assert "unreadable: normal/normal-3.png: the file is empty" in said.err
    assert "normal/normal-3.png" in (tmp_path / "out" / PAGE).read_text("utf-8")


def test_where_nothing_can_be_read_nothing_is_written(folder, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"")
    assert typed(folder, tmp_path / "a.png", "--out", tmp_path / "out") == 1
    assert "none of 1 images can be read" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--class", "neutrophil"], "--class is one of granular, hypogranular, got neutrophil"),
        (["--layer", "conv9"], "--layer is one of conv1, pool1, .*granularity, got conv9"),
        (["--split", "test"], "--split is of a manifest"),
        (["--tsne", "0"], "--tsne: must be from 10 to 3000 cells, got 0"),
        (["--tsne", "9"], "--tsne: must be from 10 to 3000 cells, got 9"),
        (["--tsne", "3001"], "--tsne: must be from 10 to 3000 cells, got 3001"),
        (["--tsne", "all"], "--tsne: invalid whole number value: 'all'"),
    ],
)
def test_wrong_usage_names_what_there_is(words, told, folder, cells, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        typed(folder, cells, "--out", tmp_path / "out", *words)
    assert ended.value.code == 2
    assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_the_folder_must_be_new(folder, cells, tmp_path, capsys):
    assert typed(folder, cells, "--out", cells) == 1
    assert "must be new or empty" in capsys.readouterr().err


@pytest.fixture
def idle(monkeypatch):
    """No network is opened: what is refused is refused before the work."""

    class Opened:
        def __init__(self, *_):
            raise AssertionError("a network was opened")

    monkeypatch.setattr("cellnet.explain.Network", Opened)


def test_planes_of_few_cells_are_refused_before_the_work(folder, cells, tmp_path, capsys, idle):
    assert typed(folder, cells / "normal", "--out", tmp_path / "out", "--tsne", 12) == 1
    told = capsys.readouterr().err
    assert "t-SNE takes 10 to 3000 cells, got 6; give so many images" in told
    for number in (9, 3001):
        with pytest.raises(CellnetError, match=f"10 to 3000 cells, got {number}"):
            explain(folder, [cells], tmp_path / "out", tsne=number)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_costs_the_plane_and_nothing_else(folder, cells, tmp_path, capsys):
    """Of twelve cells three are broken: nine make maps, and no plane."""
    for at in range(3):
        (cells / "normal" / f"normal-{at}.png").write_bytes(b"")
    assert typed(folder, cells, "--out", tmp_path / "out", "--tsne", 12, "--json") == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    check(document)
    told = "no plane of t-SNE: it takes at least 10 cells, and 9 could be read; give more images"
    assert told in document["warnings"] and told in said.err
    assert document["embedding"] is None and document["given"]["tsne"] == 12
    assert len(document["cells"]) == 9 and len(document["unreadable"]) == 3
    assert all(row["pictures"] for row in document["cells"])
    page = (tmp_path / "out" / PAGE).read_text("utf-8")
    assert told in page and "Cells by likeness" not in page


def test_a_cell_that_vanishes_meanwhile_costs_itself_alone(network, cells, tmp_path, monkeypatch):
    seen = set()

    def read_once(cell):
        if cell.name == "normal/normal-1.png" and cell.name in seen:
            raise UnreadableImage(cell.path, "there is no such file")
        seen.add(cell.name)
        return read_cell(cell)

    monkeypatch.setattr("cellnet.explain_run.read_cell", read_once)
    found = explain(network, [cells], tmp_path / "out", tsne=12, test=12, most_pictures=0)
    check(found)
    assert len(found["cells"]) == 12 and found["embedding"]["n"] == 11
    assert found["faithfulness"]["n"] == len(found["faithfulness"]["cells"]) == 11
    assert any(text.startswith("not taken apart: normal/norm") for text in found["warnings"])
    assert "normal/normal-1.png" not in {it["file"] for it in found["embedding"]["cells"]}
    assert (
        "not on the plane of t-SNE: normal/normal-1.png: there is no such file"
        in (found["warnings"])
    )


# ---------------------------------------------------------------- masks


def test_cells_called_alike_take_no_mask_of_another(network, cells, tmp_path):
    """Numbers begin at 0 in every folder: one mask of that number is nobody's for sure."""
    for label in ("normal", "dysplastic"):
        for at in range(6):
            (cells / label / f"{label}-{at}.png").rename(cells / label / f"{at}.png")
    mask = np.zeros((96, 96, 3), np.uint8)
    for label, side in (("normal", 24), ("dysplastic", 48)):
        (tmp_path / "laid" / label).mkdir(parents=True)
        mask[:side, :side] = 255
        for at in range(6):
            write_png(tmp_path / "laid" / label / f"{at}.png", mask)
    (tmp_path / "flat").mkdir()
    for at in range(6):
        write_png(tmp_path / "flat" / f"{at}.png", mask)

    found = explain(network, [cells], tmp_path / "out", masks=tmp_path / "flat", most_pictures=0)
    check(found)
    assert found["masks"]["n"] == 0 and len(found["masks"]["left_out"]) == 12
    reason = found["masks"]["left_out"][0]["reason"]
    assert reason == (
        "the mask 0.png may be that of 2 images (dysplastic/0.png, normal/0.png); give each image "
        "a name of its own, or lay images and masks in the same sub-folders of one folder each"
    )
    assert f"12 cells without a usable mask; the first is dysplastic/0.png: {reason}" in summary(
        found, tmp_path / "out"
    )
    assert "may be that of 2 images" in (tmp_path / "out" / PAGE).read_text("utf-8")

    found = explain(network, [cells], tmp_path / "two", masks=tmp_path / "laid", most_pictures=0)
    check(found)
    areas = {it["file"]: it["parts"]["cell"]["area"] for it in found["masks"]["cells"]}
    assert areas == {
        **{f"normal/{at}.png": 1 / 16 for at in range(6)},
        **{f"dysplastic/{at}.png": 1 / 4 for at in range(6)},
    }


def test_maps_on_the_cell_stand_beside_those_of_other_cells(network, cells, tmp_path):
    """By hand for one cell: the mean share that the maps of the others have on its mask."""
    found = explain(network, [cells], tmp_path / "out", target="granular",
                    masks=tmp_path / "masks")  # fmt: skip
    check(found)
    mask = np.zeros((96, 96), bool)
    mask[24:72, 24:72] = True
    on = {}
    for row in found["cells"]:
        values = np.maximum(np.load(tmp_path / "out" / row["pictures"]["values"]), 0)
        weight = cv2.resize(values, (96, 96), interpolation=cv2.INTER_LINEAR)
        if not row["faint"]:
            on[row["file"]] = weight[mask].sum() / weight.sum()
    assert len(on) > 2
    for cell in found["masks"]["cells"]:
        own = on.get(cell["file"])
        others = [share for file, share in on.items() if file != cell["file"]]
        part = cell["parts"]["cell"]
        assert part["weight"] == (None if own is None else pytest.approx(own, abs=1e-5))
        # Fields at the edge are a little more or less of a picture than those within.
        assert part["others"] == pytest.approx(np.mean(others), abs=5e-4)
    [every] = [it for it in found["masks"]["rows"] if (it["label"], it["part"]) == (None, "cell")]
    assert every["weight_less_others"]["value"] == pytest.approx(
        every["weight"]["value"] - every["others"]["value"]
    )
    page = (tmp_path / "out" / PAGE).read_text("utf-8")
    assert "of other cells' maps, %" in page
    assert "with others</span>" not in page
    # A cell explained for an answer of its own has no others; then the numbers differ.
    every["others"]["n"] -= 1
    page = explain_page.page(found, tmp_path / "out")
    assert f"{every['others']['n']} with others</span>" in page
    assert f", n = {every['others']['n']}\n" in summary(found, "out")
    assert f"of other cells' maps {every['others']['value']:.3f}" in summary(found, "out")


def test_photographs_are_taken_for_no_masks(network, cells, tmp_path):
    found = explain(network, [cells], tmp_path / "out", masks=cells, most_pictures=0)
    check(found)
    assert found["masks"]["n"] == 0 and found["masks"]["rows"] == []
    reasons = [it["reason"] for it in found["masks"]["left_out"]]
    assert len(reasons) == 12 and all("it is in colour" in reason for reason in reasons)
    assert str(cells / "dysplastic" / "dysplastic-0.png") in reasons[0]
    assert "12 cells without a usable mask" in summary(found, "out")


def test_a_network_without_operating_point_is_told_what_to_explain(
    keras_network, cells, tmp_path, capsys
):
    bare = write_bundle(tmp_path / "bare", keras_network, **SMALL)
    (bare / "operating_point.json").unlink()
    assert typed(bare, cells, "--out", tmp_path / "out") == 1
    assert "say with --class granular or hypogranular" in capsys.readouterr().err
    assert typed(bare, cells, "--out", tmp_path / "out", "--class", "hypogranular", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    check(document)
    assert document["cutoff"] is None
    assert {row["target"] for row in document["cells"]} == {"hypogranular"}
    assert {row["answer"]["dysplastic"] for row in document["cells"]} == {None}


def test_a_bundle_of_another_network_is_refused(cells, tmp_path, capsys):
    stranger = make_bundle(tmp_path / "models", "model1")
    assert typed(stranger, cells, "--out", tmp_path / "out") == 1
    assert "are not those of the network 'model1'" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["tensorflow", "sklearn", "matplotlib"])
def test_one_line_says_what_to_install(package, folder, cells, tmp_path):
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from cellnet.cli import main
sys.exit(main(sys.argv[1:]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, "explain", folder, cells, "--out", tmp_path / "out",
         "--tsne", "12"],
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert re.search("not installed; install the training extra: pip install", result.stderr)
    assert not (tmp_path / "out").exists()


def test_the_same_seed_gives_the_same_document(network, cells, tmp_path):
    def run(name, seed, **more):
        return explain(
            network, [cells], tmp_path / name, most_pictures=0, test=1, seed=seed, **more
        )

    one = run("one", 1, tsne=10)
    assert run("again", 1, tsne=10) == one
    other = run("other", 2)
    assert other["faithfulness"]["cells"] != one["faithfulness"]["cells"]
    assert other["cells"] == one["cells"]


# ---------------------------------------------------------------- the page


def test_the_page_loads_nothing_and_believes_no_name(network, cells, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    (cells / "normal" / "normal-0.png").rename(cells / "normal" / f"{evil}.png")
    document = explain(network, [cells], tmp_path / "out", tsne=12)
    page = (tmp_path / "out" / PAGE).read_text("utf-8")
    assert evil not in page and "onerror=alert(1)&gt;.png" in page
    assert "<script" not in page and "<link" not in page
    addresses = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert len(addresses) == 12 * 5 + 2
    assert all(it.startswith("data:image/") for it in addresses)
    assert "url(" not in page and "@import" not in page
    assert page == explain_page.page(document, tmp_path / "out")
    [row] = [row for row in document["cells"] if evil in row["file"]]
    assert re.fullmatch(r"pictures/0007-[A-Za-z0-9_-]+\.map\.png", row["pictures"]["map"])


def test_the_page_says_what_it_is_for(network, cells, tmp_path):
    explain(network, [cells / "normal" / "normal-1.png"], tmp_path / "out", target="granular")
    page = (tmp_path / "out" / PAGE).read_text("utf-8")
    for words in ("For research", "no medical device", "7 x 7 fields", "map for <b>granular</b>"):
        assert words.lower() in page.lower()


# ---------------------------------------------------------------- the maps


@pytest.mark.parametrize("quantise", [False, True])
def test_the_map_is_that_of_the_exports_and_of_keras(quantise, tmp_path, images, monkeypatch):
    monkeypatch.setattr(export_parity, "_CELLS", 4)  # whole smears are for what is shipped
    arguments = {"blocks": 4, "width": 16, "hidden": 2}
    original = random_network(seed=1, **arguments)
    source = write_bundle(tmp_path / "bundle", original, quantise=quantise, **arguments)
    export(source, "savedmodel", tmp_path / "saved")
    exported = open_outputs(tmp_path / "saved", "activation_map", "activation_map")(images)
    network = Network(load(source))
    found = np.stack([network.look(image).maps for image in images])
    np.testing.assert_allclose(found, exported, atol=1e-6 * np.abs(exported).max())
    if not quantise:
        np.testing.assert_allclose(found, grad_cam(original, images), atol=1e-4)


def test_the_file_of_a_map_holds_what_the_network_gave(network, cells, tmp_path):
    file = cells / "normal" / "normal-1.png"
    [row] = explain(network, [file], tmp_path / "out", target="hypogranular")["cells"]
    wanted = network.look(read_image(file)).maps[..., 0]
    values = np.load(tmp_path / "out" / row["pictures"]["values"])
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, wanted)


def test_every_layer_answers_as_in_keras(network, keras_network, images):
    names = [layer.name for layer in keras_network.layers if layer.name in network.layers]
    assert names == network.layers
    inside = keras.Model(keras_network.input, [keras_network.get_layer(it).output for it in names])
    wanted = inside(prepared(keras_network, images[:1]), training=False)
    for name, values in zip(names[:-1], wanted[:-1], strict=True):
        found = network.features(images[0], name)
        np.testing.assert_allclose(found.reshape(values.shape[1:]), values[0], atol=1e-4)
    logit = network.features(images[0], names[-1])
    np.testing.assert_allclose(1 / (1 + np.exp(-logit[0, 0])), wanted[-1][0], atol=1e-5)
    with pytest.raises(CellnetError, match="has no layer 'conv9'; its layers are conv1, pool1"):
        network.features(images[0], "conv9")


def guided_by_hand(model: keras.Model, image: np.ndarray, sign: int) -> np.ndarray:
    """Springenberg's rule, one layer after the other, each with a gradient of its own."""
    x = tf.constant(prepared(model, image[None]))
    steps = []
    for layer in model.layers[1:]:
        if layer.name == "dropout":
            continue
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            if hasattr(layer, "activation"):
                end, layer.activation = layer.activation, keras.activations.linear
                before = layer(x)
                layer.activation = end
                is_relu = end is keras.activations.relu
                after = tf.nn.relu(before) if is_relu else before
            else:
                before, is_relu = layer(x), False
                after = before
        steps.append((tape, x, before, is_relu))
        x = after
    gradient = tf.fill(x.shape, float(sign))
    for tape, given, before, is_relu in reversed(steps):
        if is_relu:
            gradient = tf.where((gradient > 0) & (before > 0), gradient, 0.0)
        gradient = tape.gradient(before, given, output_gradients=gradient)
    return gradient.numpy()[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_guided_gradients_pass_where_value_and_gradient_are_over_0(
    sign, network, keras_network, drawn_cell
):
    image = drawn_cell("neutrophil", 2, 96)
    wanted = guided_by_hand(keras_network, image, sign)
    found = network.guided_gradient(image, 0, sign)
    assert found.shape == (299, 299, 3) and np.abs(wanted).max() > 0
    # Where a value is all but 0, or two of a pool all but equal, rounding decides the way back.
    same = np.abs(found - wanted) <= 1e-4 * np.abs(wanted).max()
    assert same.mean() > 0.999


def test_a_field_depends_on_so_many_pixels_and_no_more(network, images):
    def features(image):
        return network.look(image).features

    size = 299
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    changed = image.copy()
    # The first field begins at the first pixel, so its last one is at `field` - 1.
    changed[network.field :] ^= 255
    np.testing.assert_array_equal(features(changed)[0], features(image)[0])
    assert network.field == 94  # 1, then 2 and 1, 4 and 2, ... 32 and 16 more


@pytest.mark.slow
@pytest.mark.parametrize(("name", "block"), [("model1", "conv6"), ("dysplasianet", "pool4")])
def test_the_shipped_models_are_explained(name, block, drawn_cell, tmp_path):
    bundle = load(SHIPPED / name)
    network = Network(bundle)
    assert network.block == block
    stated = bundle.description["network"]
    built = networks.build(stated["name"], **stated["arguments"])
    wanted = [layer.name for layer in built.layers if layer.name in network.layers]
    assert network.layers == wanted
    files = []
    for label in CLASSES:
        files.append(tmp_path / "cells" / f"{label}.png")
        files[-1].parent.mkdir(exist_ok=True)
        write_png(files[-1], drawn_cell(label, 1, 128))
    found = explain(network, files, tmp_path / "out", test=2)
    check(found)
    assert found["largest_difference"] < 0.05
    assert found["seen"] == {"train": 0, "validation": 0}
    assert list(targets(bundle)) == found["targets"]
    if name == "model1":
        assert [row["target"] for row in found["cells"]] == [
            max(targets(bundle), key=lambda it, row=row: it == row["answer"]["label"])
            if row["answer"]["label"] != "other"
            else row["target"]
            for row in found["cells"]
        ]


# ---------------------------------------------------------------- which cells


def test_labels_come_from_folders(class_folders, tmp_path):
    cells = class_folders(1, classes=("monocyte", "neutrophil"))
    (cells / "batch-7").mkdir()
    (cells / "neutrophil" / "000.png").rename(cells / "batch-7" / "a.png")
    (cells / "neutrophil" / "good").mkdir()
    (cells / "monocyte" / "000.png").rename(cells / "neutrophil" / "good" / "b.png")
    found = find_cells([cells], "probabilities").cells
    assert {cell.name: cell.label for cell in found} == {
        "batch-7/a.png": "batch-7", "neutrophil/good/b.png": "neutrophil",
    }  # fmt: skip
    [alone] = find_cells([cells / "neutrophil"], "probabilities").cells
    assert alone.label == "neutrophil"
    [single] = find_cells([cells / "batch-7" / "a.png"], "probabilities").cells
    assert single.label is None


def test_of_a_manifest_a_split_is_explained(network, cells, tmp_path):
    def row(path, **more):
        data = (cells / path).read_bytes()
        return Row(path, hashlib.sha256(data).hexdigest(), **{"label": "neutrophil", **more})

    rows = [
        row(f"{label}/{label}-{k}.png", split="test", source_cell=f"cell {k}", suppression=g)
        for label, g in (("normal", "0.1"), ("dysplastic", "0.9"))
        for k in range(3)
    ]
    rows += [
        row("normal/normal-4.png", split="test", label="monocyte", source_cell="other"),
        row("normal/normal-5.png", split="train", source_cell="cell 5", suppression="0"),
    ]
    write_manifest(tmp_path / "list", rows, cells)
    write_png(cells / "normal" / "normal-1.png", np.zeros((20, 20, 3), np.uint8))
    found = explain(network, [tmp_path / "list"], tmp_path / "out", most_pictures=0)
    check(found)
    assert found["data"]["manifest"] == "list/manifest.csv" and found["data"]["split"] == "test"
    assert found["grouped_by"] == "source_cell"
    labels = {row["file"]: row["label"] for row in found["cells"]}
    assert labels["normal/normal-0.png"] == "normal" and len(labels) == 5
    assert labels["dysplastic/dysplastic-2.png"] == "dysplastic"
    [changed] = found["unreadable"]
    assert changed["file"] == "normal/normal-1.png" and "sha256" in changed["reason"]
    assert any("1 cells of the manifest that are no neutrophils" in it for it in found["warnings"])
    train = find_cells([tmp_path / "list" / "manifest.csv"], "probabilities", "train")
    assert [cell.label for cell in train.cells] == ["neutrophil"]
    with pytest.raises(CellnetError, match="has no split 'validation'"):
        find_cells([tmp_path / "list"], "granularity", "validation")
    rows = [replace(row, source_cell="" if number else "tied") for number, row in enumerate(rows)]
    write_manifest(tmp_path / "mixed", rows, cells)
    mixed = find_cells([tmp_path / "mixed"], "granularity").cells
    # Cells that nothing ties to others are no group.
    assert len({cell.group for cell in mixed}) == len(mixed) == 6
    with pytest.raises(CellnetError, match="a manifest is explained alone"):
        find_cells([tmp_path / "list", cells], "granularity")


def cohort(folder: Path, cells: Path, about: dict, **more) -> Path:
    """A manifest of the drawn neutrophils, their granules taken out where they are dysplastic."""
    rows = [
        Row(
            f"{label}/{label}-{k}.png",
            hashlib.sha256((cells / label / f"{label}-{k}.png").read_bytes()).hexdigest(),
            "neutrophil",
            split="test",
            suppression=g,
            **more,
        )
        for label, g in (("normal", "0.1"), ("dysplastic", "0.9"))
        for k in range(6)
    ]
    write_manifest(folder, rows, cells, about)
    return folder


def test_reasons_for_caution_are_those_of_evaluate(folder, network, cells, tmp_path, capsys):
    about = {"simulated": "hypogranulation is simulated", "repeats": "cells repeat"}
    listed = cohort(tmp_path / "list", cells, about, source="drawn by hand")
    wanted = evaluate(folder, listed, repeats=20, progress=False)["warnings"]
    for words in ("no patient and no real smear is known", "12 of 12 cells are drawn", "simulated"):
        assert any(words in text for text in wanted)
    assert typed(folder, listed, "--out", tmp_path / "out", "--pictures", 0, "--json") == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    check(document)
    assert set(wanted) <= set(document["warnings"])
    assert all(text in said.err for text in wanted)
    page = (tmp_path / "out" / PAGE).read_text("utf-8")
    assert all(text.replace("'", "&#39;") in page for text in wanted)
    assert all(f"  warning: {text}" in summary(document, "out") for text in wanted)
    assert not any("cells repeat" in text for text in document["warnings"])  # that is of smears
    smears = cohort(tmp_path / "smears", cells, about, smear="s-1")
    found = explain(network, [smears], tmp_path / "two", most_pictures=0)
    assert "cells repeat; intervals by smear take the smears as independent" in found["warnings"]
    known = cohort(tmp_path / "known", cells, {}, patient="p")
    found = explain(network, [known], tmp_path / "three", most_pictures=0)
    assert not any(words in text for text in found["warnings"] for words in ("patient", "drawn"))


# ---------------------------------------------------------------- cells of the network's class


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A home of models that name painted cells."""
    home = make_bundles(tmp_path / "models")
    monkeypatch.setenv("CELLNET_MODELS", str(home))
    return home


def told_left_out(number: int, given: int, by: str, counts: str, of: str = "neutrophil") -> str:
    return f"{number} of {given} cells are no {of}s by {by} and were left out: {counts}"


def test_of_a_smear_neutrophils_alone_are_explained(folder, models, tmp_path, capsys):
    smear = paint_smear(tmp_path / "smear", normal=4, dysplastic=3, lymphocytes=17)
    assert typed(folder, smear, "--out", tmp_path / "out", "--json", "--pictures", 0) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    check(document)
    wanted = told_left_out(17, 24, "model1 0.0.1", "17 lymphocyte")
    assert [cell["file"] for cell in document["cells"]] == [f"cell_{k:04}.png" for k in range(7)]
    assert wanted in document["warnings"] and wanted in said.err
    assert wanted in summary(document, tmp_path / "out")
    page = (tmp_path / "out" / PAGE).read_text("utf-8")
    assert wanted in page and "Cells named by</dt><dd>model1 0.0.1" in page
    assert document["classifier"] == load("model1").identity()
    assert main(["predict-smear", str(smear), "--json"]) == 0
    differential = json.loads(capsys.readouterr().out)["differential"]
    assert differential["neutrophil"]["count"] == len(document["cells"])


def test_none_explains_all_and_says_so(network, models, tmp_path):
    smear = paint_smear(tmp_path / "smear", normal=2, lymphocytes=2)
    for name in ("none", None):
        out = tmp_path / f"out-{name}"
        found = explain(network, [smear], out, classifier=name, most_pictures=0)
        check(found)
        told = "all 4 cells are explained as neutrophils, whatever they show (--classifier none)"
        assert len(found["cells"]) == 4 and found["classifier"] is None
        assert told in found["warnings"] and told in (out / PAGE).read_text("utf-8")


def test_folders_of_classes_need_no_network_to_name_cells(network, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLNET_MODELS", str(tmp_path))
    home = tmp_path / "cells"
    for place in ("neutrophil/a", "dysplastic/b", "lymphocyte/c", "lymphocyte/normal/d", "ig/e"):
        paint_cell(home / f"{place}.png", "neutrophil")
    found = explain(network, [home], tmp_path / "out", most_pictures=0)
    check(found)
    assert [cell["file"] for cell in found["cells"]] == ["dysplastic/b.png", "neutrophil/a.png"]
    told = told_left_out(3, 5, "the folders that they lie in", "1 ig, 2 lymphocyte")
    assert told in found["warnings"] and found["classifier"] is None
    paint_cell(home / "batch-7" / "f.png", "neutrophil")
    with pytest.raises(CellnetError, match="no model is called 'model1'.*--classifier none") as it:
        explain(network, [home], tmp_path / "two")
    assert "dysplasianet knows neutrophils alone" in str(it.value)
    assert not (tmp_path / "two").exists()


def test_folders_and_the_naming_network_are_told_apart(network, models, tmp_path):
    home = tmp_path / "cells"
    paint_cell(home / "lymphocyte" / "1.png", "neutrophil")
    for number, label in enumerate(("neutrophil", "monocyte", "other", "neutrophil")):
        paint_cell(home / f"{number}.png", label, mark=number)
    (home / "4.png").write_bytes(b"")
    found = explain(network, [home], tmp_path / "out", most_pictures=0)
    check(found)
    assert [cell["file"] for cell in found["cells"]] == ["0.png", "3.png"]
    assert found["unreadable"] == [{"file": "4.png", "reason": "the file is empty"}]
    for told in (
        told_left_out(1, 6, "the folders that they lie in", "1 lymphocyte"),
        told_left_out(2, 6, "model1 0.0.1", "1 monocyte, 1 other"),
    ):
        assert told in found["warnings"]


def test_where_no_cell_of_the_class_is_left_the_reason_is_told(folder, models, tmp_path, capsys):
    smear = paint_smear(tmp_path / "smear", normal=0, lymphocytes=3)
    (smear / "z.png").write_bytes(b"")
    assert typed(folder, smear, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert told_left_out(3, 4, "model1 0.0.1", "3 lymphocyte") + "; 1 cannot be read" in told
    assert "no cell is left for dysplasianet, which knows neutrophils alone" in told
    assert "or explain all with --classifier none" in told
    smear.rename(tmp_path / "lymphocyte")
    assert typed(folder, tmp_path / "lymphocyte", "--out", tmp_path / "out") == 1
    assert "4 of 4 cells are no neutrophils by the folders" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_that_names_other_classes_names_no_cells(network, models, tmp_path):
    smear = paint_smear(tmp_path / "smear", normal=1)
    for name in ("dysplasianet", str(make_specialist(tmp_path, "kinds"))):
        with pytest.raises(CellnetError, match="name one with --classifier"):
            explain(network, [smear], tmp_path / "out", classifier=name)


def test_a_specialist_is_asked_about_its_class_alone(models, tmp_path):
    home = tmp_path / "cells"
    for place, label in (
        ("early/a", "monocyte"), ("Late/b", "other"), ("batch/c", "lymphocyte"),
        ("batch/d", "neutrophil"), ("neutrophil/e", "lymphocyte"), ("lymphocyte/f", "other"),
        ("neutrophil/late/g", "lymphocyte"),
    ):  # fmt: skip
        paint_cell(home / f"{place}.png", label)
    bundle = load(make_specialist(tmp_path, "kinds", of="lymphocyte"))
    found = find_cells([home], bundle.kind, None, bundle.labels)
    selection = Selection(bundle, found, "model1")
    selection.name(1, False)
    names = [cell.name for cell in selection.found.cells]
    assert names == ["Late/b.png", "batch/c.png", "early/a.png", "lymphocyte/f.png"]
    assert selection.found.warnings == [
        told_left_out(2, 7, "the folders that they lie in", "2 neutrophil", "lymphocyte"),
        told_left_out(1, 7, "model1 0.0.1", "1 neutrophil", "lymphocyte"),
    ]
    assert {cell.name for cell in (*selection.found.cells, *selection.found.others)} == {
        cell.name for cell in found.cells
    }
    for free in (load(make_specialist(tmp_path, "free")), load("model1")):
        kept = Selection(free, found, "model1")
        assert kept.found is found and kept.classifier is None


def test_a_mask_may_be_that_of_a_cell_that_was_left_out(network, models, tmp_path):
    for number, label in ((1, "neutrophil"), (2, "lymphocyte")):
        paint_cell(tmp_path / "cells" / str(number) / "a.png", label)
    mask = np.zeros((40, 40, 3), np.uint8)
    mask[10:30, 10:30] = 255
    (tmp_path / "masks").mkdir()
    write_png(tmp_path / "masks" / "a.png", mask)
    found = explain(network, [tmp_path / "cells"], tmp_path / "out", most_pictures=0,
                    masks=tmp_path / "masks")  # fmt: skip
    [left_out] = found["masks"]["left_out"]
    assert left_out["file"] == "1/a.png" and "may be that of 2 images" in left_out["reason"]


# ---------------------------------------------------------------- real cells


@pytest.mark.slow
def test_on_real_neutrophils_the_map_lies_on_the_cell(shared_data, tmp_path):
    home = shared_data / "zheng_cellavision"
    if not home.is_dir():
        pytest.skip(f"no masks: {home} is not there")
    found = explain(
        SHIPPED / "dysplasianet", [home / "images" / "neutrophil"], tmp_path / "out",
        masks=home / "masks", most_pictures=0,
    )  # fmt: skip
    rows = {row["part"]: row for row in found["masks"]["rows"]}
    assert rows["cell"]["n"] == 33 and not found["masks"]["left_out"]
    assert rows["cell"]["weight_less_area"]["ci95"][0] > 0.1
    assert rows["cytoplasm"]["weight_less_area"]["ci95"][0] > 0.1
