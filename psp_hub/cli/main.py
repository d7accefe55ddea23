"""The command line: `psp-hub translate drawing.png -o face.png`. Each command is the module of its name."""

import argparse
import os
import sys
from importlib import import_module

from psp_hub.cli.options import add_convert, add_decode, add_push, add_translate
from psp_hub.cli.output import say


def program() -> None:
    """The program `psp-hub`: it ends at once.

    All files are closed by then, and Python would take half a second more to clear away what torch has loaded.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads it any more, or it is a file on a full disk
            code = code or 1
    os._exit(code)


def main(args: list[str] | None = None) -> int:
    """Run what is typed after `psp-hub` (by default, of this process).

    Returns:
        The exit code: 0 everything is done, 1 something failed, 2 the command cannot be carried out as it is.
    """
    parser = argparse.ArgumentParser(
        prog="psp-hub", description="Turn drawings, label maps and photos into StyleGAN faces."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    add_translate(subparsers)
    add_decode(subparsers)
    add_push(subparsers)
    add_convert(subparsers)
    options = parser.parse_args(args)
    try:
        command = import_module(f"psp_hub.cli.{options.command}")
        return int(getattr(command, options.command)(options))
    except (ValueError, OSError) as error:
        say(f"psp-hub: error: {error}", sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
