"""How many pictures a second a training step takes on this machine, warm, and how much memory it needs at its peak.

    python benchmarks/benchmark_step.py
    python benchmarks/benchmark_step.py --only paper --mixed_precision no --threads 1

A step is that of training/train.py: encoder, losses, backward pass, clipping, optimiser. Each row has a process of
its own, and so a peak. The generator of the light rows is the built-in one; the other weights are random,
which takes as long as any.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from psp_hub.config import ENCODER_SIZE
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.generators import load_generator
from psp_hub.generators.base import Generator
from psp_hub.generators.stylegan2 import StyleGAN2
from psp_hub.tasks import get_task
from training.losses import Drawing, LossNetworks, TrainingLosses, WError
from training.losses.identity import IdentityLoss
from training.memory import keep_freed_memory
from training.networks.arcface import ArcFace
from training.networks.frozen import freeze
from training.networks.mobilefacenet import FaceRecogniser
from training.networks.perceptual import TRUNKS, PerceptualDistance, Trunk
from training.settings.flags import OrNone, Switch, parse
from training.settings.precision import resolved_precision

TASK = "inversion"
ROWS = {
    "light": "light encoder, MobileStyleGAN 1024 px, error of the styles",
    "light-images": "light encoder, MobileStyleGAN 1024 px, losses of the pictures",
    "paper": "original encoder, StyleGAN2 256 px, losses of the pictures",
}
WARM_UP = 1


@dataclass(frozen=True)
class StepSettings:
    """The step that is timed."""

    only: OrNone[Literal["light", "light-images", "paper"]] = None
    """one row, in this process"""
    train_batch_size: int = 8
    """pictures of a step"""
    mixed_precision: Literal["auto", "no", "bf16"] = "auto"
    """of encoder and generator; auto: bf16 where the processor is made for it"""
    gradient_checkpointing: Switch = False
    """as in training/train.py"""
    decode_batch_size: OrNone[int] = None
    """as in training/train.py"""
    repeats: int = 5
    """steps that are timed"""
    threads: int = 2
    """of torch"""
    plain_malloc: Switch = False
    """without training.memory.keep_freed_memory"""


def alexnet_distance() -> PerceptualDistance:
    """LPIPS with random features."""
    with tempfile.TemporaryDirectory() as folder:
        save_file(Trunk(TRUNKS["alex"]).state_dict(), Path(folder) / "alexnet.safetensors")
        return PerceptualDistance(Path(folder) / "alexnet.safetensors", "alex", weighted=True)


def build(row: str, settings: StepSettings) -> tuple[nn.Module, TrainingLosses, Generator]:
    """Encoder, losses and generator of a row."""
    if row == "paper":
        generator = StyleGAN2(256).eval()
        encoder = PSPEncoder(in_channels=3, num_ws=generator.num_ws, **PSP)
    else:
        generator = load_generator("mobilestylegan-ffhq")
        encoder = PSPEncoder(in_channels=3, num_ws=generator.num_ws, w_dim=generator.w_dim)
    drawing = Drawing(bf16=settings.mixed_precision == "bf16", batch_size=settings.decode_batch_size)
    if row == "light":
        losses = TrainingLosses(generator, {"w": 1.0}, LossNetworks(WError(generator)))
    else:
        weights = {name: value for name, value in get_task(TASK).loss_weights.items() if name != "w"}
        recogniser = IdentityLoss(freeze(ArcFace() if row == "paper" else FaceRecogniser()))
        networks = LossNetworks(distance=alexnet_distance(), identity=recogniser)
        losses = TrainingLosses(generator, weights, networks, drawing)
    if settings.gradient_checkpointing:
        generator.enable_gradient_checkpointing()
    return encoder.train().to(memory_format=torch.channels_last), losses, generator


def step(
    encoder: nn.Module,
    losses: TrainingLosses,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, Tensor],
    mixed_precision: str,
) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed_precision == "bf16"):
        delta = encoder(batch["input"])
    loss, _ = losses(delta.float(), batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def time_steps(row: str, settings: StepSettings) -> None:
    """Print the figures of a row."""
    if not settings.plain_malloc:
        keep_freed_memory()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    encoder, losses, generator = build(row, settings)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
    n = settings.train_batch_size
    pictures = torch.rand(n, 3, ENCODER_SIZE, ENCODER_SIZE) * 2 - 1
    w = torch.randn(n, generator.w_dim)
    batch = {"input": pictures, "image": pictures, "w": w, "has_w": torch.ones(n, dtype=torch.bool)}
    seconds, busy = [], []
    for _ in range(WARM_UP + settings.repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        step(encoder, losses, optimizer, batch, settings.mixed_precision)
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu_start)
    median, processor = statistics.median(seconds[WARM_UP:]), statistics.median(busy[WARM_UP:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{ROWS[row]:<62} {n / median:7.2f} images/s  {median:7.2f} s a step, processor {processor:.2f} s  "
        f"{peak:5.2f} GiB at the peak",
        flush=True,
    )


def own_process(row: str, words: Iterable[str]) -> None:
    subprocess.run([sys.executable, __file__, "--only", row, *words], check=True)


def parse_args(words: list[str] | None = None) -> StepSettings:
    settings = parse(StepSettings, words, __doc__)
    return replace(settings, mixed_precision=resolved_precision(settings.mixed_precision, "cpu"))


def main() -> None:
    settings = parse_args()
    if settings.only:
        return time_steps(settings.only, settings)
    print(
        f"batch {settings.train_batch_size}, {settings.mixed_precision} mixed precision, {settings.threads} threads, "
        f"median of {settings.repeats}",
        flush=True,
    )
    for row in ROWS:
        own_process(row, sys.argv[1:])


if __name__ == "__main__":
    main()
