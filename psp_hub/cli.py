"""The command line: `psp-hub translate drawing.png -o face.png`."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

from PIL import Image
from tqdm import tqdm

from psp_hub.conversion import convert
from psp_hub.generators import BUILTIN, is_saved_generator, load_generator, pin_generator, push_generator
from psp_hub.hub import CARD_NAME
from psp_hub.label_maps import LABEL_ORDERS
from psp_hub.latents import MAX_SEED
from psp_hub.memory import keep_freed_memory
from psp_hub.model import PSPModel
from psp_hub.preprocessing import FORMATS, open_image, prepare_labels, tensor_to_images
from psp_hub.pretrained import EVALUATION_NAME
from psp_hub.saving import VARIANTS
from psp_hub.tasks import TASKS, mixed_groups

DEFAULT_TASK = "sketch"
MAX_VARIATIONS = 10_000

Jobs = dict[Path, list[Path]]  # each input, and the files that are made of it: one per variation


def number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    """The argparse type of a number from `low` to `high`."""

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"got {text}, expected {low} to {high}")
        return value

    parse.__name__ = kind.__name__  # for argparse's own message
    return parse


def say(text: str, file: TextIO) -> None:
    """Print above the progress bar, if there is one. A name that the terminal cannot show is no reason to stop."""
    encoding = file.encoding or "utf-8"
    tqdm.write(text.encode(encoding, "replace").decode(encoding), file=file)


def find_pictures(folder: Path) -> list[Path]:
    """Picture files in `folder` itself, by suffix, sorted; hidden ones are left out.

    Raises:
        ValueError: there are none.
    """
    suffixes = sorted(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    pictures = sorted(path for path in files if path.suffix.lower() in suffixes)
    if not pictures:
        raise ValueError(f"there are no pictures in the folder {folder}; expected names in {', '.join(suffixes)}")
    return pictures


def file_id(path: Path) -> tuple[int, int]:
    """The same for two names of one file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def check_targets(jobs: Jobs) -> None:
    """Raise ValueError if two inputs become the same file, or a file to be written is one of the inputs."""
    inputs = {file_id(source) for source in jobs}
    sources: dict[str, Path] = {}
    for source, targets in jobs.items():
        for target in targets:
            # Many file systems take Face.png and face.png for the same.
            other = sources.setdefault(str(target).casefold(), source)
            if other != source:
                raise ValueError(f"{other} and {source} would both become {target}; rename one of them")
            if target.exists() and file_id(target) in inputs:
                raise ValueError(f"the output {target} is an input and would be lost; choose another output")


def plan(source: Path, output: Path, variations: int) -> Jobs:
    """Which files become which: everything that can be wrong with names is found before any work.

    Raises:
        ValueError: no such input, no pictures in it, an output that does not fit, or the errors of `check_targets`.
    """
    if not source.exists():
        raise ValueError(f"there is no file or folder {source}")
    if source.is_dir():
        if output.exists() and not output.is_dir():
            raise ValueError(f"the output {output} is a file, expected a folder, as {source} is one")
        names = {picture: output / f"{picture.stem}.png" for picture in find_pictures(source)}
    elif output.is_dir():
        names = {source: output / f"{source.stem}.png"}
    elif output.suffix.lower() == ".png":
        names = {source: output}
    else:
        raise ValueError(f"the output is {output}, expected a name that ends in .png, or an existing folder")
    jobs = {picture: [name] for picture, name in names.items()}
    if variations > 1:
        ends = [f"-{i}.png" for i in range(variations)]
        jobs = {picture: [name.with_name(name.stem + end) for end in ends] for picture, name in names.items()}
    check_targets(jobs)
    return jobs


def faces(
    model: PSPModel, picture: Image.Image, groups: tuple[str, ...], options: argparse.Namespace
) -> Iterator[Image.Image]:
    """The encoder's own answer; with a seed, faces whose styles in `groups` are drawn at random. One at a time."""
    ws = model.encode(picture, options.truncation_psi)
    if options.seed is None:
        yield tensor_to_images(model.decode(ws))[0]
        return
    for seed in range(options.seed, options.seed + options.variations):
        mixed = model.mix(ws, seed=seed, groups=groups, strength=options.strength)
        yield tensor_to_images(model.decode(mixed))[0]


def read_picture(source: Path, label_order: str | None) -> Image.Image:
    """A picture as its file has it; a label map of another order is put into the official one."""
    picture = open_image(source, keep_mode=True)
    return picture if label_order is None else prepare_labels(picture, label_order)


def write_png(image: Image.Image, path: Path) -> None:
    """Write a PNG that has its name only once it is complete."""
    staged = path.with_name(f".psp-hub-{os.getpid()}.tmp")
    try:
        image.save(staged, "PNG")
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


def translate(options: argparse.Namespace) -> int:
    """`psp-hub translate`: a picture that fails does not stop the others."""
    if options.seed is None and (options.variations > 1 or options.strength != 1):
        raise ValueError("--variations and --strength need a --seed")
    jobs = plan(options.input, options.output, options.variations)
    if options.model:
        model = PSPModel.from_pretrained(options.model)
    else:
        model = PSPModel.from_starter(options.task or DEFAULT_TASK)
    kind = model.config.input_kind
    if options.label_order is not None and kind != "labels":
        raise ValueError(f"--label-order is for label maps, but {model.config.task} takes pictures of the kind {kind}")
    groups = () if options.seed is None else mixed_groups(model.config.task)
    next(iter(jobs.values()))[0].parent.mkdir(parents=True, exist_ok=True)  # all outputs lie in one folder
    failed = 0
    for source, targets in tqdm(jobs.items(), unit="picture", disable=None):  # None: only on a terminal
        try:
            picture = read_picture(source, options.label_order)
            for target, face in zip(targets, faces(model, picture, groups, options), strict=True):
                write_png(face, target)
        except (ValueError, OSError) as error:
            say(f"{source}: {error}", sys.stderr)
            failed += 1
        else:
            say("\n".join(f"{source} -> {target}" for target in targets), sys.stdout)
    if failed:
        say(f"psp-hub: {failed} of {len(jobs)} pictures failed", sys.stderr)
    return 1 if failed else 0


