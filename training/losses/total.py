"""The weighted sum of all losses (pSp, section 3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from psp_hub.face_weights import face_weights
from psp_hub.generators.base import Generator
from psp_hub.layers import resample
from psp_hub.tasks import LOSSES
from training.losses.attributes import AttributeLoss
from training.losses.identity import IdentityLoss, StyleIdentityLoss, mean_of_others
from training.losses.layout import LayoutLoss
from training.losses.pixels import l2
from training.losses.regularisation import w_norm
from training.losses.w_error import WError
from training.networks.arcface import CROP
from training.networks.frozen import Frozen
from training.networks.perceptual import PerceptualDistance
from training.networks.small_generator import SmallSynthesis
from training.run.distributed import process_mean

IMAGE_LOSSES = ("l2", "lpips", "id", "l2_crop", "lpips_crop")
# The network that a loss needs: a field of `LossNetworks`.
NETWORKS = {
    "w": "w_error",
    "lpips": "distance",
    "lpips_crop": "distance",
    "id": "identity",
    "identity": "style_identity",
    "layout": "layout",
    "attributes": "attributes",
}
LOSS_SIZE = 256  # pixels, whatever the generator's resolution


def enlarged(images: Tensor) -> Tensor:
    """To the size of the losses, smooth between the pixels."""
    return F.interpolate(images, size=LOSS_SIZE, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class LossNetworks:
    """The networks of the losses in `NETWORKS`; only those of the losses that a run has are needed."""

    w_error: WError | None = None
    distance: PerceptualDistance | None = None
    identity: IdentityLoss | None = None
    style_identity: StyleIdentityLoss | None = None
    layout: LayoutLoss | None = None
    attributes: AttributeLoss | None = None


@dataclass(frozen=True)
class Drawing:
    """How the pictures are drawn that losses look at.

    Args:
        small: draws in place of the generator, in fewer pixels; the targets are then made as coarse.
        bf16: draw in bfloat16, for speed and memory; the losses themselves stay in float32.
        batch_size: how many pictures are drawn at once; None for the whole batch. Fewer need less memory and give the
            same losses.
    """

    small: SmallSynthesis | None = None
    bf16: bool = False
    batch_size: int | None = None


class KnownGradient(torch.autograd.Function):
    """A loss that was followed back to `delta` before, when it was computed in slices."""

    @staticmethod
    def forward(ctx: FunctionCtx, delta: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """Args: `loss` [], a function of `delta` with this `gradient`, both without a graph."""
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, factor: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return factor * gradient, None, None


class TrainingLosses(Frozen):
    """All losses of a run; those of weight 0 are not computed.

    Args:
        generator: frozen here; drawn with only if a loss looks at images.
        weights: of each loss, one of `psp_hub.tasks.LOSSES`, `identity`, `layout` or `attributes`.
        networks: that these losses look through.
        drawing: how pictures are drawn for them.
        face_strength: how much more the face counts in `l2` than what is around it, see `psp_hub.face_weights`.

    Raises:
        ValueError: an unknown loss, or one whose network is missing.
    """

    def __init__(
        self,
        generator: Generator,
        weights: Mapping[str, float],
        networks: LossNetworks = LossNetworks(),
        drawing: Drawing = Drawing(),
        face_strength: float = 0.0,
    ):
        super().__init__()
        known = (*LOSSES, "identity", "layout", "attributes")
        if unknown := weights.keys() - set(known):
            raise ValueError(f"unknown losses {sorted(unknown)}, expected some of {', '.join(known)}")
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        self.generator = generator.requires_grad_(False)
        weights_of_pixels = face_weights(LOSS_SIZE, face_strength) if face_strength else None
        self.register_buffer("pixel_weights", weights_of_pixels)
        for name, network in vars(networks).items():
            setattr(self, name, network)
        self.small, self.bf16, self.decode_batch_size = drawing.small, drawing.bf16, drawing.batch_size
        for name in self.weights:
            if name in NETWORKS and getattr(self, NETWORKS[name]) is None:
                raise ValueError(f"the loss {name} needs {NETWORKS[name]}, got None")
        self.eval()

    @property
    def needs_images(self) -> bool:
        """Whether a loss looks at the picture, which the generator then has to draw."""
        return any(name in self.weights for name in IMAGE_LOSSES)

    def decode(self, delta: Tensor) -> Tensor:
        """The encoder's answer [N, num_ws, w_dim] to images [N, 3, 256, 256], about [-1, 1], with gradients."""
        ws = (delta + self.generator.w_avg).to(self.generator.w_avg.dtype)
        with torch.autocast(delta.device.type, torch.bfloat16, enabled=self.bf16):
            images = (self.small or self.generator.synthesis)(ws)
        if self.small is not None and self.small.image_size < LOSS_SIZE:
            return enlarged(images.float())
        return resample(images.float(), LOSS_SIZE)

    def coarse(self, targets: Tensor) -> Tensor:
        """Targets [N, 3, 256, 256] with no more detail than what is drawn."""
        if self.small is None or self.small.image_size >= LOSS_SIZE:
            return targets
        return enlarged(F.adaptive_avg_pool2d(targets, self.small.image_size))

    def forward(self, delta: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Args:
            delta: the encoder's answer relative to `w_avg`, [N, num_ws, w_dim], float32.
            batch: `input` [N, C, 256, 256]; `image` [N, 3, 256, 256] in [-1, 1], the target of image losses; `w`
                [N, w_dim] or [N, num_ws, w_dim], the target of the w error, where `has_w` [N] (everywhere without
                it); `identity` [N, D], the recognition vectors of those without w, zero where unknown; `labels`
                [N, 256, 256], the target of the layout; `said` [N, A], the attributes that the input shows;
                `is_symbols` [N], whether it shows nobody, for it is written as strokes.

        Returns:
            Weighted sum [] and, detached, what it is made of: `loss/<name>` before weighting, and `id_improve`.
        """
        total, parts = self.weighted_sum(self.style_losses(delta, batch))
        if self.needs_images:
            drawn, figures = self.drawn_sum(delta, batch)
            total, parts = total + drawn, parts | figures
        return total, parts

    def weighted_sum(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of the losses by name, and each of them, detached, under its name for the log."""
        total = sum((self.weights[name] * loss for name, loss in losses.items()), self.generator.w_avg.new_zeros(()))
        return total, {self.part_name(name): loss.detach() for name, loss in losses.items()}

    def drawn_sum(self, delta: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As `weighted_sum`, of the image losses, and figures for the log.

        With a `decode_batch_size`, each slice of the batch is drawn, compared and followed back to the styles before
        the next one. Image losses are means over the batch, so that values and gradients of the slices add up.

        Drawings in symbols are left out: they do not show this picture's person, and often ask for another face than
        the picture has.
        """
        batch = {name: batch[name] for name in ("input", "image", "is_symbols") if name in batch}
        if "is_symbols" in batch:
            shown = ~batch.pop("is_symbols")  # [N]
            count = shown.sum()
            delta, batch = delta[shown], {name: value[shown] for name, value in batch.items()}
            share = count / process_mean(count.float()).clamp(min=1)
            if not count:
                return delta.sum(), {self.part_name(name): share for name in IMAGE_LOSSES if name in self.weights}
            loss, figures = self.sliced_sum(delta, batch)
            return share * loss, figures
        return self.sliced_sum(delta, batch)

    def sliced_sum(self, delta: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As `drawn_sum`, of all of a batch: `input` and `image`."""
        n, size = len(delta), self.decode_batch_size or len(delta)
        if "id" in self.weights:
            batch["wanted"] = self.identity.embed(self.coarse(batch["image"]))
            batch["others"] = mean_of_others(batch["wanted"])
        if size >= n:
            return self.decoded_loss(delta, batch)
        total, figures, gradients = torch.zeros_like(delta[0, 0, 0]), {}, []
        for start in range(0, n, size):
            rows = slice(start, start + size)
            some = delta[rows].detach().requires_grad_(delta.requires_grad and torch.is_grad_enabled())
            loss, values = self.decoded_loss(some, {name: value[rows] for name, value in batch.items()})
            share = len(some) / n
            if some.requires_grad:
                gradients.append(torch.autograd.grad(share * loss, some)[0])
            total = total + share * loss.detach()
            figures = {name: figures.get(name, 0) + share * value for name, value in values.items()}
        if gradients:
            total = KnownGradient.apply(delta, total, torch.cat(gradients))
        return total, figures

    def decoded_loss(self, delta: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        losses, figures = self.image_losses(self.decode(delta), batch)
        total, parts = self.weighted_sum(losses)
        return total, parts | figures

    def style_losses(self, delta: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses that need no picture."""
        losses = {}
        if "w_norm" in self.weights:
            losses["w_norm"] = w_norm(delta)
        if "layout" in self.weights:
            losses["layout"] = self.layout(self.generator, delta, batch["labels"], self.bf16)
        if "attributes" in self.weights:
            losses["attributes"] = self.attributes(delta, batch["said"])
        if {"w", "identity"} & self.weights.keys():
            w = batch["w"]
            has_w = batch.get("has_w", torch.ones(len(w), dtype=torch.bool, device=w.device))
            if "w" in self.weights:
                losses["w"] = self.w_error.mean(delta, w, has_w)
            if "identity" in self.weights:
                losses["identity"] = self.style_identity(delta, w, has_w, batch.get("identity"))
        return losses

    def image_losses(
        self, outputs: Tensor, batch: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses of pictures [N, 3, 256, 256], and figures for the log."""
        targets, losses, figures = self.coarse(batch["image"]), {}, {}
        face, wanted_face = outputs[:, :, *CROP], targets[:, :, *CROP]  # [N, 3, 188, 188]
        if "l2" in self.weights:
            losses["l2"] = l2(outputs, targets, self.pixel_weights)
        if "l2_crop" in self.weights:
            losses["l2_crop"] = l2(face, wanted_face)
        if "lpips" in self.weights:
            losses["lpips"] = self.distance(outputs, targets).mean()
        if "lpips_crop" in self.weights:
            losses["lpips_crop"] = self.distance(face, wanted_face).mean()
        if "id" in self.weights:
            is_photo = batch["input"].shape[1] == 3
            inputs = batch["input"] if is_photo else None
            losses["id"], improvement = self.identity(
                outputs, targets, inputs, batch.get("wanted"), batch.get("others")
            )
            if improvement is not None:
                figures["id_improve"] = improvement
        return losses, figures

    def part_name(self, name: str) -> str:
        """`loss/<name>`; a distance without the learned weights is not called LPIPS."""
        return f"loss/{name.replace('lpips', self.distance.name) if name.startswith('lpips') else name}"
