"""training.data.pairs and the command training/recipes/make_pairs.py."""

import os
import queue
import re
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from psp_hub.generators import load_generator
from psp_hub.latents import random_z, style_indices
from training.data import pairs
from training.data.pairs import (
    PSI_RANGE,
    GeneratedPairs,
    PairStore,
    read_picture,
    read_tar,
    sample_pairs,
    sample_styles,
    shard_path,
    write_shard,
    write_tar,
)
from training.recipes import make_pairs

MAKE_PAIRS = Path(make_pairs.__file__)


def smooth_pictures(num: int) -> torch.Tensor:
    """Random pictures [num, 3, 256, 256] without detail, so that WebP loses little."""
    coarse = torch.rand(num, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=256, mode="bicubic").clamp(-1, 1)


@pytest.fixture
def store_of(tmp_path):
    """Function of a name and the indices of each shard: a folder of pairs whose w say which they are."""

    def make(name: str, *shards: list[int]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for shard, indices in enumerate(shards):
            w = torch.tensor(indices)[:, None] + torch.arange(4) / 4
            write_shard(folder, shard, smooth_pictures(len(indices)), w, indices)
        return folder

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Pairs


def test_pairs_depend_on_their_index_alone(tiny_generator):
    images, w = sample_pairs(tiny_generator, [7, 8, 42])
    assert images.shape == (3, 3, 256, 256) and w.shape == (3, 32)
    assert images.dtype == w.dtype == torch.float32
    for i, index in enumerate((7, 8, 42)):
        image, one_w = sample_pairs(tiny_generator, [index])
        torch.testing.assert_close(image[0], images[i])
        torch.testing.assert_close(one_w[0], w[i])
    assert not torch.allclose(w[0], w[1])


def test_pairs_are_truncated_faces_of_the_generator(tiny_generator):
    images, w = sample_pairs(tiny_generator, [5])
    full = tiny_generator.mapping(random_z(1, 32, seed=5))
    psi = ((w - tiny_generator.w_avg) / (full - tiny_generator.w_avg)).flatten()
    assert psi.std() < 1e-4 and PSI_RANGE[0] <= psi.mean() <= PSI_RANGE[1]
    with torch.no_grad():
        drawn = tiny_generator.synthesis(w[:, None].expand(-1, 8, -1))
    # 64 px become 256, smooth between the pixels.
    torch.testing.assert_close(images, F.interpolate(drawn, size=256, mode="bilinear").clamp(-1, 1))


def test_pairs_of_a_bfloat16_generator_are_float32(generator_dir):
    images, w = sample_pairs(load_generator(generator_dir).to(torch.bfloat16), [1])
    assert images.dtype == w.dtype == torch.float32
    assert images.abs().max() <= 1


def test_pairs_with_mixed_styles(tiny_generator):
    indices = list(range(30))
    w, ws = (sample_styles(tiny_generator, indices, share) for share in (0.0, 0.5))
    assert w.shape == (30, 32) and ws.shape == (30, 8, 32)
    assert torch.equal(ws[:, 0], w)
    groups = [style_indices([name], 8) for name in ("coarse", "medium", "fine")]
    for group in groups:
        assert torch.equal(ws[:, group], ws[:, group[:1]].expand(-1, len(group), -1))
    mixed = [row for row in range(30) if not torch.equal(ws[row], w[row].expand(8, -1))]
    assert 5 < len(mixed) < 25
    styles = torch.cat([ws[mixed, group[0]] for group in groups])
    assert len(styles.unique(dim=0)) == 3 * len(mixed)
    assert torch.allclose(sample_styles(tiny_generator, [mixed[0]], 0.5)[0], ws[mixed[0]], atol=1e-6)
    images, drawn_ws = sample_pairs(tiny_generator, indices[:4], 0.5)
    assert torch.allclose(drawn_ws, ws[:4], atol=1e-6)
    expected = F.interpolate(tiny_generator.synthesis(ws[:4]), size=256, mode="bilinear").clamp(-1, 1)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)


def test_quick_pairs(make_generator):
    generator = make_generator(channels=(8,) * 8, w_dim=16)  # 1024 px
    exact, quick = (sample_pairs(generator, [3], preview=preview) for preview in (False, True))
    assert torch.equal(exact[1], quick[1]) and quick[0].shape == (1, 3, 256, 256)
    with torch.no_grad():
        preview = generator.synthesis.preview(quick[1][:, None].expand(-1, 16, -1), 256)
    assert torch.equal(quick[0], preview.clamp(-1, 1))


