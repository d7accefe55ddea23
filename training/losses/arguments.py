"""Which losses a run has: their flags, their defaults, and the networks that they need."""

import argparse
from pathlib import Path

from psp_hub.model import PSPModel
from psp_hub.tasks import TaskSpec
from training.losses.identity import IdentityLoss, StyleIdentityLoss
from training.losses.layout import LayoutLoss
from training.losses.total import TrainingLosses
from training.losses.w_error import WError
from training.networks.identity import IdentityFromW
from training.networks.layout import LayoutHead
from training.networks.perceptual import TRUNKS, PerceptualDistance, find_trunk
from training.networks.recognisers import load_recogniser
from training.networks.small_generator import SmallSynthesis

WEIGHT_HELP = {
    "w": "squared error of the styles, for pairs that have w",
    "l2": "mean squared error of the picture at 256 px, in [-1, 1]",
    "lpips": "LPIPS, or the perceptual distance with --lpips_unweighted",
    "id": "1 - cosine of the face recogniser's vectors",
    "w_norm": "distance of the styles from w_avg",
    "l2_crop": "l2 of the face alone",
    "lpips_crop": "LPIPS of the face alone",
}


def add_loss_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the losses, read by `build_losses`."""
    group = parser.add_argument_group(
        "losses",
        "weights: 0 leaves a loss out; by default the paper's for the task, or w alone for pairs with known w",
    )
    for name, text in WEIGHT_HELP.items():
        group.add_argument(f"--{name}_weight", type=weight, metavar="WEIGHT", help=text)
    group.add_argument("--lpips_net", choices=list(TRUNKS), default="alex", help="the trunk of LPIPS")
    group.add_argument(
        "--lpips_trunk",
        metavar="FILE",
        help="its weights, here or owner/name/file on the Hub; by default torchvision's cache",
    )
    group.add_argument(
        "--lpips_unweighted",
        action="store_true",
        help="the trunk is not torchvision's (such as HED's VGG16): leave out the weights learned for that one; the "
        "distances are then larger, and want a smaller --lpips_weight",
    )
    group.add_argument("--recogniser", metavar="FILE", help="MobileFaceNet or ArcFace IR-SE50, safetensors or .pth")
    group.add_argument(
        "--id_contrast",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the identity losses: how much likeness to other faces of the batch counts against an answer, 0 to 1",
    )
    group.add_argument(
        "--identity_net", type=Path, help="made by training/recipes/fit_identity.py; adds an identity loss"
    )
    group.add_argument("--identity_weight", type=weight, default=0.3)
    group.add_argument(
        "--layout_net", type=Path, help="made by training/recipes/fit_layout.py; adds a loss of the label map's parts"
    )
    group.add_argument("--layout_weight", type=weight, default=1.0)
    group.add_argument("--layout_share", type=float, default=0.5, help="of a batch that this loss looks at")
    group.add_argument(
        "--gradient_checkpointing",
        action="store_true",
        help="draw each block of the generator twice rather than remember it: less memory, more time",
    )
    group.add_argument(
        "--decode_batch_size",
        type=int,
        metavar="N",
        help="pictures drawn at once for the losses; fewer need less memory, and the result is the same",
    )
    group.add_argument(
        "--decode_net",
        type=Path,
        help="of fit_small_generator.py: draws small pictures for the losses, in a fraction of the time",
    )
    group.add_argument(
        "--decode_precision",
        choices=["no", "bf16"],
        default="no",
        help="of what the losses let the generator draw",
    )


def weight(text: str) -> float:
    """A weight from the command line, 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a weight, expected 0 or more")
    return value


def loss_weights(args: argparse.Namespace, task: TaskSpec) -> dict[str, float]:
    """The weight of each loss that the run has.

    Raises:
        ValueError: it has none.
    """
    has_pairs = bool(getattr(args, "pairs_dir", None) or getattr(args, "generated_pairs", None))
    row = {"w": task.loss_weights.get("w", 1.0)} if has_pairs else {**task.loss_weights, "w": 0.0}
    given = {name: getattr(args, f"{name}_weight") for name in WEIGHT_HELP}
    weights = {name: row.get(name, 0.0) if value is None else value for name, value in given.items()}
    if args.identity_net:
        weights["identity"] = args.identity_weight
    if args.layout_net:
        if task.source != "labels":
            raise ValueError("--layout_net is for tasks whose input is a label map")
        weights["layout"] = args.layout_weight
    weights = {name: value for name, value in weights.items() if value > 0}
    if not weights:
        raise ValueError("all loss weights are 0, expected one above 0")
    if "w" in weights and not has_pairs:
        raise ValueError("--w_weight needs pairs with known w: --pairs_dir or --generated_pairs")
    return weights


def build_losses(args: argparse.Namespace, task: TaskSpec, model: PSPModel) -> TrainingLosses:
    """The losses of a run, with their frozen networks, on the device of the model.

    Raises:
        ValueError: no loss, or a network's file is missing, damaged or of another network.
        OSError: a file cannot be downloaded.
    """
    if args.decode_batch_size is not None and args.decode_batch_size < 1:
        raise ValueError(f"--decode_batch_size is {args.decode_batch_size}, expected 1 or more")
    weights, generator = loss_weights(args, task), model.generator
    networks = {}
    if "w" in weights:
        networks["w_error"] = WError(generator)
    if {"lpips", "lpips_crop"} & weights.keys():
        trunk = find_trunk(args.lpips_net, args.lpips_trunk)
        networks["distance"] = PerceptualDistance(trunk, args.lpips_net, weighted=not args.lpips_unweighted)
    if "id" in weights:
        if not args.recogniser:
            raise ValueError("the identity loss needs --recogniser FILE; or leave it out with --id_weight 0")
        networks["identity"] = IdentityLoss(load_recogniser(args.recogniser), args.id_contrast)
    if "identity" in weights:
        network = IdentityFromW.from_file(args.identity_net)
        networks["style_identity"] = StyleIdentityLoss(network, generator.w_avg, args.id_contrast)
    if "layout" in weights:
        networks["layout"] = LayoutLoss(LayoutHead.from_file(args.layout_net), args.layout_share)
    drawing = {"bf16": args.decode_precision == "bf16", "decode_batch_size": args.decode_batch_size}
    if args.decode_net:
        drawing["small"] = SmallSynthesis.from_file(args.decode_net, generator)
    losses = TrainingLosses(generator, weights, **networks, **drawing).to(model.device)
    if args.gradient_checkpointing and losses.needs_images:
        generator.enable_gradient_checkpointing()
    return losses
