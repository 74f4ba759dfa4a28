"""All benchmarks with one command, each as a ratio to the plain way in the same run.

``make bench`` calls this file. It writes ``bench.json`` into the folder that ``--out`` names and
prints a Markdown table; ``--write-docs`` puts the tables of that file into ``docs/benchmarks.md``,
between two marks, so that no number there is typed by hand. ``--quick`` takes seconds and is for
seeing that everything runs; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import measure

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- written by make bench-docs: begin -->", "<!-- end -->"
PARTS = ("decode", "smear", "overlap", "cohort", "training")

#: Size of each part: in full, and in quick mode.
SIZES = {
    "decode": ({"images": 300, "rounds": 5}, {"images": 20, "rounds": 1}),
    "smear": ({"cells": 60, "rounds": 5}, {"cells": 6, "rounds": 1}),
    "overlap": ({"cells": 300, "rounds": 5}, {"cells": 12, "rounds": 1}),
    "cohort": (
        {"sizes": (500, 20_000), "smear_size": 100},
        {"sizes": (10, 40), "smear_size": 5},
    ),
    "training": ({"images": 960, "rounds": 3}, {"images": 64, "rounds": 1, "few": True}),
}


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of bench.json")
    parser.add_argument("--data", type=Path, help="real cells, one sub-folder a class")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="only this part (repeatable)"
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--write-docs", type=Path, metavar="PAGE", help="only write the page")
    arguments = parser.parse_args(argv)
    file = arguments.out / "bench.json"
    if arguments.write_docs:
        return write_docs(arguments.write_docs, file)
    result = measure_all(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(markdown(result))
    print(f"bench: wrote {file}", file=sys.stderr)
    return 0


def measure_all(arguments: argparse.Namespace) -> dict:
    """Run the chosen parts, one after another, and collect what they found."""
    from cellnet.bundle import available

    result = {"schema": "cellnet/bench/1", "quick": arguments.quick, "machine": measure.machine()}
    details: dict[str, dict] = {}
    for part in arguments.only or PARTS:
        size = SIZES[part][arguments.quick]
        if part in ("smear", "overlap", "cohort") and len(available()) < 2:
            print(f"bench: {part} left out: models/ lacks a bundle", file=sys.stderr)
            continue
        print(f"bench: {part} {size}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="cellnet-bench-") as scratch:
            details[part] = _measure(part, size, arguments.data, Path(scratch))
    return {**result, "results": summary(details), "details": details}


def _measure(part: str, size: dict, data: Path | None, scratch: Path) -> dict:
    """Each part runs in a process of its own, so that none leaves memory or threads behind."""
    if part == "training":
        command = [HERE / "training.py", "--images", size["images"], "--rounds", size["rounds"]]
        command += ["--data", data] if data else []
        command += ["--few"] if size.get("few") else []
        return json.loads(measure.run([sys.executable, *command], scratch).output)
    if part == "smear" or part == "cohort":
        import prediction

        return getattr(prediction, part)(data, scratch, **size)
    homes = {"decode": ("decoding", "compare"), "overlap": ("prediction", "overlap")}
    module, function = homes[part]
    code = (
        "import json, pathlib, sys; sys.path.insert(0, sys.argv[1]); import "
        f"{module}; data, scratch, size = sys.argv[2:5];"
        f"print(json.dumps({module}.{function}(pathlib.Path(data) if data else None,"
        " pathlib.Path(scratch), **json.loads(size))))"
    )
    command = [sys.executable, "-c", code, HERE, data or "", scratch, json.dumps(size)]
    return json.loads(measure.run(command, scratch).output)


def summary(details: dict[str, dict]) -> list[dict]:
    """One row for each claim: what cellnet does, what the plain way does, ratio, and target."""
    rows = []

    def row(what: str, ours, plain, ratio: float, target: float | None = None, most=False) -> None:
        met = None if target is None else bool(ratio <= target if most else ratio >= target)
        rows.append(
            {
                "what": what,
                "cellnet": ours,
                "plain": plain,
                "ratio": round(ratio, 2),
                "target": None if target is None else f"{'<=' if most else '>='} {target:g}",
                "met": met,
            }
        )

    if found := details.get("training"):
        speeds = found["images_per_second"]
        plain_same = f"plain, {found['precision']}"
        row(
            f"training DysplasiaNet ({found['precision']}) against plain Keras (float32)",
            f"{speeds['cellnet']} images/s",
            f"{speeds['plain']} images/s",
            found["ratio"],
            1.5,
        )
        if plain_same in speeds:
            row(
                f"the same, plain Keras in {found['precision']} too",
                f"{speeds['cellnet']} images/s",
                f"{speeds[plain_same]} images/s",
                found["ratio_same_precision"],
            )
        row(
            "share of the training time that input from disk costs (plain: data in memory)",
            f"{speeds['cellnet']} images/s",
            f"{speeds['cellnet, data in memory']} images/s",
            found["input_share"],
        )
    if found := details.get("smear"):
        seconds = found["seconds"]
        row(
            f"predict-smear, {found['cells']} cells, whole process, against plain Keras",
            f"{seconds['cellnet predict-smear']} s",
            f"{seconds['plain Keras']} s",
            found["ratio"],
            6,
        )
    if found := details.get("cohort"):
        small, large = found["peak_mib"]
        row(
            f"predict-smears, peak memory with {found['sizes'][1]:,} images (plain: with "
            f"{found['sizes'][0]:,})",
            f"{large} MiB",
            f"{small} MiB",
            found["ratio_memory"],
            1.1,
            most=True,
        )
    if found := details.get("overlap"):
        speeds = found["images_per_second"]
        row(
            "a smear, decoding beside inference, against decoding first, then all cores infer",
            f"{speeds['cellnet']} images/s",
            f"{speeds['decode, then infer']} images/s",
            found["ratio"],
        )
    if found := details.get("decode"):
        speeds = found["images_per_second"]
        for name, key in (("decode", "ratio_decode"), ("decode and resize", "ratio_prepare")):
            row(
                f"{name} on one thread, against Pillow",
                f"{speeds[name]} images/s",
                f"{speeds[name + ', Pillow']} images/s",
                found[key],
            )
    return rows


def markdown(result: dict) -> str:
    """The machine in a sentence and the table of the results."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}, "
        f"{packages}; load before the run {machine['load_before']}.",
        "",
    ]
    if result["quick"]:
        lines[:0] = ["**Quick mode: these numbers mean nothing.**", ""]
    lines += ["| what | cellnet | plain | ratio | target |", "| --- | --- | --- | --- | --- |"]
    for row in result["results"]:
        target = ""
        if row["target"] is not None:
            target = f"{row['target']}: {'met' if row['met'] else '**missed**'}"
        lines.append(
            f"| {row['what']} | {row['cellnet']} | {row['plain']} | {row['ratio']} | {target} |"
        )
    if found := result["details"].get("training"):
        lines += [
            "",
            f"Training, batch {found['batch']}, {found['what']}, median of {found['rounds']} "
            f"rounds of {found['images']} images:",
            "",
            "| way | images/s |",
            "| --- | --- |",
            *(f"| {name} | {speed} |" for name, speed in found["images_per_second"].items()),
        ]
    if found := result["details"].get("cohort"):
        lines += [
            "",
            f"Cohorts in smears of {found['smear_size']}: {found['images_per_second']} images/s "
            f"({found['sizes'][1]:,} images in {found['seconds'][1]} s).",
        ]
    return "\n".join(lines) + "\n"


def write_docs(page: Path, file: Path) -> int:
    """Put the tables of a full run between the marks of a page."""
    if not file.is_file():
        print(f"bench: error: {file} does not exist; run: make bench", file=sys.stderr)
        return 1
    result = json.loads(file.read_text(encoding="utf-8"))
    if result["quick"] or set(result["details"]) != set(PARTS):
        print(f"bench: error: {file} holds no full run; run: make bench", file=sys.stderr)
        return 1
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    page.write_text(
        f"{head}{BEGIN}\n{markdown(result)}{END}{rest.split(END, 1)[1]}", encoding="utf-8"
    )
    print(f"bench: wrote {page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
