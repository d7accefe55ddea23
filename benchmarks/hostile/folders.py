"""Training folders as people have them: what is to be found in each is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.hostile.pictures import NO_PICTURES, REFUSED, damage, draw_face, encoded, paint_map, paint_photo
from psp_hub.images.part_masks import PARTS

Expected = int | str | None  # how many examples, or REFUSED, or either
Words = list[object]


def good_photos(folder: Path, rng: np.random.Generator, count: int = 4, size: tuple[int, int] = (64, 64)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        paint_photo(rng, size).save(folder / f"{i}.{('png', 'jpg', 'webp', 'bmp')[i % 4]}")
    return folder


def only_photos(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    return ["--task", "inversion", "--target_dir", good_photos(folder / "out", rng)], 4


def clutter(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    """Files that are no pictures, hidden ones, folders, links in a circle, a pipe."""
    out = good_photos(folder / "out", rng)
    for name in ("vector.svg", "two-thousand.jp2", "layers.psd"):
        (out / name).write_bytes(NO_PICTURES[name])
    (out / "notes.txt").write_text("photos of mine")
    (out / "._0.png").write_bytes(b"\0\5\x16\7" + bytes(60))
    (out / "more.png").mkdir()
    (out / "circle").symlink_to(out)
    good_photos(out / "below" / "it", rng, 2)
    return ["--task", "inversion", "--target_dir", out], 6


def damaged(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    out = good_photos(folder / "out", rng)
    names = rng.permutation([name for name in NO_PICTURES if name.endswith((".png", ".jpg", ".webp"))])[:2]
    for name in names:
        (out / name).write_bytes(NO_PICTURES[name])
    skip = bool(rng.integers(2))
    return ["--task", "inversion", "--target_dir", out, *(["--skip_broken"] if skip else [])], 4 if skip else REFUSED


def scrambled(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    out = good_photos(folder / "out", rng)
    _, content = damage(encoded(paint_photo(rng), "JPEG"), rng)
    (out / "x.jpg").write_bytes(content)
    return ["--task", "inversion", "--target_dir", out, "--skip_broken"], None


def drawings_and_photos(folder: Path, rng: np.random.Generator, change: str = "") -> tuple[Words, Expected]:
    out = good_photos(folder / "out", rng)
    (folder / "in").mkdir()
    for i in range(4):
        draw_face(rng).save(folder / f"in/{i}.png")
    words: Words = ["--task", "sketch", "--target_dir", out, "--source_dir", folder / "in"]
    if change == "alone":
        (folder / "in/3.png").unlink()
    elif change == "twice":
        draw_face(rng).save(folder / "in/3.webp")
    elif change == "shape":
        draw_face(rng).crop((0, 0, 150, 192)).save(folder / "in/1.png")
    elif change == "empty":
        Image.new("L", (64, 64), 255).save(folder / "in/1.png")
    return words, REFUSED if change else 4


def maps_and_photos(folder: Path, rng: np.random.Generator, change: str = "") -> tuple[Words, Expected]:
    out = good_photos(folder / "out", rng)
    (folder / "in").mkdir()
    for i in range(4):
        paint_map(rng).save(folder / f"in/{i}.png")
    if change == "jpeg":
        (folder / "in/2.png").unlink()
        paint_map(rng).save(folder / "in/2.jpg", quality=75)
    elif change == "photo":
        paint_photo(rng).save(folder / "in/2.png")
    elif change == "numbers":
        paint_map(rng).point(lambda v: v + 19).save(folder / "in/2.png")
    words: Words = ["--task", "segmentation", "--target_dir", out, "--source_dir", folder / "in"]
    return words, REFUSED if change else 4


def parts(folder: Path, rng: np.random.Generator, change: str = "") -> tuple[Words, Expected]:
    """CelebAMask-HQ as it ships."""
    for i in range(4):
        masks = folder / f"CelebAMask-HQ-mask-anno/{i // 2}"
        masks.mkdir(parents=True, exist_ok=True)
        numbers = np.asarray(paint_map(rng))
        for number in np.unique(numbers)[1:]:
            mask = Image.fromarray(((numbers == number) * 255).astype(np.uint8))
            mask.save(masks / f"{i:05d}_{PARTS[number - 1]}.png")
    (folder / "CelebA-HQ-img").mkdir()
    for i in range(4):
        paint_photo(rng).save(folder / f"CelebA-HQ-img/{i}.jpg")
    if change == "size":
        Image.new("L", (9, 9)).save(masks / "00003_neck.png")
    source = folder / "CelebAMask-HQ-mask-anno"
    target = source if change == "as photos" else folder / "CelebA-HQ-img"
    task = ["--task", "inversion"] if change == "as photos" else ["--task", "segmentation", "--source_dir", source]
    return [*task, "--target_dir", target], REFUSED if change else 4


def nothing(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    (folder / "out").mkdir(parents=True)
    (folder / "out/photo.heic").write_bytes(NO_PICTURES["photo.heic"])
    return ["--task", "inversion", "--target_dir", folder / ("out" if rng.integers(2) else "nowhere")], REFUSED


def no_pairs(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    """A store of pairs whose files are not what they are called."""
    (folder / "pairs").mkdir(parents=True)
    (folder / "pairs/images-000.tar").write_bytes((b"", b"no archive", bytes(1024))[rng.integers(3)])
    if rng.integers(2):
        (folder / "pairs/w-000.safetensors").write_bytes((b"", b"\xff" * 40)[rng.integers(2)])
    return ["--task", "sketch", "--pairs_dir", folder / "pairs"], REFUSED


def odd_numbers(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    out = good_photos(folder / "out", rng)
    flags = (
        ["--num_validation_pairs", 0],
        ["--num_validation_pairs", -3],
        ["--num_validation_pairs", 99],
        ["--photo_repeats", 0],
        ["--color_jitter", "nan"],
        ["--color_jitter", 7],
        ["--train_batch_size", 0],
        ["--max_train_steps", -1],
        ["--line_art_share", 9],
    )
    return ["--task", "inversion", "--target_dir", out, *flags[rng.integers(len(flags))]], REFUSED


def one_photo(folder: Path, rng: np.random.Generator) -> tuple[Words, Expected]:
    return ["--task", "inversion", "--target_dir", good_photos(folder / "out", rng, 1)], REFUSED


Maker = Callable[[Path, np.random.Generator], tuple[Words, Expected]]
FOLDERS: dict[str, Maker] = {
    "photos": only_photos,
    "clutter": clutter,
    "damaged photos": damaged,
    "scrambled photo": scrambled,
    "drawings and photos": drawings_and_photos,
    "maps and photos": maps_and_photos,
    "masks of parts": parts,
    "no pictures": nothing,
    "no pairs": no_pairs,
    "odd numbers": odd_numbers,
    "one photo": one_photo,
}
for _maker, _changes in (
    (drawings_and_photos, ("alone", "twice", "shape", "empty")),
    (maps_and_photos, ("jpeg", "photo", "numbers")),
    (parts, ("size", "as photos")),
):
    for _change in _changes:
        FOLDERS[f"{_maker.__name__}, {_change}"] = lambda folder, rng, m=_maker, c=_change: m(folder, rng, c)
