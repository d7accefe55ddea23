"""A tiny model, and what it reads."""

import pytest
import torch
from PIL import Image

from psp_hub import PSPConfig, PSPModel
from tests.tiny_drawings import draw


@pytest.fixture
def model(make_encoder, tiny_generator) -> PSPModel:
    """8 styles of 32 numbers, 64 pixels."""
    return PSPModel(make_encoder(), tiny_generator, PSPConfig("sketch")).eval()


@pytest.fixture
def ws(model, drawing) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(drawing)


@pytest.fixture
def drawing() -> Image.Image:
    return draw()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, 256, 256, generator=torch.Generator().manual_seed(0))
