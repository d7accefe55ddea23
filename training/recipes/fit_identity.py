"""Fit the network that reads from a style who its face is (`training.networks.identity`), on pairs.

    python training/recipes/fit_identity.py --pairs_dir pairs --recogniser mobilefacenet_128d.safetensors \\
        --output identity.safetensors
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from training.data.pairs import PairStore
from training.networks.identity import IdentityFromW, embed_all
from training.networks.mobilefacenet import FaceRecogniser
from training.settings.flags import Folders, parse

HELD_OUT = 500
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 3000, 256, 1e-3, 0.05


def fit(w: Tensor, target: Tensor, seed: int = 0) -> tuple[IdentityFromW, float]:
    """Fit the network on w [N, w_dim] and target [N, D]; returns it and its cosine on the last, held-out pairs."""
    torch.manual_seed(seed)
    network = IdentityFromW(w.shape[1], target.shape[1])
    network.mean.copy_(w.mean(0))
    network.std.copy_(w.std(0))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)
    for _ in tqdm(range(STEPS), desc="fitting"):
        rows = torch.randint(len(w) - HELD_OUT, (BATCH_SIZE,))
        loss = 1 - F.cosine_similarity(network(w[rows]), target[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    network.eval()
    with torch.no_grad():
        cosine = F.cosine_similarity(network(w[-HELD_OUT:]), target[-HELD_OUT:]).mean().item()
    return network, cosine


@dataclass(frozen=True)
class IdentitySettings:
    """The pairs, and who says whose face they show."""

    pairs_dir: Folders
    """of pairs"""
    recogniser: Path
    """MobileFaceNet, safetensors"""
    output: Path
    """a safetensors file"""


def parse_args(words: list[str] | None = None) -> IdentitySettings:
    return parse(IdentitySettings, words, __doc__)


def main(settings: IdentitySettings) -> None:
    store = PairStore(settings.pairs_dir)
    target = embed_all(FaceRecogniser.from_file(settings.recogniser), store)
    network, cosine = fit(store.w.float(), target)
    print(f"cosine on {HELD_OUT} held-out pairs: {cosine:.3f}")
    save_file(network.state_dict(), settings.output)


if __name__ == "__main__":
    main(parse_args())
