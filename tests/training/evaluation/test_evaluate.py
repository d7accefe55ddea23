"""training/evaluate.py: figures and pictures of tiny models."""

import csv
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub import PSPConfig, PSPModel
from psp_hub.encoder import PSPEncoder
from psp_hub.face_parser import FaceParser
from psp_hub.generators import load_generator
from psp_hub.images.face_classes import CLASS_NAMES
from psp_hub.images.label_maps import labels_to_image
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.tasks import TASKS, get_task
from training.data.pairs import PairStore
from training.evaluate import load_sets, main, parse_args
from training.evaluation.examples import Example, PhotoExamples, SourceMaker
from training.evaluation.measure import label_figures, measure, translate
from training.evaluation.metric_networks import MetricNetworks
from training.evaluation.report import save_grid
from training.networks.mobilefacenet import FaceRecogniser
from training.run.validation import visible

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
def model(model_dir) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)


@pytest.fixture(scope="module")
def task_model(generator_dir, tmp_path_factory) -> Callable[[str], Path]:
    """Function of a task's name: a saved tiny model for it."""

    def make(task: str) -> Path:
        folder = tmp_path_factory.mktemp(task)
        sizes = {"stem_width": 16, "stem_stride": 8, "stage_widths": (16, 16, 16), "stage_depths": (1, 1, 1)}
        sizes |= {"stage_strides": (1, 2, 2), "pyramid_width": 8, "base_width": 4, "head_widths": (8, 8, 8)}
        row = TASKS[task]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = PSPEncoder(in_channels=row.in_channels, num_ws=8, w_dim=32, **sizes)
            for parameter in encoder.heads.parameters():
                if not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.1)
        PSPModel(encoder, load_generator(generator_dir), PSPConfig(task, row.input_kind)).save_pretrained(folder)
        return folder

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


# The command


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


@pytest.mark.slow
@pytest.mark.parametrize(("task", "options"), [("inversion", []), ("super-resolution", ["--factors", "4"])])
def test_refinement_beside_the_encoder(task_model, faces_dir, tmp_path, capsys, task, options):
    folder = task_model(task)
    options = [*options, "--refinement_steps", "2", "0", "--num_optimized", "1", "--output_dir", str(tmp_path)]
    report = main(parse_args([str(folder), str(faces_dir), "--num_faces", "1", *options]))["optimization"]
    methods = ["mean_face", "encoder", "refined 2", "refined 0"]
    assert list(report) == ["set", "count", "steps", "loss", *methods]
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
    assert list(report)[4:] == ["mean_face", "encoder", moved, same]
    assert report[same]["mse"] == report["encoder"]["mse"] != report[moved]["mse"]
    with pytest.raises(ValueError, match="takes other inputs than"):
        main(parse_args([same, str(faces_dir), *options, str(task_model("inpainting"))]))


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
    methods = ["mean_face", "encoder", "w", "w+", "w from the encoder", "w+ from the encoder"]
    assert list(report) == ["set", "count", "steps", "loss", *methods]
    assert (report["set"], report["count"], report["steps"], report["loss"]) == ("faces", 2, 12, "mse")
    for name in methods:
        assert report[name].keys() == {"mse", "psnr", "identity", "seconds"}
    assert report["w+"]["mse"] < report["w"]["mse"] < report["mean_face"]["mse"]
    assert report["w+ from the encoder"]["mse"] < report["encoder"]["mse"]
    assert report["mean_face"]["seconds"] == 0 and report["encoder"]["seconds"] < report["w"]["seconds"]
    table = capsys.readouterr().out.splitlines()[-7:]
    assert table[0].split() == ["mse", "psnr", "identity", "seconds"]
    for line, name in zip(table[1:], methods, strict=True):
        assert line.split()[: len(name.split())] == name.split()
        assert [float(value) for value in line.split()[-4:]] == pytest.approx(list(report[name].values()), rel=1e-3)
    assert Image.open(tmp_path / "optimization.png").size == (2 * 256, 8 * 256)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["sketch"], "expected DATA"),
        (["sketch", "{pairs}", "--model", "sketch"], "the model is given twice: sketch and --model sketch"),
        (["sketch", "{pairs}", "--pairs_dir", "{pairs}"], "the data is given twice"),
        (["sketch", "nowhere"], "no such folder: nowhere"),
        (["--pairs_dir", "{pairs}"], "expected MODEL or --task"),
        (["--task", "frontalization", "--pairs_dir", "{pairs}"], "no starter for frontalization .there is:.* sketch"),
        (["sketch", "{pairs}", "--source_dir", "{pairs}"], "--source_dir needs --faces_dir"),
        (["sketch", "{pairs}", "--frechet_net", "recogniser"], "--frechet_net recogniser needs --recogniser"),
        (["sketch", "{pairs}", "--frechet_net", "trunk"], "--frechet_net trunk needs --lpips_net or --edge_detector"),
        (["sketch", "{pairs}", "--lpips_trunk", "file"], "--lpips_trunk needs --lpips_net, one of alex, vgg"),
        (["sketch", "{pairs}", "--num_pairs", "-1"], "numbers of pictures and steps are 0 or more"),
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


