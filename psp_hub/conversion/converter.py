"""Checkpoints of the original pSp and its relatives -> models and generators of this project.

- pSp and e4e (`.pt` with `state_dict`, `opts` and, mostly, `latent_avg`): encoder and generator;
- StyleGAN2 in PyTorch (`.pt` with `g_ema`) and StyleGAN2-ADA (`.pkl` with `G_ema`): a generator.

Sizes come from the shapes of the tensors. Every tensor of the file must find its place and every place its tensor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from psp_hub.config import GeneratorReference, PSPConfig
from psp_hub.conversion.networks import INPUT_KINDS, build_encoder, build_generator, shift_styles, transfer
from psp_hub.conversion.original_names import decoder_key, encoder_key, equalise, from_nvidia, unwrapped
from psp_hub.conversion.recognition import is_pickle
from psp_hub.conversion.safe_pickle import Persistent, first_line, read_nvidia_pickle, read_torch, state_dict_of
from psp_hub.generators.base import W_AVG_SAMPLES, Generator, estimate_w_avg
from psp_hub.hub.components import save_component
from psp_hub.model import PSPModel
from psp_hub.staging import staged_folder

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
# How the tensors begin in what these files hold.
KNOWN_NAMES = {
    "state_dict": ("encoder", "decoder"),
    "g_ema": ("input", "style", "conv1", "convs", "to_rgb1", "to_rgbs", "noises"),
}


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
            with staged_folder(folder) as stage:
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
    contents = read_nvidia_pickle(path) if is_pickle(path) else read_torch(path)
    try:
        return convert_contents(contents, path, generator, base_generator)
    except (LookupError, TypeError, ArithmeticError, RuntimeError, AttributeError) as error:
        # Sizes are computed from whatever tensors the file has under the right names.
        raise ValueError(f"{path} has tensors of impossible sizes: {first_line(error)}") from error


def convert_contents(
    contents: Any, path: Path, generator: Generator | None, base_generator: str | GeneratorReference | None
) -> Conversion:
    """What a file holds; see `convert`."""
    if not isinstance(contents, dict):
        raise ValueError(f"{path} holds a {type(contents).__name__}, expected {KINDS}")
    if contents and all(isinstance(value, Tensor) for value in contents.values()):  # tensors without anything around
        if any(str(name).startswith("input_layer.") for name in contents):  # of an encoder alone
            contents = {f"encoder.{name}": tensor for name, tensor in contents.items()}
        name = "state_dict" if any("encoder." in str(name) for name in contents) else "g_ema"
        contents = {name: contents}
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, known in KNOWN_NAMES.items():
        if name in contents:
            check_tensors(contents[name], f"{name} in {path}")
            tensors[name] = unwrapped(contents[name], known)
    if any(name.startswith("encoder.") for name in tensors.get("state_dict", ())):
        return convert_psp(tensors["state_dict"], contents, generator, base_generator)
    if generator is not None and contents.keys() & {"g_ema", "G_ema"}:
        raise ValueError(f"{path} holds a generator, no encoder that another generator could be given to")
    if any(name.startswith(KNOWN_NAMES["g_ema"]) for name in tensors.get("g_ema", ())):
        return convert_generator(tensors["g_ema"], read_average(contents), "StyleGAN2 generator")
    if isinstance(contents.get("G_ema"), Persistent):
        found = state_dict_of(contents["G_ema"])
        check_tensors(found, f"G_ema in {path}")
        state, w_avg = from_nvidia(found)
        return convert_generator(state, w_avg, "StyleGAN2-ADA generator")
    names = ", ".join(sorted(str(name)[:40] for name in contents)[:8])
    raise ValueError(f"{path} holds {names or 'nothing'}; expected {KINDS}")


def check_tensors(value: Any, name: str) -> None:
    """Raise ValueError unless it is a dictionary of tensors by name, each no larger than its data in the file."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is a {type(value).__name__}, expected tensors by name")
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{name} has {type(tensor).__name__} under {key!r}, expected tensors by name")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise ValueError(f"{name} has a tensor of an unusual kind, {key}, expected one of plain numbers")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name} has a tensor {key} of {tuple(tensor.shape)}, and less data than that")


