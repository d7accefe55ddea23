"""How long a drawing takes to become a face on this machine, warm, and how much memory that needs.

python benchmarks/benchmark.py
"""

import argparse
import resource
import statistics
import time

import torch
from PIL import Image

from psp_hub.images.preprocessing import prepare_tensor, tensor_to_images
from psp_hub.model import PSPModel
from psp_hub.model_names import STARTERS

WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="sketch")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    model = PSPModel.from_starter(args.task)
    drawing = Image.open(sorted((STARTERS / args.task / "examples").glob("*.png"))[0])
    steps: dict[str, list[float]] = {"prepare": [], "encoder": [], "generator": [], "picture": [], "total": []}
    for _ in range(WARM_UP + args.repeats):
        times = [time.perf_counter()]
        with torch.no_grad():
            inputs = prepare_tensor(drawing, model.config.input_kind)
            times.append(time.perf_counter())
            ws = model.encode(inputs)
            times.append(time.perf_counter())
            images = model.decode(ws)
            times.append(time.perf_counter())
        tensor_to_images(images)
        times.append(time.perf_counter())
        lengths = [after - before for before, after in zip(times, times[1:], strict=False)]
        for name, seconds in zip(steps, [*lengths, times[-1] - times[0]], strict=True):
            steps[name].append(seconds)
    print(f"drawing {drawing.width} x {drawing.height} -> face {images.shape[3]} x {images.shape[2]}, ", end="")
    print(f"{torch.get_num_threads()} threads, median of {args.repeats}")
    for name, seconds in steps.items():
        print(f"{name:>10} {statistics.median(seconds[WARM_UP:]):7.3f} s")
    print(f"{'peak':>10} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:7.2f} GiB")


if __name__ == "__main__":
    main()