# Parts


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


@pytest.mark.parametrize("task", ["sketch", "super-resolution", "inpainting", "frontalization"])
def test_inputs_depend_on_seed_and_position(task, pairs_dir):
    image = PairStore([pairs_dir])[0][0]

    def inputs(seed):
        maker = SourceMaker(TASKS[task], seed)
        return torch.stack([maker.example(i, "", image).input for i in range(6)])

    first = inputs(1)
    assert first.shape == (6, TASKS[task].in_channels, 256, 256)
    assert torch.equal(inputs(1), first) and not torch.equal(inputs(2), first)
    assert not torch.equal(first[:1].expand_as(first), first)


def test_super_resolution_is_made_again_in_the_same_way(pairs_dir):
    row = dataclasses.replace(
        TASKS["super-resolution"],
        source_options={"factors": (4, 8), "blur_share": 1.0, "jpeg_share": 1.0},
    )
    image = PairStore([pairs_dir])[0][0]
    for i in range(3):
        example = SourceMaker(row, 5).example(i, "", image)
        assert example.factor in (4, 8)
        assert torch.equal(example.remake(image), example.input)
        assert not torch.equal(example.remake(image.flip(-1)), example.input)


def test_translate_is_one_run_of_the_model(model):
    inputs = torch.rand(2, 1, 256, 256)
    with torch.no_grad():
        expected = model(inputs)
        for i in range(2):
            output, ws, seconds = translate(model, inputs[i])
            torch.testing.assert_close(ws, expected.ws[i : i + 1])
            assert output.shape == (3, 256, 256) and output.abs().max() <= 1
            assert at_256(expected.images[i : i + 1])[0].allclose(output, atol=1e-5)
            assert seconds.keys() == {"encoder", "generator"} and min(seconds.values()) > 0


def test_measure_against_a_loop(model, pairs_dir, recogniser_file):
    store, recogniser = PairStore([pairs_dir]), FaceRecogniser.from_file(recogniser_file)
    examples = [Example(str(i), torch.rand(1, 256, 256), *store[i]) for i in range(3)]
    mse, own, mean_own = [], [], []
    mean = at_256(model.generator.synthesis(model.generator.w_avg.expand(1, 8, -1)))
    report, rows, shown = measure(model, "sketch", examples, MetricNetworks(recogniser=recogniser), num_shown=2)
    with torch.no_grad():
        for example in examples:
            output = at_256(model(example.input[None]).images)
            mse.append((output - example.image).square().mean().item())
            wanted = recogniser(example.image[None])[0]
            own.append(float(recogniser(output)[0] @ wanted))
            mean_own.append(float(recogniser(mean)[0] @ wanted))
    assert [row["mse"] for row in rows] == pytest.approx(mse) and report["mse"] == pytest.approx(np.mean(mse))
    assert report["identity_matched"] == pytest.approx(np.mean(own), abs=1e-5)
    assert report["mean_face"]["identity_matched"] == pytest.approx(np.mean(mean_own), abs=1e-5)
    assert [example.name for example, _ in shown] == ["0", "1"]


