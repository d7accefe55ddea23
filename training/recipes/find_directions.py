"""Find directions in W of a generator of faces: smile, glasses, longer hair ... and write them for psp_hub.directions.

    python training/recipes/make_pairs.py --output_dir pairs --num_pairs 8000
    python training/recipes/make_label_maps.py --pairs_dir pairs --output_dir labels
    python training/recipes/find_directions.py --pairs_dir pairs --labels_dir labels --output_dir directions

What the pictures and the parts of the faces show is measured, each measure becomes a linear function of w, and a
direction is the most likely move that changes one measure and keeps the others. Then faces are moved, drawn, parsed
and measured again. Printed, and written to evaluation.json: how well each measure is predicted on faces that were held
out, and what one step along each direction changes, in standard deviations of the measures. The measures are kept in
the output folder: the same command again begins with them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from psp_hub.directions import Direction, apply_directions, save_directions
from psp_hub.face_parser import FaceParser
from psp_hub.generators import BUILTIN, load_generator
from psp_hub.generators.base import Generator
from psp_hub.latents import random_z
from psp_hub.precision import DtypeName, dtype_of
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore
from training.memory import keep_freed_memory
from training.recipes.fit_directions import Regression, neutralise, principal_components, regress, steer
from training.recipes.measures import MEASURES, measure_face
from training.run.validation import shrink
from training.settings.flags import Folders, OrNone, parse_checked

HELD_OUT = 1 / 8  # of the faces
NUM_COMPONENTS = 10
COMPONENT = "component "
AGE = f"{COMPONENT}4"
MIN_CORRELATION = 0.4  # a measure that is predicted worse is neither moved along nor kept
MOUTH = ("smile", "mouth_width", "open_mouth", "lips", "pitch")
HAIR = ("hair", "long_hair", "forehead")
SHAPE = ("mouth_width", "lips", "nose", "eye_size", "brows", "brow_height", "face_width", "chin_shadow")
LIGHT = ("brightness", "contrast", "skin_light", "hair_light", "background_light")
COLOUR = ("warmth", "colourfulness", "skin_warmth", "hair_warmth")


class Wanted(NamedTuple):
    """A direction to find: which measure moves, in which styles, how far.

    All other measures are kept, but those in `free`; the components in `fixed` are kept, too.
    """

    name: str
    label: str
    measure: str
    groups: tuple[str, ...]
    low: float
    high: float
    free: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


# Chosen by looking at rows of pictures: the groups that change little else, and the range in which faces stay clean.
# No map tells age: one component of the built-in generator does, which was found by looking.
WANTED = (
    Wanted("smile", "serious … smiling", "smile", ("medium",), -2, 2, MOUTH),
    Wanted("turn", "facing left … facing right", "yaw", ("coarse",), -1.5, 1.5, ("side_light",)),
    Wanted("age", "younger … older", AGE, ("coarse", "medium"), -4.5, 5, ("hair", "forehead", *SHAPE, *COLOUR)),
    Wanted("glasses", "no glasses … glasses", "glasses", ("coarse", "medium"), -1.25, 2.25, ("eye_size", "brows")),
    Wanted("hat", "no hat … hat", "hat", ("coarse", "medium"), -1.5, 2.5, HAIR),
    Wanted(
        "hair_length", "short hair … long hair", "long_hair", ("coarse", "medium"), -1.75, 2, (*HAIR, "hat"), (AGE,)
    ),
    Wanted("hair_colour", "dark hair … light hair", "hair_light", ("fine",), -3, 3.5, ("brightness", *COLOUR)),
    Wanted("skin", "darker skin … lighter skin", "skin_light", ("fine",), -2.5, 1.5, ("brightness", *COLOUR)),
    Wanted("face_width", "slim face … round face", "face_width", ("coarse",), -2.5, 2.5, (), (AGE,)),
    Wanted("eyes", "narrow eyes … wide eyes", "eye_size", ("medium",), -2.5, 2.5),
    Wanted("brows", "low brows … raised brows", "brow_height", ("medium",), -2.5, 2.5, ("eye_size",)),
    Wanted("side_light", "light from the left … from the right", "side_light", ("medium", "fine"), -3, 3),
    Wanted("brightness", "dark picture … bright picture", "brightness", ("fine",), -2.5, 2, (*LIGHT, *COLOUR)),
    Wanted("warmth", "cold colours … warm colours", "warmth", ("fine",), -2.5, 2.5, COLOUR),
)


@dataclass(frozen=True)
class SearchSettings:
    """What directions are found in, and how they are tried."""

    pairs_dir: Folders
    """of training/recipes/make_pairs.py"""
    labels_dir: Folders
    """of training/recipes/make_label_maps.py"""
    output_dir: Path
    """of the directions, and of what they were found with"""
    generator: str = "mobilestylegan-ffhq"
    """that drew the pairs: a name or a folder"""
    max_pairs: OrNone[int] = None
    """measure so many of them (default: all)"""
    num_faces: int = 16
    """to move, draw and measure again; 0 for none"""
    torch_dtype: DtypeName = "auto"
    """of the generator"""
    device: str = "cpu"
    """where it draws"""
    seed: int = 0
    """of the faces to move"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        if self.num_faces < 0:
            raise ValueError(f"--num_faces is {self.num_faces}, expected 0 or more")


def parse_args(words: list[str] | None = None) -> SearchSettings:
    return parse_checked(SearchSettings, words, __doc__)


