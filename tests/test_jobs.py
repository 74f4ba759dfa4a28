"""Jobs side by side: none is lost, none outlives its parent; on this machine and on a real Ray."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ray_cluster import free_ports, needs_ray

from cellnet import jobs
from cellnet.errors import CellnetError
from cellnet.jobs import ATTEMPTS, Job, local, run_job

PATIENCE_S = 240  # of a machine that has much else to do


def drawing(folder: Path, name: str, cells: int = 1) -> Job:
    """A job that draws so many cells of each class; a hundred take seconds."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    out = folder / name / "out"
    return Job(name, ("data", "draw", "--out", str(out), "--per-class", str(cells)), folder / name)


def process_of(job: Job) -> int | None:
    """The process that runs a job now."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            typed = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if b"cellnet.jobs" in typed and job.arguments[3].encode() in typed:
                return int(entry.name)
    return None


def wait_for(condition, seconds: float = PATIENCE_S):
    """What the condition gives, once it gives anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing came of {condition} in {seconds} s")


def is_gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def drawn(job: Job) -> bool:
    return (job.folder / "out" / "manifest.csv").is_file()


def test_jobs_are_done_and_told(tmp_path):
    asked = [drawing(tmp_path, name) for name in "abc"]
    ticks = []
    found = {it.name: it for it in local(2).run(asked, lambda: ticks.append(1))}
    assert set(found) == set("abc")
    assert all(it.status == 0 and it.attempts == 1 and it.seconds > 0 for it in found.values())
    assert all(drawn(job) for job in asked)
    assert ticks
    assert "images in" in (tmp_path / "a" / "job.log").read_text()


def test_cores_are_shared_out(tmp_path, monkeypatch):
    cores = len(os.sched_getaffinity(0))
    assert local(1).threads == cores
    assert local(cores).threads == 1
    assert local(4 * cores).threads == 1
    given = {}

    class Gone(Exception):
        pass

    def look(command, env, **_):
        given.update(env)
        raise Gone

    monkeypatch.setattr(subprocess, "Popen", look)
    with pytest.raises(Gone):
        run_job(drawing(tmp_path, "a"), threads=3)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "CELLNET_THREADS"):
        assert given[name] == "3"


def test_a_job_that_answers_no_is_not_repeated(tmp_path):
    job = drawing(tmp_path, "a", cells=0)
    found = run_job(job, threads=1)
    assert (found.status, found.attempts) == (1, 1)
    assert found.said.startswith("cellnet: error: a drawn set has at least 1 image")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    found = run_job(Job("a", ("--version",), tmp_path / "gone"), threads=1)
    assert found.status == 1
    assert "gone is not there" in found.said


@pytest.mark.slow
def test_a_job_that_dies_is_begun_again(tmp_path):
    job = drawing(tmp_path, "a", cells=30)
    found = []
    thread = threading.Thread(target=lambda: found.append(run_job(job, threads=1)))
    thread.start()
    os.kill(wait_for(lambda: process_of(job)), signal.SIGKILL)
    thread.join(PATIENCE_S)
    assert (found[0].status, found[0].attempts) == (0, 2)
    assert drawn(job)


def test_a_job_that_always_dies_is_given_up(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(jobs, "_run_once", lambda *_: begun.append(1) or -9)
    found = run_job(drawing(tmp_path, "a"), threads=1)
    assert (found.status, found.attempts, len(begun)) == (-9, ATTEMPTS, ATTEMPTS)


@pytest.mark.slow
def test_whoever_stops_waiting_stops_the_jobs(tmp_path):
    job = drawing(tmp_path, "a", cells=5000)

    def leave():
        wait_for(lambda: process_of(job))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for _ in local(1).run([job, drawing(tmp_path, "b")], leave):
            pass
    assert process_of(job) is None
    assert not drawn(drawing(tmp_path, "b"))


@pytest.mark.slow
def test_no_job_outlives_a_parent_that_was_killed(tmp_path):
    job = drawing(tmp_path, "a", cells=5000)
    code = (
        "import sys; from pathlib import Path; from cellnet.jobs import Job, run_job;"
        "run_job(Job('a', tuple(sys.argv[2:]), Path(sys.argv[1])), 1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(job.folder), *job.arguments])
    child = wait_for(lambda: process_of(job))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: is_gone(child), 60)
    # What it was making is taken away, as after any polite kill.
    wait_for(lambda: sorted(path.name for path in job.folder.iterdir()) == ["job.log"], 10)


# --- Ray ---------------------------------------------------------------------------------------


@needs_ray
@pytest.mark.slow
def test_jobs_run_on_both_machines_of_a_ray_cluster(cluster, tmp_path):
    asked = [drawing(tmp_path, name) for name in "abc"]
    with jobs.ray_cluster(cluster.address) as place:
        assert (place.side_by_side, place.threads) == (2, 1)
        assert place.told == "a Ray cluster of 2 machines with 2 cores"
        found = {it.name: it for it in place.run(asked, lambda: None)}
    assert [found[name].status for name in "abc"] == [0, 0, 0], found
    assert all(drawn(job) for job in asked)


@needs_ray
@pytest.mark.slow
def test_a_job_is_repeated_where_its_ray_worker_dies(cluster, tmp_path):
    job = drawing(tmp_path, "a", cells=30)
    killed = []

    def kill_the_worker():
        child = None if killed else process_of(job)
        if child is not None:
            parent = int(
                (Path("/proc") / str(child) / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
            os.kill(parent, signal.SIGKILL)
            killed.append(child)

    with jobs.ray_cluster(cluster.address, 1) as place:
        (found,) = place.run([job], kill_the_worker)
    assert killed
    assert is_gone(killed[0])
    assert found.status == 0, found
    assert drawn(job)


@needs_ray
@pytest.mark.slow
def test_what_a_machine_of_the_cluster_lacks_is_told(cluster, tmp_path, monkeypatch):
    with jobs.ray_cluster(cluster.address) as place:
        (found,) = place.run([Job("a", ("--version",), tmp_path / "elsewhere")], lambda: None)
        assert found.status == 1
        assert "on every machine of a cluster" in found.said
        monkeypatch.setattr(jobs, "__version__", "9.9.9")
        (found,) = place.run([drawing(tmp_path, "b")], lambda: None)
        assert found.status == 1
        assert "the study runs with 9.9.9" in found.said


@needs_ray
@pytest.mark.parametrize("address", ["here", "127.0.0.1:ray", ":6379", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_told(address):
    with (
        pytest.raises(CellnetError, match=f"HOST:PORT of its head, or auto: '{address}'"),
        jobs.ray_cluster(address),
    ):
        pass


@needs_ray
def test_no_cluster_is_told():
    (port,) = free_ports(1)
    with (
        pytest.raises(CellnetError, match=f"no Ray cluster at 127.0.0.2:{port}"),
        jobs.ray_cluster(f"127.0.0.2:{port}"),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(CellnetError, match=r"cellnet\[train,ray\]"),
        jobs.ray_cluster("auto"),
    ):
        pass
