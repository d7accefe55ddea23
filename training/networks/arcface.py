"""ArcFace's IR-SE50 (Deng et al. 2019): the identity loss of pSp and the network that its encoder starts from."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.conversion.original_names import trunk_key
from psp_hub.conversion.safe_pickle import read_torch
from psp_hub.trunk import IR_SE50, Trunk

INPUT_SIZE = 112
CROP = (slice(35, 223), slice(32, 220))  # rows and columns of an aligned face at 256 px (pSp, section 3.2)


class ArcFace(nn.Module):
    """Face -> direction in which the same person's faces lie."""

    def __init__(self, embedding_dim: int = 512):
        super().__init__()
        width = IR_SE50["stage_widths"][-1]
        self.trunk = Trunk(3, **IR_SE50)
        self.norm = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width * (INPUT_SIZE // 16) ** 2, embedding_dim)
        self.output_norm = nn.BatchNorm1d(embedding_dim)

    @classmethod
    def from_original(cls, path: str | Path) -> "ArcFace":
        """Load `model_ir_se50.pth`, strictly; frozen and in eval mode.

        Raises:
            ValueError: missing, damaged, holding code, or another network.
        """
        tensors = read_torch(path)
        network = cls()
        network.load_original(tensors)
        return network.eval().requires_grad_(False)

    def load_original(self, tensors: dict[str, Tensor]) -> None:
        """Fill from a state dict of the original.

        Raises:
            ValueError: tensors that are missing, left over or of another shape.
        """
        heads = {"norm": "output_layer.0", "linear": "output_layer.3", "output_norm": "output_layer.4"}

        def key(name: str) -> str:
            part, _, rest = name.partition(".")
            return trunk_key(rest, IR_SE50["stage_depths"]) if part == "trunk" else f"{heads[part]}.{rest}"

        names = {key(name): name for name in self.state_dict()}
        renamed = {names.get(name, f"unknown {name}"): tensor for name, tensor in tensors.items()}
        try:
            self.load_state_dict(renamed, strict=True)
        except RuntimeError as error:
            raise ValueError(f"the weights are not those of ArcFace IR-SE50: {error}") from error

    def forward(self, faces: Tensor) -> Tensor:
        """faces [N, 3, 112, 112] in [-1, 1] -> unit vectors [N, 512]."""
        if faces.shape[1:] != (3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(f"ArcFace got {tuple(faces.shape)}, expected [N, 3, {INPUT_SIZE}, {INPUT_SIZE}]")
        x = self.trunk(faces)[-1]  # [N, 512, 7, 7]
        x = self.linear(self.norm(x).flatten(1))  # [N, 512]
        return F.normalize(self.output_norm(x), dim=1)

    def embed(self, images: Tensor) -> Tensor:
        """Aligned pictures [N, 3, 256, 256] in [-1, 1] -> unit vectors [N, 512], of the crop of the identity loss."""
        if images.shape[1:] != (3, 256, 256):
            raise ValueError(f"the identity loss got {tuple(images.shape)}, expected [N, 3, 256, 256]")
        return self(F.adaptive_avg_pool2d(images[:, :, *CROP], INPUT_SIZE))
