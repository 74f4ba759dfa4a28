"""The server from outside: real requests to it, and the same answers as from the command line."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import io
import json
import logging
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pytest
from bundles import THRESHOLD, make_bundles, paint_cell, paint_smear

from cellnet import http_api, reception, scoring
from cellnet.cli import main
from cellnet.draw import draw_smear
from cellnet.errors import CellnetError
from cellnet.guard import POLICY, is_loopback, token_fault
from cellnet.limits import Limits
from cellnet.server import Server, serve
from cellnet.smears import SmearReader
from cellnet.verify import read_schema

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return make_bundles(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def models(home, monkeypatch):
    monkeypatch.setenv("CELLNET_MODELS", str(home))
    monkeypatch.delenv("CELLNET_TOKEN", raising=False)


@contextlib.contextmanager
def serving(reader: SmearReader | None = None, **options) -> Iterator[httpx.Client]:
    """A server in a thread of its own; gives a client of it."""
    application, taken = http_api.create_app(reader or SmearReader(), **options)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = Server(application, taken, address)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
                yield client
        finally:
            server.handle_exit(signal.SIGINT, None)
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(home) -> Iterator[httpx.Client]:
    """A server with the defaults, for the tests that change nothing."""
    with serving(SmearReader(home / "model1", home / "dysplasianet")) as client:
        yield client


@pytest.fixture(scope="module")
def smear(tmp_path_factory) -> Path:
    """A smear with sub-folders, files that are passed over, and some that cannot be read."""
    folder = paint_smear(tmp_path_factory.mktemp("serve") / "smear-7", 12, 4, lymphocytes=8)
    paint_cell(folder / "monocyte" / "m.png", "monocyte", mark=77)
    (folder / "monocyte" / "torn.png").write_bytes((folder / "cell_0000.png").read_bytes()[:60])
    (folder / "A page.jpg").write_text("<!DOCTYPE html>")
    (folder / "empty.tif").touch()
    (folder / "notes.txt").write_text("notes")
    (folder / "Thumbs.db").write_text("x")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "c.png").write_text("x")
    return folder


def files_of(folder: Path, top: str = "") -> list[tuple[str, tuple[str, bytes]]]:
    """All files below a folder, as a client sends them."""
    return [
        ("files", (top + path.relative_to(folder).as_posix(), path.read_bytes()))
        for path in sorted(folder.rglob("*"), reverse=True)
        if path.is_file()
    ]


def zip_of(folder: Path, top: str = "") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for _, (name, content) in files_of(folder, top):
            archive.writestr(name, content)
    return stream.getvalue()


def some_cells(number: int = 4) -> list[tuple[str, tuple[str, bytes]]]:
    """The same cell under several names."""
    return [("files", (f"cell-{at}.png", CELL)) for at in range(number)]


def _cell() -> bytes:
    import cv2

    return cv2.imencode(".png", np.full((40, 40, 3), 128, np.uint8))[1].tobytes()


CELL = _cell()


def events_of(text: str) -> list[tuple[str, dict]]:
    """The events of a stream: name and data of each."""
    found = []
    for block in text.strip().split("\n\n"):
        if not block.startswith(":"):
            event, data = block.split("\n")
            assert event.startswith("event: ") and data.startswith("data: ")
            found.append((event[7:], json.loads(data[6:])))
    return found


def slowly(monkeypatch, seconds: float) -> list[Path]:
    """Make each image take its time; gives the list of those that were begun."""
    begun: list[Path] = []
    read = scoring.CellReader.read

    def slow(self, data, path):
        begun.append(path)
        time.sleep(seconds)
        return read(self, data, path)

    monkeypatch.setattr(scoring.CellReader, "read", slow)
    return begun


# ---------------------------------------------------------------- the same answer


@pytest.mark.parametrize("how", ["files", "folder", "zip", "zip of the folder"])
def test_the_report_is_that_of_the_command_line(client, smear, capsys, how):
    assert main(["predict-smear", str(smear), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert len(expected["unreadable"]) == 3
    told = "passed over: 3 entries (1 hidden, 2 not named like an image)"
    assert expected["warnings"][-1] == told
    if how == "files":
        answer = client.post("/api/smears", files=files_of(smear), data={"smear": "smear-7"})
    elif how == "folder":
        answer = client.post("/api/smears", files=files_of(smear, "smear-7/"))
    else:
        packed = zip_of(smear, "smear-7/" if "folder" in how else "")
        answer = client.post("/api/smears", files=[("files", ("smear-7.zip", packed))])
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    # As text too: the same order of keys, cells and warnings, and the same digits.
    assert json.dumps(answer.json()) == json.dumps(expected)
    jsonschema.validate(answer.json(), read_schema("smear-report"))


@pytest.mark.slow
def test_shipped_models_answer_the_same_on_drawn_cells(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CELLNET_MODELS")
    draw_smear(tmp_path / "drawn", seed=3, cells=16)
    assert main(["predict-smear", str(tmp_path / "drawn"), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    with serving() as client:
        packed = [("files", ("drawn.zip", zip_of(tmp_path / "drawn")))]
        answer = client.post("/api/smears", files=packed)
    assert json.dumps(answer.json()) == json.dumps(expected)


def test_options_of_the_decision_hold(smear):
    with serving(SmearReader(cutoff=0.05, threshold=0.5, min_neutrophils=17)) as client:
        report = client.post("/api/smears", files=files_of(smear)).json()
    assert (report["cutoff"], report["threshold"]) == (0.05, 0.5)
    assert (report["dysplastic"], report["decision"]) == (0, "indeterminate")


def test_progress_as_events(client, smear, monkeypatch):
    slowly(monkeypatch, 0.05)
    send = {"files": files_of(smear), "data": {"smear": "s"}}
    report = client.post("/api/smears", **send).json()
    answer = client.post("/api/smears", **send, headers={"accept": "text/event-stream"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *progress, (last, told) = events_of(answer.text)
    assert (last, told) == ("report", report)
    assert {event for event, _ in progress} == {"progress"}
    counts = [it["done"] for _, it in progress]
    total = len(report["cells"]) + len(report["unreadable"])
    assert counts[0] == 0 and counts[-1] == total and len(counts) > 2
    assert counts == sorted(set(counts))
    assert {it["total"] for _, it in progress} == {total}


def test_errors_as_events(client):
    events = {"accept": "text/event-stream"}
    # Before the reading began, the status says it; then only an event can.
    early = client.post("/api/smears", content=b"", headers=events)
    assert early.status_code == 415 and "multipart" in early.json()["error"]
    files = [("files", ("a.png", b""))]
    answer = client.post("/api/smears", files=files, headers=events)
    assert answer.status_code == 200
    assert events_of(answer.text)[-1] == (
        "error",
        {
            "error": "none of the 1 images in the folder smear can be read; the first is a.png: "
            "the file is empty"
        },
    )


# ---------------------------------------------------------------- no answer


@pytest.mark.parametrize(
    "files, status, why",
    [
        ([("a.txt", b"x")], 400, "there is no image in the folder smear (passed over: 1 entry "),
        ([("a.png", b""), ("b.png", b"")], 400, "none of the 2 images in the folder smear can be"),
        ([("s.zip", b"x")], 400, "'s.zip' is no zip archive"),
        ([("../a.png", b"x")], 400, "names must lead to a file below the smear's folder"),
        ([("a.png", b"x"), ("a.png", b"y")], 400, "two files are called 'a.png'"),
    ],
)
def test_uploads_that_are_refused(client, files, status, why):
    answer = client.post("/api/smears", files=[("files", it) for it in files])
    assert answer.status_code == status
    assert list(answer.json()) == ["error"] and why in answer.json()["error"]


@pytest.mark.parametrize("with_app", [False, True])
def test_addresses_and_methods_that_there_are_not(app, with_app):
    with serving(app=app if with_app else None) as client:
        for path, method, status in (
            ("/api/nothing", "GET", 404),
            ("/nothing", "GET", 404),
            ("/api/models/other/card", "GET", 404),
            ("/api/smears", "GET", 405),
            ("/api/models", "POST", 405),
        ):
            answer = client.request(method, path)
            assert answer.status_code == status, path
            assert "/api/docs says" in answer.json()["error"]


def test_a_request_that_names_no_host():
    with serving(host="0.0.0.0", token=TOKEN) as client:
        host, port = client.base_url.host, client.base_url.port
        with socket.create_connection((host, port)) as raw:
            raw.sendall(b"GET /api/docs HTTP/1.0\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 200")


def test_limits_of_size_and_number(smear):
    with serving(limits=Limits(upload_bytes=20_000, files=3)) as client:
        answer = client.post("/api/smears", files=some_cells(4))
        assert (answer.status_code, "3 files" in answer.text) == (413, True)
        assert client.post("/api/smears", files=some_cells(3)).status_code == 200
        large = [("files", ("a.png", bytes(30_000_000)))]
        answer = client.post("/api/smears", files=large)
        assert (answer.status_code, "20000 bytes" in answer.text) == (413, True)

        # Without a length: in pieces, until there are too many.
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        pieces = (head if at == 0 else bytes(10_000) for at in range(3000))
        kind = {"content-type": "multipart/form-data; boundary=b"}
        answer = client.post("/api/smears", content=pieces, headers=kind)
        assert (answer.status_code, "20000 bytes" in answer.text) == (413, True)


def open_upload(
    client: httpx.Client, body: bytes, length: int | None = None, accept: str = "*/*"
) -> socket.socket:
    """Begin a request by hand, and send so much of it."""
    host, port = client.base_url.host, client.base_url.port
    head = (
        f"POST /api/smears HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: {accept}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {length or len(body)}\r\n\r\n"
    )
    connection = socket.create_connection((host, port), timeout=60)
    connection.sendall(head.encode() + body)
    return connection


def body_of(cells: int) -> bytes:
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="files"; filename="{at}.png"\r\n\r\n'.encode()
        + CELL
        + b"\r\n"
        for at in range(cells)
    )
    return b"".join(parts) + b"--b--\r\n"


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_busy_servers_say_when_to_try_again(caplog):
    caplog.set_level(logging.INFO)
    with serving(limits=Limits(smears=1)) as client:
        first = open_upload(client, body_of(1)[:-20], len(body_of(1)))
        until(lambda: client.post("/api/smears", files=some_cells(1)).status_code == 503)
        answer = client.post("/api/smears", files=some_cells(1))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "busy with 1 smears" in answer.json()["error"]
        assert client.get("/api/models").status_code == 200
        first.close()  # its place is free again
        until(lambda: client.post("/api/smears", files=some_cells(1)).status_code == 200)


def test_uploads_are_read_in_turn(monkeypatch):
    begun = slowly(monkeypatch, 0.02)
    answers = []
    with serving(threads=2) as client:

        def post(name: str) -> None:
            sent = client.post("/api/smears", files=some_cells(12), data={"smear": name})
            answers.append(sent)

        threads = [threading.Thread(target=post, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [it.status_code for it in answers] == [200] * 3
    order = [path.parts[0] for path in begun]
    assert [order[at] for at in range(0, 36, 12)] == sorted(set(order), key=order.index)
    assert all(order[at : at + 12] == [order[at]] * 12 for at in range(0, 36, 12))


def test_an_upload_that_does_not_arrive(caplog):
    with serving(limits=Limits(seconds=1)) as client:
        connection = open_upload(client, body_of(1)[:-20], len(body_of(1)))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert json.load(answer)["error"] == "the upload did not arrive within 1 seconds"
        connection.close()


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_smear_that_takes_too_long(monkeypatch, accept):
    begun = slowly(monkeypatch, 0.2)
    with serving(limits=Limits(seconds=1), threads=1) as client:
        answer = client.post("/api/smears", files=some_cells(40), headers={"accept": accept})
        if "json" in accept:
            assert answer.status_code == 504
            told = answer.json()
        else:
            name, told = events_of(answer.text)[-1]
            assert name == "error"
        assert told == {"error": "the smear was not read within 1 seconds"}
        read = len(begun)
        time.sleep(0.5)
        assert len(begun) == read < 20  # nothing goes on behind its back


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_client_that_goes_away_cancels_its_work(monkeypatch, accept):
    begun = slowly(monkeypatch, 0.1)
    with serving(limits=Limits(smears=1), threads=1) as client:
        body = body_of(100)
        connection = open_upload(client, body, accept=accept)
        until(lambda: len(begun) >= 2)
        connection.close()
        until(lambda: client.post("/api/smears", content=b"").status_code == 415)  # a free place
        read = len(begun)
        assert read < 60
        time.sleep(0.4)
        assert len(begun) == read


def test_models_that_fail(client, monkeypatch, caplog):
    def fail(self, data, path):
        raise CellnetError("the model /models/m answered something that is not a number")

    monkeypatch.setattr(scoring.CellReader, "read", fail)
    answer = client.post("/api/smears", files=some_cells())
    assert answer.status_code == 500
    assert answer.json() == {"error": "the models failed on the server; its log says why"}
    assert "/models/m answered something" in caplog.text


def test_faults_are_told_to_the_log_without_names(client, monkeypatch, caplog):
    def fail(self, data, path):
        raise ValueError(f"cannot do {path}")

    monkeypatch.setattr(scoring.CellReader, "read", fail)
    answer = client.post("/api/smears", files=some_cells(), data={"smear": "Doe, Jane"})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed; its log says where"}
    until(lambda: "the server failed: ValueError at " in caplog.text)
    assert re.search(r"reception\.py:\d+, test_server\.py:\d+", caplog.text)
    assert "Doe" not in caplog.text and "cell-" not in caplog.text


def test_logs_name_no_file_and_no_smear(client, smear, caplog):
    caplog.set_level(logging.INFO)
    client.post("/api/smears", files=files_of(smear), data={"smear": "Doe, Jane"})
    client.post("/api/smears", files=[("files", ("Jane.png", b""))])
    client.post("/api/smears", files=[("files", ("Jane.zip", b""))])
    client.get("/Jane")
    told = [it.getMessage() for it in caplog.records if not it.name.startswith("http")]
    shown = "\n".join(told)  # without this client's own lines
    assert "answered 200: 28 of 28 images in " in shown
    assert "answered 400: 1 of 1 images in " in shown
    assert "answered 400: no images in " in shown
    for name in ("Doe", "Jane", "cell_", "torn", "smear-7", "notes"):
        assert name not in shown


# ---------------------------------------------------------------- who may ask


def test_a_token_is_asked_for(caplog):
    with serving(host="127.0.0.1", token=TOKEN) as client:
        for shown in (None, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", f"Basic {TOKEN}",
                      f"Bearer {TOKEN.upper()}", TOKEN, "Bearer \xe9"):  # fmt: skip
            headers = {} if shown is None else {"authorization": shown.encode("latin-1")}
            for path in ("/api/models", "/api/smears", "/api/models/model1/card", "/api/x"):
                answer = client.request("POST" if "smears" in path else "GET", path,
                                        headers=headers)  # fmt: skip
                assert answer.status_code == 401, (shown, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "Authorization: Bearer" in answer.json()["error"]
        assert "401: refused to 127.0.0.1" in caplog.text and TOKEN[:-1] not in caplog.text
        right = {"authorization": f"bearer  {TOKEN}"}
        assert client.get("/api/models", headers=right).status_code == 200
        sent = client.post("/api/smears", files=some_cells(), headers=right)
        assert sent.status_code == 200
        for path in ("/", "/api/docs", "/api/openapi.json"):
            assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1:80", 200), ("[::1]:80", 200),
        ("127.1.2.3", 200), ("evil.example", 403), ("evil.example:8000", 403), ("", 403),
        ("localhost.evil.example", 403), ("10.0.0.1", 403), ("127.0.0.1.evil.example", 403),
        ("x@localhost", 200), ("localhost@evil.example", 403), ("[", 403),
    ],
)  # fmt: skip
def test_other_names_of_this_machine_are_refused(client, host, status):
    """A page that made its own name lead here (DNS rebinding) would use that name."""
    for path in ("/", "/api/models"):
        assert client.get(path, headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "origin, status",
    [
        ("http://{}", 200), ("https://{}", 200), ("null", 403), ("http://evil.example", 403),
        ("http://localhost:1", 403), ("http://evil.example/{}", 403), ("", 403), ("http://[", 403),
    ],
)  # fmt: skip
def test_pages_of_other_sites_are_refused(client, origin, status):
    own = f"{client.base_url.host}:{client.base_url.port}"
    headers = {"origin": origin.format(own)}
    assert client.post("/api/smears", files=some_cells(), headers=headers).status_code == status
    assert client.get("/api/models", headers=headers).status_code == status


def test_no_answer_lets_another_site_read_it(client):
    answer = client.options(
        "/api/smears",
        headers={"origin": "http://evil.example", "access-control-request-method": "POST"},
    )
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "host, expected",
    [
        ("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.8.8", True),
        ("0.0.0.0", False), ("::", False), ("", False), ("192.168.1.7", False), ("lab", False),
    ],
)  # fmt: skip
def test_what_is_this_machines_own_address(host, expected):
    assert is_loopback(host) is expected
    assert (token_fault(host, None) is None) is expected


def test_tokens_that_are_none():
    assert token_fault("0.0.0.0", TOKEN) is None
    for bad in ("", "short", "x" * 15, "with space in the token", "ümlaut" * 5, "tab\t" * 8):
        assert "at least 16 characters" in token_fault("localhost", bad)


# ---------------------------------------------------------------- what is served


def test_every_answer_has_the_headers(client):
    for answer in (
        client.get("/"),
        client.get("/nothing"),
        client.get("/api/models"),
        client.post("/api/smears", content=b""),
        client.post("/api/smears", files=some_cells()),
        client.post("/api/smears", files=some_cells(), headers={"accept": "text/event-stream"}),
        client.get("/", headers={"host": "evil.example"}),
    ):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ") and "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy and "http" not in policy and "*" not in policy
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_the_policy_is_that_of_the_app():
    page = ROOT / "export" / "index.html"
    if not page.is_file():
        pytest.skip("the app has no page yet")
    found = re.search(
        r'<meta\s+http-equiv="Content-Security-Policy"\s+content="([^"]*)"', page.read_text()
    )
    own = {part.strip() for part in POLICY.split(";")} - {"frame-ancestors 'none'"}
    assert found and {" ".join(it.split()) for it in found[1].split(";") if it.strip()} == own


def test_without_an_app_a_page_says_how_to_build_it(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert "make web" in answer.text and 'href="/api/docs"' in answer.text


@pytest.mark.parametrize("path", ["/", "/api/docs"])
def test_own_pages_need_nothing_else(client, path):
    answer = client.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<script|src=|@import|url\(|https?://|//\w|\son\w+=|style=", answer.text)
    style = re.search("<style>(.*)</style>", answer.text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]


def test_the_interface_is_described(client, smear):
    page = client.get("/api/docs").text
    for said in ("POST /api/smears", "GET /api/models", "multipart/form-data", "413", "Retry-After",
                 "Research use only", "curl"):  # fmt: skip
        assert said in page, said
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/api/smears", "/api/models", "/api/models/model1/card", "/api/models/dysplasianet/card",
    }  # fmt: skip
    assert "422" not in json.dumps(document)
    assert "//" not in re.sub("application/|text/|multipart/", "", json.dumps(document))
    post = document["paths"]["/api/smears"]["post"]
    assert set(post["responses"]) >= {"200", "400", "401", "408", "413", "415", "503", "504"}
    # Every reference leads somewhere, and the report's schema is the one that reports obey.
    for ref in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        place = document
        for step in ref.split("/"):
            place = place[step]
    schema = {"$ref": "#/components/schemas/SmearReport", "components": document["components"]}
    report = client.post("/api/smears", files=files_of(smear)).json()
    jsonschema.validate(report, schema)
    report["cells"][0]["label"] = "heart"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)
    listing = {"$ref": "#/components/schemas/Model", "components": document["components"]}
    for model in client.get("/api/models").json():
        jsonschema.validate(model, listing)


def test_the_token_is_described():
    with serving(token=TOKEN) as client:
        assert "Authorization: Bearer" in client.get("/api/docs").text
        document = client.get("/api/openapi.json").json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["security"] == [{"token": []}]


def test_models_are_listed(client, home):
    first, second = client.get("/api/models").json()
    described = json.loads((home / "model1" / "bundle.json").read_text())
    assert (first["role"], first["name"], first["version"]) == ("model1", "model1", "0.0.1")
    assert first["sha256"] == described["weights"]["sha256"]
    assert first["bytes"] == (home / "model1" / "model.tflite").stat().st_size
    assert first["input"] == described["input"] and len(first["classes"]) == 8
    assert (first["kind"], first["operating_point"]) == ("probabilities", None)
    assert (second["role"], second["kind"], second["classes"]) == (
        "dysplasianet", "granularity", None,
    )  # fmt: skip
    assert second["operating_point"]["smear"]["threshold"] == THRESHOLD
    assert first["card"] is None


def test_cards_are_served(tmp_path):
    models = make_bundles(tmp_path / "models")
    (models / "model1" / "CARD.md").write_text("# Modèle 1\n", encoding="utf-8")
    with serving(SmearReader(models / "model1", models / "dysplasianet")) as client:
        card = client.get("/api/models").json()[0]["card"]
        answer = client.get(card)
        assert (answer.status_code, answer.text) == (200, "# Modèle 1\n")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert client.get("/api/models/dysplasianet/card").status_code == 404
        assert client.get("/api/models/..%2fmodel1/card").status_code == 404


@pytest.fixture
def app(tmp_path) -> Path:
    """What a build leaves: a page, files named by their content, models, a service worker."""
    folder = tmp_path / "dist"
    for name in ("index.html", "sw.js", "assets/index-B1x2Y3z4.js", "assets/tfjs-Ab_d-f12.wasm",
                 "assets/plain.js", "models/model1/tfjs/model.json", "manifest.webmanifest",
                 "models/model1/tfjs/group1-shard1of7.bin"):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def test_the_app_is_served(app):
    with serving(app=app) as client:
        for path, name, kind, lasting in (
            ("/", "index.html", "text/html; charset=utf-8", False),
            ("/index.html", "index.html", "text/html; charset=utf-8", False),
            ("/sw.js", "sw.js", "text/javascript; charset=utf-8", False),
            ("/assets/index-B1x2Y3z4.js", None, "text/javascript; charset=utf-8", True),
            ("/assets/tfjs-Ab_d-f12.wasm", None, "application/wasm", True),
            ("/assets/plain.js", None, "text/javascript; charset=utf-8", False),
            ("/models/model1/tfjs/model.json", None, "application/json", False),
            ("/models/model1/tfjs/group1-shard1of7.bin", None, "application/octet-stream", False),
            ("/manifest.webmanifest", None, "application/manifest+json", False),
        ):
            answer = client.get(path)
            assert answer.text == f"content of {name or path[1:]}"
            assert answer.headers["content-type"] == kind
            cache = answer.headers["cache-control"]
            assert cache == ("public, max-age=31536000, immutable" if lasting else "no-cache")
            assert answer.headers["content-security-policy"] == POLICY
            again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
            assert again.status_code == 304 and again.headers["cache-control"] == cache
        assert client.get("/api/models").status_code == 200
        assert client.post("/").status_code == 405


def test_nothing_beside_the_app_is_served(app):
    with serving(app=app) as client:
        for path in (
            *("/link.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/%00"),
            *("/assets/..%2f..%2fsecret.txt", "/assets", "/" + "x" * 5000),
        ):
            answer = client.get(path)
            assert answer.status_code == 404, path
            assert "secret" not in answer.text and "error" in answer.json()


# ---------------------------------------------------------------- what is kept


def test_reports_are_kept_where_it_is_asked(tmp_path, smear):
    with serving(keep=tmp_path) as client:
        reports = [
            client.post("/api/smears", files=files_of(smear), data={"smear": name}).json()
            for name in ("Doe, Jane", "Doe, Jane", "b")
        ]
        assert client.post("/api/smears", files=[("files", ("a.png", b""))]).status_code == 400
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 3  # two of one name in one second are two
    found = [json.loads(file.read_text()) for file in kept]
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, reports))
    for file in kept:
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{32}\.json", file.name)
        assert file.stat().st_mode & 0o077 == 0


def test_a_report_that_cannot_be_kept_is_not_given(tmp_path, monkeypatch, caplog):
    def fail(file, text, private):
        raise CellnetError(f"cannot write {file}: No space left on device")

    monkeypatch.setattr(reception, "write_text", fail)
    with serving(keep=tmp_path) as client:
        answer = client.post("/api/smears", files=some_cells())
    assert answer.status_code == 507 and list(answer.json()) == ["error"]
    assert "No space left" in caplog.text


# ---------------------------------------------------------------- the command

COMMAND = [sys.executable, "-m", "cellnet", "serve"]


@contextlib.contextmanager
def running(*words, **more) -> Iterator[tuple[subprocess.Popen, str]]:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    try:
        line = process.stderr.readline()
        found = re.fullmatch(r"cellnet: serving on (http://\S+/) \(Ctrl-C ends it\)\n", line)
        assert found, line + process.stderr.read()
        yield process, found[1]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_real_server_writes_nothing_and_ends_cleanly(tmp_path, home, smear, capsys):
    assert main(["predict-smear", str(smear), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    empty = tmp_path / "empty"
    empty.mkdir()

    def no_files() -> None:
        # Every write to a file fails from here on, whichever library tries it.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    environment = {**os.environ, "TMPDIR": str(empty), "PYTHONPATH": str(ROOT)}
    with running(cwd=empty, preexec_fn=no_files, env=environment) as (process, address):
        for files in (
            files_of(smear, "smear-7/"),
            [("files", ("smear-7.zip", zip_of(smear)))],
            # Over the size from which form parsers write to temporary files.
            [*files_of(smear, "smear-7/"), ("files", ("smear-7/x.txt", bytes(5_000_000)))],
        ):
            answer = httpx.post(f"{address}api/smears", files=files, timeout=60, trust_env=False)
            assert answer.status_code == 200, answer.text
            assert answer.json()["cells"] == expected["cells"]
        assert os.listdir(empty) == []
        for number in (
            os.listdir(f"/proc/{process.pid}/fd") if os.path.isdir("/proc/self/fd") else ()
        ):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{process.pid}/fd/{number}")
                flags = Path(f"/proc/{process.pid}/fdinfo/{number}").read_text()
                mode = int(re.search(r"flags:\s*(\d+)", flags)[1], 8) & os.O_ACCMODE
                assert not target.startswith("/") or target.startswith("/dev/") or not mode, target
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    lines = err.splitlines()
    assert lines[-1] == "cellnet: interrupted" and len(lines) == 4
    assert all(re.fullmatch(r"cellnet: answered 200: \d+ of \d+ images in [\d.]+ s", it)
               for it in lines[:-1])  # fmt: skip


def test_ctrl_c_ends_what_is_being_read(home):
    slow = (
        "import sys, time, cellnet.scoring as s; read = s.CellReader.read\n"
        "s.CellReader.read = lambda self, d, p: (time.sleep(0.2), read(self, d, p))[1]\n"
        "from cellnet.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "serve", "--port", "0", "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = re.search(r"http://\S+/", process.stderr.readline())[0]
        answers = []

        def post() -> None:
            files = some_cells(500)
            answers.append(httpx.post(f"{address}api/smears", files=files, timeout=60))

        thread = threading.Thread(target=post)
        thread.start()
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, err = process.communicate(timeout=60)
        thread.join()
    finally:
        process.kill()
        process.wait()
    assert time.monotonic() - start < 20
    assert process.returncode == 130 and "Traceback" not in err
    assert answers[0].status_code == 503 and "being stopped" in answers[0].json()["error"]


@pytest.mark.parametrize(
    "words, variables, why",
    [
        ("--host 0.0.0.0", {}, "other machines reach 0.0.0.0, so a token is required"),
        ("--host 0.0.0.0 --token short", {}, "at least 16 characters"),
        ("--token short", {}, "at least 16 characters"),
        ("--host lab.example", {"CELLNET_TOKEN": ""}, "a token is required"),
        ("--host ::", {"CELLNET_TOKEN": "secret"}, "at least 16 characters"),
        ("--port 65536", {}, "--port is a number up to 65535"),
        ("--port -1", {}, "must be at least 0"),
        ("--max-files 0", {}, "must be at least 1"),
    ],
)
def test_wrong_usage(words, variables, why, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        main(["serve", *words.split()])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert why in err and "secret" not in err and "short" not in err.partition("error:")[2]


def test_it_says_why_it_cannot_start(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CELLNET_THREADS", "0")
    assert main(["serve"]) == 1
    assert "CELLNET_THREADS must be" in capsys.readouterr().err
    monkeypatch.delenv("CELLNET_THREADS")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for words, why in (
            (["--model1", "nothing"], "no model is called 'nothing'"),
            (["--dysplasianet", "model1"], "'granularity' is needed here"),
            (["--app", str(tmp_path)], "has no index.html"),
            (["--keep", str(tmp_path / "file" / "x")], "cannot make the folder"),
            (["--port", str(taken.getsockname()[1])], "cannot listen at 127.0.0.1, port "),
            (["--host", "no-such-host.invalid", "--token", TOKEN], "cannot listen at no-such"),
        ):
            assert main(["serve", *words]) == 1
            err = capsys.readouterr().err
            assert err.startswith("cellnet: error: ") and err.count("\n") == 1 and why in err, err


def test_weights_that_cannot_be_run_are_told_at_the_start(tmp_path, monkeypatch):
    models = make_bundles(tmp_path / "models")
    (models / "model1" / "model.tflite").write_bytes(b"x" * 100)
    description = json.loads((models / "model1" / "bundle.json").read_text())
    description["weights"]["sha256"] = hashlib.sha256(b"x" * 100).hexdigest()
    (models / "model1" / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(CellnetError, match="cannot be opened as a LiteRT model"):
        serve(host="127.0.0.1", port=0, model1=models / "model1")


def test_open_networks_are_warned_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Server, "run", lambda self, sockets: None)
    monkeypatch.setenv("CELLNET_TOKEN", TOKEN)
    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 0
    assert "cellnet: warning: images and token cross the network as they are" in (
        capsys.readouterr().err
    )


def test_the_documented_requests_work(tmp_path, smear):
    """Every request of docs/server.md, by curl, and the limits that it states."""
    text = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--max-(\w+)` \| ([\d,]+)", text, re.MULTILINE)
    mib = 2**20
    assert {name: int(number.replace(",", "")) for name, number in rows} == {
        "upload": Limits().upload_bytes // mib,
        "files": Limits().files,
        "unpacked": Limits().unpacked_bytes // mib,
        "ratio": Limits().ratio,
        "seconds": Limits().seconds,
        "smears": Limits().smears,
    }
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "smear-1.zip").write_bytes(zip_of(smear))
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(CELL)
    lines = re.findall(r"^\$ (curl .*)$", text, re.MULTILINE)
    assert len(lines) == 5
    environment = {**os.environ, "CELLNET_TOKEN": TOKEN, "no_proxy": "*"}
    with serving(token=TOKEN) as closed, serving() as opened:
        for line in lines:
            client = closed if "TOKEN" in line else opened
            line = re.sub(r"(localhost|lab-server):8000", str(client.base_url).rstrip("/"), line)
            result = subprocess.run(
                ["bash", "-c", f"{line} -sS"],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert result.returncode == 0, result.stderr
            if "event-stream" in line:
                assert events_of(result.stdout)[-1][0] == "report"
            elif "models" in line:
                assert [it["role"] for it in json.loads(result.stdout)] == list(http_api._ROLES)
            else:
                report = json.loads(result.stdout)
                assert report["smear"] == "smear-1"
                if "neutrophil/" in line:
                    assert report["cells"][0]["file"] == "neutrophil/a.jpg"


def test_curl_is_told_before_it_sends_too_much(tmp_path):
    """It asks first, with large bodies, and gets its answer without sending them."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "a.png").write_bytes(bytes(50_000_000))
    with serving(limits=Limits(upload_bytes=1_000_000)) as client:
        result = subprocess.run(
            ["curl", "-sS", "-F", "files=@a.png", "-w", " %{size_upload}",
             f"{str(client.base_url).rstrip(chr(47))}/api/smears"],
            cwd=tmp_path, env={**os.environ, "no_proxy": "*"}, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
    answer, _, sent = result.stdout.rpartition(" ")
    assert "1000000 bytes" in json.loads(answer)["error"]
    assert int(sent) == 0


def test_options_reach_the_server(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("cellnet.server.serve", lambda **given: asked.update(given))
    words = "--host ::1 --port 9 --app a --keep k --max-upload 2 --max-files 3 --max-unpacked 4"
    words += " --max-ratio 5 --max-seconds 6 --max-smears 7 --cutoff 0.1 --threads 1"
    assert main(["serve", "--token", TOKEN, *words.split()]) == 0
    assert asked["limits"] == Limits(2 * 2**20, 3, 4 * 2**20, 5, 6, 7)
    assert (asked["host"], asked["port"], asked["token"]) == ("::1", 9, TOKEN)
    assert (asked["app"], asked["keep"]) == (Path("a"), Path("k"))
    assert (asked["cutoff"], asked["threads"], asked["model1"]) == (0.1, 1, "model1")
    main(["serve"])
    assert asked["limits"] == Limits() and asked["host"] == "127.0.0.1"


def test_the_extra_is_named_where_it_is_missing():
    packages = ("starlette", "python_multipart", "uvicorn", "fastapi")
    code = f"""
import sys
from cellnet.cli import main
for package in {packages}:
    sys.modules[package] = None
    assert main(["serve"]) == 1
    del sys.modules[package]
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        f"cellnet: error: this needs {package}, which is not installed; install the extra "
        "'serve': pip install 'cellnet[serve]'"
        for package in packages
    ]


def test_only_serving_loads_the_server():
    code = (
        "import sys, cellnet; from cellnet.cli import main\n"
        "try: main(['serve', '--help'])\nexcept SystemExit: pass\n"
        "print([n for n in ('fastapi', 'starlette', 'uvicorn', 'pydantic', 'cv2') "
        "if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert result.stdout.endswith("[]\n")
