"""What a style shows: glasses, a beard, a smile ... read from w by linear heads, without drawing the picture.

`training/recipes/measure_attributes.py` measures the attributes of generated faces, and fits the heads to them.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.networks.frozen import Frozen

MAX_STEP = 2.5  # along a vector whose length is what an attribute makes of an average face
RIDGE = 1e-3


class AttributesFromW(Frozen):
    """w [N, w_dim] -> log odds [N, A] of each attribute, and back: the w that has it.

    Args:
        weight, bias: of the linear heads, [A, w_dim] and [A].
        vectors: how w differs on average between faces with and without each attribute that are alike in the others,
            [A, w_dim].
    """

    def __init__(self, weight: Tensor, bias: Tensor, vectors: Tensor):
        super().__init__()
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", bias.float())
        self.register_buffer("vectors", vectors.float())
        self.eval()

    @classmethod
    def from_file(cls, path: str | Path) -> "AttributesFromW":
        """Load what `measure_attributes.py` wrote."""
        state = load_file(path)
        return cls(state["weight"], state["bias"], state["vectors"])

    def forward(self, w: Tensor) -> Tensor:
        return w @ self.weight.T + self.bias

    def moved(self, w: Tensor, wanted: Tensor) -> Tensor:
        """Move w along the vectors of some attributes until the heads say what is wanted.

        Args:
            w: [w_dim].
            wanted: log odds [A]; NaN for attributes that no vector is followed for.
        """
        rows = ~wanted.isnan()
        matrix = self.weight[rows] @ self.vectors[rows].T  # [K, K]: what each step changes of each head
        missing = wanted[rows] - self(w)[rows]
        square = matrix.T @ matrix + RIDGE * torch.eye(len(matrix)) * matrix.square().mean()
        steps = torch.linalg.solve(square, matrix.T @ missing).clamp(-MAX_STEP, MAX_STEP)
        return w + steps @ self.vectors[rows]
