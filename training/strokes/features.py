"""Symbols of what every face has: head, eyes, brows, nose, ears, neck; the mouth is in `mouth`."""

import numpy as np
from numpy.typing import NDArray

from training.strokes.facts import ANGLES, Box, Face, ray_table
from training.strokes.hand import Hand, curve, ellipse

Points = NDArray[np.float64]


class Head:
    """The outline that this hand gives a head: between the true one and a symbol.

    Args:
        top: of a bare head the skull is higher than the skin that hair leaves free.
    """

    def __init__(self, face: Face, hand: Hand):
        self.face, self.hand = face, hand
        angles, _, directions = ray_table()
        self.angles, self.directions = angles, directions
        true = face.outline.copy()
        up = np.sin(angles) < 0
        # The skull above the hairline: nobody's head ends at the brows.
        width = float((true[0] + true[ANGLES // 2]) / 2)
        skull = np.maximum(true, width * (1 + 0.25 * np.abs(np.sin(angles))))
        covered = np.where(face.hair_reach > 0, np.minimum(skull, np.maximum(face.hair_reach * 0.93, true)), skull)
        self.skin = true  # down to the fringe
        crown = np.where(up, covered, true)
        down = float(true[ANGLES // 4])
        high = float(crown[3 * ANGLES // 4])
        self.kind = hand.pick(egg=4, circle=1.5, box=1, ellipse=2)
        symbol = self.symbol(width, down, high)
        radius = (1 - hand.crude) * crown + hand.crude * symbol
        shift, scale = hand.proportion("head")
        self.centre = face.centre + shift * 0.5
        self.radius = radius * np.hypot(np.cos(angles) * scale[0] ** 0.5, np.sin(angles) * scale[1] ** 0.5)

    def symbol(self, width: float, down: float, high: float) -> NDArray[np.float64]:
        """Radius of a simple shape at each angle."""
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        if self.kind == "circle":
            return np.full(ANGLES, (width + down + high) / 3)
        height = np.where(sin > 0, down, high)
        if self.kind == "box":
            power = 4.0
        elif self.kind == "egg":
            power = 2.0
            width = width * (1 - 0.12 * sin)  # narrower below
        else:
            power = 2.0
        return ((np.abs(cos) / width) ** power + (np.abs(sin) / height) ** power) ** (-1 / power)

    def at(self, angle: float | NDArray[np.float64], share: float | NDArray[np.float64] = 1.0) -> Points:
        """Points of the outline, `share` of the way from the middle; angles in radians, clockwise from the right."""
        angle = np.asarray(angle, np.float64)
        radius = np.interp(
            angle % (2 * np.pi), np.append(self.angles, 2 * np.pi), np.append(self.radius, self.radius[0])
        )
        return self.centre + (radius * share)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def draw(self, bare: bool) -> None:
        """The whole outline, or that below the hair."""
        hand = self.hand
        if bare or hand.chance(0.3 + 0.4 * hand.crude):
            hand.line(self.at(np.linspace(0, 2 * np.pi, 49)[:-1]), closed=True)
        else:
            rise = hand.rng.uniform(0.15, 0.9, 2)
            hand.line(self.at(np.linspace(-rise[0], np.pi + rise[1], 40)))


def draw_eyes(face: Face, hand: Hand) -> None:
    """Both eyes in one kind of symbol."""
    kind = hand.pick(dot=1.2 * hand.crude, ring=1.2, almond=3, oval=1, arc=0.3 * hand.crude, lens=1.2)
    woman = face.said["woman"] > 0.5
    lashes = hand.chance(0.5 if woman else 0.06)
    size = float(np.exp(hand.rng.normal(0.15 * hand.crude, 0.2 * hand.sloppy)))
    closed = max(face.place(name).height for name in ("l_eye", "r_eye")) < 0.02 and hand.chance(0.5)
    filled = hand.chance(0.5)
    middle = np.array([face.centre[0], (face.place("l_eye").y + face.place("r_eye").y) / 2])
    for name in ("l_eye", "r_eye"):
        box = face.place(name)
        at = hand.place(np.array([[box.x, box.y]]), "eyes", middle)[0] + hand.rng.normal(0, 0.006, 2) * hand.sloppy
        draw_eye(hand, "arc" if closed else kind, at, box, size, lashes, filled)


def draw_eye(hand: Hand, kind: str, at: Points, box: Box, size: float, lashes: bool, filled: bool) -> None:
    x, y = at
    width = float(np.clip(box.width, 0.06, 0.13)) * size
    height = float(np.clip(box.height, 0.025, 0.06)) * size
    if kind == "dot":
        hand.fill(ellipse(x, y, 0.035 * size, 0.04 * size))
    elif kind == "arc":
        bend = height * (1 if hand.chance(0.5) else -1)
        hand.line(curve((x - width / 2, y), (x, y + bend), (x + width / 2, y)))
    elif kind == "ring":
        hand.line(ellipse(x, y, width * 0.8, width * 0.8), closed=True)
        pupil(hand, x, y, width * 0.25, filled)
    elif kind == "oval":
        hand.line(ellipse(x, y, width, height * 1.4), closed=True)
        pupil(hand, x, y, height * 0.8, filled)
    else:
        lift = height * 0.75
        hand.line(curve((x - width / 2, y + 0.1 * height), (x, y - lift), (x + width / 2, y)), width=1.2)
        if kind == "almond" or hand.chance(0.4):
            hand.line(curve((x - width / 2, y + 0.1 * height), (x, y + lift), (x + width / 2, y)), width=0.8)
        pupil(hand, x, y, height * 1.1, filled)
        if hand.chance(0.25):  # the fold of the lid
            hand.line(
                curve((x - width / 2, y - lift * 0.9), (x, y - lift * 1.8), (x + width / 2, y - lift * 0.9)), 0.7
            )
    if lashes:
        angles = np.linspace(-2.6, -0.5, int(hand.rng.integers(3, 7)))
        rim = np.stack([x + width / 2 * np.cos(angles), y + height * 0.7 * np.sin(angles)], axis=1)
        hand.dashes(rim, rim + 0.022 * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def pupil(hand: Hand, x: float, y: float, size: float, filled: bool) -> None:
    x = x + hand.rng.normal(0, 0.003)
    if filled:
        hand.fill(ellipse(x, y, size, size))
    else:
        hand.line(ellipse(x, y, size, size), width=0.8, closed=True)
        if hand.chance(0.6):
            hand.fill(ellipse(x, y, size * 0.45, size * 0.45))


def draw_brows(face: Face, hand: Hand) -> None:
    if hand.chance(0.05 + 0.2 * hand.crude):
        return
    kind = hand.pick(line=3, thick=1.5, hatched=1.5, filled=1)
    thick = 0.6 if face.said["woman"] > 0.5 else 1.3
    for eye_name, name in (("l_eye", "l_brow"), ("r_eye", "r_brow")):
        eye, found = face.place(eye_name), face.boxes[name]
        box = found or Box(eye.x, eye.y - 0.06, 0.12, 0.025)
        around = np.array([eye.x, eye.y])
        rise = float(hand.rng.uniform(0.3, 1.2)) * max(box.height, 0.015)
        line = curve((box.x - box.width / 2, box.y), (box.x, box.y - rise), (box.x + box.width / 2, box.y))
        line = hand.place(hand.place(line, "brows", np.array([box.x, box.y])), "eyes", around)
        if kind == "line":
            hand.line(line)
        elif kind == "thick":
            hand.line(line, width=1.2 + 1.2 * thick)
        elif kind == "filled":
            low = line[::-1] + (0, 0.012 * thick + 0.006)
            hand.fill(np.concatenate([line, low]))
        else:
            starts = line[np.linspace(0, len(line) - 1, 9).astype(int)]
            hand.dashes(starts + (0, 0.008 * thick), starts + (0.012, -0.008 * thick))


def draw_nose(face: Face, hand: Hand) -> None:
    if hand.chance(0.02 + 0.08 * hand.crude):
        return
    box = face.place("nose")
    kind = hand.pick(l=2, u=2, dots=1 * hand.crude + 0.2, triangle=0.6 * hand.crude, wings=2.5, full=1.5)
    x, low, half = box.x, box.y + box.height / 2, max(box.width / 2, 0.03)
    high = box.y - box.height / 2
    turned = 1.0 if box.x > face.centre[0] else -1.0
    around = np.array([x, box.y])

    def line(*points: tuple[float, float], width: float = 1.0) -> None:
        hand.line(hand.place(curve(*points), "nose", around), width=width)

    if kind == "l":
        side = turned if hand.chance(0.8) else -turned
        middle = high + 0.2 * (low - high)
        line((x - 0.2 * half, middle), (x + side * half * 0.9, low - 0.012), (x - side * half * 0.4, low))
    elif kind == "u":
        line((x - half * 0.7, low - 0.03), (x, low + 0.012), (x + half * 0.7, low - 0.03))
    elif kind == "dots":
        for side in (-1, 1):
            spot = hand.place(ellipse(x + side * half * 0.45, low - 0.01, 0.014, 0.01), "nose", around)
            hand.fill(spot)
    elif kind == "triangle":
        line((x, high + 0.4 * (low - high)), (x + half, low), (x - half, low), (x, high + 0.4 * (low - high)))
    else:
        for side in (-1, 1):
            line(
                (x + side * half * 0.75, low - 0.045),
                (x + side * half * 1.15, low - 0.02),
                (x + side * half * 0.7, low),
            )
            if kind == "full" and (side == turned or hand.chance(0.4)):
                line((x + side * half * 0.35, high + 0.1 * (low - high)), (x + side * half * 0.3, (low + high) / 2),
                     (x + side * half * 0.7, low - 0.05))  # fmt: skip
        line((x - half * 0.4, low - 0.004), (x, low + 0.008), (x + half * 0.4, low - 0.004))


def draw_ears(face: Face, hand: Hand, head: Head) -> None:
    if hand.chance(0.1 + 0.25 * hand.crude):
        return
    height = hand.rng.uniform(0.1, 0.17)
    for name, angle, side in (("l_ear", np.pi, -1), ("r_ear", 0.0, 1)):
        if face.boxes[name] is None and not (face.said["bald"] > 0.5 and hand.chance(0.7)):
            continue
        place = head.at(angle)
        y = (face.place("l_eye").y + face.place("nose").y) / 2 + 0.02
        width = hand.rng.uniform(0.05, 0.08)
        start = -0.5 * np.pi if side > 0 else 0.5 * np.pi
        hand.line(ellipse(place[0], y, 2 * width, height, start, start + np.pi))
        if hand.chance(0.3):
            hand.line(ellipse(place[0], y, width, height * 0.5, start, start + np.pi), 0.7)


def draw_neck(face: Face, hand: Hand, head: Head) -> None:
    """Neck and shoulders, as far as this hand goes."""
    kind = hand.pick(none=2, neck=2, shoulders=3)
    if kind == "none":
        return
    low = hand.rng.uniform(0.93, 1.05)
    woman = face.said["woman"] > 0.5
    spread = hand.rng.uniform(0.35, 0.6) if woman else hand.rng.uniform(0.2, 0.5)
    for side in (-1, 1):
        start = head.at(np.pi / 2 - side * hand.rng.uniform(spread, spread + 0.25), 0.98)
        end = (start[0] + side * hand.rng.normal(0.01, 0.01), max(low, start[1] + 0.05))
        hand.line(np.array([start, end]))
        if kind == "shoulders":
            hand.line(curve(end, (end[0] + side * 0.15, end[1] + 0.02), (end[0] + side * 0.32, end[1] + 0.12)))
    if kind == "shoulders" and hand.chance(0.4):
        x = face.centre[0]
        hand.line(curve((x - 0.13, low), (x, low + hand.rng.uniform(0.02, 0.1)), (x + 0.13, low)))


def draw_wrinkles(face: Face, hand: Hand) -> None:
    """Lines of age."""
    eye, nose, lips = face.place("l_eye"), face.place("nose"), face.place("lips")
    other = face.place("r_eye")
    if hand.chance(0.7):
        for i in range(int(hand.rng.integers(1, 4))):
            y = eye.y - 0.1 - 0.03 * i
            hand.line(curve((eye.x, y), (face.centre[0], y - 0.008), (other.x, y)), 0.7)
    for side, box in ((-1, eye), (1, other)):
        if hand.chance(0.75):
            x = nose.x + side * nose.width * 0.6
            hand.line(curve((x, nose.y + nose.height * 0.4), (x + side * 0.035, lips.y - 0.04),
                            (x + side * 0.04, lips.y + 0.02)), 0.8)  # fmt: skip
        if hand.chance(0.5):
            hand.line(curve((box.x - 0.04, box.y + 0.035), (box.x, box.y + 0.05), (box.x + 0.04, box.y + 0.035)), 0.7)
        if hand.chance(0.4):
            start = np.tile([box.x + side * 0.065, box.y], (3, 1))
            hand.dashes(start, start + np.array([(side * 0.03, -0.02), (side * 0.035, 0), (side * 0.03, 0.02)]))
