"""`psp-hub convert`: a checkpoint of another project becomes a model."""

import argparse
import sys
from functools import partial

from psp_hub.cli.output import say
from psp_hub.conversion.converter import convert as convert_checkpoint
from psp_hub.generators import load_generator, pin_generator, push_generator


def convert(options: argparse.Namespace) -> int:
    """`psp-hub convert`: what is written is complete, or nothing is."""
    generator = base_generator = None
    if options.generator:
        base_generator = pin_generator(options.generator)
        generator = load_generator(base_generator or options.generator)
    converted = convert_checkpoint(options.file, generator, base_generator)
    say(converted.report(), sys.stdout)
    converted.save(options.output)
    say(f"{options.file} -> {options.output}", sys.stdout)
    if options.push_to_hub:
        push_to = converted.model.push_to_hub if converted.model else partial(push_generator, converted.generator)
        commit = push_to(options.push_to_hub, private=options.private)
        say(f"{options.output} -> {commit.commit_url}", sys.stdout)
    return 0
