"""Every command in README.md runs: the blocks marked ``console`` are typed here, line by line.

A line that begins with ``$`` is a command, the rest is what it prints (shown, not compared: numbers
are compared where they are made). Commands run in order in one folder that stands in for the clone,
with the ``cellnet`` of this environment on the PATH. Those that install, train for hours or ask
for a newcomer's own data are listed in ``STAND_INS`` with the quick command that is run in their
place; a command that is neither quick nor listed cannot slip in untested.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import make_bundle, make_operating_point
from painted_cohort import PaintedCohort, painted_cohort

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

#: Command in the README: the command that is run in its place, or None for what only CI can run.
STAND_INS: dict[str, str | None] = {
    # The clone is the folder in which the rest runs; set-up and demo are run whole by `.ci/run`.
    "git clone REPOSITORY cellnet && cd cellnet": "test -f README.md",
    "source .venv/bin/activate": "make --dry-run demo | grep -q '\\.venv/bin/'",
    "make demo": "make --dry-run demo",
    "make test": "make --dry-run test",
    "make bench": "make --dry-run bench",
    "make bench-web": "make --dry-run bench-web",
    # Built and driven by tests/test_web.py.
    "make web": "make --dry-run web",
    "cellnet serve": "cellnet serve --help",
    "make lock": "make --dry-run lock",
    "make train-dysplasianet DATA=path/to/cells": "make --dry-run train-dysplasianet DATA=cells",
    "make train-model1 DATA=path/to/cells": "make --dry-run train-model1 DATA=cells",
    # Hours, and minutes; tests/test_recipe_commands.py runs the small form.
    "make select-dysplasianet DATA=path/to/cells": "make --dry-run select-dysplasianet DATA=cells",
    "make select-small": "make --dry-run select-small",
    # Two trainings; tests/test_recipe_commands.py runs the small form.
    "make unknown-cells DATA=path/to/cells": "make --dry-run unknown-cells DATA=cells",
    "cellnet select training/dysplasianet-selection.yaml --data path/to/cells --run runs/selection "
    "--jobs 2": "test -f training/dysplasianet-selection.yaml",
    # Downloads, and hours; tests/test_transfer.py runs the small form of each.
    **{
        f"cellnet transfer training/{name}.yaml --data path/to/cells": f"test -f {place}"
        for name in ("chapter2-svm", "chapter4-features-svm", "chapter4-finetuning")
        for place in (f"training/{name}-small.yaml",)
    },
}

LANGUAGES = ("console", "python")
#: Programs that a block may begin with; each is run unless STAND_INS names the whole command.
PROGRAMS = ("cellnet", "make", "git", "echo", "source")


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Commands of the console blocks, continued lines joined, comments left out."""
    found = []
    for language, content in blocks(text):
        if language != "console":
            continue
        for line in content.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append(re.sub(r"\s+", " ", re.sub(r"\s+# .*", "", line[2:])).strip())
    return found


if not README.exists():
    pytest.skip("README.md is not written yet", allow_module_level=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A folder with what a clone holds, and the folders that the README's commands speak of."""
    from cellnet.cells import CLASSES
    from cellnet.draw import draw_cell
    from cellnet.images import write_jpeg

    folder = tmp_path_factory.mktemp("readme") / "cellnet"
    leave_out = shutil.ignore_patterns(
        "__pycache__", ".*", "runs", "build", "dist", "node_modules", "*.egg-info"
    )
    shutil.copytree(ROOT, folder, ignore=leave_out)
    for name in ("model1", "dysplasianet"):
        if not (folder / "models" / name / "bundle.json").exists():
            make_bundle(folder / "models", name)
            if name == "dysplasianet":
                make_operating_point(folder / "models" / name)
    command = folder.parent / "bin" / "cellnet"
    command.parent.mkdir()
    command.write_text(
        f"#!{sys.executable}\nimport sys\nfrom cellnet.cli import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    for number in range(30):
        rng = np.random.default_rng(number)
        kind = "neutrophil" if number % 2 else CLASSES[number // 2 % len(CLASSES)]
        image = draw_cell(kind, rng, dysplastic=number % 3 == 0)
        for place in (
            f"smears/smear-{number % 2 + 1}/{number:02d}.jpg",
            f"cells/{kind}/{number:02d}.jpg",
        ):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            write_jpeg(folder / place, image)
    # What training would leave, with networks that know painted cells.
    for name in ("model1", "dysplasianet"):
        (folder / "runs" / name).mkdir(parents=True)
        make_bundle(folder / "painted", name).rename(folder / "runs" / name / "bundle")
    painted_cohort(folder / "runs" / "dysplasianet" / "cohort").write()
    cells = PaintedCohort(folder / "runs" / "model1" / "data")
    for kind in CLASSES * 3:
        cells.cell("test", kind, source_cell="")
    cells.write()
    return folder


def environment(clone: Path) -> dict[str, str]:
    """Variables with which ``cellnet`` is found, and is the one of the copy."""
    programs = clone.parent / "bin"
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": str(clone),
        "MAKEFLAGS": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def test_the_readme_shows_commands_and_only_known_blocks():
    text = README.read_text(encoding="utf-8")
    assert commands(text)
    for language, content in blocks(text):
        # A shell block under another name would not be run.
        assert language not in ("", "sh", "shell", "bash"), f"mark it console or text: {content!r}"
    for command in commands(text):
        assert command in STAND_INS or command.split()[0] in PROGRAMS, f"unlisted: {command}"
        if command.split()[0] in ("make", "git"):
            assert command in STAND_INS, f"say in STAND_INS how {command!r} is tested"


def test_the_readme_says_where_the_program_is_before_it_types_it():
    typed = commands(README.read_text(encoding="utf-8"))
    first = next(number for number, it in enumerate(typed) if it.startswith("cellnet "))
    assert "source .venv/bin/activate" in typed[:first]


def test_what_has_a_dry_stand_in_is_run_whole_by_ci():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    typed = " ".join(line for line in script.splitlines() if not line.startswith("#"))
    for target in ("setup", "lint", "demo", "test"):
        assert re.search(rf"\bmake [^;]*\b{target}\b", typed), target
    assert typed.index(" demo") < typed.index(" test ")


def test_every_stand_in_is_still_needed():
    text = README.read_text(encoding="utf-8")
    assert set(STAND_INS) <= set(commands(text))


@pytest.mark.slow
def test_the_commands_of_the_readme_run(clone):
    for command in commands(README.read_text(encoding="utf-8")):
        typed = STAND_INS.get(command, command)
        if typed is None:
            continue
        result = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", typed],
            cwd=clone,
            env=environment(clone),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, (
            f"{command}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
        )


@pytest.mark.slow
def test_the_python_of_the_readme_runs(clone):
    code = [
        content for language, content in blocks(README.read_text("utf-8")) if language == "python"
    ]
    for block in code:
        result = subprocess.run(
            [sys.executable, "-c", block],
            cwd=clone,
            env=environment(clone),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, f"{block}\n{result.stderr[-2000:]}"


def test_the_files_that_the_readme_links_to_exist():
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (ROOT / target).exists(), f"README.md links to {target}, which does not exist"


def test_verbs_in_sentences_exist_too(clone):
    result = subprocess.run(
        ["cellnet", "--help"],
        cwd=clone,
        env=environment(clone),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    spoken = set(re.findall(r"`cellnet ([a-z][a-z-]+)", README.read_text(encoding="utf-8")))
    for verb in spoken:
        assert re.search(rf"\b{verb}\b", result.stdout), f"README.md speaks of cellnet {verb}"
