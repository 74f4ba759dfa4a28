"""Every command through the parser: what it prints where, and how it ends."""

from __future__ import annotations

import csv
import errno
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from bundles import make_bundles, paint_cell, paint_smear

import cellnet
from cellnet.cli import build_parser, main
from cellnet.verify import read_schema


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_bundles(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def models(home, monkeypatch):
    monkeypatch.setenv("CELLNET_MODELS", str(home))


@pytest.fixture
def smear(tmp_path) -> Path:
    return paint_smear(tmp_path / "smear", normal=12, dysplastic=4, lymphocytes=8)


def run(*words, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "cellnet", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        **more,
    )


def test_predict_smear_for_people(smear, capsys):
    assert main(["predict-smear", str(smear)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("smear: MDS suspected (borderline)\n4 of 16 neutrophils (25.0 %)")
    assert "\x1b" not in out and err == ""


def test_predict_smear_as_json(smear, capsys):
    (smear / "torn.png").write_bytes(b"")
    assert main(["predict-smear", str(smear), "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    jsonschema.validate(document, read_schema("smear-report"))
    for warning in document["warnings"]:
        assert f"cellnet: warning: {warning}\n" in err
    assert "cellnet: warning: unreadable: torn.png: the file is empty\n" in err


def test_predict_smear_writes_table_and_page(smear, tmp_path, capsys):
    table, page = tmp_path / "a.csv", tmp_path / "a.html"
    words = ["predict-smear", str(smear), "--json", "--csv", str(table), "--html", str(page)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert len(list(csv.DictReader(table.open()))) == len(json.loads(out)["cells"]) == 24
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert f"cellnet: wrote {table}\ncellnet: wrote {page}\n" in err


def test_predict_smear_options(smear, home, capsys):
    words = f"predict-smear {shlex.quote(str(smear))} --json --cutoff 0.05 --threshold 0.5"
    words += f" --min-neutrophils 17 --threads 1 --model1 {home / 'model1'} --dysplasianet"
    assert main([*shlex.split(words), str(home / "dysplasianet")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["cutoff"], document["threshold"]) == (0.05, 0.5)
    assert (document["dysplastic"], document["decision"]) == (0, "indeterminate")


def test_predict_smears(tmp_path, capsys):
    for number in range(3):
        paint_smear(tmp_path / "cohort" / f"s{number}", normal=12, dysplastic=number)
    out = tmp_path / "out.jsonl"
    words = ["predict-smears", str(tmp_path / "cohort"), "--out", str(out)]
    assert main(words) == 0
    printed, err = capsys.readouterr()
    assert printed == "" and "cellnet: 3 smears judged" in err
    assert len(out.read_text().splitlines()) == 3
    (tmp_path / "cohort" / "bad").mkdir()
    assert main(words) == 1
    assert "1 could not be judged" in capsys.readouterr().err
    assert json.loads(out.read_text().splitlines()[-1])["schema"] == "cellnet/smear-error/1"
    assert main([*words, "--cutoff", "0.1"]) == 1
    assert "choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["model1", "dysplasianet"])
def test_predict(smear, model, tmp_path, capsys):
    words = ["predict", str(smear), "--model", model]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, read_schema("predictions"))
    assert len(document["cells"]) == 24
    assert main(words) == 0
    assert "cell_0000.png" in capsys.readouterr().out
    assert main([*words, "--csv", str(tmp_path / "a.csv")]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "wrote" in err
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["file"] for row in rows] == [cell["file"] for cell in document["cells"]]


def test_data_draw_prepare_and_simulate(tmp_path, capsys):
    drawn, prepared = tmp_path / "drawn", tmp_path / "prepared"
    words = f"data draw --out {drawn} --seed 1 --per-class 3 --smears 0"
    assert main(words.split()) == 0
    assert "24 images in" in capsys.readouterr().out
    assert main(f"data draw --smear --cells 3 --dysplastic 1 --out {tmp_path / 's'}".split()) == 0
    assert capsys.readouterr().out == f"3 cells in {tmp_path / 's'}\n"
    assert len(list((tmp_path / "s").glob("*.jpg"))) == 3
    words = f"data prepare {drawn} --adapter folder --out {prepared} --seed 2"
    assert main(words.split()) == 0
    assert "images in" in capsys.readouterr().out
    # Far too few cells for a cohort: refused in one line, as every verb does.
    assert main(f"data simulate {prepared} --out {tmp_path / 'c'} --seed 3".split()) == 1
    assert capsys.readouterr().err.startswith("cellnet: error: ")


@pytest.mark.parametrize(
    "words",
    ["--smear --per-class 3", "--smear --smears 3", "--dysplastic 0.5"],
)
def test_data_draw_refuses_what_does_not_fit(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["data", "draw", "--out", str(tmp_path / "x"), *words.split()])
    assert caught.value.code == 2
    assert "--smear" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_termination_leaves_nothing_half_made(tmp_path):
    out = tmp_path / "out"
    words = ["-m", "cellnet", "data", "draw", "--out", str(out), "--per-class", "5000"]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*/**/*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        assert process.wait(60) == 143
    assert os.listdir(tmp_path) == []


def test_verify(home, tmp_path, capsys):
    assert main(["verify", "model1"]) == 0
    assert "all checks passed" in capsys.readouterr().out
    damaged = make_bundles(tmp_path / "models") / "model1"
    (damaged / "golden.npz").write_bytes(b"")
    assert main(["verify", str(damaged), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is False
    assert main(["verify", "model9"]) == 1


PASSED_ON = {
    "train r.yaml --data d --run r --resume": (
        "cellnet.train", "train",
        {"recipe": Path("r.yaml"), "data": Path("d"), "run": Path("r"), "resume": True},
    ),
    "calibrate m c --out o.json --classifier none --min-neutrophils 5": (
        "cellnet.calibrate", "calibrate",
        {"model": "m", "manifest": Path("c"), "out": Path("o.json"), "classifier": "none",
         "minimum_neutrophils": 5},
    ),
    "evaluate model1 c --split s --among five --group none --html a.html --out a.json": (
        "cellnet.evaluate", "evaluate",
        {"model": "model1", "manifest": Path("c"), "split": "s", "among": "five", "group": "none",
         "html": Path("a.html"), "out": Path("a.json"), "classifier": "model1"},
    ),
    "data simulate m --out o --seed 3 --train-per-class 4 --smears 2 --proof-smears 1 --partial": (
        "cellnet.cohort", "simulate",
        {"manifest": Path("m"), "out": Path("o"), "seed": 3, "partial": True},
    ),
}  # fmt: skip


class Called(Exception):
    """Carries what a function was called with, by the names of its parameters."""


@pytest.mark.parametrize("line", PASSED_ON)
def test_options_reach_the_function(line, monkeypatch, tmp_path):
    """What is typed arrives under the parameters' own names, as the functions are today."""
    import importlib
    import inspect

    module, name, expected = PASSED_ON[line]
    module = importlib.import_module(module)
    signature = inspect.signature(getattr(module, name))

    def stand_in(*args, **kwargs):
        raise Called(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(module, name, stand_in)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Called) as caught:
        main(line.split())
    given = caught.value.args[0]
    plan = given.pop("plan", None)
    assert given == expected
    if plan:
        assert (plan.train_per_class, plan.smears, plan.proof_smears) == (4, 2, 1)


def test_no_option_is_lost():
    """Each option of each command is one of those that this very command reads."""
    import inspect

    from cellnet.cli.options import decision

    read_for_many = inspect.getsource(decision)
    parsers = [build_parser()]
    commands = 0
    while parsers:
        parser = parsers.pop()
        command = parser.get_default("command")
        source = inspect.getsource(command) if command else ""
        if "decision(arguments)" in source:
            source += read_for_many
        commands += bool(command)
        for action in parser._actions:
            if action.choices and hasattr(action.choices, "values"):
                parsers += list(action.choices.values())
            elif action.dest not in ("help", "version", "verbose"):
                assert f".{action.dest}" in source or f'"{action.dest}"' in source, action.dest
    assert commands == 16


@pytest.mark.parametrize(
    "words",
    [
        "", "nonsense", "data", "predict", "predict-smear", "predict-smears x",
        "predict-smear x --cutoff 1.5", "predict-smear x --threshold -0.1",
        "predict-smear x --cutoff nan", "predict-smear x --min-neutrophils 0",
        "predict-smear x --threads 0", "predict-smear x --cutoff a", "data prepare x --out y",
        "data draw --out x --seed -1", "verify", "train", "predict-smear x --nonsense",
        "data prepare x --out y --adapter nonsense", "evaluate m d --group nonsense",
        "evaluate dysplasianet d --among five", "evaluate m d --split train --record x",
        "evaluate m d --among monocyte", "evaluate m d --among monocyte,nonsense",
        "evaluate m d --note x", "evaluate m d --record-in m",
        "predict x.png --model model1 --cutoff 0.5",
    ],
)  # fmt: skip
def test_wrong_usage(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert "usage: cellnet" in capsys.readouterr().err


def test_choices_are_those_of_the_functions():
    from cellnet import adapters, truth
    from cellnet.cli import data, measuring

    assert set(data.ADAPTERS) == set(adapters.ADAPTERS)
    for name in set(measuring.GROUPS) - {"auto", "none"}:
        with pytest.raises(cellnet.CellnetError, match="no row of the manifest"):
            truth.groups_of([], name)


NASTY = "bad\x1b[31m\x9b31m\x07\nX"


def test_foreign_names_cannot_drive_a_terminal(tmp_path, capfd):
    paint_smear(tmp_path / NASTY / NASTY, normal=3)
    (tmp_path / NASTY / NASTY / f"{NASTY}.png").write_bytes(b"")
    (tmp_path / NASTY / "empty\x1b[2J").mkdir()
    folder, out = tmp_path / NASTY, tmp_path / "out\x1b[2J"
    for words, status in (
        (["predict-smear", tmp_path / "gone\x1b[31m"], 1),
        (["predict-smear", folder / "empty\x1b[2J"], 1),
        (["predict-smear", folder / NASTY], 0),
        (["predict-smear", folder / NASTY, "--json"], 0),
        (["predict", folder / NASTY, "--csv", out], 0),
        (["predict-smears", folder, "--out", out.with_name("out.jsonl")], 1),
        (["verify", folder], 1),
        (["data", "draw", "--smear", "--cells", "1", "--out", tmp_path / "new\x1b[2J"], 0),
    ):
        assert main([str(word) for word in words]) == status, words
        printed = "".join(capfd.readouterr())
        assert not {"\x1b", "\x9b", "\x07"} & set(printed), words
        assert "\ufffd" in printed or "--json" in words
    with pytest.raises(SystemExit):
        main(["predict-smear", "x", "--cutoff", NASTY, NASTY])
    assert not {"\x1b", "\x9b", "\x07"} & set(capfd.readouterr().err)


def test_trouble_is_one_line_without_traceback(smear, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    bad = make_bundles(tmp_path / "bad")
    (bad / "model1" / "model.tflite").write_bytes(b"x")
    bare = make_bundles(tmp_path / "bare", point=False)
    for words in (
        ["predict-smear", tmp_path / "gone"],
        ["predict-smear", tmp_path / "empty"],
        ["predict-smear", smear, "--model1", "model9"],
        ["predict-smear", smear, "--model1", bad / "model1"],
        ["predict-smear", smear, "--dysplasianet", bare / "dysplasianet"],
        ["predict-smear", smear, "--csv", tmp_path / "gone" / "a.csv"],
        ["predict-smear", smear, "--html", tmp_path],
        ["predict-smears", smear, "--out", tmp_path / "x.jsonl"],
        ["predict", tmp_path / "gone.png"],
        ["verify", tmp_path],
        ["calibrate", "dysplasianet", tmp_path / "gone"],
        ["evaluate", "model1", tmp_path / "gone"],
        ["data", "prepare", tmp_path / "gone", "--adapter", "folder", "--out", tmp_path / "o"],
        ["data", "simulate", tmp_path / "gone", "--out", tmp_path / "o"],
        ["train", tmp_path / "gone.yaml"],
    ):
        assert main([str(word) for word in words]) == 1, words
        out, err = capfd.readouterr()
        assert out == "" and err.startswith("cellnet: error: ") and err.count("\n") == 1, err
    result = run("predict-smear", tmp_path / "gone")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_full_disks_and_gone_readers(smear):
    words = f"{shlex.quote(sys.executable)} -m cellnet predict-smear {shlex.quote(str(smear))}"
    for shell, status, err in (
        (f"{words} > /dev/full", 1, "cellnet: error: cannot write to standard output: No space"),
        (f"{words} --csv /dev/full", 1, "cellnet: error: cannot write /dev/full: No space left"),
        (f"set -o pipefail; {words} --json | true", 141, None),
    ):
        result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
        assert result.returncode == status, (shell, result.stderr)
        assert "Traceback" not in result.stderr and "Exception" not in result.stderr
        if err:
            assert result.stderr.startswith(err) and result.stderr.count("\n") == 1


def test_what_fills_up_elsewhere_is_not_laid_to_standard_output(monkeypatch, capsys, smear):
    import cellnet.predict

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cellnet.predict, "predict_smear", refuse)
    assert main(["predict-smear", str(smear)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "standard output" not in err and "No space left on device" in err


def test_terminals_that_know_ascii_alone(tmp_path):
    folder = paint_smear(tmp_path / "Zürich", normal=3)
    result = run("predict-smear", folder, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0, result.stderr
    assert result.stdout.isascii() and result.stdout.startswith("Z\\xfcrich: ")


def test_a_library_that_sets_up_logging_doubles_no_line():
    """As absl does, which Keras logs with, where it finds the root logger bare."""
    code = (
        "import logging\n"
        "from cellnet.cli.streams import set_up_streams\n"
        "set_up_streams(False)\n"
        "logging.basicConfig()\n"
        "set_up_streams(False)\n"
        "logging.getLogger('cellnet.train').info('epoch 1')\n"
        "logging.getLogger('elsewhere').warning('take care')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr == "cellnet: epoch 1\ncellnet: warning: take care\n"


def test_names_that_are_no_text(tmp_path):
    folder = paint_smear(tmp_path / "s", normal=3)
    paint_cell(folder / "cell.png", "monocyte")
    os.rename(folder / "cell.png", os.fsencode(folder) + b"/\xff=\n.png")
    result = run("predict-smear", folder, "--json")
    assert result.returncode == 0, result.stderr
    assert "\udcff=\n.png" in [cell["file"] for cell in json.loads(result.stdout)["cells"]]
    out = folder.parent / "x"
    assert run("predict-smear", folder, "--html", out, "--csv", out.with_name("y")).returncode == 0


MISSING = """
import sys
for name in ("keras", "matplotlib", "pandas", "pydantic", "scipy", "seaborn", "sklearn",
             "tensorflow"):
    sys.modules[name] = None
from cellnet.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_the_extra_for_training(smear, tmp_path):
    def bare(*words):
        command = [sys.executable, "-c", MISSING, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True)

    page = tmp_path / "a.html"
    result = bare("predict-smear", smear, "--json", "--html", page)
    assert result.returncode == 0 and json.loads(result.stdout) and page.exists()
    (tmp_path / "r.yaml").write_text("")
    for words in (
        ["train", tmp_path / "r.yaml", "--data", smear],
        ["evaluate", "model1", smear, "--html", page],
    ):
        result = bare(*words)
        assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
        assert result.stderr.startswith("cellnet: error: ") and "cellnet[train]" in result.stderr


@pytest.mark.parametrize("code", ["import cellnet", "main(['--help'])"])
def test_start_is_quick_and_light(code):
    """Half a second at most; the processor's time, since a test machine may be busy."""
    script = (
        "import sys\ntry:\n    from cellnet.cli import main\n    " + code + "\nexcept SystemExit:\n"
        "    pass\nassert not {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'numpy',"
        " 'cv2', 'jinja2', 'jsonschema'} & set(sys.modules), sys.modules"
    )
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert result.returncode == 0, result.stderr
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) < 0.5, times


def test_predicting_loads_no_training_and_no_templates(smear):
    code = (
        "import sys; from cellnet.cli import main; main(sys.argv[1:]); "
        "assert not {'tensorflow', 'keras', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'jinja2',"
        " 'jsonschema'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, "predict-smear", str(smear), "--json"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_version_and_help(capsys):
    for words, expected in ((["--version"], f"cellnet {cellnet.__version__}\n"),
                            (["--help"], "usage: cellnet")):  # fmt: skip
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith(expected)
