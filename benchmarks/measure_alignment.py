"""How well faces are found and aligned: aligned photos are put into larger pictures, found again, and compared.

    python benchmarks/measure_alignment.py --faces_dir faces/images --masks_dir faces/masks --first 600 --num_faces 100

The label maps say where eyes and mouth are. Printed are, for each kind of picture, how many faces are found, and how
far from there eyes and mouth come out, in pixels of 256: of the detector alone, and after the parser's look at it.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from psp_hub.alignment.faces import (
    DETECTOR_SIDES,
    TURNS,
    USUAL_POINTS,
    Face,
    find_faces,
    is_aligned,
    parsed_points,
    search,
)
from psp_hub.alignment.ffhq_crop import Corners, Points, crop_corners
from psp_hub.images.preprocessing import tensor_to_images
from training.data.labelled_photos import LabelledPhotos
from training.evaluation.report import print_report

SIZE = 256
WIDTH, HEIGHT = 800, 600
BACKDROPS = ("noise", "gradient", "texture")
Rng = np.random.Generator


class Scene(NamedTuple):
    picture: Image.Image
    places: list[np.ndarray]  # [2, 3] each: from pixels of an aligned face of 256 px to those of the picture


def backdrop(kind: str, rng: Rng, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Something without a face: "noise", "gradient" or "texture" (noise of all sizes)."""
    width, height = size
    if kind == "noise":
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    if kind == "gradient":
        corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), np.uint8))
        return corners.resize(size, Image.Resampling.BILINEAR)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (max(2, height // step), max(2, width // step), 3), np.uint8)).resize(
                size, Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for step in (4, 16, 64, 256)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))


def similarity(side: float, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    """[2, 3]: an aligned face of 256 px gets this side, is turned about its centre, which goes there."""
    angle, scale = np.deg2rad(degrees), side / SIZE
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, np.array(centre) - turn @ [SIZE / 2, SIZE / 2]])


def paste(scene: Image.Image, face: Image.Image, place: np.ndarray) -> None:
    """Draw the face there, with a soft border; a small one is shrunk first."""
    inverse = np.linalg.inv(np.vstack([place, [0, 0, 1]]))[:2]
    shrink = max(1, int(round(np.sqrt(abs(np.linalg.det(inverse[:, :2]))))))
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    border = np.clip(np.minimum(np.minimum(x, SIZE - x), np.minimum(y, SIZE - y)) / 20, 0, 1)
    alpha = Image.fromarray((border * 255).astype(np.uint8))
    coefficients = tuple((inverse / shrink).ravel())
    piece, mask = (
        picture.reduce(shrink).transform(scene.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
        for picture in (face, alpha)
    )
    scene.paste(piece, (0, 0), mask)


def scene_of(
    face: Image.Image, rng: Rng, sides: tuple[float, float], degrees: float, turn: Image.Transpose | None = None
) -> Scene:
    """The face somewhere in front of a backdrop; `turn` turns the whole picture."""
    picture = backdrop(str(rng.choice(BACKDROPS)), rng)
    side, angle = float(np.exp(rng.uniform(*np.log(sides)))), float(rng.uniform(-degrees, degrees))
    reach = side / 2 * (abs(np.cos(np.deg2rad(angle))) + abs(np.sin(np.deg2rad(angle))))
    centre = tuple(float(rng.uniform(reach, length - reach)) for length in picture.size)
    place = similarity(side, angle, centre)
    paste(picture, face, place)
    if turn is None:
        return Scene(picture, [place])
    turned = {
        Image.Transpose.ROTATE_90: np.array([[0, 1, 0], [-1, 0, WIDTH]]),
        Image.Transpose.ROTATE_180: np.array([[-1, 0, WIDTH], [0, -1, HEIGHT]]),
        Image.Transpose.ROTATE_270: np.array([[0, -1, HEIGHT], [1, 0, 0]]),
    }[turn]
    return Scene(picture.transpose(turn), [turned @ np.vstack([place, [0, 0, 1]])])


CASES: dict[str, Callable[[Image.Image, Rng], Scene]] = {
    "the aligned photo itself": lambda face, rng: Scene(face, [similarity(SIZE, 0, (SIZE / 2, SIZE / 2))]),
    "60 to 400 px, upright": lambda face, rng: scene_of(face, rng, (60, 400), 0),
    "60 to 400 px, turned by up to 40 degrees": lambda face, rng: scene_of(face, rng, (60, 400), 40),
    "100 to 400 px, the picture turned by 90, 180, 270 degrees": lambda face, rng: scene_of(
        face, rng, (100, 400), 10, TURNS[int(rng.integers(1, 4))]
    ),
} | {f"{side} px": lambda face, rng, side=side: scene_of(face, rng, (side, side + 1), 10) for side in (24, 32, 48, 64)}


def reference_points(labels: np.ndarray) -> Points:
    return parsed_points(labels, USUAL_POINTS)[0]


def offsets(corners: Corners, place: np.ndarray, reference: Points) -> np.ndarray:
    """How far eyes and mouth come out from where they were, [3], in pixels of an answer of 256."""
    points = reference @ place[:, :2].T + place[:, 2]
    axes = (corners[[3, 1]] - corners[0]) / SIZE
    return np.linalg.norm((points - corners[0]) @ np.linalg.inv(axes) - reference, axis=1)


def nearest(faces: list[Face], place: np.ndarray) -> Face | None:
    """The face that lies there, None if no centre is within a quarter of the side."""
    centre = place @ [SIZE / 2, SIZE / 2, 1]
    side = SIZE * np.sqrt(np.linalg.det(place[:, :2]))
    near = [face for face in faces if np.linalg.norm(face.corners.mean(axis=0) - centre) < side / 4]
    return near[0] if near else None


def measure(photos: LabelledPhotos, make: Callable[[Image.Image, Rng], Scene], seed: int) -> dict:
    """Figures of one kind of picture."""
    found: dict[str, list] = {"detector": [], "parser": []}
    false_alarms, unchanged = 0, 0
    for i in tqdm(range(len(photos)), leave=False):
        image, labels = photos[0, i]
        reference, rng = reference_points(labels.numpy()), np.random.default_rng((seed, i))
        scene = make(tensor_to_images(image[None])[0], rng)
        rough = next((faces for turn in TURNS if (faces := search(scene.picture, DETECTOR_SIDES[0], turn))), [])
        fine = find_faces(scene.picture)
        false_alarms += sum(all(nearest([face], place) is None for place in scene.places) for face in fine)
        for name, faces in (("detector", rough), ("parser", fine)):
            for place in scene.places:
                if (face := nearest(faces, place)) is None:
                    continue
                corners = face.corners
                if name == "parser" and is_aligned(scene.picture, face):
                    unchanged += 1
                    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * scene.picture.size
                found[name].append(offsets(corners, place, reference))
    report: dict = {"faces": len(photos), "unchanged": unchanged, "false alarms": false_alarms}
    for name, distances in found.items():
        figures = {"found": len(distances)}
        if distances:
            figures |= {"median px": round(float(np.median(distances)), 2)}
            figures |= {"95 % px": round(float(np.quantile(distances, 0.95)), 2)}
        report[name] = figures
    return report


def measure_rule(photos: LabelledPhotos) -> dict:
    """Where eyes and mouth are in the photos, and how far the corners are from those of FFHQ's rule."""
    own = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]])
    points = np.stack([reference_points(photos[0, i][1].numpy()) for i in range(len(photos))])
    away = [np.linalg.norm(crop_corners(three) - own, axis=1).mean() for three in points]
    usual = np.median(points, axis=0).round(1).tolist()
    return {
        "usual points": usual,
        "corners px": round(float(np.median(away)), 2),
        "95 %": round(float(np.quantile(away, 0.95)), 2),
    }


