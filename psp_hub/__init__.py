"""pixel2style2pixel on an ordinary computer: a picture becomes the styles of a StyleGAN face."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from psp_hub.tasks import TASKS

if TYPE_CHECKING:
    from psp_hub.config import PSPConfig
    from psp_hub.latents_file import Latents, load_latents, save_latents
    from psp_hub.model import PSPModel, PSPOutput

__all__ = [
    "TASKS",
    "Latents",
    "PSPConfig",
    "PSPModel",
    "PSPOutput",
    "__version__",
    "load_latents",
    "save_latents",
]
# Where the names are that bring torch along: it takes seconds, and a command line that only says its help needs none.
LATER = {"PSPConfig": "config", "PSPModel": "model", "PSPOutput": "model"}
LATER |= dict.fromkeys(("Latents", "load_latents", "save_latents"), "latents_file")

try:
    __version__ = version("psp-hub")
except PackageNotFoundError:  # run from a checkout that is not installed, as `python app.py` may be
    __version__ = "unknown"


def __getattr__(name: str) -> object:
    """Import what was asked for (PEP 562)."""
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
