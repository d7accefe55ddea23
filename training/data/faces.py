"""A folder of aligned photos of faces, for identity losses and for evaluation."""

from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from training.data.folders import FolderPictures, read, read_photo


class FacePhotos(Dataset):
    """Photos of a folder in the order of their names, resized to 256 px: item i is [3, 256, 256] in [-1, 1].

    Args:
        folder: where they are, in it or below it.
        part: which of them, as a slice: `slice(700)` the first 700, `slice(-100, None)` the last 100.

    Raises:
        ValueError: no photos there; when an item is read, a photo that cannot be.
    """

    def __init__(self, folder: Path, part: slice):
        self.pictures = FolderPictures(folder)
        self.indices = list(range(len(self.pictures)))[part]

    @property
    def paths(self) -> list[Path]:
        return [self.pictures.paths[i] for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Tensor:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return read(self.pictures, self.indices[i], read_photo)
