"""How a program ends that may be one of several processes."""

import logging
import os
import sys
from collections.abc import Callable

logger = logging.getLogger(__name__)


def run_to_exit(program: Callable[[], None]) -> None:
    """Run a program and end the process; where it is one of several, without taking Python apart.

    For torch 2.13: a thread of gloo that still wants Python's lock at that moment ends the process with "terminate
    called without an active exception", although all is done, or hangs (see `keep_process_group`).

    Raises:
        SystemExit: of the program, or at its end.
    """
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    code: int | str | None = 0
    try:
        program()
    except SystemExit as error:
        code = error.code
    except Exception:
        if not several:
            raise
        logger.exception("this process failed")
        code = 1
    if several and not isinstance(code, str):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    raise SystemExit(code)
