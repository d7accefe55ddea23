"""Perceptual distance: the unweighted features of a VGG16, through the `lpips` package."""

import importlib.util
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from training.networks import freeze


def make_torchvision_importable() -> None:
    """Declare torchvision's compiled operations where they cannot be loaded.

    The package index pairs a CPU build of torch with a CUDA build of torchvision; lpips imports torchvision for its
    Python code alone, so it is enough that the operations exist. Nothing is done on a healthy installation.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or "torchvision" in sys.modules:
        return
    root = Path(next(iter(spec.submodule_search_locations)))
    try:
        torch.ops.load_library(str(next(root.glob("_C*"))))
    except (OSError, StopIteration):
        source = (root / "_meta_registrations.py").read_text(encoding="utf-8")
        for name in sorted(set(re.findall(r'register_fake\("torchvision::(\w+)"\)', source))):
            torch.library.define(f"torchvision::{name}", "(Tensor x) -> Tensor")


class PerceptualDistance(nn.Module):
    """Mean squared difference of unit-length VGG16 features, summed over five layers.

    The learned weights of LPIPS belong to another VGG16, so they are left out: call the figure perceptual, not LPIPS.

    Args:
        trunk: safetensors with the convolutions of a VGG16 under torchvision's names (`features.N.weight`).

    Raises:
        ValueError: the file lacks some of them.
    """

    def __init__(self, trunk: str | Path):
        super().__init__()
        make_torchvision_importable()
        import lpips  # a heavy import that only this module needs

        self.net = lpips.LPIPS(net="vgg", lpips=False, pnet_rand=True, verbose=False)
        stored = load_file(trunk)
        # lpips splits the trunk into slices, and keeps torchvision's numbers inside them.
        names = {key: f"features.{key.split('.', 1)[1]}" for key in self.net.net.state_dict()}
        if missing := sorted(set(names.values()) - stored.keys()):
            raise ValueError(f"{trunk} lacks {missing}, expected the convolutions of a VGG16")
        self.net.net.load_state_dict({key: stored[name].float() for key, name in names.items()}, strict=True)
        freeze(self)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances [N] between images [N, 3, H, W] in [-1, 1]."""
        return self.net(x, y).flatten()
