"""Networks of the original without weights, of the sizes that its tensors have; and filling them with these."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from psp_hub.encoder import PSPEncoder
from psp_hub.generators.base import Generator
from psp_hub.generators.stylegan2 import RESOLUTIONS, StyleGAN2, default_channels
from psp_hub.hub.components import Component

INPUT_KINDS = {1: "drawing", 3: "photo", 19: "labels"}  # by channels


def build_encoder(
    tensors: Mapping[str, Tensor], generator: Generator, options: Mapping[str, Any]
) -> tuple[PSPEncoder, str]:
    """An encoder without weights, of the sizes of `tensors`, and its name in the original.

    Raises:
        ValueError: an encoder that this project does not have.
    """
    try:
        stem = tensors["input_layer.0.weight"]
        widths = [tensors[f"body.{i}.res_layer.1.weight"].shape[0] for i in range(count(tensors, r"body\.(\d+)\."))]
    except KeyError as error:
        raise ValueError(f"the encoder has no tensor {error.args[0]}, expected an IR or IR-SE trunk") from None
    stage_widths = tuple(dict.fromkeys(widths))
    num_styles = count(tensors, r"styles\.(\d+)\.")
    if num_styles:
        head = "e4e" if options.get("encoder_type") == "Encoder4Editing" else "psp"
        found = "Encoder4Editing" if head == "e4e" else "GradualStyleEncoder"
        if "latlayer1.weight" not in tensors:
            raise ValueError("the encoder has no pyramid (latlayer1): ReStyle checkpoints cannot be converted")
    elif "output_layer_2.0.weight" in tensors:
        head, found = "naive_w_plus", "BackboneEncoderUsingLastLayerIntoWPlus"
        num_styles = tensors["linear.weight"].shape[0] // tensors["linear.weight"].shape[1]
    else:
        head, found, num_styles = "w", "BackboneEncoderUsingLastLayerIntoW", generator.num_ws
    if stem.shape[1] not in INPUT_KINDS:
        raise ValueError(
            f"the encoder takes {stem.shape[1]} channels, expected 1, 3 or 19 (6: ReStyle, not supported)"
        )
    if num_styles != generator.num_ws:
        raise ValueError(f"the encoder writes {num_styles} styles, the generator expects {generator.num_ws}")
    with torch.device("meta"):
        encoder = PSPEncoder(
            in_channels=stem.shape[1],
            num_ws=num_styles,
            w_dim=generator.w_dim,
            stem_width=stem.shape[0],
            stem_stride=1,
            stage_widths=stage_widths,
            stage_depths=tuple(widths.count(width) for width in stage_widths),
            stage_strides=(2,) * len(stage_widths),
            pyramid_width=stage_widths[-1],
            head_widths=(stage_widths[-1],) * 3,
            activation="prelu",
            squeeze_excitation="body.0.res_layer.5.fc1.weight" in tensors,
            head=head,
        )
    return encoder, found


def build_generator(tensors: Mapping[str, Tensor]) -> tuple[StyleGAN2, str]:
    """A generator without weights, of the sizes of `tensors`, and how wide it is, in words.

    Raises:
        ValueError: a generator that this project does not have.
    """
    refuse_other_generators(tensors)
    try:
        w_dim = tensors["style.1.weight"].shape[1]
        num_convs = count(tensors, r"convs\.(\d+)\.")
        first = tensors["input.input"].shape[1]
        channels = [first, *(tensors[f"convs.{i}.conv.weight"].shape[1] for i in range(0, num_convs, 2))]
    except KeyError as error:
        raise ValueError(f"the generator has no tensor {error.args[0]}, expected StyleGAN2") from None
    resolution = 4 * 2 ** (num_convs // 2)
    if resolution not in RESOLUTIONS:
        raise ValueError(
            f"the generator draws {resolution} pixels, expected one of {', '.join(map(str, RESOLUTIONS))}"
        )
    # 16 * multiplier channels at 1024 px, twice as many at half the size, but never more than the most.
    multiplier = 2 if channels[-1] == first else max(1, channels[-1] * resolution // 2**14)
    plain = channels == default_channels(resolution, multiplier, first)
    with torch.device("meta"):
        generator = StyleGAN2(
            resolution=resolution,
            channel_multiplier=multiplier,
            w_dim=w_dim,
            mapping_layers=count(tensors, r"style\.(\d+)\.") - 1,
            max_channels=first,
            channels=None if plain else channels,
        )
    return generator, f"channel multiplier {multiplier}" if plain else f"{', '.join(map(str, channels))} channels"


def refuse_other_generators(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError, with its name, if it is a relative of StyleGAN2 that cannot be converted."""
    if "mapping.embed.weight" in tensors:
        raise ValueError(
            f"the generator is class-conditional ({tensors['mapping.embed.weight'].shape[-1]} classes), expected one "
            "without classes: encoders of this project do not know classes"
        )
    if any(name.startswith("synthesis.input.") for name in tensors):
        raise ValueError("the generator is a StyleGAN3, expected a StyleGAN2: only that can be converted")
    if any(re.match(r"(generator\.)?(progression|g_mapping|synthesis\.blocks)\.", name) for name in tensors):
        raise ValueError(
            "the generator is a StyleGAN, the first version; expected a StyleGAN2: only that can be converted"
        )


