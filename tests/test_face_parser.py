"""The face parser, its training data and its loss."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers.models import modeling_utils
from PIL import Image

from psp_hub.face_parser import FaceParser
from psp_hub.hub.components import load_component
from training.data.labelled_photos import LabelledPhotos, flip_labels
from training.evaluation.segmentation import confusion, segmentation_figures
from training.recipes import evaluate_parser, train_parser
from training.recipes.train_parser import parser_loss

TINY = {"stem_width": 16, "stage_widths": (16, 16, 32), "stage_depths": (1, 1, 1), "decoder_width": 16}


@pytest.fixture
def faces(tmp_path):
    """Six photos of one ellipse each, and maps of it: class 1 on the left half, 13 on the right one."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    for i in range(6):
        inside = (x / (0.4 + 0.05 * i)) ** 2 + (y / 0.7) ** 2 < 1
        labels = np.where(inside, np.where(x < 0, 1, 13), 0).astype(np.uint8)
        colours = np.array([[20, 40, 200], *[[0, 0, 0]] * 18], np.uint8)
        colours[1], colours[13] = (230, 180, 150), (60, 30, 10)
        Image.fromarray(colours[labels]).save(tmp_path / "images" / f"{i:04d}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{i:04d}.png")
    return tmp_path


def test_shapes_and_round_trip(tmp_path):
    torch.manual_seed(0)
    parser = FaceParser(**TINY).eval()
    images = torch.rand(2, 3, 256, 256) * 2 - 1
    logits = parser(images)
    assert logits.shape == (2, 19, 256, 256) and parser.half_size_logits(images).shape == (2, 19, 128, 128)
    parser.save_pretrained(str(tmp_path))
    loaded = load_component(FaceParser, tmp_path)
    torch.testing.assert_close(loaded(images), logits)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    labels = loaded.label_map(picture)
    assert labels.shape == (256, 256) and labels.dtype == torch.uint8 and labels.max() < 19


def test_another_dtype_brings_no_warning(monkeypatch):
    """diffusers warns that no modules should be kept in float32."""
    said: list[str] = []
    monkeypatch.setattr(modeling_utils.logger, "warning", said.append)
    half = FaceParser.from_starter().to(torch.bfloat16)
    assert next(half.parameters()).dtype == torch.bfloat16 and said == []


def test_loss_is_cross_entropy_with_the_mean_of_four_pixels_plus_dice():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 19, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 16, 16), generator=generator, dtype=torch.uint8)
    truth = F.avg_pool2d(F.one_hot(labels.long(), 19).permute(0, 3, 1, 2).double(), 2)  # [2, 19, 8, 8]
    p = logits.softmax(dim=1)
    cross_entropy = -(truth * p.log()).sum(dim=1).mean()
    dice = [1 - 2 * (p[:, c] * truth[:, c]).sum() / (p[:, c] + truth[:, c]).sum() for c in range(5)]
    expected = cross_entropy + 0.5 * sum(dice) / 5
    torch.testing.assert_close(parser_loss(logits, labels, 0.5), expected, rtol=1e-9, atol=0)


def test_figures_count_the_classes_of_the_truth():
    truth = torch.tensor([[0, 0, 1, 1], [13, 13, 13, 13]], dtype=torch.uint8)
    answer = torch.tensor([[0, 1, 1, 1], [13, 13, 18, 18]], dtype=torch.uint8)
    figures = segmentation_figures(confusion(answer, truth))
    assert figures["iou"] == {"background": 0.5, "skin": 0.6667, "hair": 0.5}
    assert figures["mean_iou"] == pytest.approx((0.5 + 2 / 3 + 0.5) / 3)
    assert figures["pixel_accuracy"] == 5 / 8


def test_a_flip_exchanges_left_and_right():
    labels = torch.tensor([[4, 0, 5], [6, 1, 7], [8, 13, 9]], dtype=torch.uint8)
    assert torch.equal(flip_labels(labels), labels)
    assert flip_labels(torch.tensor([[15, 4]], dtype=torch.uint8)).tolist() == [[5, 15]]


def test_changes_are_a_function_of_the_key_and_move_both(faces):
    data = LabelledPhotos(faces / "images", faces / "masks", slice(None), seed=0)
    for one, other in zip(data[3, 2], data[3, 2], strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(data[3, 2][0], data[4, 2][0])
    plain = LabelledPhotos(faces / "images", faces / "masks", slice(None))
    colours = {1: (230, 180, 150), 13: (60, 30, 10)}
    image, labels = plain[0, 0]
    for name, colour in colours.items():
        assert torch.allclose(image[:, labels == name].mean(dim=1), torch.tensor(colour) / 127.5 - 1, atol=1e-3)
    for epoch in range(20):  # whatever happened to both, skin stays lighter than hair, and on its side
        image, labels = data[epoch, 0]
        assert image[:, labels == 1].mean() > image[:, labels == 13].mean()


def test_maps_that_do_not_fit_are_named(faces):
    labels = Image.open(faces / "masks" / "0003.png").point(lambda value: value + 10)
    labels.save(faces / "masks" / "0003.png")
    with pytest.raises(ValueError, match="0003.png: .*23"):
        LabelledPhotos(faces / "images", faces / "masks", slice(None))
    (faces / "masks" / "0003.png").unlink()
    with pytest.raises(ValueError, match="1 pictures have no partner of the same name .*0003.png"):
        LabelledPhotos(faces / "images", faces / "masks", slice(None))


@pytest.mark.slow
def test_training_resumes_and_finds_the_ellipse(faces, tmp_path, monkeypatch):
    torch.manual_seed(0)
    FaceParser(**TINY).save_pretrained(str(tmp_path / "start"))
    command = [
        "--pretrained_parser",
        str(tmp_path / "start"),
        "--images_dir",
        str(faces / "images"),
        "--masks_dir",
        str(faces / "masks"),
        "--num_validation",
        "2",
    ]
    command += ["--train_batch_size", "4", "--max_train_steps", "40", "--checkpointing_steps", "20"]
    command += ["--ema_decay", "0.8", "--dataloader_num_workers", "0", "--mixed_precision", "no"]
    whole = train_parser.main(train_parser.parse_args([*command, "--output_dir", str(tmp_path / "whole")]))
    assert whole["pixel_accuracy"] > 0.9 and set(whole["iou"]) == {"background", "skin", "hair"}

    def stop(data, *_):
        raise KeyboardInterrupt

    part = [*command, "--output_dir", str(tmp_path / "part")]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_parser, "segmentation_report", stop)  # after the state is saved
        train_parser.main(train_parser.parse_args(part))
    assert train_parser.main(train_parser.parse_args(part)) == whole
    command = [*command[2:6], "--num_faces", "2", "--parser", str(tmp_path / "part" / "parser")]
    figures = evaluate_parser.main(evaluate_parser.parse_args([*command, "--output", str(tmp_path / "figures.json")]))
    assert figures == {"count": 2} | {name: whole[name] for name in ("pixel_accuracy", "mean_iou", "iou")}
    assert json.loads((tmp_path / "figures.json").read_text()) == figures
