"""Does an edited photo still show the same person, and what was asked for?

    python training/recipes/measure_edits.py --faces_dir faces --recogniser mobilefacenet_128d.safetensors \
        --output edits.md

The last photos of a folder become styles, which are moved to both ends of each direction. Written, and printed: a
table with a row for each end. Identity is the cosine of the recogniser's vectors of two pictures. The measures are
those of `training/recipes/measures.py`, by the direction that was fitted to one; `moved` is the share of faces whose
measure went the right way, of those that do not have it at once: glasses cannot be taken from who wears none.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from psp_hub.config import ENCODER_SIZE
from psp_hub.directions import Direction, apply_directions, load_directions
from psp_hub.face_parser import FaceParser
from psp_hub.model import PSPModel, load_model
from training.data.faces import FacePhotos
from training.memory import keep_freed_memory
from training.networks.recognisers import Recogniser, load_recogniser
from training.recipes.find_directions import WANTED
from training.recipes.measures import MEASURES, measure_face
from training.settings.flags import OrNone, parse_checked

MEASURED = {row.name: row.measure for row in WANTED if row.measure in MEASURES}  # directions to what they change
HEAD = "| direction | steps | same person as unedited | ... as the photo | measure | unedited | edited | moved |"


@dataclass(frozen=True)
class EditSettings:
    """Photos, what finds their styles, and who says whom they show."""

    faces_dir: Path
    """aligned photos"""
    recogniser: Path
    """MobileFaceNet or ArcFace IR-SE50"""
    output: Path
    """file of the table"""
    model: str = "inversion"
    """starter, folder or repository on the Hub"""
    directions: OrNone[str] = None
    """file of its generator's directions, if they do not ship with the package"""
    num_faces: int = 40
    """the last photos by name"""
    refinement_steps: int = 0
    """from the encoder's answer towards the photo"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        if self.num_faces < 1 or self.refinement_steps < 0:
            got = f"--num_faces {self.num_faces}, --refinement_steps {self.refinement_steps}"
            raise ValueError(f"got {got}, expected at least 1 and 0")


def parse_args(words: list[str] | None = None) -> EditSettings:
    return parse_checked(EditSettings, words, __doc__)


@dataclass(frozen=True)
class Seen:
    """What is seen of one picture: the recogniser's vector [D], and the `MEASURES` by name."""

    vector: Tensor
    measures: dict[str, float]


class Eyes:
    """Draws styles, and looks at them.

    Args:
        model: its generator draws, in 256 px.
        recogniser: says who it is.
    """

    def __init__(self, model: PSPModel, recogniser: Recogniser):
        self.generator, self.recogniser, self.parser = model.generator, recogniser, FaceParser.from_starter()

    def see(self, ws: Tensor) -> Seen:
        """Styles [1, num_ws, w_dim]."""
        size = min(ENCODER_SIZE, self.generator.resolution // 2)
        image = self.generator.synthesis.preview(ws, size).float().clamp(-1, 1)
        if size < ENCODER_SIZE:
            image = F.interpolate(image, ENCODER_SIZE, mode="bilinear")
        labels = self.parser(image).argmax(dim=1)
        values = dict(zip(MEASURES, measure_face(image[0], labels[0]), strict=True))
        return Seen(self.recogniser.embed(image)[0], values)


def moved_share(before: list[float], after: list[float], step: float) -> float:
    """The share of measures that went the way of the step; those that were at this end already are left out."""
    is_flag = set(before) | set(after) <= {0.0, 1.0}
    end = float(step > 0)
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if np.isfinite([a, b]).all()]
    pairs = [(a, b) for a, b in pairs if not (is_flag and a == end)]
    return statistics.fmean((b - a) * step > 0 for a, b in pairs) if pairs else float("nan")


def mean(measures: list[float]) -> float:
    """Of those that could be taken; NaN if none could."""
    taken = [value for value in measures if np.isfinite(value)]
    return statistics.fmean(taken) if taken else float("nan")


def row(direction: Direction, step: float, unedited: list[Seen], edited: list[Seen], photos: list[Tensor]) -> str:
    """A line of the table."""
    pairs = zip(edited, unedited, photos, strict=True)
    kept, like = zip(*((float(e.vector @ u.vector), float(e.vector @ p)) for e, u, p in pairs), strict=True)
    cells = [f"`{direction.name}`", f"{step:+g}", f"{statistics.fmean(kept):.2f}", f"{statistics.fmean(like):.2f}"]
    name = MEASURED.get(direction.name)
    if name is None:
        return "| " + " | ".join([*cells, "", "", "", ""]) + " |"
    before, after = ([one.measures[name] for one in some] for some in (unedited, edited))
    share = moved_share(before, after, step)
    cells += [name, f"{mean(before):.3f}", f"{mean(after):.3f}", "" if np.isnan(share) else f"{share:.0%}"]
    return "| " + " | ".join(cells) + " |"


@torch.no_grad()
def main(settings: EditSettings) -> str:
    keep_freed_memory()
    model, recogniser = load_model(settings.model), load_recogniser(settings.recogniser)
    directions = load_directions(settings.directions or str(model.config.base_generator))
    eyes, photos = Eyes(model, recogniser), FacePhotos(settings.faces_dir, slice(-settings.num_faces, None))
    faces, vectors = [], []
    for i in tqdm(range(len(photos)), unit="photo"):
        photo = photos[i][None]
        ws = model.encode(photo)
        if settings.refinement_steps:
            ws = model.refine(photo, ws, settings.refinement_steps)
        faces.append(ws)
        vectors.append(recogniser.embed(photo)[0])
    unedited = [eyes.see(ws) for ws in faces]
    like = statistics.fmean(float(one.vector @ photo) for one, photo in zip(unedited, vectors, strict=True))
    lines = [f"{len(photos)} photos; identity of the unedited answer and the photo {like:.3f}.", "", HEAD]
    lines.append("|---" * HEAD.count(" | ") + "|---|")
    for direction in tqdm(directions.values(), unit="direction"):
        for step in (direction.low, direction.high):
            edited = [eyes.see(apply_directions(ws, {direction.name: step}, directions)) for ws in faces]
            lines.append(row(direction, step, unedited, edited, vectors))
    table = "\n".join(lines) + "\n"
    settings.output.write_text(table, encoding="utf-8")
    print(table)
    return table


if __name__ == "__main__":
    main(parse_args())
