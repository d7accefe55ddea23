"""What a run has written."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training import train as program

SCRIPT = Path(program.__file__)
EMA, SCHEDULER = "custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl"


def names(output_dir: Path) -> list[str]:
    return sorted(path.name for path in output_dir.glob("checkpoint-*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def equal(one: object, other: object) -> bool:
    """Bit for bit, for what a checkpoint holds."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def state(checkpoint: Path) -> dict:
    parts = {name: torch.load(checkpoint / name, weights_only=False) for name in ("optimizer.bin", EMA, SCHEDULER)}
    return parts | {"model": load_file(checkpoint / "model.safetensors")}
