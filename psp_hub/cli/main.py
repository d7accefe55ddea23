"""The command line: `psp-hub translate drawing.png -o face.png`."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from psp_hub.cli.commands import add_decode, add_translate, say
from psp_hub.conversion.converter import convert
from psp_hub.generators import BUILTIN, is_saved_generator, load_generator, pin_generator, push_generator
from psp_hub.hub.components import VARIANTS
from psp_hub.hub.transfer import CARD_NAME
from psp_hub.memory import keep_freed_memory
from psp_hub.model import PSPModel
from psp_hub.pretrained import EVALUATION_NAME


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
    parser = argparse.ArgumentParser(
        prog="psp-hub", description="Turn drawings, label maps and photos into StyleGAN faces."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    add_translate(subparsers)
    add_decode(subparsers)
    add_push(subparsers)
    add_convert(subparsers)
    options = parser.parse_args(args)
    keep_freed_memory()
    try:
        return options.command(options)
    except (ValueError, OSError) as error:
        say(f"psp-hub: error: {error}", sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
