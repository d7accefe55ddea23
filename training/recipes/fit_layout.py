"""Fit the head that reads a label map off the generator's features (`training.networks.layout`), on pairs.

python training/recipes/fit_layout.py --pairs_dir pairs --labels_dir labels --output layout.safetensors
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from psp_hub.generators import load_generator
from psp_hub.generators.base import Generator
from psp_hub.precision import quick_autocast
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore
from training.memory import keep_freed_memory
from training.networks.layout import LayoutHead, early_features, layout_loss
from training.settings.flags import Folders, parse

HELD_OUT = 500
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 1500, 16, 2e-3, 0.01


class LabelledStyles(Dataset):
    """(w [w_dim], labels [256, 256]) of a store."""

    def __init__(self, folders: list[Path], labels: LabelMaps):
        self.store, self.labels = PairStore(folders), labels

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.store.w[i].float(), self.labels.get(self.store.indices[i])


@torch.no_grad()
def agreement(generator: Generator, head: LayoutHead, data: Dataset) -> float:
    """Share of pixels where the head and the parser agree."""
    hits = []
    for w, labels in DataLoader(data, BATCH_SIZE):
        ws = w[:, None].expand(-1, generator.num_ws, -1)
        logits = F.interpolate(head(early_features(generator, ws.to(generator.w_avg))).float(), size=labels.shape[1:])
        hits.append((logits.argmax(dim=1) == labels).float().mean(dim=(1, 2)))
    return torch.cat(hits).mean().item()


@dataclass(frozen=True)
class LayoutSettings:
    """The pairs, and the maps of their faces."""

    pairs_dir: Folders
    """of pairs"""
    labels_dir: Folders
    """made by training/recipes/make_label_maps.py"""
    output: Path
    """a safetensors file"""
    generator: str = "mobilestylegan-ffhq"
    """name of a generator or a saved folder"""
    steps: int = STEPS
    """of AdamW"""


def parse_args(words: list[str] | None = None) -> LayoutSettings:
    return parse(LayoutSettings, words, __doc__)


def main(settings: LayoutSettings) -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    generator = load_generator(settings.generator).requires_grad_(False)
    data = LabelledStyles(settings.pairs_dir, LabelMaps(settings.labels_dir))
    held_out = torch.utils.data.Subset(data, range(HELD_OUT))
    rest = torch.utils.data.Subset(data, range(HELD_OUT, len(data)))
    head = LayoutHead(early_features(generator, generator.w_avg.expand(1, generator.num_ws, -1)).shape[1])
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, settings.steps)
    sampler = torch.utils.data.RandomSampler(rest, replacement=True, num_samples=settings.steps * BATCH_SIZE)
    progress = tqdm(DataLoader(rest, BATCH_SIZE, sampler=sampler, num_workers=1), total=settings.steps)
    for w, labels in progress:
        with quick_autocast("cpu"):
            with torch.no_grad():
                features = early_features(generator, w[:, None].expand(-1, generator.num_ws, -1))
            loss = layout_loss(head(features), labels).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        progress.set_postfix(loss=loss.item())
    save_file({key: value.contiguous() for key, value in head.state_dict().items()}, settings.output)
    value = agreement(generator, head.eval(), held_out)
    print(f"agreement with the parser on {HELD_OUT} held-out faces: {value:.4f}")


if __name__ == "__main__":
    main(parse_args())
