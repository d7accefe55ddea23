"""training/train.py and training.run.validation: short runs of a tiny encoder."""

import copy
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from psp_hub import PSPModel, model_names
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.tasks import get_task
from psp_hub.trunk import IR_SE50, Trunk
from training import train as program
from training.data.examples import Examples, Pairs
from training.data.pairs import PairStore
from training.losses import LossNetworks, TrainingLosses, WError
from training.networks.arcface import ArcFace
from training.networks.identity import IdentityFromW
from training.networks.mobilefacenet import FaceRecogniser
from training.run import exports, loop, output_folder, train, validation
from training.run.build import build_model, compile_encoder, start_trunk
from training.run.checkpoints import StopSignals, checkpoints, find_checkpoint
from training.run.optimizers import ema_update
from training.run.plan import activation_bytes
from training.run.validation import chosen_figure, figures, loss_sums, picture_grid, w_error
from training.settings.run import parse_args

SCRIPT = Path(program.__file__)
EMA, SCHEDULER = "custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl"


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


def names(output_dir: Path) -> list[str]:
    return sorted(path.name for path in output_dir.glob("checkpoint-*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def equal(one: object, other: object) -> bool:
    """Bit for bit, for what a checkpoint holds."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def state(checkpoint: Path) -> dict:
    parts = {name: torch.load(checkpoint / name, weights_only=False) for name in ("optimizer.bin", EMA, SCHEDULER)}
    return parts | {"model": load_file(checkpoint / "model.safetensors")}


# A whole run


def test_a_run_writes_model_checkpoint_picture_and_arguments(run, model_dir):
    folder = run("--checkpointing_steps", "5")
    assert sorted(path.name for path in folder.iterdir() if path.name != "logs") == [
        ".lock",
        "best.json",
        "checkpoint-000005",
        "model",
        "training_args.json",
        "validation-000005.png",
        "validation.jsonl",
    ]
    saved = json.loads((folder / "training_args.json").read_text())
    assert saved["task"] == "sketch" and saved["max_train_steps"] == 5 and saved["learning_rate"] == 1e-3
    assert Image.open(folder / "validation-000005.png").size == (4 * 256, 2 * 256)
    best = json.loads((folder / "best.json").read_text())
    assert best["step"] == 5 and best["figure"] == "w_error" and 0 < best["w_error"] < 10
    assert [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()] == [best]


def test_the_exported_model_is_the_average(run, model_dir):
    folder = run("--checkpointing_steps", "5")
    exported = PSPModel.from_pretrained(folder / "model").encoder.state_dict()
    checkpoint = state(folder / "checkpoint-000005")
    average = {key.removeprefix("module."): value for key, value in checkpoint[EMA].items() if key != "n_averaged"}
    assert checkpoint[EMA]["n_averaged"] == 5
    assert equal(exported, average)
    assert not equal(exported, checkpoint["model"])
    assert not equal(exported, PSPModel.from_pretrained(model_dir).encoder.state_dict())


@pytest.mark.slow
def test_training_lowers_the_error(run, tiny_model, data):
    def error(encoder) -> float:
        return w_error(encoder.eval(), data, list(range(16)), WError(tiny_model.generator), 4)

    before = error(tiny_model.encoder)
    options = ["--max_train_steps", "30", "--learning_rate", "3e-3", "--ema_decay", "0.5"]
    trained = PSPModel.from_pretrained(run(*options) / "model").encoder
    assert error(trained) < 0.9 * before


def test_the_generator_stays_as_it_is(run, tiny_model):
    saved = PSPModel.from_pretrained(run("--learning_rate", "1") / "model")
    assert equal(saved.generator.state_dict(), tiny_model.generator.state_dict())


def test_a_run_with_photos_and_identity(run, faces_dir, recogniser_file, tmp_path, monkeypatch):
    torch.manual_seed(0)
    save_file(IdentityFromW(w_dim=32).state_dict(), tmp_path / "identity.safetensors")
    logged = []
    monkeypatch.setattr(loop, "LOGGING_STEPS", 1)
    monkeypatch.setattr(train.Accelerator, "log", lambda self, values, step: logged.append(values))
    options = ["--identity_net", str(tmp_path / "identity.safetensors"), "--recogniser", str(recogniser_file)]
    options += ["--faces_dir", str(faces_dir), "--num_faces", "4", "--faces_repeats", "6"]
    folder = run(*options, "--max_train_steps", "3", "--checkpointing_steps", "2")
    assert [values.keys() for values in logged[:3]] == [{"loss/w", "loss/identity", "learning_rate"}] * 3
    assert all(0 < values["loss/identity"] < 2 and values["loss/w"] >= 0 for values in logged[:3])
    first = state(folder / "checkpoint-000002")
    again = run(*options, "--max_train_steps", "3", "--checkpointing_steps", "2", output="again")
    assert equal(state(again / "checkpoint-000002"), first)


def test_a_run_on_photos_alone_is_judged_by_its_pictures(arguments, faces_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(validation, "GRID_ROWS", 1)
    words = arguments("--lpips_weight", "0", "--target_dir", str(faces_dir), "--checkpointing_steps", "2")
    words = [*words, "--num_validation_pairs", "2", "--train_batch_size", "2", "--validate_first"]
    at = words.index("--pairs_dir")
    del words[at : at + 2]
    train.train(parse_args([*words, "--max_train_steps", "3"]))
    folder, names = tmp_path / "run", {"step", "figure", "loss", "loss/l2", "loss/w_norm"}
    rows = exports.read_history(folder)
    assert [(row["step"], row["figure"], set(row)) for row in rows] == [(0, "loss", names), (3, "loss", names)]
    assert all(row["loss"] == pytest.approx(row["loss/l2"] + 0.005 * row["loss/w_norm"], rel=1e-5) for row in rows)
    best = json.loads((folder / "best.json").read_text())
    assert best == rows[1]  # whatever the first figure is: nothing was trained then


def test_photos_need_networks(arguments, faces_dir, recogniser_file, capsys):
    for more in ([], ["--recogniser", str(recogniser_file)], ["--identity_net", "identity.safetensors"]):
        with pytest.raises(SystemExit):
            parse_args(arguments("--faces_dir", str(faces_dir), *more))
        assert "--faces_dir needs --identity_net and --recogniser" in capsys.readouterr().err


# Checkpoints


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


def test_only_the_last_checkpoints_are_kept(run):
    assert names(run("--checkpointing_steps", "1")) == ["checkpoint-000004", "checkpoint-000005"]


def test_generated_pairs_need_no_store_and_resume_exactly(run, arguments, tmp_path):
    def options(*more: str, output: str) -> list[str]:
        words = arguments("--generated_pairs", "24", "--checkpointing_steps", "2", *more, output=output)
        at = words.index("--pairs_dir")
        return words[:at] + words[at + 2 :]

    train.train(parse_args(options(output="straight")))
    checkpoint = tmp_path / "straight" / "checkpoint-000004"
    train.train(parse_args(options("--resume_from_checkpoint", str(checkpoint), output="resumed")))
    assert equal(state(tmp_path / "resumed/checkpoint-000005"), state(tmp_path / "straight/checkpoint-000005"))


def test_line_art_for_pairs_of_the_same_index_is_refused(arguments, pairs_dir, tmp_path):
    words = arguments("--line_art_dir", str(tmp_path))
    words.insert(words.index("--pairs_dir") + 1, str(pairs_dir))
    with pytest.raises(ValueError, match="pairs of the same index.*--first_index"):
        train.train(parse_args(words))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--generated_pairs", "24"], "--pairs_dir and --generated_pairs exclude each other"),
        (["--lr_scheduler", "cosin"], "invalid choice 'cosin' for argument '--lr_scheduler'. Expected one of"),
        (["--task", "colouring"], "invalid choice 'colouring' for argument '--task'. Expected one of ('inversion', "),
        (["--learning_rat", "1", "--sped", "2"], "Unrecognized options: --learning_rat, 1, --sped, 2"),
        (["--train_batch_size", "0"], "--train_batch_size is 0, expected 1 or more"),
    ],
)
def test_flags_that_cannot_be_used(arguments, capsys, more, message):
    with pytest.raises(SystemExit):
        parse_args(arguments(*more))
    assert message in " ".join(capsys.readouterr().err.replace("│", "").split())  # without its box


def test_a_tracker_that_is_not_installed_is_refused(run, tmp_path):
    """The package index has it, and no test needs it."""
    name = "wandb"
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    with pytest.raises(ValueError, match="--report_to wandb is not installed: pip install wandb, or choose none"):
        run("--report_to", name)
    assert not (tmp_path / "run").exists()


def test_dry_run_says_the_plan_and_writes_nothing_else(
    arguments, tmp_path, capsys, tiny_model, monkeypatch, pairs_dir
):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    words = arguments("--dry_run", "--gradient_accumulation_steps", "2", "--push_to_hub")
    with pytest.raises(SystemExit) as ended:
        train.train(parse_args(words))
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"{sum(p.numel() for p in tiny_model.encoder.parameters()):,} parameters" in said
    assert "16 training and 4 held-out examples" in said and "5 of 8 examples (2.5 epochs, processes: 1)" in said
    assert not (tmp_path / "run").exists()
    (picture,) = (tmp_path / "tmp").iterdir()
    assert f"three examples, input and target: {picture}\n" in said
    with Image.open(picture) as grid:
        assert grid.size == (512, 768)
        for row, i in enumerate((0, 8, 15)):  # of 16 to train on
            target = tensor_to_images(PairStore([pairs_dir])[i][0][None])[0]
            assert grid.crop((256, 256 * row, 512, 256 * row + 256)) == target
            drawing = np.asarray(grid.crop((0, 256 * row, 256, 256 * row + 256)))
            assert (drawing == drawing[..., :1]).all() and drawing.max() == 255


def test_activations_are_what_the_graph_holds():
    """A network whose backward pass needs its input and nothing else: 4 bytes a pixel."""

    class Linear(nn.Module):
        config, device = SimpleNamespace(in_channels=1), torch.device("cpu")

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return (x * self.weight).sum()

    assert activation_bytes(Linear()) == 4 * 256 * 256


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


def test_the_last_step_is_saved_too(run):
    assert names(run("--checkpointing_steps", "3")) == ["checkpoint-000003", "checkpoint-000005"]
    assert names(run("--checkpointing_steps", "100", output="short")) == ["checkpoint-000005"]


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


def test_a_loss_that_is_not_a_number_stops_the_run(run, monkeypatch, tmp_path):
    def broken(losses, delta, batch):
        loss, parts = forward(losses, delta, batch)
        calls.append(1)
        return (loss * float("nan") if len(calls) == 3 else loss), parts

    forward, calls = TrainingLosses.forward, []
    monkeypatch.setattr(TrainingLosses, "forward", broken)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 3, in a batch of pair 1") as error:
        run("--checkpointing_steps", "1")
    assert names(tmp_path / "run") == ["checkpoint-000001", "checkpoint-000002"]
    assert len(set(re.findall(r"pair 1\d\d", str(error.value)))) == 4


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


def test_a_folder_in_use_and_a_small_disk_are_found_out_before_training(run, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(ValueError, match="run is in use by another process"):
        run()
    free = SimpleNamespace(free=1000)
    monkeypatch.setattr(output_folder.shutil, "disk_usage", lambda path: free)
    with pytest.raises(OSError, match="run has 0.00 GiB free, and the run needs about"):
        run()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


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


# Parts


def test_ema_update():
    update = ema_update(0.999)
    average, current = torch.tensor([1.0]), torch.tensor([2.0])
    for n, decay in ((1, 2 / 11), (10, 11 / 20), (1_000_000, 0.999)):
        torch.testing.assert_close(update(average, current, torch.tensor(n)), decay * average + (1 - decay) * current)
    assert torch.equal(update(torch.tensor(3), torch.tensor(7), 5), torch.tensor(7))


def test_build_model_for_a_generator(generator_dir):
    args = parse_args(["--task", "sketch", "--output_dir", "x", "--pairs_dir", "x", "--generator", str(generator_dir)])
    built = build_model(args)
    assert built.encoder.config.num_ws == 8 and built.encoder.config.w_dim == 32
    assert built.config.task == "sketch" and built.config.base_generator is None
    assert equal(built.generator.state_dict(), load_generator(generator_dir).state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_the_trunk_of_the_paper_starts_as_that_of_a_recogniser(channels):
    recogniser, trunk = ArcFace(), Trunk(channels, **IR_SE50)
    before, wanted = copy.deepcopy(trunk.state_dict()), recogniser.trunk.state_dict()
    start_trunk(trunk, recogniser)
    for name, value in trunk.state_dict().items():
        fresh = channels == 1 and name.startswith("stem.")
        assert torch.equal(value, (before if fresh else wanted)[name]), name


def test_other_trunks_and_recognisers_are_refused(make_encoder):
    with pytest.raises(ValueError, match="--trunk_weights are of FaceRecogniser, expected ArcFace IR-SE50"):
        start_trunk(make_encoder().trunk, FaceRecogniser())


def test_wider_heads_are_a_flag(generator_dir):
    command = ["--task", "inversion", "--output_dir", "x", "--generator", str(generator_dir), "--pairs_dir", "x"]
    plain = build_model(parse_args(command)).encoder
    wide = build_model(parse_args([*command, "--head_widths", "128", "128", "64"])).encoder
    assert plain.config.head_widths == (128, 64, 32) and wide.config.head_widths == (128, 128, 64)
    assert plain.heads.map2style[1].convs[0].out_channels * 2 == wide.heads.map2style[1].convs[0].out_channels


def test_build_model_from_a_starter(model_dir, monkeypatch, tmp_path, tiny_model):
    (tmp_path / "tiny").symlink_to(model_dir)
    monkeypatch.setattr(model_names, "STARTERS", tmp_path)
    more = ["--pretrained_model_name_or_path", "tiny"]
    built = build_model(parse_args(["--task", "sketch", "--output_dir", "x", "--pairs_dir", "x", *more]))
    assert equal(built.state_dict(), tiny_model.state_dict())


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


# Compiling


@pytest.mark.slow
def test_a_compiled_encoder_keeps_its_names_and_its_answers(make_encoder):
    if not compile_encoder(encoder := make_encoder()):
        pytest.skip("no compiler")
    plain, x = make_encoder(), torch.rand(2, 1, 256, 256)
    assert encoder.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(encoder(x), plain(x), rtol=1e-3, atol=1e-4)
    assert equal(copy.deepcopy(encoder).state_dict(), encoder.state_dict())


@pytest.mark.slow
def test_without_a_compiler_nothing_is_compiled(make_encoder, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, str(tmp_path / "no-compiler")))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch._dynamo.reset()  # what an earlier test has compiled
    encoder = make_encoder()
    assert not compile_encoder(encoder)
    assert "no working compiler, --compile is left out: " in caplog.text
    assert encoder(torch.rand(1, 1, 256, 256)).shape == (1, 8, 32)


# Real processes


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


def test_frozen_batch_norms_keep_their_statistics(run, tiny_model):
    weights = state(run("--batch_norm", "frozen") / "checkpoint-000005")["model"]
    start = tiny_model.encoder.state_dict()
    statistics = {name for name in start if "running" in name or "tracked" in name}
    same = {name for name, value in start.items() if torch.equal(weights[name], value)}
    assert same >= statistics and not any(name.startswith("heads.") for name in same - statistics)
