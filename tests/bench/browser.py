"""How fast the browser app is, as a ratio to ONNX Runtime in the same run, and what decoders cost.

``make bench-web`` calls this file once the app is built. It writes ``web.json`` into the folder
that ``--out`` names and prints the tables; ``--write-docs`` puts them into ``docs/benchmarks.md``,
between two marks. Chromium is driven by ``export/e2e/bench.mjs``, without a graphics processor.
Python and the engines take turns, so that a slow minute hits them all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import decoders
import measure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
APP = ROOT / "export"
DIST = APP / "dist"
BEGIN, END = "<!-- written by make bench-web-docs: begin -->", "<!-- end -->"
MODELS = ("dysplasianet", "model1")
ENGINES = {"litert": "LiteRT.js", "wasm": "TensorFlow.js"}
TARGET = 4

#: In full, and in quick mode, which is for seeing that everything runs.
SIZES: tuple[dict[str, int], dict[str, int]] = (
    {"cells": 100, "images": 16, "rounds": 3, "passes": 5, "visits": 5, "decoded": 500},
    {"cells": 10, "images": 8, "rounds": 1, "passes": 1, "visits": 1, "decoded": 4},
)
#: Engines and threads that are measured, in full and in quick mode.
WAYS = (
    (("litert", 1), ("wasm", 1), ("litert", 2), ("wasm", 2)),
    (("litert", 2), ("wasm", 2)),
)
PACKAGES = ("@litertjs/core", "@tensorflow/tfjs-backend-wasm", "playwright-core")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of web.json")
    parser.add_argument("--data", type=Path, help="real cells, one sub-folder a class")
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten")
    parser.add_argument("--write-docs", type=Path, metavar="PAGE", help="only write the page")
    arguments = parser.parse_args(argv)
    file = arguments.out / "web.json"
    if arguments.write_docs:
        return write_docs(arguments.write_docs, file)
    if not (DIST / "integrity.json").is_file():
        print(f"bench-web: error: there is no built app in {DIST}; run: make web", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cellnet-bench-web-") as scratch:
        result = measure_all(arguments.data, arguments.quick, Path(scratch))
    arguments.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(markdown(result))
    print(f"bench-web: wrote {file}", file=sys.stderr)
    return 0


def measure_all(data: Path | None, quick: bool, scratch: Path) -> dict[str, Any]:
    """Run every part, the ones that are compared in turns."""
    size = SIZES[quick]
    result: dict[str, Any] = {"schema": "cellnet/bench-web/1", "quick": quick}
    result["machine"] = measure.machine()
    lock = json.loads((APP / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    result["packages"] = {name: lock[f"node_modules/{name}"]["version"] for name in PACKAGES}
    smear = scratch / "smear"
    python("-m", "cellnet", "data", "draw", "--smear", "--out", smear, "--cells", size["cells"])
    built = node("build", dist=DIST, built=scratch)["built"]
    timed = {"images": size["images"], "rounds": size["rounds"]}
    turns: dict[str, list[dict[str, Any]]] = {}
    for number in range(size["passes"]):
        say(f"pass {number + 1} of {size['passes']}")
        runtimes = [HERE / "runtimes.py", "--smear", smear, "--exports", DIST / "models"]
        for name, value in timed.items():
            runtimes += [f"--{name}", value]
        turns.setdefault("python", []).append(json.loads(python(*runtimes)))
        for engine, threads in WAYS[quick]:
            options = {"built": built, "smear": smear, "engine": engine, "threads": threads}
            found = node("engine", **options, **timed)
            turns.setdefault(f"{engine} {threads}", []).append(found)
        turns.setdefault("drop", []).append(node("drop", dist=DIST, smear=smear))
    say("first visits")
    turns["load"] = [node("load", dist=DIST) for _ in range(size["visits"])]
    result |= {"turns": turns, "results": {name: medians(found) for name, found in turns.items()}}
    result["decoders"] = decoded(data, size["decoded"], built, scratch)
    return result


def decoded(data: Path | None, count: int, built: str, scratch: Path) -> dict[str, Any] | None:
    """Real cells in Chromium's decoder and in Python's; None where there are none."""
    if data is None or not data.is_dir():
        say("decoders left out: no real cells (DATA=folder with one sub-folder a class)")
        return None
    files = decoders.choose(data, count)
    say(f"decoding {len(files)} real cells")
    chosen = scratch / "chosen.json"
    chosen.write_text(json.dumps([str(file.resolve()) for file in files]), encoding="utf-8")
    out = scratch / "decoded"
    return decoders.compare(files, out, node("decode", built=built, list=chosen, out=out))


def python(*arguments: object) -> str:
    """Run this Python; its output."""
    return command([sys.executable, *arguments])


def node(part: str, **options: object) -> dict[str, Any]:
    """Run a part of ``bench.mjs``; what it found."""
    given = [text for name, value in options.items() for text in (f"--{name}", value)]
    return json.loads(command(["node", APP / "e2e" / "bench.mjs", part, *given]))


def command(arguments: list[object]) -> str:
    given = [str(argument) for argument in arguments]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(given)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def say(what: str) -> None:
    print(f"bench-web: {what}", file=sys.stderr, flush=True)


def medians(found: list[Any]) -> Any:
    """The median of each number in documents of one shape; of the rest, the first."""
    first = found[0]
    if isinstance(first, dict):
        return {key: medians([one[key] for one in found]) for key in first}
    if isinstance(first, bool) or not isinstance(first, int | float):
        return first
    return statistics.median(found)


def markdown(result: dict[str, Any]) -> str:
    """The machine in a sentence, and the tables."""
    machine, results = result["machine"], result["results"]
    packages = ", ".join(f"{name} {version}" for name, version in result["packages"].items())
    more = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}, {more}; "
        f"{packages}; load before the run {machine['load_before']}.",
        "",
    ]
    if result["quick"]:
        lines[:0] = ["**Quick mode: these numbers mean nothing.**", ""]
    lines += [*speeds(result["turns"], results), "", *first_load(results["load"])]
    if result["decoders"]:
        lines += ["", *decoder_costs(result["decoders"])]
    return "\n".join(lines) + "\n"


def speeds(turns: dict[str, list[dict[str, Any]]], results: dict[str, Any]) -> list[str]:
    """A row for each runtime: milliseconds an image, and times ONNX Runtime's."""
    lines = [
        "Milliseconds an image, from pixels to the answer, and how many times ONNX Runtime's on "
        f"as many threads; medians of {len(turns['python'])} passes, of a pass's ratios the "
        "least and the largest in brackets; a smear from its files to the decision.",
        "",
        "| runtime | threads | DysplasiaNet | ratio | Model 1 | ratio | a smear of "
        f"{results['drop']['cells']:g} |",
        "| --- | ---: | ---: | --- | ---: | --- | ---: |",
    ]
    rows = [(f"ONNX Runtime, float32 | {n}", n, "python", f"onnx {n}", None) for n in (1, 2)]
    rows.append(("cellnet in Python (LiteRT) | 1", 1, "python", "litert 1", None))
    for engine, name in ENGINES.items():
        rows += [(f"{name} | {n}", n, f"{engine} {n}", None, "single") for n in (1, 2)]
    rows.append(("TensorFlow.js, eight at a time | 2", 2, "wasm 2", None, "batch"))
    for name, threads, turn, part, kind in rows:
        if turn not in turns:
            continue
        found = [one[part] if part else one for one in turns[turn]]
        marks = [one[f"onnx {threads}"] for one in turns["python"]]
        cells = [name]
        for model in MODELS:
            times = [one[model][kind] if kind else one[model] for one in found]
            ratios = [time / mark[model] for time, mark in zip(times, marks, strict=True)]
            cells.append(f"{statistics.median(times):.1f} ms")
            cells.append("" if name.startswith("ONNX") else spread(ratios))
        if part == "litert 1":
            cells.append(f"{results['python']['smear']['seconds']:.2f} s on all cores")
        else:
            cells.append(f"{results[turn]['smear']['seconds']:.2f} s" if kind == "single" else "")
        lines.append(f"| {' | '.join(cells)} |")
    drop = results["drop"]
    best = [
        results["litert 2"][model]["single"] / results["python"]["onnx 2"][model]
        for model in MODELS
    ]
    met = "met" if max(best) <= TARGET else "**missed**"
    return [
        *lines,
        "",
        f"At most {TARGET} times ONNX Runtime with the engine that the app takes here "
        f"(LiteRT.js, two threads): {met}. In the app, from the drop of {drop['cells']:g} files to "
        f"the decision on the page: {drop['seconds']:.2f} s ({drop['engine']}).",
    ]


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def first_load(load: dict[str, Any]) -> list[str]:
    """What a first visit costs."""
    lines = [
        "The first visit, nothing in the browser's cache, the server on the same computer:",
        "",
        "| until | bytes | with gzip | milliseconds |",
        "| --- | ---: | ---: | ---: |",
    ]
    for what, part, time in (
        ("the page can be used (files are taken, and wait for the models)", "page", "usable_ms"),
        ("the first cell can be read", "until_ready", "ready_ms"),
        ("of these, the models", "models", None),
        ("everything is kept for use without a network (in the background)", "offline", None),
    ):
        size = load[part]
        told = f"{load[time]:,.0f}" if time else ""
        lines.append(f"| {what} | {size['bytes']:,.0f} | {size['bytes_gzip']:,.0f} | {told} |")
    return lines


