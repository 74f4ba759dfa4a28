"""TensorFlow, imported without its chatter, or an error that says which extra brings it.

TensorFlow writes remarks about its own build to standard error on import and again with its first
operation, past every Python setting, where a user looks for what went wrong with the training. What
it later logs is advice to who writes such programs: only errors of it are shown.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from cellnet.errors import CellnetError

__all__ = ["import_tensorflow", "quietly"]


def import_tensorflow() -> ModuleType:
    """Import TensorFlow and run one operation, with standard error held back unless it fails.

    Raises:
        CellnetError: TensorFlow is not installed.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with quietly():
            tensorflow = importlib.import_module("tensorflow")
            tensorflow.zeros(1)
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
            return tensorflow
    except ModuleNotFoundError as error:
        raise CellnetError(
            "this needs TensorFlow, which is not installed; "
            'install the training extra: pip install "cellnet[train]"'
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back what is written to standard error, and write it after all where work fails."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except ModuleNotFoundError:
            raise
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
