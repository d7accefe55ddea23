"""The diffusers components that a model is made of: loaded strictly; written as safetensors, all or nothing."""

import json
import shutil
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from psp_hub.config import VARIANTS
from psp_hub.hub.diffusers_parts import (
    CONFIG_NAME,
    SAFETENSORS_WEIGHTS_NAME,
    ConfigMixin,
    ModelMixin,
    is_accelerate_available,
)

# By the names that safetensors has for them.
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


class Component(ModelMixin, ConfigMixin):  # type: ignore[misc]  # both name their config file, alike
    """A network that is built from its config alone, loaded and saved here: encoders, generators, face networks.

    Attributes:
        config: the arguments of `__init__`, by name; diffusers types them as a plain dict.
    """

    config: Any

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def to(self, *args: Any, **options: Any) -> Self:  # type: ignore[override]  # diffusers has no types
        """As torch's: diffusers' own warns, at each change of dtype, of the modules to be kept in float32: of none."""
        return nn.Module.to(self, *args, **options)


ComponentT = TypeVar("ComponentT", bound=Component)


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
    cls: type[ComponentT], path: str | Path, torch_dtype: torch.dtype | None = None, variant: str | None = None
) -> ComponentT:
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
        loaded: Any = cls.from_pretrained(
            str(path),
            use_safetensors=True,
            output_loading_info=True,
            torch_dtype=torch_dtype,
            variant=variant,
            local_files_only=True,
            low_cpu_mem_usage=is_accelerate_available(),  # the default warns where accelerate is missing
        )
        component, info = loaded
    except (OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} does not hold a {cls.__name__}: {error}") from error
    if wrong := {name: keys for name, keys in info.items() if keys}:
        raise ValueError(f"the weights in {path} do not fit {cls.__name__}: {wrong}")
    return component.eval()


def save_component(component: Component, folder: Path, variant: str | None = None) -> None:
    """Write `config.json` and the weights of a component into `folder`, which is made where it is missing.

    Args:
        variant: None writes the weights as they are; `fp16` and `bf16` write them, converted, to a file of that name.
            The component itself does not change.

    Raises:
        ValueError: unknown variant, or a weight that is too large for it.
        OSError: the files cannot be written.
    """
    if variant is not None and variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}, expected one of {', '.join(VARIANTS)}, or None")
    # diffusers notes where a component was loaded from: a folder on this machine, nobody else's business.
    component.register_to_config(_name_or_path="")  # type: ignore[no-untyped-call]
    component.save_config(str(folder))
    dtype = getattr(torch, VARIANTS[variant]) if variant else None
    state = {name: converted(name, value, dtype) for name, value in component.state_dict().items()}
    path = folder / weights_name(variant)
    try:
        save_file(state, path, metadata={"format": "pt"})
    except SafetensorError as error:  # such as a full disk
        raise OSError(f"cannot write {path}: {error}") from error
    shutil.copymode(folder / CONFIG_NAME, path)  # safetensors makes its files private


def converted(name: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A weight as it is stored: contiguous, and in `dtype` if that is given and the weight is not a count."""
    if dtype is None or not value.is_floating_point():
        return value.contiguous()
    result = value.to(dtype).contiguous()
    if value.isfinite().all() and not result.isfinite().all():
        raise ValueError(f"the weight {name} has values up to {value.abs().max():.3g}, too large for {dtype}")
    return result
