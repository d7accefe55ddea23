"""training/evaluation/baselines.py: answers without an encoder."""

import numpy as np
import pytest
import torch

from training.evaluation.baselines import bicubic, fill_nearest, other_answers
from training.evaluation.examples import Example


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_the_nearest_known_colour_against_a_loop(share):
    rng = np.random.default_rng(0)
    missing = rng.random((20, 35)) < share
    missing[:, 5:9] = True  # columns without any known pixel
    image = torch.from_numpy(rng.normal(size=(2, 20, 35)))
    filled = fill_nearest(image, torch.from_numpy(missing)[None].float())
    known = np.argwhere(~missing)
    for y, x in np.ndindex(20, 35):
        squares = ((known - (y, x)) ** 2).sum(axis=1)
        nearest = [tuple(image[:, r, c].tolist()) for r, c in known[squares == squares.min()]]
        assert tuple(filled[:, y, x].tolist()) in nearest


def test_nothing_known_and_nothing_missing():
    image = torch.rand(3, 8, 8)
    assert torch.equal(fill_nearest(image, torch.ones(1, 8, 8)), image)
    assert torch.equal(fill_nearest(image, torch.zeros(1, 8, 8)), image)


def test_bicubic_keeps_what_is_smooth_and_loses_what_is_fine():
    ramp = torch.linspace(-1, 1, 64).expand(3, 64, 64)
    assert (bicubic(ramp, 4) - ramp)[:, :, 8:-8].abs().max() < 0.02
    stripes = torch.tensor([-1.0, 1.0]).repeat(32).expand(3, 64, 64)
    assert bicubic(stripes, 8)[:, :, 8:-8].abs().max() < 0.05
    assert (bicubic(stripes, 1) - stripes).abs().max() < 0.01


def test_answers_of_each_task():
    mean, image = torch.zeros(3, 8, 8), torch.rand(3, 8, 8)
    photo = Example("", image, image, factor=2)
    assert other_answers("inversion", photo, mean, mean).keys() == {"mean_face"}
    assert other_answers("super-resolution", photo, mean, mean).keys() == {"mean_face", "bicubic"}
    missing = torch.zeros(1, 8, 8)
    missing[:, 2:5, 3:7] = 1
    masked = Example("", torch.cat([image * (1 - missing), missing]), image)
    answers = other_answers("inpainting", masked, mean - 1, mean)
    assert answers.keys() == {"mean_face", "nearest_colour", "pasted"}
    assert torch.equal(answers["pasted"], torch.where(missing > 0, -1, image))
    assert (answers["nearest_colour"] - image)[:, missing[0] == 0].abs().max() == 0
