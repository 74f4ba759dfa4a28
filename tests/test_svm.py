"""Support vector machines: what they learn, how folds stay apart, and what is read back."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="machines need the training extra")
pytest.importorskip("skops", reason="machines need the training extra")

from cellnet import svm
from cellnet.errors import CellnetError


def corners(n=40, seed=0):
    """Four clouds of which opposite ones are of one class: no line divides them."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1, 1], (n, 2))
    features = (signs + rng.normal(0, 0.1, (n, 2))).astype(np.float32)
    return features, (signs.prod(axis=1) > 0).astype(np.int64)


@pytest.mark.parametrize("kernel", ["rbf", "quadratic"])
def test_kernels_bend(kernel):
    features, labels = corners()
    trained = svm.machine(kernel, 1.0).fit(features, labels)
    assert (trained.predict(features) == labels).all()


def test_the_polynomials_are_those_of_the_literature():
    """(1 + g x.y)^d: the machine's own sum over its support vectors, computed here."""
    features, labels = corners()
    for kernel, degree in (("quadratic", 2), ("cubic", 3)):
        trained = svm.machine(kernel, 1.0).fit(features, labels)
        scaler, machine = trained
        x = scaler.transform(features)
        gamma = 1 / (x.shape[1] * x.var())
        product = (1 + gamma * x @ machine.support_vectors_.T) ** degree
        expected = product @ machine.dual_coef_[0] + machine.intercept_[0]
        np.testing.assert_allclose(trained.decision_function(features), expected, atol=1e-5)


def test_there_are_three_kernels():
    with pytest.raises(CellnetError, match="no kernel 'linear'.*rbf, quadratic, cubic"):
        svm.machine("linear", 1.0)


def test_standardisation_stays_within_the_fold():
    """An outlier among the tested cells moves no mean that others are measured by."""
    features, labels = corners(60)
    folds = np.arange(60) % 3
    before = dict(svm.cross_validate(features, labels, folds, "rbf", 1.0))
    changed = features.copy()
    outlier = int(np.flatnonzero(folds == 1)[0])
    changed[outlier] = 1e4
    after = dict(svm.cross_validate(changed, labels, folds, "rbf", 1.0))
    np.testing.assert_array_equal(before[1][1:], after[1][1:])
    assert sorted(before) == [0, 1, 2]
    assert sum(len(answers) for answers in before.values()) == 60


@pytest.fixture
def stored(tmp_path):
    features, labels = corners()
    trained = svm.machine("cubic", 2.0).fit(features, labels)
    file = tmp_path / "corners-cubic.skops"
    svm.save(trained, file, {"answers": ["across", "along"], "kernel": "cubic"})
    return file


def test_a_stored_machine_answers_as_it_did(stored):
    features, labels = corners()
    expected = svm.machine("cubic", 2.0).fit(features, labels).decision_function(features)
    trained, about = svm.load(stored)
    np.testing.assert_array_equal(trained.decision_function(features), expected)
    assert about["schema"] == "cellnet/svm/1" and about["answers"] == ["across", "along"]


def test_no_pickle_is_stored(stored):
    with zipfile.ZipFile(stored) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".npy"):
                np.load(io.BytesIO(data), allow_pickle=False)
            else:
                json.loads(data)


def test_other_bytes_are_refused(stored):
    stored.write_bytes(stored.read_bytes() + b"\0")
    with pytest.raises(CellnetError, match="not the one that corners-cubic.json names"):
        svm.load(stored)


def claim(stored, data):
    """Put other bytes in a machine's place, with a description that names them."""
    import hashlib

    beside = stored.with_suffix(".json")
    about = json.loads(beside.read_text())
    beside.write_text(json.dumps({**about, "sha256": hashlib.sha256(data).hexdigest()}))
    stored.write_bytes(data)


def test_types_that_no_machine_has_are_refused(stored):
    """Even such as skops itself trusts: its list is that of all of scikit-learn and more."""
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(2, random_state=0).fit(*corners())
    data = skops.io.dumps(forest)
    claim(stored, data)
    with pytest.raises(CellnetError, match="types that no machine of cellnet has.*do not trust"):
        svm.load(stored)


def test_a_type_under_another_loader_is_refused(stored):
    """The loader decides what is done with a type, so both are compared."""
    parts = {}
    with zipfile.ZipFile(stored) as archive:
        for name in archive.namelist():
            parts[name] = archive.read(name)
    parts["schema.json"] = parts["schema.json"].replace(b'"TupleNode"', b'"ReduceNode"')
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    claim(stored, file.getvalue())
    with pytest.raises(CellnetError, match="ReduceNode"):
        svm.load(stored)


@pytest.mark.parametrize("data", [pickle.dumps([1]), b"", b"PK\x03\x04 torn"])
def test_what_is_no_skops_file_is_refused(stored, data):
    claim(stored, data)
    with pytest.raises(CellnetError, match="cannot be read"):
        svm.load(stored)


def test_missing_files_are_named(stored, tmp_path):
    with pytest.raises(CellnetError, match="nothing.skops"):
        svm.load(tmp_path / "nothing.skops")
    stored.with_suffix(".json").write_text("{}")
    with pytest.raises(CellnetError, match="does not describe a machine"):
        svm.load(stored)
