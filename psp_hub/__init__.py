"""pixel2style2pixel on an ordinary computer: a picture becomes the styles of a StyleGAN face."""

from importlib.metadata import PackageNotFoundError, version

from psp_hub.config import PSPConfig
from psp_hub.latents_file import Latents, load_latents, save_latents
from psp_hub.model import PSPModel, PSPOutput
from psp_hub.tasks import TASKS

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
try:
    __version__ = version("psp-hub")
except PackageNotFoundError:  # run from a checkout that is not installed, as `python app.py` may be
    __version__ = "unknown"
