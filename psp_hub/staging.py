"""Files and folders that get their names only once they are complete.

Until then they lie beside it, under a hidden name that says which process of which machine writes them, so that what a
killed process left can be told from what another one is writing.
"""

import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".psp-hub-"


def own_prefix() -> str:
    return f"{PREFIX}{socket.gethostname()}-{os.getpid()}-"


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which replaces `path` at the end, unless there was an error."""
    stage = path.with_name(f"{own_prefix()}{uuid.uuid4().hex[:8]}")
    try:
        yield stage
        os.replace(stage, path)
    finally:
        stage.unlink(missing_ok=True)


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write to, which becomes `folder` at the end, unless there was an error.

    A folder that is there already gets its files: those of the same names are replaced, others stay. After an error
    all is as it was before. A new folder appears at once, whole, however the process ends.
    """
    missing = [path for path in folder.parents if not path.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        new = not folder.exists()
        place = folder.parent if new else folder
        sweep(place)
        with tempfile.TemporaryDirectory(dir=place, prefix=own_prefix(), ignore_cleanup_errors=True) as name:
            stage = Path(name, "new")  # the same disk, so moving is renaming
            stage.mkdir()
            yield stage
            if new and not folder.exists():
                os.rename(stage, folder)
            else:
                merge(stage, folder)
    except BaseException:
        for path in missing:  # deepest first, and empty unless somebody else used it meanwhile
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def merge(stage: Path, folder: Path) -> None:
    """Move the files of a folder, and those below, into another one."""
    for source in sorted(path for path in stage.rglob("*") if path.is_file()):
        target = folder / source.relative_to(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)


def sweep(folder: Path) -> None:
    """Delete what processes on this machine that are no more have left in a folder."""
    if os.name == "nt":  # where asking for a process would end it
        return
    for path in folder.glob(f"{PREFIX}{socket.gethostname()}-*"):
        number = path.name.removeprefix(f"{PREFIX}{socket.gethostname()}-").partition("-")[0]
        if number.isdecimal() and not is_running(int(number)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True
