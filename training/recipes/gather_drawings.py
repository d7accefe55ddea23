"""Put drawings beside the photos that they show, as train.py's --source_dir and --target_dir want them.

    python training/recipes/gather_drawings.py --drawings_dir fs2k --faces_dir photos --output_dir gathered

Of the drawings by artists, those that measure stay out; of each photo, some drawings are made. Written:
`drawings/NAME` and `photos/NAME`, of the same names, suffixes apart; and `attributes.jsonl`, what is known of the
photos that artists drew, as train.py's --photo_attributes wants it.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from training.data.drawings import draw_photo
from training.data.folders import FolderPictures, read, read_photo
from training.evaluation.artists import Artists
from training.settings.flags import OrNone, parse_checked, refuse


@dataclass(frozen=True)
class GatherSettings:
    """What is put together, and where."""

    output_dir: Path
    """folder that does not exist yet"""
    drawings_dir: OrNone[Path] = None
    """drawings by artists with their photos, in the layout of FS2K"""
    faces_dir: OrNone[Path] = None
    """photos of faces that drawings are made of"""
    per_photo: int = 2
    """drawings of each of these photos"""
    per_artists_drawing: int = 1
    """copies of each drawing by an artist, which training then sees as much more often"""
    max_photos: OrNone[int] = None
    """leave out those after so many, by name"""
    seed: int = 5
    """of these drawings"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        if not self.drawings_dir and not self.faces_dir:
            raise ValueError("expected --drawings_dir, --faces_dir or both")
        for name in ("per_photo", "per_artists_drawing"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}, expected 1 or more")


def parse_args(words: list[str] | None = None) -> GatherSettings:
    return parse_checked(GatherSettings, words, __doc__)


def as_picture(drawing: Tensor) -> Image.Image:
    """[1, H, W] in [0, 1] -> grey."""
    return Image.fromarray((drawing[0] * 255).round().byte().numpy())


def gather_artists(folder: Path, drawings: Path, photos: Path, copies: int) -> list[dict[str, object]]:
    """Copy the pairs that training may see, and tell what they show: no hair may also mean a hat."""
    lines: list[dict[str, object]] = []
    for pair in Artists(folder):
        if pair.measures:
            continue
        shows = {name: int(is_shown) for name, is_shown in pair.shows.items() if name != "bald" or not is_shown}
        for copy in range(copies):
            stem = f"artist-{pair.name}" + (f"-{copy}" if copy else "")
            for pictures, position, target in zip(
                (pair.sketches, pair.photos), pair.positions, (drawings, photos), strict=True
            ):
                path = pictures.paths[position]
                shutil.copy(path, target / f"{stem}{path.suffix}")
            lines.append({"name": stem, **shows})
    return lines


def gather_photos(settings: GatherSettings, drawings: Path, photos: Path) -> None:
    """Draw each photo, every time in another style, and copy it beside each drawing."""
    pictures = FolderPictures(settings.faces_dir)
    for i in tqdm(range(min(len(pictures), settings.max_photos or len(pictures))), unit="photo"):
        image, path = read(pictures, i, read_photo), pictures.paths[i]
        for copy in range(settings.per_photo):
            rng = np.random.default_rng((i, copy, settings.seed))
            as_picture(draw_photo(image, rng)).save(drawings / f"photo-{copy}-{path.stem}.png")
            shutil.copy(path, photos / f"photo-{copy}-{path.name}")


def main(settings: GatherSettings) -> None:
    if settings.output_dir.exists():
        refuse(ValueError(f"{settings.output_dir} is there already, expected a new folder"))
    drawings, photos = settings.output_dir / "drawings", settings.output_dir / "photos"
    for folder in (drawings, photos):
        folder.mkdir(parents=True)
    if settings.drawings_dir:
        lines = gather_artists(settings.drawings_dir, drawings, photos, settings.per_artists_drawing)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (settings.output_dir / "attributes.jsonl").write_text(text, encoding="utf-8")
    if settings.faces_dir:
        gather_photos(settings, drawings, photos)


if __name__ == "__main__":
    main(parse_args())