def measure_store(settings: SearchSettings) -> tuple[Tensor, Tensor]:
    """w [N, w_dim] and measures [N, len(MEASURES)] of the pairs, from the output folder if they are there.

    Raises:
        ValueError: no pairs, or one without a label map.
    """
    path, store = settings.output_dir / "measures.safetensors", PairStore(settings.pairs_dir)
    count = min(len(store), settings.max_pairs or len(store))
    positions = torch.randperm(len(store), generator=torch.Generator().manual_seed(0))[:count].tolist()
    w = store.w[positions].float()
    if path.exists():
        kept = load_file(path)
        if list(kept["measures"].shape) == [count, len(MEASURES)] and torch.equal(kept["w"], w):
            return w, kept["measures"]
    labels = LabelMaps(settings.labels_dir)
    rows = [measure_face(store[i][0], labels.get(store.indices[i])) for i in tqdm(positions, unit="face")]
    measures = torch.tensor(rows)
    save_file({"w": w, "measures": measures}, path)
    return w, measures


def regress_all(w: Tensor, measures: Tensor) -> dict[str, Regression]:
    """Each of the `MEASURES` as a function of w; those that vary too little for that are left out.

    Raises:
        ValueError: none can be predicted, as with too few faces.
    """
    found: dict[str, Regression] = {}
    for name, column in zip(MEASURES, measures.T, strict=True):
        try:
            found[name] = regress(w, column, int(len(w) * HELD_OUT))
        except ValueError as error:
            print(f"{name} is left out: {error}")
    if not found:
        raise ValueError(f"no measure of {len(w)} faces can be predicted from w, see above; are there enough pairs?")
    return found


def without_components(wanted: Sequence[Wanted]) -> list[Wanted]:
    """For other generators, whose components mean something else."""
    return [row._replace(fixed=()) for row in wanted if not row.measure.startswith(COMPONENT)]


def find(w: Tensor, regressions: dict[str, Regression], wanted: Sequence[Wanted] = WANTED) -> list[Direction]:
    """The wanted directions that can be found; a measure `component 3` is the third principal component."""
    good = {name: one.weights for name, one in regressions.items() if one.correlation >= MIN_CORRELATION}
    components = {f"{COMPONENT}{i}": one for i, one in enumerate(principal_components(w, NUM_COMPONENTS), start=1)}
    directions = []
    for row in wanted:
        keep = [weights for name, weights in good.items() if name not in (row.measure, *row.free)]
        keep += [components[name] for name in row.fixed]
        if row.measure in components:
            vector = neutralise(w, components[row.measure], keep)
        elif row.measure in good:
            vector = steer(w, good[row.measure], keep)
        else:
            print(f"{row.name} is left out: {row.measure} cannot be predicted from w")
            continue
        directions.append(Direction(row.name, row.label, vector[None], row.low, row.high, row.groups))
    return directions


@torch.no_grad()
def measure_moved(
    generator: Generator, parser: FaceParser, directions: list[Direction], num_faces: int, seed: int
) -> Tensor:
    """Draw faces at both ends of each direction and measure them: [directions, 2, num_faces, len(MEASURES)]."""
    z = random_z(num_faces, generator.w_dim, seed).to(generator.w_avg)
    w = generator.mapping(z, truncation_psi=0.7)
    rows = []
    for direction in tqdm(directions, unit="direction"):
        for step in (direction.low, direction.high):
            for ws in w[:, None].repeat(1, generator.num_ws, 1).split(1):
                moved = apply_directions(ws, {direction.name: step}, {direction.name: direction})
                image = shrink(generator.synthesis(moved)).clamp(-1, 1)
                labels = parser(image.to(parser.device)).argmax(dim=1)
                rows.append(measure_face(image[0].cpu(), labels[0].cpu()))
    return torch.tensor(rows).unflatten(0, (len(directions), 2, num_faces))


def effects(directions: list[Direction], moved: Tensor, regressions: dict[str, Regression]) -> dict[str, dict]:
    """What one step along each direction changes: {direction: {measure: mean change in standard deviations}}."""
    table = {}
    for direction, (low, high) in zip(directions, moved, strict=True):
        change = (high - low).nanmean(dim=0) / (direction.high - direction.low)  # [len(MEASURES)]
        table[direction.name] = {
            name: round(float(one) / regressions[name].std, 2)
            for name, one in zip(MEASURES, change, strict=True)
            if name in regressions and not one.isnan()
        }
    return table


def print_effects(table: dict[str, dict]) -> None:
    """One line for each direction, the largest changes first."""
    for name, changes in table.items():
        largest = sorted(changes.items(), key=lambda item: -abs(item[1]))
        print(f"{name:>12}: " + ", ".join(f"{measure} {change:+.2f}" for measure, change in largest[:8]))


def main(settings: SearchSettings) -> dict:
    keep_freed_memory()
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    generator = load_generator(settings.generator, dtype_of(settings.torch_dtype, settings.device)).to(settings.device)
    w, measures = measure_store(settings)
    regressions = regress_all(w, measures)
    print("correlation of prediction and measure, faces held out:")
    print(", ".join(f"{name} {one.correlation:.2f}" for name, one in regressions.items()))
    name = Path(settings.generator).name
    directions = find(w, regressions, WANTED if name in BUILTIN else without_components(WANTED))
    save_directions(settings.output_dir / f"{name}.safetensors", directions, name)
    report: dict = {"generator": name, "count": len(w)}
    report["correlation"] = {name: round(one.correlation, 3) for name, one in regressions.items()}
    if settings.num_faces:
        parser = FaceParser.from_starter().to(settings.device)
        moved = measure_moved(generator, parser, directions, settings.num_faces, settings.seed)
        report["effects"] = effects(directions, moved, regressions)
        print(f"one step changes, in standard deviations, mean of {settings.num_faces} faces:")
        print_effects(report["effects"])
    (settings.output_dir / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


if __name__ == "__main__":
    main(parse_args())
