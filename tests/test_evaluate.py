"""training/evaluate.py: figures and pictures of a tiny model."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from psp_hub import PSPModel
from training import evaluate
from training.evaluate import Examples, identity, load_faces, load_pairs, main, make_drawings, measure, parse_args, run
from training.networks import FaceRecogniser
from training.pairs import PairStore


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


class Table:
    """In place of a recogniser: image [i] of a batch has vector number image[i, 0, 0, 0]."""

    def __init__(self, vectors: Tensor):
        self.vectors = torch.nn.functional.normalize(vectors, dim=1)

    def __call__(self, images: Tensor) -> Tensor:
        return self.vectors[images[:, 0, 0, 0].long()]


def numbered(numbers: range) -> Tensor:
    return torch.tensor(numbers).float()[:, None, None, None].expand(-1, 3, 2, 2)


# The command


def test_report_and_pictures(arguments, tmp_path):
    report = main(parse_args(arguments()))
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report
    assert report.keys() == {"task", "model", "drawing_style", "pairs", "faces"}
    figures = {"count", "seconds", "identity_matched", "identity_shuffled", "rank_1", "mean_face"}
    assert report["pairs"].keys() == figures | {"w_error"} and report["faces"].keys() == figures
    assert report["pairs"]["count"] == 3 and report["faces"]["count"] == 6
    for part in (report["pairs"], report["faces"]):
        assert part["seconds"].keys() == {"encoder", "generator"}
        assert 0 <= part["rank_1"] <= 1
        assert all(-1 <= part[name] <= 1 for name in ("identity_matched", "identity_shuffled"))
        assert part["mean_face"].keys() == {"identity_matched"}
    assert report["drawing_style"] == "whole family"
    assert Image.open(tmp_path / "report" / "pairs.png").size == (3 * 256, 3 * 256)
    assert Image.open(tmp_path / "report" / "faces.png").size == (6 * 256, 3 * 256)


@pytest.mark.slow
def test_perceptual_figures_and_clean_lines(arguments, edge_detector_file):
    options = arguments("--edge_detector", str(edge_detector_file), "--drawing_style", "line_art", "--num_faces", "2")
    del options[options.index("--pairs_dir") : options.index("--pairs_dir") + 2]
    report = main(parse_args(options))
    assert report["drawing_style"] == "line_art" and "pairs" not in report
    assert report["faces"]["count"] == 2
    assert report["faces"]["perceptual"] > 0 and report["faces"]["mean_face"]["perceptual"] > 0


def test_figures_are_the_same_every_time(arguments):
    reports = [main(parse_args(arguments("--num_pairs", "2", "--num_faces", "2"))) for _ in range(2)]
    for report in reports:
        del report["pairs"]["seconds"], report["faces"]["seconds"]
    assert reports[0] == reports[1]


def test_pairs_alone_need_no_recogniser(arguments, tmp_path):
    options = arguments()
    for name in ("--faces_dir", "--recogniser"):
        del options[options.index(name) : options.index(name) + 2]
    report = main(parse_args(options))
    assert report["pairs"].keys() == {"count", "seconds", "w_error"}
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["pairs.png", "report.json"]


def test_faces_need_a_recogniser(arguments, capsys):
    options = arguments()
    del options[options.index("--recogniser") : options.index("--recogniser") + 2]
    with pytest.raises(SystemExit) as stopped:
        parse_args(options)
    assert stopped.value.code == 2
    assert "--faces_dir needs --recogniser" in capsys.readouterr().err


# Parts


def test_the_last_pairs_and_photos_are_used(arguments, pairs_dir, faces_dir):
    args = parse_args(arguments("--num_faces", "2"))
    pairs, faces = load_pairs(args, None), load_faces(args, None)
    store = PairStore([pairs_dir])
    assert torch.equal(pairs.w, store.w[-3:].float())
    assert torch.equal(pairs.images, torch.stack([store[i][0] for i in (17, 18, 19)]))
    assert faces.images.shape == (2, 3, 256, 256) and faces.w is None
    everything = load_faces(parse_args(arguments()), None)
    assert torch.equal(everything.images[4:], faces.images)


def test_drawings_depend_on_seed_and_position(arguments, pairs_dir):
    store = PairStore([pairs_dir])
    images = torch.stack([store[i][0] for i in range(3)])
    drawings = make_drawings(images, None, None, seed=1)
    assert drawings.shape == (3, 1, 256, 256)
    assert torch.equal(make_drawings(images[:2], None, None, seed=1), drawings[:2])
    assert not torch.equal(make_drawings(images, None, None, seed=2), drawings)


def test_run_translates_one_picture_at_a_time(model):
    inputs = torch.rand(3, 1, 256, 256)
    with torch.no_grad():
        outputs, ws, seconds = run(model, inputs)
        expected = model.encode(inputs)
    assert outputs.shape == (3, 3, 256, 256) and outputs.abs().max() <= 1
    torch.testing.assert_close(ws, expected)
    assert all(value > 0 for value in seconds.values())


def test_identity_against_a_loop():
    table = Table(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)))
    outputs, targets = numbered(range(6)), numbered(range(6, 12))
    matched, shuffled, wins = [], [], 0
    for i in range(6):
        similarities = [(table.vectors[i] @ table.vectors[6 + j]).item() for j in range(6)]
        matched.append(similarities[i])
        shuffled += [value for j, value in enumerate(similarities) if j != i]
        wins += all(similarities[i] >= value for value in similarities)
    got = identity(table, outputs, targets)
    assert got["identity_matched"] == pytest.approx(sum(matched) / 6, abs=1e-6)
    assert got["identity_shuffled"] == pytest.approx(sum(shuffled) / 30, abs=1e-6)
    assert got["rank_1"] == pytest.approx(wins / 6)


def test_a_single_face_has_no_others():
    figures = identity(Table(torch.randn(1, 8)), numbered(range(1)), numbered(range(1)))
    assert figures["identity_shuffled"] is None
    assert figures["identity_matched"] == pytest.approx(1) and figures["rank_1"] == 1


def test_identity_of_perfect_answers():
    table = Table(torch.eye(30))
    assert identity(table, numbered(range(30)), numbered(range(30))) == {
        "identity_matched": pytest.approx(1),
        "identity_shuffled": pytest.approx(0, abs=1e-6),
        "rank_1": 1,
    }


def test_measure_against_a_loop(model, pairs_dir, recogniser_file):
    store, recogniser = PairStore([pairs_dir]), FaceRecogniser.from_file(recogniser_file)
    images, w = (torch.stack(part) for part in zip(*(store[i] for i in range(3)), strict=True))
    with torch.no_grad():
        report, outputs = measure(model, Examples(images, torch.rand(3, 1, 256, 256), w), recogniser, None)
        own = [float(recogniser(outputs[i : i + 1])[0] @ recogniser(images[i : i + 1])[0]) for i in range(3)]
        mean = evaluate.shrink(model.generator.synthesis(model.generator.w_avg.expand(1, 8, -1))).clamp(-1, 1)
        mean_own = [float(recogniser(mean)[0] @ recogniser(images[i : i + 1])[0]) for i in range(3)]
    assert report["identity_matched"] == pytest.approx(sum(own) / 3, abs=1e-5)
    assert report["mean_face"]["identity_matched"] == pytest.approx(sum(mean_own) / 3, abs=1e-5)


def test_w_error_of_the_mean_face_is_1(model, pairs_dir, monkeypatch):
    store = PairStore([pairs_dir])
    examples = Examples(torch.stack([store[i][0] for i in range(2)]), torch.rand(2, 1, 256, 256), store.w[:2].float())
    mean = model.generator.w_avg.expand(1, 8, -1)
    monkeypatch.setattr(type(model), "encode", lambda self, images: mean)
    with torch.no_grad():
        assert measure(model, examples, None, None)[0]["w_error"] == pytest.approx(1)
    exact = iter(examples.w[:, None].expand(-1, 8, -1).split(1))
    monkeypatch.setattr(type(model), "encode", lambda self, images: next(exact))
    with torch.no_grad():
        assert measure(model, examples, None, None)[0]["w_error"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("count", "size"), [(3, (3, 3)), (8, (8, 3)), (11, (8, 6)), (40, (8, 12))])
def test_grid(tmp_path, count, size):
    inputs, images = torch.zeros(count, 1, 4, 4), torch.full((count, 3, 4, 4), 0.5)
    outputs = torch.linspace(-1, 1, count)[:, None, None, None].expand(-1, 3, 4, 4)
    evaluate.save_grid(Examples(images, inputs), outputs, tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (size[1] * 4, size[0] * 4, 3)
    assert (grid[:4, :12] == 0).all() and (grid[4:8, :12] == 191).all() and (grid[8:12, :4] == 0).all()
    if count == 11:
        assert (grid[12:, 12:] == 255).all()  # the last row is filled up with white
