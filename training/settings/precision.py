"""The flags that choose bfloat16 or not, named as in accelerate."""

from dataclasses import replace

import torch

from psp_hub.precision import has_bfloat16
from training.settings.run import TrainingSettings


def resolved_precision(name: str, device: str | None = None) -> str:
    """`auto` is "bf16" where that saves time, "no" elsewhere; another name stays.

    Args:
        device: by default the first graphics card, or the processor where there is none.
    """
    if name != "auto":
        return name
    kind = torch.device(device).type if device else "cuda" if torch.cuda.is_available() else "cpu"
    return "bf16" if has_bfloat16(kind) else "no"


def with_precision(settings: TrainingSettings) -> TrainingSettings:
    """The settings of a run, with what this device is made for in the place of `auto`."""
    device, drawing = settings.device, settings.losses.drawing
    device = replace(device, mixed_precision=resolved_precision(device.mixed_precision))
    drawing = replace(drawing, decode_precision=resolved_precision(drawing.decode_precision))
    return replace(settings, device=device, losses=replace(settings.losses, drawing=drawing))
