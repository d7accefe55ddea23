"""Measure a model on pictures that training has not seen, and against answers that need no encoder.

    python training/evaluate.py sketch faces --recogniser mobilefacenet_128d.safetensors --output_dir report

MODEL is a starter's name, a saved folder or a repository on the Hub; DATA is a folder of photos or a store of pairs.
The inputs of the task are made from the pictures, or read from --source_dir. Written: report.json, and for each set
a table with a row for every picture (CSV) and a picture with inputs, targets and outputs above each other.
For frontalization, how far the most turned faces are turned before and after.
For sketch, figures by kind of drawing: those made from the pictures; --drawings_dir, by artists; --untrained_drawings,
by people who cannot draw, of whom each drawing says what the answer has to show.
With --refinement_steps, the answers for some faces are also refined, with --optimization_steps these are found by
optimisation, with --passes those after each look of an encoder that looks several times, with --other_models those of
other encoders; error and seconds stand side by side.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from psp_hub.face_parser import STARTER as PARSER
from psp_hub.model import PSPModel, load_model
from psp_hub.tasks import get_task, is_of_faces, of_anything
from psp_hub.wanted import check_refinable
from training.evaluation.attributes import AttributeReader
from training.evaluation.comparison import compare_methods, optimization_loss, with_passes
from training.evaluation.examples import Example, ExampleSet, PairExamples, PhotoExamples, SourceMaker
from training.evaluation.figures import measure_examples
from training.evaluation.kinds import Answered, ArtistExamples, measure_artists, measure_untrained
from training.evaluation.metric_networks import MetricNetworks, load_metric_networks
from training.evaluation.report import GRID_COLUMNS, as_table, save_grid, save_table
from training.evaluation.strokes import read_drawings
from training.networks.hed import EdgeDetector
from training.run.validation import visible
from training.settings.evaluation import EvaluationSettings
from training.settings.flags import parse, refuse

SHOWN = 4 * GRID_COLUMNS


def parse_args(words: list[str] | None = None) -> EvaluationSettings:
    """The settings of an evaluation, resolved and checked; what cannot be used ends the program."""
    settings = parse(EvaluationSettings, words, __doc__)
    try:
        settings = settings.resolved()
        settings.check()
    except ValueError as error:
        refuse(error)
    return settings


def task_of(settings: EvaluationSettings, model: PSPModel) -> str:
    """The name of the task that is measured.

    Raises:
        ValueError: a task of the model's own without --task, or a model with the input of another.
    """
    name = settings.task or model.config.task
    task, channels = get_task(name), model.in_channels
    if channels != task.in_channels:
        raise ValueError(
            f"{settings.model} takes {channels} channels, expected {task.in_channels} for the task {name}"
        )
    return name


def load_sets(
    settings: EvaluationSettings, task: str, networks: MetricNetworks, of_faces: bool = True
) -> dict[str, ExampleSet]:
    """The pictures to measure on, by the name of their part of the report."""
    row = get_task(task) if of_faces else of_anything(task)
    detector = (
        EdgeDetector.from_file(settings.networks.edge_detector)
        if settings.networks.edge_detector and task == "sketch"
        else None
    )
    maker = SourceMaker(row, settings.seed, detector, networks.parser, settings.drawing_style, settings.factors)
    sets: dict[str, ExampleSet] = {}
    if settings.pairs_dir:
        sets["pairs"] = PairExamples(settings.pairs_dir, settings.num_pairs, maker)
    if settings.faces_dir:
        sets["faces"] = PhotoExamples(settings.faces_dir, settings.num_faces, maker, settings.source_dir)
    return sets


def measure_set(model: PSPModel, task: str, examples: ExampleSet, networks: MetricNetworks, stem: Path) -> dict:
    """The report of one set; STEM.csv and STEM.png are written."""
    measured = measure_examples(model, task, examples, networks, SHOWN)
    save_table(measured.rows, stem.with_suffix(".csv"))
    shown, outputs = zip(*measured.shown, strict=True)
    save_columns(shown, [torch.stack(outputs)], stem.with_suffix(".png"))
    return measured.report


def measure_drawn(settings: EvaluationSettings, model: PSPModel, networks: MetricNetworks) -> dict[str, dict]:
    """The reports of the drawings by hand, by kind: `artists` and `untrained`; KIND.csv and KIND.png are written.

    Raises:
        ValueError: see `Artists` and `read_drawings`; nothing is measured before both are read.
    """
    artists = ArtistExamples(settings.drawings_dir) if settings.drawings_dir else None
    untrained = read_drawings(settings.untrained_drawings) if settings.untrained_drawings else None
    if artists is None and untrained is None:
        return {}
    reader, answered = AttributeReader.from_file().to(model.device), {}
    if artists:
        answered["artists"] = measure_artists(model, artists, networks, reader)
    if untrained:
        answered["untrained"] = measure_untrained(model, untrained, reader)
    for kind, one in answered.items():
        save_answered(one, settings.output_dir / kind)
    return {kind: one.report for kind, one in answered.items()}


def save_answered(answered: Answered, stem: Path) -> None:
    save_table(answered.rows, stem.with_suffix(".csv"))
    save_grid([visible(answered.inputs), *answered.pictures], stem.with_suffix(".png"))


def measure_methods(
    settings: EvaluationSettings, model: PSPModel, task: str, examples: ExampleSet, networks: MetricNetworks
) -> dict:
    """The report of encoder, refinement and optimisation on the first pictures; optimization.png is written."""
    first = list(islice(examples, settings.comparison.num_optimized))
    others = {name: load_model(name).to(model.device) for name in settings.comparison.other_models}
    for name, other in others.items():
        if other.in_channels != model.in_channels:
            raise ValueError(f"{name} takes other inputs than {settings.model}: it is no model of {task}")
    compared = compare_methods(model, task, first, networks, settings.comparison, others)
    save_columns(first, list(compared.pictures.values()), settings.output_dir / "optimization.png")
    return {"count": len(first), "loss": optimization_loss(networks)[1]} | compared.methods


def save_columns(examples: Sequence[Example], answers: list[Tensor], path: Path) -> None:
    """Save inputs, targets and answers above each other."""
    inputs = visible(torch.stack([example.input for example in examples]))
    save_grid([inputs, torch.stack([example.image for example in examples]), *answers], path)


@torch.no_grad()
def main(settings: EvaluationSettings) -> dict:
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(settings.model).to(device)
    task = task_of(settings, model)
    networks = settings.networks
    if task in ("segmentation", "frontalization"):
        networks = replace(networks, parser=networks.parser or PARSER)
    if settings.comparison.refinement_steps:
        check_refinable(task)
    for count in settings.comparison.passes:
        with_passes(model, count)  # what it cannot do is told before the measuring
    if task != "sketch" and (settings.drawings_dir or settings.untrained_drawings):
        raise ValueError(f"--drawings_dir and --untrained_drawings are for the task sketch, this is {task}")
    networks = load_metric_networks(networks, device)
    sets = load_sets(settings, task, networks, is_of_faces(model.config.task))
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    report: dict = {"task": task, "model": settings.model, **networks.names}
    if task == "sketch":
        report["drawing_style"] = settings.drawing_style or "whole family"
    for name, examples in sets.items():
        report[name] = measure_set(model, task, examples, networks, settings.output_dir / name)
    report |= measure_drawn(settings, model, networks)
    if settings.comparison.given:
        name, examples = list(sets.items())[-1]  # photos, if there are some
        report["optimization"] = {"set": name} | measure_methods(settings, model, task, examples, networks)
    (settings.output_dir / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    if "optimization" in report:
        methods = {name: part for name, part in report["optimization"].items() if isinstance(part, dict)}
        print(f"\nMeans over {report['optimization']['count']} pictures:")
        print(as_table(methods))
    return report


if __name__ == "__main__":
    try:
        main(parse_args())
    except ValueError as error:
        raise SystemExit(f"evaluate.py: {error}") from error
