"""psp_hub.conversion: checkpoints as people have them, and files that are taken for checkpoints."""

import argparse
import pickle
import zipfile
from collections import defaultdict
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from psp_hub.cli.main import main
from psp_hub.conversion import convert
from psp_hub.conversion.safe_pickle import read_torch
from psp_hub.generators import load_generator
from psp_hub.generators.stylegan2 import StyleGAN2
from tests.original_checkpoints import (
    NUM_WS,
    W_DIM,
    nvidia_tensors,
    save,
    save_nvidia,
    tiny_generator_state,
    tiny_psp_state,
)

START = torch.randn(1, W_DIM, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def psp_state() -> dict[str, Tensor]:
    return tiny_psp_state("w")


@pytest.fixture(scope="module")
def generator_state() -> dict[str, Tensor]:
    return tiny_generator_state()


@pytest.fixture(scope="module")
def expected(psp_state, tmp_path_factory) -> dict[str, Tensor]:
    """All weights of the model that the plain checkpoint becomes."""
    path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path_factory.mktemp("plain") / "psp.pt")
    return convert(path).model.state_dict()


def same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in expected)


# Names


def behind(part: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace(".", f".{part}.", 1): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: behind("module", state),
        lambda state: {name.replace("encoder.", "encoder.module."): tensor for name, tensor in state.items()},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in behind("_orig_mod", state).items()},
        lambda state: {f"model.net.{name}": tensor for name, tensor in state.items()},
    ],
    ids=["module.", "encoder.module.", "encoder.module. alone", "_orig_mod.", "both", "model.net."],
)
def test_wrapped_networks(psp_state, expected, tmp_path, wrap):
    path = save({"state_dict": wrap(psp_state), "latent_avg": START}, tmp_path / "psp.pt")
    assert same(convert(path).model.state_dict(), expected)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "G.", "generator.module."])
def test_wrapped_generators(generator_state, tmp_path, prefix):
    plain = convert(save({"g_ema": generator_state, "latent_avg": START}, tmp_path / "plain.pt")).generator
    wrapped = {f"{prefix}{name}": tensor for name, tensor in generator_state.items()}
    found = convert(save({"g_ema": wrapped, "latent_avg": START}, tmp_path / "g.pt")).generator
    assert same(found.state_dict(), plain.state_dict())


def test_weights_without_anything_around(psp_state, generator_state, expected, tmp_path):
    """And with the average among them."""
    path = save(psp_state | {"latent_avg": START}, tmp_path / "psp.pt")
    assert same(convert(path).model.state_dict(), expected)
    converted = convert(save(generator_state, tmp_path / "g.pt"))
    assert converted.model is None and "w_avg is the mean of" in converted.report()


def test_one_name_twice_is_refused(psp_state, tmp_path):
    twice = psp_state | {"module.encoder.linear.bias": torch.zeros(W_DIM)}
    with pytest.raises(ValueError, match="encoder.linear.bias and module.encoder.linear.bias are the same tensor's"):
        convert(save({"state_dict": twice}, tmp_path / "psp.pt"))


def test_half_precision(psp_state, expected, tmp_path):
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in psp_state.items()}
    state = convert(save({"state_dict": halved, "latent_avg": START.half()}, tmp_path / "psp.pt")).model.state_dict()
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype
        torch.testing.assert_close(state[name], tensor, rtol=2e-3, atol=2e-3)


# What else lies in the file


@pytest.mark.parametrize("average", [START.numpy(), START[0].double().numpy(), START[0].tolist()])
def test_an_average_that_is_no_tensor(psp_state, expected, tmp_path, average):
    path = save({"state_dict": psp_state, "latent_avg": average}, tmp_path / "psp.pt")
    assert same(convert(path).model.state_dict(), expected)


