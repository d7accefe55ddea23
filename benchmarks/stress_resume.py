"""Kill a training run again and again, at random moments, and resume it: the end is that of a run left alone.

    python benchmarks/stress_resume.py --kills 10
    python benchmarks/stress_resume.py --kills 10 --processes 2 --workers 2 --accumulation 2

Killed is the whole group of processes, with SIGKILL, which no program can answer. Every tensor of the last checkpoint
(weights, averages, optimiser, schedule), the exported model, the history of the validations and the last picture are
compared, bit for bit. The networks are tiny and random; the program that runs is training/train.py. Exits with 1 if
anything differs.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file

from psp_hub import PSPConfig, PSPModel
from psp_hub.encoder import PSPEncoder
from psp_hub.generators.mobile_stylegan import MobileStyleGAN
from training import train
from training.data.pairs import sample_pairs, write_shard
from training.run.checkpoints import checkpoints
from training.settings.flags import parse

NUM_PAIRS, HELD_OUT, EPOCH_STEPS = 28, 4, 7  # steps to an epoch: not a divisor of the steps between checkpoints
ENCODER = {"stem_width": 16, "stage_widths": (16, 16, 16), "stage_depths": (1, 1, 1), "stage_strides": (1, 2, 2)}
ENCODER |= {"pyramid_width": 8, "base_width": 4, "head_widths": (8, 8, 8)}


@dataclass(frozen=True)
class StressSettings:
    """The run, and how often it is killed."""

    kills: int = 10
    """at random moments"""
    steps: int = 60
    """of the run"""
    processes: int = 1
    """that train"""
    workers: int = 0
    """processes that prepare batches"""
    accumulation: int = 1
    """batches to one step"""
    optimizer: str = "adamw"
    """as in training/train.py"""
    mixed_precision: str = "no"
    """as in training/train.py"""
    seed: int = 0
    """of the moments"""


@torch.no_grad()
def make_inputs(folder: Path) -> None:
    """A tiny model with random weights, and pairs of its generator."""
    torch.manual_seed(0)
    generator = MobileStyleGAN(channels=(16, 16, 16, 16), w_dim=32, mapping_layers=2).eval()
    for value in (*generator.parameters(), *generator.buffers()):
        value.normal_(std=0.5)
    encoder = PSPEncoder(num_ws=generator.num_ws, w_dim=generator.w_dim, **ENCODER)
    PSPModel(encoder, generator, PSPConfig("sketch")).save_pretrained(folder / "model")
    (folder / "pairs").mkdir()
    indices = list(range(NUM_PAIRS))
    write_shard(folder / "pairs", 0, *sample_pairs(generator, indices), indices)


def command(settings: StressSettings, folder: Path, output: str) -> list[str]:
    options = {
        "task": "sketch",
        "pretrained_model_name_or_path": folder / "model",
        "pairs_dir": folder / "pairs",
        "output_dir": folder / output,
        "num_validation_pairs": HELD_OUT,
        "train_batch_size": max(
            1, (NUM_PAIRS - HELD_OUT) // (EPOCH_STEPS * settings.processes * settings.accumulation)
        ),
        "gradient_accumulation_steps": settings.accumulation,
        "dataloader_num_workers": settings.workers,
        "max_train_steps": settings.steps,
        "checkpointing_steps": 3,
        "validation_steps": 10,
        "lr_warmup_steps": 2,
        "optimizer": settings.optimizer,
        "mixed_precision": settings.mixed_precision,
        "report_to": "none",
        "resume_from_checkpoint": "latest",
    }
    words = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(settings.processes)]
    return [sys.executable, *(launcher if settings.processes > 1 else []), train.__file__, *words]


def start(words: list[str], log: Path) -> subprocess.Popen:
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with open(log, "ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, env=environment, start_new_session=True)


def finish(words: list[str], log: Path) -> float:
    """Run to the end; returns the seconds that it took."""
    began = time.monotonic()
    if start(words, log).wait() != 0:
        raise SystemExit(f"the run failed:\n{log.read_text()[-3000:]}")
    return time.monotonic() - began


def steps_done(log: Path, steps: int) -> int:
    """The step that the progress bar has come to, for the last of the runs in the log."""
    text = log.read_text(errors="replace")
    found = re.findall(rf"\b(\d+)/{steps} \[", text.rpartition("examples, from step")[2])
    return int(found[-1]) if found else 0


def wait_for_steps(process: subprocess.Popen, log: Path, steps: int, starts: int, more: int) -> bool:
    """Wait until the run that is the `starts`-th in the log has done some steps; False if it ends before."""
    while process.poll() is None:
        found = re.findall(r"examples, from step (\d+)", log.read_text(errors="replace"))
        if len(found) >= starts and steps_done(log, steps) >= int(found[-1]) + more:
            return True
        time.sleep(0.01)
    return False


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to the process and all that it has started, at once."""
    everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in everything:
        one.suspend()  # or a launcher would answer the end of its processes
    for one in everything:
        one.kill()
    process.wait()


