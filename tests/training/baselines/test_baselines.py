"""training.baselines: forward passes and losses against naive formulas, overfitting, exact resuming."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from psp_hub.hub.components import weights_name
from training import compare
from training import train_baseline as program
from training.baselines.build import BASELINES, build_baseline, is_baseline, load_baseline, save_baseline
from training.baselines.ccfpse import ConditionalConv
from training.baselines.deepface import PARTS, DeepFaceDrawing, project
from training.baselines.discriminators import (
    DiscriminatorOutput,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    PyramidDiscriminator,
)
from training.baselines.losses import discriminator_loss, feature_matching, generator_loss
from training.baselines.pix2pixhd import Pix2PixHD
from training.baselines.run import prepare_game, train, train_on
from training.baselines.spade import SpatiallyAdaptiveNorm

NAMES = list(BASELINES)


def judged(seed: int) -> list[DiscriminatorOutput]:
    rng = torch.Generator().manual_seed(seed)
    return [
        DiscriminatorOutput(
            torch.randn(2, 1, side, side, generator=rng), [torch.randn(2, 3, side, side, generator=rng) for _ in "ab"]
        )
        for side in (3, 2)
    ]


def test_losses_against_loops():
    real, fake = judged(0), judged(1)
    hinge, game, features = [], [], []
    for a, b in zip(real, fake, strict=True):
        scores = [(p, q) for p, q in zip(a.score.flatten().tolist(), b.score.flatten().tolist(), strict=True)]
        hinge.append(sum(max(0, 1 - p) + max(0, 1 + q) for p, q in scores) / len(scores))
        game.append(-sum(q for _, q in scores) / len(scores))
        layers = zip(a.features, b.features, strict=True)
        features.append(sum(float((p - q).abs().sum()) / p.numel() for p, q in layers))
    assert discriminator_loss(real, fake).item() == pytest.approx(sum(hinge) / 2, rel=1e-5)
    assert generator_loss(fake).item() == pytest.approx(sum(game) / 2, rel=1e-5)
    assert feature_matching(real, fake).item() == pytest.approx(sum(features) / 2, rel=1e-5)


def test_features_of_real_pictures_are_held_fixed():
    real, fake = (
        [DiscriminatorOutput(torch.zeros(1, 1, 1, 1), [torch.ones(1, 1, 2, 2, requires_grad=True) * scale])]
        for scale in (1, 2)
    )
    assert feature_matching(real, fake).grad_fn is not None
    leaf = torch.ones(1, 1, 2, 2, requires_grad=True)
    feature_matching(
        [DiscriminatorOutput(leaf, [leaf])],
        [DiscriminatorOutput(leaf.detach(), [torch.zeros(1, 1, 2, 2, requires_grad=True)])],
    )
    assert leaf.grad is None


def test_spatially_adaptive_norm():
    """Equation 1 of SPADE, pixel by pixel."""
    norm = SpatiallyAdaptiveNorm(channels=3, in_channels=2, hidden=4).double()
    h, m = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 2, 8, 8, dtype=torch.float64)
    small = torch.stack([m[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(dim=0)
    hidden = F.conv2d(small, norm.shared.weight, norm.shared.bias, padding=1).clamp(min=0)
    gamma, beta = (F.conv2d(hidden, layer.weight, layer.bias, padding=1) for layer in (norm.gamma, norm.beta))
    expected = torch.empty_like(h)
    for c in range(3):
        values = h[:, c]
        sigma = ((values - values.mean()) ** 2).mean().add(1e-5).sqrt()
        expected[:, c] = (1 + gamma[:, c]) * (values - values.mean()) / sigma + beta[:, c]
    torch.testing.assert_close(norm(h, m), expected)


def test_conditional_convolution():
    """Equations 1 to 3 of CC-FPSE, tap by tap."""
    layer = ConditionalConv(channels=2, out_channels=3, features=4).double().eval()
    h, view = torch.randn(1, 2, 3, 3, dtype=torch.float64), torch.randn(1, 4, 3, 3, dtype=torch.float64)
    kernels = layer.kernels(view).reshape(2, 3, 3, 3, 3)  # [C, tap rows, tap columns, H, W]
    gate = 1 / (1 + torch.exp(-layer.gate(view)))
    middle = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    for c, y, x in ((c, y, x) for c in range(2) for y in range(3) for x in range(3)):
        for i, j in ((i, j) for i in range(3) for j in range(3)):
            if 0 <= y + i - 1 < 3 and 0 <= x + j - 1 < 3:
                middle[0, c, y, x] += h[0, c, y + i - 1, x + j - 1] * kernels[c, i, j, y, x]
    expected = F.conv2d(middle * gate, layer.pointwise.weight, layer.pointwise.bias)
    torch.testing.assert_close(layer(h, view), expected)


def test_the_pyramid_reads_the_layout():
    """The score is a convolution of the features, and their dot product with the embedded layout at that place."""
    pyramid = PyramidDiscriminator(in_channels=2, width=4, num_scales=2).eval()
    x, image = torch.rand(1, 2, 32, 32), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        scores = [one.score for one in pyramid(x, image)]
        nn.init.zeros_(pyramid.real.weight)
        nn.init.zeros_(pyramid.real.bias)
        fits = [one.score for one in pyramid(x, image)]
        assert [tuple(score.shape[2:]) for score in scores] == [(2, 2), (4, 4)]
        swapped = [one.score for one in pyramid(x.flip(1), image)]
        doubled = [one.score for one in pyramid(2 * x, image)]
        none = [one.score for one in pyramid(0 * x, image)]
    for fit, twice, nothing, other in zip(fits, doubled, none, swapped, strict=True):
        torch.testing.assert_close(twice - fit, fit - nothing, atol=1e-4, rtol=1e-4)  # linear in the layout
        assert not torch.allclose(fit, other)


def test_a_patch_is_of_70_pixels():
    discriminator = PatchDiscriminator(in_channels=1, width=2).eval()
    for layer in discriminator.layers:
        for i, part in enumerate(layer):
            layer[i] = nn.Identity() if isinstance(part, nn.InstanceNorm2d) else part
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    score = discriminator(x).score
    score[0, 0, score.shape[2] // 2, score.shape[3] // 2].backward()
    rows = x.grad[0, 0].abs().sum(dim=1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_scales_see_halves():
    opponent = MultiScaleDiscriminator(in_channels=1, num_scales=2, width=2).eval()
    x, image = torch.rand(1, 1, 32, 32), torch.rand(1, 3, 32, 32)
    both = torch.cat([x, image], dim=1)
    padded = F.pad(both, (1, 1, 1, 1), value=float("nan")).unfold(2, 3, 2).unfold(3, 3, 2)
    half = padded.nanmean(dim=(-2, -1))  # of the pixels that there are
    torch.testing.assert_close(opponent(x, image)[1].score, opponent.scales[1](half).score)


def test_the_manifold_of_codes():
    """Locally linear embedding: the weights solve the least squares with their sum held at 1 (Lagrange)."""
    rng = torch.Generator().manual_seed(0)
    bank, codes = torch.randn(30, 16, generator=rng), torch.randn(4, 16, generator=rng)
    projected = project(codes, bank, 5)
    for code, found in zip(codes.double(), projected, strict=True):
        nearest = bank[(bank - code).norm(dim=1).argsort()[:5]].double()
        away = nearest - code
        gram = away @ away.T
        gram = gram + 1e-3 * gram.trace() * torch.eye(5, dtype=torch.float64)
        system = torch.ones(6, 6, dtype=torch.float64)
        system[:5, :5], system[5, 5] = 2 * gram, 0
        weights = torch.linalg.solve(system, torch.tensor([0.0] * 5 + [1.0], dtype=torch.float64))[:5]
        assert weights.sum() == pytest.approx(1)
        torch.testing.assert_close(found.double(), weights @ nearest, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(project(bank[:3], bank, 1), bank[:3])
    assert (project(codes, bank, 30) - codes).norm() < (project(codes, bank, 1) - codes).norm()


def test_drawings_move_to_what_was_remembered():
    model, _ = build_baseline("deepfacedrawing", "tiny", 1, 32)
    assert isinstance(model, DeepFaceDrawing)
    model.eval()
    known, other = torch.rand(6, 1, 32, 32), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before = model(other)
        model.remember(known[:4])
        model.remember(known[4:])
        assert int(model.num_remembered) == 6 and not torch.equal(model(other), before)
        model.forget()
        torch.testing.assert_close(model(other), before)
    for name, part in PARTS.items():
        rows, cols = part.window(256)
        assert rows.stop - rows.start == cols.stop - cols.start == (256 if name == "remainder" else 64)
        assert 0 <= rows.start < rows.stop <= 256 and 0 <= cols.start < cols.stop <= 256


@pytest.mark.parametrize("name", NAMES)
def test_shapes_saving_and_loading(name, tmp_path):
    torch.manual_seed(0)
    model, opponent = build_baseline(name, "tiny", 19, 64)
    x = torch.rand(2, 19, 64, 64)
    with torch.no_grad():
        image = model.eval()(x)
        assert image.shape == (2, 3, 64, 64) and image.abs().max() <= 1 and image.std() > 0
        assert len(opponent(x, image)) == BASELINES[name].num_scales
    save_baseline(model, tmp_path / "model")
    loaded = load_baseline(tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), image)
    assert is_baseline(tmp_path / "model") and not is_baseline(tmp_path)
    with pytest.raises(ValueError, match="holds no baseline, expected one of pix2pixhd, spade"):
        load_baseline(tmp_path)


def test_the_paper_s_global_generator():
    """pix2pixHD's appendix, counted: c7s1-64, d128 to d1024, nine R1024, u512 to u64, c7s1-3."""
    with torch.device("meta"):
        model = Pix2PixHD(in_channels=3)
    widths = [64, 128, 256, 512, 1024]
    expected = 3 * 49 * 64 + 64 + 64 * 49 * 3 + 3 + 18 * (1024 * 9 * 1024 + 1024)
    for narrow, wide in zip(widths, widths[1:], strict=False):
        expected += 2 * narrow * 9 * wide + narrow + wide
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize("image_size", [48, 100])
def test_sizes_that_cannot_be(image_size):
    with pytest.raises(ValueError, match=f"image_size is {image_size}, expected"):
        build_baseline("spade", "tiny", 1, image_size)


