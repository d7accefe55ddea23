"""Measure the answers of a model to examples: one picture at a time, all of them counted."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from psp_hub.model import PSPModel
from training.evaluation.baselines import at_256, mean_face, other_answers
from training.evaluation.examples import Example, ExampleSet
from training.evaluation.metric_networks import MetricNetworks
from training.evaluation.metrics import frechet_distance, identity, masked_error, psnr, squared_error
from training.evaluation.segmentation import confusion, segmentation_figures
from training.evaluation.yaw import turned_figures, yaws
from training.losses import WError


class Measurement(NamedTuple):
    """The report of a set of pictures, a row of figures for each, and the first examples with their outputs."""

    report: dict
    rows: list[dict[str, str | float]]
    shown: list[tuple[Example, Tensor]]


class MethodFigures:
    """The pictures that one method answered, as the networks see them.

    Args:
        layout: look at their label maps whatever the task is; by default for segmentation.
    """

    def __init__(self, networks: MetricNetworks, task: str, layout: bool = False):
        self.networks, self.task, self.layout = networks, task, layout or task == "segmentation"
        self.figures: list[dict[str, float]] = []
        self.vectors: list[Tensor] = []
        self.features: list[Tensor] = []
        self.labels: list[Tensor] = []

    def embed(self, image: Tensor) -> None:
        """Let the networks see a picture [3, 256, 256]."""
        batch = image[None]
        if self.networks.recogniser:
            self.vectors.append(self.networks.recogniser.embed(batch)[0].cpu())
        if self.networks.features:
            self.features.append(self.networks.features(batch)[0].cpu())
        if self.networks.parser and self.layout:
            self.labels.append(self.networks.parser(batch)[0].argmax(dim=0).to(torch.uint8).cpu())

    def add(self, image: Tensor, example: Example, device: torch.device) -> None:
        """Measure a picture [3, 256, 256] on the CPU against its target."""
        self.embed(image.to(device))
        figures = {name: value.item() for name, value in pixel_figures(self.task, image, example).items()}
        for name, distance in self.networks.distances.items():
            figures[name] = distance(image[None].to(device), example.image[None].to(device)).item()
        self.figures.append(figures)

    def summary(self, targets: "MethodFigures", truth: list[Tensor]) -> dict:
        """Figures over all pictures. Also adds each picture's own to `figures`.

        Args:
            targets: the pictures that were asked for.
            truth: their label maps [256, 256], for segmentation.
        """
        summary = means(self.figures)
        if self.vectors:
            figures, matched, ranks = identity(torch.stack(self.vectors), torch.stack(targets.vectors))
            summary |= figures
            for row, cosine, rank in zip(self.figures, matched.tolist(), ranks.tolist(), strict=True):
                row |= {"identity": cosine, "rank": rank}
        if len(self.features) > 1:
            summary["frechet"] = {
                "distance": frechet_distance(torch.stack(self.features), torch.stack(targets.features)),
                "features_of": self.networks.features_of,
                "pictures": len(self.features),
            }
        if self.labels:
            summary["labels"] = label_figures(self.labels, truth)
            for row, answer, wanted in zip(self.figures, self.labels, truth, strict=True):
                own = segmentation_figures(confusion(answer, wanted))
                row |= {name: own[name] for name in ("pixel_accuracy", "mean_iou")}
        return summary


def pixel_figures(task: str, image: Tensor, example: Example) -> dict[str, Tensor]:
    """What the pixels of one picture [3, 256, 256] say: [1] each."""
    image, target = image[None], example.image[None]
    error = squared_error(image, target)
    figures = {"mse": error, "psnr": psnr(error)}
    if example.remake:
        again = example.remake(image[0])
        figures["consistency_psnr"] = psnr(squared_error(again[None], example.input[None]))
    if task == "inpainting":
        missing = example.input[None, 3:]
        figures["mse_missing"] = masked_error(image, target, missing)
        figures["mse_known"] = masked_error(image, target, 1 - missing)
    if task == "frontalization":  # 0 for a face that looks straight ahead, in even light
        figures["asymmetry"] = squared_error(image, image.flip(-1))
    return figures


def label_figures(answers: list[Tensor], truth: list[Tensor]) -> dict:
    """Agreement of label maps [256, 256] over all pictures, and that of each picture with the map of the next one."""

    def total(wanted: list[Tensor]) -> dict:
        return segmentation_figures(sum(confusion(*pair) for pair in zip(answers, wanted, strict=True)))

    shuffled = total(truth[1:] + truth[:1])
    del shuffled["iou"]
    return total(truth) | ({"shuffled": shuffled} if len(truth) > 1 else {})


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each figure over the rows."""
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]} if rows else {}


