"""Predicting: a smear from the command line against plain Keras, and cohorts of two sizes.

Models are the shipped ones; the plain script runs the same architectures in float32 from
``.keras`` files with untrained weights, which take as long. Every time is a whole process, from its
start to its end, unless it says otherwise.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import measure

HERE = Path(__file__).resolve().parent


def smear(data: Path | None, scratch: Path, cells: int, rounds: int) -> dict:
    """Whole-process seconds of ``cellnet predict-smear`` and of the plain Keras script."""
    folder = scratch / "smear"
    _, what = measure.cells(data, cells, folder)
    command = [*measure.cellnet_command(), "predict-smear", folder, "--json"]
    report = json.loads(measure.run(command, scratch).output)
    files = [scratch / "model1.keras", scratch / "dysplasianet.keras"]
    build = (
        "import sys; from cellnet import networks\n"
        "for file, name in zip(sys.argv[1:], ('model1', 'dysplasianet')):\n"
        "    networks.build(name).save(file)"
    )
    measure.run([sys.executable, "-c", build, *files], scratch)
    plain = [sys.executable, HERE / "plain_predict.py", *files, folder, report["neutrophils"]]
    ways = {"cellnet predict-smear": command, "plain Keras": plain}
    if rounds > 1:
        ways["import tensorflow alone"] = [sys.executable, "-c", "import tensorflow"]
    timed = {
        name: lambda typed=typed: measure.run(typed, scratch).seconds
        for name, typed in ways.items()
    }
    seconds = measure.medians(timed, rounds)
    return {
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ratio": seconds["plain Keras"] / seconds["cellnet predict-smear"],
        "cells": cells,
        "neutrophils": report["neutrophils"],
        "rounds": rounds,
        "what": what,
    }


def cohort(data: Path | None, scratch: Path, sizes: tuple[int, int], smear_size: int) -> dict:
    """Peak memory and throughput of ``cellnet predict-smears`` on a small and on a large cohort."""
    found: dict[int, measure.Ran] = {}
    what = ""
    for size in sizes:
        folder = scratch / f"cohort-{size}"
        files, what = measure.cells(data, size, scratch / f"cells-{size}")
        for number, file in enumerate(files):
            target = folder / f"smear-{number // smear_size:04d}" / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
        out = scratch / f"results-{size}.jsonl"
        command = [*measure.cellnet_command(), "predict-smears", folder, "--out", out]
        found[size] = measure.run(command, scratch)
        answered = sum(1 for _ in out.open("rb"))
        if answered != -(-size // smear_size):
            raise RuntimeError(f"{answered} smears answered of {-(-size // smear_size)}")
    small, large = (found[size] for size in sizes)
    return {
        "sizes": list(sizes),
        "peak_mib": [round(ran.peak_mib, 1) for ran in (small, large)],
        "seconds": [round(ran.seconds, 2) for ran in (small, large)],
        "ratio_memory": large.peak_mib / small.peak_mib,
        # The two differ in images alone, so the start of the program drops out.
        "images_per_second": round((sizes[1] - sizes[0]) / (large.seconds - small.seconds), 1),
        "smear_size": smear_size,
        "what": what,
    }


def overlap(data: Path | None, scratch: Path, cells: int, rounds: int) -> dict:
    """In one process: a smear as cellnet reads it, and decoding all of it before inferring all.

    The plain way decodes one image after another, then gives the runtime every core.
    """
    import os

    import cellnet
    from cellnet.scoring import CellReader, in_order

    files, what = measure.cells(data, cells, scratch / "overlap")
    cores = len(os.sched_getaffinity(0))
    model1, dysplasianet = cellnet.load("model1"), cellnet.load("dysplasianet")
    reader = CellReader(model1, dysplasianet)
    readings = list(in_order(reader, files))
    scored = [file for file, reading in readings if reading.granularity is not None]
    work = [
        (bundle, _interpreter(bundle, cores), chosen)
        for bundle, chosen in ((model1, files), (dysplasianet, scored))
    ]
    speeds = measure.medians(
        {
            "cellnet": lambda: measure.per_second(lambda: list(in_order(reader, files)), cells),
            "decode, then infer": lambda: measure.per_second(lambda: _serial(work), cells),
        },
        rounds,
    )
    return {
        "images_per_second": {name: round(speed, 1) for name, speed in speeds.items()},
        "ratio": speeds["cellnet"] / speeds["decode, then infer"],
        "cells": cells,
        "neutrophils": len(scored),
        "threads": cores,
        "rounds": rounds,
        "what": what,
    }


def _interpreter(bundle, threads: int):
    """The bundle's weights in a runtime of its own, with so many threads for each image."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(bundle.weights), num_threads=threads)
    given = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(given["index"], [1, *given["shape"][1:]])
    interpreter.allocate_tensors()
    return interpreter


def _serial(work: list[tuple]) -> None:
    """Decode all images of a network, then run all of them."""
    from cellnet.images import read_image

    for bundle, interpreter, files in work:
        given = interpreter.get_input_details()[0]["index"]
        answer = interpreter.get_output_details()[0]["index"]
        for image in [bundle.prepare(read_image(file)) for file in files]:
            interpreter.set_tensor(given, image[None])
            interpreter.invoke()
            interpreter.get_tensor(answer)
