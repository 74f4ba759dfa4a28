"""The file of a cohort's results: interrupted, resumed, shared, foreign, full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellnet.errors import CellnetError
from cellnet.results import ResultsFile

MADE_WITH = {"models": {"model1": {"name": "m", "version": "1", "sha256": "a" * 64}}, "cutoff": 0.5}


def report(smear: str, **more) -> dict:
    return {"schema": "cellnet/smear-report/1", "smear": smear, **MADE_WITH, **more}


def line(document: dict) -> bytes:
    return json.dumps(document).encode() + b"\n"


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "results.jsonl"


def reopen(file: Path) -> set[str]:
    with ResultsFile(file, MADE_WITH) as results:
        return set(results.done)


def test_lines_are_there_when_they_are_written(file):
    with ResultsFile(file, MADE_WITH) as results:
        results.append(report("a"))
        assert file.read_bytes() == line(report("a"))
        results.append_error("b", "no image")
    error = {"schema": "cellnet/smear-error/1", "smear": "b", "error": "no image"}
    assert file.read_bytes() == line(report("a")) + line(error)
    assert os.listdir(file.parent) == [file.name]


def test_reports_stay_and_errors_are_tried_again(file):
    with ResultsFile(file, MADE_WITH) as results:
        for name in "abcd":
            if name in "bd":
                results.append_error(name, "bad")
            else:
                results.append(report(name))
    assert reopen(file) == {"a", "c"}
    assert file.read_bytes() == line(report("a")) + line(report("c"))


@pytest.mark.parametrize("cut", [1, 2, 10, 40, 75])
def test_a_torn_last_line_is_cut_off(file, cut):
    whole = line(report("a"))
    file.write_bytes(whole + line(report("b"))[:-cut])
    assert reopen(file) == ({"a", "b"} if cut == 1 else {"a"})
    assert file.read_bytes() == whole + (line(report("b")) if cut == 1 else b"")


@pytest.mark.parametrize("length", [0, 1, 5, 30, 60])
def test_a_torn_only_line(file, length):
    file.write_bytes(line(report("a"))[:length])
    assert reopen(file) == set()
    assert file.read_bytes() == b""


def test_a_line_torn_after_an_error(file):
    file.write_bytes(b'{"schema": "cellnet/smear-error/1", "smear": "x", "error": "y"}\n{"sch')
    assert reopen(file) == set() and file.read_bytes() == b""


@pytest.mark.parametrize(
    "content",
    [b"file,label\na.jpg,other\n", b"\n", b"{}\n", b"[1]\n", b'{"schema": "x"}', b"\xff\xfe", b"x"],
)
def test_foreign_files_are_refused_and_left_alone(file, content):
    file.write_bytes(content)
    with pytest.raises(CellnetError, match="line 1 of .* is no report of a smear"):
        reopen(file)
    assert file.read_bytes() == content and os.listdir(file.parent) == [file.name]


def test_other_models_or_cuts_are_refused(file):
    content = line(report("a")) + line(report("b", cutoff=0.25))
    file.write_bytes(content)
    with pytest.raises(CellnetError, match="made with cutoff 0.25, but now it is 0.5"):
        reopen(file)
    other = json.loads(json.dumps(MADE_WITH["models"]).replace("aaa", "bbb"))
    file.write_bytes(line(report("a", models=other)))
    with pytest.raises(CellnetError, match=r"m 1 \(bbbbbbbbbbbb\), but now it is m 1 \(aaaa"):
        reopen(file)


def test_permissions_and_links_outlive_mending(file):
    real = file.with_name("real.jsonl")
    real.write_bytes(line(report("a")) + b'{"schema": "cell')
    real.chmod(0o640)
    file.symlink_to(real)
    assert reopen(file) == {"a"}
    assert file.is_symlink() and real.read_bytes() == line(report("a"))
    assert real.stat().st_mode & 0o777 == 0o640


HOLD = """
import sys
from pathlib import Path
from cellnet.results import ResultsFile
with ResultsFile(Path(sys.argv[1]), {}):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_at_once_are_refused_until_one_ends(file):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(CellnetError, match="another run is writing"):
            reopen(file)
    finally:
        first.kill()  # without a chance to tidy up
        first.wait()
    assert reopen(file) == set()
    assert os.listdir(file.parent) == [file.name]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(CellnetError, match="it is a folder"):
        reopen(tmp_path)
    with pytest.raises(CellnetError, match="there is no folder"):
        reopen(tmp_path / "gone" / "a.jsonl")
    with pytest.raises(CellnetError, match="it is no plain file"):
        reopen(Path("/dev/null"))


def test_a_full_disk_is_told_and_can_be_taken_up(file, monkeypatch):
    with pytest.raises(CellnetError, match="No space left.*the same command goes on"):
        with ResultsFile(file, MADE_WITH) as results:
            results.append(report("a"))
            results._stream.close()
            results._stream = open("/dev/full", "wb", buffering=0)
            results.append(report("b"))
    assert reopen(file) == {"a"}
