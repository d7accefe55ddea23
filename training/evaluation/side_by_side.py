"""Several systems on the same inputs: a row of figures for each, and their pictures."""

import statistics
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from training.evaluation.examples import Example, ExampleSet
from training.evaluation.figures import MethodFigures
from training.evaluation.metric_networks import MetricNetworks
from training.evaluation.systems import System
from training.run.validation import visible

Figures = dict[str, float | None]  # None where a system cannot tell


class SideBySide(NamedTuple):
    """What was found.

    Args:
        figures: by system.
        names: of the inputs.
        inputs: as pictures, [N, 3, 256, 256]; those that were looked for; and those of each system.
    """

    figures: dict[str, Figures]
    names: list[str]
    inputs: Tensor
    targets: Tensor
    pictures: dict[str, Tensor]


class Column:
    """All that one system answered."""

    def __init__(self, system: System, task: str, networks: MetricNetworks):
        self.system, self.answers = system, MethodFigures(networks, task, layout=True)
        self.distance = next(iter(networks.distances.values()), None)
        self.pictures: list[Tensor] = []
        self.seconds: list[float] = []
        self.spread: list[float] = []

    def add(self, example: Example, device: torch.device) -> None:
        image, seconds = self.system.answer(example)
        self.answers.add(image, example, device)
        self.pictures.append(image)
        self.seconds += [] if seconds is None else [seconds]

    def vary(self, example: Example, seed: int, number: int, device: torch.device) -> None:
        varied = self.system.variations(example, seed, number) if self.distance is not None else None
        if varied is not None:
            self.spread.append(diversity(varied.to(device), self.distance))

    def figures(self, targets: MethodFigures, truth: list[Tensor]) -> Figures:
        return chosen(self.answers.summary(targets, truth)) | {
            "diversity": statistics.fmean(self.spread) if self.spread else None,
            "seconds": statistics.median(self.seconds) if self.seconds else None,
            "parameters": self.system.parameters,
        }


@torch.no_grad()
def compare_systems(
    systems: Mapping[str, System],
    task: str,
    examples: ExampleSet,
    networks: MetricNetworks,
    device: torch.device,
    num_varied: int = 20,
    num_variations: int = 4,
    seed: int = 0,
) -> SideBySide:
    """Measure systems on a set. A figure without its network is left out.

    Layout is that of the label map that was given, for segmentation, else of the target as the parser sees it.

    Args:
        num_varied: the first inputs, whose variations are drawn ...
        num_variations: ... so many of each.
        seed: of the variations.

    Returns:
        Each system has `mean_iou`, `pixel_accuracy`, `identity`, the distances by their names, `frechet`, `diversity`
        (mean distance of two variations of one input), `seconds` (median) and `parameters`.
    """
    columns = {name: Column(system, task, networks) for name, system in systems.items()}
    targets, truth = MethodFigures(networks, task, layout=True), []
    kept: list[tuple[str, Tensor, Tensor]] = []  # name, input, target: an input as it is may have 19 channels
    for i, example in enumerate(tqdm(examples, desc="comparing", unit="input")):
        kept.append((example.name, visible(example.input[None].float())[0], example.image))
        targets.embed(example.image.to(device))
        if task == "segmentation":
            truth.append(example.input.argmax(dim=0).to(torch.uint8))
        for column in columns.values():
            column.add(example, device)
            if i < num_varied:
                column.vary(example, seed, num_variations, device)
    figures = {name: column.figures(targets, truth or targets.labels) for name, column in columns.items()}
    names, inputs, images = zip(*kept, strict=True)
    pictures = {name: torch.stack(column.pictures) for name, column in columns.items()}
    return SideBySide(figures, list(names), torch.stack(inputs), torch.stack(images), pictures)


def diversity(variations: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Mean distance of all pairs of variations [K, 3, H, W] of one input."""
    pairs = list(combinations(range(len(variations)), 2))
    first, second = (variations[list(rows)] for rows in zip(*pairs, strict=True))
    return distance(first, second).mean().item()


def chosen(summary: dict) -> Figures:
    """The figures of the table, from all that `MethodFigures.summary` tells."""
    labels, frechet = summary.get("labels", {}), summary.get("frechet", {})
    found = {name: labels.get(name) for name in ("mean_iou", "pixel_accuracy")}
    found["identity"] = summary.get("identity_matched")
    found |= {name: summary[name] for name in ("lpips", "perceptual") if name in summary}
    found["frechet"] = frechet.get("distance")
    return {name: value for name, value in found.items() if value is not None}
