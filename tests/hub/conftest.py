"""A Hub on this machine, and a process that talks to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from psp_hub import PSPModel
from tests.hub_client import HubClient
from tests.hub_models import pictures
from tests.loopback_hub import OWNER, LoopbackHub


@pytest.fixture(scope="session")
def served() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache and settings of the clients."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def client(served: LoopbackHub, home: Path, generator_dir: Path) -> Iterator[HubClient]:
    """A process of the owner of all repositories, for whom the built-in generator is the tiny one."""
    with HubClient(served.url, home, token=OWNER, PSP_HUB_GENERATOR=str(generator_dir)) as client:
        yield client


@pytest.fixture
def hub(served: LoopbackHub) -> LoopbackHub:
    """Without repositories and with no requests yet."""
    served.offline = False
    served.repos.clear()
    served.requests.clear()
    return served


@pytest.fixture
def cold(tmp_path: Path) -> dict[str, Path]:
    """Options for a load that finds nothing in the cache."""
    return {"cache_dir": tmp_path / "cold"}


@pytest.fixture(scope="session")
def calm_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, its last layer scaled so that the pictures are in about [-1, 1] as they should be."""
    model, folder = PSPModel.from_pretrained(model_dir), tmp_path_factory.mktemp("calm")
    to_img = model.generator.synthesis.to_img
    scale = pictures(model).abs().max()
    to_img.weight /= scale
    to_img.bias /= scale
    model.save_pretrained(folder)
    return folder
