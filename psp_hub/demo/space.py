"""What differs with the place where the page runs: this computer, a machine with a GPU, or a Hugging Face Space.

On a Space with ZeroGPU there is a GPU only while a function that `spaces.GPU` has wrapped is at work. It works in a
process forked from this one, so its arguments and results are pickled, and a generator there does not wait for whoever
reads it. Spaces have the package `spaces`; elsewhere nothing here needs it.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

import torch
from torch import nn

try:
    import spaces  # before anything is on the GPU
except ImportError:
    spaces = None
SHARED_GPU = spaces is not None  # ZeroGPU

F = TypeVar("F", bound=Callable[..., Any])

MAX_SECONDS = 30  # that one call may have of a shared GPU
# By identity: forked processes find the models here, where the pickled arguments only name them.
MODELS: WeakValueDictionary[int, nn.Module] = WeakValueDictionary()


def move_to_gpu(models: Iterable[nn.Module]) -> None:
    """Move models to the GPU, if there is one. Call it before the page starts: ZeroGPU packs them then."""
    for model in models:
        MODELS[id(model)] = model
        if torch.cuda.is_available():
            model.to("cuda")


def on_gpu(function: F) -> F:
    """Decorator for a function, or a generator function, that computes with a model.

    The model is its first argument; whatever else goes in or comes out can be pickled, and lies on the CPU. Files that
    it writes are for the caller to delete.
    """
    if spaces is None:
        return function

    def iterate(key: int, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from function(MODELS[key], *args, **kwargs)

    def call(key: int, *args: Any, **kwargs: Any) -> Any:
        return function(MODELS[key], *args, **kwargs)

    worker = spaces.GPU(iterate if inspect.isgeneratorfunction(function) else call, duration=MAX_SECONDS)

    @functools.wraps(function)
    def run(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        MODELS[id(model)] = model
        return worker(id(model), *args, **kwargs)

    return cast(F, run)
