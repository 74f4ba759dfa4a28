"""The browser app as its users meet it: built, tested by its own suite, and driven in Chromium.

The checks themselves are in ``export/tests`` (the app's logic) and ``export/e2e`` (the page and the
engines in a browser); here the app is built and served, a smear is drawn, Python's answer is put
beside it, and whatever fails is shown. What a computer lacks (Node.js, a registry, Chromium) is the
reason of a skip.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from cellnet.cells import CLASSES
from cellnet.cli import main
from cellnet.draw import draw_cell
from cellnet.images import read_image, write_jpeg

ROOT = Path(__file__).parents[1]
APP = ROOT / "export"
PACKAGES = "export/node_modules/.package-lock.json"
NODE = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not APP.is_dir(), reason="the app's source is not beside these tests"),
]

# Minutes that a step may take before it counts as hanging; a computer may be busy with others.
INSTALLING, BUILDING, DRIVING = 10, 20, 10


def run(command: Sequence[str], minutes: float, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """Run a command; its two streams come back as one text. Status 124: it took too long."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PLAYWRIGHT_BROWSERS_PATH": "0", "NO_COLOR": "1"},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60 * minutes,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        # Bytes, whatever was asked for.
        output = (late.output or b"").decode(errors="replace")
        output += f"\nnot done within {minutes} minutes\n"
        return subprocess.CompletedProcess(command, 124, output)


def make(target: str, minutes: float) -> subprocess.CompletedProcess:
    """Make a target with the Python that runs these tests."""
    folder = Path(sys.prefix)
    own = [f"VENV={folder}"] if (folder / "all.done").exists() else []
    return run(["make", "--no-print-directory", *own, target], minutes)


def last_line(output: str) -> str:
    return next((line for line in reversed(output.splitlines()) if line.strip()), "it said nothing")


