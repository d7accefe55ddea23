"""Find the parts of the faces of a pair store with the face parser, once, for training on label maps.

    python training/recipes/make_label_maps.py --pairs_dir pairs --output_dir labels

Run the same command again to go on where it stopped.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from psp_hub.face_parser import STARTER, FaceParser
from psp_hub.hub.components import load_component
from training.data.pairs import PairStore, write_tar

SHARD_SIZE = 500
BATCH_SIZE = 10


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs_dir", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--parser", type=Path, default=STARTER, help="folder of the face parser")
    parser.add_argument("--max_images", type=int)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(args)


@torch.no_grad()
def main(args: argparse.Namespace) -> None:
    args.output_dir.mkdir(parents=True, exist_ok=True)
    store = PairStore([args.pairs_dir])
    dtype = torch.bfloat16 if args.device != "mps" else torch.float32
    parser = load_component(FaceParser, args.parser, dtype).to(args.device, memory_format=torch.channels_last)
    count = min(len(store), args.max_images or len(store))
    for start in tqdm(range(0, count, SHARD_SIZE), unit="shard"):
        positions = range(start, min(start + SHARD_SIZE, count))
        indices = [store.indices[i] for i in positions]
        path = args.output_dir / f"labels-{indices[0]}.tar"
        if path.exists():
            continue
        images = DataLoader(Subset(store, positions), BATCH_SIZE)
        labels = torch.cat([parser(batch.to(args.device, dtype)).argmax(dim=1) for batch, _ in images])
        maps = [Image.fromarray(one) for one in labels.to(torch.uint8).cpu().numpy()]
        write_tar(path, indices, maps, quality=None)


if __name__ == "__main__":
    main(parse_args())
