"""Fit the heads that read attributes of a face off the parser's features (`training.evaluation.attributes`).

    python training/recipes/fit_attributes.py --pairs_dir pairs --drawings_dir drawings \
        --output training/evaluation/attribute_heads.safetensors

Generated faces were looked at one by one: `attribute_labels.json` has, for each head, the numbers of those that show
the attribute and of those that do not; doubtful ones are left out. PAIRS is a store with these faces. Smile and gender
come from the photos of DRAWINGS as well (`training.evaluation.artists`), those that only measure apart. Each head is
a ridge regression on +1 and -1, both sides of equal weight. Printed: how many are right, of faces that were left out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from psp_hub.face_parser import FaceParser
from training.data.pairs import PairStore
from training.evaluation.artists import Artists
from training.evaluation.attributes import WINDOWS, share
from training.memory import keep_freed_memory
from training.settings.flags import parse

LABELS = Path(__file__).with_name("attribute_labels.json")
RIDGE = 1.0
MIN_HAT = 0.01  # of the picture, as the parser sees it
FOLDS = 8


class Labelled(NamedTuple):
    """Faces of one attribute: features [N, D], and whether each shows it, [N]."""

    features: Tensor
    shown: Tensor


def ridge(data: Labelled) -> tuple[Tensor, Tensor]:
    """Weight [D] and bias [] of the linear function that comes closest to +1 where it is shown, and -1 elsewhere.

    Solved in the dual, as there are more features than faces. Each side has the same weight in total.
    """
    x, shown = data.features.double(), data.shown
    mean, scale = x.mean(dim=0), x.std(dim=0) + 1e-6
    x = (x - mean) / scale / x.shape[1] ** 0.5  # [N, D]
    weights = len(shown) / 2 / torch.where(shown, shown.sum(), (~shown).sum()).double()  # [N]
    wanted = torch.where(shown, 1.0, -1.0).double()
    kernel = x @ x.T + 1 + RIDGE * torch.diag(1 / weights)
    dual = torch.linalg.solve(kernel, wanted)  # [N]
    weight = x.T @ dual / scale / x.shape[1] ** 0.5
    return weight.float(), (dual.sum() - weight @ mean).float()


def cross_validate(data: Labelled, generator: torch.Generator) -> Tensor:
    """The score of each face by a head that was fitted without it, [N]."""
    order, scores = torch.randperm(len(data.shown), generator=generator), torch.zeros(len(data.shown))
    for fold in range(FOLDS):
        left_out = order[fold::FOLDS]
        rest = torch.ones_like(data.shown)
        rest[left_out] = False
        weight, bias = ridge(Labelled(*(part[rest] for part in data)))
        scores[left_out] = data.features[left_out] @ weight + bias
    return scores


class Face(NamedTuple):
    """What the parser sees in one face: features [1, C, 16, 16], and whether it finds a hat."""

    features: Tensor
    hat: bool


@torch.no_grad()
def look(parser: FaceParser, image: Tensor) -> Face:
    """At a face [3, 256, 256]."""
    stages = parser.trunk(image[None])
    return Face(stages[-1], share(parser.decode(*stages)[0].argmax(dim=0), "hat") > MIN_HAT)


def generated_faces(parser: FaceParser, pairs_dir: Path) -> dict[str, list[tuple[Tensor, bool]]]:
    """Features and answer of each labelled face of the generator, by the names of the heads.

    Raises:
        ValueError: a labelled face is not in the store.
    """
    labels = json.loads(LABELS.read_text(encoding="utf-8"))
    store = PairStore([pairs_dir])
    position = {index: i for i, index in enumerate(store.indices)}
    wanted = sorted({index for sides in labels.values() for side in sides.values() for index in side})
    if missing := [index for index in wanted if index not in position]:
        raise ValueError(f"{pairs_dir} lacks {len(missing)} of the labelled faces, the first is {missing[0]}")
    faces = {index: look(parser, store[position[index]][0]).features for index in tqdm(wanted, unit="face")}
    return {
        name: [(faces[index], side == "shown") for side in sides for index in sides[side]]
        for name, sides in labels.items()
    }


def photographed_faces(parser: FaceParser, drawings_dir: Path) -> dict[str, list[tuple[Tensor, bool]]]:
    """The same of the photos of a folder, for the heads that its file of attributes tells."""
    found: dict[str, list[tuple[Tensor, bool]]] = {}
    for photo in tqdm([one for one in Artists(drawings_dir) if not one.measures], unit="photo"):
        face = look(parser, photo.image())
        for name, shown in photo.shows.items():
            if not (name == "bald" and shown and face.hat):  # who knows what is below
                found.setdefault(name, []).append((face.features, shown))
    return found


def as_labelled(name: str, faces: list[tuple[Tensor, bool]]) -> Labelled:
    features, shown = zip(*faces, strict=True)
    pooled = torch.cat([WINDOWS[name](one) for one in features])
    return Labelled(pooled, torch.tensor(shown))


def agreement(scores: Tensor, shown: Tensor) -> str:
    """How many are right of those that show it, and of those that do not."""
    right = (scores > 0) == shown
    return ", ".join(
        f"{right[side].float().mean().item():.1%} of {int(side.sum())} {what}"
        for side, what in ((shown, "shown"), (~shown, "not shown"))
    )


@dataclass(frozen=True)
class AttributeSettings:
    """The faces that the heads learn from."""

    pairs_dir: Path
    """a store with the labelled faces"""
    drawings_dir: Path
    """drawings and photos as FS2K has them"""
    output: Path
    """a safetensors file"""


def parse_args(words: list[str] | None = None) -> AttributeSettings:
    return parse(AttributeSettings, words, __doc__)


def main(settings: AttributeSettings) -> None:
    keep_freed_memory()
    parser = FaceParser.from_starter()
    generated = generated_faces(parser, settings.pairs_dir)
    photographed = photographed_faces(parser, settings.drawings_dir)
    heads = {}
    for name in WINDOWS:
        data = as_labelled(name, generated[name] + photographed.get(name, []))
        scores = cross_validate(data, torch.Generator().manual_seed(0))
        count = len(generated[name])
        print(f"{name}, generated faces: {agreement(scores[:count], data.shown[:count])}")
        if len(scores) > count:
            print(f"{name}, photos: {agreement(scores[count:], data.shown[count:])}")
        weight, bias = ridge(data)
        heads |= {f"{name}.weight": weight.half(), f"{name}.bias": bias[None]}
    save_file(heads, settings.output)


if __name__ == "__main__":
    main(parse_args())
