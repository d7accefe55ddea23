"""Perceptual distances: LPIPS (Zhang et al. 2018, arXiv:1801.03924), and the same without its learned weights.

Written out here in torch alone. The package `lpips` gives its file of learned weights; it is not imported, as it would
import torchvision, whose compiled part the package index pairs with other builds of torch than that for the CPU.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.networks.frozen import Frozen, freeze
from training.networks.hed import VGG_BLOCKS
from training.networks.weights import find_weights, read_weights

DOWNLOADS = "https://download.pytorch.org/models"
# What LPIPS makes of pictures in [-1, 1] before the trunk sees them: about ImageNet's normalisation.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10  # of the length of a pixel's features


class Convolution(NamedTuple):
    """One of a trunk, each followed by a ReLU."""

    number: int  # torchvision's, in `features.N.weight`
    width: int
    size: int = 3
    stride: int = 1
    padding: int = 1


class TrunkSpec(NamedTuple):
    """A network for classes of pictures, as far as LPIPS looks at it: five stages, whose last features count."""

    title: str
    file: str  # that torchvision keeps its weights in
    pool_size: int  # of the max pooling with stride 2 ...
    pooled: tuple[bool, ...]  # ... before a stage
    stages: tuple[tuple[Convolution, ...], ...]


def vgg_stages() -> tuple[tuple[Convolution, ...], ...]:
    """Two or three convolutions in each, numbered with their ReLUs and the pooling after the stage."""
    stages, number = [], 0
    for widths in VGG_BLOCKS:
        stages.append(tuple(Convolution(number + 2 * i, width) for i, width in enumerate(widths)))
        number += 2 * len(widths) + 1
    return tuple(stages)


ALEX_STAGES = (
    (Convolution(0, 64, 11, 4, 2),),
    (Convolution(3, 192, 5, 1, 2),),
    (Convolution(6, 384),),
    (Convolution(8, 256),),
    (Convolution(10, 256),),
)
TRUNKS = {
    "alex": TrunkSpec("AlexNet", "alexnet-owt-7be5be79.pth", 3, (False, True, True, False, False), ALEX_STAGES),
    "vgg": TrunkSpec("VGG16", "vgg16-397923af.pth", 2, (False, True, True, True, True), vgg_stages()),
}


def find_trunk(net: str, trunk: str | Path | None = None) -> Path:
    """The weights of a trunk: the given file, or the one in torchvision's cache.

    Args:
        net: key of `TRUNKS`.
        trunk: a file, or `owner/name/file` on the Hub.

    Raises:
        ValueError: unknown `net`, or no such file; says how to get one.
        OSError: it cannot be downloaded.
    """
    if net not in TRUNKS:
        raise ValueError(f"unknown LPIPS trunk {net!r}, expected one of {', '.join(TRUNKS)}")
    if trunk is not None:
        return find_weights(trunk)
    title, file = TRUNKS[net].title, TRUNKS[net].file
    path = Path(torch.hub.get_dir(), "checkpoints", file)
    if not path.is_file():
        raise ValueError(
            f"LPIPS needs torchvision's weights of {title}, and {path} does not exist. Fetch them once with "
            f"`python -c \"import torch; torch.hub.load_state_dict_from_url('{DOWNLOADS}/{file}')\"`, "
            "or name a copy (.safetensors or .pth, here or owner/name/file on the Hub) with --lpips_trunk"
        )
    return path


class Trunk(nn.Module):
    """The convolutions of a `TrunkSpec`, under torchvision's names."""

    def __init__(self, spec: TrunkSpec):
        super().__init__()
        self.spec, self.features, channels = spec, nn.ModuleDict(), 3
        for number, width, *geometry in (convolution for stage in spec.stages for convolution in stage):
            self.features[str(number)] = nn.Conv2d(channels, width, *geometry)
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, 3, H, W] to the features after each stage, [N, C_i, H_i, W_i]."""
        found = []
        for pooled, stage in zip(self.spec.pooled, self.spec.stages, strict=True):
            if pooled:
                x = F.max_pool2d(x, self.spec.pool_size, 2)
            for convolution in stage:
                x = F.relu(self.features[str(convolution.number)](x))
            found.append(x)
        return found


def filled_trunk(net: str, stored: Mapping[str, Tensor], path: str | Path) -> Trunk:
    """A trunk with the weights that are stored in a file.

    Raises:
        ValueError: the file lacks some of them, or has them in other shapes.
    """
    spec = TRUNKS[net]
    with torch.device("meta"):  # to lose no time on random weights
        trunk = Trunk(spec)
    wanted = trunk.state_dict()
    if missing := sorted(wanted.keys() - stored.keys()):
        raise ValueError(f"{path} lacks {missing}, expected the convolutions of {spec.title}")
    for name, value in wanted.items():
        if stored[name].shape != value.shape:
            raise ValueError(f"{path}: {name} is {[*stored[name].shape]}, expected {[*value.shape]}")
    trunk.load_state_dict({name: stored[name].float() for name in wanted}, assign=True)
    return trunk


def learned_weights(net: str) -> list[Tensor]:
    """What each channel of each stage counts in LPIPS v0.1: five of [C_i, 1, 1].

    Raises:
        ValueError: the package that has them is not installed.
    """
    package = importlib.util.find_spec("lpips")
    if package is None or package.origin is None:
        raise ValueError("LPIPS needs the weights that the package lpips ships: pip install 'psp-hub[training]'")
    stored = read_weights(Path(package.origin).parent / "weights" / "v0.1" / f"{net}.pth")
    return [stored[f"lin{i}.model.1.weight"][0] for i in range(len(TRUNKS[net].stages))]


class PerceptualDistance(Frozen):
    """Squared difference of unit-length features, averaged over the pixels and summed over five stages.

    With `weighted`, each channel counts as people were found to see it, which is LPIPS v0.1. Those weights belong to
    torchvision's trunks; with another trunk they are left out, and the figure is called perceptual, not LPIPS.

    Args:
        path: safetensors or `.pth` with the convolutions of the network under torchvision's names
            (`features.N.weight`).
        net: `alex` or `vgg`.
        weighted: LPIPS rather than the unweighted distance.

    Raises:
        ValueError: the file lacks some of them, has them in other shapes, or is of a network that LPIPS does not know.
    """

    def __init__(self, path: str | Path, net: str = "vgg", weighted: bool = False):
        super().__init__()
        self.name = "lpips" if weighted else "perceptual"
        stored = read_weights(path)
        if weighted and (other := sorted({key.split(".")[0] for key in stored} - {"features", "classifier"})):
            raise ValueError(f"{path} also has {other}: not torchvision's network, use it with --lpips_unweighted")
        self.trunk = filled_trunk(net, stored, path)
        for name, values in (("shift", SHIFT), ("scale", SCALE)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))
        for i, weight in enumerate(learned_weights(net) if weighted else []):
            self.register_buffer(f"weight_{i}", weight)
        freeze(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """What the trunk sees in images [N, 3, H, W] in [-1, 1], after each stage: [N, C_i, H_i, W_i]."""
        return self.trunk((images - self.shift) / self.scale)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances [N] between images [N, 3, H, W] in [-1, 1] (equation 1)."""
        total = x.new_zeros(len(x))
        for i, pair in enumerate(zip(self.features(x), self.features(y), strict=True)):
            one, other = (part / (part.norm(dim=1, keepdim=True) + EPSILON) for part in pair)
            difference = (one - other).square()
            if self.name == "lpips":
                difference = difference * self.get_buffer(f"weight_{i}")
            total = total + difference.sum(dim=1).mean(dim=(1, 2))
        return total
