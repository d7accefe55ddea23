"""How fast and how large everything is on this machine, each beside its peer in the same run.

    python benchmarks/benchmark.py
    python benchmarks/benchmark.py --only generator batches

Each row is a process of its own, so that its memory is its own; what is compared in it takes turns. OpenVINO is
compared where it is installed (`pip install openvino`) and finds the network in its own format: in the wheel that
`pip download --no-deps random-face` fetches, named by `--wheel`. `benchmarks/benchmark_step.py` has more of training,
`benchmarks/benchmark_page.py` of the page.
"""

import argparse
import io
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from benchmarks.peers import openvino_mobile_stylegan, original_stylegan2
from psp_hub.config import ENCODER_SIZE
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.generators import load_generator
from psp_hub.generators import mobile_stylegan as mobile
from psp_hub.generators.stylegan2 import StyleGAN2
from psp_hub.images.png import save_png
from psp_hub.model import PSPModel
from psp_hub.model_names import STARTERS

ROOT = Path(__file__).parents[1]


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(runs: dict[str, Callable[[], object]], repeats: int) -> None:
    """Let the runs take turns; print the median and the best of each, and the time of the first over its own."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + repeats):
        for name, run in runs.items():
            seconds[name].append(timed(run))
    first = next(iter(seconds.values()))[1:]  # the first turn warms up
    for name, (_, *others) in seconds.items():
        ratio = statistics.median(first) / statistics.median(others), min(first) / min(others)
        print(f"  {name:<44} {statistics.median(others):7.3f} s, best {min(others):7.3f} s", end="")
        print(
            "" if others is first or others == first else f"; first / this {ratio[0]:.2f}, of the best {ratio[1]:.2f}"
        )


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at the peak"


def example(task: str) -> Path:
    return min((STARTERS / task / "examples").glob("*.png"))


def generator(args: argparse.Namespace) -> None:
    """MobileStyleGAN, 1024 px, float32: ours, the plain pass, OpenVINO; and ours in bfloat16."""
    network, rounded = (load_generator("mobilestylegan-ffhq", dtype) for dtype in (torch.float32, torch.bfloat16))
    w = network.mapping(torch.randn(1, network.w_dim, generator=torch.Generator().manual_seed(0)))
    ws = w[:, None].expand(-1, network.num_ws, -1)
    can_be_banded = mobile.can_be_banded

    def plain() -> torch.Tensor:
        mobile.can_be_banded = lambda *_: False
        try:
            return network.synthesis(ws)
        finally:
            mobile.can_be_banded = can_be_banded

    runs: dict[str, Callable[[], torch.Tensor]] = {"ours": lambda: network.synthesis(ws), "plain pass": plain}
    runs["ours in bfloat16"] = lambda: rounded.synthesis(ws.bfloat16()).float()
    try:
        for precision, name in (("f32", "OpenVINO"), ("bf16", "OpenVINO in bfloat16")):
            draw = openvino_mobile_stylegan(args.wheel, precision, torch.get_num_threads())
            runs[name] = lambda draw=draw: draw(w)
    except ValueError as error:
        print(f"  without OpenVINO: {error}")
    ours = network.synthesis(ws)
    for name, run in list(runs.items())[1:]:
        difference = (run() - ours).abs()
        print(f"  {name}: pixels differ by {difference.max():.1e} at most, {difference.mean():.1e} in the mean, of 2")
    compare(runs, args.repeats)


def answer(args: argparse.Namespace) -> None:
    """From a drawing to a face: the README's lines, what they consist of, and the file."""
    model, drawing = PSPModel.from_starter("sketch"), Image.open(example("sketch"))
    inputs = model.prepare(drawing)
    ws = model.encode(inputs)
    face = model(drawing).images[0]
    parts = {
        "drawing to picture": lambda: model(drawing),
        "the drawing prepared": lambda: model.prepare(drawing),
        "encoder": lambda: model.encode(inputs),
        "generator": lambda: model.decode(ws),
        "PNG, written quickly": lambda: save_png(face, io.BytesIO()),
        "PNG, as Pillow writes it": lambda: face.save(io.BytesIO(), "PNG"),
    }
    compare(parts, args.repeats)
    quick, usual = io.BytesIO(), io.BytesIO()
    save_png(face, quick)
    face.save(usual, "PNG")
    print(f"  PNG: {len(quick.getvalue()):,} bytes, as Pillow writes it {len(usual.getvalue()):,}; {peak()}")