def at_256(images):
    return torch.nn.functional.interpolate(images, size=256, mode="bilinear").clamp(-1, 1)


def test_w_error_of_the_mean_face_is_1(model, pairs_dir, monkeypatch):
    store = PairStore([pairs_dir])
    examples = [Example(str(i), torch.rand(1, 256, 256), *store[i]) for i in range(2)]
    mean = model.generator.w_avg.expand(1, 8, -1)
    monkeypatch.setattr(type(model), "encode", lambda self, images: mean)
    report = measure(model, "sketch", examples, NO_NETWORKS).report
    assert report["w_error"] == pytest.approx(1) and report["mse"] == report["mean_face"]["mse"]
    exact = iter([example.w.expand(1, 8, -1) for example in examples])
    monkeypatch.setattr(type(model), "encode", lambda self, images: next(exact))
    assert measure(model, "sketch", examples, NO_NETWORKS).report["w_error"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("count", "size"), [(3, (3, 3)), (8, (8, 3)), (11, (8, 6)), (40, (8, 15))])
def test_grid(tmp_path, count, size):
    inputs, images = torch.full((count, 3, 4, 4), -1.0), torch.full((count, 3, 4, 4), 0.5)
    outputs = torch.linspace(-1, 1, count)[:, None, None, None].expand(-1, 3, 4, 4)
    save_grid([inputs, images, outputs], tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (size[1] * 4, size[0] * 4, 3)
    assert (grid[:4, :12] == 0).all() and (grid[4:8, :12] == 191).all() and (grid[8:12, :4] == 0).all()
    if count == 11:
        assert (grid[12:, 12:] == 255).all()  # the last row is filled up with white


def test_inputs_as_pictures():
    labels = torch.tensor([[0, 1], [13, 18]])
    one_hot = torch.nn.functional.one_hot(labels, 19).permute(2, 0, 1)[None].float()
    official = np.asarray(labels_to_image(labels).convert("RGB"))
    assert np.array_equal(np.asarray(tensor_to_images(visible(one_hot))[0]), official)
    drawing = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert visible(drawing).tolist() == [[[[-1, 1]]] * 3]
    masked = torch.rand(2, 4, 3, 3)
    assert torch.equal(visible(masked), masked[:, :3]) and torch.equal(visible(masked[:, :3]), masked[:, :3])


def test_label_figures_against_a_loop():
    rng = torch.Generator().manual_seed(0)
    answers, truth = (list(torch.randint(0, 4, (3, 6, 6), generator=rng).to(torch.uint8)) for _ in range(2))
    answers[0][:4], answers[1][:5] = truth[0][:4], truth[1][:5]

    def naive(wanted):
        hits = sum((a == t).sum().item() for a, t in zip(answers, wanted, strict=True))
        iou = {}
        for i in range(4):
            both = sum(((a == i) & (t == i)).sum().item() for a, t in zip(answers, wanted, strict=True))
            either = sum(((a == i) | (t == i)).sum().item() for a, t in zip(answers, wanted, strict=True))
            iou[CLASS_NAMES[i]] = round(both / either, 4)
        return hits / (3 * 36), iou

    figures = label_figures(answers, truth)
    accuracy, iou = naive(truth)
    assert figures["pixel_accuracy"] == pytest.approx(accuracy) and figures["iou"] == iou
    assert figures["mean_iou"] == pytest.approx(np.mean(list(iou.values())), abs=1e-4)
    accuracy, iou = naive([truth[1], truth[2], truth[0]])
    assert figures["shuffled"]["pixel_accuracy"] == pytest.approx(accuracy)
    assert figures["shuffled"]["mean_iou"] == pytest.approx(np.mean(list(iou.values())), abs=1e-4)
