"""The demo page: draw or paint a face, see it as a photo. Run `python app.py`, then open http://127.0.0.1:7860.

All of it runs on this computer: the page loads nothing from elsewhere and sends nothing out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from psp_hub.config import CONFIG_NAME, PSPConfig
from psp_hub.demo.page import LAUNCH_OPTIONS, build_demo
from psp_hub.demo.space import default_address, move_to_gpu
from psp_hub.face_parser import STARTER as PARSER
from psp_hub.face_parser import FaceParser
from psp_hub.memory import keep_freed_memory
from psp_hub.model import STARTERS, PSPModel

TASKS = ("sketch", "segmentation")  # those whose starters are shown, if they are there


def load_models(sources: Sequence[str | Path]) -> list[PSPModel]:
    """Load saved models; folders that name the same generator share it.

    Raises:
        ValueError: not a saved model.
        GeneratorUnavailableError: the built-in generator cannot be fetched.
    """
    models: list[PSPModel] = []
    for source in sources:
        base = PSPConfig.load(Path(source)).base_generator if Path(source).is_dir() else None
        same = (model.generator for model in models if base and model.config.base_generator == base)
        models.append(PSPModel.from_pretrained(source, generator=next(same, None)))
    return models


def main(argv: Sequence[str] | None = None) -> None:
    """Load the models, start the page, stay until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A page on which a drawing or a painted map becomes a face.")
    parser.add_argument(
        "--model",
        action="append",
        help="a saved folder, or owner/name on the Hub; once for each kind of input (default: all that come along)",
    )
    host, port = default_address()
    parser.add_argument(
        "--host", default=host, help="address to listen on (default: this computer alone, unless it is a Space)"
    )
    parser.add_argument("--port", type=int, default=port)
    args = parser.parse_args(argv)
    keep_freed_memory()
    starters = [STARTERS / task for task in TASKS if (STARTERS / task / CONFIG_NAME).is_file()]
    try:
        models = load_models(args.model or starters)
        move_to_gpu(models)
        has_maps = any(model.config.input_kind == "labels" for model in models)
        face_parser = FaceParser.from_starter() if has_maps and (PARSER / CONFIG_NAME).is_file() else None
        demo = build_demo(models, face_parser)
        options = LAUNCH_OPTIONS | {"server_name": args.host, "server_port": args.port, "prevent_thread_lock": True}
        _, url, _ = demo.launch(**options)
    except (ValueError, OSError) as error:  # OSError: the generator cannot be fetched, or the port is taken
        sys.exit(f"{parser.prog}: {error}")
    print(f"Open {url} in a browser; Ctrl-C ends.", flush=True)  # noqa: T201
    demo.block_thread()


if __name__ == "__main__":
    main()
