"""Tiny models for photos, and what they read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from psp_hub import PSPConfig, PSPModel
from psp_hub.demo.photo.crops import Crop
from psp_hub.demo.photo.handlers import Handlers
from psp_hub.generators import load_generator
from tests.photo_faces import KINDS


@pytest.fixture(scope="module")
def models(generator_dir: Path, make_encoder: Callable) -> dict[str, PSPModel]:
    generator = load_generator(generator_dir)
    return {
        task: PSPModel(make_encoder(in_channels=channels), generator, PSPConfig(task, kind))
        for task, (kind, channels) in KINDS.items()
    }


@pytest.fixture(scope="module")
def crop(portrait: Callable) -> Crop:
    return Crop(portrait(64, 3))


@pytest.fixture(scope="module")
def gapped(crop: Crop) -> Crop:
    missing = Image.new("L", crop.image.size)
    missing.paste(255, (8, 16, 40, 40))
    return replace(crop, missing=missing)


@pytest.fixture
def handlers(models: dict[str, PSPModel]) -> Handlers:
    return Handlers(models, {task: [] for task in models})
