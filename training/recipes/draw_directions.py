"""Draw what each direction does: a picture for each, and a page that shows them.

    python training/recipes/draw_directions.py --output_dir docs

Written: directions/NAME.webp and directions.md. A picture has a row for each face and five steps from one end of the
slider to the other; the face itself is in the middle.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from psp_hub.directions import Direction, apply_directions, load_directions
from psp_hub.generators import load_generator
from psp_hub.generators.base import Generator
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.latents import random_z
from psp_hub.precision import DtypeName, dtype_of
from training.run.validation import shrink
from training.settings.flags import parse

SIDE = 176  # of one face, in pixels
QUALITY = 80
PSI = 0.7
TITLE = """# Directions

One number moves a face towards a smile, glasses or longer hair. These are the sliders of the page's tab *Mix & edit*;
in Python:

```python
import torch
from psp_hub.directions import apply_directions
from psp_hub.generators import load_generator

generator = load_generator("mobilestylegan-ffhq")
with torch.no_grad():
    w = generator.mapping(torch.randn(1, 512), truncation_psi=0.7)  # [1, 512]
    ws = w[:, None].repeat(1, 16, 1)  # [1, 16, 512], as `PSPModel.encode` gives it
    images = generator.synthesis(apply_directions(ws, {"smile": 2, "hair_length": -1}))  # [1, 3, 1024, 1024]
```

Each picture has five steps between the ends of a slider; the middle is the face as it was. All faces are made up.
How the directions were found, how well they work and what comes along with them is in
[their card](../psp_hub/starters/directions/README.md). This page is written by
`python training/recipes/draw_directions.py --output_dir docs`.
"""


@dataclass(frozen=True)
class DirectionPictures:
    """Which directions are shown, on which faces."""

    output_dir: Path
    """gets directions.md and directions/NAME.webp"""
    directions: str = "mobilestylegan-ffhq"
    """that ship for a generator, or a file"""
    generator: str = "mobilestylegan-ffhq"
    """name of a generator or a saved folder"""
    torch_dtype: DtypeName = "auto"
    """of the generator"""
    seeds: tuple[int, ...] = (12, 13, 15)
    """of the faces"""


def parse_args(words: list[str] | None = None) -> DirectionPictures:
    return parse(DirectionPictures, words, __doc__)


def steps(direction: Direction) -> list[float]:
    """Five, from one end over 0 to the other."""
    return [direction.low, direction.low / 2, 0, direction.high / 2, direction.high]


@torch.no_grad()
def draw_faces(generator: Generator, ws: Tensor) -> Tensor:
    """ws [N, num_ws, w_dim] -> images [N, 3, 256, 256] in [-1, 1], one at a time."""
    return torch.cat([shrink(generator.synthesis(one)) for one in ws.split(1)]).clamp(-1, 1)


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Faces side by side and below each other."""
    picture = Image.new("RGB", (SIDE * len(rows[0]), SIDE * len(rows)))
    for y, row in enumerate(rows):
        for x, face in enumerate(row):
            picture.paste(face.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE * x, SIDE * y))
    return picture


def main(settings: DirectionPictures) -> None:
    directions = load_directions(settings.directions)
    generator = load_generator(settings.generator, dtype_of(settings.torch_dtype, "cpu"))
    z = torch.cat([random_z(1, generator.w_dim, seed) for seed in settings.seeds]).to(generator.w_avg)
    with torch.no_grad():
        ws = generator.mapping(z, truncation_psi=PSI)[:, None].repeat(1, generator.num_ws, 1)
    plain = draw_faces(generator, ws)
    folder, text = settings.output_dir / "directions", TITLE
    folder.mkdir(parents=True, exist_ok=True)
    for name, direction in tqdm(directions.items(), unit="direction"):
        columns = [
            tensor_to_images(draw_faces(generator, apply_directions(ws, {name: step}, directions)) if step else plain)
            for step in steps(direction)
        ]
        sheet([list(row) for row in zip(*columns, strict=True)]).save(folder / f"{name}.webp", quality=QUALITY)
        text += f"\n## {direction.label}\n\n`{name}`, from {direction.low:g} to {direction.high:g}; changes the "
        text += f"{' and '.join(direction.groups)} styles.\n\n![{direction.label}](directions/{name}.webp)\n"
    (settings.output_dir / "directions.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(parse_args())
