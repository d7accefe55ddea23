"""The generator at a fraction of its cost: its last blocks drawn small, for losses that look at small pictures.

A block of MobileStyleGAN doubles the resolution by an inverse wavelet transform. Where the picture is wanted small,
the low-pass band alone is that feature map at half the size, and the block's convolutions follow there, as in
`SynthesisNetwork.preview`; the wavelets of the last layer then give twice the pixels. What is lost is fitted on pairs
by `training/recipes/fit_small_generator.py`.
"""

from copy import deepcopy
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from psp_hub.generators.base import Generator
from psp_hub.generators.mobile_stylegan import MobileStyleGAN


class SmallSynthesis(nn.Module):
    """The synthesis network of a MobileStyleGAN with no feature map above `size` pixels.

    Args:
        generator: its network is copied.
        size: of the last blocks; the pictures have twice as many pixels a side.

    Raises:
        ValueError: another kind of generator, or a size that it does not have.
    """

    def __init__(self, generator: Generator, size: int):
        super().__init__()
        if not isinstance(generator, MobileStyleGAN):
            raise ValueError(f"only a MobileStyleGAN can be drawn small, got {type(generator).__name__}")
        sizes = [8 * 2**i for i in range(len(generator.synthesis.blocks))]
        if size not in sizes:
            raise ValueError(f"size is {size}, expected one of {', '.join(map(str, sizes))}")
        self.network, self.size = deepcopy(generator.synthesis), size

    @property
    def image_size(self) -> int:
        return 2 * self.size

    def forward(self, ws: Tensor) -> Tensor:
        """Styles [N, num_ws, w_dim] to pictures [N, 3, 2 * size, 2 * size], about [-1, 1], with constant noise."""
        return self.network.preview(ws, self.image_size, rough=True)

    def save(self, path: Path) -> None:
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(state, path, metadata={"size": str(self.size)})

    @classmethod
    def from_file(cls, path: str | Path, generator: Generator) -> "SmallSynthesis":
        """Load what `main` has fitted to a generator, frozen.

        Raises:
            ValueError: another kind of generator, or another file.
        """
        with safe_open(path, "pt") as file:
            size = (file.metadata() or {}).get("size", "")
        if not size.isdecimal():
            raise ValueError(f"{path} is not of training/recipes/fit_small_generator.py")
        small = cls(generator, int(size))
        try:
            small.load_state_dict(load_file(path), strict=True)
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit this generator: {error}") from error
        return small.eval().requires_grad_(False)
