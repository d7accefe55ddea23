"""training/evaluate.py with tiny models: its report, its inputs, and what it refuses."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub.face_parser import FaceParser
from psp_hub.tasks import TASKS
from training.data.pairs import PairStore
from training.evaluate import load_sets, main, parse_args
from training.evaluation.examples import SourceMaker
from training.evaluation.metric_networks import MetricNetworks

PICTURE_FIGURES = {"mse", "psnr"}

IDENTITY_FIGURES = {"identity_matched", "identity_shuffled", "rank_1"}

NO_NETWORKS = MetricNetworks()


@pytest.fixture
def arguments(model_dir, pairs_dir, faces_dir, recogniser_file, tmp_path):
    """Function of further options: a command line for the tiny model."""

    def make(*more: str) -> list[str]:
        options = {"--task": "sketch", "--model": model_dir, "--pairs_dir": pairs_dir, "--faces_dir": faces_dir}
        options |= {"--recogniser": recogniser_file, "--num_pairs": 3, "--output_dir": tmp_path / "report"}
        return [*(str(part) for option in options.items() for part in option), *more]

    return make


@pytest.fixture(scope="module")
def parser_dir(tmp_path_factory) -> Path:
    """A saved face parser with random weights."""
    folder = tmp_path_factory.mktemp("parser")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        FaceParser(16, (16, 16, 16), (1, 1, 1), 8).save_pretrained(folder)
    return folder


def without(options: list[str], *names: str) -> list[str]:
    for name in names:
        del options[options.index(name) : options.index(name) + 2]
    return options


def test_report_table_and_pictures(arguments, tmp_path):
    report = main(parse_args(arguments("--num_faces", "4")))
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report
    assert report.keys() == {"task", "model", "recogniser", "drawing_style", "pairs", "faces"}
    figures = {"count", "seconds", "mean_face"} | PICTURE_FIGURES | IDENTITY_FIGURES
    assert report["pairs"].keys() == figures | {"w_error"} and report["faces"].keys() == figures
    assert report["pairs"]["count"] == 3 and report["faces"]["count"] == 4
    for part in (report["pairs"], report["faces"]):
        assert part["seconds"].keys() == {"encoder", "generator"}
        assert part["mean_face"].keys() == PICTURE_FIGURES | IDENTITY_FIGURES
    assert report["drawing_style"] == "whole family" and report["recogniser"] == "weights.safetensors"
    assert Image.open(tmp_path / "report" / "pairs.png").size == (3 * 256, 3 * 256)
    assert Image.open(tmp_path / "report" / "faces.png").size == (4 * 256, 3 * 256)

    rows = list(csv.DictReader((tmp_path / "report" / "faces.csv").open()))
    assert [row["picture"] for row in rows] == ["c.jpeg", "d.webp", "e.PNG", "f.png"]
    for name, key in (("mse", "mse"), ("psnr", "psnr"), ("identity", "identity_matched")):
        assert np.mean([float(row[name]) for row in rows]) == pytest.approx(report["faces"][key])
        assert np.mean([float(row[f"mean_face: {name}"]) for row in rows]) == pytest.approx(
            report["faces"]["mean_face"][key]
        )
    assert np.mean([row["rank"] == "1" for row in rows]) == pytest.approx(report["faces"]["rank_1"])


@pytest.mark.slow
def test_perceptual_figures_and_clean_lines(arguments, edge_detector_file):
    options = arguments("--edge_detector", str(edge_detector_file), "--drawing_style", "line_art", "--num_faces", "2")
    report = main(parse_args([*without(options, "--pairs_dir"), "--frechet_net", "trunk"]))
    assert report["drawing_style"] == "line_art" and "pairs" not in report
    assert report["faces"]["count"] == 2
    assert report["faces"]["perceptual"] > 0 and report["faces"]["mean_face"]["perceptual"] > 0
    assert report["faces"]["frechet"]["features_of"] == "vgg, weights.safetensors"


@pytest.mark.slow
def test_lpips(arguments, alex_file):
    options = arguments("--lpips_net", "alex", "--lpips_trunk", str(alex_file), "--num_faces", "2")
    report = main(parse_args(without(options, "--pairs_dir")))
    assert report["lpips"] == "alex, trunk.safetensors" and report["faces"]["lpips"] > 0


def test_figures_are_the_same_every_time(arguments):
    options = without(arguments("--num_faces", "2", "--frechet_net", "recogniser"), "--pairs_dir")
    reports = [main(parse_args(options)) for _ in range(2)]
    for report in reports:
        del report["faces"]["seconds"]
    assert reports[0] == reports[1]
    frechet = reports[0]["faces"]["frechet"]
    assert frechet == {"distance": frechet["distance"], "features_of": "weights.safetensors", "pictures": 2}
    assert frechet["distance"] > 0


def test_positional_arguments_and_the_models_own_task(model_dir, pairs_dir, tmp_path):
    report = main(parse_args([str(model_dir), str(pairs_dir), "--num_pairs", "2", "--output_dir", str(tmp_path)]))
    assert report["task"] == "sketch"
    assert report["pairs"].keys() == {"count", "seconds", "w_error", "mean_face"} | PICTURE_FIGURES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.csv", "pairs.png", "report.json"]


EXTRA_FIGURES = {
    "super-resolution": {"consistency_psnr", "bicubic"},
    "inpainting": {"mse_missing", "mse_known", "nearest_colour", "pasted"},
    "frontalization": {"asymmetry", "turned"},
    "segmentation": {"labels"},
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task(task, task_model, faces_dir, parser_dir, tmp_path):
    options = [str(task_model(task)), str(faces_dir), "--num_faces", "2", "--output_dir", str(tmp_path)]
    if task == "segmentation":
        options += ["--parser", str(parser_dir)]
    if task == "super-resolution":
        options += ["--factors", "8"]
    report = main(parse_args(options))
    assert report["task"] == task and report["faces"]["count"] == 2
    assert report["faces"].keys() == {"count", "seconds", "mean_face"} | PICTURE_FIGURES | EXTRA_FIGURES.get(
        task, set()
    )
    assert Image.open(tmp_path / "faces.png").size == (2 * 256, 3 * 256)


def test_stored_label_maps(task_model, faces_dir, parser_dir, tmp_path):
    """Label maps of the photos' names are the input, and what the answers are measured by."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in faces_dir.iterdir():
        if path.suffix != ".txt":
            Image.fromarray(np.repeat(np.uint8([13, 1]), 32)[:, None].repeat(64, 1)).save(masks / f"{path.stem}.png")
    options = [str(task_model("segmentation")), str(faces_dir), "--source_dir", str(masks), "--num_faces", "3"]
    report = main(parse_args([*options, "--parser", str(parser_dir), "--output_dir", str(tmp_path / "report")]))
    labels = report["faces"]["labels"]
    assert labels["iou"].keys() == {"skin", "hair"} and labels["shuffled"] == {
        name: labels[name] for name in ("pixel_accuracy", "mean_iou")
    }  # all maps are the same
    assert report["faces"]["mean_face"]["labels"].keys() == {"pixel_accuracy", "mean_iou", "shuffled"}
    assert labels["parser_on_targets"].keys() == labels.keys() - {"parser_on_targets"}
    rows = list(csv.DictReader((tmp_path / "report" / "faces.csv").open()))
    assert np.mean([float(row["pixel_accuracy"]) for row in rows]) == pytest.approx(labels["pixel_accuracy"])
    (masks / "a.png").unlink()
    with pytest.raises(ValueError, match="1 pictures have no partner of the same name.*a.png"):
        main(parse_args([*options, "--output_dir", str(tmp_path / "report")]))


