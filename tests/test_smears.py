"""A cohort: streamed, resumed, and not stopped by one bad smear."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import pytest
from bundles import make_bundles, paint_cell, paint_smear

from cellnet import smears
from cellnet.errors import CellnetError
from cellnet.predict import predict_smear, predict_smears
from cellnet.results import of_contents
from cellnet.verify import read_schema


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_bundles(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def models(home, monkeypatch):
    monkeypatch.setenv("CELLNET_MODELS", str(home))


@pytest.fixture
def cohort(tmp_path) -> Path:
    for number in range(4):
        paint_smear(tmp_path / "cohort" / f"s{number}", normal=12, dysplastic=number)
    return tmp_path / "cohort"


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_for_each_smear(cohort, tmp_path):
    out = tmp_path / "out.jsonl"
    summary = predict_smears(cohort, out)
    assert not summary.failed and sum(summary.decisions.values()) == 4
    found = lines(out)
    for line in found:
        jsonschema.validate(line, read_schema("smear-report"))
        contents = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in (cohort / line["smear"]).iterdir()
        }
        assert line.pop("images_sha256") == of_contents(contents)
    assert found == [predict_smear(cohort / f"s{n}").to_dict() for n in range(4)]
    assert summary.told(out) == (
        "4 smears judged (2 mds-suspected, 2 no-dysplasia; 4 borderline); "
        f"reports in {out}"
    )  # fmt: skip


def test_bad_smears_do_not_stop_the_others(cohort, tmp_path):
    (cohort / "a-empty").mkdir()
    paint_cell(cohort / "s1-broken" / "x.png", "monocyte")
    (cohort / "s1-broken" / "x.png").write_bytes(b"")
    (cohort / "z-empty").mkdir()
    out = tmp_path / "out.jsonl"
    summary = predict_smears(cohort, out)
    assert list(summary.failed) == ["a-empty", "s1-broken", "z-empty"]
    found = lines(out)
    assert [entry["smear"] for entry in found] == [
        "a-empty", "s0", "s1", "s1-broken", "s2", "s3", "z-empty",
    ]  # fmt: skip
    for entry in found:
        kind = "smear-error" if "error" in entry else "smear-report"
        jsonschema.validate(entry, read_schema(kind))
    # Mended, they are judged by the next run, and only they.
    paint_smear(cohort / "a-empty", normal=3)
    again = predict_smears(cohort, out)
    assert (again.present, list(again.failed)) == (4, ["s1-broken", "z-empty"])
    assert sum(again.decisions.values()) == 1
    assert sorted(entry["smear"] for entry in lines(out)) == [
        "a-empty", "s0", "s1", "s1-broken", "s2", "s3", "z-empty",
    ]  # fmt: skip


def test_a_second_run_has_nothing_to_do(cohort, tmp_path):
    out = tmp_path / "out.jsonl"
    predict_smears(cohort, out)
    before = out.read_bytes()
    summary = predict_smears(cohort, out)
    assert summary.present == 4 and not summary.decisions
    assert out.read_bytes() == before


@pytest.mark.parametrize("change", ["removed", "added", "renamed", "replaced", "swapped", "gone"])
def test_reports_of_other_images_are_not_handed_out(cohort, tmp_path, change):
    """Two cohorts may call their smears, and their images, alike."""
    out = tmp_path / "out.jsonl"
    predict_smears(cohort, out)
    before = out.read_bytes()
    one, two, *_ = sorted((cohort / "s1").iterdir())
    if change == "removed":
        one.unlink()
    elif change == "replaced":  # by a file of the same size and time
        was, changed = one.stat(), bytearray(one.read_bytes())
        changed[-1] ^= 1
        one.write_bytes(changed)
        os.utime(one, ns=(was.st_atime_ns, was.st_mtime_ns))
    elif change == "swapped":
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)
    elif change == "gone":
        one.unlink()
        one.symlink_to("nowhere")
    else:
        other = one.with_name("other" + one.suffix)
        (shutil.copyfile if change == "added" else os.rename)(one, other)
    with pytest.raises(CellnetError, match="report of s1.*made of other images.*another --out"):
        predict_smears(cohort, out)
    assert out.read_bytes() == before


def test_copied_images_are_the_same(cohort, tmp_path):
    """Elsewhere, at another time."""
    out = tmp_path / "out.jsonl"
    predict_smears(cohort, out)
    before = out.read_bytes()
    shutil.copytree(cohort, tmp_path / "copied", copy_function=shutil.copyfile)
    assert predict_smears(tmp_path / "copied", out).present == 4
    assert out.read_bytes() == before


def test_an_unreadable_image_is_bound_as_it_is(cohort, tmp_path):
    out = tmp_path / "out.jsonl"
    (cohort / "s1" / "broken.png").write_bytes(b"no image")
    (cohort / "s1" / "gone.png").symlink_to("nowhere")
    predict_smears(cohort, out)
    assert predict_smears(cohort, out).present == 4
    (cohort / "s1" / "broken.png").write_bytes(b"not an image")
    with pytest.raises(CellnetError, match="report of s1.*made of other images"):
        predict_smears(cohort, out)


def test_reports_that_know_no_contents_are_bound_to_names(cohort, tmp_path):
    """As lines that were written before contents were kept."""
    out = tmp_path / "out.jsonl"
    predict_smears(cohort, out)
    old = [{k: v for k, v in line.items() if k != "images_sha256"} for line in lines(out)]
    out.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert predict_smears(cohort, out).present == 4
    one, *_ = sorted((cohort / "s1").iterdir())
    one.rename(one.with_name("other.png"))
    with pytest.raises(CellnetError, match="made of other images"):
        predict_smears(cohort, out)


def test_a_threshold_under_other_conditions_is_told(cohort, home, tmp_path):
    def warnings(**given):
        out = tmp_path / f"{len(given)}-{len(list(tmp_path.iterdir()))}.jsonl"
        predict_smears(cohort, out, **given)
        return [warning for warning in lines(out)[0]["warnings"] if "threshold" in warning]

    assert warnings() == warnings(threshold=0.3) == warnings(cutoff=0.3, threshold=0.3) == []
    assert "cut-off 0.3 was given by hand" in warnings(cutoff=0.3)[0]
    # As if it had been fitted with another Model 1.
    other = make_bundles(tmp_path / "other") / "dysplasianet"
    file = other / "operating_point.json"
    point = json.loads(file.read_text())
    fitted = {"name": "model1", "version": "0.9.0", "sha256": "0" * 64}
    point["smear"]["fitted_on"]["classifier"] = fitted
    file.write_text(json.dumps(point))
    assert "named by model1 0.9.0 (000000000000), not by" in warnings(dysplasianet=other)[0]


def test_other_choices_need_another_file(cohort, tmp_path):
    out = tmp_path / "out.jsonl"
    predict_smears(cohort, out)
    before = out.read_bytes()
    for choice in ({"cutoff": 0.4}, {"threshold": 0.2}, {"min_neutrophils": 5}):
        with pytest.raises(CellnetError, match="choose another --out"):
            predict_smears(cohort, out, **choice)
    assert out.read_bytes() == before


def test_what_stands_beside_the_smears_is_told(cohort, tmp_path, caplog):
    paint_cell(cohort / "stray.png", "monocyte")
    (cohort / ".hidden").mkdir()
    (cohort / "notes.txt").write_text("")
    (cohort / ".notes").write_text("")
    for _ in range(2):  # the file of results is no stranger
        summary = predict_smears(cohort, cohort / "out.jsonl")
        assert len(summary.warnings) == 2
        assert summary.warnings[0].startswith("1 images stand in")
        assert summary.warnings[1].endswith(f"{cohort} itself: 2 hidden, 1 other files")
        for warning in summary.warnings:
            assert warning in caplog.text


def test_cohorts_that_are_none(tmp_path):
    with pytest.raises(CellnetError, match="does not exist"):
        predict_smears(tmp_path / "gone", tmp_path / "out")
    with pytest.raises(CellnetError, match="holds no folder"):
        predict_smears(tmp_path, tmp_path / "out")
    paint_smear(tmp_path / "one", normal=2)
    with pytest.raises(CellnetError, match="holds 2 images but no folder.*predict-smear'"):
        predict_smears(tmp_path / "one", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_the_next_smear_are_begun_before_the_last_is_done(cohort, tmp_path, monkeypatch):
    """What is under way reaches over the edge of a smear, so that no core waits there."""
    seen = []
    begun = threading.Event()
    reading = smears.CellReader.read

    def read(self, data, path):
        seen.append(path.parent.name)
        if path.parent.name == "s1":
            begun.set()
        return reading(self, data, path)

    monkeypatch.setattr(smears.CellReader, "read", read)
    done = []
    append = smears.ResultsFile.append

    def note(self, document):
        assert begun.wait(30)  # at the first smear: a file of the next one is begun meanwhile
        done.append((document["smear"], len(seen)))
        append(self, document)

    monkeypatch.setattr(smears.ResultsFile, "append", note)
    predict_smears(cohort, tmp_path / "out.jsonl", threads=2)
    assert done[0][0] == "s0" and done[0][1] > 12
    # Bounded: never more than eight files beyond the smear that is being written.
    assert done[0][1] <= 12 + 8 and done[1][1] <= 12 + 13 + 8


RUN = [sys.executable, "-m", "cellnet", "predict-smears"]


def wait_for_lines(process, out: Path, count: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if out.exists() and out.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    pytest.fail("the run ended, or wrote nothing, before it could be stopped")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, home, how):
    cohort = tmp_path / "cohort"
    for number in range(20):
        paint_smear(cohort / f"s{number:02d}", normal=9, dysplastic=number % 5)
    unbroken, out = tmp_path / "unbroken.jsonl", tmp_path / "out.jsonl"
    predict_smears(cohort, unbroken)
    # Each file is read slowly, so that there is time to stop the run in its midst.
    slow = (
        "import sys, time, cellnet.smears as s; read = s.CellReader.read\n"
        "s.CellReader.read = lambda self, d, p: (time.sleep(0.02), read(self, d, p))[1]\n"
        "from cellnet.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "predict-smears", str(cohort), "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_lines(process, out, 3)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    with out.open("ab") as stream:  # as if it had been killed in the midst of a line
        stream.write(b'{"schema": "cellnet/smear-rep')
    assert 3 <= out.read_bytes().count(b"\n") < 20
    result = subprocess.run([*RUN, str(cohort), "--out", str(out)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert out.read_bytes() == unbroken.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["cohort", "out.jsonl", "unbroken.jsonl"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_cohort(tmp_path, home):
    """Eight times the images, the same memory."""
    paint_cell(tmp_path / "cell.png", "neutrophil", size=160)
    peaks = []
    for number in (200, 1600):
        cohort = tmp_path / f"cohort-{number}"
        for image in range(number):
            folder = cohort / f"s{image // 50:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            os.link(tmp_path / "cell.png", folder / f"{image:04d}.png")
        code = (
            "import resource, sys; from cellnet.cli import main; main(sys.argv[1:])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        out = tmp_path / f"{number}.jsonl"
        result = subprocess.run(
            [sys.executable, "-c", code, "predict-smears", str(cohort), "--out", str(out)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.read_bytes().count(b"\n") == number // 50
        peaks.append(int(result.stdout))
    assert peaks[1] < peaks[0] * 1.1, peaks
