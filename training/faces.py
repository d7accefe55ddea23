"""A folder of aligned photos of faces, for identity losses and for evaluation."""

from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from psp_hub.preprocessing import images_to_tensor, open_image
from training.pairs import IMAGE_SIZE

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


class FacePhotos(Dataset):
    """Photos of a folder in the order of their names, resized to 256 px: item i is [3, 256, 256] in [-1, 1].

    Args:
        folder: where they are.
        part: which of them, as a slice: `slice(700)` the first 700, `slice(-100, None)` the last 100.

    Raises:
        ValueError: no photos there; when an item is read, a photo that cannot be.
    """

    def __init__(self, folder: Path, part: slice):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
        if not paths:
            raise ValueError(f"{folder} holds no photos ({', '.join(sorted(PICTURE_SUFFIXES))})")
        self.paths = paths[part]
        self.indices = list(range(len(paths)))[part]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return images_to_tensor([open_image(self.paths[i]).resize((IMAGE_SIZE, IMAGE_SIZE))])[0]
