"""Symbols of hair: on the head, on the chin and above the lips."""

import numpy as np
from numpy.typing import NDArray

from training.strokes.facts import ANGLES, Face
from training.strokes.features import Head
from training.strokes.hand import Hand, curve

Points = NDArray[np.float64]
UP, DOWN = 1.5 * np.pi, 0.5 * np.pi


class Hair:
    """The band between head and hair's outline, by angle from the top: strokes of any kind are placed in it.

    Args:
        face, hand, head: what is known, who draws, and the head as it was drawn.
    """

    def __init__(self, face: Face, hand: Hand, head: Head):
        self.face, self.hand, self.head = face, hand, head
        self.long = face.said["long_hair"] > 0.5
        shares = face.hair_reach / np.maximum(head.radius, 0.05)
        # From the top to both sides, [ANGLES / 2 + 1] each: how far out, in parts of the head's radius.
        top, half = 3 * ANGLES // 4, ANGLES // 2
        sides = [shares[(top + step * np.arange(half + 1)) % ANGLES] for step in (-1, 1)]
        self.sides = [self.tidied(side) for side in sides]
        skin = np.maximum(face.outline, 0.05) / np.maximum(head.radius, 0.05)
        self.skin = [np.minimum(skin[(top + step * np.arange(half + 1)) % ANGLES], 0.99) for step in (-1, 1)]
        self.ends = [self.end_of(side) for side in self.sides]

    def tidied(self, side: NDArray[np.float64]) -> NDArray[np.float64]:
        """At least a cap of hair, as far down as there is some."""
        thick = 1.0 + self.hand.rng.uniform(0.04, 0.12)
        return np.where(side > 0, np.clip(side, thick, 2.4 if self.long else 1.5), thick)

    def end_of(self, side: NDArray[np.float64]) -> float:
        """The angle from the top at which the hair of a side ends, in radians."""
        rng = self.hand.rng
        if self.long:
            return float(rng.uniform(2.2, 2.75))
        return float(rng.uniform(1.1, 1.75))

    def points(self, number: int, along: NDArray[np.float64], depth: float | NDArray[np.float64]) -> Points:
        """Points at angles `along` a side (0: top) and at a depth: 0 at the hairline, 1 at the outline."""
        angles = np.arange(ANGLES // 2 + 1) * 2 * np.pi / ANGLES
        outer = np.interp(along, angles, self.sides[number])
        inner = np.interp(along, angles, self.skin[number])
        share = inner + depth * (outer - inner)
        return self.head.at(UP + (-along if number == 0 else along), share)

    def outline(self) -> Points:
        """Around the hair, from the end of one side over the top to that of the other."""
        left, right = (self.points(i, np.linspace(0, self.ends[i], 26), 1.0) for i in (0, 1))
        return np.concatenate([left[::-1], right])

    def hairline(self) -> Points:
        left, right = (self.points(i, np.linspace(0, self.ends[i], 26), 0.0) for i in (0, 1))
        return np.concatenate([left[::-1], right])

    def draw(self, below: float = 0.0) -> None:
        """All hair; `below`: only from this angle on down, as under a hat."""
        hand = self.hand
        if below:
            self.ends = [max(end, below + 0.3) for end in self.ends]
        dark = hand.chance(0.35)
        kinds = {"outlined": 1.5, "strands": 3.0, "scribbled": 1.5, "filled": 1.2, "curls": 0.8}
        kinds |= {} if self.long else {"spikes": 1.2, "combed": 1.5}
        kind = hand.pick(**kinds)
        if kind == "outlined" or (kind in ("strands", "filled", "combed", "curls") and hand.chance(0.6)):
            self.contour(below)
        if dark and kind in ("outlined", "strands", "combed"):
            self.shade(below)
        getattr(self, kind)(below)

    def contour(self, below: float) -> None:
        """The outline, and often the hairline."""
        hand, inner = self.hand, self.hand.chance(0.75)
        for i in (0, 1):
            along = np.linspace(below, self.ends[i], 24)
            outer, line = self.points(i, along, 1.0), self.points(i, along, 0.0)
            hand.line(outer)
            if inner:
                hand.line(line)
                hand.line(np.stack([outer[-1], line[-1]]))

    def outlined(self, below: float) -> None:
        """Little more than the outline."""
        if self.hand.chance(0.5):
            self.strands(below, few=True)

    def strands(self, below: float, few: bool = False) -> None:
        """Lines along the head, from the parting down."""
        hand = self.hand
        number = int(hand.rng.integers(1, 3) if few else hand.rng.integers(3, 9) * hand.dense) + 1
        waves = hand.rng.uniform(0, 0.12) if hand.chance(0.3) else 0.0
        for i in (0, 1):
            for depth in hand.rng.permutation(np.linspace(0.1, 0.95, number)):
                start = below + hand.rng.uniform(0, 0.3)
                along = np.linspace(start, self.ends[i] * hand.rng.uniform(0.85, 1.03), 22)
                wavy = depth + waves * np.sin(along * hand.rng.uniform(10, 14))
                hand.line(self.points(i, along, wavy), hand.rng.uniform(0.6, 1.0))

    def scribbled(self, below: float) -> None:
        """Zigzags between hairline and outline."""
        hand = self.hand
        for _ in range(1 + int(hand.chance(0.4))):
            for i in (0, 1):
                dense = hand.rng.uniform(20, 40) if self.long else hand.rng.uniform(10, 24) * hand.dense
                number = int((self.ends[i] - below) * dense) + 6
                along = np.linspace(below, self.ends[i], number) + hand.rng.normal(0, 0.02, number)
                depth = np.where(np.arange(number) % 2 == 0, 0.0, 1.0) + hand.rng.normal(0, 0.12, number)
                hand.line(self.points(i, along, depth), 0.9)

    def shade(self, below: float) -> None:
        """The area, in an even grey."""
        self.paint(below, int(self.hand.rng.uniform(60, 210)))

    def filled(self, below: float) -> None:
        """All in the pen's black, or a grey."""
        self.paint(below, self.hand.ink if self.hand.chance(0.7) else int(self.hand.rng.uniform(0, 170)))

    def paint(self, below: float, ink: int) -> None:
        for i in (0, 1):
            along = np.linspace(below, self.ends[i], 24)
            self.hand.fill(np.concatenate([self.points(i, along, 1.0), self.points(i, along, 0.0)[::-1]]), ink)

    def curls(self, below: float) -> None:
        """Loops all over."""
        hand = self.hand
        size = hand.rng.uniform(0.02, 0.045)
        t = np.linspace(0, 2 * np.pi, 9)
        for i in (0, 1):
            for depth in np.linspace(0.2, 1.0, int(hand.rng.integers(1, 4))):
                number = int((self.ends[i] - below) * hand.rng.uniform(5, 9)) + 2
                middles = self.points(i, np.linspace(below, self.ends[i], number), depth)
                loops = [m + size * np.stack([np.cos(t + k), np.sin(t + k)], axis=1) for k, m in enumerate(middles)]
                hand.line(np.concatenate(loops), 0.9)

    def spikes(self, below: float) -> None:
        """Points that stick out."""
        hand = self.hand
        for i in (0, 1):
            number = 2 * int((self.ends[i] - below) * hand.rng.uniform(4, 10)) + 5
            along = np.linspace(below, self.ends[i], number)
            out = hand.rng.uniform(0.9, 1.4, number)
            depth = np.where(np.arange(number) % 2 == 0, hand.rng.uniform(0, 0.4), out)
            hand.line(self.points(i, along, depth))

    def combed(self, below: float) -> None:
        """Short strokes from the hairline outwards."""
        hand = self.hand
        lean = hand.rng.normal(0, 0.25)
        for i in (0, 1):
            number = int((self.ends[i] - below) * hand.rng.uniform(12, 30) * hand.dense) + 6
            along = hand.rng.uniform(below, self.ends[i], number)
            start = hand.rng.uniform(-0.05, 0.4, number)
            ends = self.points(i, np.clip(along + lean * (1 if i else -1), 0, 2.9), hand.rng.uniform(0.7, 1.1, number))
            hand.dashes(self.points(i, along, start), ends)


def draw_bald(face: Face, hand: Hand, head: Head) -> None:
    """Nothing on top; at most tufts above the ears, a few hairs, a gleam."""
    has_sides = face.masks["hair"].mean() > 0.01
    if hand.chance(0.6 if has_sides else 0.2):
        for side in (-1, 1):
            number = int(hand.rng.integers(4, 12) * hand.dense) + 2
            angles = (0.0 if side > 0 else np.pi) - side * hand.rng.uniform(0.0, 0.6, number)
            hand.dashes(head.at(angles, 0.97), head.at(angles - side * 0.1, hand.rng.uniform(1.05, 1.17)))
    if hand.chance(0.15):
        for angle in UP + hand.rng.normal(0, 0.12, int(hand.rng.integers(1, 4))):
            start, end = head.at(angle), head.at(angle + 0.05, 1.18)
            hand.line(np.stack([start, (start + end) / 2 + (0.01, 0), end]))
    if hand.chance(0.15):
        hand.line(head.at(np.linspace(UP + 0.3, UP + 0.7, 8), 0.85), 0.7)


def draw_beard(face: Face, hand: Hand, head: Head) -> None:
    """Around the chin, or on all of the jaw."""
    lips, rng = face.place("lips"), hand.rng
    wide = float(rng.choice([rng.uniform(0.35, 0.6), rng.uniform(0.9, 1.5)], p=[0.25, 0.75]))  # from the chin
    length = float(rng.choice([1.0, rng.uniform(1.0, 1.12), rng.uniform(1.12, 1.4)], p=[0.4, 0.35, 0.25]))
    mouth = (lips.y + lips.height / 2 + 0.015 - head.centre[1]) / max(
        float(np.ptp(head.at(np.array([DOWN, 0.0]))[:, 1])), 0.1
    )
    chin = float(np.clip(mouth, 0.5, 0.9))

    def inner(angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where it begins: below the mouth, and further out on the cheeks."""
        off = np.abs(angles - DOWN) / max(wide, 0.3)
        return np.clip(chin + (0.98 - chin) * np.clip(off - 0.25, 0, 1) ** 1.5 * 0.9, 0, 0.97)

    angles = np.linspace(DOWN - wide, DOWN + wide, 30)
    taper = 1 + (length - 1) * np.cos((angles - DOWN) / wide * np.pi / 2)
    area = np.concatenate([head.at(angles, taper), head.at(angles, inner(angles))[::-1]])
    kind = hand.pick(hatched=3, scribbled=2, outlined=1.5, filled=1.5, dots=0.7, curls=0.7)
    if kind == "filled" or hand.chance(0.15):
        hand.fill(area, hand.ink if hand.chance(0.5) else int(rng.uniform(0, 180)))
    if kind == "outlined" or hand.chance(0.3):
        hand.line(area, closed=True)
    if kind in ("hatched", "outlined"):
        number = int(wide * rng.uniform(25, 70) * hand.dense) + 10
        at = rng.uniform(DOWN - wide, DOWN + wide, number)
        limit = 1 + (length - 1) * np.cos((at - DOWN) / wide * np.pi / 2)
        start = inner(at) + (limit - inner(at)) * rng.uniform(0, 0.6, number)
        starts = head.at(at, start)
        reach = rng.uniform(0.2, 0.6, number) * (limit - inner(at)) + 0.03
        hand.dashes(starts, head.at(at, start + reach))
    elif kind == "scribbled":
        number = int(wide * rng.uniform(14, 30) * hand.dense) + 8
        at = np.linspace(DOWN - wide, DOWN + wide, number)
        limit = 1 + (length - 1) * np.cos((at - DOWN) / wide * np.pi / 2)
        hand.line(head.at(at, np.where(np.arange(number) % 2 == 0, inner(at), limit) + rng.normal(0, 0.02, number)))
    elif kind == "dots":
        number = int(wide * rng.uniform(30, 70)) + 10
        at = rng.uniform(DOWN - wide, DOWN + wide, number)
        start = inner(at) + (1 - inner(at)) * rng.uniform(0, 1, number)
        spots = head.at(at, start)
        hand.dashes(spots, spots + rng.normal(0, 0.004, spots.shape))
    elif kind == "curls":
        t = np.linspace(0, 2 * np.pi, 8)
        size = rng.uniform(0.015, 0.03)
        for share in (0.3, 0.8):
            at = np.linspace(DOWN - wide, DOWN + wide, int(wide * 9) + 4)
            limit = 1 + (length - 1) * np.cos((at - DOWN) / wide * np.pi / 2)
            middles = head.at(at, inner(at) + share * (limit - inner(at)))
            loops = [m + size * np.stack([np.cos(t + k), np.sin(t + k)], axis=1) for k, m in enumerate(middles)]
            hand.line(np.concatenate(loops), 0.9)


def draw_moustache(face: Face, hand: Hand) -> None:
    """Between nose and mouth."""
    lips, nose, rng = face.place("lips"), face.place("nose"), hand.rng
    low = lips.y - lips.height * 0.35
    high = min(nose.y + nose.height / 2 + 0.004, low - 0.02)
    x, y, half = lips.x, (low + high) / 2, lips.width * rng.uniform(0.4, 0.75)
    thick = (low - high) * rng.uniform(0.7, 1.3)
    droop = rng.uniform(0, 0.04)
    around = np.array([x, lips.y])
    middle = (x, y - thick * 0.35)
    left = curve((x - half, y + droop), (x - half / 2, y - thick * 0.7), middle)
    right = curve(middle, (x + half / 2, y - thick * 0.7), (x + half, y + droop))
    top = np.concatenate([left, right[1:]])
    bottom = curve((x - half, y + droop), (x, y + thick * 0.5), (x + half, y + droop))
    top, bottom = (hand.place(points, "mouth", around) for points in (top, bottom))
    kind = hand.pick(hatched=2.5, filled=2, outlined=1, curls=0.7, scribbled=1.5)
    if kind == "filled":
        hand.fill(np.concatenate([top, bottom[::-1]]), hand.ink if hand.chance(0.7) else int(rng.uniform(0, 160)))
    elif kind == "outlined":
        hand.line(np.concatenate([top, bottom[::-1]]), closed=True)
    elif kind == "curls":
        for side in (-1, 1):
            tip = (x + side * half * 1.3, y - rng.uniform(0.01, 0.04))
            hand.line(
                hand.place(
                    curve((x, y - thick * 0.2), (x + side * half * 0.8, y + thick * 0.5), tip), "mouth", around
                ),
                2.0,
            )
    else:
        number = int(rng.uniform(9, 22) * hand.dense) + 6
        at = np.linspace(0, 1, number)
        starts, ends = (
            np.stack([np.interp(at, np.linspace(0, 1, len(p)), p[:, k]) for k in (0, 1)], axis=1)
            for p in (top, bottom)
        )
        if kind == "hatched":
            hand.dashes(starts, ends)
        else:
            hand.line(np.where((np.arange(number) % 2 == 0)[:, None], starts, ends))
