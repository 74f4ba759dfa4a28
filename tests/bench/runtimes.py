"""The Python side of ``browser.py``: the same images through Python's runtimes, in a process alone.

LiteRT with the bundles' weights is what cellnet runs; ONNX Runtime in float32 is the mark that the
browser is held against. From pixels to the answer: resizing is part of it, decoding is not. Prints
one JSON document: milliseconds an image by runtime, network and threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from cellnet.bundle import load
from cellnet.images import read_image
from cellnet.listing import find_images
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


def litert(name: str, images: list[np.ndarray], rounds: int) -> float:
    """One interpreter alone; with more threads cellnet runs one for each."""
    bundle = load(name)
    runtime = bundle.runtime()
    return median_ms(lambda image: runtime.predict(bundle.prepare(image)[None]), images, rounds)


def onnx(file: Path, name: str, threads: int, images: list[np.ndarray], rounds: int) -> float:
    """ONNX Runtime in float32, the resize within the graph as in every export."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # 8-bit weights become floats once, when the session is made, instead of at each call.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    answer, key = load(name).kind, session.get_inputs()[0].name

    def run(image: np.ndarray) -> Any:
        return session.run([answer], {key: image[None]})

    return median_ms(run, images, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--smear", type=Path, required=True, help="a folder of cells")
    parser.add_argument("--exports", type=Path, required=True, help="export/dist/models")
    parser.add_argument("--images", type=int, default=16, help="how many of them are timed")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = find_images(options.smear).files
    images = [read_image(file) for file in files[: options.images]]
    found: dict[str, dict[str, Any]] = {"onnx 1": {}, "onnx 2": {}, "litert 1": {}}
    for name in MODELS:
        file = options.exports / name / "onnx" / "model.onnx"
        for threads in (1, 2):
            found[f"onnx {threads}"][name] = onnx(file, name, threads, images, options.rounds)
        found["litert 1"][name] = litert(name, images, options.rounds)
    start = time.perf_counter()
    report = predict_smear(options.smear)
    found["smear"] = {
        "cells": len(report.cells),
        "seconds": time.perf_counter() - start,
        "decision": report.decision,
        "dysplastic": report.dysplastic,
        "neutrophils": report.neutrophils,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
