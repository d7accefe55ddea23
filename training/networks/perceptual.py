"""Perceptual distances through the `lpips` package: LPIPS (Zhang et al. 2018, arXiv:1801.03924), and unweighted."""

import importlib.util
import re
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from training.networks.frozen import Frozen, freeze
from training.networks.weights import find_weights, read_weights

# Each trunk, and the file that torchvision keeps its weights in.
TRUNKS = {"alex": ("AlexNet", "alexnet-owt-7be5be79.pth"), "vgg": ("VGG16", "vgg16-397923af.pth")}
DOWNLOADS = "https://download.pytorch.org/models"


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
    title, file = TRUNKS[net]
    path = Path(torch.hub.get_dir(), "checkpoints", file)
    if not path.is_file():
        raise ValueError(
            f"LPIPS needs torchvision's weights of {title}, and {path} does not exist. Fetch them once with "
            f"`python -c \"import torch; torch.hub.load_state_dict_from_url('{DOWNLOADS}/{file}')\"`, "
            "or name a copy (.safetensors or .pth, here or owner/name/file on the Hub) with --lpips_trunk"
        )
    return path


class PerceptualDistance(Frozen):
    """Squared difference of unit-length features, averaged over the pixels and summed over five layers.

    With `weighted`, each channel counts as people were found to see it, which is LPIPS v0.1. Those weights belong to
    torchvision's trunks; with another trunk they are left out, and the figure is called perceptual, not LPIPS.

    Args:
        trunk: safetensors or `.pth` with the convolutions of the network under torchvision's names
            (`features.N.weight`).
        net: `alex` or `vgg`.
        weighted: LPIPS rather than the unweighted distance.

    Raises:
        ValueError: the file lacks some of them, has them in other shapes, or is of a network that LPIPS does not know.
    """

    def __init__(self, trunk: str | Path, net: str = "vgg", weighted: bool = False):
        super().__init__()
        make_torchvision_importable()
        import lpips  # a heavy import that only this module needs

        self.name = "lpips" if weighted else "perceptual"
        # On no device, to lose no time on random weights; lpips calls torchvision in a way that it warns of.
        with torch.device("meta"), warnings.catch_warnings(action="ignore"):
            self.net = lpips.LPIPS(net=net, lpips=weighted, pretrained=False, pnet_rand=True, verbose=False)
        self.net.scaling_layer = lpips.ScalingLayer()
        if weighted:
            learned = read_weights(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth")
            for name, value in learned.items():  # such as lin0.model.1.weight
                self.net.get_submodule(name.removesuffix(".weight")).weight = nn.Parameter(value)
        stored = read_weights(trunk)
        if weighted and (other := sorted({key.split(".")[0] for key in stored} - {"features", "classifier"})):
            raise ValueError(f"{trunk} also has {other}: not torchvision's network, use it with --lpips_unweighted")
        # lpips splits the trunk into slices, and keeps torchvision's numbers inside them.
        wanted = self.net.net.state_dict()
        names = {key: f"features.{key.split('.', 1)[1]}" for key in wanted}
        if missing := sorted(set(names.values()) - stored.keys()):
            raise ValueError(f"{trunk} lacks {missing}, expected the convolutions of {TRUNKS[net][0]}")
        for key, name in names.items():
            if stored[name].shape != wanted[key].shape:
                raise ValueError(f"{trunk}: {name} is {[*stored[name].shape]}, expected {[*wanted[key].shape]}")
        trunk_state = {key: stored[name].float() for key, name in names.items()}
        self.net.net.load_state_dict(trunk_state, strict=True, assign=True)
        freeze(self)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances [N] between images [N, 3, H, W] in [-1, 1]."""
        return self.net(x, y).flatten()
