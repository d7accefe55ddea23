"""The command line: `psp-hub translate drawing.png -o face.png`. Each command is the module of its name."""

import argparse
import sys
from importlib import import_module

from psp_hub.cli.options import add_convert, add_decode, add_push, add_translate
from psp_hub.cli.output import say


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
