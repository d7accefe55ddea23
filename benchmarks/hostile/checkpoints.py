"""Checkpoints: good ones in odd wrappings, damaged ones, and files that are none or that would run a program."""

import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.original_checkpoints import W_DIM, save, tiny_psp_state

START = torch.linspace(-1, 1, W_DIM)[None]
State = dict[str, Tensor]

# What is saved of a pSp's tensors so that it is the same model.
ODD_CHECKPOINTS: dict[str, Callable[[State], object]] = {
    "plain": lambda s: {"state_dict": s, "latent_avg": START},
    "several-gpus": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "latent_avg": START},
    "parts-on-several-gpus": lambda s: {
        "state_dict": {k.replace(".", ".module.", 1): v for k, v in s.items()},
        "latent_avg": START,
    },
    "compiled": lambda s: {"state_dict": {f"_orig_mod.{k}": v for k, v in s.items()}, "latent_avg": START[0]},
    "array": lambda s: {"state_dict": s, "latent_avg": START.numpy()},
    "paths": lambda s: {"state_dict": s, "latent_avg": START, "opts": {"exp_dir": Path("/runs"), "lr": np.float64(1)}},
    "defaults": lambda s: {"state_dict": s, "latent_avg": START, "log": defaultdict(list, a=[1.0])},
    "tensors-alone": lambda s: s | {"latent_avg": START},
    "double": lambda s: {"state_dict": {k: v.double() for k, v in s.items()}, "latent_avg": START.double()},
    "odd-options": lambda s: {"state_dict": s, "latent_avg": START, "opts": ["no", "options"]},
}
# What has to be refused.
FALSE_CHECKPOINTS: dict[str, Callable[[State], object]] = {
    "no-generator": lambda s: {"state_dict": {k: v for k, v in s.items() if k.startswith("encoder.")}},
    "no-encoder": lambda s: {"state_dict": {k: v for k, v in s.items() if k.startswith("decoder.")}},
    "one-missing": lambda s: {"state_dict": {k: v for k, v in s.items() if k != "encoder.linear.bias"}},
    "one-more": lambda s: {"state_dict": s | {"encoder.more": START}, "latent_avg": START},
    "other-average": lambda s: {"state_dict": s, "latent_avg": torch.zeros(7)},
    "words": lambda s: {"state_dict": "words", "latent_avg": "words"},
    "list": lambda s: [s],
    "nothing": lambda s: {},
    "not-a-number": lambda s: {"state_dict": s | {"encoder.linear.bias": torch.full((W_DIM,), torch.nan)}},
    "no-data": lambda s: {"state_dict": s | {"encoder.linear.weight": torch.zeros(1).expand(10**5, 10**5)}},
    "no-sizes": lambda s: {"state_dict": s | {"decoder.input.input": torch.zeros(())}, "latent_avg": START},
    "endless": lambda s: {"state_dict": s | {"decoder.style.99999999.weight": START}, "latent_avg": START},
    "no-size-at-all": lambda s: {"state_dict": s | {"encoder.linear.weight": torch.zeros(0, 0)}, "latent_avg": START},
}
NO_CHECKPOINTS: dict[str, bytes] = {
    "empty.pt": b"",
    "page.pt": b"<html>Sign in to continue</html>",
    "pointer.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "words.pkl": b"these are no weights",
    "tensorflow.pkl": b"\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81.",
    "endless.pkl": b"\x80\x02" + b"(" * 5000,
    "deep.pkl": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "noise.pt": bytes(range(256)) * 9,
    "number.pkl": b"\x80\x02K\x01.",
}
# Programs that a pickle could name; a file called `hacked` would tell that one was run.
PROGRAMS = (
    b"cos\nsystem\nX\x0c\x00\x00\x00touch hacked\x85R",
    b"cposix\nsystem\nX\x0c\x00\x00\x00touch hacked\x85R",
    b"cbuiltins\nopen\nX\x06\x00\x00\x00hackedX\x01\x00\x00\x00w\x86R",
    b"cbuiltins\nexec\nX\x13\x00\x00\x00open('hacked', 'w')\x85R",
    b"csubprocess\ncheck_call\n]X\x05\x00\x00\x00touchaX\x06\x00\x00\x00hackeda\x85R",
    b"cpathlib\nPath\nX\x06\x00\x00\x00hacked\x85R",
    b"cshutil\nrmtree\nX\x01\x00\x00\x00.\x85R",
    b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x01\x00\x00\x00O\x85RX\x01\x00\x00\x00x\x86R",
    b"ctorch\nload\nX\x07\x00\x00\x00evil.pt\x85R",
    b"cargparse\nFileType\nX\x01\x00\x00\x00w\x85RX\x06\x00\x00\x00hacked\x85R",
)


def psp_state() -> State:
    return tiny_psp_state("w")


def write_program(path: Path, program: bytes) -> Path:
    """A file whose options are what `program` makes: in a PyTorch file, or a bare pickle."""
    body = b"\x80\x02}X\x04\x00\x00\x00opts" + program + b"s."
    if path.suffix == ".pkl":
        path.write_bytes(body)
        return path
    return rewrite(save({}, path), lambda _: body)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Another pickle in a PyTorch file, with checksums that fit."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return path


def scramble(content: bytes, rng: np.random.Generator) -> bytes:
    """A pickle with some bytes changed: a program that nobody wrote."""
    changed = bytearray(content)
    for i in rng.integers(2, len(changed) - 1, int(rng.integers(1, 6))):
        changed[i] = int(rng.integers(256))
    return bytes(changed)
