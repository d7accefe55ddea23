r"""Let an encoder of photos say how much of each w can be seen, for tasks that see less than a photo.

    python training/recipes/distil_pairs.py --pairs_dir pairs --model runs/inversion/model --share 0.5 \
        --output_dir distilled
    python training/recipes/distil_pairs.py --pairs_dir pairs --mirror --model runs/inversion/model \
        --output_dir mirrored
    python training/recipes/distil_pairs.py --faces_dir faces --model inversion --copies 4 --output_dir distilled-faces

Nearly half of a w (in squared error) even our encoder of photos does not read off its picture. To a student that sees
a drawing of it that is mostly noise, learned by heart where pairs are few. So the targets here are a mixture of
the truth and of what a teacher reads off the picture (generalized distillation, Lopez-Paz et al. 2016, arXiv
1511.03643). `--calibration` (training/recipes/calibrate_teacher.py) leaves of its answers what can be relied on; then
less of the truth is needed. Photos, whose styles nobody knows, get all of theirs from the teacher, and so do mirror
images of pairs, which are new faces without the generator's work. The same command goes on, and does
what a store has grown by.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from psp_hub.images.preprocessing import images_to_tensor, tensor_to_images
from psp_hub.model import PSPModel
from training.data.augmentation import Augmentation, Target
from training.data.faces import FacePhotos
from training.data.pairs import WEBP_QUALITY, PairStore, encode_picture, read_bytes, shard_path, write_encoded_shard
from training.memory import keep_freed_memory
from training.recipes.calibrate_teacher import Calibration, load_teacher, read_styles
from training.settings.flags import OrNone, Share, Switch, parse_checked

BATCH_SIZE = 50
SHARD_SIZE = 500  # of photos; stores keep their shards
FRAME_JITTER = 0.3  # of the copies of a photo
FIRST_MIRRORED = 500_000_000  # added to the index of a mirrored pair, for stored line art belongs to the other

Item = tuple[int, bytes, Tensor | None]  # index, WebP file, w [w_dim] or [num_ws, w_dim] if it is known


@dataclass(frozen=True)
class DistillationSettings:
    """The teacher, what it looks at, and how much it is believed."""

    output_dir: Path
    """of the new pairs"""
    model: str
    """the teacher: a starter, a folder or a repository on the Hub"""
    pairs_dir: OrNone[Path] = None
    """a store of pairs"""
    faces_dir: OrNone[Path] = None
    """a folder of photos instead"""
    share: Share = 0.5
    """of the teacher's answer in a target"""
    calibration: OrNone[Path] = None
    """of the teacher; for pairs that have one w each"""
    max_pairs: OrNone[int] = None
    """leave out those after so many"""
    mirror: Switch = False
    """the pairs, mirrored; all targets are the teacher's"""
    copies: int = 1
    """of each photo: mirrored, and framed a little otherwise"""
    first_index: int = 8_000_000
    """of the photos' pairs"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        if bool(self.pairs_dir) == bool(self.faces_dir):
            raise ValueError("expected one of --pairs_dir and --faces_dir")
        if not 0 <= self.share <= 1:
            raise ValueError(f"--share is {self.share}, expected 0 to 1")
        if self.mirror and self.faces_dir:
            raise ValueError("--mirror is for --pairs_dir, --copies mirrors photos")
        if self.calibration and self.faces_dir:
            raise ValueError("--calibration is for --pairs_dir: no single w makes a photo")
        for name, number in (("copies", self.copies), ("max_pairs", self.max_pairs)):
            if number is not None and number < 1:
                raise ValueError(f"--{name} is {number}, expected 1 or more")


def parse_args(words: list[str] | None = None) -> DistillationSettings:
    return parse_checked(DistillationSettings, words, __doc__)


def distil(model: PSPModel, items: list[Item], share: float, calibration: Calibration | None = None) -> Tensor:
    """New targets: `share` of the teacher's answer where w is known, all of it elsewhere.

    Returns:
        ws [N, num_ws, w_dim]; with a calibration w [N, w_dim].
    """
    targets = []
    for i in range(0, len(items), BATCH_SIZE):
        some = items[i : i + BATCH_SIZE]
        images = images_to_tensor([Image.open(io.BytesIO(picture)) for _, picture, _ in some])
        answers = read_styles(model, images)  # [N, num_ws, w_dim]
        if calibration:
            answers = calibration(answers.mean(dim=1))  # [N, w_dim]
        for (_, _, w), answer in zip(some, answers, strict=True):
            targets.append(answer if w is None else torch.lerp(w.float().expand_as(answer), answer, share))
    return torch.stack(targets)


def store_shards(folder: Path, max_pairs: int | None) -> Iterator[tuple[str, Iterable[Item]]]:
    """Name and pairs of each shard of a store; the files are as they were."""
    store = PairStore([folder])
    for path, rows in groupby(range(len(store))[:max_pairs], lambda row: store.positions[row][0]):
        yield path.name, ((store.indices[row], read_bytes(*store.positions[row]), store.rows[row]) for row in rows)


def mirrored(picture: bytes) -> bytes:
    """The mirror image of a WebP file."""
    return encode_picture(ImageOps.mirror(Image.open(io.BytesIO(picture))), WEBP_QUALITY)


def mirrored_shards(folder: Path, max_pairs: int | None) -> Iterator[tuple[str, Iterable[Item]]]:
    """Those of `store_shards` in the mirror, whose styles nobody knows."""
    for name, items in store_shards(folder, max_pairs):
        yield name, ((FIRST_MIRRORED + index, mirrored(picture), None) for index, picture, _ in items)


def photo_shards(folder: Path, copies: int, first_index: int) -> Iterator[tuple[str, Iterable[Item]]]:
    """Photos and their copies, the first one unchanged, in shards."""
    photos = FacePhotos(folder, slice(None))
    change = Augmentation(random_flip=True, frame_jitter=FRAME_JITTER)

    def make(numbers: range) -> Iterator[Item]:
        for number in numbers:
            copy, i = divmod(number, len(photos))
            image = photos[i]
            if copy:
                image = change(Target(image), np.random.default_rng((copy, i))).image
            yield first_index + number, encode_picture(tensor_to_images(image[None])[0], WEBP_QUALITY), None

    total = copies * len(photos)
    for shard, start in enumerate(range(0, total, SHARD_SIZE)):
        yield shard_path(folder, shard).name, make(range(start, min(start + SHARD_SIZE, total)))


def main(settings: DistillationSettings) -> None:
    keep_freed_memory()
    model = load_teacher(settings.model)
    calibration = Calibration.from_file(settings.calibration) if settings.calibration else None
    if calibration and len(PairStore([settings.pairs_dir]).w_shape) > 1:
        raise ValueError(f"{settings.pairs_dir} has mixed styles, expected pairs with one w each for --calibration")
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    if settings.mirror:
        shards = mirrored_shards(settings.pairs_dir, settings.max_pairs)
    elif settings.pairs_dir:
        shards = store_shards(settings.pairs_dir, settings.max_pairs)
    else:
        shards = photo_shards(settings.faces_dir, settings.copies, settings.first_index)
    for name, some in tqdm(shards, unit="shard"):
        if (settings.output_dir / name).exists():
            continue
        items = list(some)
        pictures = {index: picture for index, picture, _ in items}
        write_encoded_shard(settings.output_dir / name, pictures, distil(model, items, settings.share, calibration))


if __name__ == "__main__":
    main(parse_args())
