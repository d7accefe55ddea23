"""psp_hub.conversion.converter: checkpoints of other projects become models with the same pictures."""

import argparse
import json
import os
import pickle
import resource

import numpy as np
import pytest
import torch
from torch import Tensor

from psp_hub import PSPModel
from psp_hub.cli import main as cli
from psp_hub.conversion.converter import convert
from psp_hub.conversion.original_names import encoder_key
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.generators import load_generator
from tests.golden_weights import GOLDEN_FOLDER, fill_all, latent_avg, original_input, original_outputs, relative_error
from tests.original_checkpoints import (
    NUM_WS,
    RESOLUTION,
    W_DIM,
    nvidia_tensors,
    save,
    save_nvidia,
    tiny_generator_state,
    tiny_psp_state,
)

START = torch.randn(NUM_WS, W_DIM, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def psp_state() -> dict[str, Tensor]:
    return tiny_psp_state()


@pytest.fixture(scope="module")
def generator_state() -> dict[str, Tensor]:
    return tiny_generator_state()


def picture(channels: int = 1) -> Tensor:
    return torch.rand(2, channels, 256, 256, generator=torch.Generator().manual_seed(1))


# pSp and e4e


@pytest.mark.parametrize("rows", [1, NUM_WS, 0])
def test_codes_of_the_original(psp_state, tmp_path, rows):
    """[512], [1, 512] and [n, 512] are all found in the wild."""
    start = START[0] if rows == 0 else START[:rows]
    plain = convert(save({"state_dict": psp_state, "latent_avg": torch.zeros(W_DIM)}, tmp_path / "plain.pt")).model
    model = convert(save({"state_dict": psp_state, "latent_avg": start}, tmp_path / "psp.pt")).model
    ws = model.encode(picture())
    torch.testing.assert_close(ws, plain.encode(picture()) + start)
    assert ws.shape == (2, NUM_WS, W_DIM)
    torch.testing.assert_close(model.generator.w_avg, start.reshape(-1, W_DIM).mean(dim=0))


@pytest.mark.parametrize("options", [{"start_from_latent_avg": False}, None])
def test_codes_without_an_average(psp_state, tmp_path, options):
    """Then the original adds nothing, and the generator's own average is estimated."""
    contents = {"state_dict": psp_state} | ({"opts": options, "latent_avg": START} if options else {})
    converted = convert(save(contents, tmp_path / "psp.pt"))
    plain = convert(save({"state_dict": psp_state, "latent_avg": torch.zeros(W_DIM)}, tmp_path / "plain.pt")).model
    torch.testing.assert_close(converted.model.encode(picture()), plain.encode(picture()), rtol=1e-4, atol=1e-4)
    z = torch.randn(4000, W_DIM, generator=torch.Generator().manual_seed(77))
    mean, std = converted.generator.mapping(z).mean(dim=0), converted.generator.mapping(z).std(dim=0)
    assert ((converted.generator.w_avg - mean).abs() < 0.2 * std).all()
    assert "w_avg is the mean of 65536 random styles" in converted.report()


@pytest.mark.parametrize("head", ["psp", "e4e", "w", "naive_w_plus"])
def test_every_encoder(tmp_path, head):
    state = tiny_psp_state(head, channels=3)
    options = {"encoder_type": "Encoder4Editing", "stylegan_size": RESOLUTION} if head == "e4e" else {}
    rows = 1 if head == "w" else NUM_WS
    converted = convert(save({"state_dict": state, "latent_avg": START[:rows], "opts": options}, tmp_path / "a.pt"))
    encoder = converted.model.encoder
    assert encoder.config.head == head and converted.model.config.input_kind == "photo"
    plain = convert(
        save({"state_dict": state, "latent_avg": torch.zeros(rows, W_DIM), "opts": options}, tmp_path / "b.pt")
    )
    codes = plain.model.encode(picture(3))
    torch.testing.assert_close(converted.model.encode(picture(3)), codes + START[:rows])
    if head == "e4e":  # the deltas of the same weights, read as those of pSp
        psp = convert(save({"state_dict": state, "latent_avg": torch.zeros(W_DIM)}, tmp_path / "c.pt")).model
        styles = psp.encode(picture(3))
        torch.testing.assert_close(codes[:, 1:], styles[:, 1:] + styles[:, :1])
        torch.testing.assert_close(codes[:, 0], styles[:, 0])


@pytest.mark.parametrize(
    ("channels", "dataset_type", "task", "input_kind"),
    [
        (1, None, "sketch", "drawing"),
        (3, None, "inversion", "photo"),
        (19, None, "segmentation", "labels"),
        (1, "celebs_sketch_to_face", "sketch", "drawing"),
        (3, "celebs_super_resolution", "super-resolution", "photo"),
        (3, "ffhq_frontalize", "frontalization", "photo"),
        (3, "my_own", "inversion", "photo"),
    ],
)
def test_task(tmp_path, channels, dataset_type, task, input_kind):
    contents = {"state_dict": tiny_psp_state("w", channels), "latent_avg": START[:1]}
    if dataset_type:
        contents["opts"] = {"dataset_type": dataset_type, "learn_in_w": True}
    config = convert(save(contents, tmp_path / "psp.pt")).model.config
    assert (config.task, config.input_kind) == (task, input_kind)


def test_trunk_without_squeeze_excitation(tmp_path):
    state = tiny_psp_state("w", squeeze_excitation=False)
    converted = convert(save({"state_dict": state, "latent_avg": START[:1]}, tmp_path / "psp.pt"))
    assert converted.model.encoder.config.squeeze_excitation is False


@pytest.mark.parametrize("legacy", [False, True])
def test_save_and_load(psp_state, tmp_path, legacy):
    converted = convert(save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt", legacy))
    converted.save(tmp_path / "model")
    loaded = PSPModel.from_pretrained(tmp_path / "model")
    for part in ("encoder", "generator"):
        tensors, expected = getattr(loaded, part).state_dict(), getattr(converted.model, part).state_dict()
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], value) for name, value in expected.items())
    answer, expected = loaded(picture()), converted.model(picture())
    assert torch.equal(answer.ws, expected.ws)
    # Where a file puts a weight in memory decides how a product of it with one style is rounded.
    torch.testing.assert_close(answer.images, expected.images, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="exists already"):
        converted.save(tmp_path / "model")


