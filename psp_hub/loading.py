"""Strict loading of the diffusers components that a model is made of."""

import json
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import ModelMixin
from diffusers.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, is_accelerate_available
from safetensors import SafetensorError, safe_open

# By the names that safetensors has for them.
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

Component = TypeVar("Component", bound=ModelMixin)


def weights_name(variant: str | None = None) -> str:
    """Name of a component's weights: `diffusion_pytorch_model[.variant].safetensors`."""
    stem, end = SAFETENSORS_WEIGHTS_NAME.rsplit(".", 1)
    return f"{stem}.{variant}.{end}" if variant else SAFETENSORS_WEIGHTS_NAME


def component_files(variant: str | None = None) -> tuple[str, str]:
    """The files of a component's folder that loading needs."""
    return CONFIG_NAME, weights_name(variant)


def saved_dtype(path: Path) -> torch.dtype:
    """dtype of the first weight in a safetensors file that is not a count.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            dtypes = [file.get_slice(name).get_dtype() for name in file.keys()]
    except SafetensorError as error:
        raise ValueError(f"Unable to load weights from {path.name}, it is damaged or cut off: {error}") from error
    return next((DTYPES[dtype] for dtype in dtypes if dtype in DTYPES), torch.float32)


def load_component(
    cls: type[Component], path: str | Path, torch_dtype: torch.dtype | None = None, variant: str | None = None
) -> Component:
    """Load a component from a folder, in eval mode, and refuse weights that do not fit.

    diffusers only warns of missing and unexpected weights, and leaves the missing ones without data. It also takes the
    config of another class, and looks for a folder that is not there among the downloads from the Hub. Weights are
    mapped from the file: one that is not used is not read.

    Args:
        torch_dtype: of the loaded weights; None keeps the one they were saved in.
        variant: which weights, None for the plain ones.

    Raises:
        ValueError: the folder holds no such component, or its weights do not match its config.
    """
    try:
        config = json.loads(Path(path, CONFIG_NAME).read_text(encoding="utf-8"))
        if not isinstance(config, dict) or config.get("_class_name") != cls.__name__:
            raise ValueError(f"its config.json has no '_class_name': '{cls.__name__}', got {config!r:.200}")
        if variant and not Path(path, weights_name(variant)).is_file():
            raise ValueError(f"it was saved without the variant {variant!r} ({weights_name(variant)} is not there)")
        if torch_dtype is None:
            torch_dtype = saved_dtype(Path(path, weights_name(variant)))
        component, info = cls.from_pretrained(
            str(path),
            use_safetensors=True,
            output_loading_info=True,
            torch_dtype=torch_dtype,
            variant=variant,
            local_files_only=True,
            low_cpu_mem_usage=is_accelerate_available(),  # the default warns where accelerate is missing
        )
    except (OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} does not hold a {cls.__name__}: {error}") from error
    if wrong := {name: keys for name, keys in info.items() if keys}:
        raise ValueError(f"the weights in {path} do not fit {cls.__name__}: {wrong}")
    return component.eval()
