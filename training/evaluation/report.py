"""What evaluation writes: tables, and pictures side by side."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from psp_hub.images.preprocessing import tensor_to_images

GRID_COLUMNS = 8
HEADING = 28  # pixels


def save_grid(columns: list[Tensor], path: Path) -> None:
    """Save pictures [N, 3, H, W] in [-1, 1] of each kind above each other, `GRID_COLUMNS` of them in a band.

    Args:
        columns: such as inputs, targets and outputs.
    """
    bands = []
    for parts in zip(*(column.split(GRID_COLUMNS) for column in columns), strict=True):
        band = torch.cat(parts, dim=2)  # [n, 3, kinds x H, W]
        bands.append(torch.cat(list(band), dim=2))
    width = max(band.shape[2] for band in bands)
    bands = [F.pad(band, (0, width - band.shape[2]), value=1) for band in bands]
    tensor_to_images(torch.cat(bands, dim=1)[None])[0].save(path)


def save_figure(columns: Mapping[str, Tensor], path: Path) -> None:
    """Save pictures [N, 3, H, W] in [-1, 1] as the papers show them: a row for each input, a named column each."""
    rows = torch.cat([torch.cat(list(column), dim=1) for column in columns.values()], dim=2)  # [3, N H, columns x W]
    (pictures,) = tensor_to_images(rows[None])
    width = pictures.width // len(columns)
    figure = Image.new("RGB", (pictures.width, pictures.height + HEADING), "white")
    figure.paste(pictures, (0, HEADING))
    pen, font = ImageDraw.Draw(figure), ImageFont.load_default(HEADING * 0.6)
    for i, name in enumerate(columns):
        pen.text(((i + 0.5) * width, HEADING / 2), name, "black", font, anchor="mm")
    figure.save(path)


def as_markdown(methods: Mapping[str, Mapping[str, float | None]]) -> str:
    """As `as_table`, for a document; what a method cannot tell is a dash."""
    names = list(dict.fromkeys(name for figures in methods.values() for name in figures))
    lines = [["", *(name.replace("_", " ") for name in names)], ["---"] * (len(names) + 1)]
    for method, figures in methods.items():
        values = [figures.get(name) for name in names]
        lines.append([method, *("-" if value is None else shortened(value) for value in values)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shortened(value: float) -> str:
    """Counts with commas, all else with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def save_table(rows: Sequence[Mapping[str, str | float]], path: Path) -> None:
    """Save rows as CSV, with a column for each name that is in any of them."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def print_report(report: Mapping[str, object], output: Path | None) -> None:
    """Print figures as JSON, and write them to a file if there is one."""
    text = json.dumps(report, indent=2)
    print(text)
    if output:
        output.write_text(text + "\n", encoding="utf-8")


def as_table(methods: dict[str, dict[str, float]]) -> str:
    """Methods below each other, figures side by side; of widths that fit."""
    names = list(dict.fromkeys(name for figures in methods.values() for name in figures))
    lines = [["", *names]]
    lines += [[method, *(f"{figures[name]:.4g}" for name in names)] for method, figures in methods.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names) + 1)]
    return "\n".join("  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True)) for line in lines)
