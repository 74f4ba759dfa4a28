"""The browser app as its users meet it: built, tested by its own suite, and driven in Chromium.

The checks themselves are in ``export/tests`` (the app's logic) and ``export/e2e`` (the page in a
browser); here the app is built, a smear is drawn, Python's answer is put beside it, and whatever
fails is shown. What a computer lacks (Node.js, a registry, Chromium) is the reason of a skip.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cellnet.cli import main

ROOT = Path(__file__).parents[1]
APP = ROOT / "export"
PACKAGES = "export/node_modules/.package-lock.json"
NODE = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("CELLNET_BROWSER_TESTS"),
        reason="the browser app is in the making; CELLNET_BROWSER_TESTS=1 drives it in Chromium",
    ),
    pytest.mark.skipif(not APP.is_dir(), reason="the app's source is not beside these tests"),
]

# Minutes, since a computer may train networks at the same time.
INSTALLING, BUILDING, DRIVING = 10, 20, 30


def run(command: Sequence[str], minutes: float, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """Run a command; its two streams come back as one text."""
    environment = {**os.environ, "PLAYWRIGHT_BROWSERS_PATH": "0", "NO_COLOR": "1"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60 * minutes,
        check=False,
    )


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
        pytest.skip(f"the browser app's packages cannot be installed: {last_line(done.stdout)}")
    return APP


@pytest.fixture(scope="module")
def chromium(packages: Path) -> None:
    """A Chromium that can be driven; one is fetched where there is none."""
    seek = [
        "node",
        "-e",
        "import('./e2e/browser.mjs').then((it) => process.exit(it.chromiumPath() ? 0 : 3))",
    ]
    if run(seek, 1, packages).returncode == 0:
        return
    fetch = ["node", "node_modules/playwright-core/cli.js", "install", "chromium"]
    try:
        done = run(fetch, INSTALLING, packages)
    except subprocess.TimeoutExpired:
        pytest.skip(f"no Chromium, and none came within {INSTALLING} minutes: apt install chromium")
    if done.returncode != 0 or run(seek, 1, packages).returncode != 0:
        pytest.skip(f"no Chromium (apt-get install chromium): {last_line(done.stdout)}")


@pytest.fixture(scope="module")
def app(packages: Path) -> Path:
    """The app as it is shipped, with its models."""
    done = make("web", BUILDING)
    assert done.returncode == 0, done.stdout
    return packages / "dist"


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


def drive(*options: str) -> None:
    """Drive the app in Chromium; each check that fails is told."""
    done = run(["node", "e2e/run.mjs", *options], DRIVING, APP)
    failed = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
    assert done.returncode == 0, "\n".join(failed)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout


def test_the_apps_own_suite_passes(packages):
    done = run(["npm", "test", "--silent"], BUILDING, packages)
    assert done.returncode == 0, done.stdout


def test_types(packages):
    done = run(["npm", "run", "--silent", "check"], BUILDING, packages)
    assert done.returncode == 0, done.stdout


def test_the_page_does_what_a_pathologist_asks_of_it(packages, chromium, drawn):
    drive("--only", "page", "--smear", str(drawn(1)))


def test_the_networks_answer_as_in_python(app, chromium, drawn, tmp_path, capsys):
    capsys.readouterr()
    assert main(["predict-smear", str(drawn(1)), "--json"]) == 0
    expected = tmp_path / "expected.json"
    expected.write_text(capsys.readouterr().out, encoding="utf-8")
    assert json.loads(expected.read_text(encoding="utf-8"))["neutrophils"] >= 10
    drive(
        *("--only", "networks", "--dist", str(app), "--expected", str(expected)),
        *("--smear", str(drawn(1)), "--second", str(drawn(2))),
    )


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
