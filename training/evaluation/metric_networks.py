"""The frozen networks that figures are read with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from psp_hub.face_parser import FaceParser
from psp_hub.hub.components import load_component
from training.networks.perceptual import PerceptualDistance, find_trunk
from training.networks.recognisers import Recogniser, load_recogniser
from training.settings.evaluation import MetricNetworkSettings


@dataclass(frozen=True)
class MetricNetworks:
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


def load_metric_networks(settings: MetricNetworkSettings, device: str | torch.device = "cpu") -> MetricNetworks:
    """Load the networks that the settings name.

    Raises:
        ValueError: a file that is missing, damaged or of another network.
        OSError: one that cannot be downloaded.
    """
    names, distances, recogniser, parser, features, features_of = {}, {}, None, None, None, ""
    if settings.recogniser:
        recogniser = load_recogniser(settings.recogniser).to(device)
        names["recogniser"] = Path(settings.recogniser).name
    if settings.lpips_net:
        trunk = find_trunk(settings.lpips_net, settings.lpips_trunk)
        distances["lpips"] = PerceptualDistance(trunk, settings.lpips_net, weighted=True).to(device)
        names["lpips"] = f"{settings.lpips_net}, {trunk.name}"
    if settings.edge_detector:
        distances["perceptual"] = PerceptualDistance(settings.edge_detector).to(device)
        names["perceptual"] = f"vgg, {settings.edge_detector.name}"
    if settings.parser:
        parser = load_component(FaceParser, settings.parser, torch.float32).to(device).requires_grad_(False)
        names["parser"] = settings.parser.name
    if settings.frechet_net == "recogniser":
        features, features_of = recogniser.embed, names["recogniser"]
    elif settings.frechet_net == "trunk":
        name = next(iter(distances))
        features, features_of = last_layer(distances[name]), names[name]
    return MetricNetworks(names, recogniser, distances, parser, features, features_of)


def last_layer(distance: PerceptualDistance) -> Callable[[Tensor], Tensor]:
    """Function: pictures [N, 3, 256, 256] -> the trunk's last features, averaged over the pixels, [N, D]."""
    return lambda images: distance.features(images)[-1].mean(dim=(2, 3))
