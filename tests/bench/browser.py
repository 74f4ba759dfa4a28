"""The Python side of ``export/e2e/bench.mjs``: the same images through Python's runtimes.

LiteRT with the bundles' weights is what cellnet runs; ONNX Runtime with float32 weights is the mark
that the browser is held against, where its package and the ONNX exports are there. On one thread
and on two, from pixels to the answer: resizing is part of it, decoding is not. Prints one JSON
document.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.bundle import load
from cellnet.images import find_images, read_image
from cellnet.predict import predict_smear

MODELS = ("model1", "dysplasianet")


def median_ms(run: Callable[[np.ndarray], object], inputs: list[np.ndarray], rounds: int) -> float:
    """Median of a call, in milliseconds, once everything is warm."""
    for given in inputs:
        run(given)
    taken = []
    for _ in range(rounds):
        for given in inputs:
            start = time.perf_counter()
            run(given)
            taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def litert(name: str, images: list[np.ndarray], rounds: int) -> dict[str, float]:
    """One interpreter alone: with more threads cellnet runs one for each."""
    bundle = load(name)
    runtime = bundle.runtime()

    def run(image: np.ndarray) -> np.ndarray:
        return runtime.predict(bundle.prepare(image)[None])

    return {"1": median_ms(run, images, rounds)}


def onnx(file: Path, name: str, images: list[np.ndarray], rounds: int) -> dict[str, float]:
    """ONNX Runtime in float32, the resize within the graph as in every export."""
    import onnxruntime

    answer = load(name).kind
    found = {}
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # 8-bit weights become floats once, when the session is made, instead of at each call.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        key = session.get_inputs()[0].name

        def run(image: np.ndarray, session: Any = session, key: str = key) -> Any:
            return session.run([answer], {key: image[None]})

        found[str(threads)] = median_ms(run, images, rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smear", type=Path, required=True, help="a folder of cells")
    parser.add_argument("--exports", type=Path, required=True, help="export/dist/models")
    parser.add_argument("--images", type=int, default=16, help="how many of them are timed")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = find_images(options.smear).files
    images = [read_image(file) for file in files[: options.images]]
    document: dict[str, object] = {"litert": {}, "onnx": {}}
    for name in MODELS:
        document["litert"][name] = litert(name, images, options.rounds)
        file = options.exports / name / "onnx" / "model.onnx"
        if importlib.util.find_spec("onnxruntime") and file.is_file():
            document["onnx"][name] = onnx(file, name, images, options.rounds)
    start = time.perf_counter()
    report = predict_smear(options.smear)
    document["smear"] = {
        "cells": len(report.cells),
        "seconds": time.perf_counter() - start,
        "decision": report.decision,
        "dysplastic": report.dysplastic,
        "neutrophils": report.neutrophils,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
