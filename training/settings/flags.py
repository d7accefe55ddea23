"""Command lines of frozen dataclasses, by `tyro`: each field is the flag of its name, its docstring the help.

A field that is a dataclass itself is a group of flags, whose names get no prefix.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, Protocol, TypeVar, get_args, get_type_hints

import tyro
import yaml


class Checked(Protocol):
    """Settings that know what fits together."""

    def check(self) -> None:
        """Raise a ValueError, which names the flag, where they do not."""


T, Settings = TypeVar("T"), TypeVar("Settings")
C = TypeVar("C", bound=Checked)

# A flag that may be left out; its help says what that means. (tyro would add "default: None".)
OrNone = Annotated[T | None, tyro.conf.arg(help_behavior_hint="")]
Folders = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH ...")]
FoldersOrNone = Annotated[tuple[Path, ...] | None, tyro.conf.arg(metavar="PATH ...", help_behavior_hint="")]
Switch = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]  # off by default
WeightsFile = Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
Share = Annotated[float, tyro.conf.arg(metavar="0..1")]

SWITCH_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse(
    kind: Callable[..., Settings], words: Sequence[str] | None = None, description: str | None = None
) -> Settings:
    """Settings of a kind from a command line, by default that of this process.

    Words that cannot be read end the program, with a message that names the flag.
    """
    return tyro.cli(
        kind,
        args=list(sys.argv[1:] if words is None else words),
        prog=program_name(),
        description=description,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone),
        use_underscores=True,
    )


def parse_checked(kind: Callable[..., C], words: Sequence[str] | None, description: str | None) -> C:
    """Settings of a program from its command line, checked; what cannot be used ends it."""
    settings = parse(kind, words, description)
    try:
        settings.check()
    except ValueError as error:
        refuse(error)
    return settings


def program_name() -> str:
    return Path(sys.argv[0]).name


def refuse(error: Exception) -> NoReturn:
    """End the program as a wrong command line does."""
    print(f"{program_name()}: error: {error}", file=sys.stderr)
    raise SystemExit(2) from error


def by_name(settings: Any) -> dict[str, Any]:
    """All settings by the names of their flags, those of groups too."""
    found: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        found |= by_name(value) if is_dataclass(value) else {field.name: value}
    return found


def types_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Name and type of each flag of a dataclass, those of its groups too."""
    for name, value in get_type_hints(kind).items():
        if is_dataclass(value):
            yield from types_of(value)
        else:
            yield name, value


def is_switch(kind: Any) -> bool:
    """Whether a type is that of `--flag` and `--no-flag`."""
    return bool in (kind, *get_args(kind))


def config_words(kind: type, path: Path) -> list[str]:
    """What a YAML file says, as words of a command line: both are then read, and refused, alike.

    Args:
        kind: the dataclass that the words are for.
        path: a file of `flag: value`; lists for flags of several values, true or false for switches.

    Raises:
        ValueError: it cannot be read, or is something else.
    """
    try:
        # As text: `mixed_precision: no` is no switch.
        table = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(table, dict) or any(isinstance(value, dict) for value in table.values()):
        raise ValueError(f"--config {path} does not hold flags, expected lines such as `task: sketch`")
    switches = {name for name, of in types_of(kind) if is_switch(of)}
    words = []
    for name, value in table.items():
        if value in ("", "~", "null"):
            continue
        if name in switches:
            if value not in SWITCH_WORDS:
                raise ValueError(f"--config {path}: {name} is {value!r}, expected true or false")
            words.append(f"--{name}" if SWITCH_WORDS[value] else f"--no-{name}")
        else:
            words += [f"--{name}", *value] if isinstance(value, list) else [f"--{name}={value}"]
    return words
