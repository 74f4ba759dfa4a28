"""The browser app as its users meet it: built, tested by its own suite, and driven in Chromium.

The checks themselves are in ``export/tests`` (the app's logic) and ``export/e2e`` (the page and the
engines in a browser); here the app is built and served, a smear is drawn, Python's answer is put
beside it, and whatever fails is shown. What a computer lacks (Node.js, a registry, Chromium) is the
reason of a skip.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from cellnet.cli import main

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
