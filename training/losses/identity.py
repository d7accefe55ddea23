"""Is it the same person? By looking at the picture (pSp, section 3.2), or at its style alone."""

import torch
from torch import Tensor

from training.networks.frozen import Frozen
from training.networks.identity import IdentityFromW
from training.networks.recognisers import Recogniser
from training.run.distributed import process_mean


class IdentityLoss(Frozen):
    """1 - cosine of the recognition vectors of answer and target, averaged over the batch.

    With a `contrast`, also that many times the mean cosine of the answer and the other targets of the batch: where the
    input leaves a person open, an answer that is a little like everybody would be rewarded otherwise.

    Args:
        recogniser: a frozen network, which cuts the face out as it was trained to see it.
        contrast: weight of the cosine to others, 0 (the paper's loss) to 1.

    Raises:
        ValueError: contrast out of range.
    """

    def __init__(self, recogniser: Recogniser, contrast: float = 0.0):
        super().__init__()
        self.recogniser, self.contrast = recogniser, checked_contrast(contrast)
        self.eval()

    @torch.no_grad()
    def embed(self, targets: Tensor) -> Tensor:
        """The vectors [N, D] of targets [N, 3, 256, 256], which are wanted."""
        return self.recogniser.embed(targets)

    def forward(
        self,
        outputs: Tensor,
        targets: Tensor,
        inputs: Tensor | None = None,
        wanted: Tensor | None = None,
        others: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The loss, and how much closer to the target's person the answer is than the input was.

        Args:
            outputs, targets: aligned faces [N, 3, 256, 256] in [-1, 1].
            inputs: photos of the same form, for tasks that have some.
            wanted: `embed` of the targets, [N, D], if it is known.
            others: `mean_of_others` of the whole batch, if these are a part of one; for `contrast`.

        Returns:
            Loss [] and, for the log, mean of cos(output, target) - cos(input, target) [] (None without `inputs`).
        """
        wanted = self.embed(targets) if wanted is None else wanted  # [N, D]
        answered = self.recogniser.embed(outputs)
        similarity = (answered * wanted).sum(dim=1)  # [N]
        loss = (1 - similarity).mean()
        if self.contrast:
            others = mean_of_others(wanted) if others is None else others
            loss = loss + self.contrast * (answered * others).sum(dim=1).mean()
        if inputs is None:
            return loss, None
        with torch.no_grad():
            seen = wanted if inputs.equal(targets) else self.recogniser.embed(inputs)
            improvement = (similarity - (seen * wanted).sum(dim=1)).mean()
        return loss, improvement


def mean_of_others(vectors: Tensor) -> Tensor:
    """For each of N vectors [N, D] the mean of the others; 0 for one that is alone."""
    return (vectors.sum(dim=0) - vectors) / max(1, len(vectors) - 1)


def checked_contrast(contrast: float) -> float:
    """The contrast, if it is in range."""
    if not 0 <= contrast <= 1:
        raise ValueError(f"the contrast of the identity loss is {contrast}, expected 0 to 1")
    return contrast


class StyleIdentityLoss(Frozen):
    """The same from the mean style alone, through a network that guesses the recognition vector: costs no picture.

    With a `contrast`, the others of an answer are those of its own kind, pairs or photos: photos of one source are all
    a little alike, and it is among them that a person should stand out.
    """

    def __init__(self, network: IdentityFromW, w_avg: Tensor, contrast: float = 0.0):
        super().__init__()
        self.network, self.contrast = network, checked_contrast(contrast)
        self.register_buffer("w_avg", w_avg.detach().float().clone())
        self.eval()

    def forward(self, delta: Tensor, w: Tensor, has_w: Tensor, identity: Tensor | None = None) -> Tensor:
        """The loss, averaged over the examples whose person is known; 0 if there is none.

        Args:
            delta: the encoder's answer relative to `w_avg`, [N, num_ws, w_dim].
            w: the truth [N, w_dim] or [N, num_ws, w_dim], where `has_w` [N].
            identity: recognition vectors [N, D] of the others, zero where unknown.
        """
        target, known = self.network(w if w.ndim == 2 else w.mean(dim=1)), has_w  # [N, D], [N]
        if identity is not None:
            target = torch.where(has_w[:, None], target, identity)
            known = has_w | identity.any(dim=1)
        answered = self.network(delta.mean(dim=1) + self.w_avg)  # [N, D]
        loss = 1 - (answered * target).sum(dim=1)  # [N]
        if self.contrast:
            others = (has_w[:, None] == has_w) & known & ~torch.eye(len(known), dtype=torch.bool, device=known.device)
            mean = others.to(target) @ target / others.sum(dim=1, keepdim=True).clamp(min=1)  # [N, D]
            loss = loss + self.contrast * (answered * mean).sum(dim=1)
        return (loss * known).sum() / process_mean(known.sum().float()).clamp(min=1e-6)
