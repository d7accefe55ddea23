"""Draw the picture of stroke drawings in the docs: generated faces, and how several hands drew them.

    python training/recipes/draw_strokes.py --pairs_dir pairs --label_maps_dir labels \
        --attributes attributes.safetensors --output docs/pictures/strokes.webp

Faces with glasses, hats, beards or bald heads come first as often as in training. Nothing is edited here: each
drawing is of the face at its left.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from psp_hub.images.preprocessing import tensor_to_images
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore
from training.data.stroke_pairs import StrokePairs
from training.settings.flags import Folders, parse
from training.strokes import write_drawing

COLUMNS, DRAWINGS, TILE = 5, 4, 104  # faces in a row, drawings of each, pixels


@dataclass(frozen=True)
class StrokePictures:
    """Which faces are drawn, and where the picture goes."""

    pairs_dir: Folders
    """of pairs"""
    label_maps_dir: Folders
    """made by training/recipes/make_label_maps.py"""
    attributes: Path
    """made by training/recipes/measure_attributes.py"""
    output: Path
    """the picture"""
    num_drawings: int = 100
    """in all"""
    seed: int = 0
    """of the faces and of the hands"""


def parse_args(words: list[str] | None = None) -> StrokePictures:
    return parse(StrokePictures, words, __doc__)


def main(settings: StrokePictures) -> None:
    store, maps = PairStore(settings.pairs_dir), LabelMaps(settings.label_maps_dir)
    pairs = StrokePairs(store, maps, settings.attributes, list(range(len(store))), edited_share=0)
    num_faces = -(-settings.num_drawings // DRAWINGS)
    chosen = np.random.default_rng(settings.seed).permutation(len(pairs))[:num_faces].tolist()
    rows = -(-num_faces // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (DRAWINGS + 1) * TILE, rows * TILE), "white")
    for number, position in enumerate(chosen):
        target = pairs.get(position)
        left, top = number % COLUMNS * (DRAWINGS + 1) * TILE, number // COLUMNS * TILE
        sheet.paste(tensor_to_images(target.image[None])[0].resize((TILE, TILE)), (left, top))
        for hand in range(DRAWINGS):
            drawing = write_drawing(target.hint, np.random.default_rng((settings.seed, position, hand)))
            picture = Image.fromarray((drawing[0].numpy() * 255).astype(np.uint8)).resize((TILE, TILE))
            sheet.paste(picture, (left + (hand + 1) * TILE, top))
    sheet.save(settings.output, quality=75)


if __name__ == "__main__":
    main(parse_args())
