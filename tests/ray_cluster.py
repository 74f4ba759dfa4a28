"""A real Ray cluster of two nodes on the loopback."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE_S = 240  # of a machine that has much else to do

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (make setup-ray)"
)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for it in sockets:
        it.bind(("127.0.0.1", 0))
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


class Cluster:
    """A head and a worker of one core each, on two addresses of the loopback."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        (port,) = free_ports(1)
        self.address = f"127.0.0.2:{port}"
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}/r")
        self._start("127.0.0.2", *head)
        self._start("127.0.0.3", f"--address={self.address}")

    def _start(self, ip: str, *more: str) -> None:
        log = self.folder / f"{ip}.log"
        command = [
            Path(sys.executable).parent / "ray", "start", f"--node-ip-address={ip}", "--num-cpus=1",
            "--block", "--disable-usage-stats", "--object-store-memory=80000000", *more,
        ]  # fmt: skip
        with log.open("wb") as said:
            process = subprocess.Popen(
                command,
                stdout=said,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
                start_new_session=True,
            )
        self.processes.append(process)
        deadline = time.monotonic() + PATIENCE_S
        while "Ray runtime started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.skip(f"Ray does not start on this machine now: {log.read_text()[-500:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
