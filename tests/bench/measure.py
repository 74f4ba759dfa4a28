"""What the benchmarks share: the machine in words, a child's time and memory, images to read.

Light on purpose (nothing but the standard library at import): a child process counts its parent's
memory at the fork as its own.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "opencv-python-headless", "ai-edge-litert", "tensorflow-cpu", "keras")


def machine() -> dict:
    """Processor, cores, memory, system and versions, with the date and how busy the machine was."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": versions,
        "date": datetime.date.today().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Ran:
    """A finished child process: wall time in seconds, peak resident memory in MiB, its output."""

    seconds: float
    peak_mib: float
    output: str


def run(command: list, scratch: Path, env: dict[str, str] | None = None) -> Ran:
    """Run a command to its end and measure it.

    Args:
        command: Program and arguments.
        scratch: Folder for the command's output.
        env: Variables added to the environment.

    Raises:
        RuntimeError: The command failed; the message ends with what it said.
    """
    out, err = scratch / "stdout.txt", scratch / "stderr.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(env or {})},
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(
            f"{' '.join(str(part) for part in command)} ended with {process.returncode}:\n"
            f"{err.read_text(errors='replace')[-2000:]}"
        )
    return Ran(seconds, usage.ru_maxrss / 1024, out.read_text(errors="replace"))


def medians(ways: dict, rounds: int) -> dict[str, float]:
    """Median of what each way returns; they take turns, so that a slow minute hits them all."""
    values: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            values[name].append(way())
    return {name: statistics.median(found) for name, found in values.items()}


def per_second(work, items: int) -> float:
    """Items a second of one call."""
    start = time.perf_counter()
    work()
    return items / (time.perf_counter() - start)


def cells(data: Path | None, count: int, folder: Path) -> tuple[list[Path], str]:
    """Images to read, two of three neutrophils: real ones where there are any, else drawn ones.

    Args:
        data: A folder with a sub-folder of JPEG files for each class, or None.
        count: Number of images; where there are fewer, they are linked again.
        folder: Missing folder; the images are linked into it.

    Returns:
        The files in order, and in words what they are.
    """
    folder.mkdir(parents=True)
    real = data is not None and sorted(data.glob("neutrophil/[!.]*.jpg"))
    if real:
        others = [sorted(kind.glob("[!.]*.jpg")) for kind in sorted(data.iterdir())]
        others = [file for row in zip(*others, strict=False) for file in row]
        sources, what = _mix(real, others, count), "real cells (pbc, 360x363 JPEG)"
    else:
        sources = _draw(min(count, 96), folder.parent / "drawn")
        what = "drawn cells (360x360 JPEG)"
    files = []
    for number in range(count):
        file = folder / f"{number:05d}.jpg"
        link(sources[number % len(sources)], file)
        files.append(file)
    return files, what


def _mix(neutrophils: list[Path], others: list[Path], count: int) -> list[Path]:
    mixed = []
    for number in range(min(count, len(neutrophils))):
        pool = others if number % 3 == 2 and others else neutrophils
        mixed.append(pool[number // 3 % len(pool) if number % 3 == 2 else number])
    return mixed


def link(source: Path, target: Path) -> None:
    """A hard link where the disk allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def _draw(count: int, folder: Path) -> list[Path]:
    import numpy as np

    from cellnet.cells import CLASSES
    from cellnet.draw import draw_cell
    from cellnet.images import write_jpeg

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(count):
        kind = CLASSES[number // 3 % len(CLASSES)] if number % 3 == 2 else "neutrophil"
        file = folder / f"{number:05d}.jpg"
        if not file.exists():
            write_jpeg(file, draw_cell(kind, np.random.default_rng(number)))
        files.append(file)
    return files


def cellnet_command() -> list[str]:
    """The installed ``cellnet`` command of this environment, else what it would call."""
    command = Path(sys.executable).with_name("cellnet")
    if command.exists():
        return [str(command)]
    return [sys.executable, "-c", "import sys; from cellnet.cli import main; sys.exit(main())"]
