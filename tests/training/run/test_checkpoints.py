"""training.run.checkpoints: runs that are stopped, go on, and go back."""

import json
import os
import shutil
import signal

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from tests.runs import EMA, SCHEDULER, contents, equal, names, state
from training.run import exports, train
from training.run.checkpoints import StopSignals, checkpoints, find_checkpoint
from training.settings.run import parse_args


@pytest.mark.parametrize("step", [2, 4], ids=["within an epoch", "at its end"])
def test_a_resumed_run_is_the_same_bit_for_bit(run, step):
    straight = run("--checkpointing_steps", "1", "--checkpoints_total_limit", "9")
    checkpoint = straight / f"checkpoint-{step:06d}"
    resumed = run("--checkpointing_steps", "5", "--resume_from_checkpoint", str(checkpoint), output="resumed")
    assert names(resumed) == ["checkpoint-000005"]
    assert equal(state(resumed / "checkpoint-000005"), state(straight / "checkpoint-000005"))
    assert not equal(state(checkpoint), state(straight / "checkpoint-000005"))
    for name in ("model", "best.json", "validation-000005.png"):
        one, other = straight / name, resumed / name
        assert (contents(one) == contents(other)) if one.is_dir() else (one.read_bytes() == other.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["ranger", "soap"])
def test_other_optimizers_resume_bit_for_bit(run, optimizer):
    options = ["--optimizer", optimizer, "--learning_rate", "0.01", "--checkpoints_total_limit", "9"]
    straight = run(*options, "--checkpointing_steps", "1")
    checkpoint = straight / "checkpoint-000003"
    resumed = run(
        *options, "--checkpointing_steps", "5", "--resume_from_checkpoint", str(checkpoint), output="resumed"
    )
    assert equal(state(resumed / "checkpoint-000005"), state(straight / "checkpoint-000005"))
    assert not equal(state(checkpoint), state(straight / "checkpoint-000005"))


def test_only_the_last_checkpoints_are_kept(run):
    assert names(run("--checkpointing_steps", "1")) == ["checkpoint-000004", "checkpoint-000005"]


@pytest.mark.slow
def test_generated_pairs_need_no_store_and_resume_exactly(run, arguments, tmp_path):
    def options(*more: str, output: str) -> list[str]:
        words = arguments("--generated_pairs", "24", "--checkpointing_steps", "2", *more, output=output)
        at = words.index("--pairs_dir")
        return words[:at] + words[at + 2 :]

    train.train(parse_args(options(output="straight")))
    checkpoint = tmp_path / "straight" / "checkpoint-000004"
    train.train(parse_args(options("--resume_from_checkpoint", str(checkpoint), output="resumed")))
    assert equal(state(tmp_path / "resumed/checkpoint-000005"), state(tmp_path / "straight/checkpoint-000005"))


@pytest.mark.slow
def test_accumulated_steps_resume_exactly(run):
    options = ["--gradient_accumulation_steps", "2", "--checkpointing_steps", "1", "--checkpoints_total_limit", "9"]
    straight = run(*options, "--train_batch_size", "2")
    checkpoint = straight / "checkpoint-000003"
    assert state(checkpoint)[EMA]["n_averaged"] == 3
    assert state(checkpoint)[SCHEDULER]["last_epoch"] == 3
    resumed = run(*options, "--train_batch_size", "2", "--resume_from_checkpoint", str(checkpoint), output="resumed")
    assert equal(state(resumed / "checkpoint-000005"), state(straight / "checkpoint-000005"))


def test_accumulation_averages_the_gradients_of_its_batches(run, monkeypatch):
    """Of the batches 0 and 1: what one step takes is the mean of what they give alone."""

    def clip(accelerator, parameters, max_norm):
        gradients.append([p.grad.clone() for p in parameters])

    gradients: list[list[Tensor]] = []
    monkeypatch.setattr(Accelerator, "clip_grad_norm_", clip)
    run("--max_train_steps", "2", "--learning_rate", "0")
    one, two = gradients
    gradients.clear()
    run("--max_train_steps", "1", "--learning_rate", "0", "--gradient_accumulation_steps", "2", output="both")
    for first, second, both in zip(one, two, gradients[0], strict=True):
        torch.testing.assert_close(both, (first + second) / 2)


@pytest.mark.slow
def test_the_last_step_is_saved_too(run):
    assert names(run("--checkpointing_steps", "3")) == ["checkpoint-000003", "checkpoint-000005"]
    assert names(run("--checkpointing_steps", "100", output="short")) == ["checkpoint-000005"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(run, arguments, monkeypatch, tmp_path, number):
    straight = run("--checkpointing_steps", "1", "--checkpoints_total_limit", "9", output="straight")

    def backward_then_signal(accelerator, loss):
        backward(accelerator, loss)
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), number)

    backward, calls = Accelerator.backward, []
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "backward", backward_then_signal)
        with pytest.raises(SystemExit) as ended:
            train.main(parse_args(arguments("--checkpointing_steps", "100")))
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) == handler
    assert names(tmp_path / "run") == ["checkpoint-000003"]
    folder = run("--resume_from_checkpoint", "latest")
    assert equal(state(folder / "checkpoint-000005"), state(straight / "checkpoint-000005"))


