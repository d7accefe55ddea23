"""`psp-hub decode`: the faces of saved latents, drawn again."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from psp_hub.alignment.cut_out import Which, check_number, cut_out
from psp_hub.cli.files import check_outputs, find_latents, find_partners, plan
from psp_hub.cli.options import DEFAULT_TASK
from psp_hub.cli.pipeline import Write, run_all
from psp_hub.cli.translate import Given, check_seed, draw_faces, is_small, variations
from psp_hub.generators import BUILTIN, load_generator
from psp_hub.generators.base import Generator
from psp_hub.images.pictures import open_image
from psp_hub.latents_file import Latents, load_latents
from psp_hub.tasks import TASKS


def decode(options: argparse.Namespace) -> int:
    """`psp-hub decode`: the faces of files that `translate --save-latents` or the demo wrote, as they were."""
    check_seed(options)

    def count(source: Path) -> int:
        try:
            faces = len(load_latents(source).ws)
            return options.variations * (1 if options.face == "all" else faces)
        except ValueError:  # said when its turn comes
            return 1

    jobs = plan(options.input, options.output, find_latents, count)
    photos = find_partners(options.paste_back, jobs, "photo") if options.paste_back else {}
    check_outputs(jobs, photos.values())
    if options.face is not None and not photos:
        raise ValueError("--face says which face of the photo of --paste-back is meant")
    generators: dict[str, Generator] = {}
    lock = Lock()

    def draw_all(source: Path, found: Latents, targets: list[Path]) -> Iterator[Write]:
        name = options.generator or generator_of(found)
        with lock:  # not twice
            if name not in generators:
                generators[name] = load_generator(name)
        found = load_latents(source, generators[name])
        task = found.metadata.get("task", DEFAULT_TASK)
        of_faces = (variations(face, generators[name], task, options) for face in found.ws.split(1))
        given = place_in(photos[source], task, options.face) if photos else None
        if given and options.face == "all":
            check_number(len(found.ws), given.cuts)
            return draw_faces(zip(*of_faces, strict=True), generators[name], targets, given)
        return draw_faces(([ws] for some in of_faces for ws in some), generators[name], targets, given)

    return run_all(jobs, load_latents, draw_all, "file")


def place_in(photo: Path, task: str, which: Which) -> Given:
    """Where in a photo faces go back: where `translate` cuts them out.

    Raises:
        ValueError: a file that cannot be used, or not the face in it that is asked for.
    """
    picture = open_image(photo, keep_mode=True)
    masked = task in TASKS and TASKS[task].input_kind == "masked"
    return Given(cut_out(picture, small=is_small(task), masked=masked, which=which), picture)


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
