"""psp_hub.passes: an encoder that looks several times, in use and in training."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from psp_hub.config import PSPConfig
from psp_hub.generators import load_generator
from psp_hub.generators.stylegan2 import StyleGAN2
from psp_hub.model import PSPModel
from psp_hub.passes import encode_in_passes, see_face
from psp_hub.tasks import get_task
from training.losses import TrainingLosses
from training.run.loop import backward_passes
from training.run.start import build_model
from training.run.train import main as train_main
from training.settings.run import parse_args


@pytest.fixture
def generator(generator_dir):
    """64 px, 8 styles of size 32; pictures of about [-1, 1], lest each pass makes more of the rounding before it."""
    generator = load_generator(generator_dir)
    with torch.no_grad():
        scale = generator.synthesis(generator.w_avg.expand(1, 8, -1)).abs().max()
        for weight in generator.synthesis.to_img.parameters():
            weight /= scale
    return generator


@pytest.fixture
def model(make_encoder, generator):
    config = PSPConfig("inversion", "photo", num_passes=3, face_size=16)
    return PSPModel(make_encoder(in_channels=6), generator, config).eval()


@torch.no_grad()
def test_each_pass_sees_the_face_of_the_last_one(model, generator):
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    ws = generator.w_avg.expand(2, 8, -1)
    for _ in range(3):
        face = F.interpolate(generator.synthesis.preview(ws, 16), size=256, mode="bilinear")
        ws = ws + model.encoder(torch.cat([x, face], dim=1))
    assert torch.allclose(model.encode(x), ws, atol=1e-4)
    assert model.in_channels == 3 and model(x).images.shape == (2, 3, 64, 64)


def test_a_face_of_full_size_is_the_generators_own(generator):
    delta = torch.randn(2, 8, 32)
    exact = F.interpolate(generator.synthesis(delta + generator.w_avg), size=256, mode="bilinear")
    assert torch.equal(see_face(generator, delta, 256), exact)


def test_a_single_pass_is_the_encoder_alone(make_encoder, generator):
    encoder, x = make_encoder(), torch.rand(2, 1, 256, 256)
    assert torch.equal(encode_in_passes(encoder, generator, x, 1, 256), encoder(x))


def test_passes_are_saved(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded, x = PSPModel.from_pretrained(tmp_path), torch.rand(1, 3, 256, 256)
    assert (loaded.config.num_passes, loaded.config.face_size) == (3, 16)
    assert torch.allclose(loaded.encode(x), model.encode(x), atol=1e-4)


@pytest.fixture
def residual_model(make_encoder, generator):
    """One pass of an encoder, two of its residual encoder."""
    config = PSPConfig("inversion", "photo", num_passes=3, face_size=16)
    return PSPModel(make_encoder(in_channels=3, residual=True), generator, config).eval()


@torch.no_grad()
def test_a_residual_encoder_makes_the_passes_after_the_first(residual_model, generator):
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    encoder = residual_model.encoder
    ws = generator.w_avg + encoder(x)
    for _ in range(2):
        face = F.interpolate(generator.synthesis.preview(ws, 16), size=256, mode="bilinear")
        ws = ws + encoder.residual_encoder(torch.cat([x, face], dim=1))
    assert torch.allclose(residual_model.encode(x), ws, atol=1e-4)
    assert residual_model.in_channels == 3


def test_a_residual_encoder_is_saved(residual_model, tmp_path):
    residual_model.save_pretrained(tmp_path)
    loaded, x = PSPModel.from_pretrained(tmp_path), torch.rand(1, 3, 256, 256)
    assert loaded.encoder.residual_encoder.config.in_channels == 6
    assert torch.allclose(loaded.encode(x), residual_model.encode(x), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_passes": 0}, "num_passes is 0, expected 1 to 20"),
        ({"num_passes": "2"}, "num_passes is '2', expected 1 to 20"),
        ({"face_size": 100}, "face_size is 100, expected one of 16, 32, 64, 128, 256"),
    ],
)
def test_numbers_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        PSPConfig("inversion", "photo", **changes)


def test_an_encoder_without_room_for_a_face_is_refused(make_encoder, generator):
    with pytest.raises(ValueError, match="takes 1 channels, expected 3 more than the pictures have: with 2 passes"):
        PSPModel(make_encoder(), generator, PSPConfig("sketch", num_passes=2))


def test_a_generator_without_previews_draws_the_whole_face(make_encoder):
    generator = StyleGAN2(64, channel_multiplier=1, w_dim=32, mapping_layers=1, max_channels=16)
    encoder = make_encoder(generator.num_ws, 32, 6)
    for face_size in (32, 256):
        config = PSPConfig("inversion", "photo", num_passes=2, face_size=face_size)
        model = PSPModel(encoder, generator, config).eval()
        assert model.encode(torch.rand(1, 3, 256, 256)).shape == (1, generator.num_ws, 32)
    ws = torch.randn(2, generator.num_ws, 32)
    assert not generator.synthesis.quick_preview
    with torch.no_grad():
        expected = torch.nn.functional.avg_pool2d(generator.synthesis(ws), 2)
        torch.testing.assert_close(generator.synthesis.preview(ws, 32), expected)


def test_gradients_are_those_of_the_passes_one_by_one(model, generator):
    """Each pass is a step of its own: what it starts from is given."""
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    losses = TrainingLosses(generator, {"l2": 1.0})
    batch = {"input": x, "image": x}
    model.encoder.requires_grad_(True)  # its batch norms are fixed: passes do not touch each other
    accelerator = SimpleNamespace(backward=lambda loss: loss.backward())
    run = SimpleNamespace(model=model, encoder=model.encoder, losses=losses, accelerator=accelerator)
    backward_passes(run, x, batch, lambda: (0, []))
    found = {name: weight.grad.clone() for name, weight in model.encoder.named_parameters()}
    model.encoder.zero_grad()
    delta = torch.zeros(2, 8, 32)
    for _ in range(3):
        seen = torch.cat([x, see_face(generator, delta, 16)], dim=1)
        total = delta.detach() + model.encoder(seen)
        (losses(total, batch)[0] / 3).backward()
        delta = total.detach()
    for name, weight in model.encoder.named_parameters():
        assert torch.allclose(found[name], weight.grad, rtol=1e-3, atol=1e-4), name


def command(*flags: object) -> list[str]:
    return ["--pairs_dir", "x", "--output_dir", "x", *map(str, flags)]


def test_new_channels_change_nothing_at_first(make_encoder, generator, tmp_path, caplog):
    """From one pass to two, and from photos to photos with a missing part."""
    encoder = make_encoder(in_channels=3).eval()
    PSPModel(encoder, generator, PSPConfig("inversion", "photo")).save_pretrained(tmp_path / "one")
    start = ["--pretrained_model_name_or_path", tmp_path / "one", "--num_passes", 2, "--face_size", 16]
    two = build_model(parse_args(command("--task", "inversion", *start)))
    x, face = torch.rand(2, 3, 256, 256), torch.rand(2, 3, 256, 256)
    assert two.config.num_passes == 2 and two.config.face_size == 16 and two.encoder.config.in_channels == 6
    assert torch.allclose(two.encoder.eval()(torch.cat([x, face], dim=1)), encoder(x), atol=1e-4)
    assert "the first convolution starts with what they share" in caplog.text

    with torch.no_grad():
        two.encoder.trunk.stem[0].weight.normal_()
    two.save_pretrained(tmp_path / "two")
    more = build_model(
        parse_args(command("--task", "inpainting", "--pretrained_model_name_or_path", tmp_path / "two"))
    )
    assert more.config.num_passes == 2 and more.in_channels == get_task("inpainting").in_channels == 4
    fewer = build_model(parse_args(command(*start[:1], tmp_path / "two", "--task", "inversion", "--num_passes", 1)))
    assert fewer.config.num_passes == 1 and fewer.encoder.config.in_channels == 3
    nothing = two.encoder(torch.cat([x, torch.zeros_like(x)], dim=1))
    assert torch.allclose(fewer.encoder.eval()(x), nothing, atol=1e-4)
    mask = torch.rand(2, 1, 256, 256)
    expected = two.encoder(torch.cat([x, face], dim=1))
    assert torch.allclose(more.encoder.eval()(torch.cat([x, mask, face], dim=1)), expected, atol=1e-4)


def test_a_new_residual_encoder_changes_nothing_at_first(make_encoder, generator, tmp_path):
    """It has what fits of the encoder's own weights, and another task keeps it."""
    encoder = make_encoder(in_channels=3).eval()
    PSPModel(encoder, generator, PSPConfig("inversion", "photo")).save_pretrained(tmp_path / "one")
    flags = ["--pretrained_model_name_or_path", tmp_path / "one", "--residual_encoder"]
    with pytest.raises(ValueError, match="--residual_encoder needs --num_passes of 2 or more"):
        build_model(parse_args(command("--task", "inversion", *flags)))
    flags += ["--num_passes", 2]
    two = build_model(parse_args(command("--task", "inversion", *flags, "--face_size", 16)))
    assert two.encoder.residual_encoder.config.in_channels == 6 and two.in_channels == 3
    x, face = torch.rand(2, 3, 256, 256), torch.rand(2, 3, 256, 256)
    assert torch.allclose(two.eval().encode(x), encoder(x) + generator.w_avg, atol=1e-4)
    with torch.no_grad():  # an answer other than zero
        for weight in two.encoder.residual_encoder.parameters():
            weight.normal_(0, 0.05)
    two.save_pretrained(tmp_path / "two")
    start = ["--pretrained_model_name_or_path", tmp_path / "two"]
    more = build_model(parse_args(command("--task", "inpainting", *start)))
    assert more.in_channels == 4 and more.encoder.residual_encoder.config.in_channels == 7
    mask = torch.rand(2, 1, 256, 256)
    assert torch.allclose(more.eval().encoder(torch.cat([x, mask], dim=1)), encoder(x), atol=1e-4)
    expected = two.encoder(torch.cat([x, face], dim=1))
    assert torch.allclose(more.encoder(torch.cat([x, mask, face], dim=1)), expected, atol=1e-4)
    drawings = build_model(parse_args(command("--task", "sketch", *start)))
    assert drawings.in_channels == 1 and drawings.encoder.residual_encoder.config.in_channels == 4


