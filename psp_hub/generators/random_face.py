"""The embedded default: the MobileStyleGAN that the wheel random-face 2021.7.21.1 carries, as OpenVINO IR.

OpenVINO's format is an XML file (the graph, with the shape and offset of each constant) and a flat file of numbers.
Only the constants are read; the graph itself is `mobile_stylegan.py`.
"""

import re
from importlib.resources.abc import Traversable
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from psp_hub.generators.base import estimate_w_avg
from psp_hub.generators.mobile_stylegan import MobileStyleGAN


def read_constants(root: Traversable, network: str) -> dict[str, Tensor]:
    """All float constants of one network below `root`, by name, in the order of the graph."""
    data_folder = root / "random_face" / "data"
    graph = ElementTree.fromstring((data_folder / f"{network}.xml").read_bytes())
    data = (data_folder / f"{network}.bin").read_bytes()
    constants = {}
    for layer in graph.iterfind("./layers/layer[@type='Const']"):
        spec = layer.find("data[@element_type='f32']")
        if spec is None:
            continue
        shape = [int(size) for size in spec.attrib["shape"].split(",") if size.strip()]
        values = np.frombuffer(data, "<f4", count=int(np.prod(shape)), offset=int(spec.attrib["offset"]))
        constants[layer.attrib["name"]] = torch.from_numpy(values.reshape(shape).copy())
    return constants


def convert(root: Traversable) -> MobileStyleGAN:
    """Build the generator from the unpacked (or zipped) wheel at `root`, ready for use.

    Raises:
        ValueError: the two networks are not there, or not in the known layout.
    """
    generator = MobileStyleGAN()
    try:
        state = mapping_state(read_constants(root, "MappingNetwork"))
        state |= synthesis_state(read_constants(root, "SynthesisNetwork"))
        state["mapping.w_avg"] = torch.zeros(generator.w_dim)  # not in the wheel: estimated below
        generator.load_state_dict(state, strict=True)
    except (OSError, KeyError, ValueError, StopIteration, ElementTree.ParseError, RuntimeError) as error:
        raise ValueError(f"{root} does not hold the networks of random-face 2021.7.21.1: {error!r}") from error
    generator.mapping.w_avg.copy_(estimate_w_avg(generator))
    return generator.eval()


def mapping_state(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mapping network's weights come in pairs (512 x 512, 512), in order; its other constants are scalars."""
    tensors = [value for value in constants.values() if value.numel() > 1]
    return {f"mapping.layers.{i // 2}.{('weight', 'bias')[i % 2]}": value for i, value in enumerate(tensors)}


def synthesis_state(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the synthesis network's constants to the names of our module."""
    # Folding the demodulation renamed the pointwise kernels to Mul_*_copy, and tracing numbered the noise maps: both
    # are told apart by shape and taken in the order of the graph.
    kernels = iter(value for name, value in constants.items() if re.fullmatch(r"Mul_\d+_copy", name))
    noises = iter(v for v in constants.values() if v.ndim == 4 and v.shape[:2] == (1, 1) and v.shape[-1] > 1)
    state = {"synthesis.const": constants["m.input.input"]}
    convs = {"conv": "m.conv1"} | {f"blocks.{i}.conv{j}": f"m.layers.{i}.conv{j}" for i in range(7) for j in (1, 2)}
    for ours, theirs in convs.items():
        state |= modulation_state(constants, f"synthesis.{ours}.modulation", f"{theirs}.conv.modulation")
        if ours != "conv":
            state[f"synthesis.{ours}.depthwise.weight"] = constants[f"{theirs}.conv.weight_dw"].squeeze(1)
        state[f"synthesis.{ours}.conv.weight"] = next(kernels)
        state[f"synthesis.{ours}.conv.bias"] = constants[f"{theirs}.bias"].flatten()
        state[f"synthesis.{ours}.noise"] = next(noises)
    for i in range(7):
        state |= modulation_state(constants, f"synthesis.blocks.{i}.up", f"m.layers.{i}.up.modulation")
    to_img = "m.layers.6.to_img"
    state |= modulation_state(constants, "synthesis.to_img_modulation", f"{to_img}.conv.modulation")
    state["synthesis.to_img.weight"] = constants[f"{to_img}.conv.weight"]
    state["synthesis.to_img.bias"] = constants[f"{to_img}.bias"].flatten()
    return state


def modulation_state(constants: dict[str, Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    return {
        f"{ours}.weight": constants[f"{theirs}.weight"],
        f"{ours}.bias": constants[f"{theirs}.bias"].flatten(),
    }