def kill_and_resume(settings: StressSettings, words: list[str], output_dir: Path, log: Path, pause: float) -> int:
    """Kill the run `settings.kills` times, after some steps and up to `pause` seconds; returns how often it was."""
    rng = random.Random(settings.seed)
    for number in range(1, settings.kills + 1):
        process = start(words, log)
        more, delay = rng.randint(0, max(1, 2 * settings.steps // (settings.kills + 2) - 2)), rng.uniform(0, pause)
        if not wait_for_steps(process, log, settings.steps, number, more):
            return number - 1
        time.sleep(delay)
        if process.poll() is not None:
            return number - 1
        kill(process)
        found, half = checkpoints(output_dir), any(output_dir.glob("*.tmp"))
        print(
            f"kill {number}: after {more} steps and {delay:.3f} s, at step {steps_done(log, settings.steps)}, last "
            f"checkpoint {found[-1].name if found else 'none'}{', the next being written' if half else ''}",
            flush=True,
        )
    return settings.kills


def tensors(path: Path) -> object:
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=False)


def same(one: object, other: object) -> bool:
    """Bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def differences(one: Path, other: Path) -> list[str]:
    """Names of the files of two output folders that are not the same."""
    last = [checkpoints(folder)[-1] for folder in (one, other)]
    if last[0].name != last[1].name:
        return [f"{last[0].name} and {last[1].name}"]
    found = []
    for path in sorted(last[0].iterdir()):
        if path.name.startswith("random_states"):  # nothing that is trained is drawn from them
            continue
        if path.suffix in (".safetensors", ".bin", ".pkl") and not same(tensors(path), tensors(last[1] / path.name)):
            found.append(f"{last[0].name}/{path.name}")
    for name in ("best.json", "validation.jsonl", "model/encoder/diffusion_pytorch_model.safetensors"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            found.append(name)
    pictures = sorted(path.name for path in one.glob("validation-*.png"))
    return found + [name for name in pictures if (one / name).read_bytes() != (other / name).read_bytes()]


def stress(settings: StressSettings, folder: Path) -> list[str]:
    """Run straight, and with kills; returns what differs."""
    make_inputs(folder)
    seconds = finish(command(settings, folder, "straight"), folder / "straight.log")
    print(f"straight: {settings.steps} steps, {seconds:.1f} s", flush=True)
    words, log = command(settings, folder, "killed"), folder / "killed.log"
    kills = kill_and_resume(settings, words, folder / "killed", log, pause=seconds / settings.steps)
    finish(words, log)
    found = differences(folder / "straight", folder / "killed")
    print(f"{kills} kills, then resumed to the end: {', '.join(found) if found else 'the same, bit for bit'}")
    return found


def parse_args(words: list[str] | None = None) -> StressSettings:
    return parse(StressSettings, words, __doc__)


def main() -> None:
    settings = parse_args()
    with tempfile.TemporaryDirectory() as name:
        if stress(settings, Path(name)):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
