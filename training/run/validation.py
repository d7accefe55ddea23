"""What training and evaluation look at: a model by name, figures of held-out examples, a grid of pictures."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from psp_hub.images.face_classes import PALETTE
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.layers import resample
from psp_hub.model import PSPModel
from training.losses import TrainingLosses, WError

VALIDATION_EPOCH = 1_000_000  # an epoch that training never reaches: inputs of its own, the same every time
GRID_ROWS, GRID_SIZE = 8, 256
W_ERROR, LOSS = "w_error", "loss"


def validation_batches(data: Dataset, positions: list[int], batch_size: int, device: torch.device) -> Iterator[dict]:
    batches = [positions[i : i + batch_size] for i in range(0, len(positions), batch_size)]
    for batch in DataLoader(data, batch_sampler=[[(VALIDATION_EPOCH, i) for i in batch] for batch in batches]):
        yield {name: value.to(device) for name, value in batch.items()}


@torch.no_grad()
def w_error(
    encoder: Callable[[Tensor], Tensor], data: Dataset, positions: list[int], error: WError, batch_size: int
) -> float:
    """Error of the styles over all of `positions`, relative to the mean face."""
    sums = torch.zeros(2, dtype=torch.float64)
    for batch in validation_batches(data, positions, batch_size, error.w_avg.device):
        errors = error(encoder(batch["input"].float()).float(), batch["w"])
        sums += torch.stack([part.double().sum().cpu() for part in errors])
    return float(sums[0] / sums[1])


@torch.no_grad()
def loss_sums(
    encoder: Callable[[Tensor], Tensor],
    losses: TrainingLosses,
    data: Dataset,
    positions: list[int],
    batch_size: int,
    device: torch.device,
) -> dict[str, float]:
    """Sums over examples, from which `figures` makes means: of the loss, of each of its parts, of the styles' errors.

    Every example counts the same, in a last batch that is not full, too.
    """
    sums = {"examples": 0.0}
    for batch in validation_batches(data, positions, batch_size, device):
        delta, n = encoder(batch["input"].float()).float(), len(batch["input"])
        total, parts = losses(delta, batch)
        # The error of the styles is a ratio over the whole set, and joins the loss there.
        w_part = losses.weights.get("w", 0.0) * parts.pop("loss/w", 0.0)
        found = {LOSS: total - w_part, **parts}
        found = {name: value.item() * n for name, value in found.items()} | {"examples": n}
        if losses.w_error is not None:
            known = batch["has_w"] if "has_w" in batch else torch.ones(n, dtype=torch.bool, device=device)
            error, mean_face = (part[known].double().sum().item() for part in losses.w_error(delta, batch["w"]))
            found |= {"error": error, "mean face": mean_face}
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def figures(parts: list[dict[str, float]], w_weight: float) -> dict[str, float]:
    """Means over all examples, from the sums that each process has made with `loss_sums`.

    `w_error` is that of the whole set, as in `WError`, and `w_weight` its weight in the loss; all else are means.
    """
    sums: dict[str, float] = {}
    for name, value in (item for part in parts for item in part.items()):
        sums[name] = sums.get(name, 0.0) + value
    examples, error, mean_face = (sums.pop(name, 0.0) for name in ("examples", "error", "mean face"))
    found = {W_ERROR: error / mean_face} if mean_face else {}
    found |= {name: value / examples for name, value in sums.items()}
    found[LOSS] += w_weight * found.get(W_ERROR, 0.0)
    return found


def validate(
    accelerator: Accelerator,
    average: nn.Module,
    losses: TrainingLosses,
    data: Dataset,
    held_out: list[int],
    batch_size: int,
    encode: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """The figures of the average of the weights on all held-out examples, which the processes share.

    Args:
        encode: inputs to styles with these weights, in several passes; by default in one.
    """
    if accelerator.num_processes > 1:  # with batch norms of their own, only the buffers of the main process count
        for buffer in average.buffers():
            buffer.copy_(broadcast(buffer))
    average.eval()
    mine = held_out[accelerator.process_index :: accelerator.num_processes]
    sums = loss_sums(encode or average, losses, data, mine, batch_size, accelerator.device)
    all_sums = gather_object([sums]) if accelerator.num_processes > 1 else [sums]
    return figures(all_sums, losses.weights.get("w", 0.0))


def chosen_figure(found: dict[str, float], losses: TrainingLosses) -> str:
    """The figure that says which model is best: the error of the styles if they are all that counts, else the loss."""
    return W_ERROR if W_ERROR in found and not losses.needs_images else LOSS


@torch.no_grad()
def picture_grid(model: PSPModel, data: Dataset, positions: list[int]) -> Image.Image:
    """Rows of input | target | output | variation, side by side."""
    rows = []
    for i in positions[:GRID_ROWS]:
        item = data[VALIDATION_EPOCH, i]
        inputs = item["input"][None].float()
        ws = model.encode(inputs.to(model.device))
        varied = model.mix(ws, seed=i)
        images = [shrink(model.decode(styles)) for styles in (ws, varied)]
        rows.append(torch.cat([visible(inputs), item["image"][None], *images], dim=3))  # [1, 3, S, 4 S]
    return tensor_to_images(torch.cat(rows, dim=2))[0]


def visible(inputs: Tensor) -> Tensor:
    """What an encoder takes, [N, C, H, W], as pictures [N, 3, H, W] in [-1, 1]."""
    channels = inputs.shape[1]
    if channels == 1:  # ink on paper
        return inputs.expand(-1, 3, -1, -1) * 2 - 1
    if channels in (3, 4):  # a photo; the fourth channel says what is missing, which is grey
        return inputs[:, :3]
    colours = torch.tensor(PALETTE, device=inputs.device) / 127.5 - 1  # [19, 3]
    return torch.einsum("nchw,cd->ndhw", inputs.float(), colours)


def shrink(images: Tensor) -> Tensor:
    return resample(images.float().cpu(), GRID_SIZE)


def log_picture(accelerator: Accelerator, name: str, picture: Image.Image, step: int) -> None:
    """Send a picture to the trackers."""
    pixels = np.asarray(picture)
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":
            tracker.writer.add_image(name, pixels, step, dataformats="HWC")
        elif tracker.name == "wandb":
            tracker.log_images({name: [picture]}, step=step)
        elif tracker.name == "trackio":
            import trackio

            tracker.log({name: trackio.Image(pixels)}, step=step)
