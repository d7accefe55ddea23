"""psp_hub.cli.commands: `psp-hub translate` for every task, refined and saved; `psp-hub decode`."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from psp_hub import PSPConfig, PSPModel, load_latents, save_latents
from psp_hub.alignment.cut_out import cut_out
from psp_hub.alignment.faces import align_face, find_faces
from psp_hub.demo.photo.crops import read_crop
from psp_hub.generators import load_generator
from psp_hub.images.masks import with_hole
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.latents import random_z, truncate
from psp_hub.mixing import mix
from psp_hub.model_names import STARTERS
from tests.documents import blocks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models(generator_dir, make_encoder, tmp_path_factory):
    """Function of a task: a saved tiny model with the generator of `generator_dir`."""
    kinds = {"sketch": ("drawing", 1), "inpainting": ("masked", 4)}
    folder = tmp_path_factory.mktemp("models")

    def save(task: str) -> Path:
        if not (folder / task).exists():
            kind, channels = kinds.get(task, ("photo", 3))
            encoder = make_encoder(in_channels=channels)
            PSPModel(encoder, load_generator(generator_dir), PSPConfig(task, kind)).save_pretrained(folder / task)
        return folder / task

    return save


@pytest.fixture
def run(psp_hub):
    return psp_hub


@pytest.fixture
def photo(portrait, tmp_path) -> Path:
    portrait(100, 1).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def mask(tmp_path) -> Path:
    """White where the eyes are."""
    image = Image.new("L", (200, 200))
    ImageDraw.Draw(image).rectangle((60, 70, 140, 110), fill=255)
    (tmp_path / "masks").mkdir()
    image.save(tmp_path / "masks" / "photo.webp", lossless=True)
    return tmp_path / "masks" / "photo.webp"


def pixels(image: Path | Image.Image) -> np.ndarray:
    return np.asarray(Image.open(image) if isinstance(image, Path) else image)


def drawn(model: PSPModel, ws: torch.Tensor) -> list[np.ndarray]:
    return [np.asarray(image) for image in tensor_to_images(model.decode(ws))]


# Every task


@pytest.mark.parametrize("task", ["inversion", "super-resolution", "frontalization"])
def test_photos(run, models, photo, tmp_path, task):
    model = PSPModel.from_pretrained(models(task))
    typed = ["--refine", 0] if task == "super-resolution" else ["--no-align"]  # small pictures are taken as they are
    assert run("translate", photo, "-o", tmp_path / "face.png", "--model", models(task), *typed)[0] == 0
    assert np.array_equal(pixels(tmp_path / "face.png"), pixels(model(Image.open(photo)).images[0]))


def test_a_part_is_filled_in(run, models, photo, mask, tmp_path):
    picture, holes = Image.open(photo), Image.open(mask)
    with_hole(picture, holes).save(tmp_path / "holed.png")
    expected = pixels(PSPModel.from_pretrained(models("inpainting"))(Image.open(tmp_path / "holed.png")).images[0])
    typed = ["--model", models("inpainting"), "--no-align", "-o"]
    for i, given in enumerate(([photo, "--mask", mask], [photo, "--mask", mask.parent], [tmp_path / "holed.png"])):
        code, _, err = run("translate", *given, *typed, tmp_path / f"{i}.png")
        assert (code, err) == (0, "")
        assert np.array_equal(pixels(tmp_path / f"{i}.png"), expected)
    code, _, err = run("translate", photo, *typed, tmp_path / "x.png")
    assert code == 1 and "nothing of this picture" in err


def scene(face: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """A photo of this size, in which a face fills this box."""
    picture = Image.new("RGB", size, (90, 120, 60))
    picture.paste(face.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC), box[:2])
    return picture


@pytest.mark.slow
@pytest.mark.parametrize("task", ["inversion", "super-resolution", "inpainting"])
def test_whole_photos_are_cut_out_as_on_the_page(run, models, tmp_path, task):
    """Nothing is stretched, and a mask goes where its face goes."""
    small = task == "super-resolution"
    size, box = ((48, 64), (0, 8, 48, 56)) if small else ((480, 640), (140, 200, 360, 420))
    photo = scene(Image.open(STARTERS / "inversion/examples/woman.png"), size, box)
    photo.save(tmp_path / "photo.png")
    typed, mask, mask_path = [], None, None
    if task == "inpainting":
        mask = Image.new("RGBA", (240, 320))
        ImageDraw.Draw(mask).ellipse((105, 135, 145, 165), fill="red")
        mask.save(mask_path := tmp_path / "mask.png")
        typed = ["--mask", mask_path]
    crop = read_crop(str(tmp_path / "photo.png"), task, mask_path and str(mask_path))
    (cut,) = cut_out(photo, small=small, masked=mask is not None, mask=mask)
    side = cut.image.size
    assert side[0] == side[1]
    assert np.abs(pixels(crop.image.resize(side)).astype(int) - pixels(cut.image)).mean() < 3, "the same square"
    if mask is not None:
        same = pixels(crop.missing.resize(side, Image.Resampling.NEAREST)) == pixels(cut.missing)
        assert same.mean() > 0.99 and 0.01 < (pixels(cut.missing) > 0).mean() < 0.2
    model = PSPModel.from_pretrained(models(task))
    typed += ["--model", models(task), "-o", tmp_path / "face.png", *(["--refine", 0] if small else [])]
    assert run("translate", tmp_path / "photo.png", *typed)[::2] == (0, "")
    assert np.array_equal(pixels(tmp_path / "face.png"), pixels(model(cut.seen).images[0]))
    _, _, err = run("translate", tmp_path / "photo.png", *typed, "--no-align")
    assert f"{size[0]} x {size[1]} pixels are stretched to a square" in err


@pytest.mark.slow
def test_a_photo_without_a_face(run, models, tmp_path):
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "sky.png")
    code, out, err = run(
        "translate", tmp_path / "sky.png", "-o", tmp_path / "face.png", "--model", models("inversion")
    )
    assert (code, out) == (1, "")
    assert "No face was found" in err and "--no-align" in err
    assert not (tmp_path / "face.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["inversion", "super-resolution"])
def test_the_largest_face_is_cut_out(run, models, tmp_path, task):
    crowd = Image.new("RGB", (900, 500), "grey")
    for name, size, corner in (("woman", 220, (100, 150)), ("child", 150, (600, 100))):
        crowd.paste(Image.open(STARTERS / f"inversion/examples/{name}.png").resize((size, size)), corner)
    crowd.save(tmp_path / "crowd.png")
    faces = find_faces(crowd)
    assert len(faces) == 2 and faces[0].points[0, 0] < 400
    size = 256 if task == "inversion" else round(faces[0].side)
    expected = PSPModel.from_pretrained(models(task))(align_face(crowd, faces[0], size).image).images[0]
    typed = ["--align", "--refine", 0] if task == "super-resolution" else []
    code, _, err = run(
        "translate", tmp_path / "crowd.png", "-o", tmp_path / "face.png", "--model", models(task), *typed
    )
    assert code == 0 and "There are 2 faces in this photo: the largest one is used." in err
    assert np.array_equal(pixels(tmp_path / "face.png"), pixels(expected))


# Refinement


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "typed", "options"),
    [
        ("inversion", ["--no-align"], {}),
        ("super-resolution", [], {}),
        ("super-resolution", ["--factor", "8"], {"factor": 8}),
    ],
)
def test_refined(run, models, photo, tmp_path, task, typed, options):
    model, picture = PSPModel.from_pretrained(models(task)), Image.open(photo)
    target = tmp_path / "face.png"
    assert run("translate", photo, "-o", target, "--refine", 2, "--model", models(task), *typed)[0] == 0
    ws = model.refine(picture, steps=2, **options)
    assert np.array_equal(pixels(target), drawn(model, ws)[0])
    assert not np.array_equal(pixels(target), pixels(model(picture).images[0]))


@pytest.mark.usefixtures("few_refinement_steps")
def test_what_is_small_is_refined_unless_it_is_said_otherwise(run, models, photo, tmp_path):
    model, picture = PSPModel.from_pretrained(models("super-resolution")), Image.open(photo)
    typed = ("translate", photo, "--model", models("super-resolution"), "-o")
    assert run(*typed, tmp_path / "refined.png")[0] == run(*typed, tmp_path / "quick.png", "--refine", 0)[0] == 0
    assert np.array_equal(pixels(tmp_path / "refined.png"), drawn(model, model.refine(picture))[0])
    assert np.array_equal(pixels(tmp_path / "quick.png"), pixels(model(picture).images[0]))


# Latents


def test_saved_latents_are_drawn_again(run, models, generator_dir, photo, tmp_path):
    typed = ["--no-align", "--seed", 3, "--variations", 2, "--strength", 0.7, "--truncation-psi", 0.8]
    saved = run("translate", photo, "-o", tmp_path / "x.png", "--model", models("inversion"), "--save-latents", *typed)
    assert saved[0] == 0 and saved[1].count("->") == 2
    for i in range(2):
        source, target = tmp_path / f"x-{i}.safetensors", tmp_path / f"again-{i}.png"
        assert run("decode", source, "-o", target, "--generator", generator_dir) == (0, f"{source} -> {target}\n", "")
        assert np.array_equal(pixels(target), pixels(tmp_path / f"x-{i}.png"))
    found = load_latents(tmp_path / "x-1.safetensors", load_generator(generator_dir))
    assert found.metadata["task"] == "inversion" and found.metadata["seed"] == "4"


def test_latents_of_several_faces_mixed_and_truncated(run, models, generator_dir, tmp_path):
    model = PSPModel.from_pretrained(models("inversion"))
    faces = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(0))
    save_latents(tmp_path / "in.safetensors", faces, generator=None, task="inversion")
    typed = ["--generator", generator_dir, "--truncation-psi", 0.5]
    assert run("decode", tmp_path / "in.safetensors", "-o", tmp_path / "a.png", *typed)[0] == 0
    truncated = truncate(faces, model.generator.w_avg, 0.5)
    for i in range(2):
        assert np.array_equal(pixels(tmp_path / f"a-{i}.png"), drawn(model, truncated[i : i + 1])[0])
    typed += ["--seed", 5, "--variations", 2, "--strength", 0.5]
    assert run("decode", tmp_path / "in.safetensors", "-o", tmp_path / "b.png", *typed)[0] == 0
    for i in range(4):
        face, seed = truncated[i // 2][None], 5 + i % 2
        expected = model.mix(face, seed=seed, groups=["fine"], strength=0.5)
        assert np.array_equal(pixels(tmp_path / f"b-{i}.png"), drawn(model, expected)[0])
    style = model.generator.mapping(random_z(1, 32, 5), truncation_psi=0.7)
    assert torch.equal(model.mix(face, seed=5, groups=["fine"]), mix(face, style, [7]))


def test_a_folder_of_latents(run, generator_dir, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(2):
        save_latents(folder / f"{i}.safetensors", torch.randn(8, 32), generator="mine", task=None)
    save_latents(folder / "other.safetensors", torch.randn(8, 16), generator="mine", task=None)
    (folder / "broken.safetensors").write_bytes(b"")
    code, out, err = run("decode", folder, "-o", tmp_path / "out", "--generator", generator_dir)
    assert code == 1 and len(out.splitlines()) == 2
    broken, other, summary = err.splitlines()
    assert "broken.safetensors is not a file of latents" in broken
    assert "its styles are 8 x 16, expected 8 x 32" in other
    assert summary == "psp-hub: 2 of 4 files failed"
    code, _, err = run("decode", folder / "0.safetensors", "-o", tmp_path / "x.png")
    assert code == 1 and "it is for the generator mine; give that with --generator" in err


# Refused before any work


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("sketch", ["--refine", "2"], "sketch cannot be refined"),
        ("frontalization", ["--refine", "2"], "frontalization cannot be refined"),
        ("inversion", ["--refine", "-1"], "got -1, expected 0 to"),
        ("inversion", ["--refine", "2", "--factor", "4"], "--factor is for super-resolution with --refine"),
        ("super-resolution", ["--factor", "4", "--refine", "0"], "--factor is for super-resolution with --refine"),
        ("inversion", ["--mask", "masks"], "--mask is for photos with a missing part, but inversion takes pictures"),
        ("sketch", ["--align"], "--align is for photos, but sketch takes pictures of the kind drawing"),
        ("inpainting", ["--mask", "nothing"], "there is no mask file or folder nothing"),
        ("inpainting", ["--mask", "."], "expected one named photo"),
        ("inpainting", ["--mask", "masks/photo.webp", "-o", "masks/photo.webp"], "expected a name that ends in .png"),
    ],
)
def test_what_cannot_be_done_is_refused(run, models, photo, mask, tmp_path, monkeypatch, options, task, message):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("photo.jpg")
    before = sorted(Path(".").rglob("*"))
    code, out, err = run("translate", "photo.png", "-o", "face.png", "--model", models(task), *options)
    assert (code, out) == (2, "")
    assert message in err
    assert sorted(Path(".").rglob("*")) == before


def test_a_mask_is_not_overwritten(run, models, photo, tmp_path):
    Image.new("L", (100, 100), 255).save(tmp_path / "mask.png")
    typed = ["--mask", tmp_path / "mask.png", "-o", tmp_path / "mask.png", "--model", models("inpainting")]
    code, _, err = run("translate", photo, *typed)
    assert code == 2 and "mask.png is an input and would be lost" in err


# The page about the command line


@pytest.fixture
def page_folder(default_generator, tmp_path, monkeypatch) -> Path:
    """Where the commands of a page of the documents can run: beside the package with its examples."""
    (tmp_path / "psp_hub").symlink_to(ROOT / "psp_hub")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page(run, page_folder):
    """As they stand there, but for the number of steps."""
    page = ROOT / "docs" / "command-line.md"
    bash, python = ("".join(blocks(page, kind)) for kind in ("bash", "python"))
    bash, python = bash.replace("--refine 40", "--refine 1"), python.replace("steps=40", "steps=1")
    commands = [shlex.split(line) for line in bash.replace("\\\n", " ").splitlines()]
    commands = [words[1:] for words in commands if words[0].endswith("psp-hub")]
    assert [words[0] for words in commands] == ["translate", "translate", "decode", "decode", "translate"]
    for words in commands:
        code, _, err = run(*words)
        assert (code, err) == (0, ""), words
    for folder, task in (("faces", "sketch"), ("filled", "inpainting")):
        examples = sorted(path.name for path in (STARTERS / task / "examples").iterdir())
        assert sorted(path.name for path in Path(folder).iterdir()) == examples
    face, again = pixels(Path("woman.png")), pixels(Path("again.png"))
    assert face.shape == (1024, 1024, 3) and np.array_equal(face, again)
    others = [pixels(Path(f"other-{i}.png")) for i in range(3)]
    assert all(not np.array_equal(face, other) for other in others)
    names: dict = {}
    exec(compile(python, page.name, "exec"), names)
    assert np.array_equal(np.asarray(tensor_to_images(names["images"])[0]), again)