def read_average(contents: Mapping[str, Any]) -> Tensor | None:
    """The average latent of a file, as a tensor of any shape; None if it has none.

    Raises:
        ValueError: it is something else.
    """
    value = contents.get("latent_avg")
    if value is None:
        return None
    try:
        return torch.as_tensor(value).float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"latent_avg is a {type(value).__name__}, expected numbers") from error


def convert_psp(
    tensors: Mapping[str, Tensor],
    contents: Mapping[str, Any],
    generator: Generator | None,
    base_generator: str | GeneratorReference | None,
) -> Conversion:
    """A pSp or e4e checkpoint; see `convert`.

    Args:
        tensors: its `state_dict`.
        contents: what else is in the file.
    """
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    average = read_average(contents)
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if name == "latent_avg" and average is None:  # some keep it with the weights
            average = tensor.float()
            continue
        if part not in parts:
            raise ValueError(f"the checkpoint has a tensor {name}, expected encoder.* and decoder.* alone")
        parts[part][rest] = tensor
    options = read_options(contents)
    start = average if options.get("start_from_latent_avg", True) else None
    left, notes, mapped = [], [], 0
    if generator is None and not parts["decoder"]:
        raise ValueError(
            "the checkpoint holds an encoder and no generator: give the one that it was trained for with --generator, "
            "a converted one or a built-in name"
        )
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
    start = torch.zeros(1, w_dim) if start is None else rows_of(start, w_dim)
    if len(start) not in (1, num_ws):
        raise ValueError(f"latent_avg has {len(start)} rows, expected 1 or {num_ws}")
    shift_styles(encoder, start.expand(num_ws, -1) - generator.w_avg.cpu().float())
    channels = encoder.config.in_channels
    task = TASK_NAMES.get(str(options.get("dataset_type")), TASKS_BY_CHANNELS[channels])
    config = PSPConfig(task, INPUT_KINDS[channels], base_generator)
    model = PSPModel(encoder.eval(), generator, config).eval().requires_grad_(False)
    found += f" for {task}, {channels} input channels, {num_ws} styles; generator of {generator.resolution} px"
    return Conversion(found, generator, model, mapped, left, notes)


def read_options(contents: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of the training, by name; none if they are missing or something else."""
    options = contents.get("opts")
    return options if isinstance(options, dict) else getattr(options, "__dict__", {})


def rows_of(average: Tensor, w_dim: int) -> Tensor:
    """An average latent [w_dim], [1, w_dim] or [n, w_dim] as [n, w_dim].

    Raises:
        ValueError: it is none.
    """
    if not average.numel() or average.numel() % w_dim or not average.isfinite().all():
        raise ValueError(f"latent_avg has shape {tuple(average.shape)}, expected rows of {w_dim} finite numbers")
    return average.reshape(-1, w_dim)


def convert_generator(tensors: Mapping[str, Tensor], w_avg: Tensor | None, found: str) -> Conversion:
    """A StyleGAN2 generator under the names of its PyTorch version; see `convert`."""
    generator, width = build_generator(tensors)
    w_dim = generator.w_dim
    kernels = {name for name in tensors if name.endswith(".kernel")}
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    blur = torch.outer(line, line) / 16
    if odd := [name for name in kernels if not torch.allclose(tensors[name].float(), blur, atol=1e-6)]:
        raise ValueError(f"the generator blurs with another filter ({odd[0]}), expected that of StyleGAN2")
    state = {name: tensor for name, tensor in tensors.items() if name not in kernels}
    state["w_avg"] = torch.zeros(w_dim) if w_avg is None else rows_of(w_avg.float(), w_dim).mean(dim=0)
    mapped = transfer(generator, state, decoder_key, "decoder.")
    generator = generator.eval().requires_grad_(False)
    left = [f"blur and upsampling kernels ({len(kernels)} tensors): those of every StyleGAN2"] if kernels else []
    notes = []
    if w_avg is None:
        generator.w_avg.copy_(estimate_w_avg(generator))
        notes = [f"note: no average latent in the file; w_avg is the mean of {W_AVG_SAMPLES} random styles"]
    found = f"{found}, {generator.resolution} px, {width}"
    return Conversion(found, generator, None, mapped, left, notes)
