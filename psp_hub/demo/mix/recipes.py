"""What an edited face is made of: a start, parts of other faces, a likeness, and steps along directions.

Written down as JSON, or in a link, a recipe gives the same picture again.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from psp_hub import latents
from psp_hub.config import MAX_SEED
from psp_hub.directions import Direction, apply_directions
from psp_hub.generators.base import Generator
from psp_hub.mixing import mix, random_styles

FORMAT, VERSION = "psp-hub-face", 1
MAX_PSI = 1.4
MAX_TEXT = 1_000_000  # bytes of a recipe; with the styles of four faces it is about 180 KB at 1024 px
GROUPS = tuple(latents.GROUP_STARTS)

# A face: the seed of z, or styles [num_ws, w_dim] of float32.
Source = int | np.ndarray


@dataclass(frozen=True, eq=False)
class Painter:
    """What draws the faces of recipes: a generator, its name if it has one, and the directions found in it.

    What a file of styles is compared with (`num_ws`, `w_dim`, `w_avg`) stays on the CPU: where the GPU is shared, the
    generator can be used only by what `psp_hub.demo.space.on_gpu` has wrapped.
    """

    generator: Generator
    name: str | None = None
    directions: Mapping[str, Direction] = field(default_factory=dict)
    w_avg: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "w_avg", self.generator.w_avg.detach().float().cpu().clone())

    @property
    def num_ws(self) -> int:
        return self.generator.num_ws

    @property
    def w_dim(self) -> int:
        return self.generator.w_dim


@dataclass(frozen=True, eq=False)
class Recipe:
    """One edited face.

    Args:
        start: the face that is edited.
        parts: where groups of styles come from instead, by group.
        strengths: how much of `parts` is taken over, 0 (nothing) to 1, by group; 1 where nothing is said.
        truncation_psi: 0 is the average face, 1 the face as it is, up to `MAX_PSI` exaggerates it.
        steps: along directions, by name.
    """

    start: Source = 1
    parts: Mapping[str, Source] = field(default_factory=dict)
    strengths: Mapping[str, float] = field(default_factory=dict)
    truncation_psi: float = 1.0
    steps: Mapping[str, float] = field(default_factory=dict)

    def with_part(self, group: str, source: Source) -> "Recipe":
        return replace(self, parts={**self.parts, group: source})

    @property
    def is_plain(self) -> bool:
        """Whether it is its start, and no more."""
        return not self.parts and self.truncation_psi == 1 and not any(self.steps.values())

    @property
    def is_seeded(self) -> bool:
        """Whether seeds say everything, so that it fits into a link."""
        return all(isinstance(source, int) for source in (self.start, *self.parts.values()))

    @torch.no_grad()
    def ws(self, generator: Generator, directions: Mapping[str, Direction]) -> Tensor:
        """Styles [1, num_ws, w_dim]: start, then parts, then truncation, then steps.

        Raises:
            ValueError: styles of another generator, or a direction that there is not.
        """
        ws = source_ws(generator, self.start)
        for group, source in self.parts.items():
            indices = latents.style_indices(group, generator.num_ws)
            ws = mix(ws, source_ws(generator, source), indices, self.strengths.get(group, 1.0))
        ws = latents.truncate(ws, generator.w_avg, self.truncation_psi)
        return apply_directions(ws, {name: step for name, step in self.steps.items() if step}, directions)


@torch.no_grad()
def source_ws(generator: Generator, source: Source) -> Tensor:
    """Styles [1, num_ws, w_dim] of a face; faces of seeds are pulled to the average as those of `PSPModel.mix`.

    Raises:
        ValueError: styles of another generator.
    """
    if isinstance(source, int):
        return random_styles(generator, source)[:, None].repeat(1, generator.num_ws, 1)
    if source.shape != (generator.num_ws, generator.w_dim):
        raise ValueError(
            f"This face was made for another painter: its numbers are {shape(source.shape)}, "
            f"expected {shape((generator.num_ws, generator.w_dim))}."
        )
    return torch.from_numpy(source)[None].to(generator.w_avg)


def shape(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides))


def to_json(recipe: Recipe, painter: Painter) -> str:
    values = {
        "format": FORMAT,
        "version": VERSION,
        "generator": painter.name,
        "start": _write_source(recipe.start),
        "parts": {group: _write_source(source) for group, source in recipe.parts.items()},
        "strengths": {group: strength for group, strength in recipe.strengths.items() if strength != 1},
        "truncation_psi": recipe.truncation_psi,
        "steps": {name: step for name, step in recipe.steps.items() if step},
    }
    return json.dumps(values, indent=2) + "\n"


def from_json(text: str | bytes, painter: Painter) -> Recipe:
    """Read what `to_json` wrote. Anybody may have written it.

    Raises:
        ValueError: not a recipe, of another version or generator, or values that the page's sliders cannot have.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"This is no saved face: it has {len(text)} bytes, expected at most {MAX_TEXT}.")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("This is no saved face: it is not valid JSON.") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(f'This is no saved face: it does not say "format": "{FORMAT}".')
    if values.get("version") != VERSION:
        raise ValueError(f"This face is saved in version {values.get('version')!r:.20}, expected {VERSION}.")
    if painter.name and (name := values.get("generator")) not in (None, painter.name):
        raise ValueError(f"This face belongs to another painter: {name!r:.60}, expected {painter.name!r}.")
    known = {"format", "version", "generator", "start", "parts", "strengths", "truncation_psi", "steps"}
    if extra := sorted(set(values) - known):
        raise ValueError(f"The saved face has {extra[0]!r:.40}, expected only {', '.join(sorted(known))}.")
    parts = {group: _read_source(source) for group, source in _table(values, "parts", GROUPS).items()}
    strengths = {
        group: _number(value, f"the strength of {group}", 0, 1)
        for group, value in _table(values, "strengths", GROUPS).items()
    }
    steps = {
        name: _number(value, f"the step of {name}", painter.directions[name].low, painter.directions[name].high)
        for name, value in _table(values, "steps", tuple(painter.directions)).items()
    }
    psi = _number(values.get("truncation_psi", 1.0), "truncation_psi", 0, MAX_PSI)
    return Recipe(_read_source(values.get("start")), parts, strengths, psi, steps)


