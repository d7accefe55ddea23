"""Directions in W by linear algebra: components of w itself, and moves that change what was measured.

All functions take w [N, w_dim]. No network is needed.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Regression(NamedTuple):
    """What a measure is as a linear function of w, in standard deviations of the measure."""

    weights: Tensor  # [w_dim]
    correlation: float  # with the truth, on faces that were held out
    mean: float
    std: float


def principal_components(w: Tensor, number: int) -> Tensor:
    """The `number` directions in which w varies most (GANSpace, arXiv:2004.02546, section 3.2), largest first.

    Returns:
        [number, w_dim]: orthogonal, each as long as the standard deviation along it; the entry of largest size is
        positive, so that the sign does not depend on the machine.
    """
    w = w.double()
    _, values, vectors = torch.linalg.svd(w - w.mean(dim=0), full_matrices=False)
    vectors = vectors[:number] * (values[:number, None] / (len(w) - 1) ** 0.5)
    signs = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True)).sign()
    return (vectors * signs).float()


def regress(w: Tensor, measure: Tensor, num_held_out: int, ridge: float = 0.1) -> Regression:
    """Ridge regression of a measure [N] on w; faces where it is NaN are left out.

    Args:
        num_held_out: the last faces, which only measure the correlation.
        ridge: added to the variance of each coordinate of w, in parts of the mean variance.

    Raises:
        ValueError: fewer faces than coordinates have the measure, or it is the same for all.
    """
    w, measure = w.double(), measure.double()
    known = ~measure.isnan()
    train, test = known.clone(), known.clone()
    train[len(w) - num_held_out :] = False
    test[: len(w) - num_held_out] = False
    if train.sum() <= w.shape[1] or test.sum() < 2:
        raise ValueError(f"{int(known.sum())} faces have the measure, expected more than {w.shape[1] + num_held_out}")
    mean, std = measure[train].mean(), measure[train].std()
    if not std > 0:
        raise ValueError(f"the measure is {mean:g} for all faces, expected one that varies")
    x, y = w[train] - w[train].mean(dim=0), (measure[train] - mean) / std
    covariance = x.T @ x / len(x)
    penalty = ridge * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=w.dtype)
    weights = torch.linalg.solve(covariance + penalty, x.T @ y / len(x))
    predicted = torch.stack([w[test] @ weights, measure[test]])
    return Regression(weights.float(), float(torch.corrcoef(predicted)[0, 1]), float(mean), float(std))


def steer(w: Tensor, target: Tensor, keep: list[Tensor]) -> Tensor:
    """The most likely move that changes one regressed measure by its standard deviation and keeps others.

    Of all moves d with `target @ d = 1` and `k @ d = 0` for the others, the one whose length in standard deviations of
    w (Mahalanobis) is smallest: for W covered by a normal distribution, the mean difference of such faces.

    Args:
        target, keep: `Regression.weights` [w_dim] each.

    Returns:
        [w_dim].
    """
    rows = torch.stack([target, *keep]).double()  # [1 + K, w_dim]
    spread = torch.cov(w.double().T) @ rows.T  # [w_dim, 1 + K]
    wanted = torch.zeros(len(rows), dtype=spread.dtype)
    wanted[0] = 1
    return (spread @ torch.linalg.solve(rows @ spread, wanted)).float()


def neutralise(w: Tensor, direction: Tensor, keep: list[Tensor]) -> Tensor:
    """What is left of a direction [w_dim] when it must change no regressed measure of `keep`: the nearest such move.

    Nearest in standard deviations of w, as in `steer`.
    """
    if not keep:
        return direction
    rows = torch.stack(keep).double()  # [K, w_dim]
    spread = torch.cov(w.double().T) @ rows.T  # [w_dim, K]
    return (direction - spread @ torch.linalg.solve(rows @ spread, rows @ direction.double())).float()
