"""training/recipes/frontal_pairs.py: the styles of turned faces, turned back."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from psp_hub.directions import Direction, load_directions
from psp_hub.face_parser import FaceParser
from training.data.pairs import PairStore, read_bytes, sample_pairs, write_shard
from training.evaluation.yaw import turned_figures, yaws
from training.recipes import frontal_pairs

TURN = Direction("turn", "left … right", torch.eye(8, 32), -1.5, 1.5, ("coarse",))


def test_faces_are_turned_back_by_as_much_as_they_are_turned():
    ws = torch.randn(3, 8, 32)
    straight = frontal_pairs.straighten(ws, np.array([0.2, -0.1, 9.0]), TURN, 0.5)
    steps = ((straight - ws)[:, 0, 0]).tolist()
    assert steps == pytest.approx([-0.4, 0.2, -frontal_pairs.MAX_STEPS], abs=1e-6)
    assert torch.equal(straight[:, 4:], ws[:, 4:]), "the fine styles stay"


def test_the_faces_that_are_turned_most():
    rows = [{"yaw_input": 0.01 * i * (-1) ** i, "yaw": 0.002 * i, "identity": i / 100} for i in range(60)]
    figures = turned_figures([*rows, {"yaw_input": float("nan"), "yaw": 0.0, "identity": 0.0}])
    assert (figures["count"], figures["unseen"]) == (40, 1)
    assert figures["yaw_before"] == pytest.approx(0.395) and figures["yaw_left"] == pytest.approx(0.2)
    assert figures["identity"] == pytest.approx(0.395)
    assert turned_figures([{"yaw_input": 0.5, "yaw": float("nan")}]) == {"count": 0, "unseen": 1}


@pytest.mark.slow
def test_faces_of_a_store_look_straight_ahead(default_generator, tmp_path):
    indices = [11, 12, 13, 14, 15, 16]
    images, w = sample_pairs(default_generator, indices, preview=True)
    (tmp_path / "pairs").mkdir()
    write_shard(tmp_path / "pairs", 0, images, w, indices)
    typed = ["--pairs_dir", str(tmp_path / "pairs"), "--output_dir", str(tmp_path / "frontal"), "--num_measured", "3"]
    frontal_pairs.main(frontal_pairs.parse_args(typed))
    before, after = PairStore([tmp_path / "pairs"]), PairStore([tmp_path / "frontal"])
    assert after.indices == indices and after.w_shape == (16, 512)
    assert [read_bytes(*place) for place in after.positions] == [read_bytes(*place) for place in before.positions]
    with torch.no_grad():
        drawn = default_generator.synthesis.preview(torch.stack([after[i][1] for i in range(len(after))]), 256)
    parser = FaceParser.from_starter()
    turned, straight = (np.abs(yaws(F.adaptive_avg_pool2d(x, 256).clamp(-1, 1), parser)) for x in (images, drawn))
    assert straight.mean() < 0.5 * turned.mean()
    moved = (torch.stack([after[i][1] - before[i][1] for i in range(len(after))])).mean(dim=0)
    turn = load_directions()["turn"].vector
    assert torch.nn.functional.cosine_similarity(moved[0], turn[0], dim=0).abs() > 0.98
