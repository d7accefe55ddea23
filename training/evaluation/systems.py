"""What is compared: models that run here, and the answers of others in folders. All pictures are seen at 256 px."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from psp_hub.images.folder import listed
from psp_hub.layers import resample
from psp_hub.model import PSPModel
from training.baselines.blocks import Baseline
from training.data.folders import FolderPictures, read, read_photo
from training.evaluation.baselines import at_256
from training.evaluation.examples import Example
from training.evaluation.figures import now


class Answered(NamedTuple):
    """A picture [3, 256, 256] in [-1, 1], and the seconds that it took; None where that is not known."""

    image: Tensor
    seconds: float | None


class System(Protocol):
    """Answers the inputs of a task."""

    parameters: int | None  # None where that is not known

    def answer(self, example: Example) -> Answered: ...

    def variations(self, example: Example, seed: int, number: int) -> Tensor | None:
        """Several answers to one input, [number, 3, 256, 256]; None where there is one answer only."""


class ModelSystem:
    """A model of this project."""

    def __init__(self, model: PSPModel):
        self.model = model
        self.parameters: int | None = sum(
            parameter.numel() for part in (model.encoder, model.generator.synthesis) for parameter in part.parameters()
        )

    @torch.no_grad()
    def answer(self, example: Example) -> Answered:
        start = now(self.model.device)
        image = self.model.decode(self.model.encode(example.input[None]))
        seconds = now(self.model.device) - start
        return Answered(at_256(image)[0].cpu(), seconds)

    @torch.no_grad()
    def variations(self, example: Example, seed: int, number: int) -> Tensor | None:
        ws = self.model.encode(example.input[None])
        mixed = self.model.mix(ws, seed=seed, num_variations=number)
        return torch.cat([at_256(self.model.decode(some[None])).cpu() for some in mixed])


class BaselineSystem:
    """A baseline that was trained here (`training.baselines`)."""

    def __init__(self, model: Baseline):
        self.model = model
        self.parameters: int | None = sum(parameter.numel() for parameter in model.parameters())

    @torch.no_grad()
    def answer(self, example: Example) -> Answered:
        device = next(self.model.parameters()).device
        start = now(device)
        image = self.model(resample(example.input[None].float().to(device), self.model.image_size))
        seconds = now(device) - start
        return Answered(at_256(image)[0].cpu(), seconds)

    def variations(self, example: Example, seed: int, number: int) -> Tensor | None:
        return None


class FolderSystem:
    """The answers of another system, under the names of the inputs, suffixes apart.

    Raises:
        ValueError: not a folder of pictures.
    """

    parameters: int | None = None

    def __init__(self, folder: Path):
        self.pictures = FolderPictures(folder)
        self.position = self.pictures.stems()

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the inputs that it has no answer to."""
        return [name for name in map(stem_of, names) if name not in self.position]

    def answer(self, example: Example) -> Answered:
        return Answered(read(self.pictures, self.position[stem_of(example.name)], read_photo), None)

    def variations(self, example: Example, seed: int, number: int) -> Tensor | None:
        return None


def stem_of(name: str) -> str:
    """The name of a picture without its suffix."""
    return Path(name).with_suffix("").as_posix()


def check_complete(systems: Mapping[str, System], names: Sequence[str]) -> None:
    """Raise a ValueError that lists the answers that are missing: figures of other inputs are no comparison."""
    problems = []
    for name, system in systems.items():
        if isinstance(system, FolderSystem) and (missing := system.missing(names)):
            problems.append(f"{name} lacks {len(missing)} of {len(names)}: {listed(missing)}")
    if problems:
        raise ValueError(f"not all inputs have an answer: {'; '.join(problems)}")
