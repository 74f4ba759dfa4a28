"""Run a LiteRT model: arrays in, arrays out, without TensorFlow.

One image is one invocation, whatever the caller groups, so an answer cannot depend on the company
that a cell keeps, and batches would gain nothing here: on two cores the quantised Model 1 takes 5.8
ms an image alone and 5.9 in a batch of 8. Speed comes from threads that each take an interpreter
of their own (5.5 ms a cell for both networks on two threads, 9.9 on one). Reading images and
sharing out the work is left to ``scoring``.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cellnet.errors import CellnetError

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

__all__ = ["Runtime", "default_threads"]

_MOST_THREADS = 8  # each holds its own copy of the packed weights, 30 MB for Model 1

_hush_lock = threading.Lock()
_has_spoken = False


def default_threads() -> int:
    """Say how many threads to run: one for each core that this process may use, at most eight.

    The environment variable ``CELLNET_THREADS`` takes the place of that number.

    Raises:
        CellnetError: The variable is no whole number of at least 1.
    """
    given = os.environ.get("CELLNET_THREADS")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise CellnetError(
                f"CELLNET_THREADS must be a whole number of at least 1, got '{given}'"
            )
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


class Runtime:
    """One model, ready to run; safe to call from several threads at once.

    The weights stay mapped from the file. Interpreters are made when they are first needed, as many
    as there are callers at the same time.

    Attributes:
        file: The LiteRT flatbuffer.
        shape: Shape of one input, ``(height, width, 3)``.
        outputs: How many numbers answer one image.
    """

    def __init__(self, file: Path, shape: tuple[int, int, int], outputs: int):
        self.file = file
        self.shape = shape
        self.outputs = outputs
        self._idle: list[_Model] = []

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Run the model on each image.

        Args:
            images: ``(n, height, width, 3) float32``, in the range that the bundle states.

        Returns:
            ``(n, outputs) float32``; row i depends on image i alone.

        Raises:
            CellnetError: Wrong shape or type, the file is no such model, or it answers something
                that is not a number.
        """
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != self.shape:
            raise CellnetError(
                f"{self.file.name} takes float32 images of shape (n, "
                f"{', '.join(map(str, self.shape))}), got {images.dtype} of {images.shape}"
            )
        answer = np.empty((len(images), self.outputs), np.float32)
        with self._model() as model:
            for number in range(len(images)):
                answer[number] = model.run(images[number : number + 1])
        if not np.isfinite(answer).all():
            raise CellnetError(
                f"the model {self.file} answered something that is not a number; "
                "its weights or its input are damaged"
            )
        return answer

    @contextlib.contextmanager
    def _model(self) -> Iterator[_Model]:
        try:
            model = self._idle.pop()  # atomic, as is append
        except IndexError:
            model = _Model(self.file, self.shape, self.outputs)
        yield model  # one that failed is not put back
        self._idle.append(model)


class _Model:
    """An interpreter with room for one image, for one thread at a time."""

    def __init__(self, file: Path, shape: tuple[int, int, int], outputs: int):
        try:
            self.interpreter = _open(file)
        except (ValueError, RuntimeError, OSError) as error:
            raise CellnetError(
                f"{file} cannot be opened as a LiteRT model: {_one_line(error)}"
            ) from error
        given = self.interpreter.get_input_details()
        answered = self.interpreter.get_output_details()
        found = [_tensor(detail) for detail in (*given, *answered)]
        wanted = [f"float32 {(1, *shape)}", f"float32 {(1, outputs)}"]
        if len(given) != 1 or found != wanted:
            raise CellnetError(
                f"the tensors of {file} are {'; '.join(found)}, expected {'; '.join(wanted)}"
            )
        self.input = given[0]["index"]
        self.output = answered[0]["index"]

    def run(self, image: np.ndarray) -> np.ndarray:
        self.interpreter.set_tensor(self.input, image)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)[0]


def _open(file: Path) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    with _hush():
        given = interpreter.get_input_details()[0]
        if given["shape"][0] != 1:
            interpreter.resize_tensor_input(given["index"], [1, *given["shape"][1:]])
        interpreter.allocate_tensors()
    return interpreter


@contextlib.contextmanager
def _hush() -> Iterator[None]:
    """Hold back the runtime's INFO lines on standard error; everything else is passed on.

    It announces its delegate once a process, while the first interpreter is made ready, from C++,
    where no setting of Python reaches. Later calls do nothing, and wait for no one.
    """
    global _has_spoken
    with contextlib.ExitStack() as stack:
        with _hush_lock:
            if not _has_spoken:
                _has_spoken = True
                stack.enter_context(_without_info_lines())
        yield


@contextlib.contextmanager
def _without_info_lines() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    try:
        with _scratch() as said:
            os.dup2(said.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                said.seek(0)
                for line in said:
                    if not line.startswith(b"INFO:"):
                        os.write(2, line)
    finally:
        os.close(kept)


def _scratch() -> IO[bytes]:
    # In memory where the system can: a server may have no folder that it can write to.
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("cellnet"), "w+b")
    return tempfile.TemporaryFile()


def _tensor(detail: dict[str, Any]) -> str:
    return f"{np.dtype(detail['dtype']).name} {tuple(int(side) for side in detail['shape'])}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