def test_a_residual_encoder_of_what(capsys):
    with pytest.raises(SystemExit):
        parse_args(command("--task", "inversion", "--residual_encoder"))
    assert "--residual_encoder needs --pretrained_model_name_or_path" in capsys.readouterr().err


def test_one_pass_trains_the_first_encoder(residual_model, tmp_path, caplog):
    """Of a model with a residual encoder, which would else be trained alone."""
    residual_model.save_pretrained(tmp_path)
    start = command("--task", "inversion", "--pretrained_model_name_or_path", tmp_path)
    both = build_model(parse_args(start))
    assert both.encoder.residual_encoder is not None and both.config.num_passes == 3
    assert "its residual encoder alone is trained: --num_passes 1 trains the first" in caplog.text
    caplog.clear()
    build_model(parse_args([*start, "--residual_encoder"]))  # what is asked for needs no warning
    assert not caplog.records
    first, x = build_model(parse_args([*start, "--num_passes", "1"])), torch.rand(1, 3, 256, 256)
    assert first.encoder.residual_encoder is None and not caplog.records
    assert torch.equal(first.eval().encode(x), residual_model.generator.w_avg + residual_model.encoder(x))


def test_a_new_encoder_has_room_for_the_face(generator_dir):
    flags = command("--task", "sketch", "--generator", generator_dir, "--num_passes", 2, "--face_size", 32)
    model = build_model(parse_args(flags))
    assert model.encoder.config.in_channels == 4 and model.in_channels == 1
    assert model.config.num_passes == 2 and model.config.face_size == 32


