"""Which data a run has: the flags, read by `training.data.loading.load_data`."""

import argparse
from pathlib import Path

from training.data.columns import DEFAULT_COLUMN
from training.data.drawings import LINE_ART_SHARE


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the data, read by `load_data`."""
    pairs = parser.add_argument_group("data: generated faces, whose w is known")
    pairs.add_argument("--pairs_dir", type=Path, nargs="+", help="made by training/recipes/make_pairs.py")
    pairs.add_argument(
        "--generated_pairs",
        type=int,
        metavar="N",
        help="no store: draw the N pairs of an epoch when they are needed, on the device that trains",
    )
    pairs.add_argument(
        "--line_art_dir",
        type=Path,
        help="made by training/recipes/make_line_art.py for --pairs_dir, or for --target_dir if there are no pairs",
    )
    pairs.add_argument("--line_art_share", type=float, default=LINE_ART_SHARE, help="of pictures that have some")
    pairs.add_argument(
        "--line_art_repeats",
        type=int,
        default=1,
        help="times each pair that has some is seen in an epoch: for stores where few have",
    )
    pairs.add_argument("--label_maps_dir", type=Path, nargs="+", help="made by training/recipes/make_label_maps.py")
    pairs.add_argument(
        "--gentle_steps", type=int, default=0, help="easy inputs at first, such as clean drawings; none from here on"
    )

    photos = parser.add_argument_group("data: photos")
    photos.add_argument("--target_dir", type=Path, help="a folder of pictures to come out")
    photos.add_argument(
        "--source_dir", type=Path, help="what goes in, under the same names; by default made from the targets"
    )
    photos.add_argument(
        "--photo_repeats", type=int, default=1, help="times each photo is seen in an epoch, beside pairs"
    )
    photos.add_argument("--dataset_name", help="a data set of the `datasets` library: on the Hub, or a local folder")
    photos.add_argument("--dataset_config_name")
    photos.add_argument("--dataset_split", default="train")
    photos.add_argument("--image_column", default=DEFAULT_COLUMN, help="pictures to come out")
    photos.add_argument("--source_column", help="what goes in; by default made from --image_column")
    photos.add_argument("--cache_dir", type=Path, help="of the `datasets` library")
    photos.add_argument("--skip_broken", action="store_true", help="leave out pictures that cannot be read")
    photos.add_argument(
        "--random_flip",
        action=argparse.BooleanOptionalAction,
        help="mirror half of the photos, with their sources (default: as the task has it)",
    )
    photos.add_argument(
        "--color_jitter",
        type=float,
        default=0.0,
        metavar="STRENGTH",
        help="0 to 1: other colours and light for photos",
    )
    photos.add_argument(
        "--frame_jitter",
        type=float,
        default=0.0,
        metavar="STRENGTH",
        help="0 to 1: faces turned, larger or smaller, and moved by a little, as aligned photos are",
    )
    photos.add_argument(
        "--relit_pairs",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of generated faces that get the other colours and light, too; image losses alone then look at them",
    )

    small = parser.add_argument_group("data: small pictures for super-resolution")
    small.add_argument("--factors", type=int, nargs="+", help="how many times smaller (default: as the task has them)")
    small.add_argument("--blur_share", type=float, help="how often out of focus before that (default: never)")
    small.add_argument("--jpeg_share", type=float, help="how often saved as JPEG after that (default: never)")

    faces = parser.add_argument_group("data: photos for the identity loss, beside generated faces")
    faces.add_argument("--faces_dir", type=Path, help="photos of faces: the sources made from them join")
    faces.add_argument("--num_faces", type=int, default=700, help="the first photos by name")
    faces.add_argument("--faces_line_art_dir", type=Path, help="made by training/recipes/make_line_art.py --faces_dir")
    faces.add_argument("--faces_repeats", type=int, default=5, help="times each photo is seen in an epoch")

    validation = parser.add_argument_group("data: held out")
    validation.add_argument(
        "--num_validation_pairs",
        type=int,
        help="the last ones of the first --pairs_dir, or of the photos (default: a tenth, at most 500)",
    )
    validation.add_argument("--validation_dir", type=Path, help="a folder of pairs or of photos instead")
    validation.add_argument("--validation_source_dir", type=Path, help="what goes in, for --validation_dir")
    validation.add_argument("--validation_split", help="of --dataset_name, instead")
    parser.add_argument("--dataloader_num_workers", type=int, default=1)


def check_data_arguments(args: argparse.Namespace) -> None:
    """Raise a ValueError where flags of the data do not fit together."""
    if args.pairs_dir and args.generated_pairs:
        raise ValueError("--pairs_dir and --generated_pairs exclude each other")
    if args.target_dir and args.dataset_name:
        raise ValueError("--target_dir and --dataset_name exclude each other")
    if not (args.pairs_dir or args.generated_pairs or args.target_dir or args.dataset_name):
        raise ValueError("no data: expected --pairs_dir, --generated_pairs, --target_dir or --dataset_name")
    if args.faces_dir and not (args.pairs_dir or args.generated_pairs):
        raise ValueError("--faces_dir goes with --pairs_dir or --generated_pairs; photos alone are --target_dir")
    if args.photo_repeats != 1 and not (args.pairs_dir or args.generated_pairs):
        raise ValueError("--photo_repeats is for photos beside --pairs_dir or --generated_pairs")
    if args.faces_dir and not (args.identity_net and args.recogniser):
        raise ValueError("--faces_dir needs --identity_net and --recogniser: photos have no w to learn from")
    if args.source_dir and not args.target_dir:
        raise ValueError("--source_dir needs --target_dir")
    if args.source_column and not args.dataset_name:
        raise ValueError("--source_column needs --dataset_name")
    if args.validation_split and not args.dataset_name:
        raise ValueError("--validation_split needs --dataset_name")
    if args.validation_source_dir and not args.validation_dir:
        raise ValueError("--validation_source_dir needs --validation_dir")
    given = [args.num_validation_pairs is not None, bool(args.validation_dir), bool(args.validation_split)]
    if sum(given) > 1:
        raise ValueError("--num_validation_pairs, --validation_dir and --validation_split exclude each other")
    for name in ("line_art_repeats", "photo_repeats", "faces_repeats"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}, expected 1 or more")
    for name in ("color_jitter", "frame_jitter", "relit_pairs"):
        if not 0 <= getattr(args, name) <= 1:
            raise ValueError(f"--{name} is {getattr(args, name)}, expected 0 to 1")
    for name in ("color_jitter", "frame_jitter"):
        if getattr(args, name) and (args.source_dir or args.source_column):
            raise ValueError(f"--{name} is for sources made from their targets: stored ones stay as they are")
    if args.relit_pairs and not args.color_jitter:
        raise ValueError("--relit_pairs needs --color_jitter: how much their colours and light change")