def test_the_report_counts_every_tensor(psp_state, tmp_path):
    report = convert(save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt")).report()
    kernels = [name for name in psp_state if name.endswith("kernel")]
    assert f"mapped: {len(psp_state) - len(kernels) + 1} tensors" in report  # latent_avg is one too
    assert f"({len(kernels)} tensors)" in report
    assert "GradualStyleEncoder for sketch, 1 input channels, 10 styles; generator of 64 px" in report


def test_another_generator_may_take_its_place(psp_state, tmp_path, generator_state):
    other = convert(save({"g_ema": generator_state, "latent_avg": START[3]}, tmp_path / "g.pt")).generator
    path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt")
    converted = convert(path, generator=other)
    assert converted.generator is other
    torch.testing.assert_close(converted.model.encode(picture()), convert(path).model.encode(picture()))
    assert "another generator takes its place" in converted.report()


def test_a_generator_of_another_size_is_refused(psp_state, tmp_path, tiny_generator):
    path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt")
    with pytest.raises(ValueError, match=f"writes {NUM_WS} styles, the generator expects {tiny_generator.num_ws}"):
        convert(path, generator=tiny_generator)


# Generators alone


@torch.no_grad()
def test_generator_of_stylegan2_in_pytorch(generator_state, tmp_path):
    contents = {"g_ema": generator_state, "latent_avg": START[0], "g": {}, "d": {}}
    converted = convert(save(contents, tmp_path / "g.pt"))
    generator = converted.generator
    assert converted.model is None
    assert (generator.resolution, generator.num_ws, generator.w_dim) == (RESOLUTION, NUM_WS, W_DIM)
    assert torch.equal(generator.w_avg, START[0])
    converted.save(tmp_path / "generator")
    loaded = load_generator(tmp_path / "generator")
    torch.testing.assert_close(loaded.synthesis(START[None]), generator.synthesis(START[None]))


def test_nvidia_pickle_gives_the_same_generator(generator_state, tmp_path):
    path = save_nvidia(nvidia_tensors(generator_state), tmp_path / "ffhq.pkl")
    converted = convert(path)
    expected = convert(save({"g_ema": generator_state, "latent_avg": torch.zeros(W_DIM) + 0.25}, tmp_path / "g.pt"))
    for name, tensor in expected.generator.state_dict().items():
        assert torch.equal(converted.generator.state_dict()[name], tensor), name
    assert "StyleGAN2-ADA generator, 64 px" in converted.report()


def test_conditional_nvidia_generators_are_refused(generator_state, tmp_path):
    tensors = nvidia_tensors(generator_state) | {"mapping.embed.weight": torch.zeros(3, 3)}
    with pytest.raises(ValueError, match=r"class-conditional \(3 classes\)"):
        convert(save_nvidia(tensors, tmp_path / "conditional.pkl"))


def test_options_of_training_scripts_are_read(generator_state, psp_state, tmp_path):
    args = argparse.Namespace(size=RESOLUTION, lr=0.002)
    contents = {"g_ema": generator_state, "latent_avg": START[0], "args": args, "ada_aug_p": np.float64(0.3)}
    assert convert(save(contents, tmp_path / "g.pt")).generator.resolution == RESOLUTION
    options = argparse.Namespace(dataset_type="celebs_sketch_to_face", start_from_latent_avg=True)
    contents = {"state_dict": psp_state, "latent_avg": START, "opts": options, "best_val_loss": np.float32(0.5)}
    assert convert(save(contents, tmp_path / "psp.pt")).model.config.task == "sketch"


# The command


def test_command(psp_state, tmp_path, capsys):
    path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt")
    assert cli.main(["convert", str(path), str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert "found: GradualStyleEncoder for sketch" in said and f"{path} -> {tmp_path / 'model'}" in said
    expected = convert(path).model(picture())
    assert torch.equal(PSPModel.from_pretrained(tmp_path / "model")(picture()).ws, expected.ws)
    assert cli.main(["convert", str(path), str(tmp_path / "model")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main(["convert", str(tmp_path / "none.pt"), str(tmp_path / "other")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_command_with_another_generator(psp_state, tmp_path, generator_state, capsys):
    convert(save({"g_ema": generator_state, "latent_avg": START[3]}, tmp_path / "g.pt")).save(tmp_path / "generator")
    path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt")
    options = ["--generator", str(tmp_path / "generator")]
    assert cli.main(["convert", str(path), str(tmp_path / "model"), *options]) == 0
    assert "another generator takes its place" in capsys.readouterr().out
    loaded = PSPModel.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.generator.w_avg, START[3])


# Bad input


class RunsCode:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_a_file_that_holds_code_is_refused(tmp_path, monkeypatch, generator_state):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="evil.pt is not read: it names .*system.*any program"):
        convert(save({"state_dict": RunsCode()}, tmp_path / "evil.pt"))
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"G_ema": RunsCode()}))
    with pytest.raises(ValueError, match="evil.pkl is not read: it names .*system.*any program"):
        convert(tmp_path / "evil.pkl")
    with pytest.raises(ValueError, match="it names .*system"):  # beside a good network, too
        convert(save_nvidia(nvidia_tensors(generator_state), tmp_path / "beside.pkl", extra=RunsCode()))
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("attack", ["getattr", "eval", "torch.load", "object array"])
def test_malicious_pickles_are_refused(tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    program = {
        "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.",
        "eval": b'cbuiltins\neval\n(S\'open("hacked", "w")\'\ntR.',
        "torch.load": b"ctorch\nload\n(S'evil.pt'\ntR.",
        "object array": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI00\nI01\ntRS'x'\ntR.",
    }[attack]
    (tmp_path / "evil.pkl").write_bytes(program)
    with pytest.raises(ValueError, match="evil.pkl is not read"):
        convert(tmp_path / "evil.pkl")
    assert not (tmp_path / "hacked").exists()


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        convert(tmp_path / "none.pt")
    for contents, named in (
        ({"model": {}}, "model;"),
        ({}, "nothing;"),
        ([1, 2], "a list,"),
        ({"state_dict": {"conv.weight": START}}, "state_dict;"),
        ({"conv.weight": START}, "g_ema;"),
    ):
        with pytest.raises(ValueError, match=f"holds {named} expected a pSp or e4e checkpoint"):
            convert(save(contents, tmp_path / "other.pt"))
    for name in ("text.pt", "text.pkl"):
        (tmp_path / name).write_text("<html>Quota exceeded</html>")
        with pytest.raises(ValueError, match=f"{name} is a web page, saved under this name: download"):
            convert(tmp_path / name)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"state_dict": 5}, "state_dict in .*is a int"),
        ({"g_ema": [START]}, "g_ema in .*is a list"),
        ({"state_dict": {"encoder.x": "text"}}, "has str under 'encoder.x'"),
        ({"g_ema": {3: START}}, "has Tensor under 3"),
    ],
)
def test_what_holds_no_tensors_is_refused(tmp_path, contents, message):
    with pytest.raises(ValueError, match=f"{message}, expected tensors by name"):
        convert(save(contents, tmp_path / "odd.pt"))


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_files_are_refused(psp_state, tmp_path, legacy):
    path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt", legacy)
    whole = path.read_bytes()
    for part in (0, 100, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:part])
        with pytest.raises(ValueError, match="psp.pt is damaged"):
            convert(path)


