"""How the programs of stress end: what is wrong is listed, and the exit code says whether anything is."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def exit_with(stress: Callable[[Path], list[str]]) -> NoReturn:
    """Run it in a folder of its own, print what it finds wrong, a line each, and exit with 1 if there is anything."""
    with tempfile.TemporaryDirectory() as name:
        wrong = stress(Path(name))
    print(*wrong, sep="\n")
    sys.exit(1 if wrong else 0)
