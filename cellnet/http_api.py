"""The HTTP interface and the browser app as one application, described for people and programs.

Each address and what it answers is here; how an upload becomes a report is the business of
``reception``, who may ask that of ``guard``, how the application is started that of ``server``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Scope

from cellnet import __version__
from cellnet.bundle import Bundle
from cellnet.guard import Guard, error, is_loopback, json_answer
from cellnet.limits import MIB, Limits
from cellnet.reception import Reception
from cellnet.report import RESEARCH_USE
from cellnet.smears import SmearReader

__all__ = ["create_app"]

_ROLES = ("model1", "dysplasianet")
_CARD = "CARD.md"
# What Vite names by its content never changes; everything else is asked for again.
_NAMED_BY_CONTENT = re.compile(r"/assets/(?:.*/)?[^/]+-[\w-]{8,}\.\w+")


class Model(BaseModel):
    """A network that the server runs."""

    role: str = Field(description="model1 names cells, dysplasianet scores neutrophils")
    name: str
    version: str
    sha256: str = Field(description="hash of the weights")
    bytes: int = Field(description="size of the weights")
    kind: str = Field(description="what it answers: probabilities or granularity")
    classes: list[str] | None = Field(description="in the order of its probabilities")
    input: dict[str, Any] = Field(description="size, colours and scale of what it is given")
    operating_point: dict[str, Any] | None = Field(
        description="cell cut-off and smear threshold in use, and how they were fitted"
    )
    card: str | None = Field(description="where its model card is")


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="a sentence for people")


_REFUSALS = {
    400: "No image, none that can be read, or a body, name or archive that breaks a rule",
    401: "The token is missing or wrong",
    403: "Sent by a page of another site, or to another name than localhost",
    408: "The upload took too long",
    413: "Too many bytes or files, or an archive that unpacks to too much",
    415: "Not multipart/form-data",
    500: "The server failed; its log says why",
    503: "Busy, or being stopped; the header Retry-After says when to try again",
    504: "Reading took too long",
    507: "The report could not be kept",
}


def create_app(
    reader: SmearReader,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    app: Path | None = None,
    keep: Path | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
) -> tuple[ASGIApp, Reception]:
    """Put the application together.

    Args:
        reader: Both networks with their operating point.
        host: The name or address that it will be served at.
        token: What a request has to show; None on this machine's own address alone.
        app: Folder of the built browser app; None where there is none.
        keep: Folder in which each report is kept; None to keep nothing.
        limits: What an upload may cost.
        threads: How many images to read at a time; None for one a core.

    Returns:
        The application, and where its uploads come in.
    """
    limits = limits or Limits()
    reception = Reception(reader, limits, threads, keep)
    api = FastAPI(
        title="cellnet",
        version=__version__,
        description="Names the cells of a blood smear and judges whether its neutrophils are "
        f"hypogranulated. {RESEARCH_USE}",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # Nothing is told to anybody about requests, whatever the environment asks for.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    _add_interface(api, reader, reception, limits, token is not None)
    if app is None:

        @api.get("/", include_in_schema=False)
        def start() -> Response:
            return _page("The browser app is not built", operations=[])

    else:
        for ending, kind in _TYPES.items():
            mimetypes.add_type(kind, ending)
        _add_nothing_else(api)
        api.mount("/", _App(directory=app, html=True))

    @api.exception_handler(HTTPException)
    async def refuse(request: Request, fault: HTTPException) -> Response:
        told = {
            404: "there is nothing at this address; /api/docs says what there is",
            405: "this address does not take that method; /api/docs says which it takes",
        }
        return error(fault.status_code, told.get(fault.status_code, fault.detail), fault.headers)

    @api.exception_handler(Exception)
    async def fail(request: Request, fault: Exception) -> Response:
        return error(500, "the server failed; its log says where")  # and `Guard` tells the log

    return Guard(api, token, is_loopback(host)), reception


def _add_interface(
    api: FastAPI, reader: SmearReader, reception: Reception, limits: Limits, has_token: bool
) -> None:
    bundles = {"model1": reader.cells.model1, "dysplasianet": reader.cells.dysplasianet}

    @api.post(
        "/api/smears",
        summary="Judge a smear",
        description="One upload is one smear: its images, or zip archives of them. Names may hold "
        "folders. The answer is the report that `cellnet predict-smear --json` gives for the same "
        "files. With `Accept: text/event-stream` it comes as server-sent events: `progress` with "
        '`{"done", "total"}`, then `report` with the report, or `error`. An upload may have '
        f"{limits.upload_bytes // MIB} MiB and {limits.files} files, and is answered within "
        f"{limits.seconds} seconds.",
        openapi_extra={"requestBody": _BODY},
        response_class=Response,
        responses={
            200: {
                "description": "The report",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/SmearReport"}},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            **_refusals(*_REFUSALS),
        },
    )
    async def judge_smear() -> Response:
        return reception.answer()

    @api.get(
        "/api/models",
        summary="List the models",
        response_model=list[Model],
        response_description="Both, the one that names cells first",
        responses=_refusals(401, 403),
    )
    def list_models() -> Response:
        return json_answer([_describe(role, bundles[role], reader) for role in _ROLES])

    for role in _ROLES:
        _add_card(api, role, bundles[role].folder / _CARD)

    def describe() -> dict[str, Any]:
        return _openapi(api, has_token)

    api.openapi = describe

    @api.get("/api/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return json_answer(describe())

    @api.get("/api/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        document = describe()
        operations = [
            {"method": method.upper(), "path": path, **operation}
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        address = request.headers.get("host", "localhost")
        return _page("HTTP interface", operations=operations, has_token=has_token, address=address)


def _add_nothing_else(api: FastAPI) -> None:
    """Answer the rest of the interface's addresses, which the app's mount would take for files."""

    @api.api_route(
        "/api/{rest:path}",
        methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        include_in_schema=False,
    )
    def nothing(request: Request) -> Response:
        found = [route.matches(request.scope)[0] for route in api.routes]
        raise HTTPException(405 if Match.PARTIAL in found else 404)


def _add_card(api: FastAPI, role: str, file: Path) -> None:
    @api.get(
        f"/api/models/{role}/card",
        name=f"read_{role}_card",
        summary=f"Read the card of {role}",
        response_class=PlainTextResponse,
        response_description="Markdown",
        responses={**_refusals(401, 403), 404: {"description": "It has none", "model": Refusal}},
    )
    def read_card() -> Response:
        if not file.is_file():
            raise HTTPException(404)
        return PlainTextResponse(file.read_text(encoding="utf-8"))


_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "additionalProperties": False,
                "properties": {
                    "files": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "images, or zip archives of them, each with a file name",
                    },
                    "smear": {"type": "string", "description": "the smear's name"},
                },
            }
        }
    },
}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": _REFUSALS[status], "model": Refusal} for status in statuses}


def _openapi(api: FastAPI, has_token: bool) -> dict[str, Any]:
    """The description of the interface, with the report's own schema."""
    document = FastAPI.openapi(api)
    schemas = document["components"]["schemas"]
    if "SmearReport" not in schemas:
        home = "#/components/schemas/SmearReport/$defs/"
        text = (files("cellnet") / "schemas" / "smear-report.json").read_text(encoding="utf-8")
        report = json.loads(text.replace('"#/$defs/', f'"{home}'))
        # Its own address would make the references to its parts relative to it.
        del report["$id"], report["$schema"]
        schemas["SmearReport"] = report
        if has_token:
            bearer = {"type": "http", "scheme": "bearer"}
            document["components"]["securitySchemes"] = {"token": bearer}
            document["security"] = [{"token": []}]
    return document


