"""Measure a model on unseen pairs and on drawings of real faces. Writes report.json and two pictures.

    python training/evaluate.py --task sketch --model sketch --pairs_dir pairs --faces_dir faces \
        --recogniser mobilefacenet_128d.safetensors --edge_detector hed_vgg16_fp16.safetensors --output_dir report
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from psp_hub.memory import keep_freed_memory
from psp_hub.model import PSPModel
from psp_hub.preprocessing import tensor_to_images
from psp_hub.tasks import TASKS
from training.drawings import draw
from training.faces import FacePhotos
from training.losses import WError
from training.networks import EdgeDetector, FaceRecogniser
from training.pairs import PairStore
from training.perceptual import PerceptualDistance
from training.validation import load_model, shrink

GRID_COLUMNS = 8


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--model", help="a saved folder or a starter's name; the starter of the task by default")
    parser.add_argument("--pairs_dir", type=Path, help="pairs that training has not seen: the last ones are used")
    parser.add_argument("--num_pairs", type=int, default=500)
    parser.add_argument("--faces_dir", type=Path, help="aligned photos of faces: the last ones by name are used")
    parser.add_argument("--num_faces", type=int, default=100)
    parser.add_argument("--recogniser", type=Path, help="MobileFaceNet, safetensors; needed with --faces_dir")
    parser.add_argument("--edge_detector", type=Path, help="HED, safetensors: clean lines, perceptual distance")
    parser.add_argument("--drawing_style", help="one style of drawing for all; by default the whole family")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args(args)
    if args.faces_dir and not args.recogniser:
        parser.error("--faces_dir needs --recogniser")
    return args


@dataclass
class Examples:
    """Pictures, the drawings made from them and, for synthetic ones, their w."""

    images: Tensor  # [N, 3, 256, 256] in [-1, 1]
    inputs: Tensor  # [N, 1, 256, 256] in [0, 1]
    w: Tensor | None = None  # [N, w_dim]


def make_drawings(images: Tensor, detector: EdgeDetector | None, style: str | None, seed: int) -> Tensor:
    """One drawing of each picture, from the whole family or in one style."""
    drawings = []
    for i, image in enumerate(tqdm(images, desc="drawing", unit="picture")):
        line_art = detector(image[None])[0] if detector else None
        drawings.append(draw(image, np.random.default_rng((seed, i)), line_art, style))
    return torch.stack(drawings)


def load_pairs(args: argparse.Namespace, detector: EdgeDetector | None) -> Examples:
    store = PairStore([args.pairs_dir])
    images, w = zip(*(store[i] for i in range(max(0, len(store) - args.num_pairs), len(store))), strict=True)
    images = torch.stack(images)
    return Examples(images, make_drawings(images, detector, args.drawing_style, args.seed), torch.stack(w))


def load_faces(args: argparse.Namespace, detector: EdgeDetector | None) -> Examples:
    images = torch.stack(list(FacePhotos(args.faces_dir, slice(-args.num_faces, None))))
    return Examples(images, make_drawings(images, detector, args.drawing_style, args.seed))


def run(model: PSPModel, inputs: Tensor) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Outputs [N, 3, 256, 256], ws [N, num_ws, w_dim] and median seconds of each half, one picture at a time."""
    outputs, styles, seconds = [], [], {"encoder": [], "generator": []}
    for one in tqdm(inputs.split(1), desc="translating", unit="picture"):
        start = time.perf_counter()
        ws = model.encode(one)
        middle = time.perf_counter()
        image = model.decode(ws)
        seconds["encoder"].append(middle - start)
        seconds["generator"].append(time.perf_counter() - middle)
        outputs.append(shrink(image))
        styles.append(ws)
    medians = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
    return torch.cat(outputs).clamp(-1, 1), torch.cat(styles), medians


