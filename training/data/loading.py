"""The data of a run, found, checked and split as the flags say."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from psp_hub.generators.base import Generator
from psp_hub.images.folder import listed
from psp_hub.tasks import TaskSpec
from training.data.augmentation import Augmentation
from training.data.batches import LineArt
from training.data.columns import TablePictures, load_table
from training.data.examples import Examples, Hints, Key, Pairs, Part, Photos, no_hints
from training.data.faces import FacePhotos
from training.data.folders import FolderPictures, Pictures, find_problems, match, read, read_photo
from training.data.painted_maps import LabelMaps
from training.data.pairs import GeneratedPairs, PairStore
from training.data.stored_sources import read_pair
from training.data.stroke_pairs import StrokePairs
from training.networks.identity import embed_all
from training.networks.recognisers import load_recogniser
from training.settings.data import DataSettings, FaceSettings, PairSettings, PhotoSettings
from training.settings.run import TrainingSettings

logger = logging.getLogger(__name__)

MAX_VALIDATION = 500  # held out by default: this many, or a tenth


@dataclass
class LoadedData:
    """The examples of a run.

    Args:
        data: all of them; its keys are (epoch, i) or (epoch, i, gentle_share).
        training: positions i to train on.
        held_out: positions i that are not trained on.
        description: counts, for the plan and the card.
    """

    data: Examples
    training: list[int]
    held_out: list[int]
    description: dict[str, int]

    def describe_key(self, key: Key) -> str:
        """What messages call the picture of a key."""
        return self.data.name(key[1])


def load_data(settings: TrainingSettings, task: TaskSpec, generator: Generator) -> LoadedData:
    """Find, check and split the data of a run.

    Args:
        settings: of a run; of its losses, the recogniser that --faces_dir needs.
        task: how inputs are made.
        generator: draws the pairs that are not stored, and says how long w is.

    Raises:
        ValueError: settings that do not fit together, folders without pictures, pictures without a partner, broken
            ones (without --skip_broken), sources that this task cannot make, or too few examples to hold some out.
    """
    settings.check()
    wanted, seed = settings.data, settings.device.seed
    loaded = load_parts(settings, task, generator)
    if wanted.pairs.line_art_repeats > 1:
        loaded = repeat_line_art(wanted, loaded)
    if wanted.pairs.attributes:
        loaded = add_strokes(wanted, task, loaded)
    parts = [part for part, _ in loaded.values()]
    total, num_apart = sum(map(len, parts)), len(loaded["validation"][0]) if "validation" in loaded else 0
    num_training = total - num_apart
    if num_apart:
        held_out = range(num_training, total)
    elif "pairs" in loaded:
        held_out = held_out_pairs(wanted, parts[0])
    else:
        held_out = last_ones(len(parts[0]), wanted.held_out.num_validation_pairs, "photos")
    training = [i for i in range(num_training) if i not in held_out]
    options = source_options(wanted, task)
    data = Examples(parts, task, seed, generator.w_dim, augmentation_of(wanted, task), options, held_out)
    counts = {kind: len(part) for kind, (part, _) in loaded.items() if kind != "validation"}
    counts |= {"training": len(training), "held out": len(held_out)}
    counts["left out as broken"] = sum(broken for _, broken in loaded.values())
    return LoadedData(data, training, list(held_out), counts)


def load_parts(
    settings: TrainingSettings, task: TaskSpec, generator: Generator
) -> dict[str, tuple[Pairs | Photos, int]]:
    """Everything that the settings name, by its kind, with how many pictures of it were left out."""
    wanted, photos, held_out = settings.data, settings.data.photos, settings.data.held_out
    loaded: dict[str, tuple[Pairs | Photos, int]] = {}
    if wanted.pairs.given:
        loaded["pairs"] = load_pairs(wanted.pairs, task, generator), 0
    if wanted.faces.faces_dir:
        loaded["faces"] = load_faces(wanted.faces, task, settings.losses.networks.recogniser, photos.skip_broken)
    if photos.dataset_name:
        loaded["photos"] = load_columns(photos, task, photos.dataset_split)
    elif photos.target_dir:
        hints = None if "pairs" in loaded else wanted.pairs
        loaded["photos"] = load_folders(photos.target_dir, photos.source_dir, task, photos.skip_broken, hints)
    if "photos" in loaded:
        loaded["photos"][0].repeats = photos.photo_repeats
    if held_out.validation_split:
        loaded["validation"] = load_columns(photos, task, held_out.validation_split)
    elif held_out.validation_dir:
        loaded["validation"] = load_validation(wanted, task)
    return loaded


def augmentation_of(wanted: DataSettings, task: TaskSpec) -> Augmentation:
    given = wanted.augmentation
    flips = task.random_flip if given.random_flip is None else given.random_flip
    return Augmentation(flips, given.color_jitter, given.frame_jitter, given.relit_pairs)


def source_options(wanted: DataSettings, task: TaskSpec) -> dict[str, Any]:
    """Of the source's maker, from the settings.

    Raises:
        ValueError: one of another task.
    """
    given = {name: value for name, value in vars(wanted.degradation).items() if value is not None}
    if given and task.source != "degradation":
        raise ValueError(f"{', '.join(f'--{name}' for name in given)}: for tasks whose inputs are small pictures")
    return {"line_art_share": wanted.pairs.line_art_share} if task.source == "drawing" else given


def last_ones(end: int, wanted: int | None, kind: str) -> range:
    """Positions of the examples to hold out: the last before `end`.

    Raises:
        ValueError: none, or more than half would be held out.
    """
    if end < 2:
        raise ValueError(f"there is one of the {kind}, expected more, or a --validation_dir: some are held out")
    number = min(MAX_VALIDATION, max(1, end // 10)) if wanted is None else wanted
    if not 1 <= number <= end // 2:
        of = "the first folder" if kind == "pairs" else "the photos"
        raise ValueError(f"{number} validation pairs, expected 1 to {end // 2}, half of {of}")
    return range(end - number, end)


def held_out_pairs(wanted: DataSettings, pairs: Pairs) -> range:
    """Those of the first folder: more can be added to a run, and the same pairs are held out."""
    return last_ones(pairs.store.store_ends[0], wanted.held_out.num_validation_pairs, "pairs")


def repeat_line_art(wanted: DataSettings, loaded: dict[str, tuple[Part, int]]) -> dict[str, tuple[Part, int]]:
    """The same parts, and pairs with line art --line_art_repeats times, each time with a drawing of its own.

    Raises:
        ValueError: no pair has any.
    """
    pairs = loaded["pairs"][0] if "pairs" in loaded else None
    repeats, lines = wanted.pairs.line_art_repeats, LineArt(wanted.pairs.line_art_dir).positions
    rows = [i for i, index in enumerate(pairs.store.indices) if index in lines] if pairs else []
    if not rows:
        raise ValueError(f"--line_art_repeats is {repeats}, but no pair has line art in --line_art_dir")
    held_out = held_out_pairs(wanted, pairs) if "validation" not in loaded else ()
    rows = [i for i in rows if i not in held_out] * (repeats - 1)
    repeated = Pairs(pairs.store, pairs.hints, rows), 0
    return {"pairs": loaded["pairs"], "repeated pairs": repeated, **loaded}  # the validation stays the last


def add_strokes(
    wanted: DataSettings, task: TaskSpec, loaded: dict[str, tuple[Part, int]]
) -> dict[str, tuple[Part, int]]:
    """The same parts, and stroke drawings of the pairs that are not held out.

    Raises:
        ValueError: another task, or no pair that can be drawn so.
    """
    if task.source != "drawing":
        raise ValueError("--attributes is for tasks whose inputs are drawings")
    given, pairs = wanted.pairs, loaded["pairs"][0]
    held_out = held_out_pairs(wanted, pairs) if "validation" not in loaded else ()
    rows = [i for i in range(len(pairs.store)) if i not in held_out]
    maps = LabelMaps(given.label_maps_dir)
    strokes = StrokePairs(pairs.store, maps, given.attributes, rows, given.stroke_repeats, given.edited_share)
    return {"pairs": loaded["pairs"], "stroke drawings": (strokes, 0), **loaded}  # the validation stays the last


def find_hints(
    task: TaskSpec,
    indices: Sequence[int],
    line_art_dir: Path | None = None,
    label_maps_dir: Sequence[Path] | None = None,
) -> Hints:
    """What is stored for the sources of pictures that have these indices.

    Raises:
        ValueError: label maps are missing, or two pictures of one index have some.
    """
    if len(set(indices)) < len(indices) and (line_art_dir or label_maps_dir):
        raise ValueError(
            "two of --pairs_dir have pairs of the same index, and line art and label maps are found by index: "
            "make them with different --first_index"
        )
    if task.source == "drawing":
        return LineArt(line_art_dir).get
    if task.source != "labels":
        return no_hints
    if not label_maps_dir:
        refuse_labels(task, "--label_maps_dir, or for --target_dir a --source_dir")
    maps = LabelMaps(label_maps_dir)
    missing = [str(index) for index in indices if index not in maps.positions]
    if missing:
        raise ValueError(f"{len(missing)} pictures have no map in --label_maps_dir, by index: {listed(missing)}")
    return maps.get


def load_pairs(wanted: PairSettings, task: TaskSpec, generator: Generator) -> Pairs:
    store = PairStore(wanted.pairs_dir) if wanted.pairs_dir else GeneratedPairs(generator, wanted.generated_pairs)
    return Pairs(store, find_hints(task, store.indices, wanted.line_art_dir, wanted.label_maps_dir))


def load_faces(wanted: FaceSettings, task: TaskSpec, recogniser: str, skip_broken: bool) -> tuple[Photos, int]:
    """Photos with recognition vectors, each several times, and how many were left out."""
    refuse_labels(task, "photos that have some are --target_dir with --source_dir, not --faces_dir")
    photos = FacePhotos(wanted.faces_dir, slice(wanted.num_faces))
    broken = check_readable(lambda i: read(photos.pictures, i, read_photo), photos.indices, "faces", skip_broken)
    kept = [i for i in photos.indices if i not in broken]
    identity = embed_all(load_recogniser(recogniser).embed, Subset(photos, kept))
    hints = LineArt(wanted.faces_line_art_dir).get if task.source == "drawing" else no_hints
    rows = [(i, i) for i in kept]
    part = Photos(photos.pictures, rows, hints=hints, identity=identity, repeats=wanted.faces_repeats)
    return part, len(broken)


def load_validation(wanted: DataSettings, task: TaskSpec) -> tuple[Pairs | Photos, int]:
    """--validation_dir, and how much of it was left out."""
    pairs, photos = wanted.pairs, wanted.photos
    target_dir, source_dir = wanted.held_out.validation_dir, wanted.held_out.validation_source_dir
    if any(target_dir.glob("images-*.tar")):
        store = PairStore([target_dir])
        return Pairs(store, find_hints(task, store.indices, pairs.line_art_dir, pairs.label_maps_dir)), 0
    if photos.source_dir and not source_dir:
        raise ValueError("--validation_dir needs --validation_source_dir, as --target_dir has its --source_dir")
    return load_folders(target_dir, source_dir, task, photos.skip_broken)


def load_folders(
    target_dir: Path, source_dir: Path | None, task: TaskSpec, skip_broken: bool, stored: PairSettings | None = None
) -> tuple[Photos, int]:
    """Targets with sources of the same names, or alone.

    Args:
        stored: its line art or label maps are those of these targets.
    """
    targets = FolderPictures(target_dir)
    if source_dir:
        sources = FolderPictures(source_dir, task.input_kind)
        rows = [(target, source) for source, target in match(sources, targets)]
        return load_rows(targets, sources, rows, task, skip_broken)
    if not stored:
        refuse_labels(task, f"those of {target_dir}, in --source_dir or --validation_source_dir")
    rows = [(i, i) for i in range(len(targets))]
    hints = no_hints
    if stored:
        hints = find_hints(task, range(len(rows)), stored.line_art_dir, stored.label_maps_dir)
    return load_rows(targets, None, rows, task, skip_broken, hints)


def load_columns(wanted: PhotoSettings, task: TaskSpec, split: str) -> tuple[Photos, int]:
    """Rows of a data set."""
    if not wanted.source_column:
        refuse_labels(task, f"those of {wanted.dataset_name}, in --source_column")
    table = load_table(wanted.dataset_name, wanted.dataset_config_name, split, wanted.cache_dir)
    name = f"{wanted.dataset_name}, {split}"
    targets = TablePictures(table, wanted.image_column, name)
    sources = TablePictures(table, wanted.source_column, name) if wanted.source_column else None
    rows = [(i, i) for i in range(len(targets))]
    return load_rows(targets, sources, rows, task, wanted.skip_broken)


def refuse_labels(task: TaskSpec, where: str) -> None:
    """Label maps cannot be made from photos here."""
    if task.source == "labels":
        raise ValueError(f"this task needs label maps: {where}")


def load_rows(
    targets: Pictures,
    sources: Pictures | None,
    rows: list[tuple[int, int]],
    task: TaskSpec,
    skip_broken: bool,
    hints: Hints = no_hints,
) -> tuple[Photos, int]:
    """The rows that can be read, and how many cannot."""
    broken = check_readable(
        lambda i: read(targets, i, read_photo), [target for target, _ in rows], "targets", skip_broken
    )
    kept = [row for row in rows if row[0] not in broken]
    if sources:
        pairs, kind = kept, task.input_kind
        attempt = lambda i: read_pair(targets, sources, pairs[i], kind)  # noqa: E731
        broken = check_readable(attempt, range(len(pairs)), "sources", skip_broken)
        kept = [row for i, row in enumerate(pairs) if i not in broken]
    if not kept:
        raise ValueError(f"none of the {len(rows)} pictures can be used")
    return Photos(targets, kept, sources, task.input_kind, hints), len(rows) - len(kept)


def check_readable(
    attempt: Callable[[int], object], positions: Sequence[int], what: str, skip: bool = False
) -> dict[int, str]:
    """Read all pictures once, before hours of training are spent.

    Args:
        attempt: reads that of a position.

    Returns:
        What is wrong with the broken ones, by position, if they are to be skipped.

    Raises:
        ValueError: some cannot be read, and they are not to be skipped.
    """
    broken = find_problems(attempt, positions, what)
    if broken:
        text = f"{len(broken)} of {len(positions)} {what} cannot be used: {listed(list(broken.values()))}"
        if not skip:
            raise ValueError(f"{text}. Repair them, or leave them out with --skip_broken")
        logger.warning("%s. They are left out", text)
    return broken
