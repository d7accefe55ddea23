"""Which data a run has, read by `training.data.loading.load_data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from training.settings.flags import FoldersOrNone, OrNone, Share, Switch

LINE_ART_SHARE = 0.5  # clean lines are what people draw

Strength = Annotated[float, tyro.conf.arg(metavar="STRENGTH")]


@dataclass(frozen=True)
class PairSettings:
    """Generated faces, whose w is known."""

    pairs_dir: FoldersOrNone = None
    """made by training/recipes/make_pairs.py"""
    generated_pairs: OrNone[int] = None
    """no store: draw so many pairs of an epoch when they are needed, on the device that trains"""
    line_art_dir: OrNone[Path] = None
    """made by training/recipes/make_line_art.py for --pairs_dir, or for --target_dir if there are no pairs"""
    line_art_share: Share = LINE_ART_SHARE
    """of pictures that have some"""
    line_art_repeats: int = 1
    """times each pair that has some is seen in an epoch: for stores where few have"""
    label_maps_dir: FoldersOrNone = None
    """made by training/recipes/make_label_maps.py"""
    attributes: OrNone[Path] = None
    """made by training/recipes/measure_attributes.py: drawings written as strokes join, from --label_maps_dir"""
    stroke_repeats: int = 1
    """stroke drawings of each pair in an epoch"""
    edited_share: Share = 0.5
    """of the stroke drawings: they show attributes that the pair has not, and w is moved to have them"""
    gentle_steps: int = 0
    """easy inputs at first, such as clean drawings; none from here on"""

    @property
    def given(self) -> bool:
        """Whether the run has pairs."""
        return bool(self.pairs_dir or self.generated_pairs)


@dataclass(frozen=True)
class PhotoSettings:
    """Photos to come out, and what goes in."""

    target_dir: OrNone[Path] = None
    """a folder of pictures to come out"""
    source_dir: OrNone[Path] = None
    """what goes in, under the same names; by default made from the targets"""
    photo_repeats: int = 1
    """times each photo is seen in an epoch, beside pairs"""
    dataset_name: OrNone[str] = None
    """a data set of the `datasets` library: on the Hub, or a local folder"""
    dataset_config_name: OrNone[str] = None
    """one of its configurations, where it has several"""
    dataset_split: str = "train"
    """the part to train on"""
    image_column: str = "image"
    """pictures to come out"""
    source_column: OrNone[str] = None
    """what goes in; by default made from --image_column"""
    cache_dir: OrNone[Path] = None
    """of the `datasets` library"""
    photo_attributes: OrNone[Path] = None
    """lines of JSON: the name of a photo of --target_dir, and what it shows ("woman": 1, "glasses": 0 ...)"""
    skip_broken: Switch = False
    """leave out pictures that cannot be read"""

    def check(self) -> None:
        """Raise a ValueError where these do not fit together."""
        if self.target_dir and self.dataset_name:
            raise ValueError("--target_dir and --dataset_name exclude each other")
        if self.source_dir and not self.target_dir:
            raise ValueError("--source_dir needs --target_dir")
        if self.source_column and not self.dataset_name:
            raise ValueError("--source_column needs --dataset_name")
        if self.photo_attributes and not self.target_dir:
            raise ValueError("--photo_attributes needs --target_dir")


@dataclass(frozen=True)
class AugmentationSettings:
    """Photos made to differ from each other."""

    random_flip: OrNone[bool] = None
    """mirror half of the photos, with their sources (default: as the task has it)"""
    color_jitter: Strength = 0.0
    """0 to 1: other colours and light for photos"""
    frame_jitter: Strength = 0.0
    """0 to 1: faces turned, larger or smaller, and moved by a little, as aligned photos are"""
    shape_jitter: Strength = 0.0
    """0 to 1: faces pulled into other shapes, as if they were other people's"""
    blended_photos: Share = 0.0
    """of photos that get eyes, mouth or all features of another one: people whom no photo shows"""
    damaged_drawings: Share = 0.0
    """of stored drawings that get thicker, lighter, broken or displaced strokes, as those made of photos do"""
    relit_pairs: Share = 0.0
    """of generated faces that get the other colours and light, too; image losses alone then look at them"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        for name, value in vars(self).items():
            if name != "random_flip" and not 0 <= value <= 1:
                raise ValueError(f"--{name} is {value}, expected 0 to 1")
        if self.relit_pairs and not self.color_jitter:
            raise ValueError("--relit_pairs needs --color_jitter: how much their colours and light change")


@dataclass(frozen=True)
class DegradationSettings:
    """Small pictures for super-resolution."""

    factors: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="INT ...", help_behavior_hint="")] = None
    """how many times smaller (default: as the task has them)"""
    blur_share: OrNone[float] = None
    """how often out of focus before that (default: never)"""
    jpeg_share: OrNone[float] = None
    """how often saved as JPEG after that (default: never)"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        if self.factors is not None and min(self.factors, default=0) < 1:
            raise ValueError(f"--factors are {[*self.factors]}, expected 1 or more")
        for name in ("blur_share", "jpeg_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"--{name} is {value}, expected 0 to 1")


@dataclass(frozen=True)
class FaceSettings:
    """Photos for the identity loss, beside generated faces."""

    faces_dir: OrNone[Path] = None
    """photos of faces: the sources made from them join"""
    num_faces: int = 700
    """the first photos by name"""
    faces_line_art_dir: OrNone[Path] = None
    """made by training/recipes/make_line_art.py --faces_dir"""
    faces_repeats: int = 5
    """times each photo is seen in an epoch"""


@dataclass(frozen=True)
class HeldOutSettings:
    """What is not trained on, and validated with."""

    num_validation_pairs: OrNone[int] = None
    """the last ones of the first --pairs_dir, or of the photos (default: a tenth, at most 500)"""
    validation_dir: OrNone[Path] = None
    """a folder of pairs or of photos instead"""
    validation_source_dir: OrNone[Path] = None
    """what goes in, for --validation_dir"""
    validation_split: OrNone[str] = None
    """of --dataset_name, instead"""

    def check(self) -> None:
        """Raise a ValueError where these do not fit together."""
        if self.validation_source_dir and not self.validation_dir:
            raise ValueError("--validation_source_dir needs --validation_dir")
        given = [self.num_validation_pairs is not None, bool(self.validation_dir), bool(self.validation_split)]
        if sum(given) > 1:
            raise ValueError("--num_validation_pairs, --validation_dir and --validation_split exclude each other")


@dataclass(frozen=True)
class DataSettings:
    """All kinds of data, which can be mixed."""

    pairs: PairSettings = PairSettings()
    photos: PhotoSettings = PhotoSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    degradation: DegradationSettings = DegradationSettings()
    faces: FaceSettings = FaceSettings()
    held_out: HeldOutSettings = HeldOutSettings()
    dataloader_num_workers: int = 1
    """processes that prepare batches; with --generated_pairs, the process that trains does"""

    @property
    def num_workers(self) -> int:
        """Processes that prepare batches: 0 where the generator draws them, which stays with its device."""
        return 0 if self.pairs.generated_pairs else self.dataloader_num_workers

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        pairs, photos, faces = self.pairs, self.photos, self.faces
        if pairs.pairs_dir and pairs.generated_pairs:
            raise ValueError("--pairs_dir and --generated_pairs exclude each other")
        for part in (photos, self.held_out, self.augmentation, self.degradation):
            part.check()
        if not (pairs.given or photos.target_dir or photos.dataset_name):
            raise ValueError("no data: expected --pairs_dir, --generated_pairs, --target_dir or --dataset_name")
        if pairs.attributes and not (pairs.pairs_dir and pairs.label_maps_dir):
            raise ValueError(
                "--attributes needs --pairs_dir and --label_maps_dir: strokes are written from label maps"
            )
        if faces.faces_dir and not pairs.given:
            raise ValueError("--faces_dir goes with --pairs_dir or --generated_pairs; photos alone are --target_dir")
        if photos.photo_repeats != 1 and not pairs.given:
            raise ValueError("--photo_repeats is for photos beside --pairs_dir or --generated_pairs")
        if self.held_out.validation_split and not photos.dataset_name:
            raise ValueError("--validation_split needs --dataset_name")
        repeats = {
            "line_art_repeats": pairs.line_art_repeats,
            "stroke_repeats": pairs.stroke_repeats,
            "photo_repeats": photos.photo_repeats,
            "faces_repeats": faces.faces_repeats,
        }
        for name, value in repeats.items():
            if value < 1:
                raise ValueError(f"--{name} is {value}, expected 1 or more")
        stored = photos.source_dir or photos.source_column
        if self.augmentation.color_jitter and stored:
            raise ValueError("--color_jitter is for sources made from their targets: stored ones keep their colours")
        if self.augmentation.damaged_drawings and not stored:
            raise ValueError("--damaged_drawings is for stored drawings: --source_dir or --source_column")
        if photos.photo_attributes and not pairs.attributes:
            raise ValueError("--photo_attributes needs --attributes: heads that read them from an answer")