@pytest.mark.parametrize("legacy", [False, True])
def test_options_of_all_kinds(psp_state, expected, tmp_path, legacy):
    options = {
        "dataset_type": "celebs_sketch_to_face",
        "exp_dir": Path("/runs/sketch"),
        "here": PurePosixPath("a/b"),
        "there": PureWindowsPath("C:\\runs"),
        "lr": np.float64(1e-4),
        "steps": np.int64(5),
        "flag": np.bool_(True),
        "name": np.str_("psp"),
        "weights": np.arange(6.0).reshape(2, 3),
        "device": torch.device("cpu"),
    }
    losses = defaultdict(list)
    losses["l2"].append(0.5)
    contents = {"state_dict": psp_state, "latent_avg": START, "log": losses, "counts": defaultdict(int, {"a": 1})}
    for kept in (options, argparse.Namespace(**options), defaultdict(dict, options)):
        path = save(contents | {"opts": kept}, tmp_path / "psp.pt", legacy)
        converted = convert(path)
        assert converted.model.config.task == "sketch" and same(converted.model.state_dict(), expected)
    read = read_torch(path)
    assert read["log"] == {"l2": [0.5]} and read["counts"] == {"a": 1}
    assert str(read["opts"]["exp_dir"]) == "/runs/sketch" and str(read["opts"]["there"]) == "C:\\runs"
    assert read["opts"]["weights"].tolist() == [[0, 1, 2], [3, 4, 5]]


# Sizes


