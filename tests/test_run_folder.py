"""What a run folder keeps to go on with is read whole, or it is said which file to remove."""

import os

import pytest

from cellnet import CellnetError
from cellnet.run_folder import read_kept, read_measured


def test_nothing_there_is_no_error(tmp_path):
    assert read_kept(tmp_path / "a.json") is None
    assert read_measured(tmp_path / "a.json", 3) is None


@pytest.mark.parametrize("content", [b"", b'{"accuracy": {"n": 3', b"\xff\xfe\x00"])
def test_a_broken_file_is_named_with_the_remedy(content, tmp_path):
    file = tmp_path / "result.json"
    file.write_bytes(content)
    with pytest.raises(CellnetError, match=f"{file}.*remove it"):
        read_measured(file, 3)


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"accuracy": 1}'])
def test_another_document_is_no_result(content, tmp_path):
    file = tmp_path / "result.json"
    file.write_text(content)
    with pytest.raises(CellnetError, match="no result with an accuracy; remove it"):
        read_measured(file, 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to this user")
def test_a_closed_file_is_named(tmp_path):
    file = tmp_path / "result.json"
    file.write_text("{}")
    file.chmod(0)
    with pytest.raises(CellnetError, match="cannot read"):
        read_kept(file)


def test_a_result_of_other_cells_is_refused(tmp_path):
    file = tmp_path / "result.json"
    file.write_text('{"accuracy": {"n": 3}}')
    assert read_measured(file, 3) == {"accuracy": {"n": 3}}
    with pytest.raises(CellnetError, match="on 3 cells, and there are 4 now.*another --run"):
        read_measured(file, 4)
