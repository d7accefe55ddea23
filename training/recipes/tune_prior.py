"""Tune the prior of a trained encoder on pairs, while its answers to some drawings stay as they are.

    python training/recipes/tune_prior.py runs/sketch/model --pairs_dir pairs --keep_dir gathered/drawings \
        --output_dir runs/tuned

Training for the likeness of photos pulls answers away from where w is likely, and the prior along with them. The prior
alone can lead those to other drawings back: it is a small MLP over the base style (`psp_hub.heads.StylePrior`), so
what it is given needs to be read once, and nothing has to go through the encoder backwards. Prints the error of w on
held-out pairs before and after, and how far the answers to the kept drawings have moved.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from psp_hub.encoder import PSPEncoder
from psp_hub.heads import StylePrior
from psp_hub.model import PSPModel, load_model
from psp_hub.tasks import get_task
from training.data.examples import Examples, Pairs
from training.data.folders import FolderPictures
from training.data.pairs import PairStore
from training.data.parts import find_hints
from training.data.stored_sources import read_source
from training.losses.w_error import WError
from training.memory import keep_freed_memory
from training.recipes.fit_prior import relative_error
from training.settings.flags import Folders, parse_checked, refuse

BATCH_SIZE = 32  # of drawings
TUNING_SAMPLES, KEPT_SAMPLES = 128, 64  # of a step


@dataclass(frozen=True)
class TuneSettings:
    """What the prior is tuned on, and what stays."""

    model: tyro.conf.Positional[str]
    """a starter, a folder or a repository on the Hub, of the task sketch"""
    pairs_dir: Folders
    """pairs with one w each; new ones teach more"""
    keep_dir: Path
    """drawings whose answers stay"""
    output_dir: Path
    """of the tuned model"""
    num_pairs: int = 4000
    """the first ones; all of them where there are fewer"""
    num_kept: int = 1500
    """drawings to keep, chosen by chance; all of them where there are fewer"""
    held_out: int = 400
    """so many of the pairs, spread evenly, only measure"""
    keep_weight: float = 1.0
    """of the answers that stay, where the error of w has 1"""
    epochs: int = 8
    """over the pairs"""
    learning_rate: float = 1e-4
    """at first; it falls to 0"""
    seed: int = 0
    """of all that is drawn by chance"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        if min(self.held_out, self.num_kept, self.epochs) < 1 or self.num_pairs < 2 * self.held_out:
            raise ValueError(
                f"got --num_pairs {self.num_pairs}, --held_out {self.held_out}, --num_kept {self.num_kept} and "
                f"--epochs {self.epochs}, expected 1 or more, and twice as many pairs as are held out"
            )


def parse_args(words: list[str] | None = None) -> TuneSettings:
    return parse_checked(TuneSettings, words, __doc__)


def prior_of(encoder: PSPEncoder) -> StylePrior:
    """The prior of an encoder.

    Raises:
        ValueError: it has none.
    """
    if encoder.config.head != "shared" or not encoder.config.prior_width:
        raise ValueError("the encoder has no prior to tune, expected one that fit_prior.py gave one")
    return encoder.heads.base.prior


@torch.no_grad()
def read_bases(encoder: PSPEncoder, drawings: Iterable[Tensor]) -> Tensor:
    """What the prior is given for batches of drawings [n, 1, 256, 256] each: [N, w_dim], relative to `w_avg`."""
    found: list[Tensor] = []
    hook = prior_of(encoder).register_forward_pre_hook(lambda module, inputs: found.append(inputs[0].float()))
    try:
        for batch in drawings:
            encoder(batch)
    finally:
        hook.remove()
    return torch.cat(found)


def drawn(data: Examples, count: int) -> Iterator[Tensor]:
    """The drawings of the first pairs, batch by batch."""
    for start in tqdm(range(0, count, BATCH_SIZE), desc="reading pairs", unit="batch"):
        items = data.__getitems__([(0, i) for i in range(start, min(start + BATCH_SIZE, count))])
        yield torch.stack([item["input"] for item in items]).float()