def test_a_flipped_bit_is_found(psp_state, tmp_path):
    path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ValueError, match="psp.pt is damaged.* does not match its checksum"):
        convert(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.styles.3.linear.bias"), r"1 missing \(encoder.styles.3.linear.bias\)"),
        (lambda s: s.update({"encoder.extra": START}), r"1 without a place \(encoder.extra\)"),
        (lambda s: s.update({"encoder.latlayer1.bias": START}), r"encoder.latlayer1.bias \(10, 48\) for \(48,\)"),
        (lambda s: s.pop("decoder.conv1.conv.weight"), r"1 missing \(decoder.conv1.conv.weight\)"),
        (lambda s: s.update({"discriminator.x": START}), r"has a tensor discriminator.x"),
        (lambda s: s.pop("encoder.input_layer.0.weight"), r"has no tensor input_layer.0.weight"),
        (lambda s: s.pop("decoder.input.input"), r"has no tensor input.input"),
        (lambda s: s.update({"decoder.convs.0.conv.blur.kernel": torch.ones(4, 4)}), "blurs with another filter"),
        (lambda s: s.update({"encoder.input_layer.0.weight": torch.zeros(16, 6, 3, 3)}), "takes 6 channels"),
    ],
)
def test_what_does_not_fit_is_refused(psp_state, tmp_path, change, message):
    state = dict(psp_state)
    change(state)
    with pytest.raises(ValueError, match=message):
        convert(save({"state_dict": state, "latent_avg": START}, tmp_path / "psp.pt"))


