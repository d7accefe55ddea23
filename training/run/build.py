"""What a run is made of: model, losses, data, optimiser, each from its settings."""

import logging
from collections.abc import Mapping
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
from psp_hub.model import PSPModel, load_model
from psp_hub.passes import FACE_CHANNELS
from psp_hub.tasks import TaskSpec
from psp_hub.trunk import Trunk
from training.data.batches import StepBatches
from training.data.loading import LoadedData, load_data
from training.losses import TrainingLosses, build_losses
from training.networks.arcface import ArcFace
from training.networks.recognisers import Recogniser, load_recogniser
from training.run.checkpoints import describe_run
from training.run.distributed import freeze_batch_norm, prepare_batch_norm
from training.run.optimizers import build_optimizer, build_scheduler, ema_update
from training.settings.run import ModelSettings, TrainingSettings

logger = logging.getLogger(__name__)

ENCODERS = {"light": {}, "psp": PSP}
PHOTO_KINDS = ("photo", "masked")


@dataclass
class Run:
    """All that a training works on."""

    settings: TrainingSettings
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
        return self.accelerator.num_processes * self.settings.optimizer.gradient_accumulation_steps

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.ema.module.parameters())

    def describe(self) -> dict[str, Any]:
        """What decides its course, see `describe_run`."""
        config = dict(self.model.encoder.config)
        return describe_run(self.settings, self.accelerator.num_processes, self.data.description, config)

    def batches(self, first_step: int) -> StepBatches:
        """The keys of all batches of all processes, from a step to the end."""
        optimizer, seed = self.settings.optimizer, self.settings.device.seed
        steps = (first_step, optimizer.max_train_steps, self.settings.data.pairs.gentle_steps)
        numbers = (step * self.batches_per_step for step in steps)
        return StepBatches(self.data.training, optimizer.train_batch_size, seed, *numbers, self.batches_per_step)

    def loader(self, batches: StepBatches) -> DataLoader:
        """This process's part of the batches."""
        workers = self.settings.data.num_workers
        loader = DataLoader(self.data.data, batch_sampler=batches, num_workers=workers, pin_memory=False)
        return self.accelerator.prepare(loader)

    def train_mode(self) -> None:
        self.encoder.train()
        if self.settings.device.batch_norm == "frozen":
            freeze_batch_norm(self.encoder)


def build_model(settings: TrainingSettings) -> PSPModel:
    """The model to train for a task: a saved one, or a fresh encoder for the generator.

    A saved model of a task with other inputs gives all but its stem; of that, the channels that both have.

    Raises:
        ValueError: a saved one that cannot be loaded, or weights of another trunk.
    """
    task_name, task, wanted = settings.task_name or settings.task, settings.row, settings.model
    start = wanted.pretrained_model_name_or_path
    if start:
        model = load_model(start)
        passes = passes_of(wanted, model.config)
        config = PSPConfig(task_name, task.input_kind, model.config.base_generator, **passes)
        kept = kept_channels(model, task, config)
        channels = encoder_channels(task, config.num_passes)
        if channels != model.encoder.config.in_channels or len(kept) < channels:
            logger.warning(
                "%s takes %d channels, the task %r has %d: %s",
                *(start, model.in_channels, task_name, task.in_channels),
                "the first convolution starts with what they share" if kept else "the first convolution starts anew",
            )
            model.encoder = with_new_stem(model.encoder, task, config.num_passes, kept)
        model.config = config
        return model
    generator, passes = load_generator(wanted.generator), passes_of(wanted, PSPConfig(task_name))
    sizes = {
        "in_channels": encoder_channels(task, passes["num_passes"]),
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
    }
    if wanted.encoder == "light":
        sizes["stem_kernel"] = stem_kernel(task)
    if wanted.head_widths:
        sizes["head_widths"] = wanted.head_widths
    encoder = PSPEncoder(**ENCODERS[wanted.encoder] | sizes)
    if wanted.trunk_weights:
        start_trunk(encoder.trunk, load_recogniser(wanted.trunk_weights))
    config = PSPConfig(task_name, task.input_kind, pin_generator(wanted.generator), **passes)
    return PSPModel(encoder, generator, config)


