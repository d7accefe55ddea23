"""Where bfloat16 saves time: on processors and devices that are made for it. Elsewhere it is imitated, slowly."""

from typing import Literal

import torch

DtypeName = Literal["auto", "float32", "bfloat16"]


def has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32 there, not slower.

    Args:
        device: its type, as `torch.device.type`.
    """
    if device == "cpu":
        known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.9 and later
        return any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def quick_dtype(device: str) -> torch.dtype:
    """bfloat16 where it saves time, float32 elsewhere."""
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


def quick_autocast(device: str) -> torch.autocast:
    """A block that computes in bfloat16 where that saves time."""
    return torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))


def dtype_of(name: DtypeName, device: str) -> torch.dtype:
    """The dtype of this name; `auto` is `quick_dtype` of the device, which may have a number (`cuda:0`)."""
    return quick_dtype(torch.device(device).type) if name == "auto" else getattr(torch, name)
