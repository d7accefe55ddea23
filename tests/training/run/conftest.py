"""Short runs of a tiny encoder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from psp_hub import PSPModel
from psp_hub.tasks import get_task
from training.data.examples import Examples, Pairs
from training.data.pairs import PairStore
from training.run import train, validation
from training.settings.run import parse_args


@pytest.fixture
def arguments(tmp_path, model_dir, pairs_dir) -> Callable[..., list[str]]:
    """Function of further options: a command line for 5 steps of the tiny model, 4 steps to an epoch."""

    def make(*more: str, output: str = "run") -> list[str]:
        options = {
            "--task": "sketch",
            "--output_dir": tmp_path / output,
            "--pretrained_model_name_or_path": model_dir,
            "--pairs_dir": pairs_dir,
            "--num_validation_pairs": 4,
            "--dataloader_num_workers": 0,
            "--train_batch_size": 4,
            "--max_train_steps": 5,
            "--lr_warmup_steps": 1,
            "--mixed_precision": "no",
            "--report_to": "none",
        }
        return [*(str(part) for option in options.items() for part in option), *more]

    return make


@pytest.fixture
def run(arguments, monkeypatch) -> Callable[..., Path]:
    """Function of further options: trains, and returns the output folder."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # bit for bit holds there
    monkeypatch.setattr(validation, "GRID_ROWS", 2)
    monkeypatch.setattr("training.losses.w_error.W_STD_SAMPLES", 500)

    def start(*more: str, output: str = "run") -> Path:
        args = parse_args(arguments(*more, output=output))
        assert train.train(args) == args.output_dir / "model"
        return args.output_dir

    return start


@pytest.fixture(scope="module")
def data(pairs_dir) -> Examples:
    return Examples([Pairs(PairStore([pairs_dir]))], get_task("sketch"), seed=0, w_dim=32)


@pytest.fixture(scope="module")
def tiny_model(model_dir) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)
