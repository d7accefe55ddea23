r"""Teach a trained encoder what W looks like: a `StylePrior` after its base style, fitted on w, not on pictures.

    python training/recipes/fit_prior.py runs/sketch/model --pairs_dir more-pairs --line_art_dir more-line-art \
        --base_rank 256 --prior_width 704 --output_dir runs/with-prior

An input leaves most of w open, and what is left open is best answered by what W has there. No number of pairs teaches
that as well as w itself, of which the mapping network makes as many as one likes. So the prior first learns to find w
again from answers that are made up: w with the blur and the noise that the encoder's answers show on pairs that it was
NOT trained on (a denoising autoencoder, Vincent et al. 2010, JMLR 11). Then a share of what it learned is kept, and it
is tuned on the real answers. Prints the error of w after each step, on the last pairs, which only choose and measure.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from psp_hub.encoder import PSPEncoder
from psp_hub.generators.base import Generator
from psp_hub.heads import MapToBase, StylePrior
from psp_hub.model import PSPModel, load_model
from psp_hub.precision import quick_autocast
from psp_hub.tasks import get_task
from training.data.examples import Examples, Pairs
from training.data.pairs import PSI_RANGE, PairStore
from training.data.parts import find_hints
from training.losses.w_error import WError
from training.memory import keep_freed_memory
from training.settings.data import LINE_ART_SHARE
from training.settings.flags import Folders, FoldersOrNone, OrNone, Share, parse

BATCH_SIZE = 32  # of pictures
RIDGE = 200.0  # of standardised w: as if so many pairs said nothing
STEPS, SAMPLES, LEARNING_RATE = 2000, 512, 2e-3  # on made-up answers
EPOCHS, TUNING_SAMPLES, TUNING_RATE = 12, 128, 1e-4  # on real ones
SHARES = tuple(i / 20 for i in range(1, 21))

Sampler = Callable[[int], tuple[Tensor, Tensor]]  # number -> answers, truth, [N, w_dim] each


def relative_error(answers: Tensor, truth: Tensor) -> Tensor:
    """Squared error of standardised w [N, w_dim], 1 for the mean face (which is 0)."""
    return (answers - truth).square().sum() / truth.square().sum()


def base_of(encoder: PSPEncoder) -> MapToBase:
    """The part of an encoder that gets a prior.

    Raises:
        ValueError: an encoder without a base style, or one that has a prior or a reduced rank already.
    """
    if encoder.config.head != "shared":
        raise ValueError(f"the encoder has {encoder.config.head!r} heads, expected 'shared' ones")
    if encoder.config.prior_width or encoder.config.base_rank:
        raise ValueError("the encoder has a prior already; to go on training it, use training/train.py")
    return encoder.heads.base


@torch.no_grad()
def read_bases(encoder: PSPEncoder, data: Examples, epochs: int) -> Tensor:
    """The base style of the input of every example, [epochs * N, w_dim], relative to `w_avg`; anew in each epoch."""
    found: list[Tensor] = []
    hook = base_of(encoder).register_forward_hook(lambda module, inputs, output: found.append(output.float()))
    keys = [(epoch, i) for epoch in range(epochs) for i in range(len(data))]
    try:
        for start in tqdm(range(0, len(keys), BATCH_SIZE), desc="reading inputs", unit="batch"):
            items = data.__getitems__(keys[start : start + BATCH_SIZE])
            with quick_autocast("cpu"):
                encoder(torch.stack([item["input"] for item in items]).float())
    finally:
        hook.remove()
    return torch.cat(found)


def imitate(answers: Tensor, truth: Tensor, generator: Generator, error: WError, seed: int = 0) -> Sampler:
    """Make up answers like these to any w: linear in w, with Gaussian noise of the same covariance.

    Args:
        answers, truth: of pairs, standardised, [N, w_dim] each.
    """
    w_dim = truth.shape[1]
    matrix = torch.linalg.solve(truth.T @ truth + RIDGE * torch.eye(w_dim), truth.T @ answers)  # [w_dim, w_dim]
    noise = answers - truth @ matrix
    covariance = noise.T @ noise / len(noise) + 1e-4 * torch.eye(w_dim)
    root = torch.linalg.cholesky(covariance)
    rng = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def sample(number: int) -> tuple[Tensor, Tensor]:
        w = generator.mapping(torch.randn(number, w_dim, generator=rng).to(generator.w_avg)).float()
        psi = torch.empty(number, 1).uniform_(*PSI_RANGE, generator=rng)
        truth = psi * (w - error.w_avg) / error.w_std
        return truth @ matrix + torch.randn(number, w_dim, generator=rng) @ root.T, truth

    return sample


def fit_on_samples(prior: StylePrior, sample: Sampler, steps: int) -> None:
    """Learn to find w again from made-up answers."""
    optimizer = torch.optim.AdamW(prior.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    for _ in tqdm(range(steps), desc="fitting on w", unit="step"):
        answers, truth = sample(SAMPLES)
        optimizer.zero_grad()
        relative_error(prior(answers), truth).backward()
        optimizer.step()
        scheduler.step()


@torch.no_grad()
def keep_share(prior: StylePrior, answers: Tensor, truth: Tensor) -> float:
    """Keep that share of the prior's change which is best for real answers; returns it."""
    change = prior(answers) - answers
    share = min(SHARES, key=lambda share: relative_error(answers + share * change, truth))
    for parameter in prior.layers[-1].parameters():
        parameter.mul_(share)
    return share


