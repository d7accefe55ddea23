"""`psp-hub translate`: faces from the pictures in files and folders."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from psp_hub import latents
from psp_hub.alignment.cut_out import SMALL_NOTE, CutOut, cut_out, put_back
from psp_hub.cli.files import (
    LATENTS_SUFFIX,
    check_outputs,
    check_parts,
    find_inputs,
    find_partners,
    plan,
    write_png,
)
from psp_hub.cli.options import DEFAULT_TASK
from psp_hub.cli.output import say
from psp_hub.cli.pipeline import Write, run_all
from psp_hub.config import PSPConfig
from psp_hub.generators.base import Generator
from psp_hub.images.masks import transparent_part, with_hole
from psp_hub.images.part_masks import merge_parts
from psp_hub.images.preprocessing import open_image, prepare_labels, tensor_to_images
from psp_hub.latents_file import save_latents
from psp_hub.mixing import vary
from psp_hub.model import PSPModel, load_model
from psp_hub.tasks import TASKS, is_of_faces, mixed_groups
from psp_hub.wanted import check_refinable

PHOTO_KINDS = ("photo", "masked")  # kinds of input with a face to cut out


@dataclass(frozen=True)
class Given:
    """What is read of an input.

    Args:
        cuts: one, or the faces of a photo, from left to right: what the model sees.
        photo: that the answers go back into, in the mode of its file; None if they stay for themselves.
    """

    cuts: Sequence[CutOut]
    photo: Image.Image | None = None


def read_input(files: Sequence[Path], options: argparse.Namespace, mask: Path | None, config: PSPConfig) -> Given:
    """What the model is given of a file, or of the masks of the parts of a face.

    Args:
        files: one, or those masks.
        options: of `translate`.
        mask: file of the part to fill in.
        config: of the model.

    Raises:
        ValueError: a file that cannot be used, or not the face in it that is asked for.
    """
    if len(files) > 1:
        return Given([CutOut(merge_parts(files))])
    (source,) = files
    picture = open_image(source, keep_mode=True)
    if options.label_order is not None:
        return Given([CutOut(prepare_labels(picture, options.label_order))])
    if config.input_kind not in PHOTO_KINDS:
        return Given([CutOut(picture)])
    hole, photo = None if mask is None else open_image(mask, keep_mode=True), picture if options.paste_back else None
    small, masked = is_small(config.task), config.input_kind == "masked"
    if options.align is False or not (options.align or is_of_faces(config.task)):
        if picture.width != picture.height:
            say(f"{source}: {picture.width} x {picture.height} pixels are stretched to a square", sys.stderr)
        seen = picture if hole is None else with_hole(picture, hole)
        return Given([CutOut(seen, missing=transparent_part(seen) if masked and options.paste_back else None)], photo)
    always, which = bool(options.align), options.face
    try:
        cuts = cut_out(picture, small=small, masked=masked, mask=hole, always=always, which=which)
    except ValueError as error:
        raise ValueError(f"{error} Or use the whole photo as it is: --no-align.") from error
    if cuts[0].note and cuts[0].note != SMALL_NOTE:
        say(f"{source}: {cuts[0].note}", sys.stderr)
    return Given(cuts, photo)


# Drawing


def encode_and_refine(model: PSPModel, picture: Image.Image, options: argparse.Namespace) -> Tensor:
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
    for seed in range(options.seed, options.seed + options.variations):
        yield vary(generator, ws, seed, mixed_groups(task), options.strength)


def draw_faces(
    styles: Iterable[Sequence[Tensor]], generator: Generator, targets: Iterable[Path], given: Given | None = None
) -> Iterator[Write]:
    """Draws each of the styles when its turn comes, and yields what writes it.

    Args:
        styles: for each target, those of its faces.
        given: the photo that they go back into.
    """
    for faces, target in zip(styles, targets, strict=True):
        yield partial(write_image, [generator.synthesis(ws) for ws in faces], target, given)


def write_image(images: Sequence[Tensor], target: Path, given: Given | None = None) -> None:
    """Write a face; or the photo that it comes from, with the answer to each of its faces."""
    faces = [tensor_to_images(image)[0] for image in images]
    if given is None or given.photo is None:
        (answer,) = faces
    else:
        answer = put_back(given.photo, faces, given.cuts)
    write_png(answer, target)


# psp-hub translate


def translate(options: argparse.Namespace) -> int:
    """`psp-hub translate`: a picture that fails does not stop the others."""
    check_seed(options)
    inputs = find_inputs(options.input)
    jobs = plan(options.input, options.output, lambda folder: inputs, lambda source: options.variations)
    masks = find_partners(options.mask, jobs, "mask") if options.mask else {}
    check_outputs(jobs, chain(masks.values(), *inputs.values()))
    model = load_model(options.model) if options.model else PSPModel.from_starter(options.task or DEFAULT_TASK)
    resolve_options(options, model)
    check_parts(inputs, model.config.input_kind, options.label_order)

    def read(source: Path) -> Given:
        return read_input(inputs[source], options, masks.get(source), model.config)

    def draw_all(source: Path, given: Given, targets: list[Path]) -> Iterator[Write]:
        answers = [encode_and_refine(model, cut.seen, options) for cut in given.cuts]
        of_faces = [variations(ws, model.generator, model.config.task, options) for ws in answers]
        styles = list(zip(*of_faces, strict=True))
        yield from draw_faces(styles, model.generator, targets, given)
        if options.save_latents:
            for i, (faces, target) in enumerate(zip(styles, targets, strict=True)):
                notes = {} if options.seed is None else {"seed": str(options.seed + i)}
                yield partial(save_styles, torch.cat(faces), model, target.with_suffix(LATENTS_SUFFIX), notes)

    return run_all(jobs, read, draw_all, "picture")


def is_small(task: str) -> bool:
    return task in TASKS and TASKS[task].shown == "small"


def resolve_options(options: argparse.Namespace, model: PSPModel) -> None:
    """Refuse options of other kinds of pictures; find out how much is refined.

    Raises:
        ValueError: an option that the model has no use for.
    """
    task, kind = model.config.task, model.config.input_kind
    for name, value, expected, noun in (
        ("--label-order", options.label_order, ("labels",), "label maps"),
        ("--mask", options.mask, ("masked",), "photos with a missing part"),
        ("--align", options.align or None, PHOTO_KINDS, "photos"),
        ("--face", options.face, PHOTO_KINDS, "photos"),
        ("--paste-back", options.paste_back or None, PHOTO_KINDS, "photos"),
    ):
        if value is not None and kind not in expected:
            raise ValueError(f"{name} is for {noun}, but {task} takes pictures of the kind {kind}")
    if options.paste_back and task in TASKS and TASKS[task].shown is None:
        raise ValueError(f"--paste-back is for faces that fit into their photos, but those of {task} are turned")
    if options.face is not None and options.align is False:
        raise ValueError("--face says which face is cut out, but with --no-align none is")
    if options.face == "all" and not options.paste_back:
        raise ValueError("--face all is for --paste-back: all go back into one photo")
    if options.refine is None:
        options.refine = TASKS[task].refinement_steps if task in TASKS else 0
    elif options.refine:
        check_refinable(task)
    if options.factor is not None and not (options.refine and is_small(task)):
        raise ValueError("--factor is for super-resolution with --refine")


def save_styles(ws: Tensor, model: PSPModel, path: Path, notes: dict[str, str]) -> None:
    """Save the styles [N, num_ws, w_dim] of the faces of a picture, from left to right."""
    generator = model.config.base_generator
    name = None if generator is None else str(generator)
    save_latents(path, ws, w_avg=model.generator.w_avg, generator=name, task=model.config.task, **notes)


def check_seed(options: argparse.Namespace) -> None:
    if options.seed is None and (options.variations > 1 or options.strength != 1):
        raise ValueError("--variations and --strength need a --seed")
