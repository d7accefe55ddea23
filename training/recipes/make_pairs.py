"""Make (image, w) pairs from a generator. Run the same command again to go on where it stopped.

    python training/recipes/make_pairs.py --output_dir pairs --num_pairs 20000 --num_processes 2
    python training/recipes/make_pairs.py --styles_dir read-photos --preview --output_dir drawn-photos

The second draws the styles of another store: of what an encoder read off photos (training/recipes/distil_pairs.py),
these are the pictures that belong to it exactly.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from psp_hub.generators import load_generator
from psp_hub.generators.base import Generator
from psp_hub.precision import DtypeName, dtype_of
from psp_hub.staging import sweep
from training.data.pairs import PairStore, draw_styles, read_tar, sample_styles, shard_path, write_shard
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
    torch_dtype: DtypeName = "auto"
    """of the generator; auto: bfloat16 where that saves time"""
    device: str = "cpu"
    """where it draws"""
    mixed_share: Share = 0.0
    """of pairs whose styles are of three faces: for training in W+"""
    preview: Switch = False
    """a little less exact, in less time"""
    decode_net: OrNone[Path] = None
    """of fit_small_generator.py: softer pictures, in less time again"""
    styles_dir: OrNone[Path] = None
    """a store whose styles are drawn, instead of random ones"""

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
        if self.styles_dir and self.mixed_share:
            raise ValueError("--mixed_share is of random styles, and --styles_dir has others")
        if self.styles_dir and self.styles_dir.resolve() == self.output_dir.resolve():
            raise ValueError(f"--output_dir is --styles_dir, {self.styles_dir}: expected another folder")


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


def styles_of(settings: StoreSettings, generator: Generator) -> Callable[[range], tuple[list[int], Tensor]]:
    """What gives the pairs of a range: their indices, and w [N, w_dim] or [N, num_ws, w_dim]."""
    if settings.styles_dir:
        store = PairStore([settings.styles_dir])

        def stored(pairs: range) -> tuple[list[int], Tensor]:
            return [store.indices[i] for i in pairs], torch.stack([store.rows[i].float() for i in pairs])

        return stored

    def sampled(pairs: range) -> tuple[list[int], Tensor]:
        indices = [settings.first_index + i for i in pairs]
        return indices, sample_styles(generator, indices, settings.mixed_share)

    return sampled


def make_shards(settings: StoreSettings, shards: list[int], done: multiprocessing.Queue) -> None:
    """Make `shards`, and report the number of pairs after each batch."""
    torch.set_num_threads(max(1, torch.get_num_threads() // settings.num_processes))
    generator = load_generator(settings.generator)
    small = SmallSynthesis.from_file(settings.decode_net, generator) if settings.decode_net else None
    for network in (generator, small):
        if network is not None:
            network.to(settings.device, dtype_of(settings.torch_dtype, settings.device))
    styles = styles_of(settings, generator)
    for shard in shards:
        indices, w = styles(settings.pairs_of(shard))
        images = []
        for some in w.split(settings.batch_size):
            images.append(draw_styles(generator, some.to(settings.device), settings.preview, small).cpu())
            done.put(len(some))
        write_shard(settings.output_dir, shard, torch.cat(images), w.cpu(), indices)


def main(settings: StoreSettings) -> None:
    if settings.styles_dir:
        settings = replace(settings, num_pairs=min(settings.num_pairs, len(PairStore([settings.styles_dir]))))
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
