"""Fetch the default generator once: wheel -> checked -> safetensors in the assets cache.

Where it is looked for, in this order: the environment variable `PSP_HUB_GENERATOR` (a folder written by
`save_pretrained`, the wheel file, or a folder that holds the wheel), the cache, an installed distribution random-face,
and last the package index, through pip.
"""

import hashlib
import importlib.metadata
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock

from psp_hub.generators.mobile_stylegan import MobileStyleGAN
from psp_hub.generators.random_face import convert
from psp_hub.hub.components import load_component
from psp_hub.hub.diffusers_parts import CONFIG_NAME
from psp_hub.hub.diffusers_parts import SAFETENSORS_WEIGHTS_NAME as WEIGHTS_NAME

logger = logging.getLogger(__name__)

DISTRIBUTION, VERSION = "random-face", "2021.7.21.1"
WHEEL = "random_face-2021.7.21.1-py3-none-any.whl"
WHEEL_SHA256 = "e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5"
ENVIRONMENT_VARIABLE = "PSP_HUB_GENERATOR"
CHECKSUMS_NAME = "SHA256"
STDERR = 2  # the file descriptor: `sys.stderr` is not always a file (notebooks)


class GeneratorUnavailableError(OSError):
    """The default generator is neither on this machine nor reachable; the message says what to do."""


def load_random_face() -> MobileStyleGAN:
    """The MobileStyleGAN trained on FFHQ, fetched and converted on first use.

    Raises:
        GeneratorUnavailableError: it cannot be fetched; the message says what to do.
        ValueError: what `PSP_HUB_GENERATOR` names is not this generator.
    """
    if chosen := os.environ.get(ENVIRONMENT_VARIABLE):
        return load_chosen(Path(os.path.expanduser(chosen)))
    folder = cache_folder()
    if is_intact(folder):
        return load_component(MobileStyleGAN, folder)
    # One process at a time fetches; another that starts meanwhile waits here and then finds the cache filled.
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(WeakFileLock(folder.with_suffix(".lock")))
        except OSError as error:
            logger.debug("no lock (%s): the cache cannot be written, so there is nothing to wait for", error)
        if not is_intact(folder):
            if folder.exists():
                logger.warning("%s is damaged: building it again", folder)
            generator = fetch()
            try:
                store(generator, folder)
            except OSError as error:
                logger.warning(
                    "cannot keep the generator in %s (%s): it will be fetched again at the next start. "
                    "Set HF_ASSETS_CACHE to a writable folder.",
                    folder,
                    error,
                )
                return generator
    return load_component(MobileStyleGAN, folder)  # as at every later start


def cache_folder() -> Path:
    """Where the converted generator is kept, as `huggingface_hub.cached_assets_path` would name it.

    That function also makes the folder, so it fails where nothing can be written.
    """
    return Path(constants.HF_ASSETS_CACHE, "psp-hub", "generators", "mobilestylegan-ffhq").absolute()


def load_chosen(path: Path) -> MobileStyleGAN:
    """Load from the path in `PSP_HUB_GENERATOR`."""
    if (path / CONFIG_NAME).is_file():
        return load_component(MobileStyleGAN, path)
    wheel = path / WHEEL if path.is_dir() else path
    if not wheel.is_file():
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE} is {path}, expected the file {WHEEL}, a folder that holds it, "
            "or a folder written by MobileStyleGAN.save_pretrained"
        )
    return convert_wheel(wheel)


def fetch() -> MobileStyleGAN:
    """Convert the networks of the installed distribution, or of the wheel that pip downloads."""
    try:
        installed = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        if installed.version == VERSION:
            return convert(Path(str(installed.locate_file(""))))
    logger.warning("First start: fetching the face generator (38 MB), once.")
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
        # pip draws its own progress bar; on stderr, because our stdout belongs to the caller.
        result = subprocess.run([*command, f"{DISTRIBUTION}=={VERSION}", "--dest", folder], stdout=STDERR)
        wheel = Path(folder, WHEEL)
        if result.returncode or not wheel.is_file():
            raise GeneratorUnavailableError(
                f"The face generator could not be downloaded (pip's message is above). Connect to the internet and "
                f"start again; or, on a connected machine, run `pip download --no-deps {DISTRIBUTION}=={VERSION}`, "
                f"copy {WHEEL} here and set the environment variable {ENVIRONMENT_VARIABLE} to that file."
            )
        return convert_wheel(wheel)


def convert_wheel(wheel: Path) -> MobileStyleGAN:
    """Check the wheel against its known SHA-256, then convert it.

    Raises:
        ValueError: another file, or a damaged one.
    """
    if (got := sha256(wheel)) != WHEEL_SHA256:
        raise ValueError(f"{wheel} has SHA-256 {got}, expected {WHEEL_SHA256}: damaged or another file")
    return convert(zipfile.Path(wheel))


def store(generator: MobileStyleGAN, folder: Path) -> None:
    """Write the generator beside `folder`, then rename it: no reader ever sees half of it.

    A process killed on the way leaves a hidden folder that nobody reads.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as staging:
        staged = Path(staging, "new")
        generator.save_pretrained(staged)
        # safetensors makes its files private; the config follows the umask.
        shutil.copymode(staged / CONFIG_NAME, staged / WEIGHTS_NAME)
        (staged / CHECKSUMS_NAME).write_bytes(checksums(staged))
        if folder.exists():
            folder.rename(Path(staging, "old"))  # deleted with `staging`
        staged.rename(folder)


def is_intact(folder: Path) -> bool:
    """Whether `folder` holds the converted generator, bit for bit as it was written."""
    try:
        return (folder / CHECKSUMS_NAME).read_bytes() == checksums(folder)
    except OSError:
        return False


def checksums(folder: Path) -> bytes:
    """What `sha256sum` prints for the files of a stored generator."""
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in (CONFIG_NAME, WEIGHTS_NAME)).encode()


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
