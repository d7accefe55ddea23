"""training.networks, recognisers, weights, perceptual and identity: networks that training looks through."""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from psp_hub.images.preprocessing import images_to_tensor
from tests.hub_client import CallError, HubClient
from tests.loopback_hub import LoopbackHub, Repo
from training.data.pairs import PairStore
from training.networks import identity
from training.networks.hed import EdgeDetector
from training.networks.identity import IdentityFromW, embed_all
from training.networks.mobilefacenet import FaceRecogniser
from training.networks.perceptual import PerceptualDistance, find_trunk
from training.networks.recognisers import load_recogniser
from training.networks.weights import read_weights
from training.recipes import fit_identity
from training.recipes.fit_identity import fit

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def images(portrait) -> torch.Tensor:
    return images_to_tensor([portrait(256, seed) for seed in range(3)])


@pytest.fixture(scope="module")
def detector(edge_detector_file) -> EdgeDetector:
    return EdgeDetector.from_file(edge_detector_file)


@pytest.fixture(scope="module")
def recogniser(recogniser_file) -> FaceRecogniser:
    return FaceRecogniser.from_file(recogniser_file)


@pytest.fixture(scope="module")
def distance(edge_detector_file) -> PerceptualDistance:
    return PerceptualDistance(edge_detector_file)


def is_frozen(network: torch.nn.Module) -> bool:
    return not network.training and not any(weight.requires_grad for weight in network.parameters())


# Edge detector and face recogniser


