"""The walk of a picture from the page's button to its face: short, and as docs/architecture.md tells it.

Counted are the functions of `psp_hub` that are handed the picture in any of its forms: file, picture, tensor, styles.
What goes on inside a network (the encoder with its passes, the generator) is its own affair; for a drawing, so is what
goes on inside a function of the room `images`, which cleans it.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from torch import Tensor

import psp_hub
from psp_hub import PSPConfig, PSPModel
from psp_hub.demo.photo.crops import Crop, ready
from psp_hub.demo.photo.handlers import Handlers
from psp_hub.demo.sketch.handlers import face_makers
from psp_hub.generators import load_generator

ROOT = Path(psp_hub.__file__).parent
ARCHITECTURE = ROOT.parent / "docs" / "architecture.md"
NETWORKS = ("forward", "encode_in_passes")
LAST = "save_png"


def is_picture(value: Any) -> bool:
    """Whether there is a picture in a value, in any of its forms."""
    if is_dataclass(value) and not isinstance(value, type):
        return any(is_picture(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 1
    return isinstance(value, Image.Image) or hasattr(value, "seek") or str(value).startswith("data:image")


def walk(answers: Iterator[Any], rooms: tuple[str, ...]) -> list[tuple[str, str]]:
    """Module and function, in the order in which they are called until the first face is written.

    Args:
        rooms: whose functions count, but not what they call.
    """
    steps: list[tuple[str, str]] = []
    hidden: list[FrameType] = []  # a network, or a function of a room, that is at work

    def look(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "return" and hidden and hidden[-1] is frame:
            hidden.pop()
        if event != "call" or hidden or not code.co_filename.startswith(f"{ROOT}/") or code.co_name.startswith("<"):
            return
        module = Path(code.co_filename).relative_to(ROOT)
        is_network = code.co_name in NETWORKS
        if is_network or module.parts[0] in rooms:
            hidden.append(frame)
        step = (str(module), code.co_qualname.rpartition("<locals>.")[2])
        given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount]]
        is_over = any(function == LAST for _, function in steps)
        if not is_network and not is_over and step not in steps and any(map(is_picture, given)):
            steps.append(step)

    sys.setprofile(look)
    try:
        next(answers)
    finally:
        sys.setprofile(None)
    return steps


@pytest.fixture
def drawing(model_dir: Path, on_pad: Callable[[Image.Image], str]) -> Iterator[Any]:
    """The button of the sketch tab, pressed."""
    picture = Image.new("L", (512, 512), 255)
    ImageDraw.Draw(picture).ellipse((100, 60, 400, 460), outline=0, width=3)
    _, draw_from_pad = face_makers(PSPModel.from_pretrained(model_dir))
    return draw_from_pad(on_pad(picture), None, 3, 1, 0.5, 1.0)


@pytest.fixture
def photo(generator_dir: Path, make_encoder: Callable, portrait: Callable[[int, int], Image.Image]) -> Iterator[Any]:
    """The button of the photo tab, pressed."""
    model = PSPModel(make_encoder(in_channels=3), load_generator(generator_dir), PSPConfig("inversion", "photo"))
    return Handlers({"inversion": model}, {"inversion": []}).make(
        "inversion", ready(Crop(portrait(512, 3)), "inversion"), None, True, False, 3, 0, 0.5, 1.0
    )


@pytest.mark.parametrize(("name", "rooms"), [("drawing", ("images",)), ("photo", ())])
def test_a_picture_comes_to_its_face_without_detours(name, rooms, request):
    steps = walk(request.getfixturevalue(name), rooms)
    visits = [(module, [function for _, function in group]) for module, group in groupby(steps, lambda step: step[0])]
    modules = {module for module, _ in visits}
    assert steps[-1][1] == LAST
    assert len(steps) <= 10 and len(modules) <= 6 and len(visits) - len(modules) <= 3, steps
    told = "".join(f"{module:<28}{', '.join(functions)}\n" for module, functions in visits)
    assert f"```text\n{told}```" in ARCHITECTURE.read_text(encoding="utf-8"), f"it should say\n{told}"
