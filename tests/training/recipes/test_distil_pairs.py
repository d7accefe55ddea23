"""training/recipes/distil_pairs.py: targets of pairs and photos, mixed with what a teacher reads off them."""

from functools import cache

import pytest
import torch
from safetensors.torch import load_file

from psp_hub.config import PSPConfig
from psp_hub.model import PSPModel
from training.data.faces import FacePhotos
from training.data.pairs import PairStore, read_bytes, sample_pairs, write_shard
from training.recipes import distil_pairs
from training.recipes.calibrate_teacher import Calibration


@pytest.fixture
def teacher_dir(model_dir, make_encoder, tmp_path):
    """A model for photos."""
    generator = PSPModel.from_pretrained(model_dir).generator
    model = PSPModel(make_encoder(in_channels=3), generator, PSPConfig("inversion", "photo"))
    model.save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


def run(teacher_dir, output_dir, *options):
    args = distil_pairs.parse_args([*map(str, options), "--model", str(teacher_dir), "--output_dir", str(output_dir)])
    distil_pairs.main(args)


@cache
def teacher(folder):
    return PSPModel.from_pretrained(folder).eval()


@torch.no_grad()
def read_by(teacher_dir, image):
    return teacher(teacher_dir).encode(image[None])[0]  # [num_ws, w_dim]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_targets_of_pairs(teacher_dir, pairs_dir, tmp_path, share):
    run(teacher_dir, tmp_path / "new", "--pairs_dir", pairs_dir, "--share", share)
    before, after = PairStore([pairs_dir]), PairStore([tmp_path / "new"])
    assert after.indices == before.indices
    for i in range(len(before)):
        assert read_bytes(*after.positions[i]) == read_bytes(*before.positions[i])
        image, w = before[i]
        answer = read_by(teacher_dir, image)
        expected = torch.lerp(w.expand_as(answer), answer, share)
        torch.testing.assert_close(after[i][1], expected, rtol=0.02, atol=0.02)  # the teacher works in bfloat16


def test_mixed_styles_keep_their_differences(teacher_dir, make_generator, model_dir, tmp_path):
    generator = PSPModel.from_pretrained(model_dir).generator
    images, ws = sample_pairs(generator, [1, 2, 3], mixed_share=1.0)
    (tmp_path / "mixed").mkdir()
    write_shard(tmp_path / "mixed", 0, images, ws, [1, 2, 3])
    run(teacher_dir, tmp_path / "new", "--pairs_dir", tmp_path / "mixed", "--share", 0)
    torch.testing.assert_close(torch.stack(PairStore([tmp_path / "new"]).rows), ws.half())


