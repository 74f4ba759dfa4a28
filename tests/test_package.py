"""The public names are few, lazy, and there."""

import subprocess
import sys

import pytest

import cellnet
from cellnet.errors import CellnetError, UnreadableImage

HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "matplotlib", "cv2", "PIL")


def test_import_loads_nothing_heavy():
    code = f"import cellnet, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_networks_is_a_lazy_subpackage():
    code = (
        "import cellnet, sys; assert 'cellnet.networks' not in sys.modules;"
        "cellnet.networks.build; print('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", cellnet.__all__)
def test_public_names_are_there_and_listed(name):
    assert getattr(cellnet, name) is not None
    assert name in dir(cellnet)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'smears_of_joy'"):
        cellnet.smears_of_joy  # noqa: B018


def test_unreadable_image_says_path_and_reason_and_survives_pickling():
    import pickle

    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "the file is empty")))
    assert isinstance(error, CellnetError)
    assert (error.path, error.reason) == ("a.jpg", "the file is empty")
    assert str(error) == "cannot read the image a.jpg: the file is empty"