def count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the largest number that `pattern` finds at the start of a name; 0 if it finds none.

    Raises:
        ValueError: there are not that many tensors.
    """
    found = (re.match(pattern, name) for name in tensors)
    number = max((int(match[1][:9]) for match in found if match), default=-1) + 1
    if number > len(tensors):
        raise ValueError(f"a tensor has the number {number - 1}, but there are only {len(tensors)} tensors")
    return number


def transfer(
    module: Component,
    tensors: Mapping[str, Tensor],
    place: Callable[[str], tuple[str, Callable[[Tensor], Tensor]]],
    prefix: str,
) -> int:
    """Fill a module on the meta device; every tensor is used once, or it is an error.

    Args:
        place: our name -> name in `tensors`, and what turns that tensor into ours.
        prefix: of the names in messages.

    Returns:
        How many tensors were used.

    Raises:
        ValueError: tensors that are missing, left over or of another shape.
    """
    values, missing, wrong, odd, used = {}, [], [], [], set()
    for name, expected in module.state_dict().items():
        key, transform = place(name)
        if key not in tensors:
            missing.append(key)
            continue
        used.add(key)
        try:
            value = tensors[key] if name.endswith("num_batches_tracked") else transform(tensors[key].float())
        except (IndexError, RuntimeError):  # too few dimensions to be turned
            value = tensors[key]
        if value.shape != expected.shape:
            wrong.append(f"{key} {tuple(tensors[key].shape)} for {tuple(expected.shape)}")
        elif not value.isfinite().all():
            odd.append(key)
        values[name] = value
    problems = {"missing": missing, "of another shape": wrong, "with values that are no numbers": odd}
    problems["without a place"] = sorted(set(tensors) - used)
    if found := [
        f"{len(names)} {kind} ({', '.join(prefix + name for name in names[:4])}{', ...' if len(names) > 4 else ''})"
        for kind, names in problems.items()
        if names
    ]:
        raise ValueError(f"the tensors do not fit {type(module).__name__}: {'; '.join(found)}")
    module.load_state_dict(values, strict=True, assign=True)
    return len(used)


@torch.no_grad()
def shift_styles(encoder: PSPEncoder, offset: Tensor) -> None:
    """Add `offset` [num_ws, w_dim] to all that the encoder writes, in the biases of its last layers."""
    heads: Any = encoder.heads
    if encoder.config.head in ("psp", "e4e"):
        if encoder.config.head == "e4e":  # the first style is in all the others
            offset = torch.cat([offset[:1], offset[1:] - offset[:1]])
        for head, row in zip(heads.map2style, offset, strict=True):
            head[1].bias = nn.Parameter(head[1].bias + row)
    elif encoder.config.head == "naive_w_plus":
        heads.linear.bias = nn.Parameter(heads.linear.bias + offset.flatten())
    else:
        if not torch.equal(offset, offset[:1].expand_as(offset)):
            raise ValueError("latent_avg differs between the layers, expected one row for an encoder into W")
        heads.linear.bias = nn.Parameter(heads.linear.bias + offset[0])
