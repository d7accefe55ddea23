"""Strokes on paper: collected as lines, framed, and drawn."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

SIZE = 256
DETAIL = 2  # drawn so many times larger, then averaged
FILLED_FRAME = 0.82  # of a small drawing, once `psp_hub.images.line_drawings` has enlarged it

Points = NDArray[np.float64]


@dataclass
class Page:
    """A sheet of paper, and what was drawn on it so far, in the units of the picture (0 to 1)."""

    lines: list[tuple[Points, float, int, bool]] = field(default_factory=list)

    def line(self, points: Points, width: float, ink: int) -> None:
        """A polyline [N, 2] of a width in pixels, its grey 0 (black) to 255."""
        self.lines.append((points, width, ink, False))

    def area(self, points: Points, ink: int) -> None:
        """A filled polygon."""
        self.lines.append((points, 0.0, ink, True))

    def frame(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the drawing comes to lie: a matrix [2, 2] and a shift [2]."""
        points = np.concatenate([line[0] for line in self.lines])
        low, high = np.quantile(points, 0.005, axis=0), np.quantile(points, 0.995, axis=0)
        extent, middle = max(float((high - low).max()), 0.05), (low + high) / 2
        kind = rng.random()
        if kind < 0.5:  # about where photos have the face
            scale, target = rng.normal(1.0, 0.07), middle + rng.normal(0, 0.03, 2)
        elif kind < 0.8:  # a small drawing, found and enlarged
            scale, target = FILLED_FRAME / extent, np.full(2, 0.5)
        else:  # anywhere on the page
            scale = rng.uniform(0.6, 1.0) / extent
            room = np.maximum(0.0, 1 - (high - low) * scale) / 2
            target = 0.5 + rng.uniform(-1, 1, 2) * room
        angle = rng.normal(0, 0.04)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return turn, target - turn @ middle

    def draw(self, rng: np.random.Generator, soft: bool) -> Tensor:
        """[1, 256, 256] in [0, 1], dark lines on white. `soft`: with the grain of a pencil."""
        turn, shift = self.frame(rng)
        sheet = Image.new("L", (SIZE * DETAIL,) * 2, 255)
        pen = ImageDraw.Draw(sheet)
        for points, width, ink, filled in self.lines:
            places = ((points @ turn.T + shift) * (SIZE * DETAIL)).ravel().tolist()
            if filled:
                pen.polygon(places, fill=ink)
                continue
            thick = max(1, round(width * DETAIL))
            pen.line(places, fill=ink, width=thick)
            if thick > 3:
                radius = thick / 2 - 0.5
                for x, y in (places[:2], places[-2:]):
                    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        sheet = sheet.reduce(DETAIL)
        if rng.random() < 0.3:
            sheet = sheet.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
        paper = np.asarray(sheet, np.float32) / 255
        if soft:
            grain = rng.normal(rng.uniform(0.75, 1.0), rng.uniform(0.05, 0.3), paper.shape).astype(np.float32)
            paper = 1 - (1 - paper) * grain.clip(0, 1.2)
        return torch.from_numpy(paper.clip(0, 1))[None]
