"""The encoder against optimisation, picture by picture: error and seconds side by side."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from psp_hub.model import PSPModel
from psp_hub.refinement import refine
from psp_hub.wanted import find_wanted
from training.evaluation.baselines import at_256, mean_face
from training.evaluation.examples import Example
from training.evaluation.figures import MethodFigures, means, now, translate
from training.evaluation.metric_networks import MetricNetworks
from training.evaluation.optimize import LossFunction, Space, optimize, reconstruction_loss
from training.settings.evaluation import ComparisonSettings

# Of the distance beside the squared error: pSp's weight of LPIPS, and one that brings the unweighted distance, about
# eight times as large, to the same size.
DISTANCE_WEIGHTS = {"lpips": 0.8, "perceptual": 0.1}


class Comparison(NamedTuple):
    """Mean figures and seconds of each method, and of each its pictures [N, 3, 256, 256]."""

    methods: dict[str, dict[str, float]]
    pictures: dict[str, Tensor]


def optimization_loss(networks: MetricNetworks) -> tuple[LossFunction, str]:
    """The loss of the optimisation and its name: squared error, and the first distance that there is."""
    for name, weight in DISTANCE_WEIGHTS.items():
        if name in networks.distances:
            return reconstruction_loss(networks.distances[name], weight), f"mse + {weight} {name}"
    return reconstruction_loss(), "mse"


@torch.no_grad()
def compare_methods(
    model: PSPModel,
    task: str,
    examples: Sequence[Example],
    networks: MetricNetworks,
    wanted: ComparisonSettings,
    others: Mapping[str, PSPModel] | None = None,
) -> Comparison:
    """Answer each example with the encoder, refine its answer, and find its target by optimisation.

    Optimisation sees the target itself, encoder and refinement the input of the task: only for inversion are the two
    the same.

    Args:
        wanted: what is compared; its `other_models` are those in `others`.
        others: more models, by the names of their rows.

    Raises:
        ValueError: passes that the model cannot make.
    """
    mean = mean_face(model)
    others = {f"passes {count}": with_passes(model, count) for count in wanted.passes} | dict(others or {})
    seconds: dict[str, list[float]] = {}
    pictures: dict[str, list[Tensor]] = {}
    searches = list(product(wanted.optimization_starts, wanted.optimization_spaces, wanted.optimization_steps))
    total = len(examples) * (sum(steps for *_, steps in searches) + sum(wanted.refinement_steps))
    with tqdm(total=total, desc="optimising", unit="step") as progress:
        for example in examples:
            output, ws, times = translate(model, example.input)
            found = [("mean_face", mean, 0.0), ("encoder", output, sum(times.values()))]
            target = example.image[None].to(model.device)
            for name, other in others.items():
                image, _, other_times = translate(other, example.input)
                found.append((name, image, sum(other_times.values())))
            for count in wanted.refinement_steps:
                image, duration = refined(model, task, example, ws, count, progress)
                found.append((f"refined {count}", image, duration + times["encoder"]))
            for start, space, steps in searches:
                name = f"{space} {steps} from the encoder" if start == "encoder" else f"{space} {steps}"
                first = ws if start == "encoder" else None
                image, duration = optimized(model, target, networks, steps, space, first, progress)
                found.append((name, image, duration + (times["encoder"] if start == "encoder" else 0.0)))
            for name, image, duration in found:
                pictures.setdefault(name, []).append(image)
                seconds.setdefault(name, []).append(duration)
    methods = {
        name: figures_of(images, task, examples, networks, model.device) | {"seconds": statistics.fmean(seconds[name])}
        for name, images in pictures.items()
    }
    return Comparison(methods, {name: torch.stack(images) for name, images in pictures.items()})


def with_passes(model: PSPModel, count: int) -> PSPModel:
    """The same networks, which look `count` times.

    Raises:
        ValueError: they cannot. An encoder that makes all passes itself expects a face beside the picture, so it makes
            two or more; without a face, one.
    """
    one = model.config.num_passes == 1
    if model.encoder.residual_encoder is None and one != (count == 1):
        raise ValueError(f"--passes {count} is not for this encoder, expected {'1' if one else '2 or more'}")
    return PSPModel(model.encoder, model.generator, replace(model.config, num_passes=count))


def optimized(
    model: PSPModel,
    target: Tensor,
    networks: MetricNetworks,
    steps: int,
    space: Space,
    start: Tensor | None,
    progress: tqdm,
) -> tuple[Tensor, float]:
    """The picture [3, 256, 256] that one optimisation finds, and its seconds."""
    begin = now(model.device)
    loss, _ = optimization_loss(networks)
    ws = optimize(model.generator, target, loss, steps, space, start, progress=lambda *_: progress.update())
    image = at_256(model.decode(ws))[0].cpu()
    return image, now(model.device) - begin


def refined(
    model: PSPModel, task: str, example: Example, ws: Tensor, steps: int, progress: tqdm
) -> tuple[Tensor, float]:
    """The picture [3, 256, 256] of the encoder's answer after refinement, and the seconds of that."""
    begin = now(model.device)
    wanted = find_wanted(task, example.input[None], factor=example.factor)
    ws = refine(model.generator, ws, steps=steps, progress=lambda *_: progress.update(), **wanted._asdict())
    image = at_256(model.decode(ws))[0].cpu()
    return image, now(model.device) - begin


def figures_of(
    images: Sequence[Tensor], task: str, examples: Sequence[Example], networks: MetricNetworks, device: torch.device
) -> dict[str, float]:
    """Mean figures of the pictures [3, 256, 256] that one method answered."""
    answers = MethodFigures(networks, task)
    for image, example in zip(images, examples, strict=True):
        answers.add(image, example, device)
    figures = means(answers.figures)
    if networks.recogniser:
        wanted = torch.cat([networks.recogniser.embed(example.image[None].to(device)).cpu() for example in examples])
        figures["identity"] = (torch.stack(answers.vectors) * wanted).sum(dim=1).mean().item()
    return figures
