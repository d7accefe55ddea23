"""How a program ends that may be one of several processes."""

import os
import sys
from collections.abc import Callable


def run_to_exit(program: Callable[[], None]) -> None:
    """Run a program and end the process; where it is one of several, without taking Python apart.

    A thread of gloo that still wants Python's lock at that moment ends the process with "terminate called without an
    active exception", although all is done.

    Raises:
        SystemExit: of the program, or at its end.
    """
    code: int | str | None = 0
    try:
        program()
    except SystemExit as error:
        code = error.code
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not isinstance(code, str):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    raise SystemExit(code)