def _describe(role: str, bundle: Bundle, reader: SmearReader) -> dict[str, Any]:
    card = f"/api/models/{role}/card" if (bundle.folder / _CARD).is_file() else None
    return {
        "role": role,
        **bundle.identity(),
        "bytes": bundle.weights.stat().st_size,
        "kind": bundle.kind,
        "classes": bundle.description["output"].get("classes"),
        "input": bundle.description["input"],
        "operating_point": reader.point.to_json() if role == "dysplasianet" else None,
        "card": card,
    }


def _page(title: str, **what: Any) -> Response:
    """Make one of the server's own pages: a document without scripts, its style named by hash."""
    environment = Environment(
        loader=PackageLoader("cellnet"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = lambda text: Markup(
        re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text)))
    )
    page = environment.get_template("server.html").render(
        title=title, version=__version__, research_use=RESEARCH_USE, **what
    )
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return HTMLResponse(page, headers={"content-security-policy": policy})


# A browser that is told not to guess needs these right; the machine's own table may lack them.
_TYPES = {
    ".bin": "application/octet-stream",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".tflite": "application/octet-stream",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


class _App(StaticFiles):
    """The built app; what is not named by its content is asked for again at each load."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        lasting = _NAMED_BY_CONTENT.fullmatch(scope["path"]) is not None
        answer.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if lasting else "no-cache"
        )
        return answer
