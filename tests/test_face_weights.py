"""psp_hub.face_weights: where in an aligned picture people look."""

import pytest
import torch

from psp_hub.face_weights import face_weights


@pytest.mark.parametrize("size", [64, 256])
def test_the_middle_of_the_face_counts_more(size):
    weights = face_weights(size, 8.0)
    assert weights.shape == (1, 1, size, size) and weights.mean().item() == pytest.approx(1, abs=1e-5)
    middle, corner = weights[0, 0, int(0.56 * size), size // 2], weights[0, 0, 0, 0]
    assert (middle / corner).item() == pytest.approx(9, rel=1e-2)
    torch.testing.assert_close(weights, weights.flip(-1))


def test_no_strength_is_no_difference():
    assert face_weights(16, 0.0).equal(torch.ones(1, 1, 16, 16))


@pytest.mark.parametrize("strength", [-1.0, float("nan")])
def test_strengths_that_cannot_be(strength):
    with pytest.raises(ValueError, match="the strength of the face is .*, expected 0 or more"):
        face_weights(16, strength)
