"""Where the parts of a face are, read off the generator's own features: styles in, label map out, without the picture.

The features of 32 pixels already hold the layout of the face, at a small part of the cost of the picture. A small head
turns them into a label map (the idea of DatasetGAN, Zhang et al. 2021); gradients pass through it into the styles, so
that an encoder can be told where its face differs from the map. `training/recipes/fit_layout.py` fits it on pairs.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from psp_hub.generators.mobile_stylegan import MobileStyleGAN
from psp_hub.images.face_classes import NUM_CLASSES

FEATURE_SIZE, MAP_SIZE, WIDTH = 32, 64, 96


def early_features(generator: MobileStyleGAN, ws: Tensor) -> Tensor:
    """Features of `generator` at 32 pixels, [N, C, 32, 32], with its constant noise; ws [N, num_ws, w_dim].

    Raises:
        ValueError: another kind of generator.
    """
    if not isinstance(generator, MobileStyleGAN):
        raise ValueError(f"the layout head reads a MobileStyleGAN, got {type(generator).__name__}")
    network = generator.synthesis
    x = network.const.expand(ws.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
    x = network.conv(x, ws[:, 0], "const", None)  # [N, C, 4, 4]
    for i, block in enumerate(network.blocks):
        if x.shape[-1] == FEATURE_SIZE:
            break
        x = block(x, ws[:, 2 * i + 1 : 2 * i + 3], "const", None)  # [N, C, 8 * 2^i, 8 * 2^i]
    return x


class LayoutHead(nn.Module):
    """Features [N, C, 32, 32] -> logits [N, 19, 64, 64]."""

    def __init__(self, in_channels: int = 512):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.squeeze = nn.Conv2d(in_channels, WIDTH, 1)
        self.mix = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.classify = nn.Conv2d(WIDTH, NUM_CLASSES * (MAP_SIZE // FEATURE_SIZE) ** 2, 3, padding=1)

    @classmethod
    def from_file(cls, path: str | Path) -> "LayoutHead":
        """Load a fitted head, strictly, frozen."""
        state = load_file(path)
        head = cls(state["squeeze.weight"].shape[1])
        head.load_state_dict(state, strict=True)
        return head.eval().requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        x = F.relu(self.squeeze(self.norm(features)))  # [N, 96, 32, 32]
        x = F.relu(self.mix(x))
        return F.pixel_shuffle(self.classify(x), MAP_SIZE // FEATURE_SIZE)  # [N, 19, 64, 64]


def layout_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each map, [N]: every answered pixel stands for all true ones that it covers.

    Args:
        logits: [N, 19, 64, 64].
        labels: [N, 256, 256].
    """
    covered = F.pixel_unshuffle(labels[:, None], labels.shape[-1] // logits.shape[-1]).long()  # [N, 16, 64, 64]
    log_p = logits.float().log_softmax(dim=1)
    return -log_p.gather(1, covered).mean(dim=(1, 2, 3))