def decoder_costs(found: dict[str, Any]) -> list[str]:
    """What another decoder changes."""
    lines = [
        f"{found['cells']} real cells (PBC, seed {decoders.SEED}, half of them neutrophils) as "
        f"Chromium {found['chromium']} decodes them, against Python: "
        f"{found['cells_that_differ']:,} cells differ in {100 * found['pixels_that_differ']:.3g} % "
        f"of all pixels, by {found['largest_difference']} levels at most.",
        "",
        f"| against Python | probability | granularity of {found['neutrophils']} neutrophils | "
        "labels changed | dysplastic calls changed |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for what, key in (
        ("Chromium's pixels, the same networks", "same_networks"),
        (f"the app ({found['engine']})", "app"),
    ):
        it = found[key]
        lines.append(
            f"| {what} | {it['probability']:.2g} | {it['granularity']:.2g} | {it['labels']} | "
            f"{it['calls']} |"
        )
    return lines


def write_docs(page: Path, file: Path) -> int:
    """Put the tables of a full run between the marks of a page."""
    if not file.is_file():
        print(f"bench-web: error: {file} does not exist; run: make bench-web", file=sys.stderr)
        return 1
    result = json.loads(file.read_text(encoding="utf-8"))
    if result["quick"] or not result["decoders"]:
        print(f"bench-web: error: {file} holds no full run; run: make bench-web", file=sys.stderr)
        return 1
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    page.write_text(
        f"{head}{BEGIN}\n{markdown(result)}{END}{rest.split(END, 1)[1]}", encoding="utf-8"
    )
    print(f"bench-web: wrote {page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
