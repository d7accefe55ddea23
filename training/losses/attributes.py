"""Does the answer show what the drawing says?"""

import torch.nn.functional as F
from torch import Tensor

from psp_hub.generators.base import Generator
from training.networks.attributes import AttributesFromW
from training.networks.frozen import Frozen
from training.run.distributed import process_mean


class AttributeLoss(Frozen):
    """Cross entropy of the attributes that heads read from the mean style, where the input says something of them.

    Args:
        network: the heads.
        generator: whose styles they read.
    """

    def __init__(self, network: AttributesFromW, generator: Generator):
        super().__init__()
        self.network = network
        self.register_buffer("w_avg", generator.w_avg.detach().float().clone())
        self.eval()

    def forward(self, delta: Tensor, said: Tensor) -> Tensor:
        """Mean over all that is said; 0 if nothing is.

        Args:
            delta: the answer relative to `w_avg`, [N, num_ws, w_dim].
            said: 1 (the input shows it), 0 (it does not) or NaN (it says nothing of it), [N, A].
        """
        known = ~said.isnan()
        log_odds = self.network(delta.mean(dim=1) + self.w_avg)  # [N, A]
        loss = F.binary_cross_entropy_with_logits(log_odds, said.nan_to_num(0.5), reduction="none")
        return (loss * known).sum() / process_mean(known.sum().float()).clamp(min=1)