def test_latent_avg_of_another_size_is_refused(psp_state, tmp_path):
    with pytest.raises(ValueError, match="latent_avg has 7 rows, expected 1 or 10"):
        convert(save({"state_dict": psp_state, "latent_avg": START[:7]}, tmp_path / "psp.pt"))


def test_nothing_is_left_of_a_save_on_a_full_disk(psp_state, tmp_path):
    converted = convert(save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pt"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # a file may not grow further
    try:
        with pytest.raises(Exception, match="(?i)file too large|write"):
            converted.save(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["psp.pt"]


# The original at its own size


def golden_state(head: str, channels: int) -> dict[str, Tensor]:
    """`state_dict` of an original at 256 px, filled by the formula; the decoder is the same for all encoders."""
    with torch.device("meta"):
        encoder = PSPEncoder(in_channels=channels, num_ws=14, **PSP | {"head": head})
    keys = {encoder_key(name, PSP["stage_depths"])[0]: t.shape for name, t in encoder.state_dict().items()}
    shapes = {key: shape for key, shape in GOLDEN_KEYS.items() if key.startswith("decoder.")}
    return fill_all(shapes | {f"encoder.{key}": shape for key, shape in keys.items()})


GOLDEN_KEYS = dict(json.loads((GOLDEN_FOLDER / "psp_gradual_256_keys.json").read_text()))


@pytest.mark.slow
@torch.no_grad()
def test_parity_with_the_original(tmp_path):
    """All 700 tensors of a pSp at 256 px, filled by the formula, against what the original code answered."""
    assert len(GOLDEN_KEYS) == 700
    contents = {"state_dict": fill_all(GOLDEN_KEYS), "latent_avg": latent_avg(14), "opts": {"output_size": 256}}
    converted = convert(save(contents, tmp_path / "psp.pt"))
    model, golden = converted.model, original_outputs()
    left = sum(key.endswith("kernel") for key in GOLDEN_KEYS)
    assert converted.mapped + left == 701  # latent_avg is not among the 700
    ws = model.encode(original_input(1))
    assert relative_error(ws - latent_avg(14), golden["gradual_256_sketch.codes"]) < 1e-4
    assert relative_error(model.decode(ws), golden["gradual_256_sketch.image"]) < 1e-4
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(11))
    w = model.generator.mapping(z)
    assert relative_error(w, golden["mapping.w"]) < 1e-4
    mixed = model.mix(ws, style=w[:1], groups=["fine"], strength=0.5)
    mixed[:, 7] = ws[:, 7]  # the golden mix begins at style 8
    assert relative_error(model.decode(mixed), golden["mix.image_256"]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head", "rows"), [("into_w_256_rgb", "w", 1), ("into_wplus_256_rgb", "naive_w_plus", 14)]
)
@torch.no_grad()
def test_parity_of_the_baselines(tmp_path, name, head, rows):
    contents = {"state_dict": golden_state(head, 3), "latent_avg": latent_avg(rows)}
    model, golden = convert(save(contents, tmp_path / "psp.pt")).model, original_outputs()
    output = model(original_input(3))
    codes = golden[f"{name}.codes"].reshape(1, rows, 512)
    assert relative_error(output.ws - latent_avg(rows), codes.expand(1, 14, 512)) < 1e-4
    assert relative_error(output.images, golden[f"{name}.image"]) < 1e-4
