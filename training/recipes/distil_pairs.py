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

import argparse
import io
from collections.abc import Iterable, Iterator
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

BATCH_SIZE = 50
SHARD_SIZE = 500  # of photos; stores keep their shards
FRAME_JITTER = 0.3  # of the copies of a photo
FIRST_MIRRORED = 500_000_000  # added to the index of a mirrored pair, for stored line art belongs to the other

Item = tuple[int, bytes, Tensor | None]  # index, WebP file, w [w_dim] or [num_ws, w_dim] if it is known


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pairs_dir", type=Path)
    source.add_argument("--faces_dir", type=Path, help="a folder of photos instead")
    parser.add_argument("--output_dir", type=Path, required=True, help="of the new pairs")
    parser.add_argument("--model", required=True, help="the teacher: a starter, a folder or a repository on the Hub")
    parser.add_argument("--share", type=float, default=0.5, help="of the teacher's answer in a target, 0 to 1")
    parser.add_argument("--calibration", type=Path, help="of the teacher; for pairs that have one w each")
    parser.add_argument("--max_pairs", type=int, default=None, help="leave out those after so many")
    parser.add_argument("--mirror", action="store_true", help="the pairs, mirrored; all targets are the teacher's")
    parser.add_argument("--copies", type=int, default=1, help="of each photo: mirrored, and framed a little otherwise")
    parser.add_argument("--first_index", type=int, default=8_000_000, help="of the photos' pairs")
    parsed = parser.parse_args(args)
    if not 0 <= parsed.share <= 1:
        parser.error(f"--share is {parsed.share}, expected 0 to 1")
    if parsed.mirror and parsed.faces_dir:
        parser.error("--mirror is for --pairs_dir, --copies mirrors photos")
    if parsed.calibration and parsed.faces_dir:
        parser.error("--calibration is for --pairs_dir: no single w makes a photo")
    for name in ("copies", "max_pairs"):
        if getattr(parsed, name) is not None and getattr(parsed, name) < 1:
            parser.error(f"--{name} is {getattr(parsed, name)}, expected 1 or more")
    return parsed


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


def main(args: argparse.Namespace) -> None:
    keep_freed_memory()
    model = load_teacher(args.model)
    calibration = Calibration.from_file(args.calibration) if args.calibration else None
    if calibration and len(PairStore([args.pairs_dir]).w_shape) > 1:
        raise ValueError(f"{args.pairs_dir} has mixed styles, expected pairs with one w each for --calibration")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    if args.mirror:
        shards = mirrored_shards(args.pairs_dir, args.max_pairs)
    elif args.pairs_dir:
        shards = store_shards(args.pairs_dir, args.max_pairs)
    else:
        shards = photo_shards(args.faces_dir, args.copies, args.first_index)
    for name, some in tqdm(shards, unit="shard"):
        if (args.output_dir / name).exists():
            continue
        items = list(some)
        pictures = {index: picture for index, picture, _ in items}
        write_encoded_shard(args.output_dir / name, pictures, distil(model, items, args.share, calibration))


if __name__ == "__main__":
    main(parse_args())
