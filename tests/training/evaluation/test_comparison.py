"""training/evaluate.py: refinement, optimisation and other models beside the encoder."""

import pytest
import torch
from PIL import Image

from psp_hub import PSPConfig, PSPModel
from psp_hub.tasks import get_task
from training.evaluate import main, parse_args
from training.evaluation.baselines import at_256
from training.evaluation.examples import PhotoExamples, SourceMaker


@pytest.mark.slow
@pytest.mark.parametrize(("task", "options"), [("inversion", []), ("super-resolution", ["--factors", "4"])])
def test_refinement_beside_the_encoder(task_model, faces_dir, tmp_path, capsys, task, options):
    folder = task_model(task)
    options = [*options, "--refinement_steps", "2", "0", "--num_optimized", "1", "--output_dir", str(tmp_path)]
    report = main(parse_args([str(folder), str(faces_dir), "--num_faces", "1", *options]))["optimization"]
    methods = ["mean_face", "encoder", "refined 2", "refined 0"]
    assert list(report) == ["set", "count", "loss", *methods]
    assert report["refined 0"]["mse"] == report["encoder"]["mse"] and report["refined 2"]["seconds"] > 0
    model, maker = PSPModel.from_pretrained(folder), SourceMaker(get_task(task), 1234, factors=[4])
    (example,) = PhotoExamples(faces_dir, 1, maker)
    factor = 4 if task == "super-resolution" else None
    images = at_256(model.decode(model.refine(example.input[None], steps=2, factor=factor)))
    assert report["refined 2"]["mse"] == pytest.approx((images[0] - example.image).square().mean().item(), rel=1e-4)
    table = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split()[0] for line in table] == ["mean_face", "encoder", "refined", "refined"]


def test_other_models_beside_the_encoder(task_model, faces_dir, tmp_path):
    folder = task_model("inversion")
    other = PSPModel.from_pretrained(folder)
    with torch.no_grad():
        other.encoder.heads.base.linear.bias += 0.5
    other.save_pretrained(tmp_path / "other")
    options = ["--num_faces", "1", "--output_dir", str(tmp_path), "--other_models"]
    same, moved = str(folder), str(tmp_path / "other")
    report = main(parse_args([same, str(faces_dir), *options, moved, same]))["optimization"]
    assert list(report)[3:] == ["mean_face", "encoder", moved, same]
    assert report[same]["mse"] == report["encoder"]["mse"] != report[moved]["mse"]
    with pytest.raises(ValueError, match="takes other inputs than"):
        main(parse_args([same, str(faces_dir), *options, str(task_model("inpainting"))]))


def test_the_answer_after_each_pass(make_encoder, tiny_generator, faces_dir, tmp_path):
    config = PSPConfig("inversion", "photo", num_passes=2, face_size=32)
    model = PSPModel(make_encoder(in_channels=3, residual=True), tiny_generator, config).eval()
    model.save_pretrained(tmp_path / "model", include_generator=True)
    options = ["--num_faces", "1", "--num_optimized", "1", "--output_dir", str(tmp_path / "report")]
    words = [str(tmp_path / "model"), str(faces_dir), *options, "--passes"]
    report = main(parse_args([*words, "1", "2", "3"]))["optimization"]
    assert list(report)[3:] == ["mean_face", "encoder", "passes 1", "passes 2", "passes 3"]
    assert report["passes 2"]["mse"] == report["encoder"]["mse"]
    assert len({report[f"passes {count}"]["mse"] for count in (1, 2, 3)}) == 3
    with pytest.raises(SystemExit):
        parse_args([*words, "0"])


def test_passes_that_an_encoder_cannot_make(task_model, faces_dir, tmp_path):
    words = [
        str(task_model("inversion")),
        str(faces_dir),
        "--output_dir",
        str(tmp_path / "report"),
        "--num_faces",
        "1",
    ]
    with pytest.raises(ValueError, match="--passes 2 is not for this encoder, expected 1"):
        main(parse_args([*words, "--passes", "2"]))
    assert not (tmp_path / "report").exists()


def test_what_is_not_refined_is_told_before_the_measuring(model_dir, faces_dir, tmp_path):
    options = ["--refinement_steps", "2", "--output_dir", str(tmp_path / "report")]
    with pytest.raises(ValueError, match="sketch cannot be refined"):
        main(parse_args([str(model_dir), str(faces_dir), *options]))
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_optimisation_beside_the_encoder(model_dir, faces_dir, recogniser_file, tmp_path, capsys):
    options = ["--optimization_steps", "12", "--num_optimized", "2", "--optimization_starts", "mean_face", "encoder"]
    options += ["--recogniser", str(recogniser_file), "--output_dir", str(tmp_path)]
    report = main(parse_args([str(model_dir), str(faces_dir), "--num_faces", "2", *options]))["optimization"]
    methods = ["mean_face", "encoder", "w 12", "w+ 12", "w 12 from the encoder", "w+ 12 from the encoder"]
    assert list(report) == ["set", "count", "loss", *methods]
    assert (report["set"], report["count"], report["loss"]) == ("faces", 2, "mse")
    for name in methods:
        assert report[name].keys() == {"mse", "psnr", "identity", "seconds"}
    assert report["w+ 12"]["mse"] < report["w 12"]["mse"] < report["mean_face"]["mse"]
    assert report["w+ 12 from the encoder"]["mse"] < report["encoder"]["mse"]
    assert report["mean_face"]["seconds"] == 0 and report["encoder"]["seconds"] < report["w 12"]["seconds"]
    table = capsys.readouterr().out.splitlines()[-7:]
    assert table[0].split() == ["mse", "psnr", "identity", "seconds"]
    for line, name in zip(table[1:], methods, strict=True):
        assert line.split()[: len(name.split())] == name.split()
        assert [float(value) for value in line.split()[-4:]] == pytest.approx(list(report[name].values()), rel=1e-3)
    assert Image.open(tmp_path / "optimization.png").size == (2 * 256, 8 * 256)
