"""What is installed: the wheel and its models, how the program starts, lock files, Makefile."""

from __future__ import annotations

import configparser
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from bundles import make_bundle, make_operating_point
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = ("model1", "dysplasianet")
HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "matplotlib", "pandas")


def run(*command, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a command with an environment that leads to nothing of the checkout."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "CELLNET", "VIRTUAL_ENV", "MAKE"))
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of the checkout: a build writes beside the sources.

    Where the checkout lacks a trained bundle, a tiny one stands in: packaging is what is tested.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    leave_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("cellnet", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=leave_out)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    for name in BUNDLES:
        if not (source / "models" / name / "bundle.json").exists():
            make_bundle(source / "models", name)
            if name == "dysplasianet":
                make_operating_point(source / "models" / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    result = run(
        *(sys.executable, "-m", "pip", "wheel", "-q", *options, "-w", folder, "."), cwd=source
    )
    assert result.returncode == 0, result.stderr
    (built,) = folder.glob("cellnet-*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel):
    # A module or template that setup.cfg forgets is missing only for those who install the wheel.
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cellnet").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    models = wheel.parent / "source" / "models"
    expected |= {
        "cellnet/_models/" + path.relative_to(models).as_posix()
        for path in models.glob("*/*")
        if path.is_file()
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in held if ".dist-info/" not in name} == expected


def core_distributions() -> dict[str, metadata.Distribution]:
    """What the core install brings, followed through the installed packages' own requirements."""
    wanted = setup_cfg()["options"]["install_requires"].split("\n")
    found: dict[str, metadata.Distribution] = {}
    while wanted:
        line = wanted.pop().strip()
        if not line:
            continue
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = metadata.distribution(name)
        wanted += found[name].requires or []
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """An environment elsewhere that holds the wheel and its core dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
        ).stdout.strip()
    )
    for distribution in core_distributions().values():
        # Linked from the environment of the tests, so that no registry is needed.
        for top in {Path(file).parts[0] for file in distribution.files or []} - {
            "..",
            "__pycache__",
        }:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(distribution.locate_file(top)).resolve())
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    result = run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "-q", *options, wheel),
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.slow
def test_the_core_install_brings_no_tensorflow(installed):
    code = (
        "import importlib.util as u, cellnet;"
        f"print(cellnet.__file__, [n for n in {HEAVY!r} if u.find_spec(n)])"
    )
    result = run(installed / "bin" / "python", "-c", code, cwd=installed)
    file, found = result.stdout.strip().split(" ", 1)
    assert installed in Path(file).parents
    assert found == "[]"


@pytest.mark.slow
def test_the_installed_wheel_predicts_a_smear(installed, tmp_path):
    from cellnet.draw import draw_cell
    from cellnet.images import write_png

    smear = tmp_path / "smear-7"
    smear.mkdir()
    for number, kind in enumerate(["neutrophil"] * 4 + ["lymphocyte", "eosinophil"]):
        write_png(smear / f"{number}.png", draw_cell(kind, np.random.default_rng(number)))
    result = run(
        *(installed / "bin" / "cellnet", "predict-smear", smear, "--json"),
        *("--html", tmp_path / "report.html"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["schema"] == "cellnet/smear-report/1"
    assert len(report["cells"]) == 6
    assert (tmp_path / "report.html").stat().st_size > 1000


@pytest.mark.slow
def test_the_installed_models_hold(installed, tmp_path):
    for name in BUNDLES:
        result = run(installed / "bin" / "cellnet", "verify", name, cwd=tmp_path)
        assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------- the start of the program


@pytest.mark.parametrize(
    "code",
    [
        "import cellnet",
        "import sys; sys.argv = ['cellnet', '--help']; from cellnet.cli import main",
    ],
    ids=["import", "help"],
)
def test_starting_loads_nothing_heavy_and_is_quick(code, tmp_path):
    if "main" in code:
        code += "\ntry: main()\nexcept SystemExit as end: assert not end.code"
    code += f"\nimport sys\nprint([n for n in {HEAVY!r} if n in sys.modules])"
    times = []
    for _ in range(5):
        start = children_seconds()
        result = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
        times.append(children_seconds() - start)
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip().endswith("[]")
    assert min(times) < 0.5, f"the quickest of five starts took {min(times):.2f} s"


def children_seconds() -> float:
    """Processor time of the finished children; unlike the clock's, it bears a busy machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# ---------------------------------------------------------------- setup.cfg, lock files, Makefile


def pins(name: str) -> dict[str, list[tuple[str, str]]]:
    """Versions and markers of a lock file by package."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        match = re.match(r"([a-z0-9.-]+)==([^ ;]+)(?: ; (.*?))? *\\?$", line)
        if match:
            package, version, marker = match.groups()
            found.setdefault(package, []).append((version, marker or ""))
    return found


#: Lock files of extras that are installed beside all the others, and what each brings.
BESIDE = {
    "export": {"onnx", "onnxruntime"},
    "ray": {"filelock", "msgpack", "ray"},
}
LOCKS = (
    "requirements-core.lock",
    "requirements.lock",
    *(f"requirements-{name}.lock" for name in BESIDE),
)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_files_follow_setup_cfg(lock):
    parser = setup_cfg()
    wanted = parser["options"]["install_requires"].split("\n")
    for name, extra in parser["options.extras_require"].items():
        if lock == (f"requirements-{name}.lock" if name in BESIDE else "requirements.lock"):
            wanted += extra.split("\n")
    pinned = pins(lock)
    for line in filter(None, (line.split("#")[0].strip() for line in wanted)):
        requirement = Requirement(line)
        versions = [version for version, _ in pinned[canonicalize_name(requirement.name)]]
        assert all(requirement.specifier.contains(version) for version in versions), (
            f"{lock} pins {requirement.name} at {versions}, setup.cfg asks for "
            f"{requirement.specifier}; run: make lock"
        )


def test_the_lock_files_agree_and_name_no_registry():
    core, everything = pins("requirements-core.lock"), pins("requirements.lock")
    assert len(core) > 10
    assert {name: everything.get(name) for name in core} == core
    for name, brought in BESIDE.items():
        beside = pins(f"requirements-{name}.lock")
        assert set(beside) - set(everything) == brought
        assert all(everything[name] == beside[name] for name in set(beside) & set(everything))
    for name in LOCKS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert text.count("--hash=sha256:") >= len(pins(name))


def test_pyproject_only_names_the_build_backend():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "[build-system]"
    assert len(lines) == 3


def test_make_alone_lists_the_targets():
    listing = run("make", "--no-print-directory", cwd=ROOT)
    assert listing.returncode == 0
    for target in ("demo", "test", "train-dysplasianet", "train-model1", "bench", "lock", "export"):
        assert re.search(rf"^  {target} ", listing.stdout, re.MULTILINE)


@pytest.mark.parametrize("target", ["train-dysplasianet", "train-model1"])
def test_make_train_refuses_a_folder_that_is_none(target, tmp_path):
    # Stamps as set-up leaves them, so that the target itself runs and nothing is installed.
    fake = tmp_path / "venv"
    (fake / "bin").mkdir(parents=True)
    for name in ("bin/python", "all.done", "core.done"):
        (fake / name).touch()
    result = run("make", "--no-print-directory", target, f"VENV={fake}", "DATA=no-such", cwd=ROOT)
    assert result.returncode == 2
    assert "cellnet: error: DATA must be a folder" in result.stderr
    assert "'no-such'" in result.stderr
