"""Checkpoints of a run, and stopping it without losing anything."""

import json
import logging
import re
import shutil
import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from training.settings.flags import by_name
from training.settings.run import TrainingSettings

logger = logging.getLogger(__name__)

RUN_NAME = "run.json"  # in a checkpoint: the flags of its run
# Flags that change nothing of what a run computes, and may differ when it is resumed.
FREE_FLAGS = (
    "output_dir",
    "config",
    "dataloader_num_workers",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "resume_from_checkpoint",
    "allow_changes",
    "validation_steps",
    "validate_first",
    "report_to",
    "dry_run",
    "push_to_hub",
    "hub_model_id",
    "hub_token",
    "hub_private_repo",
    "hub_pictures",
)


def is_checkpoint(path: Path) -> bool:
    """Whether it is a finished checkpoint, by its name."""
    return path.is_dir() and re.fullmatch(r"checkpoint-\d+", path.name) is not None


def checkpoints(output_dir: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(path for path in output_dir.glob("checkpoint-*") if is_checkpoint(path))


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def discard(path: Path) -> None:
    """Remove a checkpoint; one that is removed in part is none by its name."""
    doomed = path.with_suffix(".old")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed)


def save_checkpoint(accelerator: Accelerator, settings: TrainingSettings, step: int, run: dict[str, Any]) -> None:
    """All state that resuming needs. It appears under its name only when it is complete; old ones go.

    Raises:
        OSError: it cannot be written, as on a full disk; what is left of it is removed, the others stay.
    """
    path = settings.output_dir / f"checkpoint-{step:06d}"
    staged = path.with_suffix(".tmp")
    if accelerator.is_main_process:
        shutil.rmtree(staged, ignore_errors=True)  # of a run that was killed here
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(staged))
        if accelerator.is_main_process:
            (staged / RUN_NAME).write_text(json.dumps(run, indent=2) + "\n")
    except (OSError, RuntimeError, SafetensorError) as error:  # each part is written by a library of its own
        shutil.rmtree(staged, ignore_errors=True)
        last = checkpoints(settings.output_dir)
        raise OSError(
            f"the checkpoint of step {step} cannot be saved: {error}. "
            + (f"The last good one is {last[-1]}" if last else "There is none from before")
        ) from error
    accelerator.wait_for_everyone()  # each process writes a part
    if accelerator.is_main_process:
        for later in [other for other in checkpoints(settings.output_dir) if other >= path]:
            discard(later)  # the run went back to an earlier one
        staged.rename(path)
        for old in checkpoints(settings.output_dir)[: -settings.saving.checkpoints_total_limit]:
            discard(old)
    accelerator.wait_for_everyone()


def find_checkpoint(settings: TrainingSettings) -> Path | None:
    """The checkpoint that `--resume_from_checkpoint` names; None to start from step 0.

    Raises:
        ValueError: it names something else; or it is not given, and the output folder holds another run's checkpoints.
    """
    wanted = settings.saving.resume_from_checkpoint
    if wanted is None:
        if checkpoints(settings.output_dir):
            raise ValueError(
                f"{settings.output_dir} holds checkpoints of an earlier run: go on with it by "
                "--resume_from_checkpoint latest, or choose another --output_dir"
            )
        return None
    if wanted == "latest":
        found = checkpoints(settings.output_dir)
        return found[-1] if found else None
    path = Path(wanted)
    if not is_checkpoint(path):
        raise ValueError(f"--resume_from_checkpoint {path} is not a checkpoint, expected 'latest' or checkpoint-STEP")
    return path


def plain(value: object) -> object:
    """A flag's value for JSON, without the folder that it lies in: data may have moved since."""
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def describe_run(settings: TrainingSettings, processes: int, data: dict[str, Any], encoder: dict[str, Any]) -> dict:
    """What decides the course of a run: flags, number of processes, data, shape of the encoder.

    Args:
        data: counts, from `LoadedData.description`.
        encoder: its config.
    """
    flags = {name: plain(value) for name, value in by_name(settings).items() if name not in FREE_FLAGS}
    encoder = {name: value for name, value in encoder.items() if not name.startswith("_")}
    run = {**flags, "number of processes": processes}
    run |= {f"data: {name}": value for name, value in data.items()}
    run |= {f"encoder: {name}": value for name, value in encoder.items()}
    return json.loads(json.dumps(run, default=str))


def check_same_run(checkpoint: Path, run: dict[str, Any]) -> None:
    """Be sure that a checkpoint is of this run.

    Raises:
        ValueError: it is of a run with other flags, data or processes; the message names the differences.
    """
    advice = "use the same, or --allow_changes to go on all the same, as a run of its own"
    try:
        saved = json.loads((checkpoint / RUN_NAME).read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{checkpoint} does not say of which run it is (no {RUN_NAME}): {advice}") from error
    nothing = object()
    # A flag that is younger than the checkpoint: that run did what it does by default.
    before = {name: plain(value) for name, value in by_name(TrainingSettings("", Path())).items()} | saved
    names = [name for name in saved | run if before.get(name, nothing) != run.get(name, nothing)]
    if names:
        there, here = (", ".join(f"{n} {values.get(n, 'not known')}" for n in names) for values in (saved, run))
        raise ValueError(f"{checkpoint} is of another run. It has: {there}. This one has: {here}. {advice}")


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
