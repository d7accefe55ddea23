"""Checkpoints of the original pSp and its relatives -> models and generators of this project.

- pSp and e4e (`.pt` with `state_dict`, `opts` and, mostly, `latent_avg`): encoder and generator;
- StyleGAN2 in PyTorch (`.pt` with `g_ema`) and StyleGAN2-ADA (`.pkl` with `G_ema`): a generator.

Sizes come from the shapes of the tensors. Every tensor of the file must find its place and every place its tensor.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from psp_hub.config import GeneratorReference, PSPConfig
from psp_hub.conversion.original_names import decoder_key, encoder_key, equalise, from_nvidia
from psp_hub.conversion.safe_pickle import Persistent, read_nvidia_pickle, read_torch, state_dict_of
from psp_hub.encoder import PSPEncoder
from psp_hub.generators.base import W_AVG_SAMPLES, Generator, estimate_w_avg
from psp_hub.generators.stylegan2 import StyleGAN2
from psp_hub.hub.components import Component, save_component, staged
from psp_hub.model import PSPModel

KINDS = (
    "a pSp or e4e checkpoint (.pt with state_dict), a StyleGAN2 generator (.pt with g_ema) "
    "or a StyleGAN2-ADA pickle (.pkl with G_ema)"
)
# The name of a task in `opts` of the original, and here; the channels decide where the options are missing.
TASK_NAMES = {
    "ffhq_encode": "inversion",
    "ffhq_frontalize": "frontalization",
    "celebs_sketch_to_face": "sketch",
    "celebs_seg_to_face": "segmentation",
    "celebs_super_resolution": "super-resolution",
}
TASKS_BY_CHANNELS = {1: "sketch", 3: "inversion", 19: "segmentation"}
INPUT_KINDS = {1: "drawing", 3: "photo", 19: "labels"}


@dataclass
class Conversion:
    """What became of a file: a whole model, or a generator alone."""

    found: str
    generator: Generator
    model: PSPModel | None = None
    mapped: int = 0
    left: list[str] = field(default_factory=list)  # tensors that hold nothing to keep, and why
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        """What was found, mapped and left, for people."""
        lines = [f"found: {self.found}", f"mapped: {self.mapped} tensors"]
        lines += [f"left: {text}" for text in self.left or ["nothing"]]
        return "\n".join([*lines, *self.notes])

    def save(self, folder: str | Path) -> None:
        """Write the model or the generator: all of it or nothing.

        Raises:
            ValueError: the folder exists.
            OSError: it cannot be written.
        """
        folder = Path(folder)
        if folder.exists():
            raise ValueError(f"{folder} exists already; choose another name, or delete it first")
        if self.model:
            self.model.save_pretrained(folder)
        else:
            with staged(folder) as stage:
                save_component(self.generator, stage)


def convert(
    path: str | Path,
    generator: Generator | None = None,
    base_generator: str | GeneratorReference | None = None,
) -> Conversion:
    """Convert a checkpoint file.

    The new model gives the pictures of the old one. An average latent that differs from the generator's `w_avg`, or
    is missing, is made up for in the biases of the encoder's last layers.

    Args:
        path: the file.
        generator: use this one instead of the one in the file; the encoder must fit it.
        base_generator: how the saved model refers to it (see `PSPConfig`).

    Raises:
        ValueError: no such file, damaged, holding code, of an unknown kind, with tensors that have no place here, or
            without some that are needed.

    Example:
        >>> converted = convert("psp_celebs_sketch_to_face.pt")
        >>> print(converted.report())
        >>> converted.save("psp-sketch")
    """
    path = Path(path)
    contents = read_nvidia_pickle(path) if path.suffix.lower() == ".pkl" else read_torch(path)
    keys = set(contents) if isinstance(contents, dict) else set()
    for name in keys & {"state_dict", "g_ema"}:
        check_tensors(contents[name], f"{name} in {path}")
    if "state_dict" in keys and any(name.startswith("encoder.") for name in contents["state_dict"]):
        return convert_psp(contents, generator, base_generator)
    if generator is not None and keys & {"g_ema", "G_ema"}:
        raise ValueError(f"{path} holds a generator, no encoder that another generator could be given to")
    if "g_ema" in keys:
        return convert_generator(contents["g_ema"], contents.get("latent_avg"), "StyleGAN2 generator")
    if isinstance(contents, dict) and isinstance(contents.get("G_ema"), Persistent):
        state, w_avg = from_nvidia(state_dict_of(contents["G_ema"]))
        return convert_generator(state, w_avg, "StyleGAN2-ADA generator")
    names = ", ".join(sorted(map(str, keys))[:8]) or type(contents).__name__
    raise ValueError(f"{path} holds {names}; expected {KINDS}")


def check_tensors(value: Any, name: str) -> None:
    """Raise ValueError unless it is a dictionary of tensors by name."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is a {type(value).__name__}, expected tensors by name")
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{name} has {type(tensor).__name__} under {key!r}, expected tensors by name")


