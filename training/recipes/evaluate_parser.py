"""Measure the face parser on photos with label maps that its training has not seen.

python training/recipes/evaluate_parser.py --images_dir faces/images --masks_dir faces/masks
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from psp_hub.face_parser import STARTER, FaceParser
from psp_hub.hub.components import load_component
from training.data.labelled_photos import LabelledPhotos
from training.evaluation.report import print_report
from training.recipes.train_parser import segmentation_report
from training.settings.flags import OrNone, parse


@dataclass(frozen=True)
class ParserFigures:
    """The parser, and the photos that measure it."""

    images_dir: Path
    """photos"""
    masks_dir: Path
    """NAME.png of class numbers for each photo"""
    parser: Path = STARTER
    """folder of the face parser"""
    num_faces: int = 100
    """the last ones by name"""
    output: OrNone[Path] = None
    """a JSON file to write the figures to, too"""


def parse_args(words: list[str] | None = None) -> ParserFigures:
    return parse(ParserFigures, words, __doc__)


def main(settings: ParserFigures) -> dict:
    photos = LabelledPhotos(settings.images_dir, settings.masks_dir, slice(-settings.num_faces, None))
    parser = load_component(FaceParser, settings.parser, torch.float32)
    report = {"count": len(photos)} | segmentation_report(parser, photos)
    print_report(report, settings.output)
    return report


if __name__ == "__main__":
    main(parse_args())
