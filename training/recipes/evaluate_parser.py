"""Measure the face parser on photos with label maps that its training has not seen.

python training/recipes/evaluate_parser.py --images_dir faces/images --masks_dir faces/masks
"""

import argparse
import json
from pathlib import Path

import torch

from psp_hub.face_parser import STARTER, FaceParser
from psp_hub.hub.components import load_component
from training.data.labelled_photos import LabelledPhotos
from training.recipes.train_parser import segmentation_report


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parser", type=Path, default=STARTER, help="folder of the face parser")
    parser.add_argument("--images_dir", type=Path, required=True)
    parser.add_argument("--masks_dir", type=Path, required=True, help="NAME.png of class numbers for each photo")
    parser.add_argument("--num_faces", type=int, default=100, help="the last ones by name")
    parser.add_argument("--output", type=Path, help="a JSON file to write the figures to, too")
    return parser.parse_args(args)


def main(args: argparse.Namespace) -> dict:
    photos = LabelledPhotos(args.images_dir, args.masks_dir, slice(-args.num_faces, None))
    report = {"count": len(photos)} | segmentation_report(
        load_component(FaceParser, args.parser, torch.float32), photos
    )
    text = json.dumps(report, indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")
    return report


if __name__ == "__main__":
    main(parse_args())
