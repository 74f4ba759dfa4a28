"""A study as a user runs it: killed, gone on with, and ended in a report and a bundle."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("tensorflow", reason="training needs the training extra")
import jsonschema
import yaml
from painted_cohort import PaintedCohort
from ray_cluster import needs_ray

from cellnet import selection
from cellnet.bundle import load
from cellnet.errors import CellnetError
from cellnet.manifest import read_manifest
from cellnet.measured_page import decimal, interval
from cellnet.operating_point import read_operating_point
from cellnet.outputs import hold
from cellnet.selection import SCHEMA, select
from cellnet.selection_page import render, summary
from cellnet.study import read_study
from cellnet.verify import read_schema

TRAINING = Path(__file__).resolve().parents[1] / "training"
SMALL = TRAINING / "dysplasianet-selection-small.yaml"
PATIENCE_S = 1800  # of a machine that has much else to do


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """A laboratory's own cohort, painted: toys learn in a few steps what colour a cell has."""
    made = PaintedCohort(tmp_path_factory.mktemp("own") / "cohort")
    for split, pairs in (("train", 24), ("validation", 12), ("test-by-cell", 12)):
        for number in range(pairs):
            source = f"{split}-{number}"
            made.cell(split, g=0.1, score=0.8 + number / 200, source_cell=source)
            made.cell(split, g=0.8, score=0.2 - number / 200, source_cell=source)
    for split, first in (("test-by-smear", "a"), ("proof-of-concept", "b")):
        for number in range(4):
            made.smear(split, f"{first}-healthy-{number}", "healthy", 5, number % 2)
            made.smear(split, f"{first}-mds-{number}", "mds", 3, 3)
    made.write()
    return made.folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """The small form, with fewer images and epochs."""
    content = yaml.safe_load(SMALL.read_text("utf-8"))
    content["data"].update(per_class=24)
    content["training"].update(batch=8, epochs=3, learning_rate=0.003)
    content["first_stage"].update(epochs=2, margin=0.1)
    file = tmp_path_factory.mktemp("recipe") / "study.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def start(recipe: Path, cohort: Path, run: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "cellnet", "select", str(recipe), "--data", str(cohort)]
    return subprocess.Popen(
        [*command, "--run", str(run), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def worker_of(run: Path) -> int:
    """The process of Ray whose child trains in a run's folder."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            typed = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if b"cellnet.jobs" in typed and str(run).encode() in typed:
                return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    raise AssertionError(f"nobody trains in {run}")


def epochs(run: Path) -> int:
    log = run / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


@pytest.fixture(scope="module")
def study(recipe, cohort, tmp_path_factory) -> Path:
    """A study that was killed in its first run, left alone, and gone on with to its end."""
    run = tmp_path_factory.mktemp("study") / "run"
    process = start(recipe, cohort, run)
    deadline = time.monotonic() + PATIENCE_S
    while not epochs(run / "stage-1" / "M1") and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run / "stage-2").exists()

    again = start(recipe, cohort, run)
    _, err = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 1
    assert "--resume" in err
    assert "Traceback" not in err

    last = start(recipe, cohort, run, "--resume", "--json", "--jobs", "2")
    try:
        out, err = last.communicate(timeout=PATIENCE_S)
    finally:
        last.kill()
    assert last.returncode == 0, err
    assert json.loads(out) == json.loads((run / "report.json").read_text("utf-8"))
    return run


@pytest.fixture(scope="module")
def report(study) -> dict:
    return json.loads((study / "report.json").read_text("utf-8"))


@pytest.mark.slow
def test_the_report_follows_its_schema(report):
    assert report["schema"] == SCHEMA
    jsonschema.Draft202012Validator(read_schema("selection")).validate(report)


@pytest.mark.slow
def test_both_stages_ran_to_their_end(report, study):
    for name, found in report["candidates"].items():
        assert found["stage1"]["epochs"] == 2
        assert found["stage1"]["goes_on"], found["stage1"]["reason"]
        second = found["stage2"]
        assert second["epochs"] == 3 or second["reached"]
        assert second["weights_sha256"] == load(study / "stage-2" / name / "bundle").sha256
        assert found["parameters"] == load(study / "stage-1" / name / "bundle").description[
            "network"]["parameters"]  # fmt: skip
    assert report["recipe"]["published"] is None


@pytest.mark.slow
def test_toys_tell_colours_apart(report):
    """So the numbers of the chain are those of what was trained, not of chance."""
    name = report["chosen"]["name"]
    assert report["candidates"][name]["stage2"]["by_cell"]["accuracy"]["value"] > 0.9
    proof = report["proof_of_concept"]
    assert proof["n"] == 8
    assert {row["smear"][0] for row in proof["smears"]} == {"b"}
    assert proof["confusion"]["counts"][0][0] + proof["confusion"]["counts"][1][1] == 8


@pytest.mark.slow
def test_the_winner_is_the_bundle(report, study):
    name = report["chosen"]["name"]
    bundle = load(study / "bundle")
    second = report["candidates"][name]["stage2"]
    assert bundle.sha256 == second["weights_sha256"]
    point = read_operating_point(study / "bundle", bundle.sha256)
    assert (point.cutoff, point.threshold) == (second["cutoff"], second["threshold"])
    assert "CARD.md" in {path.name for path in (study / "bundle").iterdir()}
    verified = subprocess.run(
        [sys.executable, "-m", "cellnet", "verify", str(study / "bundle")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert verified.returncode == 0, verified.stderr


@pytest.mark.slow
def test_folds_cover_the_cells_by_group_and_by_image(report):
    cross = report["cross_validation"]
    assert (cross["cells"]["n"], cross["cells"]["groups"]) == (72, 36)
    assert [division["name"] for division in cross["divisions"]] == ["2-fold", "2-fold-by-image"]
    for division in cross["divisions"]:
        assert division["n"] == 72
        assert sum(row["n"] for row in division["rows"]) == 72
        assert all(row["epochs"] == 1 for row in division["rows"])
    (gain,) = cross["by_image_minus_by_group"]
    first, second = (division["pooled"]["value"] for division in cross["divisions"])
    assert gain["difference"]["value"] == pytest.approx(second - first)


@pytest.mark.slow
def test_runs_share_the_cohort_and_prepare_nothing_again(study, cohort, report):
    link = study / "stage-1" / "M1" / "cohort"
    assert link.is_symlink()
    assert link.resolve() == cohort.resolve()
    assert not os.path.isabs(os.readlink(link))
    assert not (study / "stage-1" / "M1" / "data").exists()
    winner = report["chosen"]["name"]
    fold = read_manifest(study / "cross-validation" / winner / "2-fold" / "1" / "cohort")
    fold.check_files()


@pytest.mark.slow
def test_time_and_deaths_are_recorded(report):
    assert len(report["time"]["sessions"]) == 2
    assert report["time"]["sessions"][1]["side_by_side"] == 2
    assert report["time"]["runs"]["stage-2/M1"]["attempts"] == 1
    chosen = report["chosen"]["name"]
    runs = {f"stage-{stage}/{name}" for stage in (1, 2) for name in ("M1", "M2")} | {
        f"cross-validation/{chosen}/{division['name']}/{fold}"
        for division in report["cross_validation"]["divisions"]
        for fold in (1, 2)
    }
    # The run that outlived the study that was killed may have ended by itself: nobody timed it.
    assert runs - {"stage-1/M1"} <= set(report["time"]["runs"]) <= runs


@pytest.mark.slow
def test_a_finished_study_is_reported_again_without_a_run(study, recipe, cohort, report):
    logs = {path: path.stat().st_mtime_ns for path in study.rglob("job.log")}
    again = select(recipe, cohort, study, resume=True, progress=False)
    assert {path: path.stat().st_mtime_ns for path in study.rglob("job.log")} == logs
    assert again["candidates"] == report["candidates"]
    assert again["proof_of_concept"] == report["proof_of_concept"]
    assert again["cross_validation"] == report["cross_validation"]


@pytest.mark.slow
def test_a_study_finished_before_cuts_had_intervals_is_brought_up(
    study, recipe, cohort, report, tmp_path
):
    """As an older version left it: no interval at a fit, in its card or in the report."""
    run = tmp_path / "run"
    shutil.copytree(study, run, symlinks=True)
    old = "2020-01-01T00:00:00+00:00"
    for file in run.rglob("operating_point.json"):
        document = json.loads(file.read_text("utf-8"))
        for section in (document["cell"], document["smear"], *document["also"].values()):
            section.pop("cut")
        file.write_text(json.dumps({**document, "created": old}))
    for name in ("by-cell", "by-smear", "proof-of-concept"):
        for file in run.glob(f"stage-2/*/{name}.json"):
            document = json.loads(file.read_text("utf-8"))
            document["operating_point"]["created"] = old
            file.write_text(json.dumps(document))
    before = json.loads(json.dumps(report))
    for found in before["candidates"].values():
        found["stage1"].pop("balanced_accuracy")
        for key in ("accuracy", "balanced_accuracy", "groups", "cutoff_ci95", "threshold_ci95"):
            found["stage2"].pop(key)
    for division in before["cross_validation"]["divisions"]:
        division.pop("pooled_auc")
    (run / "report.json").write_text(json.dumps(before))
    assert "could be chosen" not in render(before)  # such a report still becomes a page

    logs = {path: path.stat().st_mtime_ns for path in run.rglob("job.log")}
    again = select(recipe, cohort, run, resume=True, progress=False)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("job.log")} == logs
    assert again["candidates"] == report["candidates"]
    assert again["cross_validation"] == report["cross_validation"]
    assert json.loads((run / "report.json").read_text("utf-8")) == again
    point = read_operating_point(run / "bundle", load(run / "bundle").sha256)
    assert point.created > old
    low, high = point.cell.cut["ci95"]
    assert f"{point.cutoff:.4f} ({low:.4f} to {high:.4f})" in (run / "bundle/CARD.md").read_text()


@pytest.mark.slow
def test_another_winner_gets_folds_of_its_own(study, recipe, cohort, report, tmp_path, monkeypatch):
    """As where a diagnosis was corrected: the old winner's folds say nothing of the new one."""

    class Stop(Exception):
        pass

    run = tmp_path / "run"
    shutil.copytree(study, run, symlinks=True)
    old = report["chosen"]["name"]
    (new,) = set(report["candidates"]) - {old}
    choose, train, asked = selection.candidates.choose, selection.StudyRuns.train, {}

    def train_no_fold(self, recipes):
        if any(name.startswith("cross-validation") for name in recipes):
            asked.update(recipes)
            raise Stop
        train(self, recipes)

    monkeypatch.setattr(selection.StudyRuns, "train", train_no_fold)
    monkeypatch.setattr(
        selection.candidates, "choose", lambda *words: {**choose(*words), "name": new}
    )
    with pytest.raises(Stop):
        select(recipe, cohort, run, resume=True, progress=False)
    assert [name.split("/")[1] for name in asked] == [new] * 4
    arguments = {json.dumps(it.network.arguments) for it in asked.values()}
    assert arguments == {json.dumps(report["recipe"]["candidates"][new])}
    # Until they are trained, the report speaks of the new winner, and of no folds.
    now = json.loads((run / "report.json").read_text("utf-8"))
    assert (now["chosen"]["name"], now["cross_validation"]) == (new, None)


@needs_ray
@pytest.mark.slow
def test_a_study_runs_on_a_ray_cluster_and_loses_a_worker(recipe, cohort, cluster, tmp_path):
    content = yaml.safe_load(recipe.read_text("utf-8"))
    content["first_stage"]["epochs"] = 4
    content["cross_validation"] = None
    file, run = tmp_path / "study.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(content))
    process = start(file, cohort, run, "--ray", cluster.address)
    deadline = time.monotonic() + PATIENCE_S
    # Of the first epoch there is then a checkpoint.
    while epochs(run / "stage-1" / "M1") < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed = worker_of(run / "stage-1" / "M1")
    os.kill(killed, signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    report = json.loads((run / "report.json").read_text("utf-8"))
    assert report["time"]["sessions"][0]["place"] == "a Ray cluster of 2 machines with 2 cores"
    assert all(found["stage2"] for found in report["candidates"].values())
    # It went on after the epoch that it had, and was begun twice.
    log = (run / "stage-1" / "M1" / "log.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in log] == ["1", "2", "3", "4"]
    assert "going on after epoch" in (run / "stage-1" / "M1" / "job.log").read_text()


@pytest.mark.slow
def test_every_figure_of_the_page_has_its_interval(study, report):
    page = (study / "report.html").read_text("utf-8")
    name = report["chosen"]["name"]
    second = report["candidates"][name]["stage2"]
    low, high = second["cutoff_ci95"]
    assert low < second["cutoff"] < high
    assert f'<span class="ends">{decimal(low)} to {decimal(high)}</span>' in page
    assert second["threshold_ci95"] is None  # of four smears a kind
    for key in ("cutoff", "threshold"):
        assert f"<b>{decimal(second[key])}</b>" in page
    assert second["accuracy"]["n"] == 24
    assert second["groups"] == {"by": "source_cell", "n": 12}
    assert f'<span class="ends">{interval(second["accuracy"])}</span>' in page
    for division in report["cross_validation"]["divisions"]:
        assert division["pooled_auc"]["n"] == 72
        assert f'<span class="ends">{interval(division["pooled_auc"], "number")}</span>' in page
    assert "on one scale" in page


@pytest.mark.slow
def test_the_page_shows_the_report_and_loads_nothing(study, report):
    page = (study / "report.html").read_text("utf-8")
    assert not re.search(r"""(?:src|href)=["'](?!data:image/svg|#)""", page)
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for words in ("figure 5.3", "table 5.2", "figure 5.4", "table 5.3", "table 5.4", "figure 5.5",
                  "table 5.5", report["chosen"]["rule"], report["first_stage"]):  # fmt: skip
        assert words in text, words
    assert page.count('<img src="data:image/svg+xml') == 4
    assert "percentage points" in text
    assert 'class="thesis"' not in page  # nothing published stands beside toys


@pytest.mark.slow
def test_the_page_and_the_lines_of_other_ends(report):
    """A dropped candidate, one that could not be judged, published numbers, and no winner."""
    changed = json.loads(json.dumps(report))
    dropped, failed = (json.loads(json.dumps(changed["candidates"]["M1"])) for _ in range(2))
    dropped["stage1"].update(goes_on=False, reason="50.0 % <of> 9 images")
    dropped["stage2"] = None
    for key in ("cutoff", "cutoff_ci95", "threshold", "threshold_ci95", "by_cell", "by_smear",
                "unreadable"):  # fmt: skip
        failed["stage2"].pop(key)
    failed["stage2"]["failed"] = "no cut-off is better than guessing"
    changed["candidates"].update(M5=dropped, M6=failed)
    changed["published"] = yaml.safe_load(
        (TRAINING / "dysplasianet-selection.yaml").read_text("utf-8")
    )["published"]
    jsonschema.Draft202012Validator(read_schema("selection")).validate(changed)
    page = render(changed)
    assert "50.0 % &lt;of&gt; 9 images" in page
    assert "<b>M6</b> could not be judged: no cut-off is better than guessing." in page
    assert '<span class="thesis">94.85</span>' in page
    assert '<span class="thesis">72' in page
    assert '<span class="thesis">0.979</span>' in page
    told = summary(changed)
    assert "M5 (18,377 parameters): dropped, 50.0 % <of> 9 images" in told

    nobody = json.loads(json.dumps(changed))
    nobody["candidates"] = {"M5": dropped}
    nobody["chosen"].update(name=None, order=[], also_possible=[])
    nobody.update(proof_of_concept=None)
    nobody["cross_validation"].update(divisions=[], by_image_minus_by_group=[])
    jsonschema.Draft202012Validator(read_schema("selection")).validate(nobody)
    assert "all stayed at chance in the first stage" in render(nobody)
    assert "\n  chosen: " not in summary(nobody)


@pytest.mark.slow
def test_a_cohort_that_has_moved_is_gone_on_with(study, recipe, cohort, report, tmp_path):
    """It is known by its manifest; another one is refused, and does not take its place."""
    moved, run = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(cohort, moved)
    shutil.copytree(study, run, symlinks=True)
    (run / "cohort").unlink()
    (run / "cohort").symlink_to(tmp_path / "gone")
    other = tmp_path / "other"
    shutil.copytree(cohort, other)
    text = (other / "manifest.csv").read_text()
    (other / "manifest.csv").write_text(text.replace(",painted,", ",repainted,"))
    with pytest.raises(CellnetError, match="begun with other data"):
        select(recipe, other, run, resume=True, progress=False)
    again = select(recipe, moved, run, resume=True, progress=False)
    assert (run / "cohort").resolve() == moved.resolve()
    assert again["cross_validation"] == report["cross_validation"]


@pytest.mark.slow
def test_the_choice_can_be_read_while_the_folds_are_trained(
    study, recipe, cohort, report, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    shutil.copytree(study, run, symlinks=True)
    seen = {}

    def look(self, winner):
        seen.update(json.loads((run / "report.json").read_text("utf-8")))
        raise CellnetError("a fold failed")

    monkeypatch.setattr(selection._Course, "_cross_validate", look)
    with pytest.raises(CellnetError, match="a fold failed"):
        select(recipe, cohort, run, resume=True, progress=False)
    assert seen["chosen"] == report["chosen"]
    assert seen["warnings"] == report["warnings"]
    assert seen["cross_validation"] is None
    assert "folds are not finished" in (run / "report.html").read_text("utf-8")
    jsonschema.Draft202012Validator(read_schema("selection")).validate(seen)


@pytest.mark.slow
def test_two_at_once_are_refused(study, recipe, cohort):
    with hold(study, "is"), pytest.raises(CellnetError, match="another process runs a study in"):
        select(recipe, cohort, study, resume=True)


@pytest.mark.slow
def test_another_recipe_does_not_go_on(study, recipe, cohort, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace("epochs: 3", "epochs: 4"))
    with pytest.raises(CellnetError, match="the recipe differs"):
        select(other, cohort, study, resume=True)


# --- without training --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monitor", "kept"), [("val_accuracy", 4), ("val_balanced_accuracy", 3)]
)  # fmt: skip
def test_the_epoch_kept_is_that_of_the_figure_that_was_watched(recipe, tmp_path, monitor, kept):
    """Of equals the later one; the run's own weights are of that epoch."""
    content = yaml.safe_load(recipe.read_text())
    content["training"]["monitor"] = monitor
    file = tmp_path / "watched.yaml"
    file.write_text(yaml.safe_dump(content))
    folder = tmp_path / "stage-2" / "M1"
    folder.mkdir(parents=True)
    rows = [(0.5, 0.5), (0.75, 0.875), (0.625, 0.875), (0.75, 0.5)]
    lines = [f"{epoch},{0.5},{one},{other}" for epoch, (one, other) in enumerate(rows, 1)]
    head = "epoch,loss,val_accuracy,val_balanced_accuracy"
    (folder / "log.csv").write_text("\n".join([head, *lines]) + "\n")
    runs = SimpleNamespace(folder=tmp_path, time_of=lambda _: {"seconds": 1.0, "attempts": 1})
    course = selection._Course(read_study(file), None, runs, False)._course_of("stage-2", "M1")
    assert (course["epochs"], course["epoch_kept"]) == (4, kept)
    assert course["validation_accuracy"] == [0.5, 0.75, 0.625, 0.75]


def test_the_second_stage_begins_with_what_took_longest(recipe, tmp_path):
    class Stop(Exception):
        pass

    asked = []

    def train(recipes):
        asked.append(list(recipes))
        if len(asked) == 2:
            raise Stop

    content = yaml.safe_load(recipe.read_text())
    first = content["candidates"]["M1"]
    content["candidates"] = {name: first for name in ("A", "B", "C", "D")}
    file = tmp_path / "four.yaml"
    file.write_text(yaml.safe_dump(content))
    place = SimpleNamespace(side_by_side=2, told="this machine", threads=1)
    runs = SimpleNamespace(folder=tmp_path, place=place, train=train)
    course = selection._Course(read_study(file), None, runs, False)
    # Of a run that an older cellnet finished no time is known.
    took = {"A": 10.0, "B": None, "C": 30.0, "D": 20.0}
    course._first_stage = lambda name: {
        "stage1": {"goes_on": name != "D", "reason": "chance", "seconds": took[name]}
    }
    with pytest.raises(Stop):
        course.run()
    assert asked[0] == [f"stage-1/{name}" for name in "ABCD"]
    assert asked[1] == ["stage-2/C", "stage-2/A", "stage-2/B"]


def test_where_nobody_can_be_chosen_the_report_is_written_and_says_why(recipe, tmp_path):
    asked, written = [], []
    place = SimpleNamespace(side_by_side=1, told="this machine", threads=1)
    runs = SimpleNamespace(
        folder=tmp_path,
        place=place,
        train=lambda recipes: asked.append(list(recipes)),
        note_time=lambda: {"sessions": [], "runs": {}},
    )
    course = selection._Course(read_study(recipe), None, runs, False)
    course._first_stage = lambda name: {
        "parameters": 1,
        "stage1": {"goes_on": False, "reason": "at chance", "seconds": 1.0},
        "stage2": None,
    }
    course._report = lambda found, chosen, proof: {"chosen": chosen, "proof_of_concept": proof}
    course._write_report = written.append
    with pytest.raises(CellnetError, match=r"no candidate of 2 could be chosen.*report\.html"):
        course.run()
    assert asked[1:] == [[]]  # nobody is trained again, and no fold
    (report,) = written
    assert report["chosen"]["name"] is None and report["proof_of_concept"] is None


@pytest.mark.parametrize("ray", [None, "head:6379"])
def test_runs_are_sent_where_they_were_asked_for(recipe, cohort, tmp_path, monkeypatch, ray):
    asked = []

    @contextlib.contextmanager
    def cluster(address, side_by_side):
        asked.append((address, side_by_side))
        yield SimpleNamespace(side_by_side=side_by_side, told="a cluster", threads=1)

    monkeypatch.setattr(selection.jobs, "ray_cluster", cluster)
    monkeypatch.setattr(selection._Course, "run", lambda self: {"place": self.runs.place.told})
    found = select(recipe, cohort, tmp_path / "run", side_by_side=3, ray=ray, progress=False)
    assert found == {"place": "this machine" if ray is None else "a cluster"}
    assert asked == ([] if ray is None else [(ray, 3)])


def test_missing_data_are_named(recipe, tmp_path, monkeypatch):
    monkeypatch.delenv("CELLNET_DATA", raising=False)
    with pytest.raises(CellnetError, match="--data DIR"):
        select(recipe, None, tmp_path / "run")
    with pytest.raises(CellnetError, match="no data folder at nowhere"):
        select(recipe, "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()  # somebody's own stays
    with pytest.raises(CellnetError, match="no data folder at nowhere"):
        select(recipe, "nowhere", tmp_path / "run")
    assert os.listdir(tmp_path / "run") == [".lock"]  # the right data can follow


def test_a_cohort_that_decides_nothing_is_refused_before_training(recipe, cohort, tmp_path):
    less = tmp_path / "less"
    shutil.copytree(cohort, less)
    text = (less / "truth.csv").read_text()
    (less / "truth.csv").write_text(text.replace(",mds", ",healthy"))
    with pytest.raises(CellnetError, match="needs smears of patients with MDS"):
        select(recipe, less, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_groups_are_refused_before_training(recipe, cohort, tmp_path):
    content = yaml.safe_load(recipe.read_text())
    content["cross_validation"]["divisions"] = [{"folds": 40, "by": "group"}]
    many = tmp_path / "many.yaml"
    many.write_text(yaml.safe_dump(content))
    with pytest.raises(CellnetError, match="40 folds need 40 independent groups"):
        select(many, cohort, tmp_path / "run")


@pytest.mark.parametrize("wrong", [{"blocks": 7}, {"wydth": 8}, {"classes": 2}])
def test_a_candidate_that_cannot_be_trained_is_told_before_anything_is_made(
    wrong, recipe, cohort, tmp_path
):
    content = yaml.safe_load(recipe.read_text())
    content["candidates"]["M2"].update(wrong)  # the last of them
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(CellnetError, match=f"network.*{next(iter(wrong))}"):
        select(file, cohort, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_cluster_that_is_not_there_is_told_before_anything_is_made(recipe, cohort, tmp_path):
    with pytest.raises(CellnetError, match="Ray"):  # no cluster, or no Ray
        select(recipe, cohort, tmp_path / "run", ray="127.0.0.1:1", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_that_fails_is_told_with_its_words(recipe, cohort, tmp_path):
    content = yaml.safe_load(recipe.read_text())
    content["training"]["batch"] = 1000
    large = tmp_path / "large.yaml"
    large.write_text(yaml.safe_dump(content))
    with pytest.raises(CellnetError, match="stage-1/M1 failed.*smaller than a batch.*job.log"):
        select(large, cohort, tmp_path / "run", progress=False)


@pytest.mark.slow
def test_a_cohort_is_simulated_from_a_plain_folder(recipe, tmp_path, drawn_cell):
    """What is prepared is what the recipe says, and stands in the study's folder alone."""
    from cellnet.images import write_jpeg
    from cellnet.selection import _prepare
    from cellnet.study import read_study

    cells = tmp_path / "cells"
    for label, count in (("neutrophil", 160), ("lymphocyte", 36), ("monocyte", 20)):
        (cells / label).mkdir(parents=True)
        for seed in range(count):
            write_jpeg(cells / label / f"{seed:03}.jpg", drawn_cell(label, seed, 80))
    run = tmp_path / "run"
    run.mkdir()
    made = _prepare(read_study(recipe), cells, run)
    assert made.about["plan"]["smears"] == 10
    assert made.about["plan"]["cells"] == [4, 5]
    assert not (run / "cohort").is_symlink()
    assert {row.split for row in made.rows} == {
        "train", "validation", "test-by-cell", "test-by-smear", "proof-of-concept"
    }  # fmt: skip
