"""How much the variations of one input differ, and how well they keep the layout of the face.

    python benchmarks/measure_variations.py segmentation label-maps --edge_detector hed_vgg16_fp16.safetensors \
        --output_dir report

MODEL is a starter's name, a saved folder or a repository on the Hub; INPUTS a folder of pictures as its users bring
them. The face parser that ships finds the parts of every variation. Written: variations.json and variations.png.
"""

import argparse
import json
from itertools import combinations, pairwise
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from psp_hub.face_parser import FaceParser
from psp_hub.images.preprocessing import prepare_tensor, tensor_to_images
from psp_hub.model import PSPModel, load_model
from training.data.folders import FolderPictures
from training.evaluation.segmentation import confusion, segmentation_figures
from training.networks.perceptual import PerceptualDistance
from training.run.validation import shrink, visible

SHOWN = 10


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("inputs", metavar="INPUTS", type=Path)
    parser.add_argument("--num_inputs", type=int, default=20, help="the last ones by name; 0 for all")
    parser.add_argument("--num_variations", type=int, default=4)
    parser.add_argument("--edge_detector", type=Path, metavar="FILE", help="HED: perceptual distance")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(args)
    if args.num_variations < 2:
        parser.error(f"--num_variations is {args.num_variations}, expected 2 or more")
    return args


def variations(model: PSPModel, inputs: Tensor, number: int, seed: int) -> tuple[Tensor, Tensor]:
    """The answer to one input [1, C, 256, 256], and variations of it: [1, 3, 256, 256] and [number, 3, 256, 256]."""
    ws = model.encode(inputs)
    varied = model.mix(ws, seed=seed, num_variations=number)
    images = [shrink(model.decode(one)).clamp(-1, 1) for one in (ws, *varied.split(1))]
    return images[0], torch.cat(images[1:])


def compare(
    images: Tensor, parser: FaceParser, distance: PerceptualDistance | None, pairs: list[tuple[int, int]]
) -> dict[str, float]:
    """Means over pairs of the pictures [N, 3, 256, 256]."""
    labels = torch.cat([parser(image).argmax(dim=1) for image in images.split(1)])  # [N, 256, 256]
    figures = [segmentation_figures(confusion(labels[i], labels[j])) for i, j in pairs]
    found = {name: sum(one[name] for one in figures) / len(pairs) for name in ("pixel_accuracy", "mean_iou")}
    if distance:
        found["perceptual"] = sum(distance(images[i : i + 1], images[j : j + 1]).item() for i, j in pairs) / len(pairs)
    return found


@torch.no_grad()
def main(args: argparse.Namespace) -> dict:
    model, parser = load_model(args.model), FaceParser.from_starter()
    distance = PerceptualDistance(args.edge_detector) if args.edge_detector else None
    pictures = FolderPictures(args.inputs, model.config.input_kind)
    rows, answers = [], []
    found: list[dict[str, float]] = []
    for i in tqdm(range(len(pictures))[-args.num_inputs :], unit="input"):
        inputs = prepare_tensor(pictures.file(i), model.config.input_kind)
        answer, varied = variations(model, inputs, args.num_variations, args.seed)
        found.append(compare(varied, parser, distance, list(combinations(range(args.num_variations), 2))))
        answers.append(answer)
        if len(rows) < SHOWN:
            rows.append(torch.cat([visible(inputs)[0], answer[0], *varied], dim=2))  # [3, 256, (2 + N) 256]
    report: dict = {"model": args.model, "count": len(found), "variations": args.num_variations}
    report["variations of one input"] = {name: sum(one[name] for one in found) / len(found) for name in found[0]}
    if len(answers) > 1:
        neighbours = list(pairwise(range(len(answers))))
        report["answers to different inputs"] = compare(torch.cat(answers), parser, distance, neighbours)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    tensor_to_images(torch.cat(rows, dim=1)[None])[0].save(args.output_dir / "variations.png")
    (args.output_dir / "variations.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    main(parse_args())
