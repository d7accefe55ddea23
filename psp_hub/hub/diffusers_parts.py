"""What this project takes from diffusers, without the compiler of torch, which diffusers imports as well.

`diffusers.utils` wants one function of `torch._dynamo`, to mark classes of transformers by. Importing that takes as
long as torch itself and brings sympy and torch's distributed tensors along, and no network here is marked. So a
stand-in has the function while diffusers is imported; where somebody calls it, it calls the real one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


class StandIn(ModuleType):
    """`torch._dynamo`, which is imported when something of it is needed."""

    @staticmethod
    def allow_in_graph(function: Any) -> Any:
        return import_module(COMPILER).allow_in_graph(function)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by the import itself
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:  # another thread wants it meanwhile
            del sys.modules[COMPILER]
        return getattr(import_module(COMPILER), name)


@contextmanager
def compiler_later() -> Iterator[None]:
    """What is imported here gets the stand-in, unless the compiler is there already."""
    if COMPILER in sys.modules:
        yield
        return
    stand_in = sys.modules[COMPILER] = StandIn(COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(COMPILER) is stand_in:
            del sys.modules[COMPILER]


with compiler_later():
    from diffusers.configuration_utils import ConfigMixin, register_to_config
    from diffusers.models.modeling_utils import ModelMixin
    from diffusers.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, BaseOutput, is_accelerate_available

__all__ = [
    "CONFIG_NAME",
    "SAFETENSORS_WEIGHTS_NAME",
    "BaseOutput",
    "ConfigMixin",
    "ModelMixin",
    "is_accelerate_available",
    "register_to_config",
]
