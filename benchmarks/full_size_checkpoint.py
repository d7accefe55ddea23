"""Convert an original checkpoint of full size (1024 px, 18 styles, about 1.1 GB), load it, and measure both.

    python benchmarks/full_size_checkpoint.py

The weights are filled by formula, in a temporary folder. Each step runs in a process of its own and prints its
seconds and its peak memory.
"""

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from psp_hub import PSPModel
from psp_hub.conversion.converter import convert
from psp_hub.conversion.original_names import decoder_key, encoder_key
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.generators.stylegan2 import StyleGAN2
from tests.golden_weights import BLUR_KERNEL, fill, latent_avg, original_input, relative_error
from tests.original_checkpoints import original_decoder_shape


def make(folder: Path) -> None:
    """The checkpoint, as the original would have written it."""
    with torch.device("meta"):
        encoder, generator = PSPEncoder(in_channels=3, num_ws=18, **PSP), StyleGAN2(1024)
    state = {}
    for name, tensor in encoder.state_dict().items():
        key = f"encoder.{encoder_key(name, PSP['stage_depths'])[0]}"
        state[key] = fill(key, tensor.shape)
    for name, tensor in generator.state_dict().items():
        key = decoder_key(name)[0]
        if key != "w_avg":
            state[f"decoder.{key}"] = fill(f"decoder.{key}", original_decoder_shape(name, tensor.shape))
    for level in range(8):
        state[f"decoder.convs.{2 * level}.conv.blur.kernel"] = BLUR_KERNEL.clone()
        state[f"decoder.to_rgbs.{level}.upsample.kernel"] = BLUR_KERNEL.clone()
    opts = {"dataset_type": "ffhq_encode", "output_size": 1024, "start_from_latent_avg": True}
    torch.save({"state_dict": state, "latent_avg": latent_avg(18), "opts": opts}, folder / "psp.pt")


def convert_and_save(folder: Path) -> None:
    converted = convert(folder / "psp.pt")
    converted.save(folder / "model")


def load(folder: Path) -> None:
    PSPModel.from_pretrained(folder / "model")


@torch.no_grad()
def compare(folder: Path) -> dict[str, float]:
    """Largest difference, relative to the largest value, between the file and what was saved and loaded."""
    x = original_input(3)
    direct = convert(folder / "psp.pt").model(x)
    loaded = PSPModel.from_pretrained(folder / "model")(x)
    return {name: relative_error(loaded[name], direct[name]) for name in ("ws", "images")}


def run(step: Callable[[Path], object], folder: Path, results: multiprocessing.Queue) -> None:
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    answer = step(folder)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes
    results.put({"seconds": round(seconds, 1), "peak_gib": round(peak, 2), "of_which_imports": round(imported, 2)})
    if answer:
        results.put(answer)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in (make, convert_and_save, load, compare):
            results = context.Queue()
            process = context.Process(target=run, args=(step, folder, results))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{step.__name__} failed")
            print(step.__name__, *(json.dumps(results.get()) for _ in range(1 + (step is compare))), flush=True)
            if step is make:
                print(f"psp.pt: {(folder / 'psp.pt').stat().st_size / 2**30:.2f} GiB")
            if step is convert_and_save:
                size = sum(path.stat().st_size for path in (folder / "model").rglob("*.safetensors"))
                print(f"model: {size / 2**30:.2f} GiB of weights")


if __name__ == "__main__":
    main()
