"""Strict loading of the diffusers components that a model is made of."""

import json
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import ModelMixin
from diffusers.utils import is_accelerate_available

Component = TypeVar("Component", bound=ModelMixin)


def load_component(cls: type[Component], path: str | Path, torch_dtype: torch.dtype | None = None) -> Component:
    """Load a component from a folder, ready for use (eval mode), and refuse weights that do not fit.

    diffusers only warns of missing and unexpected weights, and leaves the missing ones without data. It also takes the
    config of another class, and looks for a folder that is not there among the downloads from the Hub.

    Raises:
        ValueError: the folder holds no such component, or its weights do not match its config.
    """
    try:
        config = json.loads(Path(path, "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict) or config.get("_class_name") != cls.__name__:
            raise ValueError(f"its config.json has no '_class_name': '{cls.__name__}', got {config!r:.200}")
        component, info = cls.from_pretrained(
            str(path),
            use_safetensors=True,
            output_loading_info=True,
            torch_dtype=torch_dtype,
            local_files_only=True,
            low_cpu_mem_usage=is_accelerate_available(),  # the default warns where accelerate is missing
        )
    except (OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} does not hold a {cls.__name__}: {error}") from error
    if wrong := {name: keys for name, keys in info.items() if keys}:
        raise ValueError(f"the weights in {path} do not fit {cls.__name__}: {wrong}")
    return ready(component)


def ready(component: Component) -> Component:
    """Eval mode, and the memory layout in which a CPU convolves up to twice as fast; the values are the same."""
    return component.eval().to(memory_format=torch.channels_last)
