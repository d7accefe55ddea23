"""The losses: training.losses, and compute_loss of training/train.py."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.latents import random_z
from training.identity import IdentityFromW
from training.losses import WError
from training.train import compute_loss


@pytest.fixture
def w_loss(tiny_generator, monkeypatch) -> WError:
    monkeypatch.setattr("training.losses.w_error.W_STD_SAMPLES", 2000)
    return WError(tiny_generator)


@pytest.fixture
def identity_net() -> IdentityFromW:
    torch.manual_seed(0)
    return IdentityFromW(w_dim=32, embedding_dim=6).eval().requires_grad_(False)


@pytest.fixture
def delta() -> Tensor:
    return torch.randn(4, 8, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.fixture
def batch(tiny_generator) -> dict[str, Tensor]:
    return {"w": tiny_generator.mapping(random_z(4, 32, seed=9)).detach()}


@pytest.fixture
def mixed_batch(batch) -> dict[str, Tensor]:
    """Two pairs and, at 1 and 2, two photos of faces, as `Drawings` gives them."""
    has_w = torch.tensor([True, False, False, True])
    vectors = F.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(2)), dim=1)
    return {"w": batch["w"] * has_w[:, None], "has_w": has_w, "identity": vectors * ~has_w[:, None]}


def naive_w_error(w_loss: WError, delta: Tensor, w: Tensor) -> tuple[list[float], list[float]]:
    """One number at a time; w is [N, num_ws, w_dim]."""
    errors, references = [], []
    for n in range(len(delta)):
        error = reference = 0.0
        for layer in range(delta.shape[1]):
            for i in range(delta.shape[2]):
                std = w_loss.w_std[i].item()
                wanted = w[n, layer, i].item() - w_loss.w_avg[i].item()
                error += ((delta[n, layer, i].item() - wanted) / std) ** 2
                reference += (wanted / std) ** 2
        errors.append(error / delta[0].numel())
        references.append(reference / delta[0].numel())
    return errors, references


# WError


def test_w_std_is_the_spread_of_w(w_loss, tiny_generator):
    with torch.no_grad():
        w = tiny_generator.mapping(random_z(5000, 32, seed=500_000))
    torch.testing.assert_close(w_loss.w_std, w.std(dim=0), rtol=0.1, atol=0)
    assert torch.equal(w_loss.w_avg, tiny_generator.w_avg)


def test_w_error_is_the_same_every_time(w_loss, tiny_generator):
    torch.manual_seed(5)
    assert torch.equal(WError(tiny_generator).w_std, w_loss.w_std)
    assert not w_loss.w_std.requires_grad and not w_loss.w_avg.requires_grad


@pytest.mark.parametrize("layers", [1, 8], ids=["W", "W+"])
def test_w_error_against_a_loop(w_loss, delta, layers):
    w = torch.randn(4, layers, 32)
    error, mean_face = w_loss(delta, w[:, 0] if layers == 1 else w)
    assert error.shape == mean_face.shape == (4,)
    expected = naive_w_error(w_loss, delta, w.expand(4, 8, 32))
    torch.testing.assert_close(error, torch.tensor(expected[0]))
    torch.testing.assert_close(mean_face, torch.tensor(expected[1]))


def test_w_error_of_the_exact_answer_is_0(w_loss):
    w, ws = torch.randn(3, 32), torch.randn(3, 8, 32)
    assert w_loss((w - w_loss.w_avg)[:, None].expand(3, 8, 32), w)[0].abs().max() < 1e-10
    assert w_loss(ws - w_loss.w_avg, ws)[0].abs().max() < 1e-10


@pytest.mark.parametrize("shape", [(3, 32), (3, 8, 32)])
def test_w_error_of_the_mean_face_is_1(w_loss, shape):
    error, mean_face = w_loss(torch.zeros(3, 8, 32), torch.randn(shape))
    torch.testing.assert_close(error / mean_face, torch.ones(3))


# compute_loss


def test_loss_without_identity(w_loss, delta, batch):
    loss, parts = compute_loss(delta, batch, w_loss, None, 0.3)
    errors, references = naive_w_error(w_loss, delta, batch["w"][:, None].expand(4, 8, 32))
    assert loss.item() == pytest.approx(sum(errors) / sum(references), rel=1e-5)
    assert parts.keys() == {"loss/w"} and parts["loss/w"] is loss


@pytest.mark.parametrize("has_faces", [False, True])
def test_loss_with_identity_against_a_loop(w_loss, delta, batch, mixed_batch, identity_net, has_faces):
    used = mixed_batch if has_faces else batch
    loss, parts = compute_loss(delta, used, w_loss, identity_net, 0.3)
    pairs = (0, 3) if has_faces else range(4)
    errors, references = naive_w_error(w_loss, delta, used["w"][:, None].expand(4, 8, 32))
    w_part = sum(errors[n] for n in pairs) / sum(references[n] for n in pairs)
    identity_part = 0.0
    for n in range(4):
        target = identity_net(used["w"][n : n + 1])[0] if n in pairs else used["identity"][n]
        mean_style = sum(delta[n, layer] for layer in range(8)) / 8 + w_loss.w_avg
        identity_part += (1 - F.cosine_similarity(identity_net(mean_style[None])[0], target, dim=0)).item() / 4
    assert parts.keys() == {"loss/w", "loss/identity"}
    assert parts["loss/w"].item() == pytest.approx(w_part, rel=1e-5)
    assert parts["loss/identity"].item() == pytest.approx(identity_part, rel=1e-5)
    assert loss.item() == pytest.approx(w_part + 0.3 * identity_part, rel=1e-5)


def test_photos_give_nothing_to_the_w_part(w_loss, delta, mixed_batch, identity_net):
    _, parts = compute_loss(delta, mixed_batch, w_loss, identity_net, 0.3)
    gradient = torch.autograd.grad(parts["loss/w"], delta, retain_graph=True)[0]
    assert (gradient.flatten(1).abs().amax(dim=1) > 0).tolist() == [True, False, False, True]
    gradient = torch.autograd.grad(parts["loss/identity"], delta)[0]
    assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()


def test_a_batch_of_photos_alone_is_fine(w_loss, delta, mixed_batch, identity_net):
    only = {key: value[1:3] for key, value in mixed_batch.items()}
    loss, parts = compute_loss(delta[1:3], only, w_loss, identity_net, 0.3)
    assert parts["loss/w"] == 0
    loss.backward()
    assert delta.grad.isfinite().all() and delta.grad[1:3].abs().max() > 0


def test_no_gradient_reaches_the_identity_net(w_loss, delta, mixed_batch, identity_net):
    compute_loss(delta, mixed_batch, w_loss, identity_net, 0.3)[0].backward()
    assert all(weight.grad is None for weight in identity_net.parameters())
    assert delta.grad.abs().max() > 0


def test_the_exact_answer_has_no_loss(w_loss, batch, identity_net):
    exact = (batch["w"] - w_loss.w_avg)[:, None].expand(-1, 8, -1)
    loss, _ = compute_loss(exact, batch, w_loss, identity_net, 0.3)
    assert loss.abs() < 1e-6
