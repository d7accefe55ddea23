"""training/evaluation/metrics.py: every figure against a naive formula."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.evaluation.metrics import MAX_PSNR, frechet_distance, identity, masked_error, psnr, squared_error


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vectors(n: int, seed: int, dim: int = 5) -> Tensor:
    return torch.nn.functional.normalize(random(n, dim, seed=seed), dim=1)


def test_errors_of_pictures_against_a_loop():
    x, y = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    mask = torch.zeros(2, 1, 4, 5)
    mask[0, 0, 1, 2:4] = 1
    sums, masked = [0.0, 0.0], [0.0, 0.0]
    for i, c, h, w in np.ndindex(2, 3, 4, 5):
        square = (x[i, c, h, w].item() - y[i, c, h, w].item()) ** 2
        sums[i] += square / 60
        masked[i] += square / 3 / 2 * mask[i, 0, h, w].item()
    error = squared_error(x, y)
    assert error.tolist() == pytest.approx(sums, rel=1e-6)
    assert psnr(error).tolist() == pytest.approx([20 * math.log10(2 / math.sqrt(part)) for part in sums])
    assert masked_error(x, y, mask).tolist() == pytest.approx(masked, rel=1e-6)
    assert masked[0] > 0 and masked[1] == 0


def test_psnr_has_a_largest_value():
    assert psnr(torch.tensor([0.0, 1e-20, 4.0])).tolist() == [MAX_PSNR, MAX_PSNR, 0]


@pytest.mark.parametrize("n", [6, 1100])  # also more than one block of rows
def test_identity_against_a_loop(n):
    outputs, targets = vectors(n, 0), vectors(n, 1)
    targets[:3] = 0.9 * outputs[:3] + 0.1 * targets[:3]
    targets = torch.nn.functional.normalize(targets, dim=1)
    a, b = outputs.double().numpy(), targets.double().numpy()
    table = np.array([[sum(a[i] * b[j]) for j in range(n)] for i in range(n)]) if n < 10 else a @ b.T
    own = table.diagonal()
    figures, matched, ranks = identity(outputs, targets)
    assert figures["identity_matched"] == pytest.approx(np.mean(own))
    assert figures["identity_shuffled"] == pytest.approx(np.mean(table[~np.eye(n, dtype=bool)]))
    assert matched.tolist() == pytest.approx(own)
    assert ranks.tolist() == [1 + (np.delete(table[i], i) > own[i]).sum() for i in range(n)]
    assert figures["rank_1"] == pytest.approx(np.mean(ranks.numpy() == 1)) and 0 < figures["rank_1"] < 1


def test_a_single_face_has_no_others():
    figures, _, ranks = identity(vectors(1, 0), vectors(1, 0))
    assert figures == {"identity_matched": pytest.approx(1), "identity_shuffled": None, "rank_1": 1}
    assert ranks.tolist() == [1]


def test_identity_of_perfect_answers():
    figures, _, _ = identity(torch.eye(30), torch.eye(30))
    assert figures == {"identity_matched": 1, "identity_shuffled": 0, "rank_1": 1}


def naive_frechet(x: np.ndarray, y: np.ndarray) -> float:
    a, b = np.cov(x.T), np.cov(y.T)
    root = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root


@pytest.mark.parametrize(("n", "m", "dim"), [(50, 40, 4), (6, 9, 20), (5, 60, 20)])
def test_frechet_distance_against_eigenvalues(n, m, dim):
    """With fewer pictures than features, the naive root is that of rounding errors: it is good to 1e-5 only."""
    x, y = random(n, dim).double(), random(m, dim, seed=1).double() * 2 + 0.3
    assert frechet_distance(x, y) == pytest.approx(naive_frechet(x.numpy(), y.numpy()), rel=1e-5)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x))


def test_frechet_distance_of_known_distributions():
    x = random(30, 8)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 2) == pytest.approx(8 * 4, rel=1e-6)
    wide = (x - x.mean(dim=0)) * 3
    assert frechet_distance(x - x.mean(dim=0), wide) == pytest.approx(4 * x.var(dim=0).sum().item(), rel=1e-6)


@pytest.mark.parametrize(("x", "y"), [((1, 3), (5, 3)), ((5, 3), (5, 4)), ((5,), (5, 3))])
def test_frechet_distance_needs_two_sets(x, y):
    with pytest.raises(ValueError, match="expected .N, D. and .M, D."):
        frechet_distance(torch.zeros(x), torch.zeros(y))
