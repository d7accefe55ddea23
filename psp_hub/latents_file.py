"""Files of latents: the styles of faces in one .safetensors file, so that the same faces can be drawn again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from psp_hub.staging import staged_file

FORMAT, VERSION = "psp-hub-latents", "1"
MAX_FACES = 10_000
MAX_BYTES = 1 << 30  # of a file; a face takes 32 KiB with the default generator
MAX_SIZE = 1e4  # of a number in it: styles are about 1, and far larger ones draw nothing but noise
SAME_W_AVG = 0.05  # how far two w_avg of one generator may lie apart, relative to their length: bfloat16 rounds


class StyleSpace(Protocol):
    """What the styles of a file are compared with: a generator, or what stands for one."""

    @property
    def num_ws(self) -> int: ...
    @property
    def w_dim(self) -> int: ...
    @property
    def w_avg(self) -> Tensor: ...


@dataclass(frozen=True)
class Latents:
    """`ws`: styles [N, num_ws, w_dim], float32; `metadata`: what the file says of them, such as `task`."""

    ws: Tensor
    metadata: Mapping[str, str]


def save_latents(
    path: str | Path,
    ws: Tensor,
    *,
    generator: str | None,
    task: str | None,
    w_avg: Tensor | None = None,
    **notes: str,
) -> None:
    """Write the styles of faces to a file that is complete as soon as it has its name.

    Example:
        >>> save_latents("face.safetensors", model.encode(photo), generator="mobilestylegan-ffhq", task="inversion")

    Args:
        path: a name that ends in .safetensors; a file that is there is replaced.
        ws: [N, num_ws, w_dim], or one face [num_ws, w_dim]; stored as float32, the same numbers.
        generator: name of the one that they are for; None where it has none.
        task: that they come from; None for none.
        w_avg: [w_dim] of that generator, by which it is known again whatever its name.
        notes: anything else to be remembered, such as `seed="7"`.

    Raises:
        ValueError: another name, another shape, numbers that are not styles, or a note that is not a string.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise ValueError(f"latents are saved as {path.name}, expected a name that ends in .safetensors")
    own = {"format": FORMAT, "version": VERSION, "generator": generator, "task": task}
    metadata = {name: value for name, value in own.items() if value is not None} | notes
    wrong = sorted(notes.keys() & own.keys()) + [k for k, value in metadata.items() if not isinstance(value, str)]
    if wrong:
        raise ValueError(f"notes {', '.join(wrong)} cannot be saved, expected strings, not named {', '.join(own)}")
    ws = ws.detach()[None] if ws.ndim == 2 else ws.detach()
    tensors = {"ws": ws.float().cpu().contiguous()}
    if w_avg is not None:
        tensors["w_avg"] = w_avg.detach().float().cpu().contiguous()
    check_numbers(tensors, "these latents")
    with staged_file(path) as stage:
        stage.write_bytes(save(tensors, metadata=metadata))


def load_latents(path: str | Path, generator: StyleSpace | str | None = None) -> Latents:
    """Read a file that `save_latents` wrote. Anybody may have written it: no code in it is run.

    Example:
        >>> latents = load_latents("face.safetensors", model.generator)
        >>> images = model.decode(latents.ws)

    Args:
        generator: that is going to draw them, or its name: the file must be for it.

    Raises:
        ValueError: missing, another kind of file, damaged, of a newer version, or for another generator.
    """
    path = Path(path)
    name = path.name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ValueError(f"{name} cannot be opened: {error.strerror or error}.") from error
    if not path.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{name} is not a file of latents, but a folder, a pipe or a device.")
    if size > MAX_BYTES:
        raise ValueError(f"{name} has {size:,} bytes, expected at most {MAX_BYTES:,}: it is not a file of latents.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{name} does not hold faces: expected a file that was saved as latents here.")
            tensors = {key: file.get_tensor(key) for key in file.keys() if key in ("ws", "w_avg")}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{name} is not a file of latents, or it is damaged: {error}") from error
    if metadata.get("version") != VERSION:
        version = metadata.get("version")
        raise ValueError(f"{name} has version {version} of the format, this psp-hub reads {VERSION}: update it.")
    check_numbers(tensors, name)
    if generator is not None:
        check_generator(tensors, metadata, generator, name)
    return Latents(tensors["ws"], metadata)


def check_numbers(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise ValueError unless `ws` is [N, num_ws, w_dim] and `w_avg`, if it is there, [w_dim]; all sensible."""
    ws = tensors.get("ws")
    if ws is None or ws.dtype != torch.float32 or ws.ndim != 3 or 0 in ws.shape or len(ws) > MAX_FACES:
        found = "none" if ws is None else f"shape {tuple(ws.shape)} of {ws.dtype}"
        raise ValueError(f"{name}: the styles are {found}, expected [1 to {MAX_FACES}, num_ws, w_dim] of float32.")
    w_avg = tensors.get("w_avg")
    if w_avg is not None and (w_avg.shape != ws.shape[2:] or w_avg.dtype != torch.float32):
        raise ValueError(f"{name}: w_avg has shape {tuple(w_avg.shape)}, expected [{ws.shape[2]}] of float32.")
    for tensor in tensors.values():
        if not tensor.isfinite().all() or tensor.abs().max() > MAX_SIZE:
            raise ValueError(f"{name}: there are numbers that no face has (not finite, or above {MAX_SIZE:g}).")


def check_generator(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], generator: StyleSpace | str, name: str
) -> None:
    """Raise ValueError if the styles are for another generator: its w_avg tells, or of two names, the names."""
    saved = metadata.get("generator")
    if isinstance(generator, str):
        if saved is not None and saved != generator:
            raise ValueError(f"{name} is for the generator {saved}, expected one for {generator}.")
        return
    of_file = f"the generator {saved}" if saved else "another generator"
    expected = (generator.num_ws, generator.w_dim)
    if tensors["ws"].shape[1:] != expected:
        shape = " x ".join(map(str, tensors["ws"].shape[1:]))
        raise ValueError(f"{name} is for {of_file}: its styles are {shape}, expected {expected[0]} x {expected[1]}.")
    if "w_avg" in tensors:
        w_avg = generator.w_avg.detach().float().cpu()
        if (tensors["w_avg"] - w_avg).norm() > SAME_W_AVG * w_avg.norm():
            raise ValueError(f"{name} is for {of_file}, not for this one: they have different mean faces.")
