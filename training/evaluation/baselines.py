"""Answers that need no encoder, to measure one against."""

import torch
from PIL import Image
from torch import Tensor

from psp_hub.images.preprocessing import ENCODER_SIZE, images_to_tensor, tensor_to_images
from psp_hub.layers import resample
from psp_hub.model import PSPModel
from training.evaluation.examples import Example

FILLED_ROWS = 32  # at a time


def at_256(images: Tensor) -> Tensor:
    """Pictures [N, 3, R, R] -> [N, 3, 256, 256] in [-1, 1], as they are measured."""
    return resample(images.float(), ENCODER_SIZE).clamp(-1, 1)


@torch.no_grad()
def mean_face(model: PSPModel) -> Tensor:
    """G(w_avg), [3, 256, 256]: the answer that ignores the input."""
    return at_256(model.decode(model.generator.w_avg.expand(1, model.generator.num_ws, -1)))[0].cpu()


def other_answers(task: str, example: Example, output: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Pictures [3, 256, 256] to measure beside the model's output, by name.

    Always the mean face; for super-resolution the small picture enlarged with the bicubic filter; for inpainting the
    nearest known colour in the missing part, and the output pasted into the picture there.
    """
    answers = {"mean_face": mean}
    if task == "super-resolution" and example.factor:
        answers["bicubic"] = bicubic(example.image, example.factor)
    if task == "inpainting":
        known, missing = example.input[:3], example.input[3:]
        answers["nearest_colour"] = fill_nearest(known, missing)
        answers["pasted"] = torch.where(missing > 0, output, known)
    return answers


def bicubic(image: Tensor, factor: int) -> Tensor:
    """A picture [3, H, W] made smaller and larger again, both with the bicubic filter."""
    (picture,) = tensor_to_images(image[None])
    small = picture.resize([max(1, side // factor) for side in picture.size], Image.Resampling.BICUBIC)
    return images_to_tensor([small.resize(picture.size, Image.Resampling.BICUBIC)])[0]


def fill_nearest(image: Tensor, missing: Tensor) -> Tensor:
    """Give each missing pixel the colour of the nearest known one; of several, any.

    Args:
        image: [C, H, W].
        missing: [1, H, W], 1 where a pixel is missing. If all are, the picture stays as it is.

    Returns:
        [C, H, W].
    """
    known = missing[0] == 0  # [H, W]
    height, width = known.shape
    if not known.any():
        return image
    row = nearest_known_row(known)  # [H, W]
    vertical = (row - torch.arange(height)[:, None]).square().where(row >= 0, torch.tensor(height**2 + width**2))
    columns = torch.arange(width)
    horizontal = (columns[:, None] - columns).square()  # [W, W'], from a pixel to the columns of the known ones
    nearest = torch.cat(  # [H, W]
        [(part[:, None] + horizontal).argmin(dim=2) for part in vertical.split(FILLED_ROWS)]
    )
    rows = row.gather(1, nearest)
    return image[:, rows, nearest]


def nearest_known_row(known: Tensor) -> Tensor:
    """For each pixel, the row of the nearest known one in its column; -1 where there is none. [H, W] both."""
    height = len(known)
    rows = torch.arange(height)[:, None].expand_as(known)
    above = rows.where(known, torch.tensor(-1)).cummax(dim=0).values
    below = rows.where(known, torch.tensor(height)).flip(0).cummin(dim=0).values.flip(0)  # height where there is none
    use_below = (below < height) & ((above < 0) | (below - rows < rows - above))
    return below.where(use_below, above)
