"""Who may ask the server, and what every answer of it tells a browser.

On this machine's own address anybody who is logged in may ask; a web page that is open in their
browser may not, so requests that another page sends, or that reach this address by another name,
are refused. On any other address each request needs a token. What fails inside is answered here
too, and told to the log without the names of files, which may be those of patients.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "POLICY",
    "SHORTEST_TOKEN",
    "Guard",
    "error",
    "is_loopback",
    "json_answer",
    "token_fault",
]

SHORTEST_TOKEN = 16

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; img-src 'self' blob: data:; style-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy of the app: nothing from, and nothing to, any other host."""

_HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

# They say what any copy of the program says.
_OPEN = ("/api/docs", "/api/openapi.json")

log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, which no other machine reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_fault(host: str, token: str | None) -> str | None:
    """Say what is wrong with the token for an address; None where nothing is."""
    if token is None:
        if is_loopback(host):
            return None
        return (
            f"other machines reach {host}, so a token is required: give --token TOKEN, or set "
            "CELLNET_TOKEN, which other users of this machine cannot see"
        )
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        return (
            f"a token has at least {SHORTEST_TOKEN} characters, all of them ASCII and none a space,"
            f" got {len(token)} characters; 'openssl rand -hex 32' makes one"
        )
    return None


def json_answer(document: Any, status: int = 200) -> Response:
    """Make an answer of plain JSON values; names that are no text pass as in ``--json``."""
    return Response(json.dumps(document, allow_nan=False), status, media_type="application/json")


def error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Make an answer that says why there is none."""
    answer = json_answer({"error": sentence}, status)
    answer.headers.update(headers or {})
    return answer


class Guard:
    """Stands before the application: refuses, adds headers, catches what fails.

    Args:
        app: The application.
        token: What a request has to show; None to let anybody ask who reaches the address.
        loopback: Whether the address is this machine's own.
    """

    def __init__(self, app: ASGIApp, token: str | None, loopback: bool):
        self.app = app
        self._token = None if token is None else token.encode()
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        begun = False

        async def tell(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal is not None:
            # Who guesses at a token leaves a trace. Not the address that was asked for: it is
            # the asker's own text.
            asker = scope.get("client") or ("unknown",)
            log.warning("%d: refused to %s", refusal.status_code, asker[0])
        try:
            await (refusal or self.app)(scope, receive, tell)
        except Exception as fault:
            # Where it failed and not what was said: that may hold the name of a file.
            places = traceback.extract_tb(fault.__traceback__)[-4:]
            told = ", ".join(f"{Path(it.filename).name}:{it.lineno}" for it in places)
            log.error("the server failed: %s at %s", type(fault).__name__, told)
            log.debug("what failed: %s", fault)
            if not begun:
                answer = error(500, "the server failed; its log says where")
                await answer(scope, receive, tell)

    def _refusal(self, path: str, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_name(host)):
            return error(403, "this server answers to localhost alone; ask it by that name")
        if not path.startswith("/api/"):
            return None
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            return error(403, "a page of another site may not ask this server")
        if self._token is None or path in _OPEN:
            return None
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode("latin-1"), self._token)
        if scheme.lower() == "bearer" and right:
            return None
        return error(
            401,
            "this server asks for its token: send the header 'Authorization: Bearer TOKEN'",
            {"www-authenticate": "Bearer"},
        )


def _name(host: str) -> str:
    """Take the port off a host's header; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
