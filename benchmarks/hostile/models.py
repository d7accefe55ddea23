"""Tiny random models: what they answer is meaningless, but not what they are given."""

from pathlib import Path

import torch

from benchmarks.hostile.doors import ENDPOINTS
from psp_hub import PSPConfig, PSPModel
from psp_hub.encoder import PSPEncoder
from psp_hub.generators.mobile_stylegan import MobileStyleGAN
from psp_hub.tasks import TASKS

KINDS = {"drawing": 1, "labels": 19, "photo": 3, "masked": 4}


def make_models(folder: Path) -> dict[str, PSPModel]:
    """Tiny random models of all tasks that the page has, saved by task."""
    torch.manual_seed(0)
    generator = MobileStyleGAN(channels=(16, 16, 16, 16), w_dim=32, mapping_layers=2).eval()
    sizes = {"stem_width": 16, "stem_stride": 8, "stage_widths": (16, 16, 16), "stage_depths": (1, 1, 1)}
    sizes |= {"stage_strides": (1, 2, 2), "pyramid_width": 8, "base_width": 4, "head_widths": (8, 8, 8)}
    models = {}
    with torch.no_grad():
        for value in (*generator.parameters(), *generator.buffers()):
            value.normal_(std=0.5)
        for task in ENDPOINTS:
            kind = TASKS[task].input_kind
            encoder = PSPEncoder(in_channels=KINDS[kind], num_ws=8, w_dim=32, **sizes)
            for value in encoder.parameters():
                value.normal_(std=0.1)
            models[task] = PSPModel(encoder, generator, PSPConfig(task, kind)).eval().requires_grad_(False)
            models[task].save_pretrained(folder / task)
    return models
