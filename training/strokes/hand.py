"""How somebody draws: one style of lines and of proportions, kept all over a drawing."""

import numpy as np
from numpy.typing import NDArray

from training.strokes.page import Page

Points = NDArray[np.float64]
STEP = 0.014  # between the points of a line
TOOLS = ("pen", "tablet", "mouse", "pencil")


class Hand:
    """Draws lines on a page in a style of its own.

    Args:
        rng: source of every random choice.
        page: that it draws on.
    """

    def __init__(self, rng: np.random.Generator, page: Page):
        self.rng, self.page = rng, page
        self.crude = float(rng.beta(1.1, 0.9))  # 0: lines follow the true contours, 1: symbols
        self.tool = str(rng.choice(TOOLS))
        self.width = float(rng.uniform(1.0, 2.2) if self.tool == "pencil" else rng.uniform(1.2, 4.2))
        self.ink = int(rng.uniform(40, 130) if self.tool == "pencil" else rng.choice([0, 0, 0, rng.integers(0, 90)]))
        self.wobble = float(rng.uniform(0.0005, 0.003) + self.crude * rng.uniform(0, 0.006))
        self.shake = float(rng.uniform(0.001, 0.004)) if self.tool == "mouse" else float(rng.uniform(0, 0.0007))
        self.overshoot = float(rng.choice([0, rng.uniform(0, 0.04)]))
        self.gap = float(rng.normal(0, 0.05))  # of closed curves: open (above 0) or overlapping
        self.passes = int(rng.choice([1, 1, 1, 1, 2, 3]))  # a line sought with several strokes
        self.sloppy = float(rng.choice([0.3, 0.6, 1.0, 1.6]) * (0.25 + 0.75 * self.crude))
        self.dense = float(rng.uniform(0.4, 1.6))  # of hatching and scribbles
        # Proportions: parts are moved and scaled, those of a pair together.
        self.moves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, **shares: float) -> str:
        """One of the names, by its share."""
        total = np.array(list(shares.values()))
        return str(self.rng.choice(list(shares), p=total / total.sum()))

    def proportion(self, part: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shift [2] and scale [2] of a part in this drawing."""
        if part not in self.moves:
            shift = self.rng.normal(0, (0.012, 0.02), 2) * self.sloppy
            scale = np.exp(self.rng.normal(0, 0.2, 1) * self.sloppy + self.rng.normal(0, 0.1, 2) * self.sloppy)
            self.moves[part] = shift, scale
        return self.moves[part]

    def place(self, points: Points, part: str, around: Points) -> Points:
        """Points of a part, moved and scaled around its middle as this hand does."""
        shift, scale = self.proportion(part)
        return (points - around) * scale + around + shift

    def line(self, points: Points, width: float = 1.0, ink: int | None = None, closed: bool = False) -> None:
        """A line through points [N, 2]: with this hand's wobble, ends and pressure.

        Args:
            width: in parts of the pen's.
            ink: grey, if not the pen's.
            closed: back to where it began.
        """
        for _ in range(self.passes if len(points) > 3 else 1):
            self.stroke(self.uneven(points, closed), width, self.ink if ink is None else ink)

    def uneven(self, points: Points, closed: bool) -> Points:
        """The line as it comes out."""
        rng = self.rng
        if closed:
            points = np.roll(points, int(rng.integers(len(points))), axis=0)
            points = np.concatenate([points, points[:1]])
        points = resampled(points)
        n = len(points)
        if closed and n > 8:
            cut = round(abs(self.gap) * n)
            points = points[: n - cut] if self.gap > 0 else np.concatenate([points, points[1 : 1 + cut]])
            n = len(points)
        if self.overshoot and n > 2 and not closed:
            end = points[-1] - points[-2]
            length = self.overshoot * rng.random() / max(float(np.hypot(*end)), 1e-6)
            points = np.concatenate([points, points[-1:] + end * min(length, 4.0)])
            n += 1
        knots = rng.normal(0, self.wobble, (max(2, n // 7 + 2), 2))
        x, at = np.linspace(0, len(knots) - 1, n), np.arange(len(knots))
        noise = np.stack([np.interp(x, at, knots[:, 0]), np.interp(x, at, knots[:, 1])], axis=1)
        if self.shake:
            noise += rng.normal(0, self.shake, (n, 2))
        return points + noise

    def stroke(self, points: Points, width: float, ink: int) -> None:
        """Bring a finished line to paper; a tablet's pen presses more or less."""
        width = self.width * width
        if self.tool != "tablet" or len(points) < 10:
            self.page.line(points, width, ink)
            return
        pieces = 4
        cuts = np.linspace(0, len(points) - 1, pieces + 1).astype(int)
        pressure = self.rng.uniform(0.6, 1.3, pieces)
        for start, end, press in zip(cuts[:-1], cuts[1:], pressure, strict=True):
            self.page.line(points[start : end + 1], width * press, ink)

    def dashes(self, starts: Points, ends: Points, width: float = 0.8, ink: int | None = None) -> None:
        """Many short straight strokes from starts to ends, [N, 2] each."""
        noise = self.rng.normal(0, self.wobble, (2, *starts.shape))
        for line in np.stack([starts + noise[0], ends + noise[1]], axis=1):
            self.page.line(line, self.width * width, self.ink if ink is None else ink)

    def fill(self, points: Points, ink: int | None = None) -> None:
        self.page.area(points, self.ink if ink is None else ink)


def resampled(points: Points) -> Points:
    """Points a STEP apart along a polyline."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    number = max(3, int(lengths[-1] / STEP) + 1)
    along = np.linspace(0, lengths[-1], number)
    return np.stack([np.interp(along, lengths, points[:, 0]), np.interp(along, lengths, points[:, 1])], axis=1)


def ellipse(x: float, y: float, width: float, height: float, start: float = 0.0, end: float = 2 * np.pi) -> Points:
    """An arc, angles clockwise from the right."""
    angles = np.linspace(start, end, 25)
    return np.stack([x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)], axis=1)


def curve(*points: tuple[float, float]) -> Points:
    """A smooth line through some points: quadratic through three, else straight between them."""
    given = np.array(points, np.float64)
    if len(given) != 3:
        return given
    t = np.linspace(0, 1, 9)[:, None]
    control = 2 * given[1] - (given[0] + given[2]) / 2
    return (1 - t) ** 2 * given[0] + 2 * t * (1 - t) * control + t**2 * given[2]