def kept(settings: TuneSettings) -> Iterator[Tensor]:
    """Some drawings whose answers stay, batch by batch."""
    pictures = FolderPictures(settings.keep_dir)
    order = np.random.default_rng(settings.seed).permutation(len(pictures))[: settings.num_kept]
    for start in tqdm(range(0, len(order), BATCH_SIZE), desc="reading drawings", unit="batch"):
        yield torch.stack([read_source(pictures.paths[i], "drawing") for i in order[start : start + BATCH_SIZE]])


def tune_beside(
    prior: StylePrior, pairs: tuple[Tensor, Tensor], stay: Tensor, std: Tensor, settings: TuneSettings
) -> None:
    """Lead the answers of pairs to their w, and leave those of `stay` where they are.

    Args:
        pairs: what the prior is given, and the truth, relative to `w_avg`, [N, w_dim] each.
        stay: what it is given for the drawings whose answers stay, [M, w_dim].
        std: spread of each coordinate of w, [w_dim].
    """
    bases, truth = pairs
    with torch.no_grad():
        answers = prior(stay)  # as they are now
    optimizer = torch.optim.AdamW(prior.parameters(), settings.learning_rate, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, settings.epochs)
    for _ in tqdm(range(settings.epochs), desc="tuning", unit="epoch"):
        for batch in torch.randperm(len(bases)).split(TUNING_SAMPLES):
            some = torch.randint(len(stay), (KEPT_SAMPLES,))
            loss = relative_error(prior(bases[batch]) / std, truth[batch] / std)
            loss = loss + settings.keep_weight * relative_error(prior(stay[some]) / std, answers[some] / std)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()


def tune_model(settings: TuneSettings) -> PSPModel:
    """The model with a tuned prior.

    Raises:
        ValueError: another task, an encoder without a prior, pairs of mixed styles or too few of them.
    """
    model = load_model(settings.model)
    encoder, error, task = model.encoder.float().eval(), WError(model.generator), get_task(model.config.task)
    if task.source != "drawing":
        raise ValueError(f"{settings.model} is of the task {model.config.task}, expected sketch")
    prior, store = prior_of(encoder), PairStore(settings.pairs_dir)
    count = min(settings.num_pairs, len(store))
    if len(store.w_shape) > 1 or count < 2 * settings.held_out:
        raise ValueError(
            f"got {len(store)} pairs with styles of shape {tuple(store.w_shape)}, expected one w each, and "
            f"{2 * settings.held_out} or more: --held_out is {settings.held_out}"
        )
    data = Examples([Pairs(store, find_hints(task, store.indices))], task, settings.seed, model.generator.w_dim)
    bases, truth = read_bases(encoder, drawn(data, count)), store.w[:count].float() - error.w_avg  # [count, w_dim]
    stay, before = read_bases(encoder, kept(settings)), copy.deepcopy(prior)
    test = torch.zeros(count, dtype=torch.bool)
    test[torch.linspace(0, count - 1, settings.held_out).round().long()] = True
    prior.requires_grad_(True)
    tune_beside(prior, (bases[~test], truth[~test]), stay, error.w_std, settings)
    prior.requires_grad_(False)
    with torch.no_grad():
        errors = [relative_error(p(bases[test]) / error.w_std, truth[test] / error.w_std) for p in (before, prior)]
        moved = relative_error(prior(stay) / error.w_std, before(stay) / error.w_std)
    print(f"error of w on {settings.held_out} held-out pairs: {errors[0]:.4f}, now {errors[1]:.4f}")
    print(f"the answers to {len(stay)} drawings moved by {moved:.4f}, of 1 for the mean face")
    return model


def main(settings: TuneSettings) -> None:
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    try:
        tuned = tune_model(settings)
    except ValueError as error:
        refuse(error)
    tuned.save_pretrained(settings.output_dir)


if __name__ == "__main__":
    main(parse_args())
