"""From features to styles: the map2style heads of pSp, its light variant and its two baselines."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.latents import GROUP_STARTS, style_indices


class MapToStyle(nn.Module):
    """map2style: strided convolutions from a square feature map down to one vector (pSp, figure 2)."""

    def __init__(self, in_channels: int, width: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        while size > 1:
            layers += [nn.Conv2d(in_channels, width, 3, 2, 1), nn.LeakyReLU()]
            in_channels, size = width, size // 2
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x).flatten(1)  # [N, C, S, S] -> [N, width]


class StyleHeads(nn.Module):
    """The heads of pSp (section 3.1): a map2style stack and a linear layer of its own for every style.

    Args:
        base_and_deltas: the heads of e4e (Tov et al. 2021, section 4.1): the first style is the base that all others
            are added to.
    """

    def __init__(
        self,
        pyramid_width: int,
        head_widths: tuple[int, ...],
        sizes: tuple[int, ...],
        num_ws: int,
        w_dim: int,
        base_and_deltas: bool = False,
    ):
        super().__init__()
        self.base_and_deltas = base_and_deltas
        self.levels = [
            level for level, group in enumerate(GROUP_STARTS) for _ in style_indices([group], num_ws)
        ]  # of each style
        self.map2style = nn.ModuleList(
            nn.Sequential(
                MapToStyle(pyramid_width, head_widths[level], sizes[level]), nn.Linear(head_widths[level], w_dim)
            )
            for level in self.levels
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """levels, coarsest first, each [N, pyramid_width, S, S] -> [N, num_ws, w_dim]."""
        styles = [head(levels[level]) for head, level in zip(self.map2style, self.levels, strict=True)]  # [N, w_dim]
        ws = torch.stack(styles, dim=1)
        if self.base_and_deltas:
            ws = torch.cat([ws[:, :1], ws[:, :1] + ws[:, 1:]], dim=1)
        return ws


class HeadIntoW(nn.Module):
    """The W baseline of the paper (section 4.1): the last features, averaged, give one style for all layers."""

    def __init__(self, channels: int, num_ws: int, w_dim: int):
        super().__init__()
        self.num_ws = num_ws
        self.linear = nn.Linear(channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        w = self.linear(x.mean(dim=(2, 3)))  # [N, C, S, S] -> [N, w_dim]
        return w[:, None].expand(-1, self.num_ws, -1)


class HeadIntoWPlus(nn.Module):
    """The naive W+ baseline of the paper (section 4.1): all styles from one vector of the last features."""

    POOLED_SIZE = 7

    def __init__(self, channels: int, num_ws: int, w_dim: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.to_vector = nn.Linear(channels * self.POOLED_SIZE**2, w_dim)
        self.linear = nn.Linear(w_dim, w_dim * num_ws)
        self.num_ws = num_ws

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.norm(x), self.POOLED_SIZE)  # [N, C, 7, 7]
        vector = self.to_vector(x.flatten(1))  # [N, w_dim]
        return self.linear(vector).unflatten(1, (self.num_ws, -1))  # [N, num_ws, w_dim]


class StylePrior(nn.Module):
    """What a w most likely is that an encoder is not sure of: a residual MLP from w to w.

    W is what eight nonlinear layers make of a sphere, far from a Gaussian cloud around `w_avg`: what is known of some
    directions tells of the others, but not along straight lines. `training/recipes/fit_prior.py` learns that from the
    generator's own w, of which there are as many as one likes.
    """

    def __init__(self, w_dim: int, width: int):
        super().__init__()
        last = nn.Linear(width, w_dim)
        nn.init.zeros_(last.weight)  # changes nothing at first
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(w_dim, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), last)

    def forward(self, w: Tensor) -> Tensor:
        return w + self.layers(w)  # [N, w_dim]


class MapToBase(nn.Module):
    """map2style for aligned pictures: few channels, then one linear layer over all positions.

    The parts of a face have their places, so each place gets weights of its own. `MapToStyle` shares them all over
    the picture, and learned more slowly.

    Args:
        rank: of that layer, which is then two; 0 for one of full rank.
        prior_width: of a `StylePrior` after it; 0 for none.
    """

    def __init__(self, in_channels: int, width: int, size: int, w_dim: int, rank: int = 0, prior_width: int = 0):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.reduce = nn.Linear(width * size**2, rank, bias=False) if rank else nn.Identity()
        self.linear = nn.Linear(rank or width * size**2, w_dim)
        nn.init.zeros_(self.linear.weight)  # training starts at the mean face
        nn.init.zeros_(self.linear.bias)
        self.prior = StylePrior(w_dim, prior_width) if prior_width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).flatten(1)  # [N, C, S, S] -> [N, width * S * S]
        w = self.linear(self.reduce(x))  # [N, w_dim]
        return self.prior(w)


class SharedHeads(nn.Module):
    """One map2style stack per pyramid level, and one linear layer per style on top of it.

    The coarsest level predicts a base style; every style is it plus an offset of its own, as in e4e (Tov et al. 2021).

    Args:
        base_rank, prior_width: of the base style, see `MapToBase`.
    """

    def __init__(
        self,
        pyramid_width: int,
        base_width: int,
        head_widths: tuple[int, ...],
        sizes: tuple[int, ...],
        num_ws: int,
        w_dim: int,
        base_rank: int = 0,
        prior_width: int = 0,
    ):
        super().__init__()
        self.map2style = nn.ModuleList(
            MapToStyle(pyramid_width, width, size) for width, size in zip(head_widths, sizes, strict=True)
        )
        self.base = MapToBase(pyramid_width, base_width, sizes[0], w_dim, base_rank, prior_width)
        self.num_styles = [len(style_indices([group], num_ws)) for group in GROUP_STARTS]
        offsets = [nn.Linear(width, count * w_dim) for width, count in zip(head_widths, self.num_styles, strict=True)]
        for offset in offsets:  # training starts in W: all styles equal
            nn.init.zeros_(offset.weight)
            nn.init.zeros_(offset.bias)
        self.offsets = nn.ModuleList(offsets)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """levels, coarsest first, each [N, pyramid_width, S, S] -> [N, num_ws, w_dim]."""
        vectors = [head(level) for head, level in zip(self.map2style, levels, strict=True)]  # each [N, width]
        base = self.base(levels[0])[:, None]  # [N, 1, w_dim]
        offsets = [
            offset(vector).unflatten(1, (count, -1))  # [N, count, w_dim]
            for offset, vector, count in zip(self.offsets, vectors, self.num_styles, strict=True)
        ]
        return base + torch.cat(offsets, dim=1)
