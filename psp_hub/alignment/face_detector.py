"""MTCNN (Zhang et al. 2016, arXiv:1604.02878): three small networks that find faces, each looking closer.

The first slides over the picture at many sizes and proposes squares, the second and the third look at every square
that is left, and the third also says where eyes, nose and corners of the mouth are.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.hub.components import Component, load_component
from psp_hub.hub.diffusers_parts import register_to_config

STARTER = Path(__file__).parents[1] / "starters" / "face-detector"

CELL, STRIDE = 12, 2  # what the first network sees of the picture, and from one such square to the next
SHRINK = 0.709  # from one size of the picture to the next: half the area
MIN_FACE = 20  # px
NUM_POINTS = 5  # left eye, right eye, nose, left and right corner of the mouth: sides of the picture
MAX_SQUARES = 600  # that the second network looks at: enough for a crowd, bounded for noise


class Detections(NamedTuple):
    """Faces, surest first; coordinates are pixels of the picture, x before y."""

    boxes: Tensor  # [N, 4]: left, top, right, bottom
    points: Tensor  # [N, 5, 2]
    scores: Tensor  # [N], 0 to 1


def block(in_channels: int, out_channels: int, kernel: int, pool: int | None = None) -> nn.Sequential:
    """Convolution without padding, PReLU, and a maximum over `pool` that halves the size.

    On a processor the maximum is found several times faster in the order channels_last.
    """
    layers = [nn.Conv2d(in_channels, out_channels, kernel), nn.PReLU(out_channels)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(pool, 2, ceil_mode=True)] if pool else []))


class Proposals(nn.Module):
    """Figure 2 of the paper, P-Net: fully convolutional, one answer for every square of 12 px."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(block(3, 10, 3, 2), block(10, 16, 3), block(16, 32, 3))
        self.face = nn.Conv2d(32, 2, 1)
        self.box = nn.Conv2d(32, 4, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, H, W] -> scores [N, H', W'] and shifts of the four sides [N, 4, H', W']."""
        x = self.body(images.contiguous(memory_format=torch.channels_last))
        return self.face(x).softmax(dim=1)[:, 1], self.box(x)


class SquareClassifier(nn.Module):
    """Figure 2 of the paper, R-Net and O-Net: is this square a face, and where are its sides (and points)?

    Args:
        size: side of the squares in pixels.
        blocks: arguments of each `block`.
        width: features in front of the answers.
        num_points: 0 for none.
    """

    def __init__(self, size: int, blocks: list[tuple[int, ...]], features: int, width: int, num_points: int = 0):
        super().__init__()
        self.size = size
        self.body = nn.Sequential(
            *(block(*arguments) for arguments in blocks), nn.Flatten(), nn.Linear(features, width), nn.PReLU(width)
        )
        self.face = nn.Linear(width, 2)
        self.box = nn.Linear(width, 4)
        self.points = nn.Linear(width, 2 * num_points) if num_points else None

    def forward(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """[N, 3, size, size] -> scores [N], shifts of the sides [N, 4], points [N, P, 2] as shares of the square."""
        x = self.body(squares.contiguous(memory_format=torch.channels_last))
        points = self.points(x).unflatten(1, (2, -1)).mT if self.points is not None else None
        return self.face(x).softmax(dim=1)[:, 1], self.box(x), points


class FaceDetector(Component):
    """Finds faces that look at most about 40 degrees away from upright.

    Args:
        thresholds: least score of each of the three networks.

    Example:
        >>> detector = FaceDetector.from_starter()
        >>> detector.detect(picture).boxes  # of a [3, H, W] tensor in [-1, 1]
    """

    @register_to_config
    def __init__(self, thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8)):
        super().__init__()
        self.proposals = Proposals()
        self.filter = SquareClassifier(24, [(3, 28, 3, 3), (28, 48, 3, 3), (48, 64, 2)], 576, 128)
        self.output = SquareClassifier(
            48, [(3, 32, 3, 3), (32, 64, 3, 3), (64, 64, 3, 2), (64, 128, 2)], 1152, 256, num_points=NUM_POINTS
        )

    @classmethod
    @cache
    def from_starter(cls) -> "FaceDetector":
        """The detector that ships with the package; loaded once.

        Raises:
            ValueError: its folder is missing or damaged.
        """
        return load_component(cls, STARTER, torch.float32).requires_grad_(False)

    @torch.no_grad()
    def detect(self, picture: Tensor, min_face: float = MIN_FACE) -> Detections:
        """Faces of at least `min_face` px in one picture.

        Args:
            picture: RGB [3, H, W] in [-1, 1], at least 12 px high and wide.
            min_face: side of the smallest face; time grows with its inverse square.
        """
        boxes = self.propose(picture, min_face)
        for network, threshold in ((self.filter, self.config.thresholds[1]), (self.output, self.config.thresholds[2])):
            if not len(boxes):
                break
            squares = square(boxes)
            scores, shifts, points = network(cut(picture, squares, network.size))
            keep = scores >= threshold
            squares, scores, shifts = squares[keep], scores[keep], shifts[keep]
            boxes = shift_sides(squares, shifts)
            if points is None:
                best = suppress(boxes, scores, 0.7)
                boxes = boxes[best]
                continue
            sides = squares[:, None, 2:] - squares[:, None, :2]  # [N, 1, 2]
            points = squares[:, None, :2] + points[keep] * sides
            best = suppress(boxes, scores, 0.6, of_smaller=True)
            return Detections(boxes[best], points[best], scores[best])
        return Detections(torch.zeros(0, 4), torch.zeros(0, NUM_POINTS, 2), torch.zeros(0))

    def propose(self, picture: Tensor, min_face: float) -> Tensor:
        """Boxes [N, 4] where the first network sees faces, at most MAX_SQUARES of them."""
        height, width = picture.shape[1:]
        scale, found, scores = CELL / min_face, [torch.zeros(0, 4)], [torch.zeros(0)]
        while min(height, width) * scale >= CELL:
            size = (max(CELL, round(height * scale)), max(CELL, round(width * scale)))
            small = F.adaptive_avg_pool2d(picture[None], size)
            score, shifts = (answer[0] for answer in self.proposals(small))
            rows, columns = (score >= self.config.thresholds[0]).nonzero(as_tuple=True)
            corners = torch.stack([columns, rows], dim=1) * STRIDE  # [n, 2], pixels of the small picture
            per_pixel = torch.tensor([width / size[1], height / size[0]])
            boxes = torch.cat([corners * per_pixel, (corners + CELL) * per_pixel], dim=1)
            boxes = shift_sides(boxes, shifts[:, rows, columns].T)
            best = suppress(boxes, score[rows, columns], 0.5)
            found.append(boxes[best])
            scores.append(score[rows, columns][best])
            scale *= SHRINK
        boxes, score = torch.cat(found), torch.cat(scores)
        return boxes[suppress(boxes, score, 0.7)[:MAX_SQUARES]]


def shift_sides(boxes: Tensor, shifts: Tensor) -> Tensor:
    """Move the sides of boxes [N, 4] by shares of their width and height."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return boxes + shifts * torch.cat([sizes, sizes], dim=1)


