"""training.run.build: the model that a run starts with, compiled where that works, and its average."""

import copy

import pytest
import torch

from psp_hub import model_names
from psp_hub.generators import load_generator
from psp_hub.trunk import IR_SE50, Trunk
from tests.runs import equal
from training.networks.arcface import ArcFace
from training.networks.mobilefacenet import FaceRecogniser
from training.run.build import compile_encoder
from training.run.optimizers import ema_update
from training.run.start import build_model, start_trunk
from training.settings.run import parse_args


def test_ema_update():
    update = ema_update(0.999)
    average, current = torch.tensor([1.0]), torch.tensor([2.0])
    for n, decay in ((1, 2 / 11), (10, 11 / 20), (1_000_000, 0.999)):
        torch.testing.assert_close(update(average, current, torch.tensor(n)), decay * average + (1 - decay) * current)
    assert torch.equal(update(torch.tensor(3), torch.tensor(7), 5), torch.tensor(7))


def test_build_model_for_a_generator(generator_dir):
    args = parse_args(["--task", "sketch", "--output_dir", "x", "--pairs_dir", "x", "--generator", str(generator_dir)])
    built = build_model(args)
    assert built.encoder.config.num_ws == 8 and built.encoder.config.w_dim == 32
    assert built.config.task == "sketch" and built.config.base_generator is None
    assert equal(built.generator.state_dict(), load_generator(generator_dir).state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_the_trunk_of_the_paper_starts_as_that_of_a_recogniser(channels):
    recogniser, trunk = ArcFace(), Trunk(channels, **IR_SE50)
    before, wanted = copy.deepcopy(trunk.state_dict()), recogniser.trunk.state_dict()
    start_trunk(trunk, recogniser)
    for name, value in trunk.state_dict().items():
        fresh = channels == 1 and name.startswith("stem.")
        assert torch.equal(value, (before if fresh else wanted)[name]), name


def test_other_trunks_and_recognisers_are_refused(make_encoder):
    with pytest.raises(ValueError, match="--trunk_weights are of FaceRecogniser, expected ArcFace IR-SE50"):
        start_trunk(make_encoder().trunk, FaceRecogniser())


def test_wider_heads_are_a_flag(generator_dir):
    command = ["--task", "inversion", "--output_dir", "x", "--generator", str(generator_dir), "--pairs_dir", "x"]
    plain = build_model(parse_args(command)).encoder
    wide = build_model(parse_args([*command, "--head_widths", "128", "128", "64"])).encoder
    assert plain.config.head_widths == (128, 64, 32) and wide.config.head_widths == (128, 128, 64)
    assert plain.heads.map2style[1].convs[0].out_channels * 2 == wide.heads.map2style[1].convs[0].out_channels


def test_build_model_from_a_starter(model_dir, monkeypatch, tmp_path, tiny_model):
    (tmp_path / "tiny").symlink_to(model_dir)
    monkeypatch.setattr(model_names, "STARTERS", tmp_path)
    more = ["--pretrained_model_name_or_path", "tiny"]
    built = build_model(parse_args(["--task", "sketch", "--output_dir", "x", "--pairs_dir", "x", *more]))
    assert equal(built.state_dict(), tiny_model.state_dict())


@pytest.mark.slow
def test_a_compiled_encoder_keeps_its_names_and_its_answers(make_encoder):
    if not compile_encoder(encoder := make_encoder()):
        pytest.skip("no compiler")
    plain, x = make_encoder(), torch.rand(2, 1, 256, 256)
    assert encoder.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(encoder(x), plain(x), rtol=1e-3, atol=1e-4)
    assert equal(copy.deepcopy(encoder).state_dict(), encoder.state_dict())


@pytest.mark.slow
def test_without_a_compiler_nothing_is_compiled(make_encoder, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, str(tmp_path / "no-compiler")))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch._dynamo.reset()  # what an earlier test has compiled
    encoder = make_encoder()
    assert not compile_encoder(encoder)
    assert "no working compiler, --compile is left out: " in caplog.text
    assert encoder(torch.rand(1, 1, 256, 256)).shape == (1, 8, 32)