def convert_psp(
    contents: Mapping[str, Any], generator: Generator | None, base_generator: str | GeneratorReference | None
) -> Conversion:
    """A pSp or e4e checkpoint; see `convert`."""
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    for name, tensor in contents["state_dict"].items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise ValueError(f"the checkpoint has a tensor {name}, expected encoder.* and decoder.* alone")
        parts[part][rest] = tensor
    options = contents.get("opts") or {}
    options = options if isinstance(options, dict) else vars(options)
    start = contents.get("latent_avg") if options.get("start_from_latent_avg", True) else None
    left, notes, mapped = [], [], 0
    if generator is None:
        converted = convert_generator(parts["decoder"], start, "")
        generator, mapped = converted.generator, converted.mapped
        left, notes = converted.left, converted.notes
    elif parts["decoder"]:
        left = [f"decoder.* ({len(parts['decoder'])} tensors): another generator takes its place"]

    encoder, found = build_encoder(parts["encoder"], generator, options)
    depths = tuple(encoder.config.stage_depths)

    def place(name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        key, equalised = encoder_key(name, depths)
        return key, equalise if equalised else torch.Tensor.float

    mapped += transfer(encoder, parts["encoder"], place, "encoder.")
    num_ws, w_dim = generator.num_ws, generator.w_dim
    start = torch.zeros(1, w_dim) if start is None else torch.as_tensor(start).float().reshape(-1, w_dim)
    if len(start) not in (1, num_ws):
        raise ValueError(f"latent_avg has {len(start)} rows, expected 1 or {num_ws}")
    shift_styles(encoder, start.expand(num_ws, -1) - generator.w_avg.cpu().float())
    channels = encoder.config.in_channels
    task = TASK_NAMES.get(options.get("dataset_type"), TASKS_BY_CHANNELS[channels])
    config = PSPConfig(task, INPUT_KINDS[channels], base_generator)
    model = PSPModel(encoder.eval(), generator, config).eval().requires_grad_(False)
    found += f" for {task}, {channels} input channels, {num_ws} styles; generator of {generator.resolution} px"
    return Conversion(found, generator, model, mapped, left, notes)


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


def convert_generator(tensors: Mapping[str, Tensor], w_avg: Tensor | None, found: str) -> Conversion:
    """A StyleGAN2 generator under the names of its PyTorch version; see `convert`."""
    try:
        max_channels = tensors["input.input"].shape[1]
        w_dim = tensors["style.1.weight"].shape[1]
        num_convs = count(tensors, r"convs\.(\d+)\.")
        resolution = 4 * 2 ** (num_convs // 2)
        last_width = tensors[f"convs.{num_convs - 1}.conv.weight"].shape[1]
    except KeyError as error:
        raise ValueError(f"the generator has no tensor {error.args[0]}, expected StyleGAN2") from None
    # 16 * multiplier channels at 1024 px, twice as many at half the size, but never more than the most.
    multiplier = 2 if last_width == max_channels else last_width * resolution // 2**14
    with torch.device("meta"):
        generator = StyleGAN2(
            resolution=resolution,
            channel_multiplier=multiplier,
            w_dim=w_dim,
            mapping_layers=count(tensors, r"style\.(\d+)\.") - 1,
            max_channels=max_channels,
        )
    kernels = {name for name in tensors if name.endswith(".kernel")}
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    blur = torch.outer(line, line) / 16
    if odd := [name for name in kernels if not torch.allclose(tensors[name].float(), blur, atol=1e-6)]:
        raise ValueError(f"the generator blurs with another filter ({odd[0]}), expected that of StyleGAN2")
    state = {name: tensor for name, tensor in tensors.items() if name not in kernels}
    state["w_avg"] = torch.zeros(w_dim) if w_avg is None else w_avg.float().reshape(-1, w_dim).mean(dim=0)
    mapped = transfer(generator, state, decoder_key, "decoder.")
    generator = generator.eval().requires_grad_(False)
    left = [f"blur and upsampling kernels ({len(kernels)} tensors): those of every StyleGAN2"] if kernels else []
    notes = []
    if w_avg is None:
        generator.w_avg.copy_(estimate_w_avg(generator))
        notes = [f"note: no average latent in the file; w_avg is the mean of {W_AVG_SAMPLES} random styles"]
    found = f"{found}, {resolution} px, channel multiplier {generator.config.channel_multiplier}"
    return Conversion(found, generator, None, mapped, left, notes)


def count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the largest number that `pattern` finds at the start of a name; 0 if it finds none."""
    numbers = [int(match[1]) for match in (re.match(pattern, name) for name in tensors) if match]
    return max(numbers, default=-1) + 1


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
    values, missing, wrong, used = {}, [], [], set()
    for name, expected in module.state_dict().items():
        key, transform = place(name)
        if key not in tensors:
            missing.append(key)
            continue
        used.add(key)
        value = tensors[key] if name.endswith("num_batches_tracked") else transform(tensors[key])
        if value.shape != expected.shape:
            wrong.append(f"{key} {tuple(tensors[key].shape)} for {tuple(expected.shape)}")
        values[name] = value
    problems = {"missing": missing, "of another shape": wrong, "without a place": sorted(set(tensors) - used)}
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
    heads = encoder.heads
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
