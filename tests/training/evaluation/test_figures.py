"""training.evaluation: inputs made again, figures against loops, and their pictures."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub.images.face_classes import CLASS_NAMES
from psp_hub.images.label_maps import labels_to_image
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.tasks import TASKS
from training.data.pairs import PairStore
from training.evaluation.examples import Example, SourceMaker
from training.evaluation.figures import label_figures, measure_examples, translate
from training.evaluation.metric_networks import MetricNetworks
from training.evaluation.report import save_grid
from training.networks.mobilefacenet import FaceRecogniser
from training.run.validation import visible

NO_NETWORKS = MetricNetworks()


def at_256(images):
    return torch.nn.functional.interpolate(images, size=256, mode="bilinear").clamp(-1, 1)


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
    report, rows, shown = measure_examples(
        model, "sketch", examples, MetricNetworks(recogniser=recogniser), num_shown=2
    )
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


def test_w_error_of_the_mean_face_is_1(model, pairs_dir, monkeypatch):
    store = PairStore([pairs_dir])
    examples = [Example(str(i), torch.rand(1, 256, 256), *store[i]) for i in range(2)]
    mean = model.generator.w_avg.expand(1, 8, -1)
    monkeypatch.setattr(type(model), "encode", lambda self, images: mean)
    report = measure_examples(model, "sketch", examples, NO_NETWORKS).report
    assert report["w_error"] == pytest.approx(1) and report["mse"] == report["mean_face"]["mse"]
    exact = iter([example.w.expand(1, 8, -1) for example in examples])
    monkeypatch.setattr(type(model), "encode", lambda self, images: next(exact))
    assert measure_examples(model, "sketch", examples, NO_NETWORKS).report["w_error"] == pytest.approx(0, abs=1e-9)


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