def test_mirror_images_get_all_from_the_teacher(teacher_dir, pairs_dir, tmp_path):
    run(teacher_dir, tmp_path / "new", "--pairs_dir", pairs_dir, "--mirror", "--share", 0)
    before, after = PairStore([pairs_dir]), PairStore([tmp_path / "new"])
    assert not set(after.indices) & set(before.indices)  # or they would get the line art of the others
    for i in range(len(before)):
        image, ws = after[i]
        other = before[i][0]
        assert (image - other.flip(-1)).abs().mean() < 0.5 * (image - other).abs().mean()  # WebP loses some
        torch.testing.assert_close(ws, read_by(teacher_dir, image), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("mirror", [False, True])
def test_calibrated_answers(teacher_dir, pairs_dir, tmp_path, mirror):
    generator = PSPModel.from_pretrained(teacher_dir).generator
    matrix = torch.randn(generator.w_dim, generator.w_dim, generator=torch.Generator().manual_seed(0))
    calibration = Calibration(matrix, generator.w_avg, torch.ones(generator.w_dim))
    calibration.save(tmp_path / "calibration.safetensors")
    options = ["--share", 0.75, "--calibration", tmp_path / "calibration.safetensors"]
    run(teacher_dir, tmp_path / "new", "--pairs_dir", pairs_dir, *options, *(["--mirror"] if mirror else []))
    before, after = PairStore([pairs_dir]), PairStore([tmp_path / "new"])
    assert after.w_shape == before.w_shape  # one w for all styles
    for i in range(len(before)):
        answer = calibration(read_by(teacher_dir, after[i][0]).mean(dim=0))
        expected = answer if mirror else torch.lerp(before[i][1], answer, 0.75)
        torch.testing.assert_close(after[i][1], expected, rtol=0.05, atol=0.1)  # the teacher works in bfloat16


def test_one_calibrated_w_is_not_for_mixed_styles(teacher_dir, tmp_path):
    generator = PSPModel.from_pretrained(teacher_dir).generator
    (tmp_path / "mixed").mkdir()
    write_shard(tmp_path / "mixed", 0, *sample_pairs(generator, [1, 2], mixed_share=1.0), [1, 2])
    matrix, w_std = torch.eye(generator.w_dim), torch.ones(generator.w_dim)
    Calibration(matrix, generator.w_avg, w_std).save(tmp_path / "calibration")
    with pytest.raises(ValueError, match="mixed styles, expected pairs with one w each"):
        run(
            teacher_dir, tmp_path / "new", "--pairs_dir", tmp_path / "mixed", "--calibration", tmp_path / "calibration"
        )
    assert not (tmp_path / "new").exists()


def test_photos_get_all_from_the_teacher(teacher_dir, faces_dir, tmp_path):
    run(teacher_dir, tmp_path / "new", "--faces_dir", faces_dir, "--copies", 2, "--first_index", 700)
    photos, store = FacePhotos(faces_dir, slice(None)), PairStore([tmp_path / "new"])
    assert store.indices == list(range(700, 700 + 2 * len(photos)))
    for i in range(len(store)):
        image, ws = store[i]
        torch.testing.assert_close(ws, read_by(teacher_dir, image), rtol=0.02, atol=0.02)
        difference = (image - photos[i % len(photos)]).abs().mean()
        assert difference < 0.05 if i < len(photos) else difference > 0.05  # the copies are other pictures


@pytest.mark.parametrize("source", ["pairs", "mirror", "faces"])
def test_goes_on_where_it_stopped(teacher_dir, pairs_dir, faces_dir, tmp_path, monkeypatch, source):
    monkeypatch.setattr(distil_pairs, "SHARD_SIZE", 2)
    options = ["--faces_dir", faces_dir, "--copies", 2] if source == "faces" else ["--pairs_dir", pairs_dir]
    options += ["--mirror"] if source == "mirror" else []
    run(teacher_dir, tmp_path / "new", *options)
    whole = files_of(tmp_path / "new")
    assert len(whole) > 2
    for removed in sorted(name for name in whole if name.startswith("images-")):
        (tmp_path / "new" / removed).unlink()
        run(teacher_dir, tmp_path / "new", *options)
        assert files_of(tmp_path / "new") == whole


def test_some_pairs_alone(teacher_dir, pairs_dir, tmp_path):
    run(teacher_dir, tmp_path / "new", "--pairs_dir", pairs_dir, "--max_pairs", 3)
    assert PairStore([tmp_path / "new"]).indices == PairStore([pairs_dir]).indices[:3]
    assert sum(len(load_file(path)["index"]) for path in (tmp_path / "new").glob("w-*.safetensors")) == 3


def test_a_teacher_of_drawings(model_dir, pairs_dir, tmp_path):
    with pytest.raises(ValueError, match="reads drawings, expected a model for photos"):
        run(model_dir, tmp_path / "new", "--pairs_dir", pairs_dir)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--share", "1.5"], "--share is 1.5, expected 0 to 1"),
        (["--copies", "0"], "--copies is 0, expected 1 or more"),
        (["--max_pairs", "-1"], "--max_pairs is -1, expected 1 or more"),
    ],
)
def test_bad_options(options, message, capsys):
    with pytest.raises(SystemExit):
        distil_pairs.parse_args(["--pairs_dir", "a", "--model", "b", "--output_dir", "c", *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--mirror"], "--copies mirrors photos"), (["--calibration", "d"], "no single w makes a")],
)
def test_what_is_not_for_photos(options, message, capsys):
    with pytest.raises(SystemExit):
        distil_pairs.parse_args(["--faces_dir", "a", *options, "--model", "b", "--output_dir", "c"])
    assert message in capsys.readouterr().err
