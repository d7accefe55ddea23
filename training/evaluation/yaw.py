"""How far a face is turned, from where the parser sees its nose: before frontalization, and after."""

import statistics
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from psp_hub.face_parser import FaceParser
from training.recipes.measures import Face, yaw

TURNED = 40  # faces that are turned most: the others need little


@torch.no_grad()
def yaws(images: Tensor, parser: FaceParser) -> np.ndarray:
    """Of aligned faces [N, 3, 256, 256] in [-1, 1]: [N], from -1 (left) to 1, 0 straight ahead, NaN without a nose."""
    labels = parser(images).argmax(dim=1).cpu()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array([yaw(Face(image, seen)) for image, seen in zip(images.cpu(), labels, strict=True)], float)


def turned_figures(rows: Sequence[dict]) -> dict[str, float]:
    """Mean absolute yaw before and after, and identity where it is known, of the TURNED faces that are turned most.

    Args:
        rows: of each picture, with `yaw_input` and `yaw`; those with a NaN are left out, and counted.
    """
    seen = [row for row in rows if np.isfinite([row["yaw_input"], row["yaw"]]).all()]
    most = sorted(seen, key=lambda row: abs(row["yaw_input"]), reverse=True)[:TURNED]
    figures: dict[str, float] = {"count": len(most), "unseen": len(rows) - len(seen)}
    if not most:
        return figures
    before, after = (statistics.fmean(abs(row[name]) for row in most) for name in ("yaw_input", "yaw"))
    figures |= {"yaw_before": before, "yaw_after": after, "yaw_left": after / max(before, 1e-6)}
    if "identity" in most[0]:
        figures["identity"] = statistics.fmean(row["identity"] for row in most)
    return figures
