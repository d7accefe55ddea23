"""A run of a baseline: two networks that play against each other, with checkpoints that resume exactly."""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from psp_hub.layers import resample
from psp_hub.tasks import get_task
from training.baselines.blocks import Baseline
from training.baselines.build import build_baseline, save_baseline
from training.baselines.card import baseline_card
from training.baselines.losses import discriminator_loss, feature_matching, generator_loss
from training.data.batches import StepBatches
from training.data.loading import LoadedData, load_data
from training.evaluation.report import save_grid
from training.run.checkpoints import (
    StopSignals,
    check_same_run,
    describe_run,
    find_checkpoint,
    save_checkpoint,
    step_of,
)
from training.run.exports import MODEL_NAME
from training.run.optimizers import ema_update
from training.run.output_folder import claimed
from training.run.validation import GRID_ROWS, validation_batches, visible
from training.settings.baselines import BaselineSettings
from training.settings.flags import by_name

BETAS = (0.5, 0.999)  # of Adam, as in pix2pixHD
W_DIM = 1  # baselines have no styles


@dataclass
class Game:
    """All that a run works on."""

    settings: BaselineSettings
    accelerator: Accelerator
    generator: Baseline
    opponent: nn.Module
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer]  # of the two
    average: AveragedModel
    data: LoadedData

    def described(self) -> dict:
        """What decides its course."""
        own = {name: by_name(self.settings)[name] for name in ("baseline", "size", "image_size")}
        game = {field.name: getattr(self.settings.game, field.name) for field in fields(self.settings.game)}
        config = {**dict(self.generator.config), **own, **game}
        return describe_run(self.settings.run, self.accelerator.num_processes, self.data.description, config)

    def batch(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs [N, C, S, S] and pictures [N, 3, S, S] at the size of the baseline."""
        size = self.settings.image_size
        return resample(batch["input"].float(), size), resample(batch["image"], size)


class NoGenerator:
    """In place of a StyleGAN for `load_data`, which asks one for nothing but how long its styles are."""

    w_dim = W_DIM


def build_game(settings: BaselineSettings, accelerator: Accelerator) -> Game:
    """Both networks, their optimisers, and the data.

    Raises:
        ValueError: settings that do not go together, data that cannot be used.
    """
    task = get_task(settings.task)
    data = load_data(settings.run, task, NoGenerator())  # type: ignore[arg-type]
    return prepare_game(settings, accelerator, task.in_channels, data)


def prepare_game(settings: BaselineSettings, accelerator: Accelerator, in_channels: int, data: LoadedData) -> Game:
    networks = build_baseline(settings.baseline, settings.size, in_channels, settings.image_size)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=settings.game.learning_rate, betas=BETAS) for network in networks
    ]
    generator, opponent, *prepared = accelerator.prepare(*(network.train() for network in networks), *optimizers)
    average = AveragedModel(generator, avg_fn=ema_update(settings.game.ema_decay), use_buffers=True)
    accelerator.register_for_checkpointing(average)
    return Game(settings, accelerator, generator, opponent, (prepared[0], prepared[1]), average, data)


def train_on(game: Game, x: Tensor, real: Tensor) -> dict[str, Tensor]:
    """One step of both networks: first the opponent's, then the generator's. Returns their losses, detached.

    Args:
        x: inputs [N, C, S, S].
        real: pictures [N, 3, S, S] in [-1, 1].
    """
    accelerator, settings = game.accelerator, game.settings.game
    with accelerator.autocast():
        fake = game.generator(x)
        judged = discriminator_loss(game.opponent(x, real), game.opponent(x, fake.detach()))
    of_generator, of_opponent = game.optimizers
    of_opponent.zero_grad()
    accelerator.backward(judged)
    of_opponent.step()
    game.opponent.requires_grad_(False)
    with accelerator.autocast():
        fakes, reals = game.opponent(x, fake), game.opponent(x, real)
        parts = {"game": generator_loss(fakes), "features": feature_matching(reals, fakes)}
        loss = parts["game"] + settings.feature_weight * parts["features"]
        if (own := game.generator.own_loss(x)) is not None:
            parts["own"], loss = own, loss + settings.own_weight * own
    of_generator.zero_grad()
    accelerator.backward(loss)
    of_generator.step()
    game.opponent.requires_grad_(True)
    game.average.update_parameters(game.generator)
    found = {"opponent": judged, **parts}
    return {name: value.detach() for name, value in found.items()}


def train(settings: BaselineSettings, stop: StopSignals | None = None) -> Path:
    """Run the training and return the folder of the exported baseline.

    Raises:
        ValueError: settings or data that cannot be used; nothing was trained.
        SystemExit: `stop` got a signal, and everything is saved.
        FloatingPointError: a loss is not finite.
    """
    stop, checkpoint = stop or StopSignals(), find_checkpoint(settings.run)
    accelerator = Accelerator(mixed_precision=settings.mixed_precision)
    if accelerator.num_processes > 1:
        raise ValueError(f"a baseline is trained by one process, got {accelerator.num_processes}")
    set_seed(settings.seed)
    with claimed(settings.output_dir, accelerator):
        game = build_game(settings, accelerator)
        if checkpoint:
            if not settings.keeping.allow_changes:
                check_same_run(checkpoint, game.described())
            accelerator.load_state(str(checkpoint))
        train_steps(game, step_of(checkpoint) if checkpoint else 0, stop)
    return settings.output_dir / MODEL_NAME


def train_steps(game: Game, first_step: int, stop: StopSignals) -> None:
    """From a step to the last one; every so often look, export and save."""
    settings, last = game.settings, game.settings.game.max_train_steps
    batches = StepBatches(
        game.data.training, settings.game.train_batch_size, settings.seed, first_step, last, batches_per_step=1
    )
    loader = DataLoader(game.data.data, batch_sampler=batches, num_workers=settings.data.num_workers)
    loader, described = game.accelerator.prepare(loader), game.described()
    for step, batch in enumerate(tqdm(loader, total=len(batches)), start=first_step + 1):
        losses = train_on(game, *game.batch(batch))
        if not all(value.isfinite() for value in losses.values()):
            raise FloatingPointError(f"the losses of step {step} are { {n: v.item() for n, v in losses.items()} }")
        stopped = stop.received(game.accelerator)
        if step == last or step % settings.keeping.validation_steps == 0:
            export(game, step)
        if step == last or stopped or step % settings.keeping.checkpointing_steps == 0:
            save_checkpoint(game.accelerator, settings.run, step, described)
        if stopped and step < last:
            raise SystemExit(f"stopped at step {step}; go on with --resume_from_checkpoint latest")


@torch.no_grad()
def export(game: Game, step: int) -> None:
    """Save the average of the generator, and what it makes of held-out examples beside what was looked for."""
    settings, device = game.settings, game.accelerator.device
    model: Baseline = game.average.module
    model.eval()
    for batch in remembered(game):
        model.remember(resample(batch["input"].float(), settings.image_size).to(device))
    shown = game.data.held_out[:GRID_ROWS]
    (batch,) = validation_batches(game.data.data, shown, len(shown), device)
    x, real = game.batch(batch)
    answers = model(x)
    error = (answers - real).abs().mean().item()
    game.accelerator.print(f"step {step}: mean difference {error:.4f} on {len(shown)} held-out examples")
    columns = [resample(visible(x), settings.image_size), real, answers]
    save_grid([column.float().cpu() for column in columns], settings.output_dir / f"validation-{step:06d}.png")
    parameters = (count_parameters(model), count_parameters(game.opponent))
    card = baseline_card(settings, step, game.data.description, parameters, error)
    save_baseline(model, settings.output_dir / MODEL_NAME, card)
    model.train()


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def remembered(game: Game) -> list[dict[str, Tensor]]:
    """Batches of training examples for a baseline that keeps some; none for the others."""
    model = game.average.module
    if not hasattr(model, "forget"):
        return []
    model.forget()
    kept = game.data.training[: model.config.bank_size]
    return list(validation_batches(game.data.data, kept, game.settings.game.train_batch_size, torch.device("cpu")))
