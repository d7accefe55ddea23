"""Draw the picture of stroke drawings in the docs: generated faces, and how several hands drew them.

    python training/recipes/draw_strokes.py --pairs_dir pairs --label_maps_dir labels \
        --attributes attributes.safetensors --output docs/pictures/strokes.webp

Faces with glasses, hats, beards or bald heads come first as often as in training. Nothing is edited here: each
drawing is of the face at its left.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from psp_hub.images.preprocessing import tensor_to_images
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore
from training.data.stroke_pairs import StrokePairs
from training.strokes import write_drawing

COLUMNS, DRAWINGS, TILE = 5, 4, 104  # faces in a row, drawings of each, pixels


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs_dir", type=Path, nargs="+", required=True)
    parser.add_argument("--label_maps_dir", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--attributes", type=Path, required=True, help="made by training/recipes/measure_attributes.py"
    )
    parser.add_argument("--num_drawings", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args(args)


def main(args: argparse.Namespace) -> None:
    store, maps = PairStore(args.pairs_dir), LabelMaps(args.label_maps_dir)
    pairs = StrokePairs(store, maps, args.attributes, list(range(len(store))), edited_share=0)
    num_faces = -(-args.num_drawings // DRAWINGS)
    chosen = np.random.default_rng(args.seed).permutation(len(pairs))[:num_faces].tolist()
    rows = -(-num_faces // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (DRAWINGS + 1) * TILE, rows * TILE), "white")
    for number, position in enumerate(chosen):
        target = pairs.get(position)
        left, top = number % COLUMNS * (DRAWINGS + 1) * TILE, number // COLUMNS * TILE
        sheet.paste(tensor_to_images(target.image[None])[0].resize((TILE, TILE)), (left, top))
        for hand in range(DRAWINGS):
            drawing = write_drawing(target.hint, np.random.default_rng((args.seed, position, hand)))
            picture = Image.fromarray((drawing[0].numpy() * 255).astype(np.uint8)).resize((TILE, TILE))
            sheet.paste(picture, (left + (hand + 1) * TILE, top))
    sheet.save(args.output, quality=75)


if __name__ == "__main__":
    main(parse_args())