@pytest.mark.slow
def test_training_in_two_passes_is_exported_with_them(generator_dir, pairs_dir, tmp_path):
    flags = ["--task", "inversion", "--generator", generator_dir, "--pairs_dir", pairs_dir, "--num_passes", 2]
    flags += ["--face_size", 16, "--l2_weight", 1, "--output_dir", tmp_path, "--max_train_steps", 3]
    flags += ["--validation_steps", 3, "--train_batch_size", 4, "--report_to", "none", "--mixed_precision", "no"]
    train_main(parse_args([str(flag) for flag in flags]))
    model = PSPModel.from_pretrained(tmp_path / "model")
    assert model.config.num_passes == 2 and model.encode(torch.rand(1, 3, 256, 256)).shape == (1, 8, 32)


@pytest.mark.slow
def test_a_residual_encoder_alone_is_trained(residual_model, generator_dir, pairs_dir, tmp_path):
    residual_model.save_pretrained(tmp_path / "start")
    flags = ["--task", "inversion", "--pretrained_model_name_or_path", tmp_path / "start", "--pairs_dir", pairs_dir]
    flags += ["--output_dir", tmp_path, "--max_train_steps", 3, "--l2_weight", 1, "--l2_face_strength", 2]
    flags += ["--validation_steps", 3, "--train_batch_size", 4, "--report_to", "none", "--mixed_precision", "no"]
    train_main(parse_args([str(flag) for flag in flags]))
    trained = PSPModel.from_pretrained(tmp_path / "model")
    before, after = residual_model.encoder.state_dict(), trained.encoder.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("residual_encoder.") for name in changed)
    assert trained.config.num_passes == 3
