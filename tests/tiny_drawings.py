"""A drawing for tests, and whether two networks are the same."""

import torch
from PIL import Image, ImageDraw


def draw(width=300, height=200, radius=80) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    x, y = width // 2, height // 2
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), outline="black", width=3)
    return image


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
