"""training.settings: dataclasses to flags and back, from the command line and from a file."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path

import pytest
from diffusers.optimization import SchedulerType

from training import train as program
from training.run.publish import command
from training.run.train import recorded
from training.settings.flags import by_name, is_switch, types_of
from training.settings.optimizer import OptimizerSettings
from training.settings.run import TrainingSettings, parse_args

WORDS = ["--task", "sketch", "--output_dir", "out", "--pairs_dir", "one", "two"]
MORE = ["--head_widths", "8", "8", "4", "--no-random_flip", "--skip_broken", "--color_jitter", "0.4"]


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        "task: inversion\noutput_dir: out\npairs_dir: [one, two]\nlearning_rate: 1e-4\nmixed_precision: no\n"
        "skip_broken: true\nrandom_flip: false\nnum_passes: null  # as the model has it\nhead_widths:\n- 8\n- 8\n- 4\n"
    )
    return path


def groups(settings: object) -> list[object]:
    return [
        settings,
        *(g for f in fields(settings) if is_dataclass(v := getattr(settings, f.name)) for g in groups(v)),
    ]


def test_words_become_settings():
    settings = parse_args([*WORDS, *MORE])
    assert settings.data.pairs.pairs_dir == (Path("one"), Path("two"))
    assert settings.model.head_widths == (8, 8, 4)
    assert settings.data.augmentation.random_flip is False and settings.data.photos.skip_broken
    assert parse_args(WORDS).data.augmentation.random_flip is None
    assert settings.optimizer.learning_rate == 1e-3 and OptimizerSettings().learning_rate is None


def test_nothing_can_be_changed_afterwards():
    for group in groups(parse_args(WORDS)):
        with pytest.raises(FrozenInstanceError):
            setattr(group, fields(group)[0].name, None)


def test_a_file_says_the_same(config):
    words = ["--task", "inversion", *WORDS[2:], "--learning_rate", "1e-4", "--mixed_precision", "no", *MORE[:6]]
    found = by_name(parse_args(["--config", str(config)]))
    assert found.pop("config") == config
    assert found == {name: value for name, value in by_name(parse_args(words)).items() if name != "config"}


def test_the_command_line_goes_before_the_file(config):
    words = ["--no-skip_broken", "--random_flip", "--task", "sketch", "--pairs_dir", "three"]
    settings = parse_args([f"--config={config}", *words])
    assert settings.task == "sketch" and settings.data.pairs.pairs_dir == (Path("three"),)
    assert not settings.data.photos.skip_broken and settings.data.augmentation.random_flip
    assert settings.optimizer.learning_rate == 1e-4


def test_a_run_can_be_repeated_from_its_record(tmp_path):
    settings = parse_args([*WORDS, *MORE, "--hub_token", "hf_secret"])
    path = tmp_path / "training_args.json"
    path.write_text(json.dumps(recorded(settings)))
    again = by_name(parse_args(["--config", str(path)])) | {"config": None, "hub_token": "hf_secret"}
    assert again == by_name(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "run.yaml cannot be read: "),
        ("a: [", "run.yaml cannot be read: "),
        ("- sketch", "run.yaml does not hold flags, expected lines such as `task: sketch`"),
        ("model: {encoder: psp}", "run.yaml does not hold flags, expected lines such as `task: sketch`"),
        ("skip_broken: maybe", "skip_broken is 'maybe', expected true or false"),
        ("learning_rat: 1", "Unrecognized options: --learning_rat=1"),
        ("learning_rate: fast", "Error parsing --learning_rate: "),
    ],
)
def test_files_that_cannot_be_used(tmp_path, capsys, text, message):
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        parse_args([*WORDS, "--config", str(path)])
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", "").split())


def test_no_flag_has_two_meanings():
    names = [name for name, _ in types_of(TrainingSettings)]
    assert len(set(names)) == len(names) > 80
    assert {"skip_broken", "random_flip", "compile"} < {
        name for name, kind in types_of(TrainingSettings) if is_switch(kind)
    }


def test_schedulers_are_those_of_diffusers():
    others = {kind.value for kind in SchedulerType} - {"piecewise_constant"}  # it has rules of its own
    for name in others:
        assert parse_args([*WORDS, "--lr_scheduler", name]).optimizer.lr_scheduler == name


def test_the_command_of_a_card_leaves_out_what_is_private():
    text = command(parse_args([*WORDS, *MORE, "--hub_token", "hf_secret", "--recogniser", "/home/me/face.pth"]))
    assert "--pairs_dir one two" in text and "--no-random_flip" in text and "--skip_broken" in text
    assert "secret" not in text and "/home" not in text and "--output_dir" not in text and "--no-compile" not in text


def test_help_names_every_flag():
    text = subprocess.run(
        [sys.executable, program.__file__, "--help"], capture_output=True, text=True, check=True
    ).stdout
    for name, _ in types_of(TrainingSettings):
        assert f"--{name} " in text or f"--{name}," in text
    assert text.startswith("usage: train.py") and "the mean face" in text


def test_flags_are_read_without_torch():
    code = f"import sys; from training.settings.run import parse_args; parse_args({WORDS})"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(program.__file__).parents[1])