def square(boxes: Tensor) -> Tensor:
    """Boxes [N, 4] -> squares around the same centres, of their longer sides."""
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([centres - half, centres + half], dim=1)


def cut(picture: Tensor, squares: Tensor, size: int) -> Tensor:
    """The squares of a picture [3, H, W], grey outside of it: [N, 3, size, size]."""
    height, width = picture.shape[1:]
    pieces = picture.new_zeros(len(squares), 3, size, size)
    for piece, corners in zip(pieces, squares.round().int().tolist(), strict=True):
        left, top, right, bottom = corners
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        inside = picture[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if not inside.numel():
            continue
        beside = (max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0))
        piece.copy_(F.adaptive_avg_pool2d(F.pad(inside, beside), size))
    return pieces


def suppress(boxes: Tensor, scores: Tensor, overlap: float, of_smaller: bool = False) -> Tensor:
    """Indices of boxes [N, 4], best scores first, without those that overlap a better one.

    Args:
        overlap: as much of the union, or with `of_smaller` of the smaller box, makes two boxes one.
    """
    order = scores.argsort(descending=True).numpy()
    left, top, right, bottom = boxes.double().numpy().T
    areas = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        shared = np.maximum(np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest]), 0)
        shared *= np.maximum(np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest]), 0)
        whole = np.minimum(areas[best], areas[rest]) if of_smaller else areas[best] + areas[rest] - shared
        order = rest[shared <= overlap * np.maximum(whole, 1e-9)]
    return torch.tensor(np.array(kept, np.int64))
