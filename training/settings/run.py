"""All settings of training/train.py, named as in the training scripts of diffusers where they mean the same.

A new flag is a field with a docstring, in the group that it belongs to; `settings.<group>.<field>` reads it. What it
must fit is said in `check` of its group, which raises a ValueError that names the flag.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from psp_hub.tasks import TASKS, TaskSpec, get_task, is_of_faces, of_anything
from training.settings.data import DataSettings
from training.settings.flags import OrNone, Switch, WeightsFile, config_words, parse, refuse
from training.settings.losses import LossSettings
from training.settings.optimizer import OptimizerSettings

TASK_NAME = r"[a-z0-9]+(-[a-z0-9]+)*"
BatchNormMode = Literal["synced", "local", "frozen"]
Task = Annotated[str, tyro.conf.arg(constructor=tyro.extras.literal_type_from_choices(list(TASKS)))]


def check_task_name(name: str, flag: str) -> None:
    """Raise a ValueError unless it is a name for a task of something else than faces."""
    if not re.fullmatch(TASK_NAME, name) or is_of_faces(name):
        expected = f"lower-case letters, digits and hyphens, and none of {', '.join(TASKS)}"
        raise ValueError(f"--{flag} is {name!r}, expected {expected}")


@dataclass(frozen=True)
class ModelSettings:
    """The model."""

    pretrained_model_name_or_path: OrNone[str] = None
    """start from a saved model or a starter's name"""
    generator: str = "mobilestylegan-ffhq"
    """a built-in name or a saved folder"""
    encoder: Literal["light", "psp"] = "light"
    """of a new model; psp: the paper's"""
    head_widths: OrNone[tuple[int, int, int]] = None
    """channels of a new encoder's map2style stacks, coarse, medium and fine"""
    num_passes: OrNone[int] = None
    """from 2 on, the encoder looks again, at its face beside the picture (ReStyle); by default as the model has it"""
    face_size: OrNone[int] = None
    """pixels of that face; by default as the model has it, a new one 256"""
    residual_encoder: Switch = False
    """the passes after the first have an encoder of their own, and it alone is trained"""
    trunk_weights: WeightsFile = None
    """ArcFace IR-SE50, which the paper's encoder starts from"""


@dataclass(frozen=True)
class DeviceSettings:
    """How and where it is computed."""

    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = "auto"
    """of the encoder; auto: bf16 where the processor or the device is made for it"""
    allow_tf32: Switch = False
    """faster float32 on NVIDIA devices, less exact"""
    compile: Switch = False
    """compile the encoder, where there is a compiler"""
    batch_norm: BatchNormMode = "synced"
    """with several processes: statistics of the whole batch, of each part, or none but those it starts with"""
    seed: int = 0
    """of all that is drawn by chance"""


@dataclass(frozen=True)
class SavingSettings:
    """What is saved and shown, and when."""

    checkpointing_steps: int = 500
    """from one checkpoint to the next"""
    checkpoints_total_limit: int = 2
    """that are kept"""
    resume_from_checkpoint: OrNone[str] = None
    """a checkpoint folder, or 'latest'"""
    allow_changes: Switch = False
    """resume although flags differ from those of the checkpoint"""
    validation_steps: int = 1000
    """from one validation to the next"""
    validate_first: Switch = False
    """also before the first step"""
    report_to: Literal["tensorboard", "trackio", "wandb", "none"] = "tensorboard"
    """where figures and pictures are shown"""
    dry_run: Switch = False
    """say what would be done, show three examples, and write nothing else"""


@dataclass(frozen=True)
class HubSettings:
    """The Hugging Face Hub."""

    push_to_hub: Switch = False
    """push the exported model at the end"""
    hub_model_id: Annotated[str | None, tyro.conf.arg(metavar="OWNER/NAME", help_behavior_hint="")] = None
    """where to; made if it is missing"""
    hub_token: OrNone[str] = None
    """by default the one of `hf auth login`"""
    hub_private_repo: Switch = False
    """a new repository is private"""
    hub_pictures: Switch = False
    """show held-out pictures in the card even if they are not of a generator: be sure that you may"""


@dataclass(frozen=True)
class TrainingSettings:
    """All settings of a run."""

    task: Task
    """a row of psp_hub/tasks.py"""
    output_dir: Path
    """of all that the run writes"""
    task_name: OrNone[str] = None
    """of a model that is not of faces: a name of your own, with the inputs of --task"""
    config: OrNone[Path] = None
    """a YAML file of flags, such as `task: sketch`; the command line goes before it"""
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    losses: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    device: DeviceSettings = DeviceSettings()
    saving: SavingSettings = SavingSettings()
    hub: HubSettings = HubSettings()

    @property
    def row(self) -> TaskSpec:
        """Of the task: that of the table, or without what is for faces alone."""
        return of_anything(self.task) if self.task_name else get_task(self.task)

    def resolved(self) -> "TrainingSettings":
        """These, with the defaults of their optimiser."""
        return replace(self, optimizer=self.optimizer.resolved())

    def check(self) -> None:
        """Raise a ValueError where settings are out of range, or do not fit together."""
        for group in (self.data, self.losses, self.optimizer):
            group.check()
        if self.task_name is not None:
            check_task_name(self.task_name, "task_name")
            of_anything(self.task)
        if self.model.residual_encoder and not self.model.pretrained_model_name_or_path:
            raise ValueError("--residual_encoder needs --pretrained_model_name_or_path: an encoder for the first pass")
        networks = self.losses.networks
        if self.data.faces.faces_dir and not (networks.identity_net and networks.recogniser):
            raise ValueError("--faces_dir needs --identity_net and --recogniser: photos have no w to learn from")


def parse_args(words: Sequence[str] | None = None, description: str | None = None) -> TrainingSettings:
    """The settings of a run, resolved and checked; what cannot be used ends the program."""
    words = list(sys.argv[1:] if words is None else words)
    of_config = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    of_config.add_argument("--config", type=Path)
    path = of_config.parse_known_args(words)[0].config
    try:
        before = config_words(TrainingSettings, path) if path else []
        settings = parse(TrainingSettings, [*before, *words], description).resolved()
        settings.check()
    except ValueError as error:
        refuse(error)
    return settings
