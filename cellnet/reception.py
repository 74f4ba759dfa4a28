"""Where uploads come in: one after the other is read, judged and answered, within its limits.

A request for a smear passes through here from its first byte to its answer. A few may be in the
house at a time, of which one is read with all threads, in the order in which they were complete, so
that memory stays bounded and the cores are not shared by more than there are. A client that goes
away, or a server that ends, stops the reading within a cell's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cellnet.errors import CellnetError, RefusedUpload, UnreadableImage
from cellnet.guard import error, json_answer
from cellnet.limits import Limits
from cellnet.outputs import write_text
from cellnet.scoring import Reading, in_order
from cellnet.smears import SmearReader
from cellnet.uploads import Upload, UploadReceiver

__all__ = ["Reception"]

log = logging.getLogger(__name__)

_TICK = 0.2  # seconds between two events of progress
_QUIET = 15.0  # seconds after which a sign of life is sent, so that no proxy hangs up
_RETRY = {"retry-after": "5"}

Document = dict[str, Any]


class _Gone(Exception):
    """The client has gone away; nobody waits for an answer."""


class _Stopped(Exception):
    """The reading was given up."""


class _Job:
    """The reading of one upload: how far it is, and whether it is to stop."""

    def __init__(self, upload: Upload):
        self.upload = upload
        self.total = len(upload.listing.files)
        self.done = 0
        self.stop = threading.Event()


class Reception:
    """Takes uploads, and answers each with a report.

    Args:
        reader: Both networks with their operating point.
        limits: What an upload may cost.
        threads: How many images to read at a time; None for one a core.
        keep: The folder in which each report is kept; None to keep nothing.
    """

    def __init__(
        self,
        reader: SmearReader,
        limits: Limits,
        threads: int | None = None,
        keep: Path | None = None,
    ):
        self._reader = reader
        self._limits = limits
        self._threads = threads
        self._keep = keep
        self._inside = 0
        self._turn = asyncio.Lock()
        self._closing = threading.Event()

    def close(self) -> None:
        """Give up what is being read; safe to call from a signal's handler."""
        self._closing.set()

    def answer(self) -> Response:
        """Make the response to a request: all of the work is done while it is sent."""
        return _Answer(self._answer)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        request = Request(scope, receive)
        wants_events = "text/event-stream" in request.headers.get("accept", "")
        events = _Events(send) if wants_events else None
        job: _Job | None = None
        headers: dict[str, str] = {}
        try:
            with self._place():
                deadline = asyncio.get_running_loop().time() + self._limits.seconds
                job = _Job(await self._receive(request, deadline))
                status, document = 200, await self._report(job, receive, events, deadline)
        except _Gone:
            log.info("a client went away after %.1f s", time.monotonic() - begun)
            return
        except RefusedUpload as refused:
            status, document = refused.status, {"error": str(refused)}
            log.debug("refused: %s", refused)
            if status == 503:
                headers = _RETRY
        # Numbers alone: the names of files and smears may be those of patients.
        log.info(
            "answered %d: %s in %.1f s",
            status,
            f"{job.done} of {job.total} images" if job else "no images",
            time.monotonic() - begun,
        )
        del job  # a client that takes its time over the answer shall not keep the images
        if events is not None and events.begun:
            await events.send("report" if status == 200 else "error", document, last=True)
        elif status == 200:
            await json_answer(document)(scope, receive, send)
        else:
            await error(status, document["error"], headers)(scope, receive, send)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._inside >= self._limits.smears:
            raise RefusedUpload(
                503, f"the server is busy with {self._inside} smears; try again in a few seconds"
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def _receive(self, request: Request, deadline: float) -> Upload:
        headers = request.headers
        receiver = UploadReceiver(
            headers.get("content-type", ""), headers.get("content-length"), self._limits
        )
        try:
            async with asyncio.timeout_at(deadline):
                async for piece in request.stream():
                    receiver.receive(piece)
            return await asyncio.to_thread(receiver.finish)
        except ClientDisconnect:
            raise _Gone from None
        except TimeoutError:
            raise RefusedUpload(
                408, f"the upload did not arrive within {self._limits.seconds} seconds"
            ) from None
        finally:
            receiver.close()

    async def _report(
        self, job: _Job, receive: Receive, events: _Events | None, deadline: float
    ) -> Document:
        work = asyncio.create_task(self._work(job))
        watch = asyncio.create_task(_until_gone(receive))
        try:
            async with asyncio.timeout_at(deadline):
                while not work.done():
                    if events is not None:
                        await events.progress(job.done, job.total)
                    await asyncio.wait(
                        {work, watch},
                        timeout=None if events is None else _TICK,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if watch.done() and not work.done():
                        raise _Gone
                document = work.result()
                if events is not None:
                    await events.progress(job.done, job.total)
                return document
        except TimeoutError:
            raise RefusedUpload(
                504, f"the smear was not read within {self._limits.seconds} seconds"
            ) from None
        finally:
            job.stop.set()
            watch.cancel()
            work.cancel()
            await asyncio.wait({work, watch})
            for task in (work, watch):
                if not task.cancelled():
                    task.exception()  # looked at, so that nobody is told it was not

    async def _work(self, job: _Job) -> Document:
        async with self._turn:
            thread = asyncio.create_task(asyncio.to_thread(self._read, job))
            try:
                return await asyncio.shield(thread)
            except asyncio.CancelledError:
                await asyncio.wait({thread})  # its turn ends when its last cell is read
                raise

    def _read(self, job: _Job) -> Document:
        upload = job.upload

        def read(path: Path) -> Reading | UnreadableImage:
            if job.stop.is_set() or self._closing.is_set():
                raise _Stopped
            try:
                data = upload.read(path)
            except UnreadableImage as unreadable:
                return unreadable
            return self._reader.cells.read(data, path)

        readings = []
        try:
            with closing(in_order(read, upload.listing.files, self._threads)) as answers:
                for _, reading in answers:
                    readings.append(reading)
                    job.done += 1
        except _Stopped:
            raise RefusedUpload(503, "the server is being stopped") from None
        except CellnetError as fault:
            log.error("the smear could not be read: %s", fault)
            raise RefusedUpload(500, "the models failed on the server; its log says why") from None
        try:
            document = self._reader.report(upload.smear, upload.listing, readings).to_dict()
        except CellnetError as fault:
            raise RefusedUpload(400, str(fault)) from None
        if self._keep is not None:
            self._keep_report(self._keep, document)
        return document

    def _keep_report(self, folder: Path, document: Document) -> None:
        # No name comes twice, so nothing is overwritten; and none says whose smear it is.
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex}.json"
        try:
            text = json.dumps(document, indent=2, allow_nan=False) + "\n"
            write_text(folder / name, text, private=True)
        except CellnetError as fault:
            log.error("a report could not be kept: %s", fault)
            raise RefusedUpload(
                507, "the report could not be kept on the server, so it is not given"
            ) from None


class _Answer(Response):
    """A response that is worked out while it is sent, so that it ends when its request does."""

    def __init__(self, work: Callable[[Scope, Receive, Send], Awaitable[None]]):
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._work(scope, receive, send)


class _Events:
    """Server-sent events: ``progress`` as often as it changes, then ``report`` or ``error``."""

    def __init__(self, send: Send):
        self._send = send
        self.begun = False
        self._told: tuple[int, int] | None = None
        self._last = 0.0

    async def progress(self, done: int, total: int) -> None:
        if not self.begun:
            self.begun = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if self._told != (done, total):
            self._told = (done, total)
            await self.send("progress", {"done": done, "total": total})
        elif time.monotonic() - self._last > _QUIET:
            await self._write(b": still at work\n\n")

    async def send(self, event: str, document: Document, last: bool = False) -> None:
        data = json.dumps(document, allow_nan=False)
        await self._write(f"event: {event}\ndata: {data}\n\n".encode(), last)

    async def _write(self, text: bytes, last: bool = False) -> None:
        self._last = time.monotonic()
        await self._send({"type": "http.response.body", "body": text, "more_body": not last})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
