"""Copy a trained model into the package as a starter: fp16 weights of at most 24 MiB.

python training/recipes/export_starter.py --task sketch --model runs/sketch/model
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from psp_hub.model import PSPModel
from psp_hub.model_names import STARTERS
from training.settings.flags import OrNone, parse
from training.settings.run import Task

MAX_BYTES = 24 * 2**20


@dataclass(frozen=True)
class StarterSettings:
    """The model, and which starter it becomes."""

    task: Task
    """whose starter it is"""
    model: Path
    """folder of the trained model"""
    output_dir: OrNone[Path] = None
    """by default the package's own starter of the task"""


def parse_args(words: list[str] | None = None) -> StarterSettings:
    return parse(StarterSettings, words, __doc__)


def main(settings: StarterSettings) -> None:
    model = PSPModel.from_pretrained(settings.model)
    folder = settings.output_dir or STARTERS / settings.task
    # Only the encoder: the generator is the built-in one, fetched by its name.
    encoder = torch.nn.Module.to(model.encoder, torch.float16)  # the own `to` of diffusers warns without a reason
    PSPModel(encoder, model.generator, model.config).save_pretrained(folder)
    size = sum(path.stat().st_size for path in (folder / "encoder").iterdir())
    if size > MAX_BYTES:
        raise SystemExit(f"{folder} has {size} bytes of weights, expected at most {MAX_BYTES}")
    print(f"{folder}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main(parse_args())
