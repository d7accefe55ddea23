"""The flags that choose bfloat16 or not, named as in accelerate."""

import torch

from psp_hub.precision import has_bfloat16


def resolved_precision(name: str, device: str | None = None) -> str:
    """`auto` is "bf16" where that saves time, "no" elsewhere; another name stays.

    Args:
        device: by default the first graphics card, or the processor where there is none.
    """
    if name != "auto":
        return name
    kind = torch.device(device).type if device else "cuda" if torch.cuda.is_available() else "cpu"
    return "bf16" if has_bfloat16(kind) else "no"