def words(folder: Path, pairs_dir: Path, *more: object, name: str = "spade") -> list[str]:
    common = ["--baseline", name, "--task", "sketch", "--pairs_dir", pairs_dir, "--output_dir", folder]
    small = ["--size", "tiny", "--image_size", 32, "--train_batch_size", 2]
    return [*map(str, [*common, *small, *more])]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"), [("pix2pixhd", 150), ("spade", 100), ("cc-fpse", 550), ("deepfacedrawing", 400)]
)
def test_eight_pairs_are_learned(name, steps, tmp_path, portrait):
    """What the tiny networks make of a drawing is its own face, not another one, nor what all have in common."""
    torch.manual_seed(0)
    settings = program.parse_args(words(tmp_path, tmp_path, "--learning_rate", "2e-3", "--ema_decay", 0, name=name))
    game = prepare_game(settings, Accelerator(cpu=True), 1, None)
    real = torch.stack([to_tensor(portrait(32, seed)) for seed in range(8)])
    x = real.mean(dim=1, keepdim=True) / 2 + 0.5
    for _ in range(steps):
        train_on(game, x, real)
    with torch.no_grad():
        away = (game.generator(x)[:, None] - real).abs().mean(dim=(2, 3, 4))  # [8 outputs, 8 faces]
    between = (real[:, None] - real).abs().mean(dim=(2, 3, 4)).sum() / (8 * 7)
    assert (away.argmin(dim=1) == torch.arange(8)).sum() >= 6
    assert away.diag().mean() < 0.7 * between


