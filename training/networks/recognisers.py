"""The two face-recognition networks of this project, told apart by the names of their tensors."""

from pathlib import Path

from training.networks.arcface import ArcFace
from training.networks.frozen import freeze
from training.networks.mobilefacenet import FaceRecogniser
from training.networks.weights import find_weights, read_weights

Recogniser = ArcFace | FaceRecogniser


def load_recogniser(name: str | Path) -> Recogniser:
    """A frozen network whose `embed` turns aligned faces [N, 3, 256, 256] in [-1, 1] into unit vectors [N, D].

    Args:
        name: safetensors or `.pth`, on this machine or `owner/name/file` on the Hub, with the weights of ArcFace
            IR-SE50 (`model_ir_se50.pth` of pSp, or our own names) or of MobileFaceNet.

    Raises:
        ValueError: no such file, a damaged one, or weights of another network.
        OSError: it cannot be downloaded.
    """
    path = find_weights(name)
    state = read_weights(path)
    try:
        if "input_layer.0.weight" in state:
            network = ArcFace()
            network.load_original(state)
        elif "trunk.stem.0.weight" in state or "conv1.conv.weight" in state:
            network = ArcFace() if "trunk.stem.0.weight" in state else FaceRecogniser()
            network.load_state_dict(state, strict=True)
        else:
            raise ValueError(f"it begins with {sorted(state)[:3]}, expected ArcFace IR-SE50 or MobileFaceNet")
    except (ValueError, RuntimeError) as error:  # load_state_dict raises RuntimeError
        reason = " ".join(str(error).split())
        raise ValueError(f"{name} is not a face recogniser of this project: {reason}") from error
    return freeze(network)
