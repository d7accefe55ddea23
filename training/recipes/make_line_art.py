r"""Draw the pictures of a pair store, or photos, with a learned edge detector, once, for training with clean lines.

    python training/recipes/make_line_art.py --pairs_dir pairs --output_dir line-art \
        --weights hed_vgg16_fp16.safetensors

Run the same command again to go on where it stopped.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from psp_hub.precision import quick_dtype
from training.data.faces import FacePhotos
from training.data.pairs import PairStore, write_tar
from training.networks.hed import EdgeDetector
from training.settings.flags import OrNone, parse_checked

SHARD_SIZE = 500
WEBP_QUALITY = 80


@dataclass(frozen=True)
class LineArtSettings:
    """What is drawn, and where to."""

    output_dir: Path
    """of the line art"""
    weights: Path
    """edge detector, safetensors"""
    pairs_dir: OrNone[Path] = None
    """a store of pairs"""
    faces_dir: OrNone[Path] = None
    """a folder of photos instead"""
    max_images: OrNone[int] = None
    """leave out those after so many"""
    device: str = "cpu"
    """where the detector runs"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        if bool(self.pairs_dir) == bool(self.faces_dir):
            raise ValueError("expected one of --pairs_dir and --faces_dir")


def parse_args(words: list[str] | None = None) -> LineArtSettings:
    return parse_checked(LineArtSettings, words, __doc__)


def draw_lines(detector: EdgeDetector, image: Tensor) -> Image.Image:
    """One picture [3, H, W] in [-1, 1] -> its ink, 255 = black."""
    ink = detector(image[None].to(detector.fuse.weight))[0, 0]
    return Image.fromarray((ink.float() * 255).round().byte().cpu().numpy())


@torch.no_grad()
def main(settings: LineArtSettings) -> None:
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    pictures = FacePhotos(settings.faces_dir, slice(None)) if settings.faces_dir else PairStore([settings.pairs_dir])
    dtype = quick_dtype(torch.device(settings.device).type)
    detector = EdgeDetector.from_file(settings.weights).to(settings.device, dtype)
    count = min(len(pictures), settings.max_images or len(pictures))
    for start in tqdm(range(0, count, SHARD_SIZE), unit="shard"):
        path = settings.output_dir / f"lines-{pictures.indices[start]}.tar"
        if path.exists():
            continue
        positions = range(start, min(start + SHARD_SIZE, count))
        inks = (draw_lines(detector, pictures[i] if settings.faces_dir else pictures[i][0]) for i in positions)
        write_tar(path, [pictures.indices[i] for i in positions], inks, WEBP_QUALITY)


if __name__ == "__main__":
    main(parse_args())
