"""Files are checked before the work, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cellnet.errors import CellnetError
from cellnet.outputs import check_writable, new_folder, write_text


def test_writing_replaces_and_leaves_nothing_else(tmp_path):
    file = tmp_path / "a.csv"
    write_text(file, "old\n")
    file.chmod(0o640)
    write_text(file, "new ü\n")
    assert file.read_bytes() == "new ü\n".encode()
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_new_file_has_usual_permissions(tmp_path):
    write_text(tmp_path / "a", "")
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_checking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a", None, tmp_path / "b")
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_written_is_told_before(tmp_path):
    with pytest.raises(CellnetError, match="there is no folder"):
        check_writable(tmp_path / "gone" / "a.csv")
    with pytest.raises(CellnetError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(CellnetError, match="two outputs would be written"):
        check_writable(tmp_path / "a", tmp_path / "." / "a")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CellnetError, match="Permission denied"):
        check_writable(tmp_path / "a.csv")


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_when_it_is_whole(tmp_path, there):
    out = tmp_path / "deep" / "out"
    if there:
        out.mkdir(parents=True)
    with new_folder(out) as folder:
        (folder / "a").write_text("")
        assert not out.exists() or not any(out.iterdir())
    assert os.listdir(tmp_path / "deep") == ["out"] and os.listdir(out) == ["a"]
    (tmp_path / "usual").mkdir()
    assert out.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_that_failed_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("")
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_folder_with_something_in_it_is_kept(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(CellnetError, match="must be new or empty"), new_folder(tmp_path):
        pass
    with pytest.raises(CellnetError, match="must be new or empty"), new_folder(tmp_path / "a"):
        pass


def test_a_folder_makes_room_when_the_new_one_is_whole(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("")
    with pytest.raises(KeyError), new_folder(out, lambda _: True):
        raise KeyError
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["old"]
    with pytest.raises(CellnetError, match="must be new or empty"):
        with new_folder(out, lambda there: (there / "new").exists()):
            pass
    with new_folder(out, lambda there: (there / "old").exists()) as folder:
        (folder / "new").write_text("")
        assert os.listdir(out) == ["old"]
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["new"]


FILL = """
import sys
from pathlib import Path
from cellnet.outputs import _beside, new_folder
out = Path(sys.argv[2])
with _beside(out) if sys.argv[1] == "file" else new_folder(out) as made:
    if sys.argv[1] == "folder":
        (made / "half").write_text("")
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def filling(tmp_path):
    """A function that starts a process which fills a file or folder ``tmp_path/out``."""
    started = []

    def start(kind: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", FILL, kind, str(tmp_path / "out")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )
        started.append(process)
        assert process.stdout.readline() == b"begun\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, filling, kind, caplog):
    killed, alive = filling(kind), filling(kind)
    assert len(os.listdir(tmp_path)) == 2
    killed.kill()
    killed.wait()
    for name in (".out.abcdefgh.other", ".output.abcdefgh.partial", ".out.x.part"):
        (tmp_path / name).write_text("no business of ours")
    mine = os.listdir(tmp_path)
    if kind == "file":
        write_text(tmp_path / "out", "")
    else:
        with new_folder(tmp_path / "out"):
            pass
    left = set(os.listdir(tmp_path))
    assert "out" in left and len(left) == len(mine)  # one gone, one come
    (told,) = [record.getMessage() for record in caplog.records]
    (gone,) = set(mine) - left
    assert told == f"removed {tmp_path / gone}, which a killed run had left"
    assert alive.poll() is None  # its own place stayed, so it ends well
    if kind == "folder":
        shutil.rmtree(tmp_path / "out")
    alive.communicate()
    assert alive.returncode == 0
    if kind == "folder":
        assert os.listdir(tmp_path / "out") == ["half"]


def test_a_folder_that_a_killed_run_was_replacing_is_put_back(tmp_path, caplog):
    """Killed after the old one had made room, before the new one was in its place."""
    aside = tmp_path / ".out.abcdefgh.partial"
    (aside / "old").mkdir(parents=True)
    (aside / "old" / "kept").write_text("")
    with pytest.raises(CellnetError, match="must be new or empty"), new_folder(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == ["out"] and os.listdir(tmp_path / "out") == ["kept"]


STREAM = """
import sys
from pathlib import Path
from cellnet.outputs import check_writable, write_text
print("before")
check_writable(Path(sys.argv[1]))
write_text(Path(sys.argv[1]), "text\\n")
print("after")
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link", "out"])
def test_standard_output_is_written_to_and_never_replaced(place, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    (tmp_path / "link").symlink_to("/dev/stdout")
    out = tmp_path / "out"
    out.write_text("earlier\n")
    node = out.stat().st_ino
    with out.open("a") as stream:
        command = [sys.executable, "-c", STREAM, place]
        subprocess.run(command, stdout=stream, check=True, cwd=tmp_path, env=env)
    assert out.read_text() == "earlier\nbefore\ntext\nafter\n" and out.stat().st_ino == node
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]
    piped = subprocess.run(
        [*command[:-1], "/dev/stdout"], capture_output=True, text=True, check=True, env=env
    )
    assert piped.stdout == "before\ntext\nafter\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk():
    check_writable(Path("/dev/full"))
    with pytest.raises(CellnetError, match="cannot write /dev/full: No space left"):
        write_text(Path("/dev/full"), "text")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_while_a_folder_is_filled(tmp_path, number):
    with (
        pytest.raises(CellnetError, match=f"cannot write .*out: {os.strerror(number)}"),
        new_folder(tmp_path / "out") as made,
    ):
        (made / "half").write_text("half")
        raise OSError(number, os.strerror(number))
    assert not os.listdir(tmp_path)


def test_other_errors_while_a_folder_is_filled_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "out") as made:
        (made / "missing").read_text()
    assert not os.listdir(tmp_path)