def test_factors_of_super_resolution_are_told_apart(task_model, pairs_dir, tmp_path):
    options = [str(task_model("super-resolution")), str(pairs_dir), "--num_pairs", "4", "--factors", "1", "16"]
    report = main(parse_args([*options, "--output_dir", str(tmp_path)]))["pairs"]
    rows = list(csv.DictReader((tmp_path / "pairs.csv").open()))
    assert {row["factor"] for row in rows} == {"1", "16"}
    for factor, part in report["by_factor"].items():
        own = [float(row["mse"]) for row in rows if row["factor"] == factor]
        assert part["count"] == len(own) and part["mse"] == pytest.approx(np.mean(own))
        enlarged = [float(row["bicubic: mse"]) for row in rows if row["factor"] == factor]
        assert part["bicubic"]["mse"] == pytest.approx(np.mean(enlarged))
    exact = [float(row["bicubic: psnr"]) for row in rows if row["factor"] == "1"]
    assert min(exact) > 50  # but for rounding to bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["sketch"], "expected DATA"),
        (["sketch", "{pairs}", "--model", "sketch"], "the model is given twice: sketch and --model sketch"),
        (["sketch", "{pairs}", "--pairs_dir", "{pairs}"], "the data is given twice"),
        (["sketch", "nowhere"], "no such folder: nowhere"),
        (["--pairs_dir", "{pairs}"], "expected MODEL or --task"),
        (["sketch", "{pairs}", "--source_dir", "{pairs}"], "--source_dir needs --faces_dir"),
        (["sketch", "{pairs}", "--frechet_net", "recogniser"], "--frechet_net recogniser needs --recogniser"),
        (["sketch", "{pairs}", "--frechet_net", "trunk"], "--frechet_net trunk needs --lpips_net or --edge_detector"),
        (["sketch", "{pairs}", "--lpips_trunk", "file"], "--lpips_trunk needs --lpips_net, one of alex, vgg"),
        (["sketch", "{pairs}", "--num_pairs", "-1"], "numbers of pictures and of steps of refinement are 0 or more"),
        (["sketch", "{pairs}", "--task", "colouring"], "invalid choice 'colouring'"),
    ],
)
def test_bad_commands(pairs_dir, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        parse_args([option.format(pairs=pairs_dir) for option in options] + ["--output_dir", str(tmp_path)])
    assert stopped.value.code == 2
    captured = capsys.readouterr().err
    assert re.search(message, captured), captured


def test_a_model_of_another_task(model_dir, pairs_dir, tmp_path):
    options = [str(model_dir), str(pairs_dir), "--task", "inversion", "--output_dir", str(tmp_path / "report")]
    with pytest.raises(ValueError, match="takes 1 channels, expected 3 for the task inversion"):
        main(parse_args(options))


def test_broken_pictures_are_named_before_anything_is_measured(model_dir, faces_dir, tmp_path):
    for path in faces_dir.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "x.png").write_bytes((faces_dir / "a.png").read_bytes()[:500])
    (tmp_path / "y.jpg").write_text("not a photo")
    options = [str(model_dir), str(tmp_path), "--output_dir", str(tmp_path / "report")]
    with pytest.raises(ValueError, match="2 pictures cannot be used: .*x.png.*y.jpg"):
        main(parse_args(options))
    assert not (tmp_path / "report").exists()


def test_label_maps_need_a_parser():
    with pytest.raises(ValueError, match="need a face parser .--parser., or maps .--source_dir."):
        SourceMaker(TASKS["segmentation"], 0).example(0, "", torch.zeros(3, 256, 256))


def test_the_last_pairs_and_photos_are_used(arguments, pairs_dir):
    def sets(*more):
        return load_sets(parse_args(arguments(*more)), "sketch", NO_NETWORKS)

    store, some, every = PairStore([pairs_dir]), sets("--num_faces", "2"), sets("--num_faces", "0", "--num_pairs", "0")
    assert len(some["pairs"]) == 3 and len(every["pairs"]) == 20
    for example, i in zip(some["pairs"], (17, 18, 19), strict=True):
        assert torch.equal(example.w, store.w[i].float()) and torch.equal(example.image, store[i][0])
        assert example.name == str(store.indices[i])
    faces = list(some["faces"])
    assert [example.name for example in faces] == ["e.PNG", "f.png"] and faces[0].w is None
    assert len(every["faces"]) == 6
    assert all(torch.equal(a.image, b.image) for a, b in zip(faces, list(every["faces"])[4:], strict=True))
