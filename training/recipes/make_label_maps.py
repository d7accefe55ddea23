"""Find the parts of the faces of a pair store with the face parser, once, for training on label maps.

    python training/recipes/make_label_maps.py --pairs_dir pairs --output_dir labels

Run the same command again to go on where it stopped.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from psp_hub.face_parser import STARTER, FaceParser
from psp_hub.hub.components import load_component
from psp_hub.precision import quick_dtype
from training.data.pairs import PairStore, write_tar
from training.settings.flags import OrNone, parse

SHARD_SIZE = 500
BATCH_SIZE = 10


@dataclass(frozen=True)
class LabelMapSettings:
    """Which pairs, and with which parser."""

    pairs_dir: Path
    """a store of pairs"""
    output_dir: Path
    """of the maps"""
    parser: Path = STARTER
    """folder of the face parser"""
    max_images: OrNone[int] = None
    """leave out those after so many"""
    device: str = "cpu"
    """where the parser runs"""


def parse_args(words: list[str] | None = None) -> LabelMapSettings:
    return parse(LabelMapSettings, words, __doc__)


@torch.no_grad()
def main(settings: LabelMapSettings) -> None:
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    store = PairStore([settings.pairs_dir])
    dtype = quick_dtype(torch.device(settings.device).type)
    parser = load_component(FaceParser, settings.parser, dtype).to(settings.device, memory_format=torch.channels_last)
    count = min(len(store), settings.max_images or len(store))
    for start in tqdm(range(0, count, SHARD_SIZE), unit="shard"):
        positions = range(start, min(start + SHARD_SIZE, count))
        indices = [store.indices[i] for i in positions]
        path = settings.output_dir / f"labels-{indices[0]}.tar"
        if path.exists():
            continue
        images = DataLoader(Subset(store, positions), BATCH_SIZE)
        labels = torch.cat([parser(batch.to(settings.device, dtype)).argmax(dim=1) for batch, _ in images])
        maps = [Image.fromarray(one) for one in labels.to(torch.uint8).cpu().numpy()]
        write_tar(path, indices, maps, quality=None)


if __name__ == "__main__":
    main(parse_args())
