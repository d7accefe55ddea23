"""Train the encoder of a task; the generator stays frozen.

    accelerate launch training/train.py --task sketch --pairs_dir pairs --output_dir runs/sketch

Pictures of the generator have a known w, which is the supervision: its error is in units of the spread of w, and 1 is
the mean face. Photos (--target_dir, --dataset_name) are compared with the pictures that the generator draws. Run the
same command with `--resume_from_checkpoint latest` to go on where it stopped.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed

from psp_hub.memory import keep_freed_memory
from training.run.arguments import parse_args
from training.run.build import Run, build
from training.run.checkpoints import StopSignals, check_same_run, find_checkpoint, step_of
from training.run.distributed import keep_process_group
from training.run.ending import run_to_exit
from training.run.exports import MODEL_NAME, forget_after, read_best
from training.run.loop import train_steps
from training.run.output_folder import check_room, claimed
from training.run.plan import describe, draw_examples
from training.run.publish import claim_repository, publish

ARGUMENTS_NAME = "training_args.json"


def make_accelerator(args: argparse.Namespace) -> Accelerator:
    """Devices, precision and trackers.

    Raises:
        ValueError: a precision that the device does not have, or a tracker that is not installed.
    """
    if args.report_to != "none" and importlib.util.find_spec(args.report_to) is None:  # accelerate says nothing
        raise ValueError(
            f"--report_to {args.report_to} is not installed: pip install {args.report_to}, or choose none"
        )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.allow_tf32
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        log_with=None if args.report_to == "none" or args.dry_run else args.report_to,
        project_config=ProjectConfiguration(project_dir=args.output_dir, logging_dir=args.output_dir / "logs"),
    )
    keep_process_group()
    return accelerator


def start_records(args: argparse.Namespace, accelerator: Accelerator) -> None:
    """Write the flags, and start the trackers with them."""
    settings = {name: value if isinstance(value, int | float) else str(value) for name, value in vars(args).items()}
    settings.pop("hub_token")
    if accelerator.is_main_process:
        (args.output_dir / ARGUMENTS_NAME).write_text(json.dumps(settings, indent=2) + "\n")
    accelerator.init_trackers("psp", config=settings)


def resume(run: Run, checkpoint: Path | None) -> int:
    """Load a checkpoint of this run, if there is one; returns the step to go on from.

    Raises:
        ValueError: it is of another run.
    """
    step = step_of(checkpoint) if checkpoint else 0
    if checkpoint:
        if not run.args.allow_changes:
            check_same_run(checkpoint, run.describe())
        run.accelerator.load_state(str(checkpoint))
        run.best = read_best(run.args.output_dir)
    if run.accelerator.is_main_process:
        forget_after(run.args.output_dir, step if checkpoint else -1)
    return step


def train(args: argparse.Namespace, stop: StopSignals | None = None) -> Path:
    """Run the training and return the folder of the exported model.

    Raises:
        ValueError: flags or files that cannot be used; nothing was trained.
        SystemExit: `stop` got a signal, and everything is saved; or it was a dry run.
        FloatingPointError: the loss is not finite.
        OSError: the disk has too little room, which is found out before training where that can be.
    """
    stop = stop or StopSignals()
    keep_freed_memory()
    checkpoint = find_checkpoint(args)
    accelerator = make_accelerator(args)
    set_seed(args.seed)
    if args.dry_run:
        run = build(args, accelerator)
        accelerator.print(describe(run))
        if accelerator.is_main_process:
            accelerator.print(f"three examples, input and target: {draw_examples(run)}")
        raise SystemExit(0)
    with claimed(args.output_dir, accelerator):
        if args.push_to_hub and accelerator.is_main_process:
            claim_repository(args.hub_model_id, args.hub_token, args.hub_private_repo or None)
        run = build(args, accelerator)
        first_step = resume(run, checkpoint)
        check_room(args, run.num_parameters)
        start_records(args, accelerator)
        accelerator.print(
            f"{len(run.data.training)} training and {len(run.data.held_out)} held-out examples, from step {first_step}"
        )
        train_steps(run, first_step, stop)
        accelerator.end_training()
        if args.push_to_hub and accelerator.is_main_process:
            accelerator.print(f"pushed to {publish(run).commit_url}")
    return args.output_dir / MODEL_NAME


def main(args: argparse.Namespace) -> None:
    with StopSignals() as stop:
        train(args, stop)


if __name__ == "__main__":
    run_to_exit(lambda: main(parse_args(description=__doc__)))
