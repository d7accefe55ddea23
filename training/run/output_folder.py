"""The folder of a run: one run at a time, and room for what it will write. Both are found out before training."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from filelock import FileLock, Timeout

from training.run.checkpoints import checkpoints
from training.settings.run import TrainingSettings

LOCK_NAME, OWNER_NAME = ".lock", ".owner"
# Bytes of a trained parameter in a checkpoint: itself, its moving average, the state of the optimiser.
CHECKPOINT_BYTES = {"adamw": 4 + 4 + 8, "ranger": 4 + 4 + 12, "soap": 4 + 4 + 22}
EXPORT_BYTES = 2 * 4  # the best model, and the next one while it is written
SPARE_BYTES = 64 * 2**20  # logs, pictures, what else the disk is used for


@contextmanager
def claimed(output_dir: Path, accelerator: Accelerator) -> Iterator[None]:
    """Context in which the folder, made where it is missing, is this run's alone.

    The lock is the operating system's: it goes with the process, however that ends.

    Raises:
        ValueError: another run writes there.
        OSError: the folder cannot be written.
    """
    if not accelerator.is_main_process:
        yield
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(output_dir / LOCK_NAME), output_dir / OWNER_NAME
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        name = owner.read_text().strip() if owner.exists() else "another process"
        raise ValueError(f"{output_dir} is in use by {name}: choose another --output_dir, or wait for it") from error
    try:
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def needed_bytes(settings: TrainingSettings, num_parameters: int) -> int:
    """What a run will write at most, beyond the checkpoints that are there already."""
    at_once = settings.saving.checkpoints_total_limit + 1  # the new one is complete before an old one goes
    missing = max(1, at_once - len(checkpoints(settings.output_dir)))
    per_parameter = missing * CHECKPOINT_BYTES[settings.optimizer.optimizer] + EXPORT_BYTES
    return num_parameters * per_parameter + SPARE_BYTES


def check_room(settings: TrainingSettings, num_parameters: int) -> None:
    """Be sure that the disk has room for the checkpoints and the export.

    Raises:
        OSError: too little.
    """
    needed, free = needed_bytes(settings, num_parameters), shutil.disk_usage(settings.output_dir).free
    if free < needed:
        raise OSError(
            f"{settings.output_dir} has {free / 2**30:.2f} GiB free, and the run needs about {needed / 2**30:.2f} GiB "
            f"with {settings.saving.checkpoints_total_limit} checkpoints kept (--checkpoints_total_limit)"
        )
