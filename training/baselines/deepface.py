"""DeepFaceDrawing's idea (Chen et al. 2020, arXiv:2006.01047): a drawing's parts are replaced by likely ones.

Each part of the face has an autoencoder of drawings. Its code is moved onto the manifold of the codes of the training
set, by the nearest of them (section 3.1), and what the codes of all parts become is painted as one picture (section
3.2). The paper trains the two after each other; here both learn in one run, and the painting leaves the codes alone.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from training.baselines.blocks import Baseline, num_doublings
from training.baselines.pix2pixhd import GlobalGenerator

RIDGE = 1e-3  # of the least squares, relative to the trace: neighbours may lie on a line


class Part(NamedTuple):
    """A square window of an aligned face, in shares of its side."""

    left: float
    top: float
    side: float

    def window(self, image_size: int) -> tuple[slice, slice]:
        """Rows and columns, whose number is the next power of two that fits."""
        side = 4
        while 2 * side <= self.side * image_size:
            side *= 2
        left, top = (
            min(round((start + self.side / 2) * image_size - side / 2), image_size - side)
            for start in (self.left, self.top)
        )
        return slice(max(0, top), max(0, top) + side), slice(max(0, left), max(0, left) + side)


# For faces aligned as those of FFHQ are. All of the face comes first: what is painted later lies above it.
PARTS = {
    "remainder": Part(0, 0, 1),
    "nose": Part(0.375, 0.45, 0.25),
    "mouth": Part(0.375, 0.6, 0.25),
    "left_eye": Part(0.25, 0.35, 0.25),
    "right_eye": Part(0.5, 0.35, 0.25),
}


class PartNetwork(nn.Module):
    """Drawing of a part -> code -> drawing again, and code -> what is painted from.

    Args:
        in_channels: of the input.
        side: of the window.
        width: of the first layer; twice as many at each half of the size, 8 times as many at most.
        code_dim: 512 in the paper.
        map_width: channels of what is painted from; 32 in the paper.
    """

    def __init__(self, in_channels: int, side: int, width: int, code_dim: int, map_width: int):
        super().__init__()
        doublings = num_doublings(side)
        widths = [in_channels, *(width * min(2**i, 8) for i in range(doublings))]
        down: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            down += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.encode = nn.Sequential(*down, nn.Flatten(), nn.Linear(widths[-1] * 16, code_dim))
        self.decode = up_from_code(widths[::-1], code_dim)
        self.to_map = up_from_code([*widths[:0:-1], map_width], code_dim)


def up_from_code(widths: list[int], code_dim: int) -> nn.Sequential:
    """Codes [N, code_dim] -> [N, widths[-1], S, S]: 4 x 4 pixels of `widths[0]` channels, then doubled each time."""
    layers: list[nn.Module] = [nn.Linear(code_dim, widths[0] * 16), nn.Unflatten(1, (widths[0], 4, 4))]
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
    return nn.Sequential(*layers)


def project(codes: Tensor, bank: Tensor, num_neighbours: int) -> Tensor:
    """Codes [N, D] moved onto the manifold of others, [M, D]: locally linear embedding (section 3.1, equation 1).

    The nearest ones are combined with the weights w, of sum 1, for which |code - sum_k w_k neighbour_k|^2 is least.
    """
    nearest = torch.cdist(codes, bank).topk(min(num_neighbours, len(bank)), largest=False).indices  # [N, K]
    neighbours = bank[nearest]  # [N, K, D]
    away = (neighbours - codes[:, None]).double()  # [N, K, D]
    gram = away @ away.mT  # [N, K, K]
    trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-12)  # [N]
    gram = gram + RIDGE * trace[:, None, None] * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram, torch.ones_like(gram[..., :1]))  # [N, K, 1]
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (weights * neighbours.double()).sum(dim=1).to(codes)


class DeepFaceDrawing(Baseline):
    """Parts to codes, codes to the manifold, the manifold to one picture.

    Args:
        in_channels: of the inputs.
        image_size: side of the pictures.
        width: of the painting; see `GlobalGenerator` for `depth` and `num_blocks`.
        part_width, code_dim, map_width: see `PartNetwork`.
        num_neighbours: 10 in the paper.
        bank_size: codes of the training set that are remembered.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 256,
        width: int = 64,
        depth: int = 4,
        num_blocks: int = 9,
        part_width: int = 32,
        code_dim: int = 512,
        map_width: int = 32,
        num_neighbours: int = 10,
        bank_size: int = 2000,
    ):
        super().__init__()
        self.in_channels, self.image_size, self.num_neighbours = in_channels, image_size, num_neighbours
        self.windows = {name: part.window(image_size) for name, part in PARTS.items()}
        self.parts = nn.ModuleDict()
        for name, (rows, _) in self.windows.items():
            side = rows.stop - rows.start
            self.parts[name] = PartNetwork(in_channels, side, part_width, code_dim, map_width)
            self.register_buffer(f"bank_{name}", torch.zeros(bank_size, code_dim))
        self.register_buffer("num_remembered", torch.zeros((), dtype=torch.long))
        self.paint = GlobalGenerator(map_width, width, depth, num_blocks)

    def codes(self, x: Tensor) -> dict[str, Tensor]:
        """Inputs [N, C, S, S] -> the code of each part, [N, code_dim]."""
        return {name: self.parts[name].encode(x[:, :, rows, cols]) for name, (rows, cols) in self.windows.items()}

    def forward(self, x: Tensor) -> Tensor:
        """See `Baseline.forward`. Once it remembers codes, those of the input are moved towards them."""
        codes = {name: code.detach() for name, code in self.codes(x).items()}
        count = int(self.num_remembered)
        if count and not self.training:
            banks = {name: getattr(self, f"bank_{name}")[:count] for name in codes}
            codes = {name: project(code, banks[name], self.num_neighbours) for name, code in codes.items()}
        maps = {name: self.parts[name].to_map(code) for name, code in codes.items()}
        joined = maps["remainder"].clone()  # [N, map_width, S, S]
        for name, (rows, cols) in self.windows.items():
            joined[:, :, rows, cols] = maps[name]
        return self.paint(joined)

    def own_loss(self, x: Tensor) -> Tensor:
        """Mean squared error of the parts, drawn again from their codes, [] (section 3.1)."""
        errors = [
            F.mse_loss(self.parts[name].decode(code), x[:, :, rows, cols])
            for (name, code), (rows, cols) in zip(self.codes(x).items(), self.windows.values(), strict=True)
        ]
        return torch.stack(errors).mean()

    @torch.no_grad()
    def remember(self, inputs: Tensor) -> None:
        """Keep the codes of inputs [N, C, S, S], those that come first where there are too many."""
        start = int(self.num_remembered)
        for name, code in self.codes(inputs).items():
            bank = getattr(self, f"bank_{name}")
            bank[start : start + len(code)] = code[: len(bank) - start]
        self.num_remembered.fill_(min(start + len(inputs), len(bank)))

    def forget(self) -> None:
        """Start anew, as after more training."""
        self.num_remembered.zero_()
