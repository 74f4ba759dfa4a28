"""The list of what a folder of static files holds."""

from __future__ import annotations

import hashlib
import json

import pytest

from cellnet.errors import CellnetError
from cellnet.integrity import listed, main, write_integrity


@pytest.fixture
def site(tmp_path):
    for name, content in {
        "index.html": b"<p>", "models/a/b.bin": b"", "models-b.bin": b"xyz",
        ".hidden": b"1", "models/.a.x.partial/b.bin": b"2",
    }.items():  # fmt: skip
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path


def test_every_file_is_listed_but_itself_and_what_is_hidden(site):
    for _ in range(2):  # the second time, there is a list already
        document = write_integrity(site)
        assert json.loads((site / "integrity.json").read_text()) == document
        assert document["schema"] == "cellnet/integrity/1"
        assert document["files"] == [
            {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in (
                ("index.html", b"<p>"), ("models-b.bin", b"xyz"), ("models/a/b.bin", b""),
            )
        ]  # fmt: skip


def test_a_list_below_is_a_file_like_others(site):
    (site / "models" / "integrity.json").write_text("{}")
    assert "models/integrity.json" in [entry["path"] for entry in write_integrity(site)["files"]]


def test_nothing_to_list_is_refused(tmp_path, capsys):
    assert listed(tmp_path) == []
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CellnetError, match="there is no file in"):
            write_integrity(folder)
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path)])
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("cellnet: error: there is no file in")


def test_the_program_says_what_it_wrote(site, capsys):
    assert main([str(site)]) == 0
    assert capsys.readouterr().out == f"{site / 'integrity.json'}: 3 files, 6 bytes\n"
