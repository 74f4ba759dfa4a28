"""Independent runs side by side, each in a process of its own: on this machine, or on Ray.

A job is a ``cellnet`` command that goes on where it was stopped, such as ``train --resume``. One
that dies (killed, out of memory, its machine lost) is begun again and loses no more than it had not
yet written; one that ends with an error stops the others, which go on the next time. No job
outlives the process that began it. What the jobs are is left to ``selection``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from cellnet import __version__
from cellnet.errors import CellnetError

__all__ = ["ATTEMPTS", "HERE", "Job", "Outcome", "Workplace", "local", "ray_cluster", "run_job"]

HERE = "this machine"

ATTEMPTS = 3
"""How often a job that dies is begun in all: one more death would have the same cause."""

_POLL_S = 0.2
_KNOCK_S = 10.0
_LAST_WORDS_S = 30.0  # a training ends between two batches, and the largest takes seconds


@dataclass(frozen=True)
class Job:
    """A command to be run.

    Attributes:
        name: For people and for the record, such as ``stage-1/M3``.
        arguments: Of ``cellnet``; paths in it are absolute.
        folder: Where it works; ``job.log`` in it gets all that the command says.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        name: Of the job.
        status: Its exit status; negative where a signal ended it.
        seconds: From the beginning of the first attempt to the end of the last.
        attempts: How often it was begun.
        said: The last line of its log.
    """

    name: str
    status: int
    seconds: float
    attempts: int
    said: str


@dataclass(frozen=True)
class Workplace:
    """Where jobs are run.

    Attributes:
        side_by_side: How many at a time.
        threads: Threads of each.
        told: For people and for the record: ``this machine``, or which cluster.
        run: From jobs to their outcomes, as they end; ``tick`` is called several times a second.
    """

    side_by_side: int
    threads: int
    told: str
    run: Callable[[Sequence[Job], Callable[[], None]], Iterator[Outcome]]


def run_job(job: Job, threads: int, stop: threading.Event | None = None) -> Outcome:
    """Run one job to its end, and begin it again where it dies.

    Args:
        job: The command.
        threads: Threads that it may use.
        stop: Ends the job where it is set from another thread.

    Returns:
        How it ended; nothing is raised for a job that fails.
    """
    begun = time.monotonic()
    if not job.folder.is_dir():
        said = (
            f"{job.folder} is not there on {os.uname().nodename}: the study's folder must have "
            "the same place on every machine of a cluster, on a file system that they share"
        )
        return Outcome(job.name, 1, 0.0, 1, said)
    log = job.folder / "job.log"
    attempts, status = 0, -1
    while attempts < ATTEMPTS and status not in (0, 1, 2):
        if stop is not None and stop.is_set():
            break
        attempts += 1
        status = _run_once(job, threads, log, stop)
    return Outcome(job.name, status, time.monotonic() - begun, attempts, _last_line(log))


def _run_once(job: Job, threads: int, log: Path, stop: threading.Event | None) -> int:
    count = str(threads)
    environment = {
        **os.environ,
        # Runs side by side would else take all cores each, and wait for one another.
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": count,
        "OMP_NUM_THREADS": count,
        "CELLNET_THREADS": count,
    }
    with log.open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "cellnet.jobs", *job.arguments],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches it through its parent alone, once
        )
    try:
        while process.poll() is None:
            if stop is None:
                process.wait()
            elif stop.wait(_POLL_S):
                break
    finally:
        # Closing its standard input ends it: see `main`.
        process.stdin.close()
        try:
            process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError as error:
        return f"its log cannot be read: {error}"
    return lines[-1] if lines else "it said nothing"


def local(side_by_side: int = 1) -> Workplace:
    """This machine, its cores shared out evenly.

    Args:
        side_by_side: Jobs at a time.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    threads = max(1, cores // side_by_side)

    def run(jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        stop = threading.Event()
        with ThreadPoolExecutor(side_by_side) as pool:
            waiting = {pool.submit(run_job, job, threads, stop) for job in jobs}
            try:
                while waiting:
                    done, waiting = wait(waiting, _POLL_S, FIRST_COMPLETED)
                    tick()
                    for future in done:
                        yield future.result()
            finally:
                stop.set()
                for future in waiting:
                    future.cancel()

    return Workplace(side_by_side, threads, HERE, run)


@contextlib.contextmanager
def ray_cluster(address: str, side_by_side: int | None = None) -> Iterator[Workplace]:
    """A Ray cluster, while it is used.

    The study's folder and the data must have the same place on all of its machines, and the same
    cellnet must be installed there.

    Args:
        address: ``HOST:PORT`` of the head, or ``auto`` on a machine of the cluster.
        side_by_side: Jobs at a time; None for one a machine.

    Raises:
        CellnetError: Ray is not installed, or there is no cluster at the address.
    """
    # Ray would tell its makers how it is used.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ModuleNotFoundError as error:
        raise CellnetError(
            "runs on a cluster need Ray, which is not installed; "
            'install the extra: pip install "cellnet[train,ray]"'
        ) from error
    _knock(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        told = " ".join(str(error).split())
        raise CellnetError(f"there is no Ray cluster at {address}: {told}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own there
    try:
        cores = [
            int(node["Resources"].get("CPU", 0))
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
        ]
        if not cores:
            raise CellnetError(f"the Ray cluster at {address} has no processor to give")
        side_by_side = side_by_side or len(cores)
        threads = max(1, min(sum(cores) // side_by_side, *cores))
        told = f"a Ray cluster of {len(cores)} machines with {sum(cores)} cores"
        yield Workplace(side_by_side, threads, told, _on_ray(side_by_side, threads))
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out at once whether anybody is at an address: Ray would try for minutes.

    Raises:
        CellnetError: Nobody is, or the address is none.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise CellnetError(f"a Ray cluster is named by HOST:PORT of its head, or auto: '{address}'")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()
    except OSError as error:
        raise CellnetError(
            f"there is no Ray cluster at {address}: {error.strerror or error}; "
            "start its head with `ray start --head`, or see where it runs"
        ) from error


def _on_ray(side_by_side: int, threads: int) -> Callable[..., Iterator[Outcome]]:
    import ray

    # A worker that is lost with its machine is replaced by Ray, as a job that dies is by `run_job`.
    remote = ray.remote(num_cpus=threads, max_retries=ATTEMPTS - 1)(_run_remotely)

    def run(jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        left = list(reversed(jobs))
        running: dict = {}
        try:
            while left or running:
                while left and len(running) < side_by_side:
                    job = left.pop()
                    running[remote.remote(job, threads, __version__)] = job
                done, _ = ray.wait(list(running), timeout=_POLL_S)
                tick()
                for ref in done:
                    job = running.pop(ref)
                    try:
                        yield ray.get(ref)
                    except ray.exceptions.RayError as error:
                        told = " ".join(str(error).split())
                        yield Outcome(job.name, 1, 0.0, 1, f"Ray could not run it: {told[-500:]}")
        finally:
            for ref in running:
                ray.cancel(ref, force=True)

    return run


def _run_remotely(job: Job, threads: int, version: str) -> Outcome:
    if version != __version__:
        said = (
            f"{os.uname().nodename} has cellnet {__version__}, the study runs with {version}; "
            "install the same on every machine of the cluster"
        )
        return Outcome(job.name, 1, 0.0, 1, said)
    return run_job(job, threads)


def main() -> int:
    """Run a ``cellnet`` command that ends when the process that began it is gone.

    That process holds the other end of this one's standard input and never writes; the end of the
    input is thus the end of the parent, even one that was killed without a word.
    """

    def watch() -> None:
        os.read(0, 1)  # not by way of sys.stdin, whose lock would hold up the end of Python
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    from cellnet.cli import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
