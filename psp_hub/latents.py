"""Pure functions on w [N, w_dim] and ws [N, num_ws, w_dim]; groups of layers as in the pSp and StyleGAN papers."""

from collections.abc import Iterable

import torch
from torch import Tensor

# First style of each group, at every resolution: 4-8 px, 16-32 px, 64 px and up.
GROUP_STARTS = {"coarse": 0, "medium": 3, "fine": 7}


def style_indices(groups: Iterable[str], num_ws: int) -> list[int]:
    """Indices of the styles in `groups` (any of coarse, medium, fine) for a generator with `num_ws` styles.

    Raises:
        ValueError: unknown group.
    """
    groups = {groups} if isinstance(groups, str) else set(groups)
    if unknown := groups - GROUP_STARTS.keys():
        raise ValueError(f"unknown style groups {sorted(unknown)}, expected some of {', '.join(GROUP_STARTS)}")
    ends = dict(zip(GROUP_STARTS, [*list(GROUP_STARTS.values())[1:], num_ws], strict=True))
    return [i for name, start in GROUP_STARTS.items() if name in groups for i in range(start, min(ends[name], num_ws))]


def truncate(w: Tensor, w_avg: Tensor, psi: float) -> Tensor:
    """Truncation trick: w_avg + psi * (w - w_avg). Works for w [N, w_dim] and ws [N, num_ws, w_dim]."""
    return w if psi == 1 else w_avg + psi * (w - w_avg)


def random_z(num: int, w_dim: int, seed: int) -> Tensor:
    """`num` latents z [num, w_dim] ~ N(0, I). Row i depends on `seed` + i alone, so more rows keep the first ones."""
    rows = [torch.randn(w_dim, generator=torch.Generator().manual_seed(seed + i)) for i in range(num)]
    return torch.stack(rows)
