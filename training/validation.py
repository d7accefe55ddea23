"""What training and evaluation look at: a model by name, the error on held-out pairs, a grid of pictures."""

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from psp_hub.config import CONFIG_NAME
from psp_hub.model import STARTERS, PSPModel
from psp_hub.preprocessing import tensor_to_images
from training.data import Drawings
from training.losses import WError

VALIDATION_EPOCH = 1_000_000  # an epoch that training never reaches: drawings of its own, the same every time
GRID_ROWS, GRID_SIZE = 8, 256


def load_model(name_or_path: str) -> PSPModel:
    """A starter by its name, or a model from a saved folder."""
    if name_or_path in {path.parent.name for path in STARTERS.glob(f"*/{CONFIG_NAME}")}:
        return PSPModel.from_starter(name_or_path)
    return PSPModel.from_pretrained(name_or_path)


@torch.no_grad()
def w_error(encoder: torch.nn.Module, data: Drawings, indices: list[int], error: WError, batch_size: int) -> float:
    """Error over all of `indices`, relative to the mean face."""
    batches = [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]
    keys = [[(VALIDATION_EPOCH, i) for i in batch] for batch in batches]
    sums = torch.zeros(2, dtype=torch.float64)
    for batch in DataLoader(data, batch_sampler=keys):
        device = error.w_avg.device
        errors = error(encoder(batch["input"].to(device)).float(), batch["w"].to(device))
        sums += torch.stack([part.double().sum().cpu() for part in errors])
    return float(sums[0] / sums[1])


@torch.no_grad()
def picture_grid(model: PSPModel, data: Drawings, indices: list[int]) -> Image.Image:
    """Rows of input | target | output | variation, side by side."""
    rows = []
    for i in indices[:GRID_ROWS]:
        item = data[VALIDATION_EPOCH, i]
        ws = model.encode(item["input"][None].to(model.device))
        varied = model.mix(ws, seed=i)
        images = [shrink(model.decode(styles)) for styles in (ws, varied)]
        drawing = item["input"][None].expand(-1, 3, -1, -1) * 2 - 1
        rows.append(torch.cat([drawing, item["image"][None], *images], dim=3))  # [1, 3, S, 4 S]
    return tensor_to_images(torch.cat(rows, dim=2))[0]


def shrink(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.float().cpu(), GRID_SIZE)


def log_picture(accelerator: Accelerator, name: str, picture: Image.Image, step: int) -> None:
    """Send a picture to TensorBoard, if it is on."""
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":
            tracker.writer.add_image(name, np.asarray(picture), step, dataformats="HWC")
