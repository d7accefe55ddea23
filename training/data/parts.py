"""One part of a run's data: pairs, photos or faces, found and read once as the flags say."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.utils.data import Subset

from psp_hub.generators.base import Generator
from psp_hub.images.folder import listed
from psp_hub.tasks import TaskSpec
from training.data.batches import LineArt
from training.data.columns import TablePictures, load_table
from training.data.examples import Hints, Pairs, Photos, no_hints
from training.data.faces import FacePhotos
from training.data.folders import FolderPictures, Pictures, find_problems, match, read, read_photo
from training.data.painted_maps import LabelMaps
from training.data.pairs import GeneratedPairs, PairStore
from training.data.stored_sources import read_pair
from training.networks.identity import embed_all
from training.networks.recognisers import load_recogniser
from training.settings.data import DataSettings, FaceSettings, PairSettings, PhotoSettings

logger = logging.getLogger(__name__)


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
