"""psp_hub.latents_file: faces written to a file and read again."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from psp_hub.latents_file import FORMAT, VERSION, load_latents, save_latents


@pytest.fixture
def ws():
    return torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(ws, tiny_generator, tmp_path):
    """A file for the tiny generator."""
    path = tmp_path / "faces.safetensors"
    save_latents(path, ws, generator="tiny", task="sketch", w_avg=tiny_generator.w_avg, seed="7")
    return path


def test_what_is_read_is_what_was_written(saved, ws, tiny_generator):
    for generator in (None, "tiny", tiny_generator):
        latents = load_latents(saved, generator)
        assert torch.equal(latents.ws, ws) and latents.ws.dtype == torch.float32
        told = {"format": FORMAT, "version": VERSION, "generator": "tiny", "task": "sketch", "seed": "7"}
        assert latents.metadata == told
    assert torch.equal(tiny_generator.synthesis(latents.ws), tiny_generator.synthesis(ws))


def test_one_face_half_precision_and_strides(tmp_path, ws):
    path = tmp_path / "FACE.SafeTensors"
    save_latents(path, ws[0], generator=None, task=None)
    latents = load_latents(path)
    assert torch.equal(latents.ws, ws[:1]) and latents.metadata == {"format": FORMAT, "version": VERSION}
    half = ws.half().transpose(1, 2).requires_grad_(True)
    save_latents(path, half, generator=None, task=None)
    assert torch.equal(load_latents(path).ws.half(), half)


def test_the_file_is_whole_readable_and_alone(saved, ws, tmp_path):
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o666 & ~mask
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="numbers that no face has"):
        save_latents(saved, ws * torch.nan, generator="tiny", task=None)
    assert saved.read_bytes() == before and os.listdir(tmp_path) == [saved.name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "face.png"}, "expected a name that ends in .safetensors"),
        ({"ws": torch.zeros(8)}, "styles are shape .8,. of torch.float32, expected .1 to 10000, num_ws, w_dim."),
        ({"ws": torch.zeros(0, 8, 32)}, "styles are shape .0, 8, 32."),
        ({"ws": torch.full((1, 8, 32), 1e6)}, "above 10000"),
        ({"w_avg": torch.zeros(31)}, "w_avg has shape .31,., expected .32."),
        ({"seed": 7}, "notes seed cannot be saved, expected strings"),
        ({"format": "mine"}, "notes format cannot be saved"),
    ],
)
def test_what_cannot_be_saved(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    arguments = {"path": "face.safetensors", "ws": torch.zeros(1, 8, 32), "generator": None, "task": None} | change
    with pytest.raises(ValueError, match=message):
        save_latents(**arguments)
    assert os.listdir() == []


def test_another_generators_file(saved, ws, tiny_generator, make_generator, tmp_path):
    with pytest.raises(ValueError, match="faces.safetensors is for the generator tiny, expected one for other"):
        load_latents(saved, "other")
    with pytest.raises(ValueError, match="for the generator tiny: its styles are 8 x 32, expected 8 x 16"):
        load_latents(saved, make_generator(channels=(16, 16, 16, 16), w_dim=16))
    tiny_generator.w_avg.mul_(-1)
    with pytest.raises(ValueError, match="for the generator tiny, not for this one"):
        load_latents(saved, tiny_generator)
    save_latents(tmp_path / "unknown.safetensors", ws, generator=None, task=None)
    assert load_latents(tmp_path / "unknown.safetensors", "other").ws.equal(ws)
    assert load_latents(tmp_path / "unknown.safetensors", tiny_generator).ws.equal(ws)


def test_the_same_generator_in_another_precision(saved, tiny_generator):
    assert load_latents(saved, tiny_generator.bfloat16()).ws.shape == (2, 8, 32)


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"ws": torch.zeros(1, 8, 32)}, None, "file.safetensors does not hold faces"),
        ({"ws": torch.zeros(1, 8, 32)}, {"format": "pt"}, "does not hold faces"),
        ({"w": torch.zeros(1, 8, 32)}, {}, "the styles are none"),
        ({"ws": torch.zeros(8, 32)}, {}, "styles are shape .8, 32."),
        ({"ws": torch.zeros(1, 8, 32, dtype=torch.int64)}, {}, "of torch.int64"),
        ({"ws": torch.full((1, 8, 32), torch.inf)}, {}, "numbers that no face has"),
        ({"ws": torch.zeros(1, 8, 32), "w_avg": torch.full((32,), torch.nan)}, {}, "numbers that no face has"),
        ({"ws": torch.zeros(1, 8, 32)}, {"version": "2"}, "version 2 of the format, this psp-hub reads 1: update"),
    ],
)
def test_other_safetensors(tmp_path, tensors, metadata, message):
    path = tmp_path / "file.safetensors"
    if metadata is not None:
        metadata = {"format": FORMAT, "version": VERSION} | metadata
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=message):
        load_latents(path)


def test_other_files(saved, tmp_path):
    whole = saved.read_bytes()
    contents = {"empty": b"", "text": b"a face", "cut": whole[:-1], "header": b"\xff" * 8 + whole[8:]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not a file of latents, or it is damaged"):
            load_latents(tmp_path / name)
    with pytest.raises(ValueError, match="missing cannot be opened: No such file"):
        load_latents(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is not a file of latents, but"):
        load_latents(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is not a file of latents"):
        load_latents(tmp_path)  # a folder
    with open(tmp_path / "huge", "wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(ValueError, match="expected at most 1,073,741,824"):
        load_latents(tmp_path / "huge")
