"""What a run is going to do, without doing it: `training/train.py --dry_run`."""

import copy
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from psp_hub.config import ENCODER_SIZE
from psp_hub.images.preprocessing import tensor_to_images
from training.losses import TrainingLosses
from training.run.build import Run
from training.run.output_folder import needed_bytes
from training.run.validation import visible

# Bytes of a parameter while it is trained: itself, its gradient, its moving average, the state of the optimiser.
BYTES_PER_PARAMETER = {"adamw": 5 * 4, "ranger": 6 * 4, "soap": 34}
EXAMPLES = 2  # that the activations of one are measured on


def activation_bytes(encoder: nn.Module, losses: TrainingLosses | None = None, autocast: bool = False) -> int:
    """Bytes that one example leaves in memory between the forward and the backward pass.

    Args:
        encoder: a `PSPEncoder`.
        losses: count what they, and the generator for them, leave as well.
        autocast: the encoder runs in bfloat16.
    """
    sizes: dict[int, int] = {}
    parameters = {parameter.data_ptr() for module in (encoder, losses) if module for parameter in module.parameters()}
    kept: list[Tensor] = []  # until the end, so that no address is used twice

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept.append(tensor)
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    encoder = copy.deepcopy(encoder).train()  # the statistics of its batch norms stay as they are
    parameters |= {parameter.data_ptr() for parameter in encoder.parameters()}
    x = torch.zeros(EXAMPLES, encoder.config.in_channels, ENCODER_SIZE, ENCODER_SIZE, device=encoder.device)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            delta = encoder(x)
        if losses is not None:
            losses(delta.float(), example_batch(x, delta, losses))
    return sum(sizes.values()) // EXAMPLES


def example_batch(x: Tensor, delta: Tensor, losses: TrainingLosses) -> dict[str, Tensor]:
    """A grey picture of the mean face's style."""
    return {
        "input": x,
        "image": torch.zeros(len(x), 3, ENCODER_SIZE, ENCODER_SIZE, device=x.device),
        "w": losses.generator.w_avg.detach().float().expand(len(x), -1) + 1,
        "has_w": torch.ones(len(x), dtype=torch.bool, device=x.device),
    }


def describe(run: Run) -> str:
    """The plan, for people."""
    settings, optimizer, processes = run.settings, run.settings.optimizer, run.accelerator.num_processes
    precision = settings.device.mixed_precision
    per_step = optimizer.train_batch_size * run.batches_per_step
    pictures = optimizer.train_batch_size * activation_bytes(run.ema.module, run.losses, autocast=precision != "no")
    frozen = sum(parameter.numel() * parameter.element_size() for parameter in run.losses.parameters())
    memory = (run.num_parameters * BYTES_PER_PARAMETER[optimizer.optimizer] + pictures + frozen) / 2**30
    kinds = {name: value for name, value in run.data.description.items() if name not in ("training", "held out")}
    counts = ", ".join(f"{value:,} {name}" for name, value in kinds.items() if value)
    weights = ", ".join(f"{weight:g} {name}" for name, weight in run.losses.weights.items())
    num_training, num_held_out = len(run.data.training), len(run.data.held_out)
    rate = f"{optimizer.learning_rate:g}, {optimizer.lr_scheduler}"
    return "\n".join(
        [
            f"task: {settings.task}",
            f"encoder: {run.num_parameters:,} parameters",
            f"generator: {sum(p.numel() for p in run.model.generator.parameters()):,} frozen parameters",
            f"data: {num_training:,} training and {num_held_out:,} held-out examples ({counts})",
            f"losses: {weights}",
            f"optimiser: {optimizer.optimizer}, learning rate {rate}, {precision} mixed precision",
            f"steps: {optimizer.max_train_steps:,} of {per_step} examples "
            f"({optimizer.max_train_steps * per_step / num_training:.1f} epochs, processes: {processes})",
            f"memory: about {memory:.2f} GiB a process for the networks, the optimiser and a batch",
            f"disk: about {needed_bytes(settings, run.num_parameters) / 2**30:.2f} GiB",
            f"output: {settings.output_dir}",
        ]
    )


def draw_examples(run: Run) -> Path:
    """Three training examples as the first epoch has them, input and target side by side, as a new temporary file."""
    positions = run.data.training
    rows = []
    for position in (positions[0], positions[len(positions) // 2], positions[-1]):
        example = run.data.data[0, position]
        rows.append(torch.cat([visible(example["input"][None].float()), example["image"][None]], dim=3))
    file, name = tempfile.mkstemp(prefix="psp-hub-examples-", suffix=".png")
    with os.fdopen(file, "wb") as stream:
        tensor_to_images(torch.cat(rows, dim=2))[0].save(stream, "PNG")  # [1, 3, 768, 512]
    return Path(name)