# Store


def test_stores_with_mixed_styles(tmp_path, tiny_generator):
    for name, share in (("plain", 0.0), ("mixed", 0.9)):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name, 0, smooth_pictures(3), sample_styles(tiny_generator, [1, 2, 3], share), [1, 2, 3])
    store = PairStore([tmp_path / "plain", tmp_path / "mixed"])
    assert store.w_shape == (8, 32) and store[0][1].shape == store[4][1].shape == (8, 32)
    assert torch.equal(store[0][1], sample_styles(tiny_generator, [1])[0].half().float().expand(8, -1))
    assert torch.equal(store[4][1], sample_styles(tiny_generator, [2], 0.9)[0].half().float())
    with pytest.raises(ValueError, match="these pairs have mixed styles, expected faces with a single w"):
        _ = store.w
    assert PairStore([tmp_path / "plain"]).w.shape == (3, 32)
    (tmp_path / "other").mkdir()
    write_shard(tmp_path / "other", 0, smooth_pictures(1), torch.zeros(1, 16), [1])
    with pytest.raises(ValueError, match=r"w has shape \(16,\) in one store and \(8, 32\) in another"):
        PairStore([tmp_path / "mixed", tmp_path / "other"])


def test_round_trip(tmp_path, tiny_generator):
    indices = [30, 10, 20]
    images, w = smooth_pictures(3), sample_pairs(tiny_generator, indices)[1]
    write_shard(tmp_path, 0, images, w, indices)
    store = PairStore([tmp_path])
    assert len(store) == 3
    assert store.indices == indices
    assert store.store_ends == [3]
    for i in range(3):
        image, one_w = store[i]
        assert image.shape == (3, 256, 256) and image.dtype == one_w.dtype == torch.float32
        assert (image - images[i]).abs().mean() < 0.03  # WebP
        assert torch.equal(one_w, w[i].half().float())
    assert sorted(contents(tmp_path)) == ["images-000.tar", "w-000.safetensors"]


def test_several_shards_and_folders(store_of):
    first, second = store_of("a", [5, 6], [7]), store_of("b", [1, 2, 3])
    store = PairStore([first, str(second)])
    assert store.indices == [5, 6, 7, 1, 2, 3]
    assert store.store_ends == [3, 6]
    assert [int(store[i][1][0]) for i in range(6)] == store.indices
    assert torch.equal(store.w[:, 0].long(), torch.tensor(store.indices))


def test_one_w_file_may_serve_several_shards(store_of):
    folder = store_of("a", [1, 2], [3])
    parts = [load_file(path) for path in sorted(folder.glob("w*"))]
    for path in folder.glob("w*"):
        path.unlink()
    save_file({key: torch.cat([part[key] for part in parts]) for key in ("index", "w")}, folder / "w.safetensors")
    assert PairStore([folder]).indices == [1, 2, 3]


def test_unfinished_shards_are_ignored(store_of):
    folder = store_of("a", [1], [2], [3])
    shard_path(folder, 1).rename(folder / "images-001.tar.tmp")  # died while writing the pictures
    shard_path(folder, 2).unlink()  # died while writing w
    (folder / "w-002.safetensors").rename(folder / "w-002.safetensors.tmp")
    assert PairStore([folder]).indices == [1]


def test_write_tar_has_its_name_only_when_it_is_complete(tmp_path):
    def images():
        yield from pairs.tensor_to_images(smooth_pictures(1))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_tar(tmp_path / "images-000.tar", [1, 2], images(), 90)
    assert not (tmp_path / "images-000.tar").exists()
    write_tar(tmp_path / "images-000.tar", [1], pairs.tensor_to_images(smooth_pictures(1)), 90)
    assert list(contents(tmp_path)) == ["images-000.tar"]


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_nothing(generator_dir, tmp_path):
    """Of the shard that did not fit; the same command goes on when there is room again."""
    command = [sys.executable, str(MAKE_PAIRS), "--output_dir", str(tmp_path / "pairs")]
    command += ["--num_pairs", "2", "--generator", str(generator_dir), "--torch_dtype", "float32"]
    environment = os.environ | {"PYTHONPATH": str(MAKE_PAIRS.parents[2])}

    def run(largest_file: int) -> subprocess.CompletedProcess[str]:
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
        options = {"env": environment, "capture_output": True, "text": True, "preexec_fn": limit}
        return subprocess.run(command, **options, check=False)

    full = run(1000)
    assert full.returncode == 1 and "make_pairs.py: [Errno 27] File too large" in full.stderr, full.stderr
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "pairs").glob(".*")) and not list((tmp_path / "pairs").glob("*.tar"))
    (tmp_path / "pairs" / f".psp-hub-{socket.gethostname()}-{2**22 + 1}-killed").touch()
    assert run(10**8).returncode == 0
    assert sorted(path.name for path in (tmp_path / "pairs").iterdir()) == ["images-000.tar", "w-000.safetensors"]


