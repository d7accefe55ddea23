"""Measure a model on pictures that training has not seen, and against answers that need no encoder.

    python training/evaluate.py sketch faces --recogniser mobilefacenet_128d.safetensors --output_dir report

MODEL is a starter's name, a saved folder or a repository on the Hub; DATA is a folder of photos or a store of pairs.
The inputs of the task are made from the pictures, or read from --source_dir. Written: report.json, and for each set
a table with a row for every picture (CSV) and a picture with inputs, targets and outputs above each other.
For sketch, figures by kind of drawing: those made from the pictures; --drawings_dir, by artists; --untrained_drawings,
by people who cannot draw, of whom each drawing says what the answer has to show.
With --refinement_steps, the answers for some faces are also refined, with --optimization_steps these are found by
optimisation, with --other_models those of other encoders; error and seconds stand side by side.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from psp_hub.face_parser import STARTER as PARSER
from psp_hub.model import PSPModel, load_model
from psp_hub.model_names import starter_names
from psp_hub.refinement import check_refinable
from psp_hub.tasks import TASKS, get_task
from training.evaluation.attributes import AttributeReader
from training.evaluation.compare import STARTS, compare, optimization_loss
from training.evaluation.examples import Example, Examples, PairExamples, PhotoExamples, SourceMaker
from training.evaluation.judges import Judges, add_judge_arguments, load_judges, problem_with_judges
from training.evaluation.kinds import Answered, ArtistExamples, measure_artists, measure_untrained
from training.evaluation.measure import measure
from training.evaluation.report import GRID_COLUMNS, as_table, save_grid, save_table
from training.evaluation.strokes import read_drawings
from training.networks.hed import EdgeDetector
from training.run.validation import visible

SHOWN = 4 * GRID_COLUMNS


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_name", nargs="?", metavar="MODEL", help="the same as --model")
    parser.add_argument("data", nargs="?", metavar="DATA", type=Path, help="the same as --faces_dir or --pairs_dir")
    parser.add_argument("--task", choices=list(TASKS), help="by default that of the model")
    parser.add_argument("--model", help="starter, folder or repository on the Hub; by default the starter of the task")
    parser.add_argument("--pairs_dir", type=Path, help="pairs that training has not seen: the last ones are used")
    parser.add_argument("--num_pairs", type=int, default=500, help="0 for all")
    parser.add_argument(
        "--faces_dir", "--target_dir", type=Path, help="aligned photos: the last ones by name are used"
    )
    parser.add_argument("--num_faces", type=int, default=100, help="0 for all")
    parser.add_argument("--source_dir", type=Path, help="stored inputs for the photos, of the same names")
    parser.add_argument("--drawing_style", help="one style of drawing for all; by default the whole family")
    parser.add_argument("--factors", type=int, nargs="+", help="of super-resolution; by default all that it learns")
    parser.add_argument("--drawings_dir", type=Path, help="drawings with their photos, as FS2K has them (sketch)")
    parser.add_argument("--untrained_drawings", type=Path, metavar="FILE", help="strokes and what they say (sketch)")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1234, help="of what is random in the inputs")
    add_judge_arguments(parser)
    optimization = parser.add_argument_group("other models, refinement and optimisation")
    optimization.add_argument("--optimization_steps", type=int, default=0, help="0 for none")
    optimization.add_argument(
        "--refinement_steps", type=int, nargs="+", default=[], metavar="N", help="from the encoder's answer, as in use"
    )
    optimization.add_argument(
        "--other_models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="models of the same task, for the same table: starters, folders or repositories",
    )
    optimization.add_argument("--num_optimized", type=int, default=3, help="the first pictures that are measured")
    optimization.add_argument("--optimization_spaces", nargs="+", choices=["w", "w+"], default=["w", "w+"])
    optimization.add_argument("--optimization_starts", nargs="+", choices=STARTS, default=["mean_face"])
    args = parser.parse_args(args)
    if problem := settle(args):
        parser.error(problem)
    return args


def settle(args: argparse.Namespace) -> str | None:
    """Give the positional arguments their names; what is wrong with the command, if something is."""
    if args.model and args.model_name:
        return f"the model is given twice: {args.model_name} and --model {args.model}"
    args.model = args.model or args.model_name or args.task
    if args.data:
        name = "pairs_dir" if any(args.data.glob("images-*.tar")) else "faces_dir"
        if getattr(args, name):
            return f"the data is given twice: {args.data} and --{name} {getattr(args, name)}"
        setattr(args, name, args.data)
    folders = [folder for folder in (args.pairs_dir, args.faces_dir, args.source_dir, args.drawings_dir) if folder]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        return f"no such folder: {', '.join(missing)}"
    if not args.model:
        return "expected MODEL or --task"
    if args.model == args.task and args.task not in starter_names() and not Path(args.model).exists():
        return f"there is no starter for {args.task} (there is: {', '.join(starter_names())}), expected MODEL"
    if not (args.pairs_dir or args.faces_dir or args.drawings_dir or args.untrained_drawings):
        return "expected DATA, --pairs_dir, --faces_dir, --drawings_dir or --untrained_drawings"
    if args.source_dir and not args.faces_dir:
        return "--source_dir needs --faces_dir: the photos that its inputs belong to"
    if not (args.pairs_dir or args.faces_dir) and (
        args.optimization_steps or args.refinement_steps or args.other_models
    ):
        return "refinement, optimisation and other models are compared on DATA, --pairs_dir or --faces_dir"
    numbers = (args.num_pairs, args.num_faces, args.optimization_steps, *args.refinement_steps)
    if min(numbers) < 0 or args.num_optimized < 1:
        return "numbers of pictures and steps are 0 or more, and --num_optimized 1 or more"
    return problem_with_judges(args)


def task_of(args: argparse.Namespace, model: PSPModel) -> str:
    """The name of the task that is measured.

    Raises:
        ValueError: a task of the model's own without --task, or a model with the input of another.
    """
    name = args.task or model.config.task
    task, channels = get_task(name), model.in_channels
    if channels != task.in_channels:
        raise ValueError(f"{args.model} takes {channels} channels, expected {task.in_channels} for the task {name}")
    return name


def load_sets(args: argparse.Namespace, task: str, judges: Judges) -> dict[str, Examples]:
    """The pictures to measure on, by the name of their part of the report."""
    detector = EdgeDetector.from_file(args.edge_detector) if args.edge_detector and task == "sketch" else None
    maker = SourceMaker(get_task(task), args.seed, detector, judges.parser, args.drawing_style, args.factors)
    sets: dict[str, Examples] = {}
    if args.pairs_dir:
        sets["pairs"] = PairExamples(args.pairs_dir, args.num_pairs, maker)
    if args.faces_dir:
        sets["faces"] = PhotoExamples(args.faces_dir, args.num_faces, maker, args.source_dir)
    return sets


def measure_set(model: PSPModel, task: str, examples: Examples, judges: Judges, stem: Path) -> dict:
    """The report of one set; STEM.csv and STEM.png are written."""
    measured = measure(model, task, examples, judges, SHOWN)
    save_table(measured.rows, stem.with_suffix(".csv"))
    shown, outputs = zip(*measured.shown, strict=True)
    save_columns(shown, [torch.stack(outputs)], stem.with_suffix(".png"))
    return measured.report


def measure_drawn(args: argparse.Namespace, model: PSPModel, judges: Judges) -> dict[str, dict]:
    """The reports of the drawings by hand, by kind: `artists` and `untrained`; KIND.csv and KIND.png are written.

    Raises:
        ValueError: see `Artists` and `read_drawings`; nothing is measured before both are read.
    """
    artists = ArtistExamples(args.drawings_dir) if args.drawings_dir else None
    untrained = read_drawings(args.untrained_drawings) if args.untrained_drawings else None
    if artists is None and untrained is None:
        return {}
    reader, answered = AttributeReader.from_file().to(args.device), {}
    if artists:
        answered["artists"] = measure_artists(model, artists, judges, reader)
    if untrained:
        answered["untrained"] = measure_untrained(model, untrained, reader)
    for kind, one in answered.items():
        save_answered(one, args.output_dir / kind)
    return {kind: one.report for kind, one in answered.items()}


def save_answered(answered: Answered, stem: Path) -> None:
    save_table(answered.rows, stem.with_suffix(".csv"))
    save_grid([visible(answered.inputs), *answered.pictures], stem.with_suffix(".png"))


def compare_methods(args: argparse.Namespace, model: PSPModel, task: str, examples: Examples, judges: Judges) -> dict:
    """The report of encoder, refinement and optimisation on the first pictures; optimization.png is written."""
    first = list(islice(examples, args.num_optimized))
    options = (args.optimization_steps, args.optimization_spaces, args.optimization_starts, args.refinement_steps)
    others = {name: load_model(name).to(args.device) for name in args.other_models}
    for name, other in others.items():
        if other.in_channels != model.in_channels:
            raise ValueError(f"{name} takes other inputs than {args.model}: it is no model of {task}")
    compared = compare(model, task, first, judges, *options, others)
    save_columns(first, list(compared.pictures.values()), args.output_dir / "optimization.png")
    facts = {"count": len(first), "steps": args.optimization_steps, "loss": optimization_loss(judges)[1]}
    return facts | compared.methods


def save_columns(examples: Sequence[Example], answers: list[Tensor], path: Path) -> None:
    """Save inputs, targets and answers above each other."""
    inputs = visible(torch.stack([example.input for example in examples]))
    save_grid([inputs, torch.stack([example.image for example in examples]), *answers], path)


@torch.no_grad()
def main(args: argparse.Namespace) -> dict:
    model = load_model(args.model).to(args.device)
    task = task_of(args, model)
    if task == "segmentation":
        args.parser = args.parser or PARSER
    if args.refinement_steps:
        check_refinable(task)
    if task != "sketch" and (args.drawings_dir or args.untrained_drawings):
        raise ValueError(f"drawings by hand are for the task sketch, this is {task}")
    judges = load_judges(args, args.device)
    sets = load_sets(args, task, judges)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    report: dict = {"task": task, "model": args.model, **judges.names}
    if task == "sketch":
        report["drawing_style"] = args.drawing_style or "whole family"
    for name, examples in sets.items():
        report[name] = measure_set(model, task, examples, judges, args.output_dir / name)
    report |= measure_drawn(args, model, judges)
    if args.optimization_steps or args.refinement_steps or args.other_models:
        name, examples = list(sets.items())[-1]  # photos, if there are some
        report["optimization"] = {"set": name} | compare_methods(args, model, task, examples, judges)
    (args.output_dir / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    if "optimization" in report:
        methods = {name: part for name, part in report["optimization"].items() if isinstance(part, dict)}
        steps = f", {args.optimization_steps} steps of optimisation" if args.optimization_steps else ""
        print(f"\nMeans over {report['optimization']['count']} pictures{steps}:")
        print(as_table(methods))
    return report


if __name__ == "__main__":
    try:
        main(parse_args())
    except ValueError as error:
        raise SystemExit(f"evaluate.py: {error}") from error
