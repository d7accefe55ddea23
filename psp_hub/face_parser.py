"""A small network that finds the parts of a face: photo in, label map of the 19 classes of CelebAMask-HQ out.

It labels generated faces, from which the segmentation task learns, and turns a person's photo into a map to edit.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from psp_hub.hub.components import Component, load_component
from psp_hub.hub.diffusers_parts import register_to_config
from psp_hub.images.face_classes import NUM_CLASSES
from psp_hub.images.preprocessing import prepare_tensor
from psp_hub.trunk import ACTIVATIONS, ResidualBlock, Trunk

STARTER = Path(__file__).parent / "starters" / "face-parser"


class FaceParser(Component):
    """The encoder's trunk with a decoder on top, for aligned faces of 256 px.

    Args:
        stem_width: channels of the first convolution, at a quarter of the picture's size.
        stage_widths, stage_depths: the trunk, whose three stages work at a quarter, an eighth and a sixteenth.
        decoder_width: channels of the decoder.

    Example:
        >>> parser = FaceParser.from_starter()
        >>> parser.label_map(Image.open("face.png"))  # [256, 256], 0 to 18
    """

    @register_to_config
    def __init__(
        self,
        stem_width: int = 48,
        stage_widths: tuple[int, int, int] = (48, 96, 192),
        stage_depths: tuple[int, int, int] = (1, 2, 4),
        decoder_width: int = 64,
    ):
        super().__init__()
        self.trunk = Trunk(3, stem_width, 4, stage_widths, stage_depths, (1, 2, 2), "relu")
        self.laterals = nn.ModuleList(nn.Conv2d(width, decoder_width, 1) for width in stage_widths)
        self.smooth = nn.ModuleList(
            ResidualBlock(decoder_width, decoder_width, 1, ACTIVATIONS["relu"], squeeze_excitation=False)
            for _ in stage_widths[1:]
        )
        self.enlarge = nn.Sequential(
            nn.Conv2d(decoder_width, 2 * decoder_width, 3, 1, 1), nn.PixelShuffle(2), nn.ReLU(inplace=True)
        )
        self.classify = nn.Conv2d(decoder_width // 2, NUM_CLASSES, 3, 1, 1)

    @classmethod
    def from_starter(cls, torch_dtype: torch.dtype = torch.float32) -> "FaceParser":
        """The parser that ships with the package.

        Raises:
            ValueError: its folder is missing or damaged.
        """
        return load_component(cls, STARTER, torch_dtype)

    def half_size_logits(self, images: Tensor) -> Tensor:
        """RGB [N, 3, 256, 256] in [-1, 1] -> [N, 19, 128, 128]; what training looks at."""
        return self.decode(*self.trunk(images))

    def decode(self, fine: Tensor, medium: Tensor, coarse: Tensor) -> Tensor:
        """What the trunk sees, [N, C, 64, 64], [N, C, 32, 32], [N, C, 16, 16] -> logits [N, 19, 128, 128]."""
        x = self.laterals[2](coarse)  # [N, D, 16, 16]
        x = self.smooth[0](F.interpolate(x, scale_factor=2, mode="bilinear") + self.laterals[1](medium))
        x = self.smooth[1](F.interpolate(x, scale_factor=2, mode="bilinear") + self.laterals[0](fine))
        return self.classify(self.enlarge(x))  # [N, D / 2, 128, 128] -> [N, 19, 128, 128]

    def forward(self, images: Tensor) -> Tensor:
        """RGB [N, 3, 256, 256] in [-1, 1] -> logits [N, 19, 256, 256]."""
        return F.interpolate(self.half_size_logits(images).float(), scale_factor=2, mode="bilinear")

    @torch.no_grad()
    def label_map(self, image: Image.Image) -> Tensor:
        """Classes of a picture of any size, which is taken for an aligned face: [256, 256], 0 to 18.

        Raises:
            ValueError: a picture that cannot be used.
        """
        weight = next(self.parameters())
        return self(prepare_tensor(image, "photo").to(weight))[0].argmax(dim=0).to(torch.uint8)
