"""Who a style is: a small network from w to the face-recognition vector of G(w), without drawing the picture.

Looking through the generator at every step costs more than the whole encoder; this network costs nothing and is as
differentiable. It is fitted on pairs:

    python training/identity.py --pairs_dir pairs --recogniser mobilefacenet_128d.safetensors \\
        --output identity.safetensors
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.networks import FaceRecogniser
from training.pairs import PairStore

WIDTH = 1024
HELD_OUT = 500
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 3000, 256, 1e-3, 0.05, 0.2


class IdentityFromW(nn.Module):
    """w [N, w_dim] -> unit vectors [N, 128], close to FaceRecogniser(G(w))."""

    def __init__(self, w_dim: int = 512, embedding_dim: int = 128):
        super().__init__()
        self.register_buffer("mean", torch.zeros(w_dim))
        self.register_buffer("std", torch.ones(w_dim))
        self.layers = nn.Sequential(
            nn.Linear(w_dim, WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, embedding_dim),
        )

    @classmethod
    def from_file(cls, path: str | Path) -> "IdentityFromW":
        """Load a fitted network, strictly, frozen."""
        state = load_file(path)
        network = cls(state["mean"].shape[0], state["layers.6.bias"].shape[0])
        network.load_state_dict(state, strict=True)
        return network.eval().requires_grad_(False)

    def forward(self, w: Tensor) -> Tensor:
        return F.normalize(self.layers((w - self.mean) / self.std), dim=1)


@torch.no_grad()
def embed_all(recogniser: FaceRecogniser, pictures: Dataset) -> Tensor:
    """Recognition vectors [N, 128] of a data set whose items are, or begin with, images [3, 256, 256]."""
    loader = DataLoader(pictures, batch_size=32, num_workers=1)
    batches = tqdm(loader, desc="looking at faces")
    return torch.cat([recogniser(batch[0] if isinstance(batch, list) else batch) for batch in batches])


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs_dir", type=Path, nargs="+", required=True)
    parser.add_argument("--recogniser", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    store = PairStore(args.pairs_dir)
    target = embed_all(FaceRecogniser.from_file(args.recogniser), store)
    network, cosine = fit(store.w.float(), target)
    print(f"cosine on {HELD_OUT} held-out pairs: {cosine:.3f}")
    save_file(network.state_dict(), args.output)


if __name__ == "__main__":
    main()
