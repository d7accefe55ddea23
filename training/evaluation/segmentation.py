"""How well label maps agree: confusion, pixel accuracy, intersection over union."""

import torch
from torch import Tensor

from psp_hub.images.face_classes import CLASS_NAMES, NUM_CLASSES


def confusion(answer: Tensor, truth: Tensor) -> Tensor:
    """Pixels by (true class, answered class), [19, 19], of label maps of one shape."""
    pairs = truth.long().flatten() * NUM_CLASSES + answer.long().flatten()
    return torch.bincount(pairs, minlength=NUM_CLASSES**2).view(NUM_CLASSES, NUM_CLASSES)


def segmentation_figures(counts: Tensor) -> dict:
    """Pixel accuracy, intersection over union of each class present in the truth, and their mean.

    Args:
        counts: from `confusion`, summed over pictures.
    """
    counts = counts.double()
    hits, truth, answer = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
    iou = hits / (truth + answer - hits).clamp(min=1)
    present = truth > 0
    return {
        "pixel_accuracy": (hits.sum() / counts.sum()).item(),
        "mean_iou": iou[present].mean().item(),
        "iou": {CLASS_NAMES[i]: round(iou[i].item(), 4) for i in range(NUM_CLASSES) if present[i]},
    }
