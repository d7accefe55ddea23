"""Names of the original pSp's tensors, and what becomes of each here.

Every function takes a name of ours and tells which tensor of the original holds it. The equalised layers of the
original multiply their weights by a constant at run time; here the product is stored.
"""

import re
from collections.abc import Callable, Collection, Mapping

from torch import Tensor

# What wraps a network, or a part of one, under a name of its own: several GPUs, a compiled network, sharded weights.
WRAPPERS = {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


def unwrapped(tensors: Mapping[str, Tensor], known: Collection[str]) -> dict[str, Tensor]:
    """The same tensors by the names that they had before their network was wrapped.

    Args:
        known: how the names of the network itself begin. What stands before that in every name, such as `model.`, is
            left out, too.

    Raises:
        ValueError: two tensors of one name.
    """
    parts = {name: [part for part in name.split(".") if part not in WRAPPERS] for name in tensors}
    stop = {None, *known}
    while len(first := {found[0] if found else None for found in parts.values()}) == 1 and not first & stop:
        parts = {name: found[1:] for name, found in parts.items()}
    named: dict[str, str] = {}
    for name, found in parts.items():
        if (other := named.setdefault(".".join(found), name)) != name:
            raise ValueError(f"{other} and {name} are the same tensor's name, apart from what wraps it")
    return {new: tensors[name] for new, name in named.items()}


TRUNK = {"shortcut": "shortcut_layer", "residual": "res_layer"}
LATERALS = {"lateral_medium": "latlayer1", "lateral_fine": "latlayer2"}
HEADS = [  # pattern of ours, the original's, is its weight equalised?
    (r"heads\.map2style\.(\d+)\.0\.(convs\..+)", r"styles.\1.\2", False),
    (r"heads\.map2style\.(\d+)\.1\.(.+)", r"styles.\1.linear.\2", True),
    (r"heads\.norm\.(.+)", r"output_layer_2.0.\1", False),
    (r"heads\.to_vector\.(.+)", r"output_layer_2.3.\1", False),
    (r"heads\.linear\.(.+)", r"linear.\1", True),
]


def trunk_key(name: str, depths: tuple[int, ...]) -> str:
    """`stages.1.2.residual.4.weight` -> `body.5.res_layer.4.weight`; the stem is `input_layer`.

    Args:
        depths: blocks of each stage.
    """
    if name.startswith("stem."):
        return "input_layer." + name.removeprefix("stem.")
    _, stage, block, part, rest = name.split(".", 4)
    return f"body.{sum(depths[: int(stage)]) + int(block)}.{TRUNK[part]}.{rest}"


def encoder_key(name: str, depths: tuple[int, ...]) -> tuple[str, bool]:
    """The original's name of one of the encoder's tensors, and whether it is the weight of an equalised layer."""
    if name.startswith("trunk."):
        return trunk_key(name.removeprefix("trunk."), depths), False
    part, _, rest = name.partition(".")
    if part in LATERALS:
        return f"{LATERALS[part]}.{rest}", False
    for pattern, replacement, equalised in HEADS:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name), equalised and name.endswith("weight")
    raise KeyError(name)


def equalise(weight: Tensor, lr_mul: float = 1.0) -> Tensor:
    """What an equalised layer of the original multiplies its input by: weight / sqrt(fan in) * lr_mul."""
    return weight * (lr_mul * weight[0].numel() ** -0.5)


LAYERS = [  # pattern of ours, the original's; {} is a number made of the block's
    (r"synthesis\.conv\.", "conv1."),
    (r"synthesis\.to_rgb\.", "to_rgb1."),
    (r"synthesis\.blocks\.(\d+)\.conv0\.", "convs.{even}."),
    (r"synthesis\.blocks\.(\d+)\.conv1\.", "convs.{odd}."),
    (r"synthesis\.blocks\.(\d+)\.to_rgb\.", "to_rgbs.{block}."),
]


