"""Read checkpoint files of other projects without running anything that is written in them.

PyTorch files go through `torch.load(weights_only=True)`. NVIDIA's `.pkl` files are Python pickles that carry the
source code of their classes; here they are read by an unpickler that knows tensors and plain containers and nothing
else, and the source code is never looked at.
"""

import argparse
import io
import pickle
import re
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

MAX_DEPTH = 20  # of parts within parts
# What damaged files raise in the readers.
BROKEN: tuple[type[Exception], ...] = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, AttributeError, ValueError),
    *(zipfile.BadZipFile, OverflowError, MemoryError, ImportError),
)

# Beside tensors, training scripts save their options, paths, and NumPy's numbers and arrays.
RECONSTRUCT, NUMPY_SCALAR = np._core.multiarray._reconstruct, np._core.multiarray.scalar  # type: ignore[attr-defined]
NUMPY_CORES = ("numpy.core", "numpy._core")


@dataclass
class Persistent:
    """A network in an NVIDIA pickle: the name of its class and its attributes."""

    class_name: str
    state: dict[str, Any]


class EasyDict(dict[str, Any]):
    """Stands for NVIDIA's dictionary with attributes."""


class RefusedError(ValueError):
    """The file names something that is neither a tensor nor a plain container."""


def _array(kind: type[np.ndarray], shape: tuple[int, ...], typecode: bytes | str) -> np.ndarray:
    """An empty array, which the file then fills. One with a shape of its own would only fill the memory."""
    if kind is not np.ndarray or tuple(shape) != (0,):
        raise RefusedError("an array of an unusual kind")
    return RECONSTRUCT(kind, shape, typecode)


def _dtype(kind: Any, *flags: Any) -> np.dtype[Any]:
    """A type of numbers or texts; never one of Python objects."""
    dtype = np.dtype(kind, *flags)
    if dtype.kind not in "biufSU":
        raise RefusedError("numbers that are Python objects, or another unusual kind")
    return dtype


def _scalar(dtype: np.dtype[Any], data: Any) -> Any:
    return NUMPY_SCALAR(dtype, data)


def _default_dict(factory: Any = None) -> dict[Any, Any]:
    """A plain dictionary: what a missing key would become is nothing that was saved."""
    return {}


# (what it becomes, the name in the file) or a class under its own name.
PLAIN: list[Any] = [argparse.Namespace, types.SimpleNamespace, np.ndarray, (_dtype, "numpy.dtype")]
PLAIN += [type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdSU"]
PLAIN += [(_scalar, f"{core}.multiarray.scalar") for core in NUMPY_CORES]
PLAIN += [(_array, f"{core}.multiarray._reconstruct") for core in NUMPY_CORES]
PLAIN += [(_default_dict, "collections.defaultdict")]
PLAIN += [(kind, f"builtins.{kind.__name__}") for kind in (list, dict, int, float, str, bool, tuple)]
PLAIN += [
    (kind, f"{module}.{name}")
    for module in ("pathlib", "pathlib._local")
    for kind, names in (
        (PurePosixPath, ("PosixPath", "PurePosixPath")),
        (PureWindowsPath, ("WindowsPath", "PureWindowsPath")),
    )
    for name in names
]


def read_torch(path: str | Path) -> Any:
    """Contents of a `.pt` or `.pth` file: tensors (mapped from the file where its format allows) and plain containers.

    Raises:
        ValueError: missing, damaged, or it holds more than that.
    """
    path = Path(path)
    try:
        with torch.serialization.safe_globals(PLAIN):
            # Only the zip format can be mapped; the older one is read into memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except RefusedError as error:
        raise ValueError(f"{path} is not read: it holds {error}") from error
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
    """Parameters and buffers of a network and of all that it is made of, by dotted name.

    Raises:
        ValueError: a part that is none, or that holds itself.
    """
    if prefix.count(".") > MAX_DEPTH:
        raise ValueError(f"the network is nested too deeply ({prefix[:40]}...), expected a StyleGAN2-ADA")
    tensors = {}
    for kind in ("_parameters", "_buffers"):
        for name, value in _items(network, kind):
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}"] = value
    for name, module in _items(network, "_modules"):
        if not isinstance(module, Persistent):
            raise ValueError(f"{prefix}{name} is a {type(module).__name__}, expected a network of NVIDIA's classes")
        tensors |= state_dict_of(module, f"{prefix}{name}.")
    return tensors


def _items(network: Persistent, kind: str) -> Iterable[tuple[Any, Any]]:
    found = network.state.get(kind, {})
    if not isinstance(found, dict):
        raise ValueError(f"{network.class_name} has {kind} that are a {type(found).__name__}, expected a dictionary")
    return found.items()


def _persistent(meta: dict[str, Any]) -> Persistent:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise RefusedError("a network without a state")
    return Persistent(str(meta.get("class_name")), meta["state"])


def _parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    return data


def _storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


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
    ("numpy", "dtype"): _dtype,
    **{(f"{core}.multiarray", "_reconstruct"): _array for core in NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in NUMPY_CORES},
}


class RestrictedUnpickler(pickle.Unpickler):
    """Rebuilds what `ALLOWED` names and refuses the rest before anything is called."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("dnnlib.tflib"):
            raise RefusedError(
                "it is a network of StyleGAN in TensorFlow. `legacy.py --source FILE --dest NEW.pkl` of StyleGAN2-ADA "
                "in PyTorch makes one of it that can be converted"
            )
        if (module, name) not in ALLOWED:
            raise RefusedError(
                f"it names {module}.{name}, which is not among the tensors and containers of a StyleGAN2-ADA network; "
                "a file from an unknown source can run any program this way"
            )
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedError("it refers to data outside the file")