@pytest.mark.parametrize("name", ["edge_detector_file", "recogniser_file"])
def test_files_must_fit(name, request, tmp_path):
    cls = EdgeDetector if name == "edge_detector_file" else FaceRecogniser
    state = load_file(request.getfixturevalue(name))
    loaded = cls.from_file(request.getfixturevalue(name)).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    missing = next(key for key in state if key.endswith("weight"))
    save_file({key: value for key, value in state.items() if key != missing}, tmp_path / "missing.safetensors")
    with pytest.raises(RuntimeError, match=f"Missing key.*{missing}"):
        cls.from_file(tmp_path / "missing.safetensors")
    save_file(state | {"extra": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(RuntimeError, match="Unexpected key.*extra"):
        cls.from_file(tmp_path / "more.safetensors")


def test_networks_are_frozen(detector, recogniser, distance):
    assert is_frozen(detector) and is_frozen(recogniser) and is_frozen(distance)


def test_edge_detector_reads_half_precision(edge_detector_file, tmp_path):
    half = {key: value.half() for key, value in load_file(edge_detector_file).items()}
    save_file(half, tmp_path / "half.safetensors")
    assert EdgeDetector.from_file(tmp_path / "half.safetensors").fuse.weight.dtype == torch.float32


@pytest.mark.parametrize("size", [(64, 64), (50, 35)])
def test_edge_detector_gives_ink_of_the_pictures_size(detector, images, size):
    ink = detector(F.interpolate(images[:2], size))
    assert ink.shape == (2, 1, *size)
    assert 0 <= ink.min() < ink.max() <= 1


def test_edge_detector_is_what_the_paper_says(detector, images):
    """By torch's own pooling and numbering, one block after the other."""
    x = (F.interpolate(images[:1], 64) + 1) / 2
    x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    sides, names = [], iter((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
    for i, count in enumerate((2, 2, 3, 3, 3)):
        x = torch.nn.MaxPool2d(2)(x) if i else x
        for _ in range(count):
            x = detector.features[str(next(names))](x).relu()
        sides.append(torch.nn.Upsample(size=64, mode="bilinear")(detector.side[i](x)))
    fused = sum(weight * side for weight, side in zip(detector.fuse.weight[0], sides, strict=True))
    expected = torch.sigmoid(fused + detector.fuse.bias)
    torch.testing.assert_close(detector(F.interpolate(images[:1], 64)), expected)


def test_recogniser_gives_unit_vectors(recogniser, images):
    vectors = recogniser(images)
    assert vectors.shape == (3, 128)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


def test_recogniser_treats_each_picture_alone(recogniser, images):
    torch.testing.assert_close(recogniser(images)[1:2], recogniser(images[1:2]))


def test_recogniser_passes_gradients_to_the_picture(recogniser, images):
    picture = images[:1].clone().requires_grad_()
    recogniser(picture)[0, 0].backward()
    rows, columns = FaceRecogniser.CROP
    assert picture.grad[:, :, rows, columns].abs().max() > 0
    picture.grad[:, :, rows, columns] = 0
    assert picture.grad.abs().max() == 0  # the background does not count


# Perceptual distance


def test_perceptual_distance(distance, images):
    x, y = F.interpolate(images[:2], 64), F.interpolate(images[1:], 64)
    with torch.no_grad():
        assert torch.equal(distance(x, x), torch.zeros(2))
        there, back = distance(x, y), distance(y, x)
        near = distance(x, 0.9 * x + 0.1 * y)
    assert there.shape == (2,)
    torch.testing.assert_close(there, back)
    assert (near > 0).all() and (near < there).all()


def test_perceptual_distance_uses_the_given_trunk(distance, detector, images):
    """The first stage, by hand."""
    x = F.interpolate(images[:1], 64)
    features = distance.features(x)[0]
    scaled = (x - distance.shift) / distance.scale
    expected = detector.features["2"](detector.features["0"](scaled).relu()).relu()
    torch.testing.assert_close(features, expected)


def test_a_trunk_needs_all_convolutions(alex_file, tmp_path):
    state = load_file(alex_file)
    bias = state.pop("features.10.bias")
    save_file(state, tmp_path / "trunk.safetensors")
    with pytest.raises(ValueError, match=r"lacks \['features.10.bias'\], expected the convolutions of AlexNet"):
        PerceptualDistance(tmp_path / "trunk.safetensors", "alex")
    save_file(state | {"features.10.bias": bias[:-1]}, tmp_path / "trunk.safetensors")
    with pytest.raises(ValueError, match=r"features.10.bias is \[255\], expected \[256\]"):
        PerceptualDistance(tmp_path / "trunk.safetensors", "alex")


def learned_weights(net: str) -> list[torch.Tensor]:
    """Those of LPIPS v0.1, from the package's own file."""
    folder = Path(importlib.util.find_spec("lpips").origin).parent
    state = torch.load(folder / "weights" / "v0.1" / f"{net}.pth", map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"].double() for i in range(5)]


@pytest.mark.parametrize(
    ("net", "weighted"),
    [("alex", True), pytest.param("vgg", True, marks=slow), pytest.param("vgg", False, marks=slow)],
)
def test_lpips_against_the_formula(net, weighted, alex_file, edge_detector_file, images, tmp_path):
    """Equation 1 of Zhang et al., one image at a time in float64, by torch's own layers."""
    state = load_file(alex_file if net == "alex" else edge_detector_file)
    state = {name: value for name, value in state.items() if name.startswith("features")}
    save_file(state, tmp_path / "trunk.safetensors")
    x, y = (F.interpolate(part.double(), 48) for part in (images[:2], images[1:]))

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        image = (image - shift[:, None, None]) / scale[:, None, None]
        layers = []
        for i in sorted({int(name.split(".")[1]) for name in state}):
            if net == "alex" and i in (3, 6):
                image = F.max_pool2d(image, 3, 2)
            elif net == "vgg" and i in (5, 10, 17, 24):
                image = F.max_pool2d(image, 2)
            stride, padding = {("alex", 0): (4, 2), ("alex", 3): (1, 2)}.get((net, i), (1, 1))
            weight, bias = (state[f"features.{i}.{kind}"].double() for kind in ("weight", "bias"))
            image = F.conv2d(image, weight, bias, stride, padding).relu()
            if net == "alex" or i in (2, 7, 14, 21, 28):
                layers.append(image)
        return layers

    expected, heads = [], learned_weights(net) if weighted else [torch.ones(1, dtype=torch.float64)] * 5
    for a, b in zip(x.split(1), y.split(1), strict=True):
        total = 0.0
        for one, other, head in zip(features(a), features(b), heads, strict=True):
            one, other = (layer / layer.square().sum(dim=1, keepdim=True).sqrt() for layer in (one, other))
            total += (head.view(-1, 1, 1) * (one - other).square()).sum(dim=1).mean().item()
        expected.append(total)
    distance = PerceptualDistance(tmp_path / "trunk.safetensors", net, weighted).double()
    assert distance(x, y).tolist() == pytest.approx(expected, abs=1e-6, rel=1e-6)
    assert distance.name == ("lpips" if weighted else "perceptual")


def test_lpips_has_a_gradient_where_nothing_is_seen(alex_file):
    """The length of a feature vector of zeros has none, but the ReLU below it stops that."""
    distance = PerceptualDistance(alex_file, "alex", weighted=True)
    for name, value in distance.trunk.named_parameters():
        if name.endswith("bias"):
            value.fill_(-100)
    x = torch.zeros(1, 3, 64, 64, requires_grad=True)
    distance(x, torch.ones(1, 3, 64, 64)).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_learned_weights_do_not_go_with_another_trunk(edge_detector_file):
    with pytest.raises(ValueError, match=r"also has \['fuse', 'side'\].*--lpips_unweighted"):
        PerceptualDistance(edge_detector_file, "vgg", weighted=True)


def test_where_a_trunk_is_looked_for(tmp_path, monkeypatch, alex_file):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"weights of VGG16, and .* does not exist.*vgg16-397923af.*--lpips_trunk"):
        find_trunk("vgg")
    cached = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    cached.parent.mkdir(parents=True)
    torch.save(load_file(alex_file) | {"classifier.1.weight": torch.zeros(1)}, cached)
    assert find_trunk("alex") == cached
    assert find_trunk("alex", alex_file) == alex_file
    a, b = PerceptualDistance(cached, "alex", True), PerceptualDistance(alex_file, "alex", True)
    assert all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())
    with pytest.raises(ValueError, match="there is no file nothing.pth, expected one on this machine or owner/name"):
        find_trunk("alex", "nothing.pth")
    with pytest.raises(ValueError, match="unknown LPIPS trunk 'squeeze', expected one of alex, vgg"):
        find_trunk("squeeze")


# Weights and recognisers by file


def test_recogniser_is_told_by_its_keys(recogniser_file, images, tmp_path):
    expected = FaceRecogniser.from_file(recogniser_file)(images[:1])
    torch.save(load_file(recogniser_file), tmp_path / "net.pth")
    for path in (recogniser_file, tmp_path / "net.pth"):
        loaded = load_recogniser(path)
        assert is_frozen(loaded) and torch.equal(loaded.embed(images[:1]), expected)


def test_other_files_are_no_recogniser(recogniser_file, edge_detector_file, tmp_path):
    with pytest.raises(ValueError, match="begins with .*expected ArcFace IR-SE50 or MobileFaceNet"):
        load_recogniser(edge_detector_file)
    state = load_file(recogniser_file)
    save_file({key: value for key, value in state.items() if "linear1" not in key}, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="part.safetensors is not a face recogniser.*linear1"):
        load_recogniser(tmp_path / "part.safetensors")


def test_weights_that_cannot_be_read(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(ValueError, match="broken.safetensors cannot be read"):
        read_weights(tmp_path / "broken.safetensors")
    torch.save({"epoch": 3}, tmp_path / "more.pth")
    with pytest.raises(ValueError, match="more.pth is not a state dict"):
        read_weights(tmp_path / "more.pth")


@slow
def test_a_trunk_on_the_hub(alex_file, model_dir, tmp_path):
    """Named as owner/name/file; fetched once, at one commit."""
    with LoopbackHub() as hub, HubClient(hub.url, tmp_path / "home") as client:
        hub.repos["org/nets"] = Repo("org/nets")
        hub.repos["org/nets"].commit("main", {"trunks/alex.safetensors": alex_file.read_bytes()}, "trunk")
        script = (
            "from training.networks.perceptual import PerceptualDistance, find_trunk\n"
            "import torch\n"
            "distance = PerceptualDistance(find_trunk('alex', 'org/nets/trunks/alex.safetensors'), 'alex', True)\n"
            f"torch.save(distance.state_dict(), {str(tmp_path / 'loaded.pt')!r})"
        )
        client.run(script, str(model_dir))
        asked = len([request for request in hub.requests if "resolve" in request])
        client.run(script, str(model_dir))
        assert len([request for request in hub.requests if "resolve" in request]) == asked
        with pytest.raises(CallError, match="org/nets at commit .* has no file nothing.safetensors"):
            client.run(
                "from training.networks.weights import *; find_weights('org/nets/nothing.safetensors')", str(model_dir)
            )
    expected = PerceptualDistance(alex_file, "alex", weighted=True).state_dict()
    loaded = torch.load(tmp_path / "loaded.pt", weights_only=True)
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


# Identity from w


def test_identity_round_trip(tmp_path):
    torch.manual_seed(0)
    network = IdentityFromW(w_dim=12, embedding_dim=7)
    network.mean.normal_()
    network.std.uniform_(0.5, 2)
    save_file(network.state_dict(), tmp_path / "identity.safetensors")
    loaded = IdentityFromW.from_file(tmp_path / "identity.safetensors")
    w = torch.randn(5, 12)
    assert is_frozen(loaded)
    assert torch.equal(loaded(w), network.eval()(w))
    assert loaded(w).shape == (5, 7)
    torch.testing.assert_close(loaded(w).norm(dim=1), torch.ones(5))


def test_identity_file_must_fit(tmp_path):
    state = IdentityFromW(w_dim=12).state_dict()
    del state["layers.3.weight"]
    save_file(state, tmp_path / "identity.safetensors")
    with pytest.raises(RuntimeError, match="Missing key.*layers.3.weight"):
        IdentityFromW.from_file(tmp_path / "identity.safetensors")


def test_fit_learns_a_linear_map(monkeypatch):
    for name, value in {"STEPS": 150, "BATCH_SIZE": 64, "HELD_OUT": 100}.items():
        monkeypatch.setattr(fit_identity, name, value)
    for name, value in {"WIDTH": 128, "DROPOUT": 0.0}.items():
        monkeypatch.setattr(identity, name, value)
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(1000, 16, generator=rng) * torch.linspace(0.1, 3, 16) + 5
    target = F.normalize((w - 5) / torch.linspace(0.1, 3, 16) @ torch.randn(16, 8, generator=rng), dim=1)
    network, cosine = fit(w, target)
    assert cosine > 0.95
    assert not network.training
    with torch.no_grad():
        expected = (network(w[-100:]) * target[-100:]).sum(dim=1).mean().item()
    assert cosine == pytest.approx(expected, abs=1e-5)


def test_fit_does_not_look_at_the_held_out_pairs(monkeypatch):
    for name, value in {"STEPS": 10, "BATCH_SIZE": 8, "HELD_OUT": 20}.items():
        monkeypatch.setattr(fit_identity, name, value)
    monkeypatch.setattr(identity, "WIDTH", 16)
    w, target = torch.randn(60, 4), F.normalize(torch.randn(60, 3), dim=1)
    first = fit(w, target)[0].state_dict()
    target[-20:] *= -1
    second = fit(w, target)[0].state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_embed_all(recogniser, pairs_dir, images):
    store = PairStore([pairs_dir])
    vectors = embed_all(recogniser, torch.utils.data.Subset(store, range(3)))
    torch.testing.assert_close(vectors, torch.stack([recogniser(store[i][0][None])[0] for i in range(3)]))
    torch.testing.assert_close(embed_all(recogniser, list(images)), recogniser(images))
