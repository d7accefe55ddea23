"""Models that are pushed in tests, and what has to come back."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from psp_hub import PSPConfig, PSPModel
from psp_hub.config import GeneratorReference

BUILTIN = "mobilestylegan-ffhq"

WEIGHTS = "diffusion_pytorch_model.safetensors"

ENCODER_WEIGHTS, HALF_WEIGHTS = f"encoder/{WEIGHTS}", "encoder/diffusion_pytorch_model.fp16.safetensors"

CONFIGS = [".gitattributes", "README.md", "config.json", "encoder/config.json"]


@torch.no_grad()
def pictures(model: PSPModel) -> Tensor:
    """As hub_client.py draws them."""
    return model(torch.linspace(0, 1, 65536).reshape(1, 1, 256, 256).sin()).images


def assert_loaded(output: Path, model: PSPModel) -> None:
    """What `client.load` wrote is this model, bit for bit, and draws the same."""
    loaded = load_file(output)
    assert torch.equal(loaded.pop("images"), pictures(model))
    expected = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert [name for name in loaded if not torch.equal(loaded[name], expected[name])] == []


def refer(model_dir: Path, folder: Path, base_generator: str | GeneratorReference) -> Path:
    """A saved copy of the model with another `base_generator`."""
    model = PSPModel.from_pretrained(model_dir)
    model.config = PSPConfig("sketch", base_generator=base_generator)
    model.save_pretrained(folder)
    return folder
