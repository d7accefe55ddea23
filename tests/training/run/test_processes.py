"""training/train.py as a program, alone and in two processes."""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from psp_hub import PSPModel
from tests.runs import EMA, SCRIPT, state
from training.run import exports


def test_no_module_hides_a_package():
    """A program started by its path finds the modules beside it before the packages that libraries import."""
    beside = {path.stem for path in SCRIPT.parent.iterdir()} - {"__init__", "__pycache__"}
    assert beside.isdisjoint({*importlib.metadata.packages_distributions(), "datasets"})


def launch(*command: str) -> str:
    """Run `python -m command`, and return what it prints."""
    command, environment = (sys.executable, "-m", *command), os.environ | {"ACCELERATE_USE_CPU": "true"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.terminate()  # launchers pass it on to the processes that they started
    assert process.returncode == 0, errors[-3000:]
    return output


@pytest.mark.slow
def test_accelerate_launch(arguments, generator_dir, tmp_path):
    """The documented command: a fresh encoder of the default shape, bfloat16, TensorBoard, a worker."""
    options = arguments("--generator", str(generator_dir), "--max_train_steps", "2", "--train_batch_size", "2")
    for name in ("--pretrained_model_name_or_path", "--mixed_precision", "--report_to", "--dataloader_num_workers"):
        del options[options.index(name) : options.index(name) + 2]
    output = launch("accelerate.commands.launch", "--cpu", "--num_processes", "1", str(SCRIPT), *options)
    assert "step 2: w error" in output
    folder = tmp_path / "run"
    encoder = PSPModel.from_pretrained(folder / "model").encoder
    assert encoder.config.stage_widths == [64, 128, 256] and encoder.dtype == torch.float32
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "logs" / "psp")).Reload()
    assert events.Tags()["images"] == ["validation"]
    (scalar,) = events.Scalars("validation/w_error")
    best = json.loads((folder / "best.json").read_text())
    assert scalar.step == best["step"] == 2 and scalar.value == pytest.approx(best["w_error"])


@pytest.mark.slow
def test_two_processes_take_the_same_number_of_steps(arguments, tmp_path):
    options = arguments("--max_train_steps", "3", "--checkpointing_steps", "3", "--train_batch_size", "2")
    output = launch("torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT), *options)
    assert "step 3: w error" in output
    checkpoint = tmp_path / "run" / "checkpoint-000003"
    written = sorted(path.name for path in checkpoint.glob("random_states_*"))
    assert written == ["random_states_0.pkl", "random_states_1.pkl"]
    assert state(checkpoint)[EMA]["n_averaged"] == 3


@pytest.fixture
def launch_steps(arguments, tmp_path) -> Callable[..., Path]:
    """Function of a name, processes, the whole batch and options: 5 steps of Ranger; returns the output folder.

    Ranger's first steps follow the gradient. Adam's are its sign, even of a gradient that is zero but for rounding.
    """

    def start(output: str, processes: int, batch_size: int, *more: str) -> Path:
        options = ["--optimizer", "ranger", "--learning_rate", "0.01", "--max_grad_norm", "1", "--ema_decay", "0.5"]
        options += ["--gentle_steps", "3", "--validation_steps", "2", "--train_batch_size"]
        words = arguments(*options, str(batch_size // processes), *more, output=output)
        launch("torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), str(SCRIPT), *words)
        return tmp_path / output

    return start


@pytest.mark.slow
def test_two_processes_with_half_the_batch_are_one_with_all_of_it(launch_steps):
    """The whole program, in float32: weights that start near 1, after steps of 0.01. How equal the halves really are,
    `test_distributed.py` says in float64."""
    alone, both = launch_steps("alone", 1, 6), launch_steps("both", 2, 6)
    for part in ("model", EMA):
        values, others = (state(folder / "checkpoint-000005")[part] for folder in (alone, both))
        assert values.keys() == others.keys()
        for name, value in values.items():
            torch.testing.assert_close(others[name], value, rtol=1e-3, atol=1e-4)
    for row, other in zip(exports.read_history(alone), exports.read_history(both), strict=True):
        assert other.pop("figure") == row.pop("figure")
        assert other == pytest.approx(row, rel=1e-4)