def test_a_second_signal_stops_at_once():
    with pytest.raises(KeyboardInterrupt), StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_latest_without_a_checkpoint_starts_at_0(run, capsys):
    run("--resume_from_checkpoint", "latest")
    assert "16 training and 4 held-out examples, from step 0" in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkpoint_of_a_crash_is_ignored_and_overwritten(run, capsys):
    folder = run("--checkpointing_steps", "3")
    shutil.rmtree(folder / "checkpoint-000005")
    (folder / "checkpoint-000003").rename(folder / "checkpoint-000003.tmp")
    (folder / "checkpoint-000003.tmp" / "optimizer.bin").write_bytes(b"half of a fi")
    (folder / "checkpoint-000004.tmp").mkdir()
    capsys.readouterr()
    options = ["--checkpointing_steps", "1", "--checkpoints_total_limit", "3", "--resume_from_checkpoint", "latest"]
    run(*options)
    assert "from step 0" in capsys.readouterr().out
    assert names(folder) == ["checkpoint-000003", "checkpoint-000004", "checkpoint-000005"]
    assert equal(state(folder / "checkpoint-000005"), state(run(*options, output="other") / "checkpoint-000005"))


def test_latest_goes_on_after_the_last_checkpoint(run, arguments, capsys):
    folder = run("--checkpointing_steps", "2")
    shutil.rmtree(folder / "checkpoint-000005")
    run("--checkpointing_steps", "9", "--resume_from_checkpoint", "latest")
    assert "from step 4" in capsys.readouterr().out
    assert find_checkpoint(parse_args(arguments("--resume_from_checkpoint", "latest"))) == folder / "checkpoint-000005"


@pytest.mark.slow
def test_going_back_to_an_earlier_checkpoint_replaces_the_later_ones(run):
    folder = run("--checkpointing_steps", "1", "--checkpoints_total_limit", "9")
    expected = state(folder / "checkpoint-000004")
    options = ["--checkpointing_steps", "2", "--checkpoints_total_limit", "9"]
    run(*options, "--resume_from_checkpoint", str(folder / "checkpoint-000002"))
    assert names(folder) == [f"checkpoint-{step:06d}" for step in (1, 2, 3, 4, 5)]
    assert equal(state(folder / "checkpoint-000004"), expected)


def test_a_new_run_does_not_mix_with_the_checkpoints_of_another(run):
    folder = run("--checkpointing_steps", "5")
    before = contents(folder)
    with pytest.raises(ValueError, match="run holds checkpoints.*--resume_from_checkpoint latest"):
        run("--checkpointing_steps", "1")
    assert contents(folder) == before


@pytest.mark.slow
def test_a_checkpoint_of_another_configuration_is_refused(run, capsys):
    folder = run("--checkpointing_steps", "3")
    shutil.rmtree(folder / "checkpoint-000005")
    before = contents(folder)
    options = ["--resume_from_checkpoint", "latest", "--learning_rate", "0.5"]
    with pytest.raises(ValueError, match=r"It has: learning_rate 0.001. This one has: learning_rate 0.5"):
        run(*options)
    assert contents(folder) == before
    run(*options, "--allow_changes")
    assert "from step 3" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["checkpoint-000007", "model", "checkpoint-000003.tmp", "checkpoint-file"])
def test_what_is_not_a_checkpoint_is_refused(arguments, tmp_path, name):
    folder = tmp_path / "run"
    for there in ("model", "checkpoint-000003.tmp"):
        (folder / there).mkdir(parents=True)
    (folder / "checkpoint-file").write_text("")
    args = parse_args(arguments("--resume_from_checkpoint", str(folder / name)))
    with pytest.raises(ValueError, match=f"--resume_from_checkpoint .*{name} is not a checkpoint, expected 'latest'"):
        train.train(args)
    assert checkpoints(folder) == []


@pytest.mark.slow
def test_the_best_model_survives_resuming(run, capsys):
    """The first step only warms up; then the learning rate is so high that the first of three validations is best."""
    options = ["--learning_rate", "1", "--validation_steps", "1", "--max_train_steps", "3"]
    folder = run(*options, "--checkpointing_steps", "2")
    printed = [line for line in capsys.readouterr().out.splitlines() if "w error" in line]
    assert [line.split(":")[0] for line in printed] == ["step 1", "step 2", "step 3"]
    best, model_files = json.loads((folder / "best.json").read_text()), contents(folder / "model")
    assert best["step"] == 1
    shutil.rmtree(folder / "checkpoint-000003")
    run(*options, "--resume_from_checkpoint", "latest")
    assert [line for line in capsys.readouterr().out.splitlines() if "w error" in line] == printed[2:]
    assert json.loads((folder / "best.json").read_text()) == best
    assert contents(folder / "model") == model_files


@pytest.mark.slow
def test_a_run_killed_while_it_validates_validates_again(run, monkeypatch, tmp_path):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exports, "validate", killed)
        with pytest.raises(KeyboardInterrupt):
            run("--checkpointing_steps", "1")
    assert names(tmp_path / "run") == ["checkpoint-000003", "checkpoint-000004"]
    folder = run("--resume_from_checkpoint", "latest")
    assert (folder / "model" / "config.json").is_file()
