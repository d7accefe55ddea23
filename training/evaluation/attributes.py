"""What can be seen in an answered face: glasses, a hat, a beard, long hair, ... read from the picture alone.

The face parser's label map tells open mouths and how long hair is. Beard, moustache, baldness, glasses, hat, smile and
gender are linear in what the parser's trunk sees; `training/recipes/fit_attributes.py` fits those heads. The label map
has thick frames, but few thin ones: for glasses, either is enough.
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from psp_hub.face_parser import FaceParser
from psp_hub.images.face_classes import CLASS_NAMES

HEADS = Path(__file__).with_name("attribute_heads.safetensors")
NUMBERS = {name: i for i, name in enumerate(CLASS_NAMES)}
# Shares of the picture from which on a part counts as seen: fewer pixels are noise of the parser.
MIN_GLASSES, MIN_OPEN_MOUTH, MIN_HAIR = 0.005, 0.004, 0.02
SHORT_HAIR, LONG_HAIR = 0.05, 0.15  # at most and at least this share of what is below the mouth; between is neither
LIPS = ("u_lip", "l_lip", "mouth")
USUAL_MOUTH = 0.73  # height of the mouth in an aligned face, where the parser sees none
MIN_LIPS = 12  # pixels


class Window(NamedTuple):
    """The part of the trunk's 16 x 16 coarse features that a head looks at, and into how many cells it is pooled."""

    rows: slice
    columns: slice
    cells: tuple[int, int]

    def __call__(self, features: Tensor) -> Tensor:
        """[N, C, 16, 16] -> [N, C x cells]."""
        part = features[:, :, self.rows, self.columns].float()
        return F.adaptive_avg_pool2d(part, self.cells).flatten(1)


WHOLE_FACE = Window(slice(1, 15), slice(2, 14), (7, 6))
TOP = Window(slice(0, 7), slice(3, 13), (3, 5))
AROUND_EYES = Window(slice(5, 10), slice(3, 13), (2, 5))
AROUND_MOUTH = Window(slice(9, 15), slice(4, 12), (3, 4))
WINDOWS = {
    "bald": WHOLE_FACE,
    "beard": AROUND_MOUTH,
    "glasses": AROUND_EYES,
    "hat": TOP,
    "moustache": AROUND_MOUTH,
    "smile": AROUND_MOUTH,
    "woman": WHOLE_FACE,
}


class AttributeReader(nn.Module):
    """Tells which `training.evaluation.strokes.ATTRIBUTES` a face shows.

    Args:
        parser: of any sizes; the heads belong to the one that ships.
        heads: `NAME.weight` [C x cells] and `NAME.bias` [] for each of `WINDOWS`.
    """

    def __init__(self, parser: FaceParser, heads: dict[str, Tensor]):
        super().__init__()
        self.parser = parser
        for name, tensor in heads.items():
            self.register_buffer(name.replace(".", "_"), tensor.float())

    @classmethod
    def from_file(cls, path: Path = HEADS) -> "AttributeReader":
        """The parser that ships, with the heads of a file.

        Raises:
            ValueError: heads of another parser, or of other attributes.
        """
        parser, heads = FaceParser.from_starter(), load_file(path)
        channels = parser.trunk(torch.zeros(1, 3, 256, 256))[-1].shape[1]
        expected = {f"{name}.weight": channels * w.cells[0] * w.cells[1] for name, w in WINDOWS.items()}
        expected |= {f"{name}.bias": 1 for name in WINDOWS}
        found = {name: tensor.numel() for name, tensor in heads.items()}
        if found != expected:
            raise ValueError(f"{path} has {found}, expected {expected}")
        return cls(parser, heads).eval().requires_grad_(False)

    @torch.no_grad()
    def read(self, images: Tensor) -> list[dict[str, bool]]:
        """Aligned faces [N, 3, 256, 256] in [-1, 1] -> for each, whether it shows each of the attributes."""
        stages = self.parser.trunk(images)
        logits = F.interpolate(self.parser.decode(*stages).float(), scale_factor=2, mode="bilinear")
        seen = (self._log_odds(stages[-1]) > 0).tolist()
        return [
            attributes(labels, dict(zip(WINDOWS, values, strict=True)))
            for labels, values in zip(logits.argmax(dim=1).cpu(), seen, strict=True)
        ]

    @torch.no_grad()
    def log_odds(self, images: Tensor) -> Tensor:
        """What the heads say of aligned faces [N, 3, 256, 256] in [-1, 1]: [N, len(WINDOWS)]."""
        return self._log_odds(self.parser.trunk(images)[-1])

    def _log_odds(self, features: Tensor) -> Tensor:
        """[N, C, 16, 16] -> [N, len(WINDOWS)]."""
        scores = {name: window(features) @ self._head(name, "weight") for name, window in WINDOWS.items()}  # [N] each
        return torch.stack([score + self._head(name, "bias") for name, score in scores.items()], dim=1)

    def _head(self, name: str, part: str) -> Tensor:
        tensor: Tensor = getattr(self, f"{name}_{part}")
        return tensor


def attributes(labels: Tensor, seen: dict[str, bool]) -> dict[str, bool]:
    """All attributes of one face.

    Args:
        labels: its label map [H, W].
        seen: what the heads say, by the names of `WINDOWS`.
    """
    below = hair_below_mouth(labels)
    bald = seen["bald"] and not seen["hat"] and below < SHORT_HAIR
    return {
        "glasses": seen["glasses"] or share(labels, "glasses") > MIN_GLASSES,
        "bald": bald,
        "short hair": not bald and below < SHORT_HAIR and share(labels, "hair") > MIN_HAIR,
        "long hair": below > LONG_HAIR,
        "hat": seen["hat"],
        "beard": seen["beard"],
        "moustache": seen["moustache"],
        "smile": seen["smile"],
        "open mouth": share(labels, "mouth") > MIN_OPEN_MOUTH,
        "man": not seen["woman"],
        "woman": seen["woman"],
    }


def share(labels: Tensor, *names: str) -> float:
    """Share of a label map that is some of these parts."""
    return torch.isin(labels, torch.tensor([NUMBERS[name] for name in names])).float().mean().item()


def hair_below_mouth(labels: Tensor) -> float:
    """Share of the picture below the middle of the mouth that is hair."""
    lips = torch.isin(labels, torch.tensor([NUMBERS[name] for name in LIPS])).nonzero()  # [n, 2], rows first
    height = len(labels)
    row = int(lips[:, 0].float().mean()) if len(lips) >= MIN_LIPS else round(USUAL_MOUTH * height)
    return share(labels[row:], "hair")