def stylegan2(args: argparse.Namespace) -> None:
    """StyleGAN2, 1024 px, float32: ours and the operations of the original."""
    network = StyleGAN2(1024).eval()
    ws, original = torch.randn(1, network.num_ws, network.w_dim), original_stylegan2(network)
    ours = network.synthesis(ws)
    print(f"  ours alone: {peak()}")
    print(f"  largest difference: {(original(ws) - ours).abs().max() / ours.abs().max():.1e} of the largest value")
    compare({"ours": lambda: network.synthesis(ws), "original": lambda: original(ws)}, max(1, args.repeats // 3))
    print(f"  both: {peak()}")


def encoder(args: argparse.Namespace) -> None:
    """Encoders, float32: ours, and the original's architecture (267 M parameters)."""
    x = torch.rand(1, 3, ENCODER_SIZE, ENCODER_SIZE)
    ours, original = PSPEncoder(in_channels=3).eval(), PSPEncoder(in_channels=3, **PSP).eval()
    compare({"ours": lambda: ours(x), "original": lambda: original(x)}, args.repeats)


def folder(args: argparse.Namespace) -> None:
    """`psp-hub translate` of a folder, with its start, between the same number of answers of the model alone."""
    model, face = PSPModel.from_starter("inversion"), Image.open(example("inversion")).convert("RGB")
    whole = Image.new("RGB", (3 * face.width, 2 * face.height), (96, 128, 112))
    whole.paste(face, (face.width, face.height // 2))
    runs = {"aligned photos": (face, []), "the same, --no-align": (face, ["--no-align"]), "whole photos": (whole, [])}
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as name:
        for kind, (picture, _) in runs.items():
            (Path(name) / kind).mkdir()
            for i in range(args.pictures):
                picture.save(Path(name) / kind / f"{i}.png")

        def translate(kind: str) -> None:
            words = ["translate", str(Path(name) / kind), "--task", "inversion", "-o", str(Path(name) / "faces")]
            command = [sys.executable, "-c", "from psp_hub.cli.main import program; program()"]
            subprocess.run(command + words + runs[kind][1], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)

        def alone() -> float:
            return timed(lambda: [model(face) for _ in range(args.pictures)])

        model(face)
        for _ in range(max(1, args.repeats // 3)):
            before = alone()
            for kind, found in ratios.items():
                seconds, after = timed(lambda kind=kind: translate(kind)), alone()
                print(f"  {kind:<22} {seconds:5.1f} s; alone {before:.1f} s before, {after:.1f} after", flush=True)
                found.append(2 * seconds / (before + after))
                before = after
    for kind, found in ratios.items():
        print(f"  {kind:<22} {statistics.median(found):.2f} times the answers alone, median of {len(found)}")


def batches(args: argparse.Namespace) -> None:
    """Seconds of a picture and memory, over the size of the batch; and over threads."""
    options = [("--batch_size", str(2**i)) for i in range(5)] + [("--num_threads", "1")]
    for option in options:
        subprocess.run([sys.executable, __file__, "--row", "batch", *option], check=True, cwd=ROOT)


def batch(args: argparse.Namespace) -> None:
    model = PSPModel.from_starter("sketch")
    drawings = [Image.open(example("sketch"))] * args.batch_size
    model(drawings)
    seconds = statistics.median(timed(lambda: model(drawings)) for _ in range(3)) / args.batch_size
    threads = torch.get_num_threads()
    print(f"  batch {args.batch_size:>2}, {threads} threads: {seconds:.3f} s a face, {peak()}", flush=True)


def many(args: argparse.Namespace) -> None:
    """Memory over many answers in a row."""
    model, drawing = PSPModel.from_starter("sketch"), Image.open(example("sketch"))
    page = resource.getpagesize()
    for i in range(args.answers + 1):
        if i in {1, args.answers // 4, args.answers // 2, args.answers}:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
            print(f"  after {i:>3} answers {resident / 2**20:.0f} MiB", flush=True)
        model(drawing)


def start(args: argparse.Namespace) -> None:
    """From a command to its end."""
    codes = ["import psp_hub", "import torch", "from psp_hub import PSPModel"]
    help_code = "import sys; from psp_hub.cli.main import main; sys.argv = ['psp-hub', '--help']; main()"
    runs = dict(zip([*codes, "psp-hub --help"], [*codes, help_code], strict=True))

    def run(code: str) -> object:
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)

    compare({name: lambda code=code: run(code) for name, code in runs.items()}, max(1, args.repeats // 3))


def training(args: argparse.Namespace) -> None:
    """A training step, with freed memory kept and without."""
    for options in ([], ["--plain_malloc"]):
        print(f"  {' '.join(options)}", flush=True)
        command = [sys.executable, "benchmarks/benchmark_step.py", "--only", "light-images", *options]
        subprocess.run([*command, "--train_batch_size", "2", "--repeats", "3"], check=True, cwd=ROOT)


ROWS = (generator, answer, stylegan2, encoder, folder, batches, many, start, training)


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [row.__name__ for row in ROWS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="some of the rows")
    parser.add_argument("--wheel", type=Path, help="random_face-2021.7.21.1-py3-none-any.whl, for OpenVINO")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--pictures", type=int, default=100, help="in the folder")
    parser.add_argument("--answers", type=int, default=512, help="in a row")
    parser.add_argument("--num_threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--row", choices=[*names, batch.__name__], help=argparse.SUPPRESS)
    parser.add_argument("--batch_size", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args(args)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.num_threads)
    if args.row:
        with torch.no_grad():
            return globals()[args.row](args)
    print(f"{processor()}, {args.num_threads} threads, torch {torch.__version__}, median of {args.repeats}")
    for row in ROWS:
        if row.__name__ in args.only:
            print(f"{row.__name__}: {row.__doc__} Load {os.getloadavg()[0]:.1f}.", flush=True)
            subprocess.run([sys.executable, __file__, "--row", row.__name__, *sys.argv[1:]], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