def tune(prior: StylePrior, answers: Tensor, truth: Tensor, num_held_out: int) -> None:
    """Go on with real answers, and keep the epoch that is best on the last of them."""
    rows, held_out = len(answers) - num_held_out, slice(len(answers) - num_held_out, None)
    optimizer = torch.optim.AdamW(prior.parameters(), TUNING_RATE)
    best, kept = relative_error(prior(answers[held_out]), truth[held_out]).item(), copy.deepcopy(prior.state_dict())
    for _ in tqdm(range(EPOCHS), desc="tuning", unit="epoch"):
        for batch in torch.randperm(rows).split(TUNING_SAMPLES):
            optimizer.zero_grad()
            relative_error(prior(answers[batch]), truth[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            found = relative_error(prior(answers[held_out]), truth[held_out]).item()
        if found < best:
            best, kept = found, copy.deepcopy(prior.state_dict())
    prior.load_state_dict(kept)


@torch.no_grad()
def with_prior(encoder: PSPEncoder, prior: StylePrior, basis: Tensor | None, w_std: Tensor) -> PSPEncoder:
    """The encoder with a prior that was fitted on standardised w, and with the rank of `basis`, if there is one.

    Args:
        basis: orthonormal directions of standardised w [w_dim, rank] that the answers are left with.
    """
    base, rank = base_of(encoder), 0 if basis is None else basis.shape[1]
    width = prior.layers[0].out_features
    new = PSPEncoder.from_config(encoder.config, base_rank=rank, prior_width=width).to(encoder.dtype)
    state = new.state_dict() | encoder.state_dict()
    if basis is not None:
        weight = base.linear.weight.float() / w_std[:, None]
        state["heads.base.reduce.weight"] = basis.T @ weight  # [rank, width * S * S]
        state["heads.base.linear.weight"] = w_std[:, None] * basis  # [w_dim, rank]
    learned = {f"heads.base.prior.{name}": value for name, value in prior.state_dict().items()}
    first, last = "heads.base.prior.layers.0.weight", "heads.base.prior.layers.4"
    learned[first] = learned[first] / w_std
    learned |= {
        f"{last}.weight": learned[f"{last}.weight"] * w_std[:, None],
        f"{last}.bias": learned[f"{last}.bias"] * w_std,
    }
    new.load_state_dict(state | learned)
    return new.train(encoder.training)


@dataclass(frozen=True)
class PriorSettings:
    """What the prior is fitted on, and how large it is."""

    model: tyro.conf.Positional[str]
    """a starter, a folder or a repository on the Hub"""
    pairs_dir: Folders
    """pairs that it was not trained on"""
    output_dir: Path
    """of the model with the prior"""
    line_art_dir: OrNone[Path] = None
    """made by training/recipes/make_line_art.py, for drawings"""
    line_art_share: Share = LINE_ART_SHARE
    """of pictures that have some"""
    label_maps_dir: FoldersOrNone = None
    """made by training/recipes/make_label_maps.py"""
    epochs: int = 1
    """inputs of each pair"""
    held_out: int = 500
    """so many of the last pairs choose and measure"""
    prior_width: int = 1024
    """hidden units of the prior"""
    base_rank: int = 0
    """of the linear layer before it, to make room; 0 leaves it as it is"""
    steps: int = STEPS
    """on made-up answers"""
    seed: int = 0
    """of all that is drawn by chance"""


def load_examples(settings: PriorSettings, model: PSPModel) -> Examples:
    """The pairs with the inputs of the model's task."""
    task, store = get_task(model.config.task), PairStore(settings.pairs_dir)
    options = {"line_art_share": settings.line_art_share} if task.source == "drawing" else None
    if len(store.w_shape) > 1:
        raise ValueError("these pairs have mixed styles, expected faces with a single w")
    if not 1 <= settings.held_out < len(store):
        raise ValueError(
            f"--held_out is {settings.held_out}, expected 1 or more, and fewer than the {len(store)} pairs"
        )
    pairs = Pairs(store, find_hints(task, store.indices, settings.line_art_dir, settings.label_maps_dir))
    return Examples([pairs], task, settings.seed, model.generator.w_dim, options=options)


def reduce_rank(answers: Tensor, bias: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Leave the directions in which answers [N, w_dim] differ most.

    Returns:
        The answers so reduced, and an orthonormal basis of the directions [w_dim, rank].
    """
    shifted = answers - bias  # which the linear layer keeps
    basis = torch.linalg.eigh(shifted.T @ shifted).eigenvectors[:, -rank:]  # smallest first
    return shifted @ basis @ basis.T + bias, basis


def fit(settings: PriorSettings) -> PSPModel:
    """The model with a fitted prior.

    Raises:
        ValueError: another kind of encoder or of pairs.
    """
    model = load_model(settings.model)
    base, error, w_dim = base_of(model.encoder), WError(model.generator), model.generator.w_dim
    if not 0 <= settings.base_rank <= w_dim or settings.prior_width < 1:
        raise ValueError(
            f"--base_rank is {settings.base_rank} and --prior_width {settings.prior_width}, "
            f"expected 0 to {w_dim}, and 1 or more"
        )
    data = load_examples(settings, model)
    # Standardised and relative to the mean face, [N * epochs, w_dim] each; all inputs of the last pairs are last.
    answers = (read_bases(model.encoder, data, settings.epochs) / error.w_std).unflatten(0, (settings.epochs, -1))
    answers = answers.transpose(0, 1).flatten(0, 1)
    truth = ((data.parts[0].store.w.float() - error.w_avg) / error.w_std).repeat_interleave(settings.epochs, dim=0)
    num_held_out = settings.held_out * settings.epochs
    fitted, held_out = slice(None, -num_held_out), slice(-num_held_out, None)
    prior, basis = StylePrior(w_dim, settings.prior_width), None

    def say(after: str, answers: Tensor) -> None:
        found = relative_error(answers[held_out], truth[held_out])
        print(f"error of w on {settings.held_out} held-out pairs, {after}: {found:.4f}")

    say("as it was", answers)
    if settings.base_rank:
        answers, basis = reduce_rank(answers, base.linear.bias.detach() / error.w_std, settings.base_rank)
        say(f"of rank {settings.base_rank}", answers)
    fit_on_samples(
        prior, imitate(answers[fitted], truth[fitted], model.generator, error, settings.seed), settings.steps
    )
    share = keep_share(prior, answers[fitted], truth[fitted])
    say(f"with a share of {share:.2f} of what the prior learned from w", prior(answers).detach())
    tune(prior, answers, truth, num_held_out)
    say("with the prior tuned", prior(answers).detach())
    model.encoder = with_prior(model.encoder, prior, basis, error.w_std)
    return model


def parse_args(words: list[str] | None = None) -> PriorSettings:
    return parse(PriorSettings, words, __doc__)


def main(settings: PriorSettings) -> None:
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    fit(settings).save_pretrained(settings.output_dir)


if __name__ == "__main__":
    try:
        main(parse_args())
    except ValueError as error:
        raise SystemExit(f"fit_prior.py: {error}") from error
