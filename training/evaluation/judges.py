"""The frozen networks that figures are read with, and their flags."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from psp_hub.face_parser import FaceParser
from psp_hub.hub.components import load_component
from training.networks.perceptual import TRUNKS, PerceptualDistance, find_trunk
from training.networks.recognisers import Recogniser, load_recogniser


@dataclass(frozen=True)
class Judges:
    """A figure whose network is missing is left out.

    Args:
        names: of the networks, by what they serve for; for the report.
        recogniser: for identities.
        distances: perceptual ones, by the name of their figure.
        parser: for label maps.
        features: pictures [N, 3, 256, 256] -> [N, D], for the Fréchet distance ...
        features_of: ... and the name of their network.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    recogniser: Recogniser | None = None
    distances: Mapping[str, PerceptualDistance] = field(default_factory=dict)
    parser: FaceParser | None = None
    features: Callable[[Tensor], Tensor] | None = None
    features_of: str = ""


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the networks, read by `load_judges`."""
    group = parser.add_argument_group("networks of the figures", "a figure without its network is left out")
    group.add_argument("--recogniser", metavar="FILE", help="MobileFaceNet or ArcFace IR-SE50: identities")
    group.add_argument("--edge_detector", type=Path, metavar="FILE", help="HED: perceptual distance, lines to draw")
    group.add_argument("--lpips_net", choices=list(TRUNKS), help="LPIPS with this trunk")
    group.add_argument("--lpips_trunk", metavar="FILE", help="its weights, by default those in torchvision's cache")
    group.add_argument(
        "--parser",
        type=Path,
        metavar="FOLDER",
        help="face parser, by default the one that ships: label maps and how well they are kept",
    )
    group.add_argument("--frechet_net", choices=["recogniser", "trunk"], help="Fréchet distance of its features")


def problem_with_judges(args: argparse.Namespace) -> str | None:
    """What is wrong with the flags, if something is."""
    if args.frechet_net == "recogniser" and not args.recogniser:
        return "--frechet_net recogniser needs --recogniser"
    if args.frechet_net == "trunk" and not (args.lpips_net or args.edge_detector):
        return "--frechet_net trunk needs --lpips_net or --edge_detector"
    if args.lpips_trunk and not args.lpips_net:
        return f"--lpips_trunk needs --lpips_net, one of {', '.join(TRUNKS)}"
    return None


def load_judges(args: argparse.Namespace, device: str | torch.device = "cpu") -> Judges:
    """Load the networks that the flags name.

    Raises:
        ValueError: a file that is missing, damaged or of another network.
        OSError: one that cannot be downloaded.
    """
    names, distances, recogniser, parser, features, features_of = {}, {}, None, None, None, ""
    if args.recogniser:
        recogniser = load_recogniser(args.recogniser).to(device)
        names["recogniser"] = Path(args.recogniser).name
    if args.lpips_net:
        trunk = find_trunk(args.lpips_net, args.lpips_trunk)
        distances["lpips"] = PerceptualDistance(trunk, args.lpips_net, weighted=True).to(device)
        names["lpips"] = f"{args.lpips_net}, {trunk.name}"
    if args.edge_detector:
        distances["perceptual"] = PerceptualDistance(args.edge_detector).to(device)
        names["perceptual"] = f"vgg, {args.edge_detector.name}"
    if args.parser:
        parser = load_component(FaceParser, args.parser, torch.float32).to(device).requires_grad_(False)
        names["parser"] = args.parser.name
    if args.frechet_net == "recogniser":
        features, features_of = recogniser.embed, names["recogniser"]
    elif args.frechet_net == "trunk":
        name = next(iter(distances))
        features, features_of = last_layer(distances[name]), names[name]
    return Judges(names, recogniser, distances, parser, features, features_of)


def last_layer(distance: PerceptualDistance) -> Callable[[Tensor], Tensor]:
    """Function: pictures [N, 3, 256, 256] -> the trunk's last features, averaged over the pixels, [N, D]."""
    return lambda images: distance.features(images)[-1].mean(dim=(2, 3))
