"""training/train.py: short runs of a tiny encoder."""

import importlib.util
import json
import re
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from psp_hub import PSPModel
from psp_hub.images.preprocessing import tensor_to_images
from tests.runs import EMA, equal, names, state
from training.data.pairs import PairStore
from training.losses import TrainingLosses, WError
from training.networks.identity import IdentityFromW
from training.run import exports, loop, output_folder, train, validation
from training.run.plan import activation_bytes
from training.run.validation import w_error
from training.settings.run import parse_args


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


@pytest.mark.slow
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


def test_a_folder_in_use_and_a_small_disk_are_found_out_before_training(run, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(ValueError, match="run is in use by another process"):
        run()
    free = SimpleNamespace(free=1000)
    monkeypatch.setattr(output_folder.shutil, "disk_usage", lambda path: free)
    with pytest.raises(OSError, match="run has 0.00 GiB free, and the run needs about"):
        run()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_frozen_batch_norms_keep_their_statistics(run, tiny_model):
    weights = state(run("--batch_norm", "frozen") / "checkpoint-000005")["model"]
    start = tiny_model.encoder.state_dict()
    statistics = {name for name in start if "running" in name or "tracked" in name}
    same = {name for name, value in start.items() if torch.equal(weights[name], value)}
    assert same >= statistics and not any(name.startswith("heads.") for name in same - statistics)