def add_translate(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("translate", help="turn a picture, or every one in a folder, into a face")
    parser.set_defaults(command=translate)
    parser.add_argument("input", type=Path, metavar="IN", help="a picture, or a folder of pictures")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="a .png file; for a folder, a folder"
    )
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--task", choices=list(TASKS), help=f"the model that comes along (default: {DEFAULT_TASK})")
    models.add_argument("--model", metavar="MODEL", help="another model: a saved folder, or owner/name on the Hub")
    parser.add_argument(
        "--label-order",
        "--label_order",
        choices=list(LABEL_ORDERS),
        metavar="ORDER",
        help="what the numbers of a label map mean: celebamask-hq (default), or face-parsing for face-parsing.PyTorch",
    )
    parser.add_argument(
        "--seed", type=number(int, 0, MAX_SEED), help="draw at random what IN leaves open, such as colours"
    )
    parser.add_argument(
        "--strength", type=number(float, 0, 1), default=1.0, help="0 to 1: how much the seed changes (default: 1)"
    )
    parser.add_argument(
        "--variations",
        type=number(int, 1, MAX_VARIATIONS),
        default=1,
        metavar="N",
        help="write OUT-0.png to OUT-(N-1).png, of SEED, SEED + 1, ...",
    )
    parser.add_argument(
        "--truncation-psi",
        type=number(float, 0, 2),
        default=1.0,
        metavar="PSI",
        help="0 (the mean face) to 2 (default: 1)",
    )


def push(options: argparse.Namespace) -> int:
    """`psp-hub push`: a model with its card and figures, or a generator. It is loaded first: what is broken stays."""
    keywords = {name: getattr(options, name) for name in ("private", "variant", "revision", "create_pr", "tag")}
    if options.source in BUILTIN or is_saved_generator(options.source):
        commit = push_generator(load_generator(options.source), options.repo_id, **keywords)
    else:
        folder = Path(options.source)
        model = PSPModel.from_pretrained(folder, torch_dtype=None)  # in the precision that it was saved in
        card, evaluation = folder / CARD_NAME, folder / EVALUATION_NAME
        commit = model.push_to_hub(
            options.repo_id,
            include_generator=options.include_generator,
            card=card.read_text(encoding="utf-8") if card.is_file() else None,
            evaluation=json.loads(evaluation.read_text(encoding="utf-8")) if evaluation.is_file() else None,
            **keywords,
        )
    say(f"{options.source} -> {commit.pr_url or commit.commit_url}", sys.stdout)
    return 0


def add_push(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("push", help="upload a model or a generator to the Hub")
    parser.set_defaults(command=push)
    parser.add_argument(
        "source", metavar="FOLDER", help=f"a saved model, a saved generator, or a built-in one: {', '.join(BUILTIN)}"
    )
    parser.add_argument("repo_id", metavar="REPO_ID", help="owner/name, made if it is missing")
    parser.add_argument("--private", action="store_true", default=None, help="a repository that only its owner sees")
    parser.add_argument("--variant", choices=list(VARIANTS), help="push the weights in this precision, as a variant")
    parser.add_argument("--include-generator", action="store_true", help="push the model's generator along with it")
    parser.add_argument("--revision", metavar="BRANCH", help="push to this branch (default: main)")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    parser.add_argument("--tag", help="name the new commit")


def convert_file(options: argparse.Namespace) -> int:
    """`psp-hub convert`: what is written is complete, or nothing is."""
    generator = base_generator = None
    if options.generator:
        base_generator = pin_generator(options.generator)
        generator = load_generator(base_generator or options.generator)
    converted = convert(options.file, generator, base_generator)
    say(converted.report(), sys.stdout)
    converted.save(options.output)
    say(f"{options.file} -> {options.output}", sys.stdout)
    if options.push_to_hub:
        push_to = converted.model.push_to_hub if converted.model else partial(push_generator, converted.generator)
        commit = push_to(options.push_to_hub, private=options.private)
        say(f"{options.output} -> {commit.commit_url}", sys.stdout)
    return 0


def add_convert(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("convert", help="make a model of a checkpoint of pSp, e4e, StyleGAN2 or its ADA")
    parser.set_defaults(command=convert_file)
    parser.add_argument("file", type=Path, metavar="FILE", help="a .pt or .pkl file; no code in it is run")
    parser.add_argument("output", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument(
        "--generator",
        metavar="GENERATOR",
        help="use this one instead of the file's: a saved folder, owner/name on the Hub, or a built-in name",
    )
    parser.add_argument("--push-to-hub", metavar="REPO_ID", help="upload it, too: owner/name, made if it is missing")
    parser.add_argument("--private", action="store_true", default=None, help="a repository that only its owner sees")


def main(args: list[str] | None = None) -> int:
    """Run what is typed after `psp-hub` (by default, of this process).

    Returns:
        The exit code: 0 everything is done, 1 something failed, 2 the command cannot be carried out as it is.
    """
    parser = argparse.ArgumentParser(prog="psp-hub", description="Turn drawings into StyleGAN faces.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    add_translate(subparsers)
    add_push(subparsers)
    add_convert(subparsers)
    options = parser.parse_args(args)
    keep_freed_memory()
    try:
        return options.command(options)
    except (ValueError, OSError) as error:
        say(f"psp-hub: error: {error}", sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
