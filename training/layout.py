"""Where the parts of a face are, read off the generator's own features: styles in, label map out, without the picture.

The features of 32 pixels already hold the layout of the face, at a small part of the cost of the picture. A small head
turns them into a label map (the idea of DatasetGAN, Zhang et al. 2021); gradients pass through it into the styles, so
that an encoder can be told where its face differs from the map. The head is fitted on pairs:

    python training/layout.py --pairs_dir pairs --labels_dir labels --output layout.safetensors
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from psp_hub.generators import load_generator
from psp_hub.generators.base import Generator
from psp_hub.generators.mobile_stylegan import MobileStyleGAN
from psp_hub.memory import keep_freed_memory
from psp_hub.preprocessing import NUM_CLASSES
from training.label_maps import LabelMaps
from training.pairs import PairStore

FEATURE_SIZE, MAP_SIZE, WIDTH = 32, 64, 96
HELD_OUT = 500
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 1500, 16, 2e-3, 0.01


def early_features(generator: MobileStyleGAN, ws: Tensor) -> Tensor:
    """Features of `generator` at 32 pixels, [N, C, 32, 32], with its constant noise; ws [N, num_ws, w_dim].

    Raises:
        ValueError: another kind of generator.
    """
    if not isinstance(generator, MobileStyleGAN):
        raise ValueError(f"the layout head reads a MobileStyleGAN, got {type(generator).__name__}")
    network = generator.synthesis
    x = network.const.expand(ws.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
    x = network.conv(x, ws[:, 0], "const", None)  # [N, C, 4, 4]
    for i, block in enumerate(network.blocks):
        if x.shape[-1] == FEATURE_SIZE:
            break
        x = block(x, ws[:, 2 * i + 1 : 2 * i + 3], "const", None)  # [N, C, 8 * 2^i, 8 * 2^i]
    return x


class LayoutHead(nn.Module):
    """Features [N, C, 32, 32] -> logits [N, 19, 64, 64]."""

    def __init__(self, in_channels: int = 512):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.squeeze = nn.Conv2d(in_channels, WIDTH, 1)
        self.mix = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.classify = nn.Conv2d(WIDTH, NUM_CLASSES * (MAP_SIZE // FEATURE_SIZE) ** 2, 3, padding=1)

    @classmethod
    def from_file(cls, path: str | Path) -> "LayoutHead":
        """Load a fitted head, strictly, frozen."""
        state = load_file(path)
        head = cls(state["squeeze.weight"].shape[1])
        head.load_state_dict(state, strict=True)
        return head.eval().requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        x = F.relu(self.squeeze(self.norm(features)))  # [N, 96, 32, 32]
        x = F.relu(self.mix(x))
        return F.pixel_shuffle(self.classify(x), MAP_SIZE // FEATURE_SIZE)  # [N, 19, 64, 64]


def layout_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each map, [N]: every answered pixel stands for all true ones that it covers.

    Args:
        logits: [N, 19, 64, 64].
        labels: [N, 256, 256].
    """
    covered = F.pixel_unshuffle(labels[:, None], labels.shape[-1] // logits.shape[-1]).long()  # [N, 16, 64, 64]
    log_p = logits.float().log_softmax(dim=1)
    return -log_p.gather(1, covered).mean(dim=(1, 2, 3))


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


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs_dir", type=Path, nargs="+", required=True)
    parser.add_argument("--labels_dir", type=Path, nargs="+", required=True, help="by training/make_label_maps.py")
    parser.add_argument("--generator", default="mobilestylegan-ffhq", help="name of a generator or a saved folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    return parser.parse_args(args)


def main(args: argparse.Namespace) -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    generator = load_generator(args.generator).requires_grad_(False)
    data = LabelledStyles(args.pairs_dir, LabelMaps(args.labels_dir))
    held_out = torch.utils.data.Subset(data, range(HELD_OUT))
    rest = torch.utils.data.Subset(data, range(HELD_OUT, len(data)))
    head = LayoutHead(early_features(generator, generator.w_avg.expand(1, generator.num_ws, -1)).shape[1])
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, args.steps)
    sampler = torch.utils.data.RandomSampler(rest, replacement=True, num_samples=args.steps * BATCH_SIZE)
    progress = tqdm(DataLoader(rest, BATCH_SIZE, sampler=sampler, num_workers=1), total=args.steps)
    for w, labels in progress:
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                features = early_features(generator, w[:, None].expand(-1, generator.num_ws, -1))
            loss = layout_loss(head(features), labels).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        progress.set_postfix(loss=loss.item())
    save_file({key: value.contiguous() for key, value in head.state_dict().items()}, args.output)
    value = agreement(generator, head.eval(), held_out)
    print(f"agreement with the parser on {HELD_OUT} held-out faces: {value:.4f}")


if __name__ == "__main__":
    main(parse_args())
