"""The face detector: its parts against plain calculations, and its weights."""

import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from psp_hub.alignment.face_detector import FaceDetector, block, cut, square, suppress
from training.recipes import export_face_detector
from training.recipes.export_face_detector import convert, read_weights


def union_share(one: np.ndarray, other: np.ndarray) -> float:
    """Shared area over that of both, counted in pixels of boxes with whole numbers."""
    canvas = np.zeros((2, 64, 64), bool)
    for layer, (left, top, right, bottom) in zip(canvas, (one, other), strict=True):
        layer[top:bottom, left:right] = True
    return (canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum()


def test_of_overlapping_boxes_the_best_is_kept():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 30, (40, 2))
    boxes = np.concatenate([corners, corners + rng.integers(10, 30, (40, 2))], axis=1)
    scores = rng.permutation(40) / 40
    expected: list[int] = []
    for i in scores.argsort()[::-1].tolist():
        if all(union_share(boxes[i], boxes[j]) <= 0.3 for j in expected):
            expected.append(i)
    assert 5 < len(expected) < 40
    assert suppress(torch.tensor(boxes).float(), torch.tensor(scores), 0.3).tolist() == expected


def test_a_box_inside_a_better_one_goes_when_the_smaller_counts():
    boxes, scores = torch.tensor([[0.0, 0, 40, 40], [10, 10, 20, 20]]), torch.tensor([0.9, 0.8])
    assert suppress(boxes, scores, 0.6).tolist() == [0, 1]  # a sixteenth of the union
    assert suppress(boxes, scores, 0.6, of_smaller=True).tolist() == [0]
    assert suppress(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def test_squares_have_the_longer_side_and_the_same_centre():
    assert square(torch.tensor([[0.0, 10, 20, 50]])).tolist() == [[-10, 10, 30, 50]]


def test_what_is_cut_outside_of_the_picture_is_grey():
    picture = torch.ones(3, 20, 20)
    pieces = cut(picture, torch.tensor([[-10.0, -10, 10, 10], [5, 5, 15, 15], [30, 30, 40, 40]]), 4)
    assert pieces.shape == (3, 3, 4, 4)
    assert pieces[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert pieces[1].eq(1).all() and pieces[2].eq(0).all()


@pytest.mark.parametrize("size", [(12, 12), (64, 200)])
def test_nothing_is_found_in_nothing(size):
    found = FaceDetector.from_starter().detect(torch.zeros(3, *size))
    assert found.boxes.shape == (0, 4) and found.points.shape == (0, 5, 2) and found.scores.shape == (0,)


def test_conversion_keeps_the_order_in_which_features_are_flattened():
    """The networks of the wheel flatten [N, W, H, C], ours [N, C, H, W]."""
    torch.manual_seed(0)
    body = nn.Sequential(block(3, 28, 3, 3), block(28, 48, 3, 3), block(48, 64, 2))
    dense, prelu, face, box = nn.Linear(576, 128), nn.PReLU(128), nn.Linear(128, 2), nn.Linear(128, 4)
    old = {
        name: value
        for part, names in (
            (body, ["conv1", "prelu1", "conv2", "prelu2", "conv3", "prelu3"]),
            (nn.ModuleList([dense, prelu, face, box]), ["dense4", "prelu4", "dense5_1", "dense5_2"]),
        )
        for name, value in zip(
            [f"{name}.{kind}" for name in names for kind in (["weight"] if "prelu" in name else ["weight", "bias"])],
            part.state_dict().values(),
            strict=True,
        )
    }
    detector = FaceDetector()
    detector.load_state_dict(convert({"filter": old}), strict=False)
    images = torch.rand(2, 3, 24, 24)
    features = prelu(dense(body(images).permute(0, 3, 2, 1).flatten(1)))
    scores, shifts, points = detector.filter(images)
    torch.testing.assert_close(scores, face(features).softmax(dim=1)[:, 1])
    torch.testing.assert_close(shifts, box(features))
    assert points is None


def test_another_wheel_is_refused(tmp_path):
    path = tmp_path / "facenet_pytorch-2.6.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("facenet_pytorch/data/pnet.pt", b"")
    with pytest.raises(ValueError, match=f"SHA-256 .*expected {export_face_detector.SHA256}"):
        read_weights(path)
