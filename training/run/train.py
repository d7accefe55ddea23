"""A run from its settings to its model: claimed, built, trained, published."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed

from training.memory import keep_freed_memory
from training.run.build import Run, build
from training.run.checkpoints import StopSignals, check_same_run, find_checkpoint, step_of
from training.run.distributed import keep_process_group
from training.run.exports import MODEL_NAME, forget_after, read_best
from training.run.loop import train_steps
from training.run.output_folder import check_room, claimed
from training.run.plan import describe, draw_examples
from training.run.publish import claim_repository, publish
from training.settings.flags import by_name
from training.settings.precision import with_precision
from training.settings.run import TrainingSettings

SETTINGS_NAME = "training_args.json"


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Devices, precision and trackers.

    Raises:
        ValueError: a precision that the device does not have, or a tracker that is not installed.
    """
    tracker = settings.saving.report_to
    if tracker != "none" and importlib.util.find_spec(tracker) is None:  # accelerate says nothing
        raise ValueError(f"--report_to {tracker} is not installed: pip install {tracker}, or choose none")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.device.allow_tf32
    accelerator = Accelerator(
        mixed_precision=settings.device.mixed_precision,
        gradient_accumulation_steps=settings.optimizer.gradient_accumulation_steps,
        log_with=None if tracker == "none" or settings.saving.dry_run else tracker,
        project_config=ProjectConfiguration(project_dir=settings.output_dir, logging_dir=settings.output_dir / "logs"),
    )
    keep_process_group()
    return accelerator


def recorded(settings: TrainingSettings) -> dict[str, Any]:
    """Settings by the names of their flags, without what is secret or not set; --config reads them again."""
    left_out = ("hub_token", "config")
    found = {name: value for name, value in by_name(settings).items() if name not in left_out and value is not None}
    return json.loads(json.dumps(found, default=str))


def start_records(settings: TrainingSettings, accelerator: Accelerator) -> None:
    """Write the settings, and start the trackers with them."""
    found = recorded(settings)
    if accelerator.is_main_process:
        (settings.output_dir / SETTINGS_NAME).write_text(json.dumps(found, indent=2) + "\n")
    plain = {name: value if isinstance(value, int | float) else str(value) for name, value in found.items()}
    accelerator.init_trackers("psp", config=plain)


def resume(run: Run, checkpoint: Path | None) -> int:
    """Load a checkpoint of this run, if there is one; returns the step to go on from.

    Raises:
        ValueError: it is of another run.
    """
    output_dir, step = run.settings.output_dir, step_of(checkpoint) if checkpoint else 0
    if checkpoint:
        if not run.settings.saving.allow_changes:
            check_same_run(checkpoint, run.describe())
        run.accelerator.load_state(str(checkpoint))
        run.best = read_best(output_dir)
    if run.accelerator.is_main_process:
        forget_after(output_dir, step if checkpoint else -1)
    return step


def train(settings: TrainingSettings, stop: StopSignals | None = None) -> Path:
    """Run the training and return the folder of the exported model.

    Raises:
        ValueError: settings or files that cannot be used; nothing was trained.
        SystemExit: `stop` got a signal, and everything is saved; or it was a dry run.
        FloatingPointError: the loss is not finite.
        OSError: the disk has too little room, which is found out before training where that can be.
    """
    settings, stop = with_precision(settings.resolved()), stop or StopSignals()
    output_dir, hub = settings.output_dir, settings.hub
    keep_freed_memory()
    checkpoint = find_checkpoint(settings)
    accelerator = make_accelerator(settings)
    set_seed(settings.device.seed)
    if settings.saving.dry_run:
        run = build(settings, accelerator)
        accelerator.print(describe(run))
        if accelerator.is_main_process:
            accelerator.print(f"three examples, input and target: {draw_examples(run)}")
        raise SystemExit(0)
    with claimed(output_dir, accelerator):
        if hub.push_to_hub and accelerator.is_main_process:
            claim_repository(hub.hub_model_id, hub.hub_token, hub.hub_private_repo or None)
        run = build(settings, accelerator)
        first_step = resume(run, checkpoint)
        check_room(settings, run.num_parameters)
        start_records(settings, accelerator)
        accelerator.print(
            f"{len(run.data.training)} training and {len(run.data.held_out)} held-out examples, from step {first_step}"
        )
        train_steps(run, first_step, stop)
        accelerator.end_training()
        if hub.push_to_hub and accelerator.is_main_process:
            accelerator.print(f"pushed to {publish(run).commit_url}")
    return output_dir / MODEL_NAME


def main(settings: TrainingSettings) -> None:
    """Train until the end, or until a signal comes."""
    with StopSignals() as stop:
        train(settings, stop)
