"""training.losses.build: flags to losses."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from psp_hub import PSPConfig, PSPModel
from psp_hub.tasks import LOSSES, TASKS
from training.losses import TrainingLosses
from training.losses.build import build_losses, loss_weights
from training.networks.identity import IdentityFromW
from training.settings.data import PairSettings
from training.settings.flags import by_name, parse
from training.settings.losses import LossSettings, LossWeights


def settings(*flags: str | Path) -> LossSettings:
    return parse(LossSettings, [str(flag) for flag in flags])


def weights(task: str, *flags: str | Path, has_pairs: bool = False) -> dict[str, float]:
    return loss_weights(settings(*flags), TASKS[task], has_pairs)


def losses_of(model: PSPModel, *flags: str | Path) -> TrainingLosses:
    """Of an inversion on photos."""
    return build_losses(settings(*flags), TASKS["inversion"], model, has_pairs=False)


@pytest.fixture
def model(make_encoder, tiny_generator) -> PSPModel:
    return PSPModel(make_encoder(), tiny_generator, PSPConfig("inversion", "photo"))


@pytest.fixture
def image_batch() -> dict[str, Tensor]:
    return {"input": torch.zeros(1, 3, 256, 256), "image": torch.ones(1, 3, 256, 256)}


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr("training.losses.w_error.W_STD_SAMPLES", 100)


def test_every_loss_of_the_tasks_has_a_flag():
    assert {f"{name}_weight" for name in LOSSES} <= by_name(LossWeights()).keys()


@pytest.mark.parametrize("task", list(TASKS))
def test_without_w_the_weights_are_the_tasks(task):
    expected = {name: value for name, value in TASKS[task].loss_weights.items() if value > 0 and name != "w"}
    assert weights(task) == expected


def test_pairs_are_taught_by_w_alone():
    assert weights("sketch", has_pairs=True) == {"w": 1}
    assert weights("sketch", "--l2_weight", "0.5", "--w_weight", "2", has_pairs=True) == {"w": 2, "l2": 0.5}
    assert weights("sketch", "--identity_net", "net", "--w_weight", "0", has_pairs=True) == {"identity": 0.3}


@pytest.mark.parametrize("pairs", [PairSettings((Path("pairs"),)), PairSettings(generated_pairs=100)])
def test_pairs_in_a_store_or_drawn_are_given(pairs):
    assert pairs.given and not PairSettings().given


def test_weights_on_the_command_line_win():
    given = ("--lpips_weight", "0", "--id_weight", "0", "--l2_crop_weight", "3")
    assert weights("inversion", *given) == {"l2": 1, "l2_crop": 3}


def test_no_loss_at_all():
    with pytest.raises(ValueError, match="all loss weights are 0"):
        weights("sketch", "--w_weight", "0", has_pairs=True)


def test_w_error_without_pairs():
    with pytest.raises(ValueError, match="--w_weight needs pairs with known w"):
        weights("sketch", "--w_weight", "1")


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_weights_that_are_none(value):
    with pytest.raises(ValueError, match=f"--l2_weight is {float(value)}, .*is not a weight, expected 0 or more"):
        settings("--l2_weight", value).check()


def test_all_networks_together(model, alex_file, recogniser_file, tmp_path):
    identity = tmp_path / "identity.safetensors"
    save_file(IdentityFromW(w_dim=32, embedding_dim=6).state_dict(), identity)
    files = ("--lpips_trunk", alex_file, "--recogniser", recogniser_file, "--identity_net", identity)
    wanted = settings("--l2_weight", "1", "--lpips_weight", "0.8", "--id_weight", "0.1", *files)
    losses = build_losses(wanted, TASKS["inversion"], model, has_pairs=True)
    assert losses.weights == {"w": 1, "l2": 1, "lpips": 0.8, "id": 0.1, "identity": 0.3}
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 256, 256, generator=rng) * 2 - 1
    batch = {"input": image, "image": image, "w": torch.randn(1, 32, generator=rng)}
    delta = torch.randn(1, 8, 32, generator=rng).requires_grad_()
    total, parts = losses(delta, batch)
    total.backward()
    assert parts.keys() == {f"loss/{name}" for name in losses.weights} | {"id_improve"}
    assert total.item() == pytest.approx(sum(losses.weights[name] * parts[f"loss/{name}"] for name in losses.weights))


def test_another_trunk_is_not_called_lpips(model, alex_file, image_batch):
    _, parts = losses_of(model, "--lpips_trunk", alex_file, "--lpips_unweighted", "--id_weight", "0")(
        torch.zeros(1, 8, 32), image_batch
    )
    assert parts.keys() == {"loss/l2", "loss/perceptual"}


def test_missing_files_say_what_to_do(model, alex_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="weights of AlexNet, and .* does not exist.*--lpips_trunk"):
        losses_of(model)
    with pytest.raises(ValueError, match="the identity loss needs --recogniser FILE; or .*--id_weight 0"):
        losses_of(model, "--lpips_trunk", alex_file)
    with pytest.raises(ValueError, match="there is no file face.pth"):
        losses_of(model, "--lpips_weight", "0", "--recogniser", "face.pth")


def test_the_generator_is_frozen_and_told_to_save_memory(model, image_batch):
    no_networks = ("--lpips_weight", "0", "--id_weight", "0")
    synthesis = model.generator.synthesis
    losses = losses_of(model, *no_networks)
    assert not any(weight.requires_grad for weight in model.generator.parameters())
    assert not synthesis.gradient_checkpointing and not losses.bf16
    less = ("--gradient_checkpointing", "--decode_precision", "bf16", "--decode_batch_size", "2")
    losses = losses_of(model, *no_networks, *less)
    assert synthesis.gradient_checkpointing and losses.bf16 and losses.decode_batch_size == 2
    with pytest.raises(ValueError, match="--decode_batch_size is 0, expected 1 or more"):
        losses_of(model, "--decode_batch_size", "0")
