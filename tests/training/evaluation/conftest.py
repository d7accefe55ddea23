"""Tiny models of every task."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from psp_hub import PSPConfig, PSPModel
from psp_hub.encoder import PSPEncoder
from psp_hub.generators import load_generator
from psp_hub.tasks import TASKS


@pytest.fixture(scope="module")
def model(model_dir) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)


@pytest.fixture(scope="module")
def task_model(generator_dir, tmp_path_factory) -> Callable[[str], Path]:
    """Function of a task's name: a saved tiny model for it."""

    def make(task: str) -> Path:
        folder = tmp_path_factory.mktemp(task)
        sizes = {"stem_width": 16, "stem_stride": 8, "stage_widths": (16, 16, 16), "stage_depths": (1, 1, 1)}
        sizes |= {"stage_strides": (1, 2, 2), "pyramid_width": 8, "base_width": 4, "head_widths": (8, 8, 8)}
        row = TASKS[task]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = PSPEncoder(in_channels=row.in_channels, num_ws=8, w_dim=32, **sizes)
            for parameter in encoder.heads.parameters():
                if not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.1)
        PSPModel(encoder, load_generator(generator_dir), PSPConfig(task, row.input_kind)).save_pretrained(folder)
        return folder

    return make
