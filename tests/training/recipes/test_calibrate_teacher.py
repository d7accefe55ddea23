"""training/recipes/calibrate_teacher.py: what a teacher's answers tell of w."""

import pytest
import torch

from psp_hub.config import PSPConfig
from psp_hub.model import PSPModel
from training.data.pairs import PairStore, sample_pairs, sample_w, write_shard
from training.losses.w_error import WError
from training.recipes import calibrate_teacher
from training.recipes.calibrate_teacher import Calibration, relative_error


@pytest.fixture
def error(tiny_generator):
    return WError(tiny_generator)


@pytest.fixture
def w(tiny_generator):
    return sample_w(tiny_generator, range(2000))  # [2000, 32]


def run(model, pairs_dir, output, *options):
    options = ["--pairs_dir", str(pairs_dir), "--model", str(model), "--output", str(output), *map(str, options)]
    calibrate_teacher.main(calibrate_teacher.parse_args(options))


def test_takes_back_what_is_too_sure(error, w):
    """A teacher that sees half of the directions, and answers the others with noise of its own."""
    noise = 3 * torch.randn(w.shape, generator=torch.Generator().manual_seed(0)) * error.w_std
    answers = torch.cat([w[:, :16], (error.w_avg + noise)[:, 16:]], dim=1)
    calibrated = Calibration.fit(answers[:1500], w[:1500], error)(answers)
    before, after = (relative_error(some[1500:], w[1500:], error) for some in (answers, calibrated))
    assert before > 1
    assert after < 0.5


def test_leaves_a_perfect_teacher_alone(error, w):
    calibrated = Calibration.fit(w, w, error)(w)
    assert relative_error(calibrated, w, error) < 0.01


def test_a_file_gives_the_same_map(error, w, tmp_path):
    calibration = Calibration.fit(w.flip(1), w, error)
    calibration.save(tmp_path / "new" / "calibration.safetensors")
    again = Calibration.from_file(tmp_path / "new" / "calibration.safetensors")
    torch.testing.assert_close(again(w), calibration(w), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["missing", "text", "model"])
def test_other_files(kind, model_dir, tmp_path):
    path = next((model_dir / "encoder").glob("*.safetensors")) if kind == "model" else tmp_path / "calibration"
    if kind == "text":
        path.write_text("no tensors here")
    with pytest.raises(ValueError, match="was not written by training/recipes/calibrate_teacher.py"):
        Calibration.from_file(path)


@pytest.mark.slow
def test_the_command(model_dir, make_encoder, tmp_path, capsys):
    generator = PSPModel.from_pretrained(model_dir).generator
    teacher = PSPModel(make_encoder(in_channels=3), generator, PSPConfig("inversion", "photo"))
    teacher.save_pretrained(tmp_path / "teacher")
    (tmp_path / "pairs").mkdir()
    images, w = sample_pairs(generator, range(60))
    write_shard(tmp_path / "pairs", 0, images, w, list(range(60)))
    run(tmp_path / "teacher", tmp_path / "pairs", tmp_path / "calibration.safetensors", "--held_out", 20)
    calibration = Calibration.from_file(tmp_path / "calibration.safetensors")
    store, error = PairStore([tmp_path / "pairs"]), WError(generator)
    images = torch.stack([store[i][0] for i in range(60)])
    with torch.no_grad():
        answers = teacher.eval().encode(images).mean(dim=1)  # [60, w_dim]
    expected = Calibration.fit(answers[:40], store.w[:40].float(), error)
    torch.testing.assert_close(calibration.matrix, expected.matrix, rtol=0.05, atol=0.01)  # the command uses bfloat16
    before, after = (relative_error(some[40:], store.w[40:].float(), error) for some in (answers, expected(answers)))
    words = capsys.readouterr().out.split()
    assert words[:7] == "error of w on 20 held-out pairs:".split()
    assert [float(words[i]) for i in (7, 10)] == pytest.approx([before, after], rel=0.02)


def test_what_cannot_be_fitted(model_dir, pairs_dir, make_encoder, tmp_path):
    generator = PSPModel.from_pretrained(model_dir).generator
    teacher = PSPModel(make_encoder(in_channels=3), generator, PSPConfig("inversion", "photo"))
    teacher.save_pretrained(tmp_path / "teacher")
    (tmp_path / "mixed").mkdir()
    write_shard(tmp_path / "mixed", 0, *sample_pairs(generator, [1, 2], mixed_share=1.0), [1, 2])
    for model, pairs, message in (
        (model_dir, pairs_dir, "reads drawings, expected a model for photos"),
        (tmp_path / "teacher", tmp_path / "mixed", "mixed styles"),
        (tmp_path / "teacher", pairs_dir, "expected more than the 1000 held out"),
    ):
        with pytest.raises(ValueError, match=message):
            run(model, pairs, tmp_path / "calibration.safetensors")
        assert not (tmp_path / "calibration.safetensors").exists()


def test_nothing_held_out(capsys):
    with pytest.raises(SystemExit):
        calibrate_teacher.parse_args(["--pairs_dir", "a", "--model", "b", "--output", "c", "--held_out", "0"])
    assert "--held_out is 0, expected 1 or more" in capsys.readouterr().err
