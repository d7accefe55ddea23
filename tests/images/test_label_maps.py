"""Label maps as people save them: numbers, colours, other orders, other sizes, and what is none."""

import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from psp_hub.images.face_classes import BACKGROUND, CLASS_NAMES, HAIR, LABEL_ORDERS, PALETTE, SKIN
from psp_hub.images.label_maps import MAX_SIDE, labels_to_image, read_labels, resize_labels
from psp_hub.images.pictures import open_image
from psp_hub.images.preprocessing import masked_to_tensor, prepare_labels, prepare_tensor

NUMBER = {name: i for i, name in enumerate(CLASS_NAMES)}


def face(size: int = 256) -> np.ndarray:
    """A painted face of all the larger parts, [size, size]."""
    image = Image.new("L", (size, size), BACKGROUND)
    pen, unit = ImageDraw.Draw(image), size / 16

    def oval(name: str, x: float, y: float, width: float, height: float) -> None:
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        pen.ellipse([value * unit for value in box], fill=NUMBER[name])

    oval("cloth", 8, 16, 15, 4)
    oval("neck", 8, 13, 5, 5)
    oval("hair", 8, 6, 11, 11)
    for side, x in (("r", 3.2), ("l", 12.8)):
        oval(f"{side}_ear", x, 8.5, 1, 2)
    oval("skin", 8, 8.5, 8.5, 10)
    for side, x in (("r", 6), ("l", 10)):
        oval(f"{side}_brow", x, 6.3, 2.2, 0.6)
        oval(f"{side}_eye", x, 7.5, 1.7, 0.9)
    oval("nose", 8, 9.3, 1.4, 2.6)
    oval("l_lip", 8, 12, 3, 1.4)
    oval("u_lip", 8, 11.6, 3, 1)
    return np.asarray(image)


def painted(labels: np.ndarray) -> Image.Image:
    """In the official colours, as RGB."""
    return Image.fromarray(np.array(PALETTE, np.uint8)[labels])


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def encoded(image: Image.Image, kind: str, **options: object) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return open_image(file, keep_mode=True)


def shuffled_palette(labels: np.ndarray) -> Image.Image:
    """The same colours, but the numbers behind them mean nothing: as programs that shrink files leave it."""
    order = np.random.default_rng(0).permutation(19)
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[labels])
    image.putpalette(np.array(PALETTE, np.uint8)[order].tobytes())
    return image