def identity(recogniser: FaceRecogniser, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
    """Cosine similarity of each output with its own photo and with those of others, and how often its own wins.

    A single photo has no others: its `identity_shuffled` is None.
    """
    similarity = embed(recogniser, outputs) @ embed(recogniser, targets).T  # [N, N]
    n = len(similarity)
    matched = similarity.diagonal()
    return {
        "identity_matched": matched.mean().item(),
        "identity_shuffled": ((similarity.sum() - matched.sum()) / (n * (n - 1))).item() if n > 1 else None,
        "rank_1": (similarity.argmax(dim=1) == torch.arange(n)).float().mean().item(),
    }


def embed(recogniser: FaceRecogniser, images: Tensor) -> Tensor:
    return torch.cat([recogniser(part) for part in images.split(25)])


def measure(
    model: PSPModel, examples: Examples, recogniser: FaceRecogniser | None, distance: PerceptualDistance | None
) -> tuple[dict, Tensor]:
    """All figures of one set, and the outputs."""
    outputs, ws, seconds = run(model, examples.inputs)
    mean_face = shrink(model.decode(model.generator.w_avg.expand(1, model.generator.num_ws, -1))).clamp(-1, 1)
    baseline = mean_face.expand_as(outputs)
    report: dict = {"count": len(outputs), "seconds": seconds}
    if examples.w is not None:
        error, reference = WError(model.generator)(ws - model.generator.w_avg, examples.w)
        report["w_error"] = (error.sum() / reference.sum()).item()
    if recogniser:
        report |= identity(recogniser, outputs, examples.images)
        own = embed(recogniser, mean_face) @ embed(recogniser, examples.images).T
        report["mean_face"] = {"identity_matched": own.mean().item()}
    if distance:
        report["perceptual"] = mean_distance(distance, outputs, examples.images)
        report.setdefault("mean_face", {})["perceptual"] = mean_distance(distance, baseline, examples.images)
    return report, outputs


def mean_distance(distance: PerceptualDistance, outputs: Tensor, targets: Tensor) -> float:
    parts = zip(outputs.split(10), targets.split(10), strict=True)
    return torch.cat([distance(x, y) for x, y in parts]).mean().item()


def save_grid(examples: Examples, outputs: Tensor, path: Path, rows: int = 4) -> None:
    """Columns of input, target, output; `rows` such bands."""
    bands = []
    for start in range(0, min(len(outputs), rows * GRID_COLUMNS), GRID_COLUMNS):
        part = slice(start, start + GRID_COLUMNS)
        stacked = [examples.inputs[part].expand(-1, 3, -1, -1) * 2 - 1, examples.images[part], outputs[part]]
        band = torch.cat(stacked, dim=2)  # [columns, 3, 3 S, S]
        bands.append(torch.cat(list(band), dim=2))
    width = max(band.shape[2] for band in bands)
    bands = [torch.nn.functional.pad(band, (0, width - band.shape[2]), value=1) for band in bands]
    tensor_to_images(torch.cat(bands, dim=1)[None])[0].save(path)


@torch.no_grad()
def main(args: argparse.Namespace) -> dict:
    keep_freed_memory()
    name = args.model or args.task
    model = load_model(name)
    detector = EdgeDetector.from_file(args.edge_detector) if args.edge_detector else None
    distance = PerceptualDistance(args.edge_detector) if args.edge_detector else None
    recogniser = FaceRecogniser.from_file(args.recogniser) if args.recogniser else None
    args.output_dir.mkdir(parents=True, exist_ok=True)
    report: dict = {"task": args.task, "model": name, "drawing_style": args.drawing_style or "whole family"}
    for key, folder, load in (("pairs", args.pairs_dir, load_pairs), ("faces", args.faces_dir, load_faces)):
        if folder:
            examples = load(args, detector)
            report[key], outputs = measure(model, examples, recogniser, distance)
            save_grid(examples, outputs, args.output_dir / f"{key}.png")
    (args.output_dir / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    main(parse_args())