@pytest.mark.parametrize(("base", "most"), [(1024, 64), (512, 24), (16384, 24), (2048, 64)])
@torch.no_grad()
def test_narrow_generators(tmp_path, base, most):
    """StyleGAN2-ADA's `channel_base`: half as many channels or fewer, at 32 px, too."""
    channels = [min(base // size, most) for size in (4, 8, 16, 32, 64)]
    state = tiny_generator_state(channels=channels)
    converted = convert(save_nvidia(nvidia_tensors(state), tmp_path / "narrow.pkl"))
    assert converted.generator.synthesis.const.shape[1] == channels[0]
    assert [block.conv1.weight.shape[0] for block in converted.generator.synthesis.blocks] == channels[1:]
    plain = base == 16384
    assert (f"{', '.join(map(str, channels))} channels" in converted.report()) != plain
    converted.save(tmp_path / "generator")
    loaded = load_generator(tmp_path / "generator")
    ws = torch.randn(1, NUM_WS, W_DIM, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loaded.synthesis(ws), converted.generator.synthesis(ws))


def test_channels_that_do_not_fit_the_size():
    with pytest.raises(ValueError, match=r"channels are \[8, 8\], expected 5 numbers"):
        StyleGAN2(64, channels=[8, 8])


# What cannot be converted


def text(content: str):
    return lambda path: path.write_text(content)


def archive(*names: str, method: int = zipfile.ZIP_STORED):
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as file:
            for name in names:
                file.writestr(name, "x" * 99)

    return write


def tensorflow(path: Path) -> None:
    """Three networks, as the pickles of StyleGAN and StyleGAN2 have them."""
    network = b"cdnnlib.tflib.network\nNetwork\n)\x81}X\x04\x00\x00\x00nameX\x01\x00\x00\x00Gsb"
    path.write_bytes(b"\x80\x02" + network * 3 + b"\x87.")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "a.pt",
            text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
            "a Git LFS pointer.*lfs pull",
        ),
        ("a.pkl", text("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
        (
            "a.pt",
            text("<!DOCTYPE html><title>Quota exceeded</title>"),
            "a web page, saved under this name",
        ),
        ("a.pkl", text("\n <HTML><body>Sign in</body>"), "a web page"),
        ("a.pt", text('<?xml version="1.0"?><Error>AccessDenied</Error>'), "an answer of a server"),
        ("a.pt", text('{"error": "gated"}'), r"a text \(JSON\)"),
        ("a.pt", text('{ "error": "gated" }'), r"a text \(JSON\)"),
        ("a.pt", text("<!-- cached --><html>"), "a web page"),
        ("a.pt", Path.mkdir, "a folder, expected a checkpoint; a saved model is used as it is"),
        ("a.pt", lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "packed with gzip: unpack"),
        (
            "a.pt",
            lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)),
            "an HDF5 file of TensorFlow",
        ),
        ("a.pt", lambda path: save_file({"x": START}, path), "a safetensors file"),
        ("a.pt", archive("a/data.pkl", "a/constants.pkl"), "a TorchScript program"),
        ("a.pt", archive("psp.pt", "readme.txt"), "an archive with psp.pt, readme.txt: unpack it"),
        ("a.pt", archive("a/data.pkl", method=zipfile.ZIP_DEFLATED), "a/data.pkl in it is compressed"),
        ("a.pt", lambda path: path.touch(), "it is empty"),
        ("a.pt", text("just words"), "is damaged or not a PyTorch file"),
        ("a.pkl", text("just words"), "is damaged or not a pickle"),
        ("a.pkl", tensorflow, "a network of StyleGAN in TensorFlow. `legacy.py --source FILE"),
        ("a.pt", tensorflow, "a network of StyleGAN in TensorFlow"),
    ],
)
def test_what_is_no_checkpoint_is_called_by_its_name(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        convert(tmp_path / name)


def test_other_networks_are_called_by_their_names(generator_state, psp_state, tmp_path, capsys):
    tensors = nvidia_tensors(generator_state)
    mapping = {name: tensor for name, tensor in tensors.items() if name.startswith("mapping.")}
    third = mapping | {"synthesis.input.weight": START, "synthesis.L0_36_512.weight": START}
    for found, message in (
        (third, "the generator is a StyleGAN3, expected a StyleGAN2"),
        (tensors | {"mapping.embed.weight": torch.zeros(W_DIM, 10)}, r"is class-conditional \(10 classes\)"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(save_nvidia(found, tmp_path / "other.pkl"))
    first = {"progression.0.conv1.weight": START, "style.1.weight": START}
    with pytest.raises(ValueError, match="the generator is a StyleGAN, the first version"):
        convert(save({"g_ema": first}, tmp_path / "first.pt"))
    alone = {name: tensor for name, tensor in psp_state.items() if name.startswith("encoder.")}
    bare = {name.removeprefix("encoder."): tensor for name, tensor in alone.items()}
    for found in (bare, {"state_dict": alone, "latent_avg": START}):
        path = save(found, tmp_path / "encoder.pt")
        assert main(["convert", str(path), str(tmp_path / "model")]) == 2
        assert "holds an encoder and no generator: give the one that it was trained for with --generator" in (
            capsys.readouterr().err
        )
    other = convert(save({"g_ema": generator_state, "latent_avg": START}, tmp_path / "g.pt")).generator
    assert convert(path, generator=other).model is not None


def test_a_pickle_under_the_name_of_the_other_kind(generator_state, psp_state, expected, tmp_path):
    found = convert(save_nvidia(nvidia_tensors(generator_state), tmp_path / "ffhq.pt"))
    assert "StyleGAN2-ADA generator, 64 px" in found.report()
    for legacy in (False, True):
        path = save({"state_dict": psp_state, "latent_avg": START}, tmp_path / "psp.pkl", legacy)
        assert same(convert(path).model.state_dict(), expected)


# Files made to do harm


class Names:
    """Pickled as a call of something in a module."""

    def __init__(self, module: str, name: str, *arguments: object):
        self.call, self.arguments = f"c{module}\n{name}\n", arguments

    def write(self, path: Path) -> Path:
        """As the value of `opts` in a PyTorch file."""
        with zipfile.ZipFile(save({}, path)) as whole:
            parts = {name: whole.read(name) for name in whole.namelist()}
        body = pickle.dumps(self.arguments, 2)[2:-1]
        program = b"\x80\x02}X\x04\x00\x00\x00opts" + self.call.encode() + body + b"Rs."
        with zipfile.ZipFile(path, "w") as changed:
            for name, content in parts.items():
                changed.writestr(name, program if name.endswith("data.pkl") else content)
        return path


@pytest.mark.parametrize(
    "attack",
    [
        Names("os", "system", "touch hacked"),
        Names("builtins", "eval", "open('hacked', 'w')"),
        Names("builtins", "getattr", "a", "b"),
        Names("builtins", "open", "hacked", "w"),
        Names("pathlib", "Path.touch", "hacked"),
        Names("pathlib", "os.system", "touch hacked"),
        Names("collections", "namedtuple", "a", "b"),
        Names("numpy", "load", "evil.npy"),
        Names("functools", "partial", "a"),
        Names("argparse", "FileType", "w"),
        Names("types", "FunctionType", "a"),
    ],
    ids=lambda attack: attack.call.strip().replace("\n", "."),
)
def test_nothing_that_a_file_names_is_run(tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="evil.pt is (not read|damaged)"):
        convert(attack.write(tmp_path / "evil.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="odd.pt is not read"):
        convert(save({"opts": np.array([{}, None], dtype=object)}, tmp_path / "odd.pt"))
    with pytest.raises(ValueError, match="odd.pt is not read"):
        convert(save({"opts": np.zeros(3, "V8")}, tmp_path / "odd.pt"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"style.1.weight": torch.zeros(1).expand(10**5, 10**5)}), "and less data than that"),
        (lambda s: s.update({"style.999999999.weight": START}), "has the number 999999999, but there are only"),
        (lambda s: s.update({"convs.99999999999999.conv.weight": START}), "has the number 999999999"),
        (lambda s: s.update({"input.input": torch.zeros(())}), "tensors of impossible sizes"),
        (lambda s: s.update({"convs.0.conv.weight": torch.zeros(3)}), "tensors of impossible sizes"),
        (lambda s: s.update({"style.1.bias": torch.zeros(W_DIM).to_sparse()}), "of an unusual kind, style.1.bias"),
        (lambda s: s.update({"style.1.bias": torch.full((W_DIM,), torch.nan)}), "1 with values that are no numbers"),
        (lambda s: s.update({"conv1.conv.weight": torch.zeros(0)}), "1 of another shape"),
    ],
)
def test_tensors_made_to_do_harm(generator_state, tmp_path, change, message):
    state = dict(generator_state)
    change(state)
    with pytest.raises(ValueError, match=message):
        convert(save({"g_ema": state, "latent_avg": START}, tmp_path / "g.pt"))


@pytest.mark.parametrize(
    "average", [torch.zeros(7), torch.zeros(0), "text", {"a": 1}, torch.full((W_DIM,), torch.inf)]
)
def test_averages_that_are_none(generator_state, tmp_path, average):
    with pytest.raises(ValueError, match="latent_avg (is a|has shape)"):
        convert(save({"g_ema": generator_state, "latent_avg": average}, tmp_path / "g.pt"))


@pytest.mark.parametrize("options", ["text", 5, ["a"], {"dataset_type": ["x"]}, {3: 4}])
def test_options_that_are_none(psp_state, expected, tmp_path, options):
    path = save({"state_dict": psp_state, "latent_avg": START, "opts": options}, tmp_path / "psp.pt")
    assert same(convert(path).model.state_dict(), expected)


def test_a_network_that_holds_itself_is_refused(tmp_path):
    def word(text: str) -> bytes:
        return b"X" + len(text).to_bytes(4, "little") + text.encode()

    program = b"\x80\x02}" + word("G_ema") + b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}"
    program += word("class_name") + word("G") + b"s" + word("state") + b"}q\x02s\x85Rq\x03"
    program += b"h\x02" + word("_modules") + b"}" + word("a") + b"h\x03ss0s."
    (tmp_path / "loop.pkl").write_bytes(program)
    with pytest.raises(ValueError, match="nested too deeply"):
        convert(tmp_path / "loop.pkl")
