"""What a run folder keeps to go on with is read whole, or it is said which file to remove."""

import errno
import os
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="recipes need the training extra")
from cellnet import CellnetError
from cellnet.recipe import read_recipe
from cellnet.run_folder import claim, claim_data, read_kept, read_measured

TRAINING = Path(__file__).resolve().parents[1] / "training"


def test_nothing_there_is_no_error(tmp_path):
    assert read_kept(tmp_path / "a.json", "") is None
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
        read_kept(file, "remove it")


def test_a_result_of_other_cells_is_refused(tmp_path):
    file = tmp_path / "result.json"
    file.write_text('{"accuracy": {"n": 3}}')
    assert read_measured(file, 3) == {"accuracy": {"n": 3}}
    with pytest.raises(CellnetError, match="on 3 cells, and there are 4 now.*another --run"):
        read_measured(file, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "data.json.*choose another --run"), ("[]", "begun with other data, unknown to")],
)
def test_what_binds_a_run_to_its_data_is_not_to_be_removed(content, message, tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "data.json").write_text(content)
    with pytest.raises(CellnetError, match=message) as caught:
        claim_data(tmp_path / "cells", tmp_path / "run")
    assert "remove" not in str(caught.value)


def test_a_full_disk_leaves_a_folder_that_a_run_can_begin_in(tmp_path, monkeypatch):
    recipe = read_recipe(TRAINING / "dysplasianet.yaml")
    with monkeypatch.context() as full:

        def no_space(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr("cellnet.outputs.os.fsync", no_space)
        with pytest.raises(CellnetError, match="No space left"):
            claim(tmp_path / "run", recipe, False)
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    claim(tmp_path / "run", recipe, False)
    assert read_recipe(tmp_path / "run" / "recipe.yaml") == recipe
