"""Symbols of a mouth: closed as a line or two lips, or open: a row of teeth, a dark hole, a ring."""

import numpy as np
from numpy.typing import NDArray

from training.strokes.facts import Face
from training.strokes.hand import Hand, curve, ellipse

Points = NDArray[np.float64]


class Mouth:
    """Where the lips are, and how far their corners rise.

    Args:
        x, y: the middle between the corners of a mouth that does not smile.
        height: of the lips in the picture, open or not.
        rise: how much higher the corners are than the middle.
    """

    def __init__(self, face: Face, hand: Hand):
        self.hand, box = hand, face.place("lips")
        self.smile = face.said["smile"]
        bend = face.smile_bend()
        if self.smile > 0.6:
            bend = max(bend, hand.rng.uniform(0.08, 0.14)) * (1 + 1.2 * hand.crude * hand.rng.random())
        elif self.smile < 0.4:
            bend = min(bend, 0.03) * (1 - hand.crude)
        self.x, self.y, self.height = box.x, box.y, box.height
        self.width = box.width * hand.rng.uniform(0.9, 1.15)
        self.rise = 2 * bend * self.width
        corners = self.y - self.rise * 0.5
        self.left, self.right = (self.x - self.width / 2, corners), (self.x + self.width / 2, corners)

    def across(self, y: float) -> Points:
        """A curve from corner to corner, through a height in the middle."""
        return curve(self.left, (self.x, y), self.right)

    def line(self, points: Points, width: float = 1.0, closed: bool = False) -> None:
        self.hand.line(self.placed(points), width=width, closed=closed)

    def fill(self, points: Points, ink: int | None = None) -> None:
        self.hand.fill(self.placed(points), ink)

    def dashes(self, starts: Points, ends: Points, width: float) -> None:
        marks = self.placed(np.concatenate([starts, ends]))
        self.hand.dashes(marks[: len(starts)], marks[len(starts) :], width=width)

    def placed(self, points: Points) -> Points:
        return self.hand.place(points, "mouth", np.array([self.x, self.y]))


def draw_mouth(face: Face, hand: Hand) -> None:
    """Closed or open; an open one that does not smile is often round."""
    mouth = Mouth(face, hand)
    if not face.said["open_mouth"] > 0.5:  # not known, NaN, is closed
        draw_lips(mouth, hand)
    elif hand.chance(0.1 if mouth.smile > 0.5 else 0.6):
        draw_round(mouth, hand)
    else:
        draw_open(mouth, hand)


def draw_lips(mouth: Mouth, hand: Hand) -> None:
    """A line, with both lips, filled or not, or with the shadow below them."""
    x, y, width, rise = mouth.x, mouth.y, mouth.width, mouth.rise
    kind = hand.pick(line=1 + 2 * hand.crude, lips=2, filled=0.6, under=1.5)
    mouth.line(mouth.across(y + rise * 0.5), width=1.1)
    thick = max(mouth.height * 0.45, 0.014)
    top, bottom = y + rise * 0.4 - thick, y + rise * 0.5 + 1.2 * thick
    if kind in ("lips", "filled"):
        sides = (x - width * 0.15, top), (x, top + 0.25 * thick), (x + width * 0.15, top)
        bow, low = np.array([mouth.left, *sides, mouth.right]), mouth.across(bottom)
        if kind == "filled":
            mouth.fill(np.concatenate([bow, low[::-1]]), int(hand.rng.uniform(0, 150)))
        mouth.line(bow, 0.9)
        mouth.line(low, 0.9)
    elif kind == "under":
        mouth.line(curve((x - width * 0.25, bottom), (x, bottom + 0.006), (x + width * 0.25, bottom)), 0.8)
    if mouth.smile > 0.6 and hand.chance(0.4):
        for side, corner in ((-1, mouth.left), (1, mouth.right)):  # dimples
            mouth.line(curve((corner[0] + side * 0.004, corner[1] - 0.015), (corner[0] + side * 0.012, corner[1]),
                       (corner[0] + side * 0.002, corner[1] + 0.015)), 0.8)  # fmt: skip


def draw_open(mouth: Mouth, hand: Hand) -> None:
    """From corner to corner, with or without teeth."""
    x, y, width, rise = mouth.x, mouth.y, mouth.width, mouth.rise
    drop = max(mouth.height * 0.5, 0.025)
    upper, lower = mouth.across(y - 0.2 * drop + rise * 0.35), mouth.across(y + drop + rise * 0.5)
    inside = np.concatenate([upper, lower[::-1]])
    kind = hand.pick(teeth=3 if mouth.smile > 0.5 else 1, dark=1.5, empty=1)
    if kind == "dark":
        mouth.fill(inside)
    mouth.line(inside, closed=True)
    if kind == "teeth":
        if hand.chance(0.4):
            mouth.line(mouth.across(y + 0.4 * drop + rise * 0.4), width=0.7)
        if hand.chance(0.5):
            places = np.linspace(2, len(upper) - 3, int(hand.rng.integers(4, 9))).astype(int)
            mouth.dashes(upper[places], lower[places], width=0.6)
    if hand.chance(0.35):
        low = y + 1.5 * drop
        mouth.line(curve((x - width * 0.25, low), (x, low + 0.3 * drop), (x + width * 0.25, low)), 0.8)


def draw_round(mouth: Mouth, hand: Hand) -> None:
    """A ring: surprise, a song, a shout; empty, dark, scribbled over, or with teeth or a tongue."""
    rng = hand.rng
    half = mouth.width * rng.uniform(0.16, 0.38)
    tall = max(half * rng.uniform(0.7, 1.7), 0.02)
    x, y = mouth.x, mouth.y + rng.uniform(-0.2, 0.6) * tall
    ring = ellipse(x, y, 2 * half, 2 * tall)
    if hand.chance(0.25):  # flat above
        ring = np.maximum(ring, [-np.inf, y - 0.5 * tall])
    kind = hand.pick(empty=2, dark=1, scribbled=1, teeth=0.7, tongue=1)
    if kind == "dark":
        mouth.fill(ring)
    mouth.line(ring, width=rng.uniform(0.9, 1.6), closed=True)
    if hand.chance(0.2):  # lips around
        mouth.line(ellipse(x, y, 2.5 * half, 2.5 * tall), 0.8, closed=True)
    if kind == "scribbled":
        along = np.linspace(-0.75, 0.75, int(rng.integers(6, 14)))
        reach = tall * 0.8 * np.sqrt(1 - along**2) * np.where(np.arange(len(along)) % 2, 1, -1)
        mouth.line(np.stack([x + along * half, y + reach], axis=1))
    elif kind == "teeth":
        edge = y - rng.uniform(0.2, 0.5) * tall
        mouth.line(np.array([(x - 0.85 * half, edge), (x + 0.85 * half, edge)]), 0.8)
    elif kind == "tongue":
        low = y + 0.6 * tall
        mouth.line(curve((x - 0.7 * half, low), (x, y + rng.uniform(0, 0.35) * tall), (x + 0.7 * half, low)), 0.8)
