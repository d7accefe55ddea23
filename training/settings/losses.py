"""Which losses a run has, read by `training.losses.build.build_losses`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from training.settings.flags import OrNone, Share, Switch, WeightsFile

LPIPSNet = Literal["alex", "vgg"]
Weight = Annotated[float, tyro.conf.arg(metavar="WEIGHT")]
TaskWeight = Annotated[float | None, tyro.conf.arg(metavar="WEIGHT", help_behavior_hint="")]


@dataclass(frozen=True)
class LossWeights:
    """Weights: 0 leaves a loss out; by default the paper's for the task, or w alone for pairs with known w."""

    w_weight: TaskWeight = None
    """squared error of the styles, for pairs that have w"""
    l2_weight: TaskWeight = None
    """mean squared error of the picture at 256 px, in [-1, 1]"""
    l2_face_strength: Annotated[float, tyro.conf.arg(metavar="STRENGTH")] = 0.0
    """how much more the middle of the face counts in it than the rest of the picture: 0 the same, 1 twice"""
    lpips_weight: TaskWeight = None
    """LPIPS, or the perceptual distance with --lpips_unweighted"""
    id_weight: TaskWeight = None
    """1 - cosine of the face recogniser's vectors"""
    w_norm_weight: TaskWeight = None
    """distance of the styles from w_avg"""
    l2_crop_weight: TaskWeight = None
    """l2 of the face alone"""
    lpips_crop_weight: TaskWeight = None
    """LPIPS of the face alone"""
    identity_weight: Weight = 0.3
    """of the loss of --identity_net"""
    layout_weight: Weight = 1.0
    """of the loss of --layout_net"""
    attribute_weight: Weight = 0.2
    """with --attributes: that the answer shows what a stroke drawing says"""

    def of(self, loss: str) -> float | None:
        """The weight of a loss; None where the task decides."""
        return getattr(self, f"{loss}_weight")

    def check(self) -> None:
        """Raise a ValueError for a weight below 0, or that is no number."""
        for name, value in vars(self).items():
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"--{name} is {value}, which is not a weight, expected 0 or more")


@dataclass(frozen=True)
class LossNetworkSettings:
    """Networks that losses look through."""

    lpips_net: LPIPSNet = "alex"
    """the trunk of LPIPS"""
    lpips_trunk: WeightsFile = None
    """its weights, here or owner/name/file on the Hub; by default torchvision's cache"""
    lpips_unweighted: Switch = False
    """for another trunk than torchvision's, such as HED's: no learned weights; larger, so lower --lpips_weight"""
    recogniser: WeightsFile = None
    """MobileFaceNet or ArcFace IR-SE50, safetensors or .pth"""
    id_contrast: Share = 0.0
    """of the identity losses: how much likeness to other faces of the batch counts against an answer"""
    identity_net: OrNone[Path] = None
    """made by training/recipes/fit_identity.py; adds an identity loss"""
    layout_net: OrNone[Path] = None
    """made by training/recipes/fit_layout.py; adds a loss of the label map's parts"""
    layout_share: Share = 0.5
    """of a batch that this loss looks at"""


@dataclass(frozen=True)
class DrawingSettings:
    """How pictures are drawn for the losses."""

    gradient_checkpointing: Switch = False
    """draw each block of the generator twice rather than remember it: less memory, more time"""
    decode_batch_size: OrNone[int] = None
    """pictures drawn at once for the losses; fewer need less memory, and the result is the same"""
    decode_net: OrNone[Path] = None
    """of fit_small_generator.py: draws small pictures for the losses, in a fraction of the time"""
    decode_precision: Literal["auto", "no", "bf16"] = "no"
    """of what the losses let the generator draw; auto: bf16 where the processor or the device is made for it"""

    def check(self) -> None:
        """Raise a ValueError for a batch of no pictures."""
        if self.decode_batch_size is not None and self.decode_batch_size < 1:
            raise ValueError(f"--decode_batch_size is {self.decode_batch_size}, expected 1 or more")


@dataclass(frozen=True)
class LossSettings:
    """The losses."""

    weights: LossWeights = LossWeights()
    networks: LossNetworkSettings = LossNetworkSettings()
    drawing: DrawingSettings = DrawingSettings()

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        self.weights.check()
        self.drawing.check()
