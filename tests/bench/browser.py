"""The Python side of ``export/e2e/bench.mjs``: the same images through Python's runtimes.

LiteRT with the bundles' weights is what cellnet runs; ONNX Runtime with float32 weights is the mark
that the browser is held against, where its package and the ONNX exports are there. One thread and
two, decoding and resizing left out as in the browser's own measurement. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

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
    """One interpreter alone; with more threads cellnet runs one for each."""
    bundle = load(name)
    runtime = bundle.runtime()
    inputs = [bundle.prepare(image)[None] for image in images]
    return {"1": median_ms(runtime.predict, inputs, rounds)}


def onnx(file: Path, name: str, images: list[np.ndarray], rounds: int) -> dict[str, float]:
    """ONNX Runtime, float32, the resize within the graph as everywhere in an export."""
    import onnxruntime

    found = {}
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        inputs = [image[None] for image in images]
        key = session.get_inputs()[0].name
        answer = load(name).kind
        found[str(threads)] = median_ms(
            lambda given, run=session.run, key=key, answer=answer: run([answer], {key: given}),
            inputs,
            rounds,
        )
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
