"""Exact supervision for free: a compact store of (image, w) pairs drawn from a generator.

A store is a folder of shards. `images-NNN.tar` holds `INDEX.webp` at 256 px; `w*.safetensors` holds `index` [N] and
`w` [N, w_dim], or [N, num_ws, w_dim] for faces with mixed styles, for one shard or for several.
"""

import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset

from psp_hub.config import MAX_SEED
from psp_hub.generators.base import Generator
from psp_hub.images.preprocessing import images_to_tensor, tensor_to_images
from psp_hub.latents import random_z, style_indices
from psp_hub.layers import resample
from psp_hub.staging import staged_file

IMAGE_SIZE = 256
WEBP_QUALITY = 90
PSI_RANGE = (0.5, 1.0)
MIXING = 1  # random numbers of their own
FIRST_MIXED_SEED = 2**31  # of the faces that lend styles: far from the indices of pairs


@torch.no_grad()
def sample_w(generator: Generator, seeds: Sequence[int]) -> Tensor:
    """One truncated w for each seed, [N, w_dim] in float32."""
    z = torch.cat([random_z(1, generator.w_dim, seed=seed) for seed in seeds])
    psi = torch.tensor([[np.random.default_rng(seed).uniform(*PSI_RANGE)] for seed in seeds])
    w = generator.mapping(z.to(generator.w_avg)).float()
    return torch.lerp(generator.w_avg.float(), w, psi.to(w))


def sample_styles(generator: Generator, indices: Sequence[int], mixed_share: float = 0.0) -> Tensor:
    """The styles of pairs; each depends on its own index alone.

    Returns:
        w [N, w_dim]. With a `mixed_share`, ws [N, num_ws, w_dim]: of that share of the pairs, the coarse, the medium
        and the fine styles (paper, section 4.4) are of three different faces; the coarse ones are those of w.
    """
    w = sample_w(generator, indices)  # [N, w_dim]
    if not mixed_share:
        return w
    ws = w[:, None].repeat(1, generator.num_ws, 1)
    for row, index in enumerate(indices):
        rng = np.random.default_rng((index, MIXING))
        if rng.random() < mixed_share:
            others = sample_w(generator, rng.integers(FIRST_MIXED_SEED, MAX_SEED, 2).tolist())
            for style, group in zip(others, ("medium", "fine"), strict=True):
                ws[row, style_indices([group], generator.num_ws)] = style
    return ws


