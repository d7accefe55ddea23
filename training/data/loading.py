"""The data of a run: its parts joined, and split into training and held out as the flags say."""

from dataclasses import dataclass
from typing import Any

from psp_hub.generators.base import Generator
from psp_hub.tasks import TaskSpec
from training.data.augmentation import Augmentation
from training.data.batches import LineArt
from training.data.examples import Examples, Key, Pairs, Part, Photos
from training.data.painted_maps import LabelMaps
from training.data.parts import load_columns, load_faces, load_folders, load_pairs, load_validation
from training.data.photo_attributes import read_photo_attributes
from training.data.stroke_pairs import StrokePairs
from training.settings.data import DataSettings
from training.settings.run import TrainingSettings

UNMOVED = {"labels": "label maps", "masked": "photos with gaps"}  # by the kind of input
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
    augmentation = augmentation_of(wanted, task)
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
    data = Examples(parts, task, seed, generator.w_dim, augmentation, options, held_out)
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
    if photos.photo_attributes:
        loaded["photos"][0].said = read_photo_attributes(photos.photo_attributes, loaded["photos"][0])
    if held_out.validation_split:
        loaded["validation"] = load_columns(photos, task, held_out.validation_split)
    elif held_out.validation_dir:
        loaded["validation"] = load_validation(wanted, task)
    return loaded


def augmentation_of(wanted: DataSettings, task: TaskSpec) -> Augmentation:
    """The changes of photos that the settings and the task ask for.

    Raises:
        ValueError: changes that stored sources of this task do not follow.
    """
    given = wanted.augmentation
    if task.input_kind in UNMOVED and (wanted.photos.source_dir or wanted.photos.source_column):
        for name in ("frame_jitter", "shape_jitter", "blended_photos"):
            if getattr(given, name):
                raise ValueError(
                    f"--{name} is for drawings and photos: stored {UNMOVED[task.input_kind]} stay in place"
                )
    if given.damaged_drawings and task.source != "drawing":
        raise ValueError("--damaged_drawings is for tasks whose inputs are drawings")
    flips = task.random_flip if given.random_flip is None else given.random_flip
    return Augmentation(**vars(given) | {"random_flip": flips})


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
        raise ValueError(
            f"too few {kind}: got {end}, expected 2 or more, since some are held out; or give a --validation_dir"
        )
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