def count_false_alarms(photos: LabelledPhotos, num_backdrops: int, seed: int) -> dict:
    """Faces found where there are none: in backdrops, and in photos cut into pieces and shuffled."""
    rng, report = np.random.default_rng(seed), {}
    pictures = {kind: [backdrop(kind, rng, (640, 480)) for _ in range(num_backdrops)] for kind in BACKDROPS}
    pictures["shuffled faces"] = []
    for i in range(min(5 * num_backdrops, len(photos))):
        image = np.asarray(tensor_to_images(photos[0, i][0][None])[0])
        pieces = image.reshape(8, 32, 8, 32, 3).swapaxes(1, 2).reshape(64, 32, 32, 3)
        mixed = rng.permutation(pieces).reshape(8, 8, 32, 32, 3).swapaxes(1, 2).reshape(SIZE, SIZE, 3)
        pictures["shuffled faces"].append(Image.fromarray(mixed))
    for kind, group in tqdm(pictures.items(), leave=False):
        detector = sum(bool(search(picture, DETECTOR_SIDES[0])) for picture in group)
        report[kind] = {
            "pictures": len(group),
            "detector": detector,
            "parser": sum(bool(find_faces(p)) for p in group),
        }
    return report


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces_dir", type=Path, required=True, help="aligned photos")
    parser.add_argument("--masks_dir", type=Path, required=True, help="NAME.png of class numbers for each photo")
    parser.add_argument("--first", type=int, default=0, help="number of the first photo, by name")
    parser.add_argument("--num_faces", type=int, default=100)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--num_backdrops", type=int, default=8, help="pictures of each kind that show no face")
    parser.add_argument("--rule", action="store_true", help="only compare FFHQ's rule with the label maps: seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a JSON file to write the figures to, too")
    return parser.parse_args(args)


def main(args: argparse.Namespace) -> dict:
    photos = LabelledPhotos(args.faces_dir, args.masks_dir, slice(args.first, args.first + args.num_faces))
    report: dict = {"rule": measure_rule(photos)}
    if not args.rule:
        for name in args.cases:
            report[name] = measure(photos, CASES[name], args.seed)
            print(name, json.dumps(report[name]), flush=True)
        report["no face"] = count_false_alarms(photos, args.num_backdrops, args.seed)
    print_report(report, args.output)
    return report


if __name__ == "__main__":
    main(parse_args())
