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


def mix(ws: Tensor, style: Tensor, indices: list[int], strength: float | Tensor = 1.0) -> Tensor:
    """Style mixing: move the styles at `indices` towards `style`.

    One ws goes with many styles and one style with many ws: the one is repeated.

    Args:
        ws: [N or 1, num_ws, w_dim].
        style: [N or 1, w_dim] (one w for all layers) or [N or 1, num_ws, w_dim].
        indices: which styles change.
        strength: 0 keeps `ws`, 1 replaces.

    Returns:
        New ws [N, num_ws, w_dim].

    Raises:
        ValueError: the shapes do not fit: other numbers of rows than equal or 1, another num_ws or w_dim.
    """
    num, num_ws, w_dim = ws.shape
    layers = () if style.ndim == 2 else (num_ws,)
    if style.shape[1:] != (*layers, w_dim) or (num != len(style) and 1 not in (num, len(style))):
        rows = "any" if num == 1 else f"{num} or 1"
        raise ValueError(
            f"style has shape {tuple(style.shape)} for ws {tuple(ws.shape)}, "
            f"expected [{rows}, {w_dim}] or [{rows}, {num_ws}, {w_dim}]"
        )
    if style.ndim == 2:
        style = style[:, None].expand(-1, num_ws, -1)  # [N, num_ws, w_dim]
    mixed = ws.repeat(len(style), 1, 1) if num == 1 else ws.clone()  # [N, num_ws, w_dim]
    mixed[:, indices] = torch.lerp(mixed[:, indices], style[:, indices].to(ws), strength)
    return mixed


def random_z(num: int, w_dim: int, seed: int) -> Tensor:
    """`num` latents z [num, w_dim] ~ N(0, I). Row i depends on `seed` + i alone, so more rows keep the first ones."""
    rows = [torch.randn(w_dim, generator=torch.Generator().manual_seed(seed + i)) for i in range(num)]
    return torch.stack(rows)