def test_read_tar_finds_each_picture(tmp_path):
    images = pairs.tensor_to_images(smooth_pictures(3))
    write_tar(tmp_path / "x.tar", [9, 4, 6], images, 90)
    positions = read_tar(tmp_path / "x.tar")
    assert list(positions) == [9, 4, 6]
    with tarfile.open(tmp_path / "x.tar") as tar:
        for index, position in positions.items():
            member = tar.extractfile(f"{index}.webp").read()
            assert (tmp_path / "x.tar").read_bytes()[position[0] : sum(position)] == member
    difference = np.asarray(read_picture(tmp_path / "x.tar", *positions[4]), float) - np.asarray(images[1], float)
    assert np.abs(difference).mean() < 4


def test_image_without_w_is_refused(store_of):
    folder = store_of("a", [1], [2])
    (folder / "w-001.safetensors").unlink()
    with pytest.raises(ValueError, match="images-001.tar: image 2 has no w"):
        PairStore([folder])


@pytest.mark.parametrize("name", ["images-001.tar", "w-001.safetensors"])
@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: b"no store", lambda c: c[: len(c) // 4], lambda c: c[99:]]
)
def test_damaged_stores_are_named(store_of, name, damage):
    """A tar file that ends in a picture was only found out when that was trained on."""
    path = store_of("a", [1], [2]) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        ValueError, match=f"{name} (is damaged, or|ends in the middle)|images-001.tar: image 2 has no w"
    ):
        PairStore([path.parent])


