"""Checkpoints of a run, and stopping it without losing anything."""

import argparse
import logging
import re
import shutil
import signal
from pathlib import Path
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator

logger = logging.getLogger(__name__)


def is_checkpoint(path: Path) -> bool:
    """Whether it is a finished checkpoint, by its name."""
    return path.is_dir() and re.fullmatch(r"checkpoint-\d+", path.name) is not None


def checkpoints(output_dir: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(path for path in output_dir.glob("checkpoint-*") if is_checkpoint(path))


def save_checkpoint(accelerator: Accelerator, args: argparse.Namespace, step: int) -> None:
    """All state that resuming needs. It appears under its name only when it is complete; old ones go."""
    path = args.output_dir / f"checkpoint-{step:06d}"
    staged = path.with_suffix(".tmp")
    accelerator.save_state(str(staged))
    accelerator.wait_for_everyone()  # each process writes a part
    if accelerator.is_main_process:
        for later in [other for other in checkpoints(args.output_dir) if other >= path]:
            shutil.rmtree(later)  # the run went back to an earlier one
        staged.rename(path)
        for old in checkpoints(args.output_dir)[: -args.checkpoints_total_limit]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def find_checkpoint(args: argparse.Namespace) -> Path | None:
    """The checkpoint that `--resume_from_checkpoint` names; None to start from step 0.

    Raises:
        ValueError: it names something else; or it is not given, and the output folder holds another run's checkpoints.
    """
    if args.resume_from_checkpoint is None:
        if checkpoints(args.output_dir):
            raise ValueError(
                f"{args.output_dir} holds checkpoints of an earlier run: go on with it by "
                "--resume_from_checkpoint latest, or choose another --output_dir"
            )
        return None
    if args.resume_from_checkpoint == "latest":
        found = checkpoints(args.output_dir)
        return found[-1] if found else None
    path = Path(args.resume_from_checkpoint)
    if not is_checkpoint(path):
        raise ValueError(f"--resume_from_checkpoint {path} is not a checkpoint, expected 'latest' or checkpoint-STEP")
    return path


class StopSignals:
    """Context in which SIGINT (Ctrl-C) and SIGTERM (of a scheduler) are noted instead of ending the process.

    The loop asks `received` after each step. A second signal ends the process at once.
    """

    def __init__(self):
        self.number: int | None = None

    def __enter__(self) -> "StopSignals":
        self.before = {number: signal.signal(number, self.note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for again, handler in self.before.items():
            signal.signal(again, handler)
        logger.warning("stopping after this step; once more to stop at once")

    def received(self, accelerator: Accelerator) -> bool:
        """Whether any process got a signal; all processes must ask at the same step."""
        if accelerator.num_processes == 1:
            return self.number is not None
        mine = torch.tensor(float(self.number is not None), device=accelerator.device)
        return accelerator.reduce(mine, "sum").item() > 0
