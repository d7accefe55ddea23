"""Are the parts of the face where the label map wants them? By the generator's early features, without the picture."""

import math

import torch
from torch import Tensor

from psp_hub.generators.base import Generator
from training.networks.frozen import Frozen
from training.networks.layout import LayoutHead, early_features, layout_loss


class LayoutLoss(Frozen):
    """Cross entropy between the layout of the answer and the label map, averaged over part of the batch.

    Args:
        head: a frozen network that reads the layout off the generator's features at 32 px.
        share: of the batch that is looked at: the features take time.

    Raises:
        ValueError: a share out of 0 to 1.
    """

    def __init__(self, head: LayoutHead, share: float = 0.5):
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"the share of the layout loss is {share}, expected more than 0 and at most 1")
        self.head, self.share = head, share
        self.eval()

    def forward(self, generator: Generator, delta: Tensor, labels: Tensor, bf16: bool = False) -> Tensor:
        """The loss [].

        Args:
            delta: the encoder's answer relative to `w_avg`, [N, num_ws, w_dim].
            labels: classes [N, 256, 256] of the target itself, not as painted.
            bf16: compute the features in bfloat16.
        """
        count = math.ceil(self.share * len(delta))
        ws = (delta[:count] + generator.w_avg).to(generator.w_avg.dtype)
        with torch.autocast(delta.device.type, torch.bfloat16, enabled=bf16):
            logits = self.head(early_features(generator, ws))  # [count, 19, 64, 64]
        return layout_loss(logits.float(), labels[:count]).mean()
