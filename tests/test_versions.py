"""What a measured number rests on is named as it is installed."""

import importlib.metadata

import numpy as np

from cellnet.versions import environment


def test_packages_that_are_installed_are_named_and_others_left_out():
    found = environment("numpy", "no-such-package-anywhere")
    assert list(found) == ["python", "machine", "system", "numpy"]
    assert found["numpy"] == np.__version__ == importlib.metadata.version("numpy")
    assert all(isinstance(value, str) and value for value in found.values())
