"""What a run is made of: model, losses, data, optimiser, each from its settings."""

import logging
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from psp_hub.model import PSPModel
from training.data.batches import StepBatches
from training.data.loading import LoadedData, load_data
from training.losses import TrainingLosses, build_losses
from training.run.checkpoints import describe_run
from training.run.distributed import freeze_batch_norm, prepare_batch_norm
from training.run.optimizers import build_optimizer, build_scheduler, ema_update
from training.run.start import build_model
from training.settings.run import TrainingSettings

logger = logging.getLogger(__name__)


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
        if given_passes(self.model):
            encoder = self.accelerator.unwrap_model(self.encoder)
            encoder.eval()
            encoder.residual_encoder.train()
        if self.settings.device.batch_norm == "frozen":
            freeze_batch_norm(self.encoder)


def given_passes(model: PSPModel) -> int:
    """How many of the passes are not trained: the first, where those after it have an encoder of their own."""
    return int(model.encoder.residual_encoder is not None and model.config.num_passes > 1)


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
    if given_passes(model):
        encoder.requires_grad_(False)
        encoder.residual_encoder.requires_grad_(True)
    optimizer = build_optimizer(settings.optimizer, [p for p in encoder.parameters() if p.requires_grad])
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
