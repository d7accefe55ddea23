"""Drawings kept as strokes, with what they plainly say: what evaluation shows a model of people who cannot draw.

A file of them is a JSON list. Each drawing has a `name`, the `hand` that drew it (mouse, finger or pencil), what it
`says` (names of `ATTRIBUTES`), the size of its `page` (width, height) and `strokes`, [width, x, y, x, y, ...] each,
in pixels of the page. `ink` and `paper` are greys (0 and 255 if left out), `lined` is true for ruled paper.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

# What a drawing can say, and what is looked for in the answer.
ATTRIBUTES = (
    "glasses",
    "bald",
    "short hair",
    "long hair",
    "hat",
    "beard",
    "moustache",
    "smile",
    "open mouth",
    "man",
    "woman",
)
CONTRADICTIONS = ({"bald", "short hair", "long hair"}, {"man", "woman"})  # at most one of each
SUPERSAMPLING = 3
CURVE_STEPS = 4  # straight pieces of a curve between two points
RULE_DISTANCE, RULE_DARKNESS = 32, 45  # of ruled paper


@dataclass(frozen=True)
class StrokeDrawing:
    """One drawing; the fields are those of the file."""

    name: str
    hand: str
    says: tuple[str, ...]
    page: tuple[int, int]
    strokes: tuple[tuple[float, ...], ...] = field(repr=False)
    ink: int = 0
    paper: int = 255
    lined: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.says) - set(ATTRIBUTES))
        if unknown or not self.says:
            raise ValueError(f"{self.name} says {unknown or 'nothing'}, expected some of {', '.join(ATTRIBUTES)}")
        for group in CONTRADICTIONS:
            if len(both := sorted(group & set(self.says))) > 1:
                raise ValueError(f"{self.name} says {' and '.join(both)}, expected one of them")
        if len(self.page) != 2:
            raise ValueError(f"{self.name} has a page of {self.page}, expected (width, height)")
        if not self.strokes or any(len(stroke) < 5 or len(stroke) % 2 == 0 for stroke in self.strokes):
            raise ValueError(f"{self.name}: a stroke is [width, x, y, x, y, ...] with two points or more")

    def render(self) -> Image.Image:
        """The page as a picture of mode "L"."""
        size = tuple(SUPERSAMPLING * side for side in self.page)
        page = Image.new("L", size, self.paper)
        pen = ImageDraw.Draw(page)
        if self.lined:
            for y in range(2 * RULE_DISTANCE, self.page[1], RULE_DISTANCE):
                ruled = (0, y * SUPERSAMPLING, size[0], y * SUPERSAMPLING)
                pen.line(ruled, fill=max(self.paper - RULE_DARKNESS, 0), width=SUPERSAMPLING)
        for width, *numbers in self.strokes:
            width, points = width * SUPERSAMPLING, smooth([number * SUPERSAMPLING for number in numbers])
            pen.line(points, fill=self.ink, width=round(width), joint="curve")
            for x, y in (points[0], points[-1]):
                pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=self.ink)
        return page.resize(self.page, Image.Resampling.BOX)


def smooth(numbers: list[float]) -> list[tuple[float, float]]:
    """Points x, y, x, y, ... -> a curve through the middles of its pieces, with the points as handles.

    So the pad of the page smooths what a hand draws.
    """
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    curve = points[:1]
    for (x, y), (next_x, next_y) in zip(points[1:-1], points[2:], strict=True):
        start, end = curve[-1], ((x + next_x) / 2, (y + next_y) / 2)
        for step in range(1, CURVE_STEPS + 1):
            t = step / CURVE_STEPS
            a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t  # quadratic Bezier
            curve.append((a * start[0] + b * x + c * end[0], a * start[1] + b * y + c * end[1]))
    return [*curve, points[-1]]


def read_drawings(path: Path) -> list[StrokeDrawing]:
    """The drawings of a file.

    Raises:
        ValueError: no such file, not a list of drawings, two of one name, or one that says what nothing can show.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        drawings = [
            StrokeDrawing(**row | {name: _tuple(row[name]) for name in ("says", "page", "strokes")}) for row in rows
        ]
    except (OSError, json.JSONDecodeError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a file of drawings: {error}") from error
    if not drawings or len({drawing.name for drawing in drawings}) < len(drawings):
        raise ValueError(f"{path}: expected drawings, each with a name of its own")
    return drawings


def _tuple(value: Any) -> Any:
    """Lists as tuples, at all depths."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