def test_empty_folder_is_refused(store_of, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no pairs"):
        PairStore([store_of("a", [1]), tmp_path / "empty"])


# The command


def arguments(output_dir: Path, generator_dir: Path, *more: str) -> list[str]:
    return ["--output_dir", str(output_dir), "--generator", str(generator_dir), *more]


@pytest.mark.parametrize(("num_pairs", "batch_size"), [("11", "3"), ("8", "4"), ("3", "5")])
def test_shards_hold_exactly_num_pairs(tmp_path, generator_dir, monkeypatch, num_pairs, batch_size):
    monkeypatch.setattr(make_pairs, "SHARD_SIZE", 4)
    options = ["--num_pairs", num_pairs, "--batch_size", batch_size, "--torch_dtype", "float32"]
    args = make_pairs.parse_args(arguments(tmp_path, generator_dir, *options))
    done = queue.Queue()
    make_pairs.make_shards(args, list(range(-(-args.num_pairs // 4))), done)
    store = PairStore([tmp_path])
    assert store.indices == [1_000_000 + i for i in range(args.num_pairs)]
    assert sum(done.get() for _ in range(done.qsize())) == args.num_pairs
    for i in (0, len(store) - 1):
        expected = sample_pairs(load_generator(generator_dir), [store.indices[i]])[1][0]
        torch.testing.assert_close(store[i][1], expected, atol=2e-3, rtol=2e-3)


@pytest.mark.slow
def test_the_styles_of_another_store_are_drawn(tmp_path, generator_dir):
    """`--styles_dir`: the same styles and indices, as far as they go, and the pictures that belong to them."""
    generator = load_generator(generator_dir)
    images, ws = sample_pairs(generator, list(range(5)), mixed_share=1.0)
    (tmp_path / "read").mkdir()
    write_shard(tmp_path / "read", 0, torch.zeros_like(images), ws, [7, 3, 9, 8, 2])
    options = ["--styles_dir", str(tmp_path / "read"), "--torch_dtype", "float32", "--batch_size", "3"]
    make_pairs.main(make_pairs.parse_args(arguments(tmp_path / "drawn", generator_dir, *options)))
    store = PairStore([tmp_path / "drawn"])
    assert store.indices == [7, 3, 9, 8, 2]
    for i, (image, styles) in enumerate(store):
        assert torch.equal(styles, ws[i].half().float())
        distances = (images - image).abs().mean(dim=(1, 2, 3))  # [5], not zero: WebP
        assert distances.argmin() == i and distances[i] < 0.1


def test_styles_of_a_store_are_neither_mixed_nor_overwritten(tmp_path, generator_dir):
    same = ["--styles_dir", str(tmp_path / "read")]
    with pytest.raises(SystemExit):
        make_pairs.parse_args(arguments(tmp_path / "read", generator_dir, *same))
    with pytest.raises(SystemExit):
        make_pairs.parse_args(arguments(tmp_path / "new", generator_dir, *same, "--mixed_share", "0.5"))


@pytest.mark.slow
def test_two_processes_and_resuming_write_identical_files(tmp_path, generator_dir):
    options = ["--num_pairs", "502", "--num_processes", "2", "--batch_size", "50"]  # one full shard, and two pairs
    args = make_pairs.parse_args(arguments(tmp_path, generator_dir, *options))
    make_pairs.main(args)
    whole = contents(tmp_path)
    assert sorted(whole) == ["images-000.tar", "images-001.tar", "w-000.safetensors", "w-001.safetensors"]
    assert PairStore([tmp_path]).indices == [1_000_000 + i for i in range(502)]
    shard_path(tmp_path, 1).unlink()
    (tmp_path / "w-001.safetensors").write_bytes(b"half of a fi")
    (tmp_path / f".psp-hub-{socket.gethostname()}-{2**22 + 1}-killed").write_bytes(b"half of a fi")
    make_pairs.main(args)
    assert contents(tmp_path) == whole


@pytest.mark.slow
def test_a_store_may_grow(tmp_path, generator_dir, monkeypatch):
    """The last shard of a smaller store is too short for the larger one."""
    monkeypatch.setattr(make_pairs, "SHARD_SIZE", 4)
    for num_pairs in (6, 10):
        words = ["--output_dir", str(tmp_path), "--num_pairs", str(num_pairs), "--generator", str(generator_dir)]
        args = make_pairs.parse_args(words)
        missing = [shard for shard in range(-(-num_pairs // 4)) if not args.is_complete(shard)]
        make_pairs.make_shards(args, missing, queue.Queue())
    assert missing == [1, 2]
    assert len(PairStore([tmp_path])) == 10


@pytest.mark.slow
def test_a_worker_that_fails_ends_the_command(tmp_path, generator_dir):
    options = ["--num_pairs", "4", "--num_processes", "2", "--device", "nonsense"]
    with pytest.raises(SystemExit, match="a worker failed.*again to go on"):
        make_pairs.main(make_pairs.parse_args(arguments(tmp_path, generator_dir, *options)))


@pytest.mark.slow
def test_a_worker_that_fails_to_write_ends_the_command(tmp_path, generator_dir):
    """By then all pairs are drawn and counted."""
    (tmp_path / "w-000.safetensors").mkdir()
    with pytest.raises(SystemExit, match="a worker failed.*again to go on"):
        make_pairs.main(make_pairs.parse_args(arguments(tmp_path, generator_dir, "--num_pairs", "4")))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_no_worker_survives_the_command(tmp_path, generator_dir, name):
    command = [sys.executable, str(MAKE_PAIRS), *arguments(tmp_path / "pairs", generator_dir)]
    with open(tmp_path / "log", "w+") as log:
        process = subprocess.Popen([*command, "--num_pairs", "99999", "--num_processes", "2"], stderr=log)
        workers = []
        try:
            deadline = time.monotonic() + 200
            while not re.search(r" [1-9]\d*/99999", (tmp_path / "log").read_text()):  # pairs are being made
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
            workers = psutil.Process(process.pid).children(recursive=True)
            assert len(workers) >= 2
            process.send_signal(getattr(signal, name))
            assert process.wait(timeout=60) != 0
            assert psutil.wait_procs(workers, timeout=60)[1] == []
        finally:
            for worker in workers:
                if worker.is_running():
                    worker.kill()
            process.kill()
            process.wait()


def test_generated_pairs_are_those_of_their_indices(tiny_generator):
    pairs = GeneratedPairs(tiny_generator, 10, first_index=50)
    images, w = sample_pairs(tiny_generator, [53, 57])
    many = pairs.get_many([3, 7])
    assert len(pairs) == 10 and pairs.store_ends == [10] and list(pairs.indices) == list(range(50, 60))
    for item, image, style in zip(many, images, w, strict=True):
        assert torch.equal(item[0], image) and torch.equal(item[1], style)
    torch.testing.assert_close(pairs[7][0], many[1][0])
    assert pairs.w_shape == (tiny_generator.w_dim,)
