"""Small checkpoint files in the formats of other projects, made from our modules by name."""

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from psp_hub.conversion.original_names import decoder_key, encoder_key
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.generators.stylegan2 import StyleGAN2
from tests.golden_weights import BLUR_KERNEL, fill

TRUNK = {"stem_width": 16, "stage_widths": (16, 24, 32, 48), "stage_depths": (1, 1, 2, 1)}
WIDTH, W_DIM, RESOLUTION, NUM_WS = 48, 48, 64, 10


def tiny_psp_state(head: str = "psp", channels: int = 1, squeeze_excitation: bool = True) -> dict[str, Tensor]:
    """`state_dict` of a tiny pSp at 64 px, with the names and shapes of the original."""
    sizes = PSP | TRUNK | {"pyramid_width": WIDTH, "head_widths": (WIDTH,) * 3, "head": head}
    with torch.device("meta"):
        encoder = PSPEncoder(
            in_channels=channels, num_ws=NUM_WS, w_dim=W_DIM, squeeze_excitation=squeeze_excitation, **sizes
        )
    state = {}
    for name, tensor in encoder.state_dict().items():
        key = f"encoder.{encoder_key(name, TRUNK['stage_depths'])[0]}"
        state[key] = fill(key, tensor.shape)
    return state | {f"decoder.{key}": tensor for key, tensor in tiny_generator_state().items()}


def tiny_generator_state(mapping_layers: int = 3, channels: Sequence[int] | None = None) -> dict[str, Tensor]:
    """`g_ema` of a tiny StyleGAN2 at 64 px."""
    with torch.device("meta"):
        sizes = {"mapping_layers": mapping_layers, "max_channels": 24, "channels": channels}
        generator = StyleGAN2(RESOLUTION, w_dim=W_DIM, **sizes)
    state = {}
    for name, tensor in generator.state_dict().items():
        key = decoder_key(name)[0]
        if key == "w_avg":
            continue
        state[key] = fill(f"decoder.{key}", original_decoder_shape(name, tensor.shape))
    for level in range(4):
        state[f"convs.{2 * level}.conv.blur.kernel"] = BLUR_KERNEL.clone()
        state[f"to_rgbs.{level}.upsample.kernel"] = BLUR_KERNEL.clone()
    return state


def original_decoder_shape(name: str, shape: torch.Size) -> tuple[int, ...]:
    """Shape in the original of our tensor `name`, which has `shape`."""
    parts = name.split(".")
    if parts[-1] == "noise_strength":
        return (1,)
    if parts[0] == "mapping" or parts[-2] == "modulation" or parts[-1] in ("noise", "const"):
        return tuple(shape)
    if parts[-2] == "to_rgb":
        return (1, *shape, 1, 1) if parts[-1] == "weight" else (1, 3, 1, 1)
    if parts[-1] == "weight":
        return (1, shape[1], shape[0], 3, 3) if parts[-2] == "conv0" else (1, *shape)
    return tuple(shape)


def save(contents: Any, path: Path, legacy: bool = False) -> Path:
    torch.save(contents, path, _use_new_zipfile_serialization=not legacy)
    return path


def nvidia_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same generator under the names of StyleGAN2-ADA."""
    tensors = {"mapping.w_avg": torch.zeros(W_DIM) + 0.25}
    for key, tensor in state.items():
        parts = key.split(".")
        if parts[0] == "style":
            tensors[f"mapping.fc{int(parts[1]) - 1}.{parts[2]}"] = tensor
        elif key == "input.input":
            tensors["synthesis.b4.const"] = tensor[0]
        elif parts[0] == "noises":
            k = int(parts[1].split("_")[1])
            size = 4 if k == 0 else 8 * 2 ** ((k - 1) // 2)
            tensors[f"synthesis.b{size}.conv{1 if k == 0 else (k - 1) % 2}.noise_const"] = tensor[0, 0]
        else:
            tensors |= nvidia_layer(parts, tensor)
    return tensors


def nvidia_layer(parts: list[str], tensor: Tensor) -> dict[str, Tensor]:
    """One tensor of conv1, to_rgb1, convs.N or to_rgbs.N."""
    index = int(parts[1]) if parts[0] in ("convs", "to_rgbs") else -1
    rest = ".".join(parts[2:] if index >= 0 else parts[1:])
    if parts[0].startswith("to_rgb"):
        layer = f"synthesis.b{8 * 2**index if index >= 0 else 4}.torgb"
    else:
        layer = f"synthesis.b{8 * 2 ** (index // 2)}.conv{index % 2}" if index >= 0 else "synthesis.b4.conv1"
    names = {
        "conv.weight": ("weight", lambda t: t[0]),
        "conv.modulation.weight": ("affine.weight", lambda t: t),
        "conv.modulation.bias": ("affine.bias", lambda t: t),
        "activate.bias": ("bias", lambda t: t),
        "bias": ("bias", lambda t: t[0, :, 0, 0]),
        "noise.weight": ("noise_strength", lambda t: t[0]),
        "conv.blur.kernel": ("resample_filter", lambda t: t / 4),
        "upsample.kernel": ("resample_filter", lambda t: t / 4),
    }
    name, reshape = names[rest]
    return {f"{layer}.{name}": reshape(tensor)}


def save_nvidia(tensors: dict[str, Tensor], path: Path, extra: Any = None) -> Path:
    """A pickle as StyleGAN2-ADA writes it: networks are rebuilt from the source code that the file carries."""
    persistence = types.ModuleType("torch_utils.persistence")
    util = types.ModuleType("dnnlib.util")
    source = "raise SystemExit('the source code in the file was run')"

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("not in the reader's process")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    util.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})

    class Network:
        def __init__(self, name: str, state: dict):
            self.name, self.state = name, state

        def __reduce__(self):
            meta = {"type": "class", "version": 2, "module_src": source, "class_name": self.name, "state": self.state}
            return _reconstruct_persistent_obj, (meta,)

    def network(name: str, tensors: dict[str, Tensor]) -> Network:
        parameters, modules = OrderedDict(), {}
        for key, tensor in tensors.items():
            first, _, rest = key.partition(".")
            if rest:
                modules.setdefault(first, {})[rest] = tensor
            else:
                parameters[first] = nn.Parameter(tensor)
        children = OrderedDict((key, network(key, part)) for key, part in modules.items())
        state = {
            "training": False,
            "_parameters": parameters,
            "_buffers": OrderedDict(unused=None),
            "_modules": children,
            "_init_kwargs": util.EasyDict(c_dim=0),
            "weight_gain": torch.tensor(2.0).numpy()[()],
        }
        return Network(name, state)

    stubs = {"torch_utils": types.ModuleType("torch_utils"), "dnnlib": types.ModuleType("dnnlib")}
    stubs |= {"torch_utils.persistence": persistence, "dnnlib.util": util}
    sys.modules.update(stubs)
    try:
        contents = {"G": None, "D": None, "G_ema": network("Generator", tensors), "augment_pipe": None, "extra": extra}
        path.write_bytes(pickle.dumps(contents))
    finally:
        for name in stubs:
            del sys.modules[name]
    return path