def to_tensor(image: Image.Image) -> Tensor:
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1) / 127.5 - 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_is_the_same(name, pairs_dir, tmp_path):
    """To the bit: weights, average, and what is exported. A checkpoint of another run is refused."""
    settings = program.parse_args(words(tmp_path / "whole", pairs_dir, "--max_train_steps", 4, name=name))
    train(settings)
    steps = ("--checkpointing_steps", 2, "--resume_from_checkpoint", "latest")
    for end in (2, 4):
        more = (*steps, "--max_train_steps", end, *(["--allow_changes"] if end == 4 else []))
        folder = train(program.parse_args(words(tmp_path / "parts", pairs_dir, *more, name=name)))
    whole, parts = (load_file(tmp_path / run / "model" / weights_name()) for run in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[key], parts[key]) for key in whole)
    with pytest.raises(ValueError, match="is of another run.*seed 0.*seed 1"):
        train(program.parse_args(words(tmp_path / "parts", pairs_dir, *steps, "--seed", 1, name=name)))
    card = (folder / "README.md").read_text()
    assert "4 of 2 pictures: 8 pictures seen" in card and "| 32 px |" in card and "license: other" in card
    out = tmp_path / "compared"
    given = ["--task", "sketch", "--models", folder, "--pairs_dir", pairs_dir, "--num_pairs", 2, "--output_dir", out]
    compare.main(compare.parse_args([*map(str, given)]))
    report = json.loads((out / "report.json").read_text())["systems"]["parts"]
    assert report["parameters"] > 0 and report["seconds"] > 0


def test_settings_that_do_not_fit(tmp_path, capsys):
    for more, message in (
        (("--image_size", 100), "--image_size is 100, expected 32, 64, 128 or 256"),
        (("--train_batch_size", 0), "are 1 or more"),
        (("--learning_rate", 0), "--learning_rate is above 0"),
        (("--faces_dir", tmp_path), "baselines learn from pictures that are there"),
    ):
        with pytest.raises(SystemExit):
            program.parse_args(words(tmp_path / "out", tmp_path, *more))
        assert message in " ".join(capsys.readouterr().err.split())
