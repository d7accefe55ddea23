"""The documents of the project: their blocks of code, and the commands that these would run."""

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "psp_hub" / "starters").glob("*/README.md"),
        *(ROOT / "training" / "recipes").glob("*.md"),
        *(ROOT / "space_config").glob("*.md"),
    ]
)
SCRIPTS = sorted((ROOT / "training" / "recipes").glob("*.sh"))
FOLDERS = (
    "benchmarks/",
    "docs/",
    "psp_hub/",
    "space_config/",
    "tests/",
    "training/",
)  # what is in them has to be there
IN_VENV = ("accelerate", "pip", "pre-commit", "psp-hub", "pytest", "python", "ruff", "mypy", "torchrun")
ELSEWHERE = ("apt-get", "cp", "curl", "python3", "sleep")
# In the place of each program: it writes down how many words it was called with, and these.
RECORDER = """#!/bin/bash
printf '%s\\0' $# "$0" "$@" >> "$COMMANDS"
"""


def blocks(path: Path, kind: str) -> list[str]:
    """The code of one kind (`python` or `bash`) in a document."""
    return re.findall(rf"^```{kind}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def recorded(script: str, folder: Path) -> list[list[str]]:
    """The commands that a script of bash runs: it does run, in `folder`, but each program only writes down its words.

    So variables, loops and functions become what they are. A program that is not expected is an error.
    """
    scripts = (path.relative_to(ROOT).as_posix() for path in SCRIPTS)
    for name in (*IN_VENV, *(f".venv/bin/{name}" for name in IN_VENV), *ELSEWHERE, *scripts):
        program = folder / ("" if "/" in name else "bin") / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(RECORDER)
        program.chmod(0o755)
    log = folder / "commands"
    log.write_bytes(b"")
    environment = {"PATH": str(folder / "bin"), "COMMANDS": str(log)}
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, check=True)
    words = log.read_text(encoding="utf-8").split("\0")[:-1]
    commands = []
    while words:
        end = int(words[0]) + 2
        commands.append([Path(words[1]).name, *words[2:end]])
        words = words[end:]
    return commands


class Parsed(BaseException):
    """A program understood its words, and would begin now."""


@contextmanager
def stopped_after_parsing(words: list[str]) -> Iterator[None]:
    """A program that runs in here with these words ends when it has parsed them. Wrong words are a SystemExit."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *args: object) -> None:
        parse(parser, *args)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(sys, "argv", ["program", *words])
        with pytest.raises(Parsed):
            yield


def load_program(path: str) -> ModuleType:
    if path.startswith("space_config/"):  # it finds its neighbour as a program does
        sys.path.insert(0, str(ROOT / "space_config"))
        return importlib.import_module(Path(path).stem)
    return importlib.import_module(path.removesuffix(".py").replace("/", "."))


def check_program(path: str, words: list[str]) -> None:
    """Let a Python program of this project parse its words."""
    module = load_program(path)
    if hasattr(module, "parse_args"):
        module.parse_args(words)
    elif "ArgumentParser" not in Path(module.__file__).read_text(encoding="utf-8"):
        assert not words, f"{path} takes no arguments"
    else:
        with stopped_after_parsing(words):
            module.main()


def check_command(command: list[str]) -> None:
    """Be sure that a command can begin: its program is there and understands its words, as far as it is ours."""
    program, *words = command
    for word in words:
        if word.startswith(FOLDERS):
            assert (ROOT / word).exists(), f"there is no {word}"
    if program == "accelerate":
        assert words[0] == "launch"
        launch = launch_command_parser().parse_args(words[1:])
        check_program(launch.training_script, launch.training_script_args)
    elif program == "torchrun":
        launch = get_args_parser().parse_args(words)
        check_program(launch.training_script, launch.training_script_args)
    elif program.startswith("python") and words[0] != "-m":
        check_program(words[0], words[1:])
    elif program == "psp-hub":
        check_program("psp_hub/cli/main.py", words)
    elif program == "pip" and "-r" in words:
        assert (ROOT / words[words.index("-r") + 1]).is_file()


def provide(command: list[str], folder: Path) -> None:
    """Folders of the names that a command has: some programs look at once whether their data is there."""
    for word in command[1:]:
        if re.fullmatch(r"[\w./-]+", word) and not word.startswith(("-", "/")) and not os.path.lexists(folder / word):
            (folder / word).mkdir(parents=True)
