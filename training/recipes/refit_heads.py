"""Fit heads that read attributes from w anew, to what is seen in the faces that an encoder answers.

    python training/recipes/refit_heads.py --attributes attributes.safetensors --model sketch \
        --drawings_dir gathered/drawings --pairs_dir pairs --output attributes-read.safetensors

The heads of measure_attributes.py know faces of the generator alone, and what is told from their label maps. What an
encoder answers lies elsewhere in W: there, a face that its head takes for a man often looks like a woman. The new
heads follow `training.evaluation.attributes.AttributeReader`, which looks at pictures: of the answers, and of pairs.
Prints how often each head agrees with it on a quarter of the answers, before and after.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from psp_hub.layers import resample
from psp_hub.model import PSPModel, load_model
from training.data.folders import FolderPictures
from training.data.pairs import PairStore
from training.data.stored_sources import read_source
from training.evaluation.attributes import WINDOWS, AttributeReader
from training.losses.w_error import WError
from training.recipes.measure_attributes import RIDGE, fit_head
from training.settings.flags import Folders, parse_checked, refuse
from training.strokes import ATTRIBUTES

BATCH_SIZE = 8
PICTURE_SIZE = 256  # that the reader looks at
HELD_OUT = 0.25  # of the answers


@dataclass(frozen=True)
class RefitSettings:
    """The heads, and the faces that they are fitted to."""

    attributes: Path
    """what measure_attributes.py wrote"""
    model: str
    """of the task sketch: whose answers count"""
    drawings_dir: Path
    """that it answers, every second time to the mirror image"""
    pairs_dir: Folders
    """faces of the generator"""
    output: Path
    """a safetensors file, as --attributes with other heads"""
    names: tuple[str, ...] = ("woman", "smile")
    """of the attributes whose heads are fitted"""
    num_answers: int = 900
    """drawings, chosen by chance; all of them where there are fewer"""
    num_pairs: int = 1250
    """spread evenly; all of them where there are fewer"""
    seed: int = 3
    """of what is drawn by chance"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        able = [name for name in ATTRIBUTES if name in WINDOWS]
        if unknown := sorted(set(self.names) - set(able)):
            raise ValueError(f"--names has {', '.join(unknown)}, expected some of {', '.join(able)}")
        if min(self.num_answers, self.num_pairs) < 8:
            raise ValueError(f"got {self.num_answers} answers and {self.num_pairs} pairs, expected 8 or more of each")


def parse_args(words: list[str] | None = None) -> RefitSettings:
    return parse_checked(RefitSettings, words, __doc__)


@torch.no_grad()
def answered(model: PSPModel, settings: RefitSettings) -> Iterator[tuple[Tensor, Tensor]]:
    """Mean style [n, w_dim] and picture [n, 3, 256, 256] of answers to drawings, batch by batch."""
    rng = np.random.default_rng(settings.seed)
    pictures = FolderPictures(settings.drawings_dir)
    order = rng.permutation(len(pictures))[: settings.num_answers]
    for start in tqdm(range(0, len(order), BATCH_SIZE), desc="answering", unit="batch"):
        drawings = [read_source(pictures.paths[i], "drawing") for i in order[start : start + BATCH_SIZE]]
        mirrored = [drawing.flip(-1) if rng.random() < 0.5 else drawing for drawing in drawings]
        ws = model.encode(torch.stack(mirrored))  # [n, num_ws, w_dim]
        small = model.generator.resolution <= PICTURE_SIZE
        images = model.decode(ws) if small else model.generator.synthesis.preview(ws, PICTURE_SIZE)
        yield ws.mean(dim=1), resample(images, PICTURE_SIZE).clamp(-1, 1)


def stored(store: PairStore, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """w [n, w_dim] and picture [n, 3, 256, 256] of pairs, batch by batch."""
    order = np.unique(np.linspace(0, len(store) - 1, min(count, len(store))).round().astype(int)).tolist()
    for start in tqdm(range(0, len(order), BATCH_SIZE), desc="reading pairs", unit="batch"):
        images, ws = zip(*(store[i] for i in order[start : start + BATCH_SIZE]), strict=True)
        yield torch.stack(ws), torch.stack(images)


def seen(faces: Iterator[tuple[Tensor, Tensor]], reader: AttributeReader) -> tuple[Tensor, Tensor]:
    """w [N, w_dim] and the log odds that the reader sees, [N, len(WINDOWS)]."""
    w, odds = zip(*((w.float(), reader.log_odds(images)) for w, images in faces), strict=True)
    return torch.cat(w), torch.cat(odds)


def agreement(x: Tensor, head: Tensor, odds: Tensor) -> float:
    return ((x @ head[:-1] + head[-1] > 0) == (odds > 0)).float().mean().item()


def main(settings: RefitSettings) -> None:
    model, state = load_model(settings.model), load_file(settings.attributes)
    if model.config.input_kind != "drawing":
        refuse(ValueError(f"{settings.model} is of the task {model.config.task}, expected sketch"))
    torch.manual_seed(settings.seed)
    reader, error = AttributeReader.from_file(), WError(model.generator)
    answers, answers_odds = seen(answered(model, settings), reader)
    pairs, pairs_odds = seen(stored(PairStore(settings.pairs_dir), settings.num_pairs), reader)
    x, of_pairs = ((w - error.w_avg) / error.w_std for w in (answers, pairs))
    test = torch.rand(len(x)) < HELD_OUT
    for name in settings.names:
        row, column = ATTRIBUTES.index(name), list(WINDOWS).index(name)
        old = torch.cat(
            [state["weight"][row] * error.w_std, state["weight"][row] @ error.w_avg + state["bias"][row, None]]
        )
        odds, others = answers_odds[:, column], pairs_odds[:, column]
        tried = fit_head(torch.cat([x[~test], of_pairs]), torch.cat([odds[~test], others]).sigmoid(), RIDGE)
        before, after = (agreement(x[test], head, odds[test]) for head in (old, tried))
        print(
            f"{name}: the head agrees with what is seen in {before:.3f} of {int(test.sum())} answers, now {after:.3f}"
        )
        head = fit_head(torch.cat([x, of_pairs]), torch.cat([odds, others]).sigmoid(), RIDGE)
        state["weight"][row] = head[:-1] / error.w_std
        state["bias"][row] = head[-1] - state["weight"][row] @ error.w_avg
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, settings.output)


if __name__ == "__main__":
    main(parse_args())
