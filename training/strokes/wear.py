"""Symbols of what a face wears: glasses, hats, earrings."""

from typing import NamedTuple

import numpy as np

from training.strokes.facts import Face
from training.strokes.features import Head
from training.strokes.hair import UP
from training.strokes.hand import Hand, curve, ellipse


def draw_glasses(face: Face, hand: Hand, head: Head) -> None:
    """Two frames with a bridge, with temples or without."""
    left, right = face.place("l_eye"), face.place("r_eye")
    middle = np.array([(left.x + right.x) / 2, (left.y + right.y) / 2])
    apart = max(abs(right.x - left.x), 0.15)
    width, height = apart * hand.rng.uniform(0.6, 0.86), apart * hand.rng.uniform(0.42, 0.8)
    kind = hand.pick(round=2.5, square=2, oval=1.5, aviator=1)
    if kind == "round":
        height = width = apart * hand.rng.uniform(0.58, 0.85)
    dark = hand.chance(0.1)
    thick = hand.rng.uniform(0.8, 1.8)
    drop = hand.rng.uniform(-0.005, 0.02)
    for box in (left, right):
        at = hand.place(np.array([[box.x, box.y + drop]]), "eyes", middle)[0]
        side = 1 if box is right else -1
        if kind == "square":
            w, h = width / 2, height / 2
            rim = np.array([(-w, -h), (0, -h), (w, -h), (w, 0), (w * 0.95, h), (0, h), (-w * 0.95, h), (-w, 0)]) + at
        elif kind == "aviator":
            w, h = width / 2, height / 2
            rim = np.array([(-w, -h), (w, -h), (w * 0.95, h * 0.3), (w * 0.4, h), (-w * 0.3, h), (-w * 0.9, h * 0.4)])
            rim = rim * (-side, 1) + at
        else:
            rim = ellipse(at[0], at[1], width, height)[:-1]
        if dark:
            hand.fill(rim, int(hand.rng.uniform(0, 140)))
        hand.line(rim, thick, closed=True)
        if hand.chance(0.75):  # the temple
            edge = head.at(0.0 if side > 0 else np.pi)
            hand.line(
                np.array([(at[0] + side * width / 2, at[1] - height * 0.1), (edge[0], at[1] - height * 0.2)]), thick
            )
    inner = hand.place(np.array([[left.x, left.y + drop], [right.x, right.y + drop]]), "eyes", middle)
    start, end = inner[0] + (width / 2, 0), inner[1] - (width / 2, 0)
    if hand.chance(0.95) and start[0] < end[0]:
        hand.line(curve(tuple(start), (middle[0], start[1] - hand.rng.uniform(0, 0.02)), tuple(end)), thick)


class HatPlace(NamedTuple):
    """Where a hat sits: the ends of its edge on the head, the middle between them, its width and its height."""

    left: np.ndarray
    right: np.ndarray
    middle: np.ndarray
    width: float
    height: float


def draw_hat(face: Face, hand: Hand, head: Head) -> float:
    """A hat of one of several kinds; returns the angle from the top at which hair may begin below it."""
    rng = hand.rng
    brows = (face.place("l_eye").y + face.place("r_eye").y) / 2 - 0.07
    rise = float(np.clip((head.centre[1] - brows) / max(head.radius[54], 0.1), 0.3, 0.95)) + rng.uniform(-0.05, 0.15)
    edge = float(np.arccos(np.clip(rise, 0.25, 0.93)))  # from the top
    left, right = head.at(np.array([UP - edge, UP + edge]), 1.06)
    middle, width = (left + right) / 2, float(np.hypot(*(right - left)))
    kind = hand.pick(beanie=2.5, cap=2, brimmed=2.5, top=1, cowboy=1, band=0.7)
    height = middle[1] - float(head.at(UP)[1]) + rng.uniform(0.02, 0.1)
    place = HatPlace(left, right, middle, width, height)
    if kind in ("beanie", "band"):
        draw_beanie(kind, place, hand)
    elif kind == "cap":
        draw_cap(place, hand)
    else:
        draw_brim(kind, place, hand)
        draw_crown(kind, place, hand)
    return edge


