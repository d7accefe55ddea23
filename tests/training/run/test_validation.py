"""training.run.validation: figures and pictures of held-out examples."""

import numpy as np
import pytest
import torch

from training.losses import LossNetworks, TrainingLosses, WError
from training.run import validation
from training.run.validation import chosen_figure, figures, loss_sums, picture_grid, w_error


def test_validation_error_is_deterministic(tiny_model, data):
    error, indices = WError(tiny_model.generator), [3, 1, 7, 12, 19]
    first = w_error(tiny_model.encoder, data, indices, error, batch_size=2)
    torch.manual_seed(3)
    assert w_error(tiny_model.encoder, data, indices, error, batch_size=2) == first
    assert w_error(tiny_model.encoder, data, indices, error, batch_size=5) == pytest.approx(first, rel=1e-5)


def test_validation_error_of_known_answers(tiny_model, data):
    error, indices = WError(tiny_model.generator), [3, 1, 7]
    store = data.parts[0].store
    answers = iter((store.w[indices].float() - error.w_avg)[:, None].expand(3, 8, 32).split(2))
    assert w_error(lambda x: next(answers), data, indices, error, 2) == pytest.approx(0, abs=1e-9)
    assert w_error(lambda x: torch.zeros(len(x), 8, 32), data, indices, error, 2) == pytest.approx(1)


def test_figures_are_means_over_examples_and_do_not_depend_on_processes(tiny_model, data):
    """Two parts of the examples, measured apart in batches of other sizes, give what all of them give at once."""
    networks = LossNetworks(WError(tiny_model.generator))
    losses = TrainingLosses(tiny_model.generator, {"w": 1.0, "w_norm": 0.1}, networks)
    positions = [3, 1, 7, 12, 19]

    def sums(part: list[int], batch_size: int) -> dict[str, float]:
        with torch.no_grad():
            return loss_sums(tiny_model.encoder, losses, data, part, batch_size, torch.device("cpu"))

    together = figures([sums(positions, 5)], 1.0)
    assert set(together) == {"w_error", "loss", "loss/w_norm"}
    assert together["loss"] == pytest.approx(together["w_error"] + 0.1 * together["loss/w_norm"], rel=1e-5)
    assert together["w_error"] == pytest.approx(
        w_error(tiny_model.encoder, data, positions, losses.w_error, 2), rel=1e-5
    )
    apart = figures([sums(positions[::2], 2), sums(positions[1::2], 1), {"examples": 0.0}], 1.0)
    for name in ("w_error", "loss/w_norm", "loss"):
        assert apart[name] == pytest.approx(together[name], rel=1e-5)
    assert chosen_figure(together, losses) == "w_error"
    assert chosen_figure({"loss": 1.0}, losses) == "loss"


def test_validation_picture(tiny_model, data, monkeypatch):
    monkeypatch.setattr(validation, "GRID_ROWS", 2)
    picture = picture_grid(tiny_model, data, [4, 9, 11])
    assert picture.size == (4 * 256, 2 * 256)
    target = np.asarray(picture.crop((256, 256, 512, 512)), float) / 127.5 - 1
    assert np.abs(target - data.parts[0].store[9][0].permute(1, 2, 0).numpy()).max() < 0.01
    assert np.array_equal(np.asarray(picture_grid(tiny_model, data, [4, 9, 11])), np.asarray(picture))
