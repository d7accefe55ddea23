"""Baselines by name: their sizes, what they play against, how they are saved and loaded."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from psp_hub.config import CONFIG_NAME
from psp_hub.hub.components import save_component, weights_name
from psp_hub.hub.transfer import CARD_NAME
from psp_hub.staging import staged_folder
from training.baselines.blocks import Baseline
from training.baselines.ccfpse import CCFPSE
from training.baselines.deepface import DeepFaceDrawing
from training.baselines.discriminators import MultiScaleDiscriminator, PyramidDiscriminator
from training.baselines.pix2pixhd import Pix2PixHD
from training.baselines.spade import Spade

Size = Literal["paper", "laptop", "tiny"]


class Row(NamedTuple):
    """A baseline: its class, its arguments by size, and its opponent."""

    cls: type[Baseline]
    sizes: dict[str, dict[str, Any]]
    opponent: type[nn.Module]
    num_scales: int


LAPTOP, TINY = 24, 8  # channels of the first layers; 64 in the papers
BASELINES = {
    "pix2pixhd": Row(
        Pix2PixHD,
        {
            "paper": {},
            "laptop": {"width": LAPTOP, "num_blocks": 6},
            "tiny": {"width": TINY, "depth": 2, "num_blocks": 1},
        },
        MultiScaleDiscriminator,
        3,
    ),
    "spade": Row(
        Spade,
        {"paper": {}, "laptop": {"width": LAPTOP, "hidden": 48}, "tiny": {"width": TINY, "hidden": TINY}},
        MultiScaleDiscriminator,
        2,
    ),
    "cc-fpse": Row(
        CCFPSE,
        {"paper": {}, "laptop": {"width": LAPTOP, "features": 32}, "tiny": {"width": TINY, "features": TINY}},
        PyramidDiscriminator,
        3,
    ),
    "deepfacedrawing": Row(
        DeepFaceDrawing,
        {
            "paper": {},
            "laptop": {"width": LAPTOP, "num_blocks": 6, "part_width": 16, "code_dim": 256},
            "tiny": {
                **{"width": TINY, "depth": 2, "num_blocks": 1, "part_width": TINY, "code_dim": 32, "map_width": TINY},
                "bank_size": 16,
            },
        },
        MultiScaleDiscriminator,
        3,
    ),
}
WIDTHS = {"paper": 64, "laptop": LAPTOP, "tiny": TINY}


def build_baseline(name: str, size: Size, in_channels: int, image_size: int) -> tuple[Baseline, nn.Module]:
    """A fresh baseline, and its opponent.

    Raises:
        ValueError: pictures of a size that it cannot have.
    """
    row = BASELINES[name]
    model = row.cls(in_channels=in_channels, image_size=image_size, **row.sizes[size])
    return model, row.opponent(in_channels, num_scales=row.num_scales, width=WIDTHS[size])


def is_baseline(folder: Path) -> bool:
    """Whether a folder holds a saved baseline."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        return False
    config = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(config, dict) and config.get("_class_name") in {row.cls.__name__ for row in BASELINES.values()}


def save_baseline(model: Baseline, folder: Path, card: str = "") -> None:
    """Write a baseline, with a card if there is one, all of it or nothing; one that is there is replaced."""
    with staged_folder(folder) as stage:
        save_component(model, stage)
        if card:
            (stage / CARD_NAME).write_text(card, encoding="utf-8")


def load_baseline(folder: Path) -> Baseline:
    """A saved baseline, in eval mode.

    Raises:
        ValueError: the folder holds none, or its weights do not fit.
    """
    if not is_baseline(folder):
        raise ValueError(f"{folder} holds no baseline, expected one of {', '.join(BASELINES)}")
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    cls = next(row.cls for row in BASELINES.values() if row.cls.__name__ == config["_class_name"])
    model = cls(**{name: value for name, value in config.items() if not name.startswith("_")})
    try:
        model.load_state_dict(load_file(folder / weights_name()))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"the weights in {folder} do not fit {cls.__name__}: {error}") from error
    return model.eval().requires_grad_(False)