def decoder_key(name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """The original's name of one of StyleGAN2's tensors, and what turns its tensor into ours.

    The average style is not a tensor of the original's generator; it is called `w_avg` here.
    """
    if match := re.fullmatch(r"mapping\.layers\.(\d+)\.(weight|bias)", name):
        key = f"style.{int(match[1]) + 1}.{match[2]}"
        return key, (lambda t: equalise(t, 0.01)) if match[2] == "weight" else (lambda t: t * 0.01)
    if name in ("mapping.w_avg", "synthesis.const"):
        return {"mapping.w_avg": "w_avg", "synthesis.const": "input.input"}[name], Tensor.float
    for pattern, replacement in LAYERS:
        if match := re.match(pattern, name):
            block = int(match[1]) if match.groups() else -1
            layer = replacement.format(block=block, even=2 * block, odd=2 * block + 1)
            return _decoder_layer(layer, name[match.end() :], block, "conv0" in name)
    raise KeyError(name)


def _decoder_layer(layer: str, rest: str, block: int, up: bool) -> tuple[str, Callable[[Tensor], Tensor]]:
    """One tensor of a convolution or of a colour layer; `up` if it doubles the size."""
    is_rgb = layer.startswith("to_rgb")
    if rest == "noise":
        return f"noises.noise_{2 * block + (1 if up else 2)}", Tensor.float  # block -1 is the one at 4 px
    if rest == "weight" and is_rgb:
        return f"{layer}conv.weight", lambda t: equalise(t[0]).flatten(1)  # [1, 3, C, 1, 1] -> [3, C]
    if rest == "weight":
        return f"{layer}conv.weight", lambda t: equalise(t[0]).transpose(0, 1).contiguous() if up else equalise(t[0])
    others: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
        "modulation.weight": (f"{layer}conv.modulation.weight", equalise),
        "modulation.bias": (f"{layer}conv.modulation.bias", Tensor.float),
        "bias": (f"{layer}bias" if is_rgb else f"{layer}activate.bias", Tensor.flatten),
        "noise_strength": (f"{layer}noise.weight", lambda t: t.reshape(())),
    }
    return others[rest]


NVIDIA_LAYER: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "weight": ("conv.weight", lambda t: t[None]),
    "affine.weight": ("conv.modulation.weight", lambda t: t),
    "affine.bias": ("conv.modulation.bias", lambda t: t),
    "noise_strength": ("noise.weight", lambda t: t[None]),
}


def from_nvidia(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
    """Tensors of StyleGAN2-ADA's generator under the names of `decoder.*`, and `w_avg`.

    Names without a place there are kept, to be refused later.
    """
    state = dict(tensors)
    w_avg = state.pop("mapping.w_avg", None)
    for name in tensors:
        if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
            state[f"style.{int(match[1]) + 1}.{match[2]}"] = state.pop(name)
        elif name == "synthesis.b4.const":
            state["input.input"] = state.pop(name)[None]
        elif name.endswith("resample_filter"):  # normalised; the gain of upsampling is 4
            state[name.replace("resample_filter", "kernel")] = state.pop(name) * 4
        elif match := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)", name):
            level, layer, rest = int(match[1]).bit_length() - 4, match[2], match[3]  # level 0 is 8 px
            if layer == "torgb":
                target = "to_rgb1" if level < 0 else f"to_rgbs.{level}"
            else:
                index = 2 * level + int(layer[-1])
                target = "conv1" if level < 0 else f"convs.{index}"
            if rest == "noise_const":
                state[f"noises.noise_{0 if level < 0 else index + 1}"] = state.pop(name)[None, None]
            elif rest == "bias":
                bias = state.pop(name)
                key = "bias" if layer == "torgb" else "activate.bias"
                state[f"{target}.{key}"] = bias[None, :, None, None] if layer == "torgb" else bias
            elif rest in NVIDIA_LAYER:
                key, reshape = NVIDIA_LAYER[rest]
                state[f"{target}.{key}"] = reshape(state.pop(name))
    return state, w_avg
