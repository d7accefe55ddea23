"""psp_hub.staging: a name stands for something complete, or for nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from psp_hub.staging import PREFIX, own_prefix, staged_file, staged_folder, sweep


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_appears_when_it_is_complete(tmp_path):
    (tmp_path / "a").write_text("old")
    with staged_file(tmp_path / "a") as one, staged_file(tmp_path / "a") as other:
        one.write_text("one")
        other.write_text("other")  # two threads of a process may write at the same time
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "one" and names(tmp_path) == ["a"]
    with pytest.raises(ZeroDivisionError), staged_file(tmp_path / "a") as stage:
        stage.write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "one" and names(tmp_path) == ["a"]


def test_a_new_folder_appears_at_once(tmp_path):
    with staged_folder(tmp_path / "below" / "new") as stage:
        (stage / "sub").mkdir()
        (stage / "sub" / "a").touch()
        assert not (tmp_path / "below" / "new").exists()
    assert names(tmp_path) == ["below", "below/new", "below/new/sub", "below/new/sub/a"]
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "below/new").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_folder_that_is_there_keeps_its_other_files(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("old")
    with staged_folder(tmp_path) as stage:
        (stage / "a").write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a", "b"] and (tmp_path / "a").read_text() == "new"


def test_after_an_error_nothing_is_left(tmp_path):
    for folder in (tmp_path / "x" / "new", tmp_path):
        with pytest.raises(KeyboardInterrupt), staged_folder(folder) as stage:
            (stage / "a").touch()
            raise KeyboardInterrupt
        assert names(tmp_path) == []


WRITER = """
import sys, time
from pathlib import Path
from psp_hub.staging import staged_file, staged_folder
with staged_folder(Path(sys.argv[1], "new")) as folder, staged_file(Path(sys.argv[1], "file")) as file:
    (folder / "a").touch()
    file.touch()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_leaves_is_deleted_by_the_next(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "a living process keeps what it writes"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    mine, other = tmp_path / f"{own_prefix()}1", tmp_path / f"{PREFIX}elsewhere-{process.pid}-1"
    odd = tmp_path / f"{PREFIX}{socket.gethostname()}-name"
    for path in (mine, other, odd):
        path.touch()
    with staged_folder(tmp_path / "new"):
        pass
    assert sorted(tmp_path.iterdir()) == sorted([mine, other, odd, tmp_path / "new"])
    assert time.time() - (tmp_path / "new").stat().st_mtime < 60
