"""Measure what generated faces have (glasses, a beard, long hair ...), and fit heads that read it from w.

    python training/recipes/measure_attributes.py --pairs_dir pairs --label_maps_dir labels \
        --drawings_dir drawings --recogniser mobilefacenet_128d.safetensors --output attributes.safetensors

Most attributes are told from the label map. Beards are not in it: some faces were looked at one by one
(`beards_looked_at.json`), and a head learned from them decides for the others. PAIRS has to hold these: face i has z
and then psi, uniform from 0.5 to 1, of `numpy.random.RandomState(i)`, for i from 0 to 4,999. What a woman
looks like comes from the photos of DRAWINGS (`training.evaluation.artists`), through the recogniser; how old somebody
is, from the direction that ships with the package. Values between two thresholds are not known. Written: `index` and
`values` of each pair, `weight` and `bias` of the heads, and `vectors`, see `training.networks.attributes`. Prints how
well each head does on a fifth of the pairs that it was not fitted on (area under the curve), and how many pairs have
the attribute.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from psp_hub.directions import load_directions
from psp_hub.generators import load_generator
from training.data.faces import FacePhotos
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore
from training.losses.w_error import WError
from training.networks.identity import embed_all
from training.networks.mobilefacenet import FaceRecogniser
from training.settings.flags import Folders, parse
from training.strokes import ATTRIBUTES
from training.strokes.facts import NUMBERS

LOOKED_AT = Path(__file__).with_name("beards_looked_at.json")
MEASURES = ("glasses", "hat", "hair", "open", "chin", "jaw", "lip", "lip_texture", "low_hair", "bend")
NAN = float("nan")
RIDGE, BEARD_RIDGE = 3e-3, 1e-2  # of the heads, by how many examples they have
BEARDS, NO_BEARDS = 0.955, 0.86  # quantiles of the beard's head; what is between is stubble
MOUSTACHES, NO_MOUSTACHES = 0.90, 0.70  # quantiles among men
OLD, NOT_OLD = 0.87, 0.65


def middle(values: np.ndarray, mask: np.ndarray) -> float:
    return float(np.median(values[mask])) if mask.sum() >= 10 else NAN


def measure_face(image: Tensor, labels: np.ndarray) -> list[float]:
    """`MEASURES` of one face, NaN where they cannot be taken.

    Args:
        image: [3, 256, 256] in [-1, 1].
        labels: [256, 256].
    """
    shares = [float((labels == NUMBERS[name]).mean()) for name in ("glasses", "hat", "hair", "mouth")]
    lips_y, lips_x = np.nonzero(np.isin(labels, [NUMBERS[name] for name in ("mouth", "u_lip", "l_lip")]))
    nose_y, eyes_y = (
        np.nonzero(np.isin(labels, [NUMBERS[name] for name in names]))[0]
        for names in (("nose",), ("l_eye", "r_eye", "glasses"))
    )
    if len(lips_y) < 60 or len(nose_y) < 60 or len(eyes_y) < 20:
        return shares + [NAN] * (len(MEASURES) - len(shares))
    light = np.tensordot((0.299, 0.587, 0.114), ((image + 1) / 2).numpy(), 1)
    y, x = np.mgrid[:256, :256]
    skin, across, nose = labels == NUMBERS["skin"], np.abs(x - lips_x.mean()), np.percentile(nose_y, 97)
    height, width = (np.subtract(*np.percentile(places, (98, 2))) for places in (lips_y, lips_x))
    below = lips_y.mean() + height / 2 + 3
    chin = skin & (y > below) & (y < below + 26) & (across < width * 0.6)
    jaw = skin & (y > lips_y.mean() - 8) & (y < below + 19) & (across > width * 0.6)
    lip = skin & (y > nose + 2) & (y < np.percentile(lips_y, 2)) & (across < width * 0.5)
    cheeks = middle(light, skin & (y > eyes_y.mean() + 12) & (y < nose + 6))
    darker = [1 - middle(light, mask) / cheeks for mask in (chin, jaw, lip)]
    edges = np.abs(np.diff(light, axis=0, prepend=light[:1]))
    texture = float(edges[lip].mean()) if lip.sum() >= 10 else NAN
    low_hair = float((labels[min(int(lips_y.mean() + height / 2 + 10), 250) :] == NUMBERS["hair"]).mean())
    place = (lips_x - lips_x.min()) / max(1, np.ptp(lips_x))
    corners, inner = (place < 0.12) | (place > 0.88), (place > 0.35) & (place < 0.65)
    bend = (lips_y[inner].mean() - lips_y[corners].mean()) / max(1, np.ptp(lips_x)) if inner.any() else NAN
    return [*shares, *darker, texture, low_hair, float(bend)]


def between(values: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """1 above `high`, 0 below `low`, NaN between and where nothing is known."""
    unknown = torch.full_like(values, NAN)
    return torch.where(values > high, 1.0, torch.where(values < low, 0.0, unknown))


def fit_head(x: Tensor, target: Tensor, ridge: float) -> Tensor:
    """Logistic regression on rows whose target [N] is known; weights and bias [w_dim + 1]."""
    known = ~target.isnan()
    x, target = x[known], target[known]
    head = torch.zeros(x.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(x @ head[:-1] + head[-1], target)
        loss = loss + ridge * head[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return head.detach()


def area_under_curve(scores: Tensor, target: Tensor) -> float:
    """Chance that a face with the attribute has a higher score than one without."""
    known = ~target.isnan()
    scores, target = scores[known], target[known]
    ranks = scores.argsort().argsort() + 1.0
    positive = target.sum()
    return float((ranks[target == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(target) - positive)))


def chances_of_woman(recogniser: FaceRecogniser, faces: Dataset, drawings_dir: Path) -> Tensor:
    """[N], learned from the photos whose names do not end in 9."""
    photos = FacePhotos(drawings_dir / "photos", slice(None))
    lines = map(json.loads, (drawings_dir / "attributes.jsonl").read_text().splitlines())
    gender = {line["name"]: float(line["gender"]) for line in lines if not line["name"].endswith("9")}
    target = torch.tensor([gender.get(path.stem, NAN) for path in photos.paths])
    head = fit_head(5 * embed_all(recogniser, photos), target, 1e-3)
    return (5 * embed_all(recogniser, faces) @ head[:-1] + head[-1]).sigmoid()


def find_beards(x: Tensor, indices: list[int], woman: Tensor, shade: Tensor) -> tuple[Tensor, Tensor]:
    """Which faces have a beard (1, 0 or NaN), and the log odds that a head gives it, [N] each."""
    looked_at = json.loads(LOOKED_AT.read_text())
    known = dict.fromkeys(looked_at["beard"], 1.0) | dict.fromkeys(looked_at["none"], 0.0)
    target = torch.tensor([known.get(index, NAN) for index in indices])
    target = torch.where(target.isnan() & ((woman > 0.8) | (shade < 0.1)), 0.0, target)
    head = fit_head(x, target, BEARD_RIDGE)
    odds = x @ head[:-1] + head[-1]
    found = between(odds, torch.quantile(odds, NO_BEARDS), torch.quantile(odds, BEARDS))
    found = torch.where((found == 1) & (woman > 0.5), torch.full_like(found, NAN), found)
    return torch.where(woman > 0.7, torch.zeros_like(found), found), odds


def find_moustaches(x: Tensor, dark: Tensor, woman: Tensor, beard_odds: Tensor) -> Tensor:
    """Men with dark and uneven skin above the lips, as w tells it: light and noise play no part."""
    men = woman < 0.5
    used = men & ~dark.isnan()
    centred = dark[used].clamp(-0.3, 1.2) - dark[used].clamp(-0.3, 1.2).mean()
    square = x[used].T @ x[used] + 300 * torch.eye(x.shape[1])
    score = x @ torch.linalg.solve(square, x[used].T @ centred) + 0.05 * beard_odds.clamp(-4, 4)
    found = between(score, torch.quantile(score[men], NO_MOUSTACHES), torch.quantile(score[men], MOUSTACHES))
    found = torch.where((found == 1) & ~men, torch.full_like(found, NAN), found)
    return torch.where(woman > 0.7, torch.zeros_like(found), found)


def tell(measured: Tensor, woman: Tensor, x: Tensor, age: Tensor, indices: list[int]) -> Tensor:
    """Values [N, len(ATTRIBUTES)] from `MEASURES` [N, len(MEASURES)]."""
    of = dict(zip(MEASURES, measured.T, strict=True))
    beard, odds = find_beards(x, indices, woman, of["chin"] + of["jaw"] + of["lip"])
    bare = (of["hat"] < 0.003) & (of["hair"] < 0.06)
    bald = torch.where(
        bare, 1.0, torch.where((of["hair"] > 0.1) | (of["hat"] > 0.02), 0.0, torch.full_like(woman, NAN))
    )
    values = {
        "glasses": between(of["glasses"], 0.002, 0.012),
        "hat": between(of["hat"], 0.003, 0.03),
        "beard": beard,
        "moustache": find_moustaches(x, of["lip"] + 8 * of["lip_texture"], woman, odds),
        "bald": bald,
        "long_hair": between(of["low_hair"], 0.03, 0.12),
        "woman": between(woman, 0.25, 0.75),
        "smile": between(of["bend"], 0.03, 0.075),
        "open_mouth": between(of["open"], 0.001, 0.004),
        "old": between(age, torch.quantile(age, NOT_OLD), torch.quantile(age, OLD)),
    }
    table = torch.stack([values[name] for name in ATTRIBUTES], dim=1)
    table[of["low_hair"].isnan()] = NAN
    return table


def effects(x: Tensor, values: Tensor) -> Tensor:
    """What each attribute makes of x [N, w_dim] while the others stay, by linear regression; [A, w_dim]."""
    known = torch.where(values.isnan(), values.nanmean(dim=0).expand_as(values), values)
    known = known - known.mean(dim=0)
    square = known.T @ known + 20 * torch.eye(known.shape[1])
    return torch.linalg.solve(square, known.T @ (x - x.mean(dim=0)))


@dataclass(frozen=True)
class MeasurementSettings:
    """The pairs, and what is known beside them."""

    pairs_dir: Folders
    """with the faces that were looked at"""
    label_maps_dir: Folders
    """made by training/recipes/make_label_maps.py"""
    drawings_dir: Path
    """photos/ and attributes.jsonl, as FS2K has them"""
    recogniser: Path
    """MobileFaceNet, safetensors"""
    output: Path
    """a safetensors file"""


def parse_args(words: list[str] | None = None) -> MeasurementSettings:
    return parse(MeasurementSettings, words, __doc__)


def main(settings: MeasurementSettings) -> None:
    torch.manual_seed(0)
    store, maps = PairStore(settings.pairs_dir), LabelMaps(settings.label_maps_dir)
    pairs = tqdm(range(len(store)), desc="measuring", unit="face")
    with np.errstate(invalid="ignore", divide="ignore"):
        measured = torch.tensor([measure_face(store[i][0], maps.get(store.indices[i]).numpy()) for i in pairs])
    woman = chances_of_woman(FaceRecogniser.from_file(settings.recogniser), store, settings.drawings_dir)
    error = WError(load_generator("mobilestylegan-ffhq"))
    x = (store.w.float() - error.w_avg) / error.w_std
    direction = load_directions()["age"].vector[0]
    age = (store.w.float() - error.w_avg) @ direction / direction.square().sum()
    values = tell(measured, woman, x, age, store.indices)
    test, heads = torch.rand(len(x)) < 0.2, []
    for name, target in zip(ATTRIBUTES, values.T, strict=True):
        head = fit_head(x[~test], target[~test], RIDGE)
        area = area_under_curve(x[test] @ head[:-1] + head[-1], target[test])
        print(f"{name}: {(target == 1).float().mean():.3f} of the pairs have it; area under the curve {area:.3f}")
        heads.append(fit_head(x, target, RIDGE))
    weight = torch.stack(heads)[:, :-1] / error.w_std
    bias = torch.stack(heads)[:, -1] - weight @ error.w_avg
    tensors = {"index": torch.tensor(store.indices), "values": values, "weight": weight, "bias": bias}
    tensors["vectors"] = effects(x, values) * error.w_std
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, settings.output)


if __name__ == "__main__":
    main(parse_args())
