"""What a run is made of: model, losses, data, optimiser, each from the flags."""

import argparse
import logging
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from psp_hub.config import PSPConfig
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.generators import load_generator, pin_generator
from psp_hub.model import PSPModel
from psp_hub.tasks import TaskSpec, get_task
from psp_hub.trunk import Trunk
from training.arcface import ArcFace
from training.checkpoints import describe_run
from training.data import StepBatches
from training.data_loading import LoadedData, load_data
from training.distributed import freeze_batch_norm, prepare_batch_norm
from training.losses import TrainingLosses, build_losses
from training.optimizers import build_optimizer, build_scheduler, ema_update
from training.recognisers import Recogniser, load_recogniser
from training.validation import load_model

logger = logging.getLogger(__name__)

ENCODERS = {"light": {}, "psp": PSP}


@dataclass
class Run:
    """All that a training works on."""

    args: argparse.Namespace
    accelerator: Accelerator
    model: PSPModel  # as it was built; its generator is frozen
    encoder: nn.Module  # prepared by accelerate
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    ema: AveragedModel
    losses: TrainingLosses
    data: LoadedData
    best: dict[str, Any] = field(default_factory=dict)  # of the exported model: its step and figures

    @property
    def batches_per_step(self) -> int:
        return self.accelerator.num_processes * self.args.gradient_accumulation_steps

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.ema.module.parameters())

    def describe(self) -> dict[str, Any]:
        """What decides its course, see `describe_run`."""
        config = dict(self.model.encoder.config)
        return describe_run(self.args, self.accelerator.num_processes, self.data.description, config)

    def batches(self, first_step: int) -> StepBatches:
        """The keys of all batches of all processes, from a step to the end."""
        steps = (first_step, self.args.max_train_steps, self.args.gentle_steps)
        numbers = (step * self.batches_per_step for step in steps)
        args = self.args
        return StepBatches(self.data.training, args.train_batch_size, args.seed, *numbers, self.batches_per_step)

    def loader(self, batches: StepBatches) -> DataLoader:
        """This process's part of the batches."""
        workers = self.args.dataloader_num_workers
        loader = DataLoader(self.data.data, batch_sampler=batches, num_workers=workers, pin_memory=False)
        return self.accelerator.prepare(loader)

    def train_mode(self) -> None:
        self.encoder.train()
        if self.args.batch_norm == "frozen":
            freeze_batch_norm(self.encoder)


def build_model(args: argparse.Namespace) -> PSPModel:
    """The model to train: a saved one, or a fresh encoder for the generator.

    A saved model of a task with other inputs gives all but its stem.

    Raises:
        ValueError: a saved one that cannot be loaded, or weights of another trunk.
    """
    task = get_task(args.task)
    if args.pretrained_model_name_or_path:
        model = load_model(args.pretrained_model_name_or_path)
        channels = model.encoder.config.in_channels
        if channels != task.in_channels:
            logger.warning(
                "%s takes %d channels, the task %r has %d: all but the first convolution starts from it",
                *(args.pretrained_model_name_or_path, channels, args.task, task.in_channels),
            )
            model.encoder = with_new_stem(model.encoder, task)
        model.config = PSPConfig(args.task, task.input_kind, model.config.base_generator)
        return model
    generator = load_generator(args.generator)
    sizes = {"in_channels": task.in_channels, "num_ws": generator.num_ws, "w_dim": generator.w_dim}
    if args.encoder == "light":
        sizes["stem_kernel"] = stem_kernel(task)
    if args.head_widths:
        sizes["head_widths"] = tuple(args.head_widths)
    encoder = PSPEncoder(**ENCODERS[args.encoder] | sizes)
    if args.trunk_weights:
        start_trunk(encoder.trunk, load_recogniser(args.trunk_weights))
    return PSPModel(encoder, generator, PSPConfig(args.task, task.input_kind, pin_generator(args.generator)))


def stem_kernel(task: TaskSpec) -> int:
    """Of the light encoder: label maps are flat, and have many channels."""
    return 1 if task.input_kind == "labels" else 3


def with_new_stem(encoder: PSPEncoder, task: TaskSpec) -> PSPEncoder:
    """The encoder for the inputs of another task: its first convolution starts anew."""
    changes = {"in_channels": task.in_channels}
    if encoder.config.stem_stride > 1:
        changes["stem_kernel"] = stem_kernel(task)
    # Without diffusers' private entries: one of them resets what an older config.json did not say.
    config = {name: value for name, value in encoder.config.items() if not name.startswith("_")}
    new = PSPEncoder(**config | changes)
    old_weights = {name: value for name, value in encoder.state_dict().items() if not name.startswith("trunk.stem.")}
    new.load_state_dict(new.state_dict() | old_weights)
    return new


def start_trunk(trunk: Trunk, recogniser: Recogniser) -> None:
    """Let a trunk start as that of a face recogniser (pSp, section 3.1), except for a stem of other channels.

    Raises:
        ValueError: another recogniser, or a trunk of another shape.
    """
    if not isinstance(recogniser, ArcFace):
        raise ValueError(f"--trunk_weights are of {type(recogniser).__name__}, expected ArcFace IR-SE50")
    state = recogniser.trunk.state_dict()
    if trunk.stem[0].in_channels != recogniser.trunk.stem[0].in_channels:
        state |= {name: value for name, value in trunk.state_dict().items() if name.startswith("stem.")}
    try:
        trunk.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError("--trunk_weights are of an IR-SE50: they need --encoder psp") from error


def compile_encoder(encoder: nn.Module) -> bool:
    """Compile an encoder in place, so that its weights keep their names; False where there is no compiler."""
    try:
        torch.compile(torch.sin)(torch.zeros(8, device=next(encoder.parameters()).device))
    except RuntimeError as error:  # what torch.compile raises, whatever is missing
        logger.warning("no working compiler, --compile is left out: %s", str(error).strip().splitlines()[0])
        return False
    encoder.compile()
    return True


def build(args: argparse.Namespace, accelerator: Accelerator) -> Run:
    """Build all parts, on the device.

    Raises:
        ValueError: flags that do not go together, files that cannot be used.
    """
    model = build_model(args)
    model.generator.requires_grad_(False).to(accelerator.device)
    task = get_task(args.task)
    losses = build_losses(args, task, model)
    data = load_data(args, task, model.generator)
    encoder = model.encoder.train().requires_grad_(True).to(memory_format=torch.channels_last)
    encoder = prepare_batch_norm(encoder, args.batch_norm, accelerator.device, accelerator.num_processes)
    optimizer = build_optimizer(args, encoder.parameters())
    scheduler = build_scheduler(args, optimizer)
    encoder, optimizer = accelerator.prepare(encoder, optimizer)
    # Batch norm statistics are averaged too: the exported encoder is made of nothing else.
    average = AveragedModel(accelerator.unwrap_model(encoder), avg_fn=ema_update(args.ema_decay), use_buffers=True)
    accelerator.register_for_checkpointing(average, scheduler)
    if args.compile:
        compile_encoder(accelerator.unwrap_model(encoder))
    run = Run(args, accelerator, model, encoder, optimizer, scheduler, average, losses, data)
    run.train_mode()
    return run
