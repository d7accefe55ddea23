"""Weights by formula: every tensor of an original pSp checkpoint, filled from its own key.

The outputs in `golden/psp.safetensors` are those of the original code with these weights (float32, on a CPU).
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

# What the original constructs and the formula leaves alone.
BLUR = torch.tensor([1.0, 3.0, 3.0, 1.0])
BLUR_KERNEL = torch.outer(BLUR, BLUR) / 64 * 4

GOLDEN_FOLDER = Path(__file__).parent / "golden"


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that belongs to a key of an original state dict."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.tensor(0)
    if leaf == "kernel":
        return BLUR_KERNEL.clone()
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    in_decoder = key.startswith("decoder.")
    if leaf == "running_var":
        return 1 + 0.1 * r.abs()
    if leaf == "running_mean":
        return 0.05 * r
    if in_decoder:
        if key.endswith("modulation.bias"):
            return 1 + 0.1 * r
        if leaf == "bias" or key.endswith("noise.weight"):
            return 0.1 * r
        return 100 * r if key.startswith("decoder.style.") and leaf == "weight" else r
    if "linear" in key and leaf == "weight":
        return r
    if len(shape) >= 2:
        return r / shape[1:].numel() ** 0.5
    return 0.8 + 0.1 * r if leaf == "weight" else 0.05 * r


def fill_all(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A whole state dict from its shapes."""
    return {key: fill(key, torch.Size(shape)) for key, shape in shapes.items()}


def latent_avg(rows: int) -> Tensor:
    """The average latent of the original checkpoint, [rows, 512]."""
    return 0.3 * torch.randn(rows, 512, generator=torch.Generator().manual_seed(zlib.crc32(b"latent_avg")))


def original_input(channels: int) -> Tensor:
    """The picture that the original encoded, [1, channels, 256, 256] in [-1, 1]."""
    return torch.rand(1, channels, 256, 256, generator=torch.Generator().manual_seed(7)) * 2 - 1


def original_outputs() -> dict[str, Tensor]:
    """What the original answered."""
    return load_file(GOLDEN_FOLDER / "psp.safetensors")


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest absolute value."""
    return float((actual - expected).abs().max() / expected.abs().max())
