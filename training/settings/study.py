"""What training/study.py is told: what to ask, or what to count."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from training.settings.flags import OrNone

StudyFolders = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER ...", help_behavior_hint="")]


@dataclass(frozen=True)
class ServeSettings:
    """Open a page that asks which of two answers is better, until Ctrl-C."""

    folders: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER ...", help_behavior_hint="")]
    ]
    """one for each kind of input: inputs/, and a folder of answers for each system"""
    votes: Path = Path("votes.jsonl")
    """the file that votes are added to"""
    ours: OrNone[str] = None
    """the system that every pair has; by default every two systems meet"""
    host: OrNone[str] = None
    """address to listen on; by default this computer alone"""
    port: OrNone[int] = None
    """by default 7860"""


@dataclass(frozen=True)
class ReportSettings:
    """Print what the votes say."""

    votes: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="VOTES ...")]] = (
        Path("votes.jsonl"),
    )
    """files of votes, counted together"""
    ours: OrNone[str] = None
    """the system whose preference over others is told; by default psp, if there is one"""


StudySettings = (
    Annotated[ServeSettings, tyro.conf.subcommand("serve")] | Annotated[ReportSettings, tyro.conf.subcommand("report")]
)
