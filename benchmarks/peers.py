"""What others do with the same weights, for `benchmarks/benchmark.py` to compare with."""

import importlib.metadata
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.generators.fetch import DISTRIBUTION
from psp_hub.generators.mapping import LEAKY_SLOPE
from psp_hub.generators.stylegan2 import StyledConv, StyleGAN2, ToRGB

Draw = Callable[[Tensor], Tensor]


def wheel_files(wheel: Path | None, folder: Path) -> Path:
    """The folder that has the networks of the wheel random-face: unpacked into `folder`, or as installed.

    Raises:
        ValueError: no wheel is given, and it is not installed.
    """
    if wheel is not None:
        with zipfile.ZipFile(wheel) as file:
            file.extractall(folder)
        return folder / "random_face" / "data"
    try:
        return Path(str(importlib.metadata.distribution(DISTRIBUTION).locate_file("")), "random_face", "data")
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(f"pip download --no-deps {DISTRIBUTION}, and name the file with --wheel") from error


def openvino_mobile_stylegan(wheel: Path | None, precision: str, threads: int) -> Draw:
    """OpenVINO's own reading of the network that `mobilestylegan-ffhq` is converted from: w [1, 512] -> image.

    Raises:
        ValueError: OpenVINO or the network is not there.
    """
    try:
        import openvino
    except ImportError as error:
        raise ValueError("OpenVINO is not installed (pip install openvino)") from error
    with tempfile.TemporaryDirectory() as folder:
        network = openvino.Core().read_model(wheel_files(wheel, Path(folder)) / "SynthesisNetwork.xml")
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.Core().compile_model(network, "CPU", options | {"INFERENCE_PRECISION_HINT": precision})
    request = compiled.create_infer_request()
    return lambda w: torch.from_numpy(next(iter(request.infer({0: w.numpy()}).values())))


def original_stylegan2(generator: StyleGAN2) -> Draw:
    """The operations of the original's code on our weights: ws [N, num_ws, w_dim] -> images [N, 3, R, R].

    Weights are modulated for each picture and run as groups of one convolution; the filters of its upsampling are
    convolutions of single channels, after padding and inserting zeros (StyleGAN2's code, without compiled operations).
    """
    network = generator.synthesis

    def draw(ws: Tensor) -> Tensor:
        x = original_conv(network.const.repeat(len(ws), 1, 1, 1), network.conv, ws[:, 0])
        image = original_to_rgb(x, network.to_rgb, ws[:, 1])
        for i, block in enumerate(network.blocks):
            x = original_conv(x, block.conv0, ws[:, 2 * i + 1])
            x = original_conv(x, block.conv1, ws[:, 2 * i + 2])
            image = filtered(image, up=2, padding=(2, 1)) + original_to_rgb(x, block.to_rgb, ws[:, 2 * i + 3])
        return image

    return draw


def filtered(x: Tensor, up: int, padding: tuple[int, int]) -> Tensor:
    """[N, C, H, W]: zeros inserted, padded, convolved with (1, 3, 3, 1) / 4 along each axis."""
    n, c, height, width = x.shape
    x = x.reshape(-1, 1, height, 1, width, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(-1, 1, height * up, width * up)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).to(x) / 4
    x = F.conv2d(F.pad(x, (*padding, *padding)), torch.outer(taps, taps)[None, None])
    return x.reshape(n, c, *x.shape[2:])


def original_conv(x: Tensor, conv: StyledConv, w: Tensor) -> Tensor:
    n, c, height, width = x.shape
    weight = conv.weight.transpose(0, 1) if conv.up else conv.weight  # [C_out, C_in, 3, 3]
    weight = weight * conv.modulation(w).view(n, 1, c, 1, 1)  # [N, C_out, C_in, 3, 3]
    weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    x = x.reshape(1, n * c, height, width)
    if conv.up:
        x = F.conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=n)
        x = filtered(x.unflatten(1, (n, -1)).squeeze(0), up=1, padding=(1, 1))
    else:
        x = F.conv2d(x, weight.flatten(0, 1), padding=1, groups=n).unflatten(1, (n, -1)).squeeze(0)
    x = x + conv.noise_strength * conv.noise
    return F.leaky_relu(x + conv.bias[:, None, None], LEAKY_SLOPE) * 2**0.5


def original_to_rgb(x: Tensor, layer: ToRGB, w: Tensor) -> Tensor:
    n, c, height, width = x.shape
    weight = layer.weight[None] * layer.modulation(w).view(n, 1, c)  # [N, 3, C]
    x = F.conv2d(x.reshape(1, n * c, height, width), weight.reshape(3 * n, c, 1, 1), groups=n)
    return x.reshape(n, 3, height, width) + layer.bias[:, None, None]
