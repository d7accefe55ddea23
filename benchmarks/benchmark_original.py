"""How long the original's networks take on this machine, warm: encoder (267 M parameters) and StyleGAN2 at 1024 px.

    python benchmarks/benchmark_original.py
    python benchmarks/benchmark_original.py --resolution 256 --batch_sizes 1 --threads 1

The weights are random, which takes as long as any.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from psp_hub.config import ENCODER_SIZE
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.generators.stylegan2 import RESOLUTIONS, StyleGAN2

WARM_UP = 1


def measure(name: str, run: Callable[[], Tensor], repeats: int) -> None:
    """Print the median and the best time of a call."""
    seconds, busy = [], []
    for _ in range(WARM_UP + repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            run()
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu_start)
    seconds, busy = seconds[WARM_UP:], busy[WARM_UP:]
    # The processor's time, of all threads together, says more where other programs run.
    print(
        f"{name:<20} {statistics.median(seconds):7.3f} s, best {min(seconds):.3f} s, "
        f"processor {statistics.median(busy):.3f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=1024, choices=RESOLUTIONS)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="fast where the processor has instructions for it")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.bfloat16 if args.bfloat16 else torch.float32
    generator = StyleGAN2(args.resolution).eval()
    encoder = PSPEncoder(in_channels=3, num_ws=generator.num_ws, **PSP).eval()
    for module in (generator, encoder):
        torch.nn.Module.to(module, dtype)  # the own `to` of diffusers warns without a reason
    print(f"{args.resolution} px, {dtype}, {args.threads} threads, median of {args.repeats}")
    for batch_size in args.batch_sizes:
        x = torch.rand(batch_size, 3, ENCODER_SIZE, ENCODER_SIZE, dtype=dtype)
        ws = torch.randn(batch_size, generator.num_ws, generator.w_dim, dtype=dtype)
        measure(f"encoder, batch {batch_size}", lambda x=x: encoder(x), args.repeats)
        measure(f"StyleGAN2, batch {batch_size}", lambda ws=ws: generator.synthesis(ws), args.repeats)
    print(f"{'peak memory':<20} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:7.2f} GiB")


if __name__ == "__main__":
    main()
