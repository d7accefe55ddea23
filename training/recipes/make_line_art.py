r"""Draw the pictures of a pair store, or photos, with a learned edge detector, once, for training with clean lines.

    python training/recipes/make_line_art.py --pairs_dir pairs --output_dir line-art \
        --weights hed_vgg16_fp16.safetensors

Run the same command again to go on where it stopped.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from training.data.faces import FacePhotos
from training.data.pairs import PairStore, write_tar
from training.networks.hed import EdgeDetector

SHARD_SIZE = 500
WEBP_QUALITY = 80


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pairs_dir", type=Path)
    source.add_argument("--faces_dir", type=Path, help="a folder of photos instead")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="edge detector, safetensors")
    parser.add_argument("--max_images", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(args)


def draw_lines(detector: EdgeDetector, image: Tensor) -> Image.Image:
    """One picture [3, H, W] in [-1, 1] -> its ink, 255 = black."""
    ink = detector(image[None].to(detector.fuse.weight))[0, 0]
    return Image.fromarray((ink.float() * 255).round().byte().cpu().numpy())


@torch.no_grad()
def main(args: argparse.Namespace) -> None:
    args.output_dir.mkdir(parents=True, exist_ok=True)
    pictures = FacePhotos(args.faces_dir, slice(None)) if args.faces_dir else PairStore([args.pairs_dir])
    detector = EdgeDetector.from_file(args.weights).to(args.device, torch.bfloat16)
    count = min(len(pictures), args.max_images or len(pictures))
    for start in tqdm(range(0, count, SHARD_SIZE), unit="shard"):
        path = args.output_dir / f"lines-{pictures.indices[start]}.tar"
        if path.exists():
            continue
        positions = range(start, min(start + SHARD_SIZE, count))
        inks = (draw_lines(detector, pictures[i] if args.faces_dir else pictures[i][0]) for i in positions)
        write_tar(path, [pictures.indices[i] for i in positions], inks, WEBP_QUALITY)


if __name__ == "__main__":
    main(parse_args())
