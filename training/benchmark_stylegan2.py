"""How long StyleGAN2 draws on this machine, warm, with random weights (which take as long as any), and its memory.

python training/benchmark_stylegan2.py --batch_sizes 1 4
python training/benchmark_stylegan2.py --resolution 256 --threads 1
"""

import argparse
import resource
import statistics
import time

import torch

from psp_hub.generators.stylegan2 import RESOLUTIONS, StyleGAN2
from psp_hub.loading import ready
from psp_hub.memory import keep_freed_memory

WARM_UP = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=1024, choices=RESOLUTIONS)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--bfloat16", action="store_true", help="fast only where the processor has instructions for it"
    )
    parser.add_argument("--plain_malloc", action="store_true", help="without psp_hub.memory.keep_freed_memory")
    args = parser.parse_args()
    if not args.plain_malloc:
        keep_freed_memory()
    torch.set_num_threads(args.threads)
    dtype = torch.bfloat16 if args.bfloat16 else torch.float32
    generator = ready(StyleGAN2(args.resolution))
    if args.bfloat16:
        generator = generator.to(dtype)
    print(f"StyleGAN2, {args.resolution} px, {dtype}, {args.threads} threads, median of {args.repeats}")
    for batch_size in args.batch_sizes:
        z = torch.randn(batch_size, generator.w_dim, dtype=dtype)
        seconds, cpu_seconds = [], []
        for _ in range(WARM_UP + args.repeats):
            start, cpu_start = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                generator.synthesis(generator.mapping(z)[:, None].expand(-1, generator.num_ws, -1))
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
        median, busy = statistics.median(seconds[WARM_UP:]), statistics.median(cpu_seconds[WARM_UP:])
        # The processor's time, of all threads together, says more where other programs run.
        print(f"batch {batch_size:>3} {median:7.3f} s, best {min(seconds[WARM_UP:]):.3f} s, processor {busy:.3f} s")
    print(f"     peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:7.2f} GiB")


if __name__ == "__main__":
    main()
