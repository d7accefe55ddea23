"""psp_hub.refinement: styles moved towards a picture, through a tiny generator."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from psp_hub import PSPConfig, PSPModel
from psp_hub.face_weights import face_weights
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import images_to_tensor, tensor_to_images
from psp_hub.refinement import descend, picture, pixel_loss, quick_picture, refine
from psp_hub.wanted import make_small_and_large
from training.data.sources import degradation


@pytest.fixture(scope="module")
def generator(generator_dir):
    return load_generator(generator_dir)


@pytest.fixture(scope="module")
def faces(generator):
    """Two faces of that generator: their styles [2, 8, 32], and their pictures at 256 px."""
    rng = torch.Generator().manual_seed(3)
    ws = generator.mapping(torch.randn(2, 32, generator=rng))[:, None].expand(-1, 8, -1)
    with torch.no_grad():
        return ws.detach(), picture(generator, ws)


@pytest.fixture
def start(generator, faces):
    """The styles of those faces, but half as far from the mean face."""
    return torch.lerp(generator.w_avg, faces[0], 0.5)


def errors(generator, ws, targets):
    with torch.no_grad():
        return (picture(generator, ws) - targets).square().flatten(1).mean(dim=1)  # [N]


def test_the_error_becomes_small(generator, faces, start):
    _, targets = faces
    ws = refine(generator, start, targets, 8)
    assert ws.shape == start.shape and ws.dtype == torch.float32 and not ws.requires_grad
    assert (errors(generator, ws, targets) < errors(generator, start, targets) / 2).all()


@pytest.mark.slow
def test_each_picture_of_a_batch_is_on_its_own(generator, faces, start):
    both = refine(generator, start, faces[1], 4)
    for i in range(2):
        one = refine(generator, start[i : i + 1], faces[1][i : i + 1], 4)
        torch.testing.assert_close(both[i : i + 1], one, rtol=1e-3, atol=1e-3)


def test_the_same_again(generator, faces, start):
    assert refine(generator, start, faces[1], 2).equal(refine(generator, start, faces[1], 2))


def test_everything_given_is_left_alone(generator, faces, start):
    state = {name: value.clone() for name, value in generator.state_dict().items()}
    before, targets = start.clone(), faces[1].clone()
    with torch.no_grad():  # as in evaluation
        refine(generator, start, faces[1], 2)
    assert all(torch.equal(value, state[name]) for name, value in generator.state_dict().items())
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert start.equal(before) and faces[1].equal(targets)


def test_progress_is_told_of_every_step(generator, faces, start):
    seen = []
    refine(generator, start, faces[1], 3, progress=lambda step, losses: seen.append((step, losses)))
    assert [step for step, _ in seen] == [1, 2, 3]
    assert all(losses.shape == (2,) and not losses.requires_grad for _, losses in seen)
    assert (seen[-1][1] < seen[0][1]).all()


def test_progress_can_stop_it(generator, faces, start):
    def stop(step, losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(generator, start, faces[1], 5, progress=stop)


def test_no_steps(generator, faces, start):
    assert refine(generator, start, faces[1], 0).equal(start)


def test_never_worse_than_the_start(generator, faces):
    """From the best there is, every step leads away, and comes back only in part."""
    exact, targets = faces
    targets = torch.cat([picture(generator, exact[:1]), targets[1:]]).detach()
    start = torch.cat([exact[:1], generator.w_avg.expand(1, 8, -1)])
    ws = refine(generator, start, targets, 2, regularisation=0)
    assert ws[:1].equal(start[:1]) and not ws[1:].equal(start[1:])


@pytest.mark.slow
def test_the_pull_keeps_it_near_the_start(generator, faces, start):
    moved = [(refine(generator, start, faces[1], 3, regularisation=r) - start).norm() for r in (0, 1, 100)]
    assert moved[0] > moved[1] > moved[2]


def test_what_the_mask_leaves_out_does_not_count(generator, faces, start):
    mask = torch.zeros(2, 1, 256, 256)
    mask[:, :, :128], mask[1] = 1, 1
    noisy = faces[1].clone()
    noisy[0, :, 128:] = torch.rand(3, 128, 256)
    both = refine(generator, start, faces[1], 2, mask=mask)
    assert refine(generator, start, noisy, 2, mask=mask).equal(both)
    one = refine(generator, start, faces[1], 2, mask=mask[:1])
    assert one[0].equal(both[0]) and not one[1].equal(both[1])
    nothing = refine(generator, start, faces[1], 2, mask=torch.zeros(1, 1, 256, 256), regularisation=0)
    assert nothing.equal(start)


def test_reduction_is_done_to_what_is_drawn(generator, faces, start):
    """Made grey, a picture in colour is as good as a grey one."""

    def grey(images):
        return images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)

    exact, targets = faces
    assert refine(generator, exact, grey(targets), 2, reduction=grey, regularisation=0).equal(exact)
    assert not refine(generator, exact, grey(targets), 2, regularisation=0).equal(exact)


@pytest.mark.slow
def test_distance_counts_where_the_mask_does(generator, faces, start):
    seen = []

    def distance(images, targets):
        seen.append((images.detach(), targets))
        return (images - targets).abs().flatten(1).mean(dim=1)

    mask = torch.ones(2, 1, 256, 256)
    mask[..., 100:] = 0
    ws = refine(generator, start, faces[1], 2, mask=mask, distance=distance, distance_weight=10.0)
    assert not ws.equal(refine(generator, start, faces[1], 2, mask=mask))
    assert len(seen) == 3
    for images, targets in seen:
        assert images[..., 100:].equal(targets[..., 100:]) and not images[..., :100].equal(targets[..., :100])


def test_pixel_loss_against_loops():
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 2, 3, 32, 32, generator=rng)
    mask = (torch.rand(2, 1, 32, 32, generator=rng) < 0.5).float()
    weights = torch.rand(1, 1, 32, 32, generator=rng)
    for i in range(2):
        total = 0.0
        for side in (1, 4):
            blocks = F.unfold(((x[i] - y[i]) * mask[i])[None], side, stride=side).reshape(3, side * side, -1)
            counts = F.unfold(weights, side, stride=side).mean(dim=1)  # [1, number of blocks]
            total += (blocks.mean(dim=1).square() * counts).mean().item() / 2
        expected = total / (mask[i] * weights[0]).mean().item()
        assert pixel_loss(x, y, mask, weights)[i].item() == pytest.approx(expected, rel=1e-4)


def test_the_face_comes_closer_than_what_is_around_it(generator, faces):
    """Where the face is of one picture and all else of another, it depends on the strength which of them is met."""
    middle = (face_weights(256, 1.0) > 1).float()
    face, rest = faces[1][:1], faces[1][1:]
    targets, start = torch.lerp(rest, face, middle), generator.w_avg.expand(1, 8, -1)
    errors = []
    for strength in (0.0, 50.0):
        answer = picture(generator, refine(generator, start, targets, 24, face_strength=strength, regularisation=0))
        errors.append([((answer - targets).square() * part).mean().item() for part in (middle, 1 - middle)])
    (plain_face, plain_rest), (face_error, rest_error) = errors
    assert face_error < plain_face and rest_error > plain_rest


def test_descend_is_adam():
    """A bowl with another slope in each row: two steps by hand."""
    slopes, start = torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    point, m, v = start.clone(), 0.0, 0.0
    for step in (1, 2):
        gradient = 2 * slopes * point
        m, v = 0.8 * m + 0.2 * gradient, 0.95 * v + 0.05 * gradient**2
        point = point - step * 0.1 * (m / (1 - 0.8**step)) / ((v / (1 - 0.95**step)).sqrt() + 1e-8)
    found = descend(lambda x: (slopes * x.square()).sum(dim=1), start, 2, lambda i: 0.1 * (i + 1), (0.8, 0.95))
    torch.testing.assert_close(found, point)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ws": torch.zeros(1, 7, 32)}, "ws has shape .1, 7, 32., expected .N, 8, 32."),
        ({"ws": torch.zeros(2, 8, 32)}, "there are 1 targets for 2 ws, expected as many"),
        ({"targets": torch.zeros(1, 3, 64, 64)}, "targets have shape .1, 3, 64, 64., expected .N, 3, 256, 256."),
        ({"steps": -1}, "steps is -1, expected 0 or more"),
        ({"regularisation": -1}, "regularisation is -1, expected 0 or more"),
        ({"regularisation": float("nan")}, "regularisation is nan"),
        ({"mask": torch.zeros(2, 1, 256, 256)}, "mask has shape .2, 1, 256, 256., expected .1 or 1, 1, 256, 256."),
        ({"mask": torch.zeros(256, 256)}, "mask has shape .256, 256."),
    ],
)
def test_bad_input(generator, arguments, message):
    arguments = {"ws": torch.zeros(1, 8, 32), "targets": torch.zeros(1, 3, 256, 256)} | arguments
    with pytest.raises(ValueError, match=message):
        refine(generator, **arguments)


def test_quick_pictures_of_a_large_generator_are_previews(make_generator):
    """Enlarged, and exact up to bfloat16."""
    large = make_generator(channels=(8,) * 7, w_dim=16)
    ws = torch.randn(1, large.num_ws, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        quick = quick_picture(large, ws)
        exact = F.interpolate(large.synthesis.preview(ws, 128), size=256, mode="bilinear")
    assert quick.dtype == torch.float32 and quick.shape == (1, 3, 256, 256)
    assert (quick - exact).square().mean() < 1e-2 * exact.var()


# PSPModel.refine


@pytest.fixture
def model_for(generator, make_encoder):
    """Function of a task: a tiny model."""

    def make(task: str, kind: str = "photo", channels: int = 3) -> PSPModel:
        encoder = make_encoder(in_channels=channels).eval().requires_grad_(False)
        return PSPModel(encoder, generator, PSPConfig(task, kind))

    return make


def test_inversion_is_compared_with_the_picture(model_for, generator, faces):
    model, targets = model_for("inversion"), faces[1]
    ws = model.refine(targets, steps=3)
    assert ws.equal(refine(generator, model.encode(targets), targets, 3))
    pictures = tensor_to_images(targets / 5)
    tensors = images_to_tensor(pictures)
    seen = []
    ws = model.refine(pictures, faces[0], 2, regularisation=0.5, progress=lambda step, losses: seen.append(step))
    assert ws.equal(refine(generator, faces[0], tensors, 2, regularisation=0.5)) and seen == [1, 2]
    assert model.refine(pictures[0], faces[0][:1], 2, regularisation=0.5).shape == (1, 8, 32)


def test_inpainting_is_compared_with_the_known_part(model_for, generator, faces):
    missing = torch.zeros(2, 1, 256, 256)
    missing[:, :, 50:120, 60:] = 1
    inputs = torch.cat([faces[1] * (1 - missing), missing], dim=1)
    model = model_for("inpainting", "masked", 4)
    expected = refine(generator, model.encode(inputs), faces[1], 2, mask=1 - missing)
    assert model.refine(inputs, steps=2).equal(expected)


def test_super_resolution_is_compared_at_the_size_of_the_small_picture(model_for, generator, portrait):
    model = model_for("super-resolution")
    upright, large = portrait(64, 1).resize((32, 48)), portrait(300, 2)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be turned back
    inputs = model.prepare([upright, large])
    expected = refine(
        generator,
        model.encode(inputs),
        inputs,
        2,
        reduction=lambda images: make_small_and_large(images, [(48, 32), (256, 256)]),
    )
    assert model.refine([upright, large], steps=2).equal(expected)
    assert model.refine([turned, large], steps=2).equal(expected)
    by_factor = model.refine([upright, large], steps=2, factor=4)
    assert not by_factor.equal(expected) and by_factor.equal(model.refine(inputs, steps=2, factor=4))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "steps"), [("inversion", 40), ("super-resolution", 80)])
def test_steps_are_those_of_the_task(model_for, faces, task, steps):
    seen = []
    arguments = {"factor": 4} if task == "super-resolution" else {}
    model_for(task).refine(faces[1][:1], faces[0][:1], progress=lambda step, losses: seen.append(step), **arguments)
    assert seen == list(range(1, steps + 1))


@pytest.mark.parametrize("factor", [1, 2, 8, 16])
def test_pictures_are_made_small_as_training_makes_them(portrait, factor):
    image = images_to_tensor([portrait(256, 3)])
    small = make_small_and_large(image, [(256 // factor,) * 2])
    assert (small - degradation(image[0], np.random.default_rng(0), factors=[factor])).abs().max() < 0.03


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("sketch", {}, "sketch cannot be refined: .* expected inversion, super-resolution, inpainting"),
        ("frontalization", {}, "frontalization cannot be refined"),
        ("mine", {}, "mine cannot be refined"),
        ("super-resolution", {}, "how small the pictures were cannot be seen: factor is None"),
        ("super-resolution", {"factor": 0}, "factor is 0, expected 1 to 256"),
        ("inversion", {"images": torch.zeros(1, 3, 64, 64)}, "shape .1, 3, 64, 64., expected .N, 3, 256, 256."),
        ("inversion", {"images": []}, "empty list"),
        ("inversion", {"ws": torch.zeros(1, 8, 31)}, "ws has shape"),
    ],
)
def test_what_cannot_be_refined(model_for, task, arguments, message):
    with pytest.raises(ValueError, match=message):
        model_for(task).refine(**{"images": torch.zeros(1, 3, 256, 256)} | arguments)
