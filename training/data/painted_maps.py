"""Label maps as people paint them, made from those that the face parser finds in generated faces.

A painted map has rounder and coarser borders than a parsed one, lacks small parts, confuses left and right, and puts
things a little off their place. The face it stands for is the same.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.images.face_classes import NUM_CLASSES
from training.data.drawings import pixel_centres, smooth_noise
from training.data.labelled_photos import SIDES
from training.data.pairs import read_picture, read_tar

BACKGROUND, SKIN, L_LIP, HAIR, NECK, CLOTH = 0, 1, 12, 13, 17, 18
# Parts that a person may leave out, and what is then in their place: glasses, brows, ears, open mouth, jewellery, ...
OPTIONAL = {
    3: SKIN,
    6: SKIN,
    7: SKIN,
    8: SKIN,
    9: SKIN,
    10: L_LIP,
    15: BACKGROUND,
    16: NECK,
    17: CLOTH,
    18: BACKGROUND,
}


class LabelMaps:
    """Label maps of the pictures of a store, by index, as `training/recipes/make_label_maps.py` wrote them."""

    def __init__(self, folders: Sequence[Path]):
        self.positions: dict[int, tuple[Path, int, int]] = {}
        for path in (path for folder in folders for path in sorted(folder.glob("labels-*.tar"))):
            self.positions |= {index: (path, *position) for index, position in read_tar(path).items()}

    def get(self, index: int) -> Tensor:
        """[256, 256], uint8.

        Raises:
            ValueError: this picture has none.
        """
        if index not in self.positions:
            raise ValueError(
                f"picture {index} has no label map; run training/recipes/make_label_maps.py for its store"
            )
        return torch.from_numpy(np.array(read_picture(*self.positions[index])))


def one_hot(labels: Tensor) -> Tensor:
    """[H, W] -> [19, H, W] of 0 and 1, uint8: a quarter of the traffic between the processes."""
    return (labels[None] == torch.arange(NUM_CLASSES, dtype=labels.dtype)[:, None, None]).to(torch.uint8)


def paint(labels: Tensor, rng: np.random.Generator) -> Tensor:
    """A label map [256, 256] as a person might have painted it; one in six stays as it is."""
    if rng.random() < 1 / 6:
        return labels
    labels = labels.clone()
    if rng.random() < 0.35:
        labels = leave_out(labels, rng)
    if rng.random() < 0.15:
        labels = merge_sides(labels, rng)
    if rng.random() < 0.3:
        labels = simplify_hair(labels, int(rng.integers(8, 24)))
    if rng.random() < 0.5:
        labels = round_borders(labels, int(rng.integers(28, 96)))
    if rng.random() < 0.5:
        labels = displace(labels, rng)
    return labels


def leave_out(labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Without some of the optional parts."""
    names = torch.arange(NUM_CLASSES, dtype=labels.dtype)
    share = rng.uniform(0.1, 0.6)
    for part, instead in OPTIONAL.items():
        if rng.random() < share:
            names[part] = instead
    return names[labels.long()]


def merge_sides(labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Both eyes, both brows, both ears under one name, or under each other's."""
    names = torch.arange(NUM_CLASSES, dtype=labels.dtype)
    for left, right in SIDES:
        names[[left, right]] = torch.tensor([(left, left), (right, right), (right, left)][rng.integers(3)]).to(names)
    return names[labels.long()]


def enlarge_smoothly(masks: Tensor, coarse: int) -> Tensor:
    """[C, H, W] in [0, 1], averaged over a grid of `coarse` cells per side and interpolated between them."""
    small = F.adaptive_avg_pool2d(masks[None], coarse)
    return F.interpolate(small, size=masks.shape[1:], mode="bilinear")[0]


def simplify_hair(labels: Tensor, coarse: int) -> Tensor:
    """A smooth outline of the head: hair fills its dents, and gives way to the background where it sticks out."""
    behind = (labels == BACKGROUND) | (labels == CLOTH)
    hair = labels == HAIR
    head, hairy = enlarge_smoothly(torch.stack([~behind & (labels != NECK), hair]).float(), coarse)  # [H, W] each
    filled = torch.where((head > 0.5) & (hairy > 0.25) & behind, torch.tensor(HAIR, dtype=labels.dtype), labels)
    return torch.where(hair & (head <= 0.5), torch.tensor(BACKGROUND, dtype=labels.dtype), filled)


def round_borders(labels: Tensor, coarse: int) -> Tensor:
    """The class that prevails around each pixel, in a neighbourhood of 1 / `coarse` of the picture."""
    present = torch.unique(labels)
    masks = (labels[None] == present[:, None, None]).float()  # [C, H, W]
    return present[enlarge_smoothly(masks, coarse).argmax(dim=0)]


def displace(labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Slight rotation, scale, shift and a rubber-sheet deformation; what comes in from outside is the border."""
    angle, scale, shift = rng.normal(0, 0.03), rng.normal(1, 0.03, size=2), rng.normal(0, 0.02, size=2)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = torch.tensor([[cos * scale[0], -sin, shift[0]], [sin, cos * scale[1], shift[1]]]).float()
    grid = (pixel_centres(*labels.shape) @ matrix.T)[None]  # [1, H, W, 2]
    sheet = smooth_noise(rng, 2, int(rng.integers(3, 9)), labels.shape) * abs(rng.normal(0, 0.012))
    grid = grid + sheet.permute(0, 2, 3, 1)
    moved = F.grid_sample(labels[None, None].float(), grid, "nearest", "border", align_corners=False)
    return moved[0, 0].to(labels.dtype)
