"""Photos with label maps, to train the face parser on and to measure label maps with."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from psp_hub.images.face_classes import NUM_CLASSES
from training.data.faces import FacePhotos
from training.data.folders import FolderPictures, match, read, read_labels

# Classes of the left and the right side, which a flip exchanges: eyes, brows, ears.
SIDES = ((4, 5), (6, 7), (8, 9))


def flip_labels(labels: Tensor) -> Tensor:
    """Mirror label maps [..., H, W]: left and right change places and names."""
    names = torch.arange(NUM_CLASSES, dtype=labels.dtype)
    for left, right in SIDES:
        names[[left, right]] = names[[right, left]]
    return names[labels.flip(-1).long()]


class LabelledPhotos(Dataset):
    """Photos and their label maps of the same name; with `seed`, changed anew in every epoch.

    Items are (image [3, 256, 256] in [-1, 1], labels [256, 256]). The key is (epoch, i): an item depends on it and
    the seed alone. Everything is kept in memory as bytes.

    Raises:
        ValueError: photos without a map or maps without a photo, or one that cannot be read.
    """

    def __init__(self, images_dir: Path, masks_dir: Path, part: slice, seed: int | None = None):
        photos = FacePhotos(images_dir, part)
        self.images = torch.stack([((image + 1) * 127.5).round().byte() for image in photos])
        masks = FolderPictures(masks_dir, "labels")
        mask_of = [mask for mask, _ in match(masks, photos.pictures)]
        self.labels = torch.stack([read(masks, mask_of[i], read_labels) for i in photos.indices])
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        epoch, i = key[:2]
        image, labels = self.images[i].float() / 127.5 - 1, self.labels[i]
        if self.seed is None:
            return image, labels
        rng = np.random.default_rng((self.seed, epoch, i))
        if rng.random() < 0.5:
            image, labels = image.flip(-1), flip_labels(labels)
        image, labels = move(image, labels, rng)
        return damage(recolour(image, rng), rng), labels


def move(image: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Turn by up to 15 degrees, scale by 0.8 to 1.3, shift by up to 10 %; both are continued by reflection."""
    angle, scale = (
        np.deg2rad(np.clip(rng.normal(0, 6), -15, 15)),
        np.exp(np.clip(rng.normal(-0.05, 0.12), -0.26, 0.22)),
    )
    stretch = np.exp(rng.normal(0, 0.04))
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    shift = rng.normal(0, 0.06, 2).clip(-0.2, 0.2)
    theta = torch.tensor([[cos * stretch, -sin, shift[0]], [sin * stretch, cos, shift[1]]], dtype=torch.float32)
    grid = F.affine_grid(theta[None], (1, 1, *image.shape[1:]), align_corners=False)
    moved = F.grid_sample(image[None], grid, "bilinear", "reflection", align_corners=False)[0]
    labels = F.grid_sample(labels[None, None].float(), grid, "nearest", "reflection", align_corners=False)[0, 0]
    return moved, labels.to(torch.uint8)


def recolour(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Other light and colours: gamma, gain of each channel, saturation down to grey."""
    x = (image + 1) / 2
    x = x.clamp(1e-3, 1) ** np.exp(rng.normal(0, 0.25))
    gains = torch.from_numpy(np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.08, (3, 1, 1)))).float()
    grey = x.mean(dim=0, keepdim=True)
    saturation = 0.0 if rng.random() < 0.1 else np.exp(rng.normal(0, 0.3))
    x = grey + (x - grey) * saturation
    mean = x.mean()
    x = (mean + (x - mean) * np.exp(rng.normal(0, 0.15))) * gains
    return x.clamp(0, 1) * 2 - 1


def damage(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Now and then a small picture enlarged, noise, or a patch of another tone."""
    size = image.shape[-1]
    if rng.random() < 0.25:
        smaller = int(size / rng.uniform(1.5, 4))
        small = F.interpolate(image[None], size=smaller, mode="bilinear", antialias=True)
        image = F.interpolate(small, size=size, mode="bilinear")[0]
    if rng.random() < 0.25:
        image = image + torch.from_numpy(rng.normal(0, rng.uniform(0.02, 0.12), image.shape).astype(np.float32))
    if rng.random() < 0.15:
        height, width = rng.integers(size // 10, size // 3, 2)
        top, left = rng.integers(0, size - height), rng.integers(0, size - width)
        image = image.clone()
        image[:, top : top + height, left : left + width] = torch.from_numpy(rng.uniform(-1, 1, (3, 1, 1))).float()
    return image.clamp(-1, 1)
