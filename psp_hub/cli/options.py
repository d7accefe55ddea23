"""What can be typed after `psp-hub`. Nothing here imports torch: help and mistakes are answered at once."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from psp_hub.cli.files import LATENTS_SUFFIX
from psp_hub.config import ENCODER_SIZE, MAX_SEED, VARIANTS
from psp_hub.images.face_classes import LABEL_ORDERS
from psp_hub.model_names import starter_names
from psp_hub.tasks import TASKS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_TASK = "sketch"
MAX_VARIATIONS = 10_000
MAX_STEPS = 10_000
MAX_FACES = 1_000


def number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    """The argparse type of a number from `low` to `high`."""

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"got {text}, expected {low} to {high}")
        return value

    parse.__name__ = kind.__name__  # for argparse's own message
    return parse


def face_number(text: str) -> int | str:
    """The argparse type of `--face`."""
    return text if text == "all" else int(number(int, 1, MAX_FACES)(text))


def add_face(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--face",
        type=face_number,
        metavar="N",
        help="the face with this number from the left, or all of them, with --paste-back (default: the largest)",
    )


def add_translate(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser("translate", help="turn a picture, or every one in a folder, into a face")
    parser.set_defaults(command="translate")
    parser.add_argument(
        "input",
        type=Path,
        metavar="IN",
        help="a picture, or a folder of pictures, or of masks of parts as CelebAMask-HQ has them",
    )
    add_output(parser)
    models = parser.add_mutually_exclusive_group()
    starters = starter_names()
    models.add_argument("--task", choices=starters, help=f"the model that ships with it (default: {DEFAULT_TASK})")
    models.add_argument(
        "--model", metavar="MODEL", help=f"a saved folder, owner/name on the Hub, or one of {', '.join(starters)}"
    )
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
    add_photo_options(parser)
    parser.add_argument(
        "--save-latents",
        action="store_true",
        help="write the styles beside each face, as OUT.safetensors, for psp-hub decode",
    )
    add_variations(parser, "draw at random what IN leaves open, such as colours")


def add_photo_options(parser: argparse.ArgumentParser) -> None:
    """Of photos alone: which face is cut out, whether it goes back, and how close it comes."""
    parser.add_argument(
        "--align",
        action=argparse.BooleanOptionalAction,
        help="cut the largest face out of a photo as training has it, or leave the photo as it is (default: cut it "
        "out, but use small square pictures for super-resolution as they are)",
    )
    add_face(parser)
    parser.add_argument(
        "--paste-back",
        action="store_true",
        help="put the face back where it was cut out: write IN with the new face in it",
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


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="a .png file; for a folder, a folder"
    )


def add_variations(parser: argparse.ArgumentParser, seed_help: str) -> None:
    parser.add_argument("--seed", type=number(int, 0, MAX_SEED), help=seed_help)
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


def add_decode(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser("decode", help="draw the faces of saved latents again")
    parser.set_defaults(command="decode")
    parser.add_argument(
        "input", type=Path, metavar="IN", help=f"a {LATENTS_SUFFIX} file, of one face or of many, or a folder of them"
    )
    add_output(parser)
    parser.add_argument(
        "--generator", metavar="GENERATOR", help="the one they are for: a built-in name, a folder, or owner/name"
    )
    parser.add_argument(
        "--paste-back",
        type=Path,
        metavar="PHOTO",
        help="put the face back into the photo that it was made of, or into that of the same name in a folder",
    )
    add_face(parser)
    add_variations(parser, "draw colours and light at random")


def add_push(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser("push", help="upload a model or a generator to the Hub")
    parser.set_defaults(command="push")
    parser.add_argument(
        "source", metavar="FOLDER", help="a saved model, a saved generator, or the name of a built-in one"
    )
    parser.add_argument("repo_id", metavar="REPO_ID", help="owner/name, made if it is missing")
    parser.add_argument("--private", action="store_true", default=None, help="a repository that only its owner sees")
    parser.add_argument("--variant", choices=list(VARIANTS), help="push the weights in this precision, as a variant")
    parser.add_argument("--include-generator", action="store_true", help="push the model's generator along with it")
    parser.add_argument("--revision", metavar="BRANCH", help="push to this branch (default: main)")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    parser.add_argument("--tag", help="name the new commit")


def add_convert(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser("convert", help="make a model of a checkpoint of pSp, e4e, StyleGAN2 or its ADA")
    parser.set_defaults(command="convert")
    parser.add_argument("file", type=Path, metavar="FILE", help="a .pt or .pkl file; no code in it is run")
    parser.add_argument("output", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument(
        "--generator",
        metavar="GENERATOR",
        help="use this one instead of the file's: a saved folder, owner/name on the Hub, or a built-in name",
    )
    parser.add_argument("--push-to-hub", metavar="REPO_ID", help="upload it, too: owner/name, made if it is missing")
    parser.add_argument("--private", action="store_true", default=None, help="a repository that only its owner sees")