def translate(model: PSPModel, source: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
    """One input [C, 256, 256] -> output [3, 256, 256], ws [1, num_ws, w_dim], and seconds of each half."""
    start = now(model.device)
    ws = model.encode(source[None])
    middle = now(model.device)
    image = model.decode(ws)
    end = now(model.device)
    return at_256(image)[0].cpu(), ws, {"encoder": middle - start, "generator": end - middle}


def now(device: torch.device) -> float:
    """Seconds, after all that the device was told to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class SetFigures:
    """The figures of one set, collected picture by picture."""

    def __init__(self, model: PSPModel, task: str, networks: MetricNetworks):
        self.model, self.task, self.networks = model, task, networks
        self.mean = mean_face(model)
        self.targets, self.outputs = MethodFigures(networks, task), MethodFigures(networks, task)
        self.others: dict[str, MethodFigures] = {}
        self.rows: list[dict[str, str | float]] = []  # what is known of each picture beside its figures
        self.seconds: list[dict[str, float]] = []
        self.truth: list[Tensor] = []  # label maps [256, 256]
        self.w_error: WError | None = None
        self.w_errors: list[list[float]] = []  # of the output and of the mean face

    def add(self, example: Example) -> Tensor:
        """Translate and measure one; the output [3, 256, 256]."""
        output, ws, seconds = translate(self.model, example.input)
        self.seconds.append(seconds)
        self.rows.append({"picture": example.name} | {f"seconds_{name}": value for name, value in seconds.items()})
        if example.factor:
            self.rows[-1]["factor"] = example.factor
        if example.w is not None:
            self.add_w_error(ws, example.w)
        if self.task == "frontalization" and self.networks.parser:
            pictures = torch.stack([example.input, output]).to(self.model.device)
            self.rows[-1] |= zip(("yaw_input", "yaw"), yaws(pictures, self.networks.parser).tolist(), strict=True)
        if self.task == "segmentation":
            self.truth.append(example.input.argmax(dim=0).to(torch.uint8))
        self.targets.embed(example.image.to(self.model.device))
        self.outputs.add(output, example, self.model.device)
        for name, answer in other_answers(self.task, example, output, self.mean).items():
            answers = self.others.setdefault(name, MethodFigures(self.networks, self.task))
            answers.add(answer, example, self.model.device)
        return output

    def add_w_error(self, ws: Tensor, w: Tensor) -> None:
        generator = self.model.generator
        self.w_error = self.w_error or WError(generator)
        error, mean_face_error = self.w_error(ws - generator.w_avg, w[None].to(ws.device))  # [1] each
        self.w_errors.append([error.item(), mean_face_error.item()])
        self.rows[-1]["w_error"] = error.item() / mean_face_error.item()

    def report(self) -> dict:
        """Figures over all pictures; completes the rows."""
        report = {"count": len(self.rows), "seconds": medians(self.seconds)}
        report |= self.outputs.summary(self.targets, self.truth)
        if self.w_errors:
            error, mean_face_error = map(sum, zip(*self.w_errors, strict=True))
            report["w_error"] = error / mean_face_error
        if self.targets.labels:
            report["labels"]["parser_on_targets"] = label_figures(self.targets.labels, self.truth)
        for name, answers in self.others.items():
            report[name] = answers.summary(self.targets, self.truth)
            report[name].get("labels", {}).pop("iou", None)  # a class at a time is too much of the mean face
        if len({row.get("factor") for row in self.rows}) > 1:
            report["by_factor"] = by_factor(self.rows, {"": self.outputs, **self.others})
        for i, row in enumerate(self.rows):
            row |= self.outputs.figures[i]
            for name, answers in self.others.items():
                row |= {f"{name}: {figure}": value for figure, value in answers.figures[i].items()}
        if "yaw" in self.rows[0]:
            report["turned"] = turned_figures(self.rows)
        return report


@torch.no_grad()
def measure_examples(
    model: PSPModel, task: str, examples: ExampleSet, networks: MetricNetworks, num_shown: int = 32
) -> Measurement:
    """All figures of one set.

    Returns:
        The report has `count`, median `seconds` of the encoder and the generator, the figures of the outputs,
        `w_error` where w is known, and a dict of figures for each of `other_answers`.
    """
    measured, shown = SetFigures(model, task, networks), []
    for example in tqdm(examples, desc="measuring", unit="picture"):
        output = measured.add(example)
        if len(shown) < num_shown:
            shown.append((example, output))
    return Measurement(measured.report(), measured.rows, shown)


def medians(seconds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in seconds), 4) for name in seconds[0]}


def by_factor(rows: list[dict], methods: dict[str, MethodFigures]) -> dict[str, dict]:
    """Mean figures of each method at each factor of super-resolution; the outputs have no name."""
    groups: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row["factor"], []).append(i)
    report = {}
    for factor, members in sorted(groups.items()):
        found = {name: means([answers.figures[i] for i in members]) for name, answers in methods.items()}
        for figures in found.values():
            figures.pop("rank", None)
        report[str(factor)] = {"count": len(members), **found.pop(""), **found}
    return report
