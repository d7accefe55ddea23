"""`psp-hub decode`: the faces of saved latents, drawn again."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from psp_hub.cli.files import find_latents, plan
from psp_hub.cli.options import DEFAULT_TASK
from psp_hub.cli.pipeline import Write, run_all
from psp_hub.cli.translate import check_seed, draw_faces, variations
from psp_hub.generators import BUILTIN, load_generator
from psp_hub.generators.base import Generator
from psp_hub.latents_file import Latents, load_latents


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

    def draw_all(source: Path, found: Latents, targets: list[Path]) -> Iterator[Write]:
        name = options.generator or generator_of(found)
        if name not in generators:
            generators[name] = load_generator(name)
        found = load_latents(source, generators[name])
        task = found.metadata.get("task", DEFAULT_TASK)
        styles = (ws for face in found.ws.split(1) for ws in variations(face, generators[name], task, options))
        return draw_faces(styles, generators[name], targets)

    return run_all(jobs, load_latents, draw_all, "file")


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