def passes_of(settings: ModelSettings, config: PSPConfig) -> dict[str, int]:
    """`num_passes` and `face_size` of a run: as the settings say, else as the config that it starts from does."""
    given = {"num_passes": settings.num_passes, "face_size": settings.face_size}
    return {name: getattr(config, name) if value is None else value for name, value in given.items()}


def encoder_channels(task: TaskSpec, num_passes: int) -> int:
    return task.in_channels + (FACE_CHANNELS if num_passes > 1 else 0)


def kept_channels(model: PSPModel, task: TaskSpec, config: PSPConfig) -> dict[int, int]:
    """Input channels of the new encoder that the old one knows, and which of its own they are."""
    old, new = model.in_channels, task.in_channels
    if old == new and model.config.input_kind == task.input_kind:
        kept = {i: i for i in range(old)}
    elif {model.config.input_kind, task.input_kind} <= set(PHOTO_KINDS):
        kept = {i: i for i in range(min(old, new))}  # red, green and blue come first
    else:
        kept = {}
    if kept and min(model.config.num_passes, config.num_passes) > 1:
        kept |= {new + i: old + i for i in range(FACE_CHANNELS)}
    return kept


def own_config(encoder: PSPEncoder) -> dict[str, Any]:
    """Without diffusers' private entries: one of them resets what an older config.json did not say."""
    return {name: value for name, value in encoder.config.items() if not name.startswith("_")}


def stem_kernel(task: TaskSpec) -> int:
    """Of the light encoder: label maps are flat, and have many channels."""
    return 1 if task.input_kind == "labels" else 3


def with_new_stem(encoder: PSPEncoder, task: TaskSpec, num_passes: int, kept: Mapping[int, int]) -> PSPEncoder:
    """The encoder for other inputs: its first convolution starts with the channels it keeps, or else anew.

    Args:
        kept: new channels to old ones. The others start at zero: they change nothing at first.
    """
    changes = {"in_channels": encoder_channels(task, num_passes)}
    if encoder.config.stem_stride > 1 and not kept:
        changes["stem_kernel"] = stem_kernel(task)
    new = PSPEncoder(**own_config(encoder) | changes)
    state, fresh = encoder.state_dict(), new.state_dict()
    if kept:
        name, folded = "trunk.stem.0.weight", encoder.config.stem_stride**2
        old_weight = state[name].unflatten(1, (-1, folded))  # [width, C, folded pixels, 3, 3]
        weight = torch.zeros_like(fresh[name].unflatten(1, (-1, folded)))
        for new_channel, old_channel in kept.items():
            weight[:, new_channel] = old_weight[:, old_channel]
        state[name] = weight.flatten(1, 2)
    else:
        state |= {name: value for name, value in fresh.items() if name.startswith("trunk.stem.")}
    new.load_state_dict(state)
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


def build(settings: TrainingSettings, accelerator: Accelerator) -> Run:
    """Build all parts, on the device.

    Raises:
        ValueError: settings that do not go together, files that cannot be used.
    """
    model = build_model(settings)
    model.generator.requires_grad_(False).to(accelerator.device)
    task = settings.row
    pairs = settings.data.pairs
    losses = build_losses(settings.losses, task, model, pairs.given, pairs.attributes)
    if settings.data.augmentation.relit_pairs and losses.weights.keys() <= {"w", "identity", "w_norm"}:
        raise ValueError("--relit_pairs needs an image loss, such as --l2_weight 1: relit faces have no known w")
    data = load_data(settings, task, model.generator)
    encoder = model.encoder.train().requires_grad_(True).to(memory_format=torch.channels_last)
    encoder = prepare_batch_norm(encoder, settings.device.batch_norm, accelerator.device, accelerator.num_processes)
    optimizer = build_optimizer(settings.optimizer, encoder.parameters())
    scheduler = build_scheduler(settings.optimizer, optimizer)
    encoder, optimizer = accelerator.prepare(encoder, optimizer)
    # Batch norm statistics are averaged too: the exported encoder is made of nothing else.
    update = ema_update(settings.optimizer.ema_decay)
    average = AveragedModel(accelerator.unwrap_model(encoder), avg_fn=update, use_buffers=True)
    accelerator.register_for_checkpointing(average, scheduler)
    if settings.device.compile:
        compile_encoder(accelerator.unwrap_model(encoder))
    run = Run(settings, accelerator, model, encoder, optimizer, scheduler, average, losses, data)
    run.train_mode()
    return run