def draw_dome(place: HatPlace, height: float, hand: Hand) -> None:
    """Half an ellipse on the edge of the hat."""
    arc = ellipse(place.middle[0], place.middle[1], place.width, 2 * height, np.pi, 2 * np.pi)
    if hand.chance(0.2):
        hand.fill(arc, int(hand.rng.uniform(0, 200)))
    hand.line(arc)


def draw_beanie(kind: str, place: HatPlace, hand: Hand) -> None:
    """A knitted cap, its cuff, and a bobble on top; a `band` may have no cuff."""
    left, right, middle, _, height = place
    draw_dome(place, height, hand)
    hand.line(curve(tuple(left), (middle[0], middle[1] - 0.02), tuple(right)))
    if kind == "beanie" or hand.chance(0.5):
        lift = np.array([0, hand.rng.uniform(0.03, 0.08)])
        hand.line(curve(tuple(left - lift), (middle[0], middle[1] - 0.02 - lift[1]), tuple(right - lift)))
        if hand.chance(0.6):
            starts = left + (right - left) * np.linspace(0.05, 0.95, int(hand.rng.integers(5, 14)))[:, None]
            hand.dashes(starts - (0, 0.01), starts - lift)
    if hand.chance(0.35):
        hand.line(ellipse(middle[0], middle[1] - height - 0.03, 0.09, 0.08), closed=True)


def draw_cap(place: HatPlace, hand: Hand) -> None:
    """A cap, its peak towards one side or the viewer, with a badge or without."""
    left, right, middle, _, height = place
    draw_dome(place, height * 0.9, hand)
    hand.line(np.stack([left, right]))
    if hand.chance(0.5):  # towards one side
        side = 1 if hand.chance(0.5) else -1
        start, tip = (right, right + (0.16, 0.03)) if side > 0 else (left, left + (-0.16, 0.03))
        hand.line(curve(tuple(start), tuple((start + tip) / 2 - (0, 0.02)), tuple(tip)))
        hand.line(curve(tuple(middle), tuple((middle + tip) / 2 + (0, 0.03)), tuple(tip)))
    else:
        hand.line(curve(tuple(left), (middle[0], middle[1] + hand.rng.uniform(0.04, 0.09)), tuple(right)), 1.2)
    if hand.chance(0.3):
        hand.line(ellipse(middle[0], middle[1] - height * 0.45, 0.07, 0.06), closed=True)


def draw_brim(kind: str, place: HatPlace, hand: Hand) -> None:
    """Wider than the head: bent up at both ends for a `cowboy`, else an ellipse or a line."""
    x, y = place.middle
    width = place.width * hand.rng.uniform(1.35, 1.9)
    thickness = hand.rng.uniform(0.03, 0.12)
    if kind == "cowboy":
        hand.line(curve((x - width / 2, y - 0.06), (x, y + 0.04), (x + width / 2, y - 0.06)))
    elif hand.chance(0.5):
        hand.line(ellipse(x, y, width, thickness), closed=True)
    else:
        hand.line(np.array([(x - width / 2, y), (x + width / 2, y)]), 1.3)


def draw_crown(kind: str, place: HatPlace, hand: Hand) -> None:
    """What is above the brim: high for a `top` hat, with a dent for a `cowboy`; perhaps with a ribbon."""
    x, y = place.middle
    width = place.width * hand.rng.uniform(0.75, 1.0)
    height = place.height * (1.25 if kind == "top" else 1.0)
    if kind == "brimmed" and hand.chance(0.5):
        crown = ellipse(x, y, width, 2 * height, np.pi, 2 * np.pi)
    else:
        dent = 0.03 if kind == "cowboy" else 0.0
        crown = place.middle + np.array(
            [(-width / 2, 0), (-width * 0.45, -height), (0, -height + dent), (width * 0.45, -height), (width / 2, 0)]
        )
    if hand.chance(0.2):
        hand.fill(crown, int(hand.rng.uniform(0, 200)))
    hand.line(crown)
    if hand.chance(0.6):
        ribbon = y - height * hand.rng.uniform(0.15, 0.3)
        hand.line(np.array([(x - width * 0.49, ribbon), (x + width * 0.49, ribbon)]))


def draw_earrings(face: Face, hand: Hand, head: Head) -> None:
    for angle in (0.3, np.pi - 0.3):
        x, y = head.at(angle, 1.05)
        hand.line(ellipse(x, y + 0.02, 0.03, 0.04), closed=True)
