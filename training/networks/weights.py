"""Weights of the frozen networks: found here or on the Hub, read without running anything."""

import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from psp_hub.conversion.safe_pickle import read_torch
from psp_hub.hub.transfer import REPO_ID, Access, open_source


def find_weights(name: str | Path) -> Path:
    """The path of a file: one on this machine, or `owner/name/file` of a model repository on the Hub.

    Raises:
        ValueError: neither.
        OSError: it cannot be downloaded, see `psp_hub.hub.transfer.open_source`.
    """
    if Path(name).is_file():
        return Path(name)
    match = re.fullmatch(f"({REPO_ID})/(.+)", name) if isinstance(name, str) else None
    if not match:
        raise ValueError(f"there is no file {name}, expected one on this machine or owner/name/file on the Hub")
    repo_id, file = match.groups()
    return open_source(repo_id, Access()).fetch([file]) / file


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name, of a `.safetensors` file or of a `.pth` file that holds nothing else.

    Raises:
        ValueError: missing, damaged, or something else is in it.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        state = read_torch(path)
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError(f"{path} is not a state dict, expected tensors by name")
        return state
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
