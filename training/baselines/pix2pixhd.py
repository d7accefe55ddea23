"""pix2pixHD's global generator (Wang et al. 2018, arXiv:1711.11585, section 3.2 and appendix A)."""

from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from training.baselines.blocks import Baseline, PlainResidualBlock, num_doublings


class GlobalGenerator(nn.Sequential):
    """c7s1-64, d128, d256, ..., R1024 (nine of them), u512, ..., u64, c7s1-3: the appendix's notation.

    Args:
        width: channels of the first convolution; 64 in the paper.
        depth: how often the size is halved; 4 in the paper.
        num_blocks: residual blocks; 9 in the paper.
    """

    def __init__(self, in_channels: int, width: int, depth: int, num_blocks: int):
        def outer(channels: int, width: int) -> nn.Module:
            return nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect")

        widths = [width * 2**i for i in range(depth + 1)]
        layers: list[nn.Module] = [outer(in_channels, width), nn.InstanceNorm2d(width), nn.ReLU()]
        for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.InstanceNorm2d(wide), nn.ReLU()]
        layers += [PlainResidualBlock(widths[-1]) for _ in range(num_blocks)]
        for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up = nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.InstanceNorm2d(narrow), nn.ReLU()]
        super().__init__(*layers, outer(width, 3), nn.Tanh())


class Pix2PixHD(Baseline):
    """The global generator alone: its local enhancers are for pictures of 1024 pixels and more.

    Args:
        in_channels: of the inputs.
        image_size: side of the pictures; it can be halved `depth` times.
        width, depth, num_blocks: see `GlobalGenerator`; by default the paper's.
    """

    @register_to_config
    def __init__(
        self, in_channels: int = 19, image_size: int = 256, width: int = 64, depth: int = 4, num_blocks: int = 9
    ):
        super().__init__()
        num_doublings(image_size, 2**depth)
        self.in_channels, self.image_size = in_channels, image_size
        self.layers = GlobalGenerator(in_channels, width, depth, num_blocks)

    def forward(self, x: Tensor) -> Tensor:
        """See `Baseline.forward`."""
        return self.layers(x)
