"""Draw what each way to an answer reaches, against the seconds that it takes.

    python training/recipes/draw_curves.py report/report.json docs/pictures/seconds.webp

The report is one of training/evaluate.py with any of --passes, --refinement_steps, --optimization_steps and
--other_models. A way that was measured at several lengths is a line, all else a point.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro

from training.settings.flags import parse

# How rows are named by training/evaluate.py: a way, and its length.
WAYS = {
    r"passes (\d+)": "passes of the encoder",
    r"refined (\d+)": "refinement of its answer",
    r"w (\d+)": "search in W",
    r"w\+ (\d+)": "search in W+",
    r"w (\d+) from the encoder": "search in W, from its answer",
    r"w\+ (\d+) from the encoder": "search in W+, from its answer",
}
LEFT_OUT = ("mean_face",)  # takes no time
FIGURES = {"mse": "squared error", "identity": "identity"}
SIZE, DOTS, QUALITY = (10.0, 4.0), 110, 90  # inches, dots an inch


@dataclass(frozen=True)
class Curves:
    """Which report is drawn."""

    report: tyro.conf.Positional[Path]
    """report.json of training/evaluate.py"""
    output: tyro.conf.Positional[Path]
    """a picture"""


@dataclass(frozen=True)
class Point:
    """One row: the length of its way, 0 for a row of its own, and its figures."""

    length: int
    figures: Mapping[str, float]


def parse_args(words: list[str] | None = None) -> Curves:
    return parse(Curves, words, __doc__)


def gather(methods: Mapping[str, Mapping[str, float]]) -> dict[str, list[Point]]:
    """The rows of each way, the shortest first; a row that is no length of a way is a way of its own."""
    ways: dict[str, list[Point]] = {}
    for name, figures in methods.items():
        way, length = way_of(name)
        if name not in LEFT_OUT:
            ways.setdefault(way, []).append(Point(length, figures))
    if WAYS[r"passes (\d+)"] in ways:
        ways.pop("encoder", None)  # it is one of these
    return {way: sorted(points, key=lambda point: point.length) for way, points in ways.items()}


def way_of(name: str) -> tuple[str, int]:
    for pattern, way in WAYS.items():
        if found := re.fullmatch(pattern, name):
            return way, int(found[1])
    return name, 0


def read_methods(report: Path) -> dict[str, dict[str, float]]:
    """The rows of the comparison in a report.

    Raises:
        ValueError: a report without one.
    """
    compared = json.loads(report.read_text(encoding="utf-8")).get("optimization", {})
    methods = {name: figures for name, figures in compared.items() if isinstance(figures, dict)}
    if not methods:
        raise ValueError(f"{report} compares nothing, expected a report of training/evaluate.py --refinement_steps")
    return methods


def draw(ways: Mapping[str, list[Point]], output: Path) -> None:
    """Save a panel for each figure that all points have, against the seconds."""
    from matplotlib.figure import Figure  # a second, and for nothing but this

    shown = [name for name in FIGURES if all(name in point.figures for points in ways.values() for point in points)]
    figure = Figure(SIZE, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for way, points in ways.items():
            seconds, values = [point.figures["seconds"] for point in points], [point.figures[name] for point in points]
            axes.plot(seconds, values, marker="o", label=way)
            for x, y, point in zip(seconds, values, points, strict=True):
                if point.length:
                    axes.annotate(str(point.length), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
        axes.set(xscale="log", xlabel="seconds for one face", ylabel=FIGURES[name])
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(output, dpi=DOTS, pil_kwargs={"quality": QUALITY})


def main(settings: Curves) -> None:
    draw(gather(read_methods(settings.report)), settings.output)


if __name__ == "__main__":
    try:
        main(parse_args())
    except (OSError, ValueError) as error:
        raise SystemExit(f"draw_curves.py: {error}") from error
