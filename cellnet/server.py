"""``cellnet serve``: starts and ends the server of the browser app and the HTTP interface.

The models are loaded and run once before the first request, so that what cannot work ends the
program and not a request. Nothing is fetched from another host and nothing is written, but for the
reports that were asked to be kept. What is served is put together by ``http_api``.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from cellnet.bundle import Source
from cellnet.errors import CellnetError
from cellnet.guard import is_loopback
from cellnet.http_api import create_app
from cellnet.limits import Limits
from cellnet.outputs import check_writable
from cellnet.reception import Reception
from cellnet.runtime import default_threads
from cellnet.smears import SmearReader

__all__ = ["Server", "default_app", "serve"]

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 256
_GRACE = 3  # seconds that requests get to end when the server is stopped


def default_app() -> Path | None:
    """Find the app that ``make web`` built in this checkout; None where it was not."""
    folder = Path(__file__).resolve().parents[1] / "export" / "dist"
    return folder if (folder / "index.html").is_file() else None


def serve(
    *,
    host: str,
    port: int,
    token: str | None = None,
    app: Path | None = None,
    keep: Path | None = None,
    limits: Limits | None = None,
    model1: Source = "model1",
    dysplasianet: Source = "dysplasianet",
    cutoff: float | None = None,
    threshold: float | None = None,
    min_neutrophils: int | None = None,
    threads: int | None = None,
) -> None:
    """Serve until a signal ends it.

    Args:
        host: The name or address to listen at.
        port: 0 for any that is free.
        token: What a request has to show, checked with `guard.token_fault`.
        app: Folder of the built browser app; None for the checkout's, if there is one.
        keep: Folder in which each report is kept; made where it is missing.
        limits: What an upload may cost.
        model1: As `predict_smear`, like all that follow.
        dysplasianet: See there.
        cutoff: See there.
        threshold: See there.
        min_neutrophils: See there.
        threads: See there.

    Raises:
        CellnetError: A model or the operating point is missing, a folder cannot be used, or the
            address cannot be listened at.
        KeyboardInterrupt: It was ended with Ctrl-C.
    """
    if app is not None and not (app / "index.html").is_file():
        raise CellnetError(f"the app {app} has no index.html; give the folder that make web built")
    if keep is not None:
        _make_folder(keep)
    reader = SmearReader(
        model1,
        dysplasianet,
        # The app, which shows these answers, knows both networks and no others.
        specialists={},
        cutoff=cutoff,
        threshold=threshold,
        min_neutrophils=min_neutrophils,
    )
    reader.cells.warm_up()
    application, reception = create_app(
        reader,
        host=host,
        token=token,
        app=app or default_app(),
        keep=keep,
        limits=limits,
        threads=default_threads() if threads is None else threads,
    )
    with _listen(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/"
        if not is_loopback(host):
            log.warning(
                "images and token cross the network as they are: put a server that speaks HTTPS "
                "before this one"
            )
        Server(application, reception, address).run(sockets=[listener])


class Server(uvicorn.Server):
    """Says where it listens once it does, and gives up what is being read when it is ended."""

    def __init__(self, application: ASGIApp, reception: Reception, address: str):
        # What it would log names addresses, and what an exception says may name files: `Guard`
        # tells what there is to tell.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        super().__init__(
            uvicorn.Config(
                application,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._reception = reception
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            log.info("serving on %s (Ctrl-C ends it)", self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, on a signal."""
        self._reception.close()
        super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise CellnetError(
            f"cannot listen at {host}, port {port}: {reason}; choose another --host or --port"
        ) from fault


def _make_folder(keep: Path) -> None:
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)  # reports are not for everybody
    except OSError as fault:
        raise CellnetError(f"cannot make the folder {keep}: {fault.strerror}") from fault
    check_writable(keep / "report.json")
