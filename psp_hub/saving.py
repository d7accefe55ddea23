"""Write components and models: safetensors only, all or nothing, readable for whom the umask says."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import ModelMixin
from diffusers.utils import CONFIG_NAME
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from psp_hub.loading import weights_name

# A variant is a second set of weights beside the plain one; it has the dtype that its name says.
VARIANTS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def save_component(component: ModelMixin, folder: Path, variant: str | None = None) -> None:
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
    # diffusers notes where a component was loaded from: a folder of this machine, nobody else's business.
    component.register_to_config(_name_or_path="")
    component.save_config(str(folder))
    dtype = VARIANTS.get(variant)
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


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yields an empty folder; what is written there moves into `folder` at the end, unless there was an error.

    Files of the same names are replaced, others stay. After an error `folder` is as it was before.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=".saving-"
        ) as name:  # the same disk, so moving is renaming
            stage = Path(name)
            yield stage
            for source in sorted(path for path in stage.rglob("*") if path.is_file()):
                target = folder / source.relative_to(stage)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
    except BaseException:
        for path in missing:  # deepest first, and empty unless somebody else used it meanwhile
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise
