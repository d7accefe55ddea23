"""`psp-hub translate` and `psp-hub decode`: faces from files and folders."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from psp_hub import latents
from psp_hub.alignment.cut_out import SMALL_NOTE, cut_out
from psp_hub.cli.files import (
    LATENTS_SUFFIX,
    Jobs,
    check_parts,
    check_targets,
    find_inputs,
    find_latents,
    find_masks,
    plan,
    write_png,
)
from psp_hub.config import PSPConfig
from psp_hub.generators import BUILTIN, load_generator
from psp_hub.generators.base import Generator
from psp_hub.images.label_maps import LABEL_ORDERS
from psp_hub.images.masks import with_hole
from psp_hub.images.part_masks import merge_parts
from psp_hub.images.preprocessing import ENCODER_SIZE, open_image, prepare_labels, tensor_to_images
from psp_hub.latents_file import MAX_FACES, Latents, load_latents, save_latents
from psp_hub.model import MIXING_PSI, PSPModel
from psp_hub.refinement import check_refinable
from psp_hub.tasks import TASKS, mixed_groups

DEFAULT_TASK = "sketch"
PHOTO_KINDS = ("photo", "masked")  # kinds of input with a face to cut out
MAX_VARIATIONS = 10_000
MAX_STEPS = 10_000


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


def read_input(
    files: Sequence[Path], options: argparse.Namespace, mask: Path | None, config: PSPConfig
) -> Image.Image:
    """What the model is given of a file, or of the masks of the parts of a face.

    Args:
        files: one, or those masks.
        options: of `translate`.
        mask: file of the part to fill in.
        config: of the model.

    Raises:
        ValueError: a file that cannot be used, or no face in it.
    """
    if len(files) > 1:
        return merge_parts(files)
    (source,) = files
    picture = open_image(source, keep_mode=True)
    if options.label_order is not None:
        return prepare_labels(picture, options.label_order)
    if config.input_kind not in PHOTO_KINDS:
        return picture
    hole = None if mask is None else open_image(mask, keep_mode=True)
    if options.align is False:
        if picture.width != picture.height:
            say(f"{source}: {picture.width} x {picture.height} pixels are stretched to a square", sys.stderr)
        return picture if hole is None else with_hole(picture, hole)
    small, masked = is_small(config.task), config.input_kind == "masked"
    try:
        cut = cut_out(picture, small=small, masked=masked, mask=hole, always=bool(options.align))
    except ValueError as error:
        raise ValueError(f"{error} Or use the whole photo as it is: --no-align.") from error
    if cut.note and cut.note != SMALL_NOTE:
        say(f"{source}: {cut.note}", sys.stderr)
    return cut.seen


# Drawing


def encode(model: PSPModel, picture: Image.Image, options: argparse.Namespace) -> Tensor:
    """The styles [1, num_ws, w_dim] of a picture, refined as the options say."""
    ws = model.encode(picture)
    if options.refine:
        with tqdm(total=options.refine, desc="refining", unit="step", leave=False, disable=None) as bar:
            progress = lambda step, losses: bar.update()  # noqa: E731
            ws = model.refine(picture, ws, options.refine, factor=options.factor, progress=progress)
    return ws


def variations(ws: Tensor, generator: Generator, task: str, options: argparse.Namespace) -> Iterator[Tensor]:
    """Styles [1, num_ws, w_dim] themselves; with a seed, those whose open part is drawn at random, one at a time."""
    ws = latents.truncate(ws.to(generator.w_avg), generator.w_avg, options.truncation_psi)
    if options.seed is None:
        yield ws
        return
    indices = latents.style_indices(mixed_groups(task), generator.num_ws)
    for seed in range(options.seed, options.seed + options.variations):
        z = latents.random_z(1, generator.w_dim, seed).to(generator.w_avg)
        yield latents.mix(ws, generator.mapping(z, truncation_psi=MIXING_PSI), indices, options.strength)


def draw(styles: Iterable[Tensor], generator: Generator, targets: Iterable[Path]) -> None:
    for ws, target in zip(styles, targets, strict=True):
        write_png(tensor_to_images(generator.synthesis(ws))[0], target)


def for_each(jobs: Jobs, work: Callable[[Path, list[Path]], None], unit: str) -> int:
    """Do the work for each input: one that fails does not stop the others. Returns the exit code."""
    failed = 0
    next(iter(jobs.values()))[0].parent.mkdir(parents=True, exist_ok=True)  # all outputs lie in one folder
    for source, targets in tqdm(jobs.items(), unit=unit, disable=None):  # None: only on a terminal
        try:
            with torch.no_grad():
                work(source, targets)
        except (ValueError, OSError) as error:
            say(f"{source}: {error}", sys.stderr)
            failed += 1
        else:
            say("\n".join(f"{source} -> {target}" for target in targets), sys.stdout)
    if failed:
        say(f"psp-hub: {failed} of {len(jobs)} {unit}s failed", sys.stderr)
    return 1 if failed else 0


# psp-hub translate


def translate(options: argparse.Namespace) -> int:
    """`psp-hub translate`: a picture that fails does not stop the others."""
    check_seed(options)
    inputs = find_inputs(options.input)
    jobs = plan(options.input, options.output, lambda folder: inputs, lambda source: options.variations)
    masks = find_masks(options.mask, jobs) if options.mask else {}
    check_targets(jobs, chain(masks.values(), *inputs.values()))
    if options.model:
        model = PSPModel.from_pretrained(options.model)
    else:
        model = PSPModel.from_starter(options.task or DEFAULT_TASK)
    settle(options, model)
    check_parts(inputs, model.config.input_kind, options.label_order)

    def work(source: Path, targets: list[Path]) -> None:
        ws = encode(model, read_input(inputs[source], options, masks.get(source), model.config), options)
        styles = list(variations(ws, model.generator, model.config.task, options))
        draw(styles, model.generator, targets)
        if options.save_latents:
            for i, (ws, target) in enumerate(zip(styles, targets, strict=True)):
                notes = {} if options.seed is None else {"seed": str(options.seed + i)}
                save(ws, model, target.with_suffix(LATENTS_SUFFIX), notes)

    return for_each(jobs, work, "picture")


def is_small(task: str) -> bool:
    return task in TASKS and TASKS[task].shown == "small"


def settle(options: argparse.Namespace, model: PSPModel) -> None:
    """Refuse options of other kinds of pictures; find out how much is refined.

    Raises:
        ValueError: an option that the model has no use for.
    """
    task, kind = model.config.task, model.config.input_kind
    for name, value, expected, noun in (
        ("--label-order", options.label_order, ("labels",), "label maps"),
        ("--mask", options.mask, ("masked",), "photos with a missing part"),
        ("--align", options.align or None, PHOTO_KINDS, "photos"),
    ):
        if value is not None and kind not in expected:
            raise ValueError(f"{name} is for {noun}, but {task} takes pictures of the kind {kind}")
    if options.refine is None:
        options.refine = TASKS[task].refinement_steps if task in TASKS else 0
    elif options.refine:
        check_refinable(task)
    if options.factor is not None and not (options.refine and is_small(task)):
        raise ValueError("--factor is for super-resolution with --refine")


def save(ws: Tensor, model: PSPModel, path: Path, notes: dict[str, str]) -> None:
    """Save the styles of one face."""
    generator = model.config.base_generator
    names = {"generator": None if generator is None else str(generator), "task": model.config.task}
    save_latents(path, ws, w_avg=model.generator.w_avg, **names, **notes)


def check_seed(options: argparse.Namespace) -> None:
    if options.seed is None and (options.variations > 1 or options.strength != 1):
        raise ValueError("--variations and --strength need a --seed")


def add_translate(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("translate", help="turn a picture, or every one in a folder, into a face")
    parser.set_defaults(command=translate)
    parser.add_argument(
        "input",
        type=Path,
        metavar="IN",
        help="a picture, or a folder of pictures, or of masks of parts as CelebAMask-HQ has them",
    )
    add_output(parser)
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
        "--mask",
        type=Path,
        metavar="MASK",
        help="for inpainting: a picture that is white where IN is to be filled in, or one of strokes on a transparent "
        "ground, or a folder of them with the names of the pictures (default: IN is transparent there)",
    )
    parser.add_argument(
        "--align",
        action=argparse.BooleanOptionalAction,
        help="cut the largest face out of a photo as training has it, or leave the photo as it is (default: cut it "
        "out, but use small square pictures for super-resolution as they are)",
    )
    parser.add_argument(
        "--refine",
        type=number(int, 0, MAX_STEPS),
        metavar="STEPS",
        help="for photos: come closer to IN in so many steps; each takes about as long as a face (default: "
        f"{TASKS['super-resolution'].refinement_steps} for super-resolution, else 0)",
    )
    parser.add_argument(
        "--factor",
        type=number(int, 1, ENCODER_SIZE),
        metavar="N",
        help="with --refine: how many times smaller than 256 pixels a picture was before it was enlarged",
    )
    parser.add_argument(
        "--save-latents",
        action="store_true",
        help="write the styles beside each face, as OUT.safetensors, for psp-hub decode",
    )
    add_variations(parser, "draw at random what IN leaves open, such as colours")


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="a .png file; for a folder, a folder"
    )


def add_variations(parser: argparse.ArgumentParser, seed_help: str) -> None:
    parser.add_argument("--seed", type=number(int, 0, latents.MAX_SEED), help=seed_help)
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


# psp-hub decode


def decode(options: argparse.Namespace) -> int:
    """`psp-hub decode`: the faces of files that `translate --save-latents` or the demo wrote, as they were."""
    check_seed(options)

    def count(source: Path) -> int:
        try:
            return len(load_latents(source).ws) * options.variations
        except ValueError:  # said when its turn comes
            return 1

    jobs = plan(options.input, options.output, find_latents, count)
    generators: dict[str, Generator] = {}

    def work(source: Path, targets: list[Path]) -> None:
        name = options.generator or generator_of(load_latents(source))
        if name not in generators:
            generators[name] = load_generator(name)
        found = load_latents(source, generators[name])
        task = found.metadata.get("task", DEFAULT_TASK)
        styles = (ws for face in found.ws.split(1) for ws in variations(face, generators[name], task, options))
        draw(styles, generators[name], targets)

    return for_each(jobs, work, "file")


def generator_of(found: Latents) -> str:
    """The name of a built-in generator that a file is for. Nothing is fetched because a file says so.

    Raises:
        ValueError: it names another one, or none.
    """
    name = found.metadata.get("generator")
    if name not in BUILTIN:
        said = f"the generator {name}" if name else "a generator without a name"
        raise ValueError(f"it is for {said}; give that with --generator, a folder or owner/name on the Hub")
    return name


def add_decode(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("decode", help="draw the faces of saved latents again")
    parser.set_defaults(command=decode)
    parser.add_argument(
        "input", type=Path, metavar="IN", help=f"a {LATENTS_SUFFIX} file with up to {MAX_FACES:,} faces, or a folder"
    )
    add_output(parser)
    parser.add_argument(
        "--generator", metavar="GENERATOR", help="the one they are for: a built-in name, a folder, or owner/name"
    )
    add_variations(parser, "draw colours and light at random")
