"""Make (image, w) pairs from a generator. Run the same command again to go on where it stopped.

python training/recipes/make_pairs.py --output_dir pairs --num_pairs 20000 --num_processes 2
"""

import argparse
import multiprocessing
import os
import threading
from pathlib import Path

import torch
from tqdm import tqdm

from psp_hub.generators import load_generator
from training.data.pairs import read_tar, sample_pairs, shard_path, write_shard
from training.networks.small_generator import SmallSynthesis

SHARD_SIZE = 500
FAILED = "a worker failed; its error is above. Run the command again to go on."


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--num_pairs", type=int, default=20_000)
    parser.add_argument("--first_index", type=int, default=1_000_000, help="pair i is a function of this number + i")
    parser.add_argument("--generator", default="mobilestylegan-ffhq", help="name of a generator or a saved folder")
    parser.add_argument("--batch_size", type=int, default=1, help="1 is fastest on a CPU")
    parser.add_argument("--num_processes", type=int, default=1)
    parser.add_argument("--torch_dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--mixed_share", type=float, default=0.0, help="of pairs whose styles are of three faces: for training in W+"
    )
    faster = parser.add_mutually_exclusive_group()
    faster.add_argument("--preview", action="store_true", help="a little less exact, in less time")
    faster.add_argument(
        "--decode_net",
        type=Path,
        help="of fit_small_generator.py: softer pictures, in less time again",
    )
    parsed = parser.parse_args(args)
    if not 0 <= parsed.mixed_share <= 1:
        parser.error(f"--mixed_share is {parsed.mixed_share}, expected 0 to 1")
    return parsed


def end_with_parent() -> None:
    """End this process as soon as its parent has ended, however that happened."""
    multiprocessing.parent_process().join()
    os._exit(1)


def work(args: argparse.Namespace, shards: list[int], done: multiprocessing.Queue) -> None:
    """What a worker process runs."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    make_shards(args, shards, done)


def make_shards(args: argparse.Namespace, shards: list[int], done: multiprocessing.Queue) -> None:
    """Make `shards`, and report the number of pairs after each batch."""
    torch.set_num_threads(max(1, torch.get_num_threads() // args.num_processes))
    generator = load_generator(args.generator)
    small = SmallSynthesis.from_file(args.decode_net, generator) if args.decode_net else None
    for network in (generator, small):
        if network is not None:
            network.to(args.device, getattr(torch, args.torch_dtype))
    for shard in shards:
        indices = [args.first_index + i for i in shard_range(args, shard)]
        parts = []
        for i in range(0, len(indices), args.batch_size):
            some = indices[i : i + args.batch_size]
            parts.append(sample_pairs(generator, some, args.mixed_share, args.preview, small))
            done.put(len(parts[-1][1]))
        images, w = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        write_shard(args.output_dir, shard, images, w, indices)


def shard_range(args: argparse.Namespace, shard: int) -> range:
    """Which of the pairs belong to a shard."""
    return range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, args.num_pairs))


def is_complete(args: argparse.Namespace, shard: int) -> bool:
    """Whether a shard is there; the last one of a run with fewer pairs may be too short for this one."""
    path = shard_path(args.output_dir, shard)
    return path.exists() and len(read_tar(path)) >= len(shard_range(args, shard))


def main(args: argparse.Namespace) -> None:
    args.output_dir.mkdir(parents=True, exist_ok=True)
    num_shards = -(-args.num_pairs // SHARD_SIZE)
    missing = [shard for shard in range(num_shards) if not is_complete(args, shard)]
    generator = load_generator(args.generator)  # fetched and converted once, before the processes start
    if args.decode_net:
        SmallSynthesis.from_file(args.decode_net, generator)  # a file that does not fit is refused here
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    workers = [
        context.Process(target=work, args=(args, missing[rank :: args.num_processes], done), daemon=True)
        for rank in range(args.num_processes)
    ]
    for worker in workers:
        worker.start()
    total = sum(len(shard_range(args, shard)) for shard in missing)
    with tqdm(total=args.num_pairs, initial=args.num_pairs - total, unit="pair") as progress:
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
