"""A drawing of a face as an untrained person makes it."""

import numpy as np
from torch import Tensor

from training.strokes.facts import Face, Facts
from training.strokes.features import (
    Head,
    draw_brows,
    draw_ears,
    draw_eyes,
    draw_neck,
    draw_nose,
    draw_wrinkles,
)
from training.strokes.hair import Hair, draw_bald, draw_beard, draw_moustache
from training.strokes.hand import Hand
from training.strokes.mouth import draw_mouth
from training.strokes.page import Page
from training.strokes.wear import draw_earrings, draw_glasses, draw_hat

SURE = 0.5  # an attribute above this is drawn


def write_drawing(facts: Facts, rng: np.random.Generator) -> Tensor:
    """Draw a face in one hand.

    Args:
        facts: what is known of it. What it has (glasses, hat, beard, ...) is drawn, what it has not is left out, and
            no hair means that it is bald.
        rng: source of every random choice.

    Returns:
        [1, 256, 256] in [0, 1], dark lines on white: what `psp_hub.images.line_drawings` makes of a person's drawing.
    """
    face, page = Face(facts), Page()
    hand = Hand(rng, page)
    head = Head(face, hand)

    def has(name: str) -> bool:
        return face.said[name] > SURE

    hat, bald = has("hat"), has("bald")
    if hand.chance(0.85):
        draw_neck(face, hand, head)
    head.draw(bare=bald and not hat)
    if hat:
        below = draw_hat(face, hand, head)
        if not bald and (has("long_hair") or hand.chance(0.5)):
            Hair(face, hand, head).draw(below)
    elif bald:
        draw_bald(face, hand, head)
    else:
        Hair(face, hand, head).draw()
    if not has("long_hair") or hand.chance(0.2):
        draw_ears(face, hand, head)
    if has("beard"):
        draw_beard(face, hand, head)
    if has("moustache"):
        draw_moustache(face, hand)
    draw_eyes(face, hand)
    draw_brows(face, hand)
    if has("glasses"):
        draw_glasses(face, hand, head)
    draw_nose(face, hand)
    draw_mouth(face, hand)
    if has("old"):
        draw_wrinkles(face, hand)
    if face.boxes["earring"] is not None and hand.chance(0.6):
        draw_earrings(face, hand, head)
    return page.draw(rng, soft=hand.tool == "pencil")