def grey_palette(labels: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette([value for i in range(256) for value in (i, i, i)])
    return image


MAKERS = {
    "grey": Image.fromarray,
    "official palette": labels_to_image,
    "grey palette": grey_palette,
    "grey palette, renumbered": lambda labels: encoded(Image.fromarray(labels), "GIF"),
    "shuffled palette": shuffled_palette,
    "three equal channels": lambda labels: Image.fromarray(labels).convert("RGB"),
    "16 bits": lambda labels: Image.fromarray(labels.astype(np.uint16)),
    "32 bits": lambda labels: Image.fromarray(labels.astype(np.int32)),
    "grey and alpha": lambda labels: Image.fromarray(labels).convert("LA"),
    "colours": painted,
    "colours and alpha": lambda labels: painted(labels).convert("RGBA"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_every_kind_of_map_is_read(make):
    assert (read_labels(make(face(64))) == face(64)).all()


def test_all_colours_are_apart():
    stripes = np.repeat(np.arange(19, dtype=np.uint8), 4)[:, None].repeat(20, axis=1)
    assert (read_labels(painted(stripes)) == stripes).all()
    assert len(set(PALETTE)) == len(set(CLASS_NAMES)) == 19


SMOOTHED = {
    "enlarged": (lambda labels: painted(labels).resize((300, 300), Image.Resampling.BILINEAR), 0.01),
    "shrunk": (lambda labels: painted(labels).resize((150, 150), Image.Resampling.LANCZOS), 0.015),
    "JPEG 90": (lambda labels: jpeg(painted(labels), 90), 0.015),
    "JPEG 50": (lambda labels: jpeg(painted(labels), 50), 0.03),
}


@pytest.mark.parametrize(("make", "limit"), SMOOTHED.values(), ids=SMOOTHED)
def test_smoothed_and_compressed_colours(make, limit):
    image = make(face())
    wrong = (read_labels(image) != resize_labels(face(), image.width)).mean()
    colours = np.asarray(image.convert("RGB"), np.float32)[..., None, :]
    nearest = np.linalg.norm(colours - np.array(PALETTE), axis=-1).argmin(axis=-1)
    # Halfway between hair and background lies the colour of the lower lip, and so on.
    assert wrong < limit and wrong < 0.4 * (nearest != resize_labels(face(), image.width)).mean()


def smoothed(image: Image.Image) -> Image.Image:
    return image.resize((300, 300), Image.Resampling.BILINEAR)


LOSSY = {
    **{f"JPEG {quality}": lambda image, q=quality: encoded(image, "JPEG", quality=q) for quality in (50, 75, 95, 100)},
    "WebP": lambda image: encoded(image, "WEBP", quality=80),
    "WebP of the best quality": lambda image: encoded(image, "WEBP", quality=100),
    "AVIF": lambda image: encoded(image, "AVIF", quality=90),
    "JPEG saved as PNG": lambda image: Image.fromarray(np.asarray(encoded(image, "JPEG", quality=90))),
    "three channels": lambda image: encoded(image.convert("RGB"), "JPEG", quality=90),
    "smoothed": smoothed,
    "halved": lambda image: image.reduce(2),
    "shrunk by areas": lambda image: image.resize((150, 150), Image.Resampling.BOX),
}


@pytest.mark.parametrize("spoil", LOSSY.values(), ids=LOSSY)
def test_numbers_that_were_compressed_or_smoothed_are_refused(spoil):
    for numbers in (face(), np.argsort(LABEL_ORDERS["face-parsing"]).astype(np.uint8)[face()]):
        with pytest.raises(ValueError, match="label map went through a lossy format.*Save the map as PNG"):
            read_labels(spoil(Image.fromarray(numbers)))


@pytest.mark.parametrize("size", [32, 64, 100, 256, 700, 1000])
def test_numbers_that_were_not_are_read(size):
    for image in (Image.fromarray(face()).resize((size, size), Image.Resampling.NEAREST), Image.fromarray(face(size))):
        for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("GIF", {})):
            # GIF renumbers: its palette's greys are the classes.
            assert np.array_equal(read_labels(encoded(image, kind, **options)), read_labels(image))


def test_numbers_in_a_photo_of_a_phone_are_refused(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(face()).convert("RGB")).save(tmp_path / "map.heic", quality=100)
    with pytest.raises(ValueError, match="label map went through a lossy format"):
        read_labels(open_image(tmp_path / "map.heic", keep_mode=True))


@pytest.mark.parametrize(
    "image", [Image.fromarray(face()).convert("RGB"), painted(face())], ids=["numbers", "colours"]
)
def test_transparent_all_over_is_a_mistake(image):
    image.putalpha(0)
    assert (read_labels(image) == face()).all()


def test_transparent_is_background():
    image = painted(face()).convert("RGBA")
    image.paste((255, 255, 255, 0), (0, 0, 128, 256))
    labels = read_labels(image)
    assert (labels[:, :128] == BACKGROUND).all()
    assert (labels[:, 128:] == face()[:, 128:]).all()


def test_order_of_another_parser():
    numbers = np.argsort(LABEL_ORDERS["face-parsing"]).astype(np.uint8)[face()]
    assert numbers[80, 128] == 1 and numbers[20, 128] == 17, "skin and hair, as that parser numbers them"
    for image in (Image.fromarray(numbers), labels_to_image(numbers)):
        assert (read_labels(image, "face-parsing") == face()).all()
    with pytest.raises(ValueError, match="label_order is 'face-parsing', but the label map has colours"):
        read_labels(painted(face()), "face-parsing")
    assert (read_labels(painted(face()), "celebamask-hq") == face()).all()
    with pytest.raises(ValueError, match="label_order is 'voc', expected one of celebamask-hq, face-parsing"):
        read_labels(painted(face()), "voc")


@pytest.mark.parametrize("order", LABEL_ORDERS.values(), ids=LABEL_ORDERS)
def test_orders_name_every_class_once(order):
    assert sorted(order) == list(range(19))


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (1000, 1000), (3000, 3000)])
def test_any_size(size):
    prepared = prepare_labels(painted(face(256)).resize(size, Image.Resampling.NEAREST))
    assert (prepared.mode, prepared.size) == ("P", (256, 256))
    assert (np.asarray(prepared) != face(256)).mean() < (0.05 if size[0] < 256 else 0.02)