@torch.no_grad()
def sample_pairs(
    generator: Generator,
    indices: Sequence[int],
    mixed_share: float = 0.0,
    preview: bool = False,
    small: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the pairs with the given indices; each depends on its own index alone.

    Args:
        mixed_share: see `sample_styles`.
        preview: draw less exactly, in less time (`SynthesisNetwork.preview`).
        small: draws in the generator's place, in less time again: a `SmallSynthesis`.

    Returns:
        Images [N, 3, 256, 256] in [-1, 1] (averaged from the generator's resolution, or enlarged from a smaller
        one), and w [N, w_dim] or, with a `mixed_share`, [N, num_ws, w_dim].
    """
    w = sample_styles(generator, indices, mixed_share)
    return draw_styles(generator, w, preview, small), w


def all_ws(w: Tensor, num_ws: int) -> Tensor:
    """Styles [N, num_ws, w_dim] of faces w [N, w_dim], or of such styles themselves."""
    return w if w.ndim == 3 else w[:, None].expand(-1, num_ws, -1)


@torch.no_grad()
def draw_styles(
    generator: Generator, w: Tensor, preview: bool = False, small: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Pictures [N, 3, 256, 256] in [-1, 1] of w [N, w_dim] or [N, num_ws, w_dim]; the rest as in `sample_pairs`."""
    ws = all_ws(w, generator.num_ws).to(generator.w_avg.dtype)
    if small is not None:
        images = small(ws)
    elif not preview:
        images = generator.synthesis(ws)
    else:
        images = generator.synthesis.preview(ws, IMAGE_SIZE)
    images = images.float()
    if small is not None and images.shape[-1] < IMAGE_SIZE:
        images = F.interpolate(images, size=IMAGE_SIZE, mode="bicubic", align_corners=False)
    return resample(images, IMAGE_SIZE).clamp(-1, 1)


def write_shard(folder: Path, shard: int, images: Tensor, w: Tensor, indices: list[int]) -> None:
    """Write one shard. The pictures come last and by rename: a shard without them is made again."""
    path = shard_path(folder, shard)
    write_w(path, indices, w)
    write_tar(path, indices, tensor_to_images(images), WEBP_QUALITY)


def write_encoded_shard(path: Path, pictures: dict[int, bytes], w: Tensor) -> None:
    """As `write_shard`, of WebP files by index, into the shard of this `images-NNN.tar`."""
    write_w(path, list(pictures), w)
    write_files(path, ((f"{index}.webp", picture) for index, picture in pictures.items()))


def write_w(path: Path, indices: list[int], w: Tensor) -> None:
    """Write the w of the pictures of `images-NNN.tar` beside it."""
    w_path = path.with_name(path.name.replace("images", "w")).with_suffix(".safetensors")
    with staged_file(w_path) as stage:
        save_file({"index": torch.tensor(indices, dtype=torch.int32), "w": w.half().contiguous()}, stage)


def write_tar(path: Path, indices: list[int], images: Iterable[Image.Image], quality: int | None) -> None:
    """Write pictures as `INDEX.webp` (no quality: `INDEX.png`) into a tar file that appears only when complete."""
    kind = "png" if quality is None else "webp"
    write_files(
        path, ((f"{i}.{kind}", encode_picture(image, quality)) for i, image in zip(indices, images, strict=True))
    )


def encode_picture(image: Image.Image, quality: int | None) -> bytes:
    """A WebP file of this quality; without one, a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "png" if quality is None else "webp", quality=quality)
    return buffer.getvalue()


def write_files(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar file that appears only when complete."""
    with staged_file(path) as stage, tarfile.open(stage, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def read_tar(path: Path) -> dict[int, tuple[int, int]]:
    """Offset and size of each picture in a tar file, by index.

    Raises:
        ValueError: another kind of file, or one that is not complete.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            found = {int(Path(member.name).stem): (member.offset_data, member.size) for member in tar}
    except (tarfile.TarError, ValueError) as error:
        advice = "delete it, and make it again"
        raise ValueError(f"{path} is damaged, or no file of numbered pictures ({error}): {advice}") from error
    if found and max(offset + size for offset, size in found.values()) > path.stat().st_size:
        raise ValueError(f"{path} ends in the middle of a picture: delete it, and make it again")
    return found


def read_w(path: Path) -> dict[int, Tensor]:
    """The styles of a shard, by index, in half precision.

    Raises:
        ValueError: another kind of file, or a damaged one.
    """
    try:
        tensors = load_file(path)
        return dict(zip(tensors["index"].tolist(), tensors["w"], strict=True))
    except (SafetensorError, LookupError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or holds no w by index: {error}") from error


def read_bytes(path: Path, offset: int, size: int) -> bytes:
    with open(path, "rb") as tar:
        tar.seek(offset)
        return tar.read(size)


def read_picture(path: Path, offset: int, size: int) -> Image.Image:
    return Image.open(io.BytesIO(read_bytes(path, offset, size)))


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f"images-{shard:03d}.tar"


class PairStore(Dataset):
    """Read one or several stores: item i is (image [3, 256, 256] in [-1, 1], w [w_dim]).

    If a store has mixed styles, w is [num_ws, w_dim] everywhere.

    Only the position of each image is kept in memory, so forked workers share everything.

    Raises:
        ValueError: a folder holds no pairs, a file is damaged, or an image has no w.
    """

    def __init__(self, folders: Sequence[str | Path]):
        self.positions: list[tuple[Path, int, int]] = []  # file, offset, size
        self.indices: list[int] = []
        self.store_ends: list[int] = []  # one past the last pair of each folder
        self.rows: list[Tensor] = []  # w of each pair, half precision
        for folder in map(Path, folders):
            w_of: dict[int, Tensor] = {}
            for path in sorted(folder.glob("w*.safetensors")):
                w_of |= read_w(path)
            for path in sorted(folder.glob("images-*.tar")):
                for index, (offset, size) in read_tar(path).items():
                    if index not in w_of:
                        raise ValueError(f"{path}: image {index} has no w in {folder}/w*.safetensors")
                    self.positions.append((path, offset, size))
                    self.indices.append(index)
                    self.rows.append(w_of[index])
            if len(self.indices) == (self.store_ends[-1] if self.store_ends else 0):
                raise ValueError(f"{folder} holds no pairs (images-*.tar with w*.safetensors)")
            self.store_ends.append(len(self.indices))
        self.w_shape = max((row.shape for row in self.rows), key=len)
        if mismatched := {tuple(row.shape) for row in self.rows if row.shape != self.w_shape[-row.ndim :]}:
            raise ValueError(f"w has shape {mismatched.pop()} in one store and {tuple(self.w_shape)} in another")

    @property
    def w(self) -> Tensor:
        """All w, [N, w_dim], half precision.

        Raises:
            ValueError: pairs with mixed styles have no single w.
        """
        if len(self.w_shape) > 1:
            raise ValueError("these pairs have mixed styles, expected faces with a single w")
        return torch.stack(self.rows)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return images_to_tensor([read_picture(*self.positions[i])])[0], self.rows[i].float().expand(self.w_shape)


class GeneratedPairs(Dataset):
    """Pairs that the generator draws when they are asked for: no store, and never the same twice in an epoch.

    For devices that draw faster than they train. Item i is that of a `PairStore`, with w in full precision.

    Args:
        generator: on the device that is to draw.
        num_pairs: length of an epoch, with those held out.
        first_index: of the pairs; far from those of `training/recipes/make_pairs.py`, so that a store can serve to
            measure.
    """

    def __init__(self, generator: Generator, num_pairs: int, first_index: int = 100_000_000):
        self.generator = generator
        self.indices = range(first_index, first_index + num_pairs)
        self.store_ends = [num_pairs]
        self.w_shape = generator.w_avg.shape

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.get_many([i])[0]

    def get_many(self, positions: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Several items in one run of the generator."""
        images, w = sample_pairs(self.generator, [self.indices[i] for i in positions])
        return list(zip(images.cpu(), w.cpu(), strict=True))
