"""Make (image, w) pairs from a generator. Run the same command again to go on where it stopped.

python training/recipes/make_pairs.py --output_dir pairs --num_pairs 20000 --num_processes 2
"""

import multiprocessing
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from tqdm import tqdm

from psp_hub.generators import load_generator
from psp_hub.staging import sweep
from training.data.pairs import read_tar, sample_pairs, shard_path, write_shard
from training.networks.small_generator import SmallSynthesis
from training.settings.flags import OrNone, Share, Switch, parse_checked

SHARD_SIZE = 500
FAILED = "a worker failed; its error is above. Run the command again to go on."


@dataclass(frozen=True)
class StoreSettings:
    """The store that is made, and how."""

    output_dir: Path
    """of the store"""
    num_pairs: int = 20_000
    """in all"""
    first_index: int = 1_000_000
    """pair i is a function of this number + i"""
    generator: str = "mobilestylegan-ffhq"
    """name of a generator or a saved folder"""
    batch_size: int = 1
    """1 is fastest on a CPU"""
    num_processes: int = 1
    """that draw"""
    torch_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """of the generator"""
    device: str = "cpu"
    """where it draws"""
    mixed_share: Share = 0.0
    """of pairs whose styles are of three faces: for training in W+"""
    preview: Switch = False
    """a little less exact, in less time"""
    decode_net: OrNone[Path] = None
    """of fit_small_generator.py: softer pictures, in less time again"""

    @property
    def num_shards(self) -> int:
        return -(-self.num_pairs // SHARD_SIZE)

    def pairs_of(self, shard: int) -> range:
        """Which of the pairs belong to a shard."""
        return range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, self.num_pairs))

    def is_complete(self, shard: int) -> bool:
        """Whether a shard is there; the last one of a run with fewer pairs may be too short for this one."""
        path = shard_path(self.output_dir, shard)
        return path.exists() and len(read_tar(path)) >= len(self.pairs_of(shard))

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        if not 0 <= self.mixed_share <= 1:
            raise ValueError(f"--mixed_share is {self.mixed_share}, expected 0 to 1")
        if self.preview and self.decode_net:
            raise ValueError("--preview and --decode_net exclude each other")


def parse_args(words: list[str] | None = None) -> StoreSettings:
    return parse_checked(StoreSettings, words, __doc__)


def end_with_parent() -> None:
    """End this process as soon as its parent has ended, however that happened."""
    multiprocessing.parent_process().join()
    os._exit(1)


def run_worker(settings: StoreSettings, shards: list[int], done: multiprocessing.Queue) -> None:
    """What a worker process runs.

    Raises:
        SystemExit: a shard cannot be written; why is said, and nothing of it is left.
    """
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        make_shards(settings, shards, done)
    except (OSError, SafetensorError) as error:
        raise SystemExit(f"make_pairs.py: {error}") from None


def make_shards(settings: StoreSettings, shards: list[int], done: multiprocessing.Queue) -> None:
    """Make `shards`, and report the number of pairs after each batch."""
    torch.set_num_threads(max(1, torch.get_num_threads() // settings.num_processes))
    generator = load_generator(settings.generator)
    small = SmallSynthesis.from_file(settings.decode_net, generator) if settings.decode_net else None
    for network in (generator, small):
        if network is not None:
            network.to(settings.device, getattr(torch, settings.torch_dtype))
    for shard in shards:
        indices = [settings.first_index + i for i in settings.pairs_of(shard)]
        parts = []
        for i in range(0, len(indices), settings.batch_size):
            some = indices[i : i + settings.batch_size]
            parts.append(sample_pairs(generator, some, settings.mixed_share, settings.preview, small))
            done.put(len(parts[-1][1]))
        images, w = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        write_shard(settings.output_dir, shard, images, w, indices)


def main(settings: StoreSettings) -> None:
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    sweep(settings.output_dir)
    missing = [shard for shard in range(settings.num_shards) if not settings.is_complete(shard)]
    generator = load_generator(settings.generator)  # fetched and converted once, before the processes start
    if settings.decode_net:
        SmallSynthesis.from_file(settings.decode_net, generator)  # a file that does not fit is refused here
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    workers = [
        context.Process(target=run_worker, args=(settings, missing[rank :: settings.num_processes], done), daemon=True)
        for rank in range(settings.num_processes)
    ]
    for worker in workers:
        worker.start()
    total = sum(len(settings.pairs_of(shard)) for shard in missing)
    with tqdm(total=settings.num_pairs, initial=settings.num_pairs - total, unit="pair") as progress:
        while total:
            try:
                count = done.get(timeout=1)
            except multiprocessing.queues.Empty:
                if any(worker.exitcode for worker in workers):
                    raise SystemExit(FAILED) from None
                continue
            total -= count
            progress.update(count)
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):  # the last pairs were counted, then not written
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main(parse_args())
