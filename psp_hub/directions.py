"""Directions in W: one number moves a face towards a smile, glasses, longer hair.

`training/recipes/find_directions.py` finds them; those of the built-in generator ship with the package. A direction
belongs to the generator that it was found in.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from psp_hub.latents import style_indices

FOLDER = Path(__file__).parent / "starters" / "directions"
FORMAT = "psp-hub-directions"


@dataclass(frozen=True)
class Direction:
    """One direction.

    Args:
        name: in programs, such as "smile".
        label: in plain words, what its two ends are, such as "serious … smiling".
        vector: [1, w_dim] (the same for all styles) or [num_ws, w_dim], float32: what one step adds.
        low, high: steps that keep the face clean; 0 changes nothing.
        groups: of the styles that move, see `psp_hub.latents`.
    """

    name: str
    label: str
    vector: Tensor
    low: float
    high: float
    groups: tuple[str, ...]


def available_directions() -> list[str]:
    """Names of the generators whose directions ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def load_directions(generator_name: str | Path = "mobilestylegan-ffhq") -> dict[str, Direction]:
    """Directions by name, in the order in which a page may show them.

    Args:
        generator_name: one of `available_directions()`, or a file that `save_directions` wrote.

    Raises:
        ValueError: no directions for such a generator, or the file is none of theirs.
    """
    path = Path(generator_name)
    if path.suffix != ".safetensors":
        path = FOLDER / f"{generator_name}.safetensors"
    if not path.is_file():
        raise ValueError(
            f"there are no directions for the generator {str(generator_name)!r}; there are some for "
            f"{', '.join(available_directions()) or 'none'}, and training/recipes/find_directions.py finds others"
        )
    return _load(path)


def save_directions(path: str | Path, directions: Iterable[Direction], generator_name: str) -> None:
    """Write directions to a safetensors file, in half precision, that `load_directions` reads.

    Raises:
        ValueError: two of the same name.
    """
    directions = list(directions)
    tensors = {one.name: one.vector.half().contiguous() for one in directions}
    if len(tensors) < len(directions):
        raise ValueError(f"two directions have one name: {', '.join(one.name for one in directions)}")
    rows = [
        {"name": one.name, "label": one.label, "low": one.low, "high": one.high, "groups": list(one.groups)}
        for one in directions
    ]
    save_file(tensors, path, {"format": FORMAT, "generator": generator_name, "directions": json.dumps(rows)})


def apply_directions(
    ws: Tensor, steps: Mapping[str, float], directions: Mapping[str, Direction] | None = None
) -> Tensor:
    """Move faces along directions.

    Example:
        >>> ws = apply_directions(ws, {"smile": 1.5, "glasses": 2})

    Args:
        ws: [N, num_ws, w_dim].
        steps: how far, by name; 0 changes nothing, and negative numbers go the other way.
        directions: from `load_directions`; None stands for those of the built-in generator.

    Returns:
        New ws [N, num_ws, w_dim].

    Raises:
        ValueError: an unknown name, a step that is no finite number, or ws of another generator than the directions.
    """
    directions = load_directions() if directions is None else directions
    moved = ws.clone()
    for name, step in steps.items():
        if name not in directions:
            raise ValueError(f"there is no direction {name!r}, expected some of {', '.join(directions)}")
        if not isinstance(step, int | float) or not abs(step) < float("inf"):
            raise ValueError(f"the step along {name} is {step!r}, expected a finite number")
        vector = directions[name].vector.to(ws)
        if ws.ndim != 3 or ws.shape[2] != vector.shape[1] or len(vector) not in (1, ws.shape[1]):
            rows = "num_ws" if len(vector) == 1 else len(vector)
            raise ValueError(
                f"ws has shape {tuple(ws.shape)}, but the direction {name} is for [N, {rows}, {vector.shape[1]}]: "
                f"directions work only with the generator that they were found in"
            )
        indices = style_indices(directions[name].groups, ws.shape[1])
        moved[:, indices] += step * (vector if len(vector) == 1 else vector[indices])
    return moved


def _load(path: Path) -> dict[str, Direction]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path.name} is not a file of directions (its format is {metadata.get('format')!r})")
            rows = json.loads(metadata["directions"])
            return {row["name"]: _direction(row, file.get_tensor(row["name"]).float()) for row in rows}
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is damaged or no file of directions: {error}") from error


def _direction(row: dict[str, Any], vector: Tensor) -> Direction:
    if vector.ndim != 2 or not torch.isfinite(vector).all():
        raise ValueError(
            f"the direction {row['name']} has shape {tuple(vector.shape)}, expected finite [num_ws, w_dim]"
        )
    style_indices(row["groups"], len(vector))  # refuses unknown groups
    return Direction(row["name"], row["label"], vector, float(row["low"]), float(row["high"]), tuple(row["groups"]))
