"""Who a style is: a small network from w to the face-recognition vector of G(w), without drawing the picture.

Looking through the generator at every step costs more than the whole encoder; this network costs nothing and is as
differentiable. `training/recipes/fit_identity.py` fits it on pairs.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.networks.mobilefacenet import FaceRecogniser

WIDTH = 1024
DROPOUT = 0.2


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
