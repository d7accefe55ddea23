"""training.run.output_folder and training.run.checkpoints: refused before training, and safe while it runs."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from training.run import output_folder
from training.run.checkpoints import check_same_run, checkpoints, describe_run, discard, save_checkpoint
from training.run.output_folder import SPARE_BYTES, check_room, claimed, needed_bytes
from training.settings.run import TrainingSettings, parse_args


@pytest.fixture
def accelerator(monkeypatch) -> Accelerator:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return Accelerator()


def arguments(output_dir: Path, *more: str) -> TrainingSettings:
    return parse_args(["--task", "sketch", "--output_dir", str(output_dir), "--pairs_dir", "x/pairs", *more])


# One run at a time


def test_a_folder_in_use_is_refused_and_free_again_afterwards(accelerator, tmp_path):
    folder = tmp_path / "new" / "run"
    with claimed(folder, accelerator):
        with pytest.raises(ValueError, match=rf"run is in use by process {os.getpid()} on \S+: choose another"):
            with claimed(folder, accelerator):
                raise AssertionError("both have it")
        assert (folder / ".owner").exists()
    with claimed(folder, accelerator):
        pass
    assert not (folder / ".owner").exists()


def test_a_killed_process_leaves_no_claim(accelerator, tmp_path):
    program = (
        "import os, signal, sys; from filelock import FileLock; from pathlib import Path\n"
        "FileLock(Path(sys.argv[1], '.lock')).acquire(); Path(sys.argv[1], '.owner').write_text('process 1 on here')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)]).returncode == -9
    with claimed(tmp_path, accelerator):
        assert (tmp_path / ".owner").read_text().startswith(f"process {os.getpid()} ")


def test_other_processes_of_a_run_leave_the_folder_to_the_main_one(tmp_path):
    with claimed(tmp_path / "run", SimpleNamespace(is_main_process=False)):
        assert not (tmp_path / "run").exists()


# Room


def test_needed_room_is_that_of_the_files(accelerator, tmp_path):
    """What a checkpoint of a known network takes on the disk is what was foreseen, but for names and headers."""
    network = torch.nn.Linear(1000, 1000)
    optimizer = accelerator.prepare(torch.optim.AdamW(network.parameters()))
    accelerator.prepare(network)
    accelerator.register_for_checkpointing(torch.optim.swa_utils.AveragedModel(network))
    network(torch.ones(1, 1000)).sum().backward()
    optimizer.step()
    settings = arguments(tmp_path, "--checkpoints_total_limit", "1")
    before = needed_bytes(settings, 1_001_000)
    save_checkpoint(accelerator, settings, 1, {})
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    export = 2 * 4 * 1_001_000
    assert before - export - SPARE_BYTES == pytest.approx(2 * size, rel=0.01)
    assert needed_bytes(settings, 1_001_000) - export - SPARE_BYTES == pytest.approx(size, rel=0.01)


def test_too_small_a_disk_is_refused(tmp_path, monkeypatch):
    settings = arguments(tmp_path)
    needed = needed_bytes(settings, 8_000_000)
    monkeypatch.setattr(output_folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1))
    message = f"has {needed / 2**30:.2f} GiB free, and the run needs about {needed / 2**30:.2f} GiB with 2 checkpoints"
    with pytest.raises(OSError, match=message):
        check_room(settings, 8_000_000)
    check_room(settings, 7_999_999)


# Checkpoints


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """As on a disk that gets full in the middle of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [1000, 100_000, 500_000], ids=["model", "optimizer", "moments"])
def test_a_full_disk_leaves_the_last_good_checkpoint(accelerator, tmp_path, limit):
    """The files are written one after the other: 40 kB of weights, 80 kB of the optimiser, 1 MB of the average."""
    network, settings = torch.nn.Linear(100, 100), arguments(tmp_path)
    optimizer = accelerator.prepare(torch.optim.AdamW(network.parameters()))
    accelerator.prepare(network)
    accelerator.register_for_checkpointing(torch.nn.Linear(500, 500))
    network(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    save_checkpoint(accelerator, settings, 1, {"task": "sketch"})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    message = "the checkpoint of step 2 cannot be saved: .*The last good one is .*checkpoint-000001"
    with file_size_limit(limit), pytest.raises(OSError, match=re.compile(message, re.DOTALL)):
        save_checkpoint(accelerator, settings, 2, {"task": "sketch"})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    save_checkpoint(accelerator, settings, 2, {"task": "sketch"})
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-000001", "checkpoint-000002"]


def test_what_a_killed_run_left_behind_is_no_part_of_a_checkpoint(accelerator, tmp_path):
    staged = tmp_path / "checkpoint-000001.tmp"
    staged.mkdir()
    (staged / "random_states_7.pkl").write_bytes(b"of a run with eight processes")
    save_checkpoint(accelerator, arguments(tmp_path), 1, {})
    assert not (tmp_path / "checkpoint-000001" / "random_states_7.pkl").exists()


def test_a_checkpoint_is_discarded_by_name_first(tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint-000002"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, **options: None)  # killed before a file is gone
        discard(checkpoint)
    assert checkpoints(tmp_path) == []
    checkpoint.mkdir()
    discard(checkpoint)
    assert list(tmp_path.iterdir()) == []


# The run that a checkpoint is of


def save_run(folder: Path, settings: TrainingSettings, processes: int = 1) -> dict:
    encoder = {"num_ws": 8, "_class_name": "PSPEncoder", "widths": (1, 2)}
    run = describe_run(settings, processes, {"pairs": 20}, encoder)
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    return run


def test_the_same_run_may_change_how_it_is_watched_and_where_it_lies(tmp_path):
    save_run(tmp_path, arguments(tmp_path, "--report_to", "none", "--dataloader_num_workers", "0"))
    changes = ["--validation_steps", "7", "--checkpointing_steps", "3", "--resume_from_checkpoint", "latest"]
    settings = parse_args(["--task", "sketch", "--output_dir", "elsewhere", "--pairs_dir", "/moved/pairs", *changes])
    check_same_run(tmp_path, save_run(tmp_path / "now", settings))


def test_a_flag_that_is_younger_than_the_checkpoint_is_as_by_default(tmp_path):
    path, current = tmp_path / "run.json", arguments(tmp_path)
    older = {name: value for name, value in save_run(tmp_path, current).items() if name != "num_passes"}
    path.write_text(json.dumps(older))
    check_same_run(tmp_path, save_run(tmp_path / "now", current))
    with pytest.raises(ValueError, match="It has: num_passes not known. This one has: num_passes 2"):
        check_same_run(tmp_path, save_run(tmp_path / "now", arguments(tmp_path, "--num_passes", "2")))


@pytest.mark.parametrize(
    ("more", "there", "here"),
    [
        (["--learning_rate", "0.1"], "learning_rate 0.001", "learning_rate 0.1"),
        (["--optimizer", "ranger", "--lr_scheduler", "cosine"], "optimizer adamw", "optimizer ranger"),
        (["--train_batch_size", "4", "--seed", "1"], "train_batch_size 32, seed 0", "train_batch_size 4, seed 1"),
    ],
)
def test_another_run_is_refused_with_the_differences(tmp_path, more, there, here):
    save_run(tmp_path, arguments(tmp_path))
    with pytest.raises(ValueError) as refused:
        check_same_run(tmp_path, save_run(tmp_path / "now", arguments(tmp_path, *more)))
    first, second = str(refused.value).split("This one has: ")
    assert there in first and here in second and "--allow_changes" in second


def test_another_number_of_processes_and_an_unknown_run_are_refused(tmp_path):
    save_run(tmp_path, arguments(tmp_path))
    with pytest.raises(ValueError, match="has: number of processes 1. This one has: number of processes 2"):
        check_same_run(tmp_path, save_run(tmp_path / "now", arguments(tmp_path), processes=2))
    with pytest.raises(ValueError, match="does not say of which run it is.*--allow_changes"):
        check_same_run(tmp_path / "none", {})