def to_link(recipe: Recipe, painter: Painter) -> str:
    """A recipe of seeds as a short text of letters, digits, - and _; empty for others."""
    if not recipe.is_seeded:
        return ""
    values = json.loads(to_json(recipe, painter))
    short = json.dumps({name: value for name, value in values.items() if value not in ({}, FORMAT, None)})
    return base64.urlsafe_b64encode(zlib.compress(short.encode(), 9)).decode().rstrip("=")


def from_link(text: str, painter: Painter) -> Recipe:
    """Read what `to_link` wrote.

    Raises:
        ValueError: the link is damaged, or of a face that this page cannot show.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values = json.loads(zlib.decompressobj().decompress(packed, MAX_TEXT))
    except (ValueError, zlib.error, RecursionError) as error:
        raise ValueError("The link to this face is damaged or incomplete.") from error
    if not isinstance(values, dict):
        raise ValueError("The link to this face is damaged or incomplete.")
    return from_json(json.dumps(values | {"format": FORMAT}), painter)


def _write_source(source: Source) -> Any:
    if isinstance(source, int):
        return source
    data = np.ascontiguousarray(source, "<f4").tobytes()
    return {"shape": list(source.shape), "float32": base64.b64encode(data).decode()}


def _read_source(value: Any) -> Source:
    if type(value) is int and 0 <= value <= MAX_SEED:
        return value
    try:
        array = np.frombuffer(base64.b64decode(value["float32"], validate=True), "<f4").reshape(value["shape"])
        if array.ndim == 2 and array.size and np.isfinite(array).all():
            return array.astype(np.float32)
    except (ValueError, TypeError, LookupError):
        pass
    raise ValueError(
        f"The saved face has a source that cannot be read: {value!r:.60}; "
        f"expected a whole number from 0 to {MAX_SEED}, or the numbers of a face."
    )


def _table(values: Mapping[str, Any], name: str, known: tuple[str, ...]) -> dict[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, dict) or set(table) - set(known):
        expected = ", ".join(known) or "nothing"
        raise ValueError(f"The saved face has {name} {table!r:.60}, expected some of: {expected}.")
    return table


def _number(value: Any, name: str, low: float, high: float) -> float:
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"The saved face has {value!r:.20} as {name}, expected a number from {low:g} to {high:g}.")
    return float(value)
