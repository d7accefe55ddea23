"""The flags of training/train.py, named as in the training scripts of diffusers where they mean the same."""

import argparse
from pathlib import Path

from psp_hub.tasks import TASKS
from training.data.loading import add_data_arguments, check_data_arguments
from training.losses import add_loss_arguments
from training.run.distributed import BATCH_NORM_MODES
from training.run.optimizers import add_optimizer_arguments, fill_recipe

TRACKERS = ("tensorboard", "trackio", "wandb", "none")


def build_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    add_model_arguments(parser)
    add_data_arguments(parser)
    add_loss_arguments(parser)
    add_optimizer_arguments(parser)
    add_device_arguments(parser)
    add_saving_arguments(parser)
    add_hub_arguments(parser)
    return parser


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--pretrained_model_name_or_path", help="start from a saved model or a starter's name")
    group.add_argument("--generator", default="mobilestylegan-ffhq", help="a built-in name or a saved folder")
    group.add_argument("--encoder", choices=["light", "psp"], default="light", help="of a new model; psp: the paper's")
    group.add_argument(
        "--head_widths",
        type=int,
        nargs=3,
        metavar="WIDTH",
        help="channels of a new encoder's map2style stacks, coarse, medium and fine",
    )
    group.add_argument(
        "--num_passes",
        type=int,
        help="from 2 on, the encoder looks again, at its face beside the picture (ReStyle); by default as the model "
        "has it, a new one 1",
    )
    group.add_argument(
        "--face_size", type=int, help="pixels of that face; by default as the model has it, a new one 256"
    )
    group.add_argument(
        "--trunk_weights", metavar="FILE", help="ArcFace IR-SE50, which the paper's encoder starts from"
    )


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("device")
    group.add_argument("--mixed_precision", choices=["no", "fp16", "bf16"], default="bf16")
    group.add_argument("--allow_tf32", action="store_true", help="faster float32 on NVIDIA devices, less exact")
    group.add_argument("--compile", action="store_true", help="compile the encoder, where there is a compiler")
    group.add_argument(
        "--batch_norm",
        choices=BATCH_NORM_MODES,
        default="synced",
        help="with several processes: statistics of the whole batch, of each part, or none but those it starts with",
    )
    group.add_argument("--seed", type=int, default=0)


def add_saving_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("saving and seeing")
    group.add_argument("--checkpointing_steps", type=int, default=500)
    group.add_argument("--checkpoints_total_limit", type=int, default=2)
    group.add_argument("--resume_from_checkpoint", help="a checkpoint folder, or 'latest'")
    group.add_argument(
        "--allow_changes", action="store_true", help="resume although flags differ from those of the checkpoint"
    )
    group.add_argument("--validation_steps", type=int, default=1000)
    group.add_argument("--validate_first", action="store_true", help="also before the first step")
    group.add_argument("--report_to", choices=TRACKERS, default="tensorboard")
    group.add_argument(
        "--dry_run", action="store_true", help="say what would be done, show three examples, and write nothing else"
    )


def add_hub_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Hub")
    group.add_argument("--push_to_hub", action="store_true", help="push the exported model at the end")
    group.add_argument("--hub_model_id", metavar="OWNER/NAME", help="where to; made if it is missing")
    group.add_argument("--hub_token", help="by default the one of `hf auth login`")
    group.add_argument("--hub_private_repo", action="store_true")
    group.add_argument(
        "--hub_pictures",
        action="store_true",
        help="show held-out pictures in the card even if they are not of a generator: be sure that you may",
    )


def parse_args(args: list[str] | None = None, description: str | None = None) -> argparse.Namespace:
    """The flags of a run, with the defaults of its optimiser; what does not fit together ends the program."""
    parser = build_parser(description)
    parsed = parser.parse_args(args)
    fill_recipe(parsed, parser)
    try:
        check_data_arguments(parsed)
    except ValueError as error:
        parser.error(str(error))
    return parsed
