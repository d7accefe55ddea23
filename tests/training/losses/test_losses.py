"""training.losses: each loss against its formula, and their sum."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.latents import random_z
from tests.golden_weights import relative_error
from training.losses import Drawing, LossNetworks, TrainingLosses, WError
from training.losses.identity import IdentityLoss, StyleIdentityLoss, mean_of_others
from training.losses.pixels import l2
from training.losses.regularisation import w_norm
from training.networks.identity import IdentityFromW
from training.networks.mobilefacenet import FaceRecogniser
from training.networks.perceptual import PerceptualDistance
from training.networks.recognisers import load_recogniser


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
    """Two pairs and, at 1 and 2, two photos of faces, as `Examples` gives them."""
    has_w = torch.tensor([True, False, False, True])
    vectors = F.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(2)), dim=1)
    return {"w": batch["w"] * has_w[:, None], "has_w": has_w, "identity": vectors * ~has_w[:, None]}


@pytest.fixture
def recogniser(recogniser_file) -> FaceRecogniser:
    return load_recogniser(recogniser_file)


@pytest.fixture(scope="module")
def distance(alex_file) -> PerceptualDistance:
    return PerceptualDistance(alex_file, "alex", weighted=True)


@pytest.fixture
def pictures() -> dict[str, Tensor]:
    """Inputs and targets of 2 examples."""
    return {"input": rand(2, 3, 256, 256, seed=3).float(), "image": rand(2, 3, 256, 256, seed=4).float()}


@pytest.fixture
def two(delta) -> Tensor:
    """Answers to `pictures`."""
    return delta.detach()[:2].requires_grad_()


@pytest.fixture
def make_losses(tiny_generator, w_loss, distance, recogniser, identity_net):
    """Function of weights: their sum, with all networks there."""

    def make(**weights: float) -> TrainingLosses:
        networks = {"w_error": w_loss, "distance": distance, "identity": IdentityLoss(recogniser)}
        networks["style_identity"] = StyleIdentityLoss(identity_net, tiny_generator.w_avg)
        return TrainingLosses(tiny_generator, weights, LossNetworks(**networks))

    return make


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def reached(loss: Tensor, delta: Tensor) -> list[bool]:
    """Which examples the loss has a gradient for."""
    gradient = torch.autograd.grad(loss, delta, retain_graph=True)[0]
    assert gradient.isfinite().all()
    return (gradient.flatten(1).abs().amax(dim=1) > 0).tolist()


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
    w = rand(4, layers, 32)
    error, mean_face = w_loss.double()(delta.double(), w[:, 0] if layers == 1 else w)
    errors, references = naive_w_error(w_loss, delta, w.expand(4, 8, 32))
    assert error.tolist() == pytest.approx(errors, abs=1e-6)
    assert mean_face.tolist() == pytest.approx(references, abs=1e-6)


def test_mean_w_error_counts_the_known_alone(w_loss, delta):
    w, has_w = torch.randn(4, 32), torch.tensor([True, False, False, True])
    errors, references = naive_w_error(w_loss, delta, w[:, None].expand(4, 8, 32))
    loss = w_loss.mean(delta, w, has_w)
    assert loss.item() == pytest.approx((errors[0] + errors[3]) / (references[0] + references[3]), rel=1e-5)
    assert reached(loss, delta) == [True, False, False, True]
    nothing = w_loss.mean(delta, w, torch.zeros(4, dtype=torch.bool))
    assert nothing == 0 and reached(nothing, delta) == [False] * 4


def test_w_error_of_the_exact_answer_is_0(w_loss):
    w, ws = torch.randn(3, 32), torch.randn(3, 8, 32)
    assert w_loss((w - w_loss.w_avg)[:, None].expand(3, 8, 32), w)[0].abs().max() < 1e-10
    assert w_loss(ws - w_loss.w_avg, ws)[0].abs().max() < 1e-10


@pytest.mark.parametrize("shape", [(3, 32), (3, 8, 32)])
def test_w_error_of_the_mean_face_is_1(w_loss, shape):
    error, mean_face = w_loss(torch.zeros(3, 8, 32), torch.randn(shape))
    torch.testing.assert_close(error / mean_face, torch.ones(3))


# The losses without w, in float64


def test_l2_against_the_formula():
    x, y = rand(2, 3, 8, 8), rand(2, 3, 8, 8, seed=1)
    expected = sum((a - b) ** 2 for a, b in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)) / x.numel()
    assert l2(x, y).item() == pytest.approx(expected, abs=1e-9)
    assert l2(x, x) == 0


def test_w_norm_against_the_formula():
    delta = rand(3, 4, 5)
    expected = sum(math.sqrt(sum(v**2 for v in one.flatten().tolist())) for one in delta) / 3
    assert w_norm(delta).item() == pytest.approx(expected, abs=1e-9)


def test_w_norm_at_the_mean_face_has_a_gradient():
    delta = torch.zeros(2, 8, 32, requires_grad=True)
    w_norm(delta).backward()
    assert torch.equal(delta.grad, torch.zeros_like(delta))  # not nan: a fresh encoder begins here


def test_identity_loss_against_the_formula(recogniser):
    recogniser.double()
    x, y = rand(2, 3, 256, 256), rand(2, 3, 256, 256, seed=1)
    vectors = [[v.tolist() for v in recogniser.embed(images)] for images in (x, y)]
    vectors.append(vectors[0][::-1])  # of the inputs, which are the outputs in another order

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(i * j for i, j in zip(a, b, strict=True)) / math.sqrt(sum(i * i for i in a) * sum(j * j for j in b))

    value, improvement = IdentityLoss(recogniser)(x, y, x.flip(0))
    pairs = list(zip(*vectors, strict=True))
    assert value.item() == pytest.approx(sum(1 - cosine(a, b) for a, b, _ in pairs) / 2, abs=1e-6)
    expected = sum(cosine(a, b) - cosine(c, b) for a, b, c in pairs) / 2
    assert improvement.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_likeness_to_others_counts_against_an_answer(recogniser):
    recogniser.double()
    x, y = rand(3, 3, 256, 256), rand(3, 3, 256, 256, seed=1)
    answered, wanted = recogniser.embed(x), recogniser.embed(y)
    cosines = F.cosine_similarity(answered[:, None], wanted[None], dim=2)  # [N, N]
    expected = sum(1 - cosines[i, i] + 0.4 * (cosines[i].sum() - cosines[i, i]) / 2 for i in range(3)) / 3
    loss = IdentityLoss(recogniser, contrast=0.4)
    assert loss(x, y)[0].item() == pytest.approx(expected.item(), abs=1e-6)
    others = mean_of_others(loss.embed(y))
    parts = [loss(x[i : i + 1], y[i : i + 1], None, None, others[i : i + 1])[0].item() for i in range(3)]
    assert sum(parts) / 3 == pytest.approx(expected.item(), abs=1e-6), "in parts of a batch"
    alone = IdentityLoss(recogniser)(x[:1], y[:1])[0].item()
    assert loss(x[:1], y[:1])[0].item() == pytest.approx(alone, abs=1e-6), "nobody else is there"
    for contrast in (-0.1, 1.1):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            IdentityLoss(recogniser, contrast)


def test_identity_of_the_target_itself(recogniser):
    x = rand(1, 3, 256, 256).float()
    value, improvement = IdentityLoss(recogniser)(x, x, x)
    assert value.abs() < 1e-6 and improvement.abs() < 1e-6
    assert IdentityLoss(recogniser)(x, x) == (value, None)


@pytest.mark.parametrize("has_faces", [False, True])
def test_style_identity_against_a_loop(delta, mixed_batch, batch, identity_net, tiny_generator, has_faces):
    used = {name: value.to(torch.float64) for name, value in (mixed_batch if has_faces else batch).items()}
    has_w = mixed_batch["has_w"] if has_faces else torch.ones(4, dtype=torch.bool)
    loss = StyleIdentityLoss(identity_net, tiny_generator.w_avg).double()
    value = loss(delta.double(), used["w"], has_w, used.get("identity"))
    expected = 0.0
    for n in range(4):
        target = identity_net(used["w"][n : n + 1])[0] if has_w[n] else used["identity"][n]
        mean_style = sum(delta[n, layer].double() for layer in range(8)) / 8 + tiny_generator.w_avg
        expected += (1 - F.cosine_similarity(identity_net(mean_style[None])[0], target, dim=0)).item() / 4
    assert value.item() == pytest.approx(expected, abs=1e-6)
    assert reached(value, delta) == [True] * 4


def test_style_identity_among_others_of_its_kind(delta, mixed_batch, identity_net, tiny_generator):
    identity, has_w = mixed_batch["identity"].clone().double(), torch.tensor([True, True, False, False])
    has_w = torch.cat([has_w, torch.tensor([False, True])])
    identity = torch.cat([identity, identity.flip(0)[:2]])
    identity[has_w] = 0
    identity[2:5] = F.normalize(torch.randn(3, identity.shape[1], generator=torch.Generator().manual_seed(3)), dim=1)
    identity[4] = 0  # a photo of nobody known
    answer = torch.cat([delta, delta[:2] * 0.5]).double()
    w = torch.cat([mixed_batch["w"], mixed_batch["w"][:2] + 1]).double()
    loss = StyleIdentityLoss(identity_net, tiny_generator.w_avg, contrast=0.4).double()
    target = torch.where(has_w[:, None], identity_net(w), identity)
    answered = identity_net(answer.mean(dim=1) + tiny_generator.w_avg)
    cosines = answered @ target.T
    others = {0: [1, 5], 1: [0, 5], 5: [0, 1], 2: [3], 3: [2]}
    expected = sum(1 - cosines[n, n] + 0.4 * cosines[n, rest].mean() for n, rest in others.items()) / 5
    assert loss(answer, w, has_w, identity).item() == pytest.approx(expected.item(), abs=1e-6)
    alone = [part[2:3] for part in (answer, w, has_w, identity)]
    assert loss(*alone).item() == pytest.approx(1 - cosines[2, 2].item(), abs=1e-6), "nobody else is there"
    with pytest.raises(ValueError, match="is 1.1, expected 0 to 1"):
        StyleIdentityLoss(identity_net, tiny_generator.w_avg, contrast=1.1)


def test_style_identity_of_unknown_people(delta, mixed_batch, identity_net, tiny_generator):
    loss = StyleIdentityLoss(identity_net, tiny_generator.w_avg)
    identity = mixed_batch["identity"].clone()
    identity[2] = 0
    value = loss(delta, mixed_batch["w"], mixed_batch["has_w"], identity)
    assert reached(value, delta) == [True, True, False, True]
    without = loss(delta, mixed_batch["w"], mixed_batch["has_w"])
    assert reached(without, delta) == [True, False, False, True]
    assert loss(delta[2:3], mixed_batch["w"][2:3], mixed_batch["has_w"][2:3], identity[2:3]) == 0


# Their sum


def test_sum_of_all_losses(make_losses, two, mixed_batch, pictures, tiny_generator, w_loss, distance, recogniser):
    weights = {"w": 2, "l2": 3, "lpips": 0.8, "id": 0.1, "w_norm": 0.005, "l2_crop": 0.01, "lpips_crop": 0.7}
    mixed_batch = {key: value[:2] for key, value in mixed_batch.items()}
    losses = make_losses(**weights)
    total, parts = losses(two, {**mixed_batch, **pictures})
    with torch.no_grad():
        images = F.interpolate(tiny_generator.synthesis(two + tiny_generator.w_avg), size=256, mode="bilinear")
    face, wanted = images[:, :, 35:223, 32:220], pictures["image"][:, :, 35:223, 32:220]
    identity, improvement = IdentityLoss(recogniser)(images, pictures["image"], pictures["input"])
    expected = {
        "w": w_loss.mean(two, mixed_batch["w"], mixed_batch["has_w"]),
        "l2": l2(images, pictures["image"]),
        "lpips": distance(images, pictures["image"]).mean(),
        "id": identity,
        "w_norm": w_norm(two),
        "l2_crop": l2(face, wanted),
        "lpips_crop": distance(face, wanted).mean(),
    }
    assert parts.keys() == {f"loss/{name}" for name in expected} | {"id_improve"}
    for name, value in expected.items():
        torch.testing.assert_close(parts[f"loss/{name}"], value.detach())
    torch.testing.assert_close(parts["id_improve"], improvement)
    torch.testing.assert_close(total, sum(weights[name] * value for name, value in expected.items()))
    assert losses.needs_images and not any(part.requires_grad for part in parts.values())


def test_the_face_counts_more_in_the_squared_error(tiny_generator, two, pictures):
    def error(strength: float, where: slice) -> float:
        images = TrainingLosses(tiny_generator, {"l2": 1.0}).decode(two)
        wrong = images.clone()
        wrong[:, :, where, where] += 1
        return TrainingLosses(tiny_generator, {"l2": 1.0}, face_strength=strength)(two, {"image": wrong})[0].item()

    middle, corner = slice(128, 144), slice(0, 16)
    assert error(0.0, middle) == pytest.approx(error(0.0, corner), rel=1e-3)
    assert error(3.0, middle) == pytest.approx(4 * error(3.0, corner), rel=0.05)


def test_a_loss_of_weight_0_is_not_computed(make_losses, delta, batch):
    losses = make_losses(w=1, w_norm=0.1, identity=0.3, l2=0, lpips=0, id=0)
    assert not losses.needs_images
    _, parts = losses(delta, batch)  # which has no pictures
    assert parts.keys() == {"loss/w", "loss/w_norm", "loss/identity"}


def test_unknown_losses_and_missing_networks(tiny_generator):
    with pytest.raises(ValueError, match=r"unknown losses \['l1'\], expected some of w, l2, .*identity"):
        TrainingLosses(tiny_generator, {"l1": 1.0})
    with pytest.raises(ValueError, match="the loss lpips_crop needs distance, got None"):
        TrainingLosses(tiny_generator, {"l2": 1.0, "lpips_crop": 1.0})


@pytest.mark.parametrize("known", [[True, True], [True, False], [False, False]])
def test_mixed_batches(make_losses, two, mixed_batch, pictures, known):
    """Images teach everybody, w those who have one; a batch with nobody of a kind is fine."""
    batch = {**pictures, "w": mixed_batch["w"][:2], "has_w": torch.tensor(known)}
    assert reached(make_losses(w=1)(two, batch)[0], two) == known
    total, parts = make_losses(w=1, l2=1)(two, batch)
    assert reached(total, two) == [True, True]
    assert (parts["loss/w"] > 0) == any(known) and parts["loss/l2"] > 0


def test_gradients_reach_the_encoder_through_the_frozen_generator(make_losses, make_encoder, pictures, tiny_generator):
    encoder = make_encoder(8, 32).train()
    losses = make_losses(l2=1, lpips=0.8, id=0.1)
    losses(encoder(pictures["input"][:, :1]), pictures)[0].backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)
    assert sum(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters()) > 10
    assert all(weight.grad is None and not weight.requires_grad for weight in losses.parameters())


def test_descent_finds_the_picture(make_losses, two, pictures):
    losses = make_losses(l2=1, w_norm=0.001)
    with torch.no_grad():
        pictures["image"] = losses.decode(torch.zeros_like(two))
    some = (0.3 * two.detach()).requires_grad_()
    optimizer = torch.optim.Adam([some], lr=0.05)
    values = []
    for _ in range(15):
        loss, _ = losses(some, pictures)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]


def test_a_parent_in_training_mode_wakes_nothing(make_losses, two, mixed_batch, pictures):
    losses = make_losses(w=1, l2=1, lpips=1, id=1, identity=1)
    before = {name: value.clone() for name, value in losses.state_dict().items()}
    nn.ModuleList([losses]).train()
    assert not any(module.training for module in losses.modules())
    losses(two, {key: value[:2] for key, value in mixed_batch.items()} | pictures)
    assert all(torch.equal(before[name], value) for name, value in losses.state_dict().items())


def test_pictures_are_compared_at_256_px(make_losses, make_generator):
    """A generator of 512 px: the mean of each 2 x 2 pixels."""
    generator = make_generator(channels=(8,) * 7, w_dim=16)
    delta = 0.1 * torch.randn(1, 14, 16, generator=torch.Generator().manual_seed(0))
    images = generator.synthesis(delta + generator.w_avg)
    expected = images.unflatten(3, (256, 2)).unflatten(2, (256, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(TrainingLosses(generator, {"l2": 1}).decode(delta), expected)


def test_drawing_in_bf16_is_close(tiny_generator, two):
    exact = TrainingLosses(tiny_generator, {"l2": 1}).decode(two)
    half = TrainingLosses(tiny_generator, {"l2": 1}, drawing=Drawing(bf16=True)).decode(two)
    assert half.dtype == torch.float32 and not torch.equal(half, exact)
    assert (half - exact).square().mean() < 1e-3 * exact.var()
    assert reached(half.square().mean(), two) == [True] * 2


def test_a_few_pictures_at_a_time_give_the_same(make_losses, two, pictures):
    """Three examples, two at a time."""
    delta = torch.cat([two.detach(), two.detach()[:1] * 0.5]).requires_grad_()
    batch = {name: torch.cat([value, value[:1].flip(3)]) for name, value in pictures.items()}
    losses = make_losses(l2=1, w_norm=0.1, l2_crop=0.1, id=0.1)
    losses.identity.contrast = 0.5
    total, parts = losses(delta, batch)
    gradient = torch.autograd.grad(3 * total, delta)[0]
    losses.decode_batch_size = 2
    same_total, same_parts = losses(delta, batch)
    torch.testing.assert_close(same_total, total)
    assert relative_error(torch.autograd.grad(3 * same_total, delta)[0], gradient) < 1e-5
    torch.testing.assert_close(same_parts, parts)
    with torch.no_grad():
        torch.testing.assert_close(losses(delta, batch)[0], total)


@pytest.mark.parametrize("size", [None, 1])
def test_drawings_in_symbols_are_not_compared(make_losses, two, pictures, size):
    losses = make_losses(l2=1, id=0.5)
    losses.decode_batch_size = size
    whole, parts = losses(two, {**pictures, "is_symbols": torch.tensor([False, False])})
    plain, _ = losses(two, pictures)
    torch.testing.assert_close(whole, plain)
    loss, figures = losses(two, {**pictures, "is_symbols": torch.tensor([True, False])})
    alone, _ = losses(two[1:], {name: value[1:] for name, value in pictures.items()})
    torch.testing.assert_close(loss, alone)
    assert reached(loss, two) == [False, True]
    loss, empty = losses(two, {**pictures, "is_symbols": torch.tensor([True, True])})
    assert loss == 0 and reached(loss, two) == [False, False]
    assert {name for name in parts if name != "id_improve"} == empty.keys() and not any(empty.values())
