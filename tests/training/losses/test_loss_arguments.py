"""training.losses.arguments: flags to losses."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from psp_hub import PSPConfig, PSPModel
from psp_hub.tasks import LOSSES, TASKS
from training.losses import add_loss_arguments, build_losses
from training.losses.arguments import WEIGHT_HELP, loss_weights
from training.networks.identity import IdentityFromW


@pytest.fixture
def parse() -> Callable[..., argparse.Namespace]:
    """Function of a command line: its options, with the two of the data that the losses look at."""

    def make(*arguments: str | Path) -> argparse.Namespace:
        parser = argparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("--pairs_dir", nargs="+")
        parser.add_argument("--generated_pairs", type=int)
        add_loss_arguments(parser)
        return parser.parse_args([str(argument) for argument in arguments])

    return make


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
    assert set(WEIGHT_HELP) == set(LOSSES)


@pytest.mark.parametrize("task", list(TASKS))
def test_without_w_the_weights_are_the_tasks(parse, task):
    expected = {name: value for name, value in TASKS[task].loss_weights.items() if value > 0 and name != "w"}
    assert loss_weights(parse(), TASKS[task]) == expected


@pytest.mark.parametrize("data", [("--pairs_dir", "pairs"), ("--generated_pairs", "100")])
def test_pairs_are_taught_by_w_alone(parse, data):
    task = TASKS["sketch"]
    assert loss_weights(parse(*data), task) == {"w": 1}
    assert loss_weights(parse(*data, "--l2_weight", "0.5", "--w_weight", "2"), task) == {"w": 2, "l2": 0.5}
    assert loss_weights(parse(*data, "--identity_net", "net", "--w_weight", "0"), task) == {"identity": 0.3}


def test_weights_on_the_command_line_win(parse):
    given = parse("--lpips_weight", "0", "--id_weight", "0", "--l2_crop_weight", "3")
    assert loss_weights(given, TASKS["inversion"]) == {"l2": 1, "l2_crop": 3}


def test_no_loss_at_all(parse):
    with pytest.raises(ValueError, match="all loss weights are 0"):
        loss_weights(parse("--generated_pairs", "9", "--w_weight", "0"), TASKS["sketch"])


def test_w_error_without_pairs(parse):
    with pytest.raises(ValueError, match="--w_weight needs pairs with known w"):
        loss_weights(parse("--w_weight", "1"), TASKS["sketch"])


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_weights_that_are_none(parse, value):
    with pytest.raises(argparse.ArgumentError, match=f"{value} is not a weight, expected 0 or more"):
        parse("--l2_weight", value)


def test_all_networks_together(parse, model, alex_file, recogniser_file, tmp_path):
    identity = tmp_path / "identity.safetensors"
    save_file(IdentityFromW(w_dim=32, embedding_dim=6).state_dict(), identity)
    files = ("--lpips_trunk", alex_file, "--recogniser", recogniser_file, "--identity_net", identity)
    args = parse("--generated_pairs", "9", "--l2_weight", "1", "--lpips_weight", "0.8", "--id_weight", "0.1", *files)
    losses = build_losses(args, TASKS["inversion"], model)
    assert losses.weights == {"w": 1, "l2": 1, "lpips": 0.8, "id": 0.1, "identity": 0.3}
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 256, 256, generator=rng) * 2 - 1
    batch = {"input": image, "image": image, "w": torch.randn(1, 32, generator=rng)}
    delta = torch.randn(1, 8, 32, generator=rng).requires_grad_()
    total, parts = losses(delta, batch)
    total.backward()
    assert parts.keys() == {f"loss/{name}" for name in losses.weights} | {"id_improve"}
    assert total.item() == pytest.approx(sum(losses.weights[name] * parts[f"loss/{name}"] for name in losses.weights))


def test_another_trunk_is_not_called_lpips(parse, model, alex_file, image_batch):
    args = parse("--lpips_trunk", alex_file, "--lpips_unweighted", "--id_weight", "0")
    _, parts = build_losses(args, TASKS["inversion"], model)(torch.zeros(1, 8, 32), image_batch)
    assert parts.keys() == {"loss/l2", "loss/perceptual"}


def test_missing_files_say_what_to_do(parse, model, alex_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="weights of AlexNet, and .* does not exist.*--lpips_trunk"):
        build_losses(parse(), TASKS["inversion"], model)
    with pytest.raises(ValueError, match="the identity loss needs --recogniser FILE; or .*--id_weight 0"):
        build_losses(parse("--lpips_trunk", alex_file), TASKS["inversion"], model)
    with pytest.raises(ValueError, match="there is no file face.pth"):
        build_losses(parse("--lpips_weight", "0", "--recogniser", "face.pth"), TASKS["inversion"], model)


def test_the_generator_is_frozen_and_told_to_save_memory(parse, model, image_batch):
    no_networks = ("--lpips_weight", "0", "--id_weight", "0")
    synthesis = model.generator.synthesis
    losses = build_losses(parse(*no_networks), TASKS["inversion"], model)
    assert not any(weight.requires_grad for weight in model.generator.parameters())
    assert not synthesis.gradient_checkpointing and not losses.bf16
    less = ("--gradient_checkpointing", "--decode_precision", "bf16", "--decode_batch_size", "2")
    losses = build_losses(parse(*no_networks, *less), TASKS["inversion"], model)
    assert synthesis.gradient_checkpointing and losses.bf16 and losses.decode_batch_size == 2
    with pytest.raises(ValueError, match="--decode_batch_size is 0, expected 1 or more"):
        build_losses(parse("--decode_batch_size", "0"), TASKS["inversion"], model)
