"""The demo page: draw or paint a face, see it as a photo. Run `python app.py`, then open http://127.0.0.1:7860.

All of it runs on this computer: the page loads nothing from elsewhere and sends nothing out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from psp_hub.config import CONFIG_NAME, PSPConfig
from psp_hub.demo.launch import default_address
from psp_hub.demo.mix.recipes import Painter
from psp_hub.demo.page import LAUNCH_OPTIONS, PLACES, build_demo, painter_of, sort_models
from psp_hub.demo.proxies import without_proxies
from psp_hub.demo.space import move_to_gpu
from psp_hub.face_parser import STARTER as PARSER
from psp_hub.face_parser import FaceParser
from psp_hub.generators import load_generator
from psp_hub.generators.fetch import GeneratorUnavailableError
from psp_hub.model import PSPModel
from psp_hub.model_names import find_model, starter_names
from psp_hub.tasks import is_of_faces

DEFAULT_GENERATOR = "mobilestylegan-ffhq"  # paints what is mixed and edited where no model can be loaded


def load_models(sources: Sequence[str | Path]) -> tuple[list[PSPModel], list[str]]:
    """Load saved models for the page. Equal generators are shared.

    Args:
        sources: folders, names on the Hub, or names of starters.

    Returns:
        The models, and of each that cannot be shown, which it is and why.

    Raises:
        GeneratorUnavailableError: the built-in generator cannot be fetched.
    """
    models: list[PSPModel] = []
    problems = []
    for source in sources:
        try:
            model = load_model(find_model(source), models)
            sort_models([*models, model])  # refuses what the page cannot show
            models.append(model)
        except GeneratorUnavailableError:
            raise
        except (ValueError, OSError) as error:  # OSError: of the Hub, too
            problems.append(f"{source}: {error}")
    return models, problems


def load_model(source: str | Path, others: Sequence[PSPModel]) -> PSPModel:
    """Load one model; if one of the `others` has an equal generator, it is shared."""
    base = PSPConfig.load(Path(source)).base_generator if Path(source).is_dir() else None
    named = (other.generator for other in others if base and other.config.base_generator == base)
    model = PSPModel.from_pretrained(source, generator=next(named, None))
    weights = model.generator.state_dict()
    for other in others:
        theirs = other.generator.state_dict()
        if weights.keys() == theirs.keys() and all(torch.equal(weights[name], theirs[name]) for name in weights):
            model.generator = other.generator
    return model


def make_painter(models: Sequence[PSPModel]) -> Painter | None:
    """The generator of the first model of faces with its directions; without a model the built-in one.

    None where all models are of something else.

    Raises:
        GeneratorUnavailableError: the built-in generator cannot be fetched.
    """
    for model in models:
        if is_of_faces(model.config.task):
            return painter_of(model.generator, model.config.base_generator)
    if models:
        return None
    return painter_of(load_generator(DEFAULT_GENERATOR, torch.float32), DEFAULT_GENERATOR)


def main(argv: Sequence[str] | None = None) -> None:
    """Load the models, start the page, stay until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A page on which drawings, painted maps and photos become faces.")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help=f"a saved folder, owner/name on the Hub, or one of {', '.join(starter_names())}, which ship with it; "
        "several times for several tasks (default: all that ship with it)",
    )
    host, port = default_address()
    parser.add_argument(
        "--host", default=host, help="address to listen on (default: this computer alone, unless it is a Space)"
    )
    parser.add_argument("--port", type=int, default=port)
    args = parser.parse_args(argv)
    try:
        models, problems = load_models(args.model or [name for name in starter_names() if name in PLACES])
        for problem in problems:
            print(f"{parser.prog}: {problem}", file=sys.stderr, flush=True)  # noqa: T201
        painter = make_painter(models)
        move_to_gpu([*models, *([painter.generator] if painter else [])])
        has_maps = any(model.config.input_kind == "labels" for model in models)
        face_parser = FaceParser.from_starter() if has_maps and (PARSER / CONFIG_NAME).is_file() else None
        # Visitors get the first sentence: the rest is of this computer, such as paths.
        demo = build_demo(models, face_parser, painter, [problem.partition(". ")[0] for problem in problems])
        options = LAUNCH_OPTIONS | {"server_name": args.host, "server_port": args.port, "prevent_thread_lock": True}
        with without_proxies():
            _, url, _ = demo.launch(**options)
    except (ValueError, OSError) as error:  # OSError: the generator cannot be fetched, or the port is taken
        sys.exit(f"{parser.prog}: {error}")
    print(f"Open {url} in a browser; Ctrl-C ends.", flush=True)  # noqa: T201
    demo.block_thread()


if __name__ == "__main__":
    main()