@pytest.fixture(scope="module")
def packages() -> Path:
    """The app's folder, with the packages that it is built of."""
    for program in ("make", "node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"the browser app needs {program}, which is not on PATH")
    version = run(["node", "--version"], 1).stdout
    found = re.match(r"v(\d+)", version)
    if not found or int(found[1]) < NODE:
        pytest.skip(f"the browser app needs Node.js {NODE} or newer, got {version.strip()}")
    done = make(PACKAGES, INSTALLING)
    if done.returncode != 0:
        # A lock that does not belong to its list of packages is no lack of the computer's.
        assert "npm ci" not in done.stdout, done.stdout
        pytest.skip(f"the browser app's packages cannot be installed: {last_line(done.stdout)}")
    return APP


@pytest.fixture(scope="module")
def chromium(packages: Path) -> None:
    """A Chromium that starts; one is fetched where there is none."""
    seek = "import('./e2e/browser.mjs').then((it) => it.openBrowser()).then((it) => it.close())"

    def starts() -> bool:
        return run(["node", "-e", seek], 2, packages).returncode == 0

    ways = [["node", "node_modules/playwright-core/cli.js", "install", "chromium-headless-shell"]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        # Where playwright-core's own cannot be fetched, or lacks what the system should have.
        wanted = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        ways += [["apt-get", "update"], wanted]
    said = ""
    while not starts():
        if not ways:
            pytest.skip(f"no Chromium starts, and none could be fetched: {said}")
        way = ways.pop(0)
        done = run(way, INSTALLING, packages)
        said = f"{' '.join(way)}: {last_line(done.stdout)}"


@pytest.fixture(scope="module")
def app(packages: Path) -> Path:
    """The app as it is shipped, with its models."""
    done = make("web", BUILDING)
    assert done.returncode == 0, done.stdout
    return packages / "dist"


@pytest.fixture(scope="module")
def address(app: Path) -> Iterator[str]:
    """Where `cellnet serve` shows the app."""
    plain = {k: v for k, v in os.environ.items() if k not in ("CELLNET_MODELS", "CELLNET_TOKEN")}
    command = [sys.executable, "-m", "cellnet", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=plain, stderr=subprocess.PIPE, text=True) as its:
        said = its.stderr.readline()
        found = re.search(r"serving on (http://127\.0\.0\.1:\d+)/", said)
        if found:
            yield found[1]
        its.terminate()
        rest = its.communicate(timeout=60)[1]
    assert found, said + rest


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Callable[[int], Path]:
    """A function that draws a smear from a seed."""
    folder = tmp_path_factory.mktemp("smears")

    def draw(seed: int) -> Path:
        smear = folder / f"drawn-{seed}"
        if not smear.exists():
            assert main(["data", "draw", "--smear", "--out", str(smear), "--seed", str(seed)]) == 0
        return smear

    return draw


@pytest.fixture(scope="module")
def expected(drawn, tmp_path_factory) -> Path:
    """What the command line says of a drawn smear."""
    command = [sys.executable, "-m", "cellnet", "predict-smear", str(drawn(1)), "--json"]
    plain = {k: v for k, v in os.environ.items() if k != "CELLNET_MODELS"}
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["neutrophils"] >= 10
    assert 0 < report["dysplastic"] < report["neutrophils"]
    file = tmp_path_factory.mktemp("expected") / "report.json"
    file.write_text(done.stdout, encoding="utf-8")
    return file


def drive(program: str, *options: object) -> None:
    """Drive the app in Chromium; each check that fails is told."""
    done = run(["node", f"e2e/{program}.mjs", *map(str, options)], DRIVING, APP)
    failed = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
    assert done.returncode == 0, "\n".join(failed)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout


def test_the_apps_own_suite_passes(packages):
    done = run(["npm", "test", "--silent"], BUILDING, packages)
    assert done.returncode == 0, done.stdout


def test_types_and_style(packages):
    done = run(["npm", "run", "--silent", "check"], BUILDING, packages)
    assert done.returncode == 0, f"{done.stdout}\n`npm run format` in export/ mends the style"


def test_the_page_does_what_a_pathologist_asks_of_it(packages, chromium, drawn):
    drive("run", "--only", "page", "--smear", drawn(1))


def test_the_same_smear_over_http(address, drawn, expected):
    smear = drawn(1)
    files = [("files", (file.name, file.read_bytes())) for file in sorted(smear.glob("*.jpg"))]
    with httpx.Client(base_url=address, timeout=300, trust_env=False) as client:
        answer = client.post("/api/smears", files=files, data={"smear": smear.name})
    assert answer.status_code == 200, answer.text
    assert answer.json() == json.loads(expected.read_text(encoding="utf-8"))


def test_the_same_smear_in_the_browser(address, chromium, drawn, expected):
    """Labels, counts and decision as above, probabilities and scores within their tolerance."""
    options = ["--only", "networks", "--origin", address, "--expected", expected]
    drive("run", *options, "--smear", drawn(1), "--second", drawn(2))


def test_each_engine_decodes_and_answers_as_python(app, chromium, drawn, expected):
    drive("engine", "--dist", app, "--smear", drawn(1), "--expected", expected)


def test_a_failed_check_ends_the_program_with_1(packages, chromium, drawn, tmp_path):
    """A program of checks that cannot fail would prove nothing."""
    expected = tmp_path / "expected.json"
    expected.write_text("{}", encoding="utf-8")
    empty = tmp_path / "dist"
    empty.mkdir()
    (empty / "index.html").write_text("<script>1</script>", encoding="utf-8")
    options = ["--only", "networks", "--dist", str(empty), "--expected", str(expected)]
    done = run(["node", "e2e/run.mjs", *options, "--smear", str(drawn(1))], DRIVING, APP)
    assert done.returncode == 1, done.stdout
    assert "FAILED" in done.stdout


@pytest.fixture(scope="module")
def bench() -> Iterator[types.ModuleType]:
    """The program behind `make bench-web`."""
    folder = ROOT / "tests" / "bench"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("bench_of_the_app", folder / "browser.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(folder))


def measured(**changes: object) -> dict:
    """As `make bench-web` writes it, with numbers that can be reckoned by heart."""
    times = {"single": 8.0, "batch": 6.0}
    engine = {"model1": times, "dysplasianet": times, "smear": {"seconds": 1.5}}
    onnx = {"model1": 4.0, "dysplasianet": 2.0}
    python = {"onnx 1": onnx, "onnx 2": onnx, "litert 1": onnx, "smear": {"seconds": 0.5}}
    size = {"bytes": 1000, "bytes_gzip": 500}
    parts = ("page", "until_ready", "models", "offline")
    load = {"usable_ms": 70.0, "ready_ms": 900.0, **dict.fromkeys(parts, size)}
    drop = {"cells": 100, "seconds": 2.5, "engine": "LiteRT, 2 threads"}
    ways = dict.fromkeys(("litert 1", "litert 2", "wasm 1", "wasm 2"), engine)
    results = {"python": python, "drop": drop, "load": load, **ways}
    machine = {"processor": "P", "cores": 2, "memory_gib": 1, "system": "S", "python": "3.11"}
    costs = {"probability": 0.002, "granularity": 0.0001, "labels": 1, "calls": 0}
    return {
        "quick": False,
        "machine": {**machine, "packages": {"numpy": "2"}, "date": "today", "load_before": 0.1},
        "packages": {"@litertjs/core": "2"},
        "turns": {name: [found, found] for name, found in results.items()},
        "results": results,
        "decoders": {
            **{"cells": 500, "neutrophils": 250, "engine": "LiteRT", "chromium": "156"},
            **{"cells_that_differ": 3, "pixels_that_differ": 0.01, "largest_difference": 2},
            **{"same_networks": costs, "app": costs},
        },
        **changes,
    }


def test_the_benchmarks_page_holds_ratios_to_onnx_runtime(bench, tmp_path):
    page, file = tmp_path / "benchmarks.md", tmp_path / "web.json"
    page.write_text(f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n", encoding="utf-8")
    assert bench.write_docs(page, file) == 1
    file.write_text(json.dumps(measured(quick=True)), encoding="utf-8")
    assert bench.write_docs(page, file) == 1
    assert "old" in page.read_text(encoding="utf-8")
    file.write_text(json.dumps(measured()), encoding="utf-8")
    assert bench.write_docs(page, file) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{bench.BEGIN}\n") and text.endswith(f"{bench.END}\nafter\n")
    assert "old" not in text
    ratios = "8.0 ms | 4.0 (4.0 to 4.0) | 8.0 ms | 2.0 (2.0 to 2.0) | 1.50 s |"
    assert f"| LiteRT.js | 2 | {ratios}" in text
    assert "| TensorFlow.js, eight at a time | 2 | 6.0 ms | 3.0 (3.0 to 3.0) |" in text
    assert "(LiteRT.js, two threads): met" in text
    assert "3 cells differ in 1 % of all pixels, by 2 levels at most" in text
    slow = measured()
    slow["results"]["litert 2"]["dysplasianet"] = {"single": 9.0, "batch": 9.0}
    assert "**missed**" in bench.markdown(slow)


def test_what_decoders_cost_is_counted(bench, tmp_path):
    files = [tmp_path / f"{number}.jpg" for number in range(2)]
    images = []
    for number, file in enumerate(files):
        write_jpeg(file, draw_cell("neutrophil", np.random.default_rng(number), size=96))
        pixels = read_image(file).copy()
        if number == 1:
            pixels[:48, :, 0] ^= 3
        pixels.tofile(tmp_path / f"{number}.rgb")
        answer = {"probabilities": [0.9] + [0.1 / 7] * (len(CLASSES) - 1), "granularity": None}
        images.append({"height": 96, "width": 96, **answer})
    browser = {"engine": "LiteRT", "chromium": "156", "images": images}
    found = bench.decoders.compare(files, tmp_path, browser)
    assert found["cells"] == 2
    assert found["cells_that_differ"] == 1
    assert found["pixels_that_differ"] == 0.25
    assert found["largest_difference"] == 3
    assert 0 < found["same_networks"]["probability"] < 0.1
    assert found["app"]["labels"] == found["neutrophils"]
    images[0]["height"] = 95
    with pytest.raises((RuntimeError, ValueError)):
        bench.decoders.compare(files, tmp_path, browser)


def test_the_app_can_be_measured(bench, app, chromium, drawn):
    """From drop to decision, and a first visit; times mean nothing here."""
    found = bench.node("drop", dist=app, smear=drawn(1))
    assert found["cells"] == len(list(drawn(1).glob("*.jpg")))
    assert 0 < found["seconds"] < 600
    load = bench.node("load", dist=app)
    assert 0 < load["usable_ms"] < load["ready_ms"]
    weights = sum(file.stat().st_size for file in app.glob("models/*/bundle/model.tflite"))
    assert load["page"]["bytes"] < 500_000 < weights < load["models"]["bytes"]
    assert load["models"]["bytes"] < load["until_ready"]["bytes"] < load["offline"]["bytes"]
