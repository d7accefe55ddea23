"""What a run is going to do, without doing it: `training/train.py --dry_run`."""

import argparse
import copy

import torch
from torch import Tensor, nn

from psp_hub.encoder import INPUT_SIZE, PSPEncoder

# Bytes of a parameter while it is trained: itself, its gradient, two moments of AdamW, its moving average.
BYTES_PER_PARAMETER = 5 * 4


def activation_bytes(encoder: PSPEncoder, autocast: bool) -> int:
    """Bytes that one picture leaves in memory between the forward and the backward pass."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    encoder = copy.deepcopy(encoder).train()  # the statistics of its batch norms stay as they are
    x = torch.zeros(2, encoder.config.in_channels, INPUT_SIZE, INPUT_SIZE, device=encoder.device)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast(x.device.type, torch.bfloat16, enabled=autocast),
    ):
        kept = encoder(x)
    del kept
    return sum(sizes.values()) // len(x)


def describe(
    args: argparse.Namespace, encoder: PSPEncoder, num_training: int, num_held_out: int, num_processes: int
) -> str:
    """The plan, for people."""
    num_parameters = sum(parameter.numel() for parameter in encoder.parameters())
    per_step = args.train_batch_size * args.gradient_accumulation_steps * num_processes
    pictures = args.train_batch_size * activation_bytes(encoder, args.mixed_precision == "bf16")
    memory = (num_parameters * BYTES_PER_PARAMETER + pictures) / 2**30
    return "\n".join(
        [
            f"task: {args.task}",
            f"encoder: {num_parameters:,} parameters",
            f"data: {num_training:,} training and {num_held_out:,} held-out examples",
            f"steps: {args.max_train_steps:,} of {per_step} examples "
            f"({args.max_train_steps * per_step / num_training:.1f} epochs, {num_processes} processes)",
            f"memory: about {memory:.2f} GiB a process for the encoder, its optimizer and a batch",
            f"output: {args.output_dir}",
        ]
    )
