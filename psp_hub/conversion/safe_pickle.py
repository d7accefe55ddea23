"""Read checkpoint files of other projects without running anything that is written in them.

PyTorch files go through `torch.load(weights_only=True)`. NVIDIA's `.pkl` files are Python pickles that carry the
source code of their classes; here they are read by an unpickler that knows tensors and plain containers and nothing
else, and the source code is never looked at.
"""

import argparse
import io
import pickle
import re
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

# What damaged files raise in the readers.
BROKEN = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, AttributeError, ValueError)
BROKEN += (zipfile.BadZipFile, OverflowError, MemoryError, ImportError)

# Beside tensors, training scripts save their options and NumPy's numbers.
NUMPY_SCALAR = np._core.multiarray.scalar
PLAIN = [argparse.Namespace, np.dtype, *(type(np.dtype(kind)) for kind in "fdilqbB?")]
PLAIN += [(NUMPY_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


@dataclass
class Persistent:
    """A network in an NVIDIA pickle: the name of its class and its attributes."""

    class_name: str
    state: dict[str, Any]


class EasyDict(dict):
    """Stands for NVIDIA's dictionary with attributes."""


class RefusedError(ValueError):
    """The file names something that is neither a tensor nor a plain container."""


def read_torch(path: str | Path) -> Any:
    """Contents of a `.pt` or `.pth` file: tensors (mapped from the file where its format allows) and plain containers.

    Raises:
        ValueError: missing, damaged, or it holds more than that.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} in it does not match its checksum")
        with torch.serialization.safe_globals(PLAIN):
            # Only the zip format can be mapped; the older one is read into memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        # PyTorch's message advises to load the file without protection; ours must not.
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise ValueError(
                f"{path} is not read: it names {named[1]}, which is neither a tensor nor a plain container; "
                "a file from an unknown source can run any program this way"
            ) from None
        raise ValueError(f"{path} is damaged or not a PyTorch file") from None
    except BROKEN as error:
        raise ValueError(f"{path} is damaged or not a PyTorch file: {first_line(error)}") from error


def read_nvidia_pickle(path: str | Path) -> dict[str, Any]:
    """Contents of a StyleGAN2-ADA `.pkl`: a dictionary with networks as `Persistent`.

    Raises:
        ValueError: missing, damaged, not such a dictionary, or it names a class or function that is not allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            contents = RestrictedUnpickler(file).load()
    except RefusedError as error:
        raise ValueError(f"{path} is not read: {error}") from error
    except BROKEN as error:
        raise ValueError(f"{path} is damaged or not a pickle: {first_line(error)}") from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path} holds a {type(contents).__name__}, expected a dictionary with G_ema")
    return contents


def first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]


def state_dict_of(network: Persistent, prefix: str = "") -> dict[str, Tensor]:
    """Parameters and buffers of a network and of all that it is made of, by dotted name."""
    tensors = {}
    for kind in ("_parameters", "_buffers"):
        for name, value in network.state.get(kind, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}"] = value
    for name, module in network.state.get("_modules", {}).items():
        if not isinstance(module, Persistent):
            raise ValueError(f"{prefix}{name} is a {type(module).__name__}, expected a network of NVIDIA's classes")
        tensors |= state_dict_of(module, f"{prefix}{name}.")
    return tensors


def _persistent(meta: dict[str, Any]) -> Persistent:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise RefusedError("a network without a state")
    return Persistent(str(meta.get("class_name")), meta["state"])


def _parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    return data


def _storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _scalar(dtype: np.dtype, data: bytes) -> np.generic:
    if dtype.hasobject:
        raise RefusedError("a number that is a Python object")
    return NUMPY_SCALAR(dtype, data)


DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
# Everything that a pickle may name, and what it becomes here. None of them runs code from the file.
ALLOWED: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("dnnlib.util", "EasyDict"): EasyDict,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch", "device"): torch.device,
    ("torch", "Size"): torch.Size,
    **{("torch", name): value for name, value in DTYPES.items()},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): np._core.multiarray._reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


class RestrictedUnpickler(pickle.Unpickler):
    """Rebuilds what `ALLOWED` names and refuses the rest before anything is called."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise RefusedError(
                f"it names {module}.{name}, which is not among the tensors and containers of a StyleGAN2-ADA network; "
                "a file from an unknown source can run any program this way"
            )
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedError("it refers to data outside the file")
