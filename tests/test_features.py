"""Features of cells: computed once, kept in parts, and from the network that was asked for."""

import json

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="features need the training extra")

from network_bundles import random_network, write_bundle  # noqa: E402

from cellnet import features  # noqa: E402
from cellnet.bundle import load  # noqa: E402
from cellnet.draw import draw_set  # noqa: E402
from cellnet.errors import CellnetError  # noqa: E402
from cellnet.features import Extractor, extract, open_extractor  # noqa: E402
from cellnet.images import read_image, resize  # noqa: E402
from cellnet.manifest import read_manifest  # noqa: E402


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "drawn"
    draw_set(folder, 3, per_class=3, smears=0)
    return read_manifest(folder)


class Counting:
    """A network that tells the mean of each channel, and how many images it was shown."""

    def __init__(self, key="a", broken=False):
        self.shown = 0
        self.broken = broken
        self.extractor = Extractor({"backbone": key, "layer": "mean"}, 8, self.run)

    def run(self, images):
        self.shown += len(images)
        values = images.mean(axis=(1, 2))
        return values * np.nan if self.broken else values


def test_rows_keep_their_order_and_parts_are_reused(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PART", 7)
    network = Counting()
    found = extract(network.extractor, cells, cells.rows, tmp_path / "parts")
    expected = [
        (resize(read_image(cells.path_of(row)), 8) / 255).mean(axis=(0, 1)) for row in cells.rows
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert network.shown == 24 and found.dtype == np.float32
    assert len(list((tmp_path / "parts").glob("*.npz"))) == 4
    again = extract(network.extractor, cells, cells.rows, tmp_path / "parts")
    assert network.shown == 24
    np.testing.assert_array_equal(found, again)
    # What was cut off is computed again, and nothing else.
    torn = tmp_path / "parts" / "00001.npz"
    torn.write_bytes(torn.read_bytes()[:50])
    extract(network.extractor, cells, cells.rows, tmp_path / "parts")
    assert network.shown == 31


def test_parts_of_another_network_or_of_other_cells_are_not_taken(cells, tmp_path):
    extract(Counting().extractor, cells, cells.rows, tmp_path)
    other = Counting("b")
    extract(other.extractor, cells, cells.rows, tmp_path)
    assert other.shown == 24
    fewer = Counting("b")
    assert len(extract(fewer.extractor, cells, cells.rows[1:], tmp_path)) == fewer.shown == 23


def test_values_that_are_no_numbers_stop_the_run(cells, tmp_path):
    with pytest.raises(CellnetError, match="no number.*weights are broken"):
        extract(Counting(broken=True).extractor, cells, cells.rows, tmp_path)
    assert not list(tmp_path.glob("*.npz"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    arguments = {"blocks": 6, "width": 4, "hidden": 1}
    folder = tmp_path_factory.mktemp("bundle")
    return write_bundle(folder, random_network(**arguments), **arguments), arguments


def test_a_model_of_this_project_shows_its_layers(bundle, cells, tmp_path):
    """Its last layer is the logit: the score follows from it, and a hidden layer is Keras's."""
    folder, arguments = bundle
    asked = [row for row in cells.rows if row.label == "neutrophil"]
    last = open_extractor(None, "granularity", str(folder))
    logits = extract(last, cells, asked, tmp_path / "last")
    model = load(folder)
    inputs = np.stack([model.prepare(read_image(cells.path_of(row))) for row in asked])
    scores = model.runtime().predict(inputs)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, atol=1e-4)

    hidden = open_extractor(None, "dense1", str(folder))
    network = random_network(**arguments)
    expected = keras.Model(network.input, network.get_layer("dense1").output)(inputs)
    np.testing.assert_allclose(
        extract(hidden, cells, asked, tmp_path / "hidden"), np.asarray(expected), atol=1e-4
    )
    assert hidden.about["weights"]["from"] == "model" and hidden.about["features"] == 4
    assert hidden.about["weights"]["sha256"] == model.sha256
    assert hidden.bundle is not None
    json.dumps(hidden.about)
    with pytest.raises(CellnetError, match="no layer 'fc1'; it has .*conv1"):
        open_extractor(None, "fc1", str(folder))


def test_what_does_not_belong_together_is_refused(bundle):
    folder, _ = bundle
    with pytest.raises(CellnetError, match="leave name, size and arguments out"):
        open_extractor("VGG16", "dense1", str(folder))
    with pytest.raises(CellnetError, match="the network must be named"):
        open_extractor(None, "fc1", "imagenet")