def test_shrinking_keeps_the_majority():
    labels = np.full((1024, 1024), SKIN, np.uint8)
    labels[::4, ::4] = HAIR  # one of sixteen, and just what taking every fourth pixel would find
    assert (resize_labels(labels, 256) == SKIN).all()
    assert read_labels(Image.fromarray(labels)).shape == (MAX_SIDE, MAX_SIDE)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([0, 19], "no class: 19; expected 0 to 18"),
        ([0, 1, 255], "no class: 255"),
        ([0, 255], "black and white: the mask of one part"),
        (range(19, 60), "no class: 19, 20, 21, 22, 23 and 36 more; expected 0 to 18. Is it a photo"),
    ],
)
def test_numbers_that_are_no_class(numbers, words):
    stripes = np.repeat(np.array(numbers, np.uint8), 2)[:, None].repeat(16, axis=1)
    with pytest.raises(ValueError, match=words):
        read_labels(Image.fromarray(stripes))
    with pytest.raises(ValueError, match="no class: -1"):
        read_labels(Image.fromarray(np.full((8, 8), -1, np.int32)))


def test_photo(portrait):
    with pytest.raises(ValueError, match=r"is in colours that are no class, such as #.* Is it a photo\?"):
        read_labels(portrait(256, 0))


def test_colours_of_another_palette_are_listed():
    image = painted(face())
    ImageDraw.Draw(image).rectangle((0, 0, 255, 40), fill=(200, 200, 200))  # no class of ours
    with pytest.raises(ValueError, match=r"16% of the label map .* such as #c8c8c8 \(16%\)"):
        read_labels(image)
    image = painted(face())
    ImageDraw.Draw(image).rectangle((0, 0, 255, 3), fill=(200, 200, 200))  # a thin frame is forgiven
    assert (read_labels(image)[8:] == face()[8:]).mean() > 0.99


@pytest.mark.parametrize("name", ["background", "hair"])
def test_one_class_says_nothing(name):
    for make in (painted, labels_to_image):
        with pytest.raises(ValueError, match=f"The label map is {name} all over"):
            read_labels(make(np.full((32, 32), NUMBER[name], np.uint8)))


def test_only_hair_is_taken_with_a_warning(caplog):
    labels = np.where(face() == HAIR, HAIR, BACKGROUND).astype(np.uint8)
    with caplog.at_level(logging.WARNING, "psp_hub.images.label_maps"):
        assert (read_labels(painted(labels)) == labels).all()
    assert "no skin, only background, hair" in caplog.text


def test_labels_to_image():
    image = labels_to_image(torch.from_numpy(face().copy()))
    assert image.mode == "P" and (np.asarray(image) == face()).all()
    assert image.convert("RGB").getpixel((128, 20)) == PALETTE[HAIR]
    for labels, words in (
        (np.full((2, 2), 19), "no class: 19"),
        (np.zeros((1, 2, 2)), r"shape \(1, 2, 2\), expected"),
    ):
        with pytest.raises(ValueError, match=words):
            labels_to_image(labels)


def test_one_hot():
    stripes = np.repeat(np.arange(19, dtype=np.uint8), 4)[:, None].repeat(40, axis=1)
    tensor = prepare_tensor(Image.fromarray(stripes), "labels")
    assert tensor.shape == (1, 19, 256, 256) and tensor.dtype == torch.float32
    assert torch.equal(tensor.sum(dim=1), torch.ones(1, 256, 256))  # no class between two others
    assert tensor[0].argmax(dim=0)[:, 0].unique_consecutive().tolist() == list(range(19))
    assert torch.equal(prepare_tensor(shuffled_palette(stripes), "labels"), tensor)


# Photos with a missing part


def test_masked_photo(portrait):
    photo = portrait(256, 0).convert("RGBA")
    photo.paste((9, 200, 9, 0), (64, 64, 128, 192))
    tensor = prepare_tensor(photo, "masked")
    assert tensor.shape == (1, 4, 256, 256)
    mask = torch.zeros(256, 256)
    mask[64:192, 64:128] = 1
    assert torch.equal(tensor[0, 3], mask)
    assert not tensor[0, :3, mask == 1].any()
    whole = prepare_tensor(portrait(256, 0), "photo")[0]
    assert torch.equal(tensor[0, :3, mask == 0], whole[:, mask == 0])


def test_masked_photo_of_another_size_does_not_bleed(portrait):
    photo = Image.new("RGBA", (600, 400), (250, 250, 250, 255))
    photo.paste((0, 255, 0, 0), (100, 100, 301, 301))
    tensor = masked_to_tensor(photo)
    there = tensor[0, :3, tensor[0, 3] == 0]
    assert (there - (250 / 127.5 - 1)).abs().max() < 0.01


@pytest.mark.parametrize(("alpha", "share"), [(0, "all"), (255, "nothing")])
def test_masked_photo_needs_a_part(alpha, share):
    with pytest.raises(ValueError, match=f"transparent: {share} of this picture"):
        prepare_tensor(Image.new("RGBA", (64, 64), (1, 2, 3, alpha)), "masked")
