"""training.data.drawings: every style of drawing, made from a small picture."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.images.preprocessing import images_to_tensor
from training.data import drawings
from training.data.drawings import (
    ARTISTS_SHEET,
    STYLES,
    blur,
    draw_gently,
    draw_photo,
    gradient,
    pen,
    pixel_centres,
    quantile,
    smooth_noise,
    suppress,
    thicken,
    to_grey,
    warp,
)

ALL_STYLES = [*STYLES, "line_art"]


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def image(portrait) -> Tensor:
    return images_to_tensor([portrait(128, 0)])[0]


def lines_of(image: Tensor) -> Tensor:
    """What a learned edge detector might say: ink [1, H, W]."""
    dx, dy = gradient(image.mean(dim=0)[None, None])
    return (4 * (dx.square() + dy.square()).sqrt())[0].clamp(0, 1)


def paper_of(image: Tensor, style: str | None, *seed: int) -> Tensor:
    return draw_photo(image, rng(*seed), lines_of(image), style)


def naive_blur(x: Tensor, sigma: float) -> Tensor:
    """One output pixel at a time, the two-dimensional kernel at once."""
    radius = max(1, int(3 * sigma + 0.5))
    weights = {d: math.exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)}
    total = sum(weights.values()) ** 2
    height, width = x.shape[2:]

    def reflect(i: int, size: int) -> int:
        return -i if i < 0 else 2 * (size - 1) - i if i >= size else i

    result = torch.zeros_like(x)
    for row in range(height):
        for column in range(width):
            for down, vertical in weights.items():
                for right, horizontal in weights.items():
                    value = x[0, 0, reflect(row + down, height), reflect(column + right, width)]
                    result[0, 0, row, column] += vertical * horizontal / total * value
    return result


def naive_suppress(magnitude: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Keep a pixel if neither neighbour along its gradient is larger (a tie goes to the one behind)."""
    height, width = magnitude.shape[2:]
    result = torch.zeros_like(magnitude)

    def at(row: int, column: int) -> float:
        return magnitude[0, 0, row, column].item() if 0 <= row < height and 0 <= column < width else 0.0

    for row in range(height):
        for column in range(width):
            degrees = math.degrees(math.atan2(dy[0, 0, row, column], dx[0, 0, row, column])) % 180
            if degrees < 22.5 or degrees > 157.5:
                down, right = 0, 1
            elif degrees < 67.5:
                down, right = 1, 1
            elif degrees < 112.5:
                down, right = 1, 0
            else:
                down, right = 1, -1
            here = at(row, column)
            if here >= at(row + down, column + right) and here > at(row - down, column - right):
                result[0, 0, row, column] = here
    return result


@pytest.mark.parametrize("style", ALL_STYLES)
@pytest.mark.parametrize("size", [(128, 128), (101, 77), (64, 130)])
def test_a_drawing_is_paper_with_some_ink(image, style, size):
    resized = torch.nn.functional.interpolate(image[None], size=size, mode="bilinear")[0]
    papers = [paper_of(resized, style, seed) for seed in range(6)]
    for paper in papers:
        assert paper.shape == (1, *size)
        assert paper.dtype == torch.float32
        assert 0 <= paper.min() and paper.max() <= 1
    assert min(paper.mean().item() for paper in papers) < 0.99


@pytest.mark.parametrize("style", [*ALL_STYLES, None])
def test_a_drawing_depends_on_the_seed_alone(image, style):
    first = paper_of(image, style, 3, 4)
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(paper_of(image, style, 3, 4), first)
    assert not torch.equal(paper_of(image, style, 3, 5), first)


def test_drawing_leaves_the_global_generators_and_the_picture_alone(image):
    before, torch_state, numpy_state = image.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()
    for seed in range(10):
        paper_of(image, None, seed)
    assert torch.equal(image, before)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


@pytest.mark.parametrize("style", ALL_STYLES)
def test_a_white_picture_gives_nearly_no_ink(style):
    white = torch.ones(3, 96, 96)
    for seed in range(20):
        paper = draw_photo(white, rng(seed), torch.zeros(1, 96, 96), style)
        assert paper.mean() > 0.95  # noise on the paper is all there is
        assert paper.median() > 0.93


def test_60_drawings_are_mostly_white(image):
    papers = torch.stack([paper_of(image, None, 7, seed) for seed in range(60)])
    assert papers.isfinite().all()
    means = papers.mean(dim=(1, 2, 3))
    assert 0.75 < means.mean() < 0.98
    assert (means > 0.5).all()
    assert (papers.amin(dim=(1, 2, 3)) < 0.7).all()  # none is empty
    assert len({paper.numpy().tobytes() for paper in papers}) == 60


def test_all_styles_are_drawn_and_line_art_most_often(image, monkeypatch):
    drawn = []

    def noting(name, function):
        return lambda *args: drawn.append(name) or function(*args)

    for name, function in STYLES.items():
        monkeypatch.setitem(STYLES, name, noting(name, function))
    monkeypatch.setattr(drawings, "learned_lines", noting("line_art", drawings.learned_lines))
    small = image[:, ::2, ::2]
    for seed in range(120):
        paper_of(small, None, seed)
    assert set(drawn) == set(ALL_STYLES)
    assert 40 < drawn.count("line_art") < 80
    drawn.clear()
    for seed in range(20):
        draw_photo(small, rng(seed))
    assert "line_art" not in drawn


def test_line_art_follows_the_lines_and_not_the_picture(image):
    lines = torch.zeros(1, 128, 128)
    lines[:, 60:63, 20:108] = 1
    strokes = []
    for seed in range(12):
        ink = drawings.learned_lines(lines[None], rng(seed))[0]
        assert ink[:, :50].max() < 0.01 and ink[:, 75:].max() < 0.01
        strokes.append(ink[:, 58:65, 30:98].amax(dim=1).mean().item())
    assert min(strokes) > 0.5


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.7])
def test_blur_is_a_gaussian_convolution(sigma):
    x = torch.rand(1, 1, 9, 12)
    torch.testing.assert_close(blur(x, sigma), naive_blur(x, sigma))


@pytest.mark.parametrize("width", [2, 3, 4])
def test_thicken_takes_the_darkest_of_a_square(width):
    ink = torch.rand(1, 1, 9, 12)
    padded = F.pad(ink, (width // 2, (width - 1) // 2) * 2)
    assert torch.equal(thicken(ink, width), F.max_pool2d(padded, width, 1))


def test_gradient_is_that_of_sobel():
    x = torch.rand(1, 1, 9, 12)
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    dx, dy = gradient(x)
    torch.testing.assert_close(dx, F.conv2d(padded, kernel[None, None]))
    torch.testing.assert_close(dy, F.conv2d(padded, kernel.T[None, None]))


def test_smooth_noise_is_bicubic():
    nodes = torch.from_numpy(rng(4).standard_normal((1, 2, 6, 6))).float()
    expected = F.interpolate(nodes, size=(30, 41), mode="bicubic", align_corners=True)
    torch.testing.assert_close(smooth_noise(rng(4), 2, 5, (30, 41)), expected)


def test_pixel_centres_are_those_of_affine_grid():
    matrix = torch.tensor([[1.1, 0.2, -0.1], [-0.3, 0.9, 0.2]])
    expected = F.affine_grid(matrix[None], [1, 1, 5, 8], align_corners=False)[0]
    torch.testing.assert_close(pixel_centres(5, 8) @ matrix.T, expected)


def test_gentle_drawings_are_clean_or_the_grey_photo(image):
    grey = to_grey(image)[0]
    drawn = [draw_gently(image, rng(seed), lines_of(image)) for seed in range(60)]
    photos = [paper for paper in drawn if torch.equal(paper, grey)]
    assert 8 <= len(photos) <= 30
    assert all(paper.shape == grey.shape and paper.min() >= 0 and paper.max() <= 1 for paper in drawn)


def test_line_art_share(image, monkeypatch):
    learned = []
    monkeypatch.setattr(drawings, "learned_lines", lambda ink, rng: learned.append(1) or ink)
    for share, expected in ((0.0, 0), (1.0, 20)):
        learned.clear()
        for seed in range(20):
            draw_photo(image, rng(seed), lines_of(image), line_art_share=share)
        assert len(learned) == expected


def test_gradient_of_a_ramp():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    dx, dy = gradient((3 * x - 2 * y)[None, None])
    torch.testing.assert_close(dx[:, :, 1:-1, 1:-1], torch.full((1, 1, 6, 8), 3.0))
    torch.testing.assert_close(dy[:, :, 1:-1, 1:-1], torch.full((1, 1, 6, 8), -2.0))


def test_suppress_against_one_pixel_at_a_time():
    magnitude, dx, dy = torch.rand(1, 1, 17, 23), torch.randn(1, 1, 17, 23), torch.randn(1, 1, 17, 23)
    kept = suppress(magnitude, dx, dy)
    assert torch.equal(kept, naive_suppress(magnitude, dx, dy))
    assert 0.2 < (kept > 0).float().mean() < 0.5


def test_suppress_thins_a_wide_edge_to_one_pixel():
    step = (torch.arange(40) >= 20).float().expand(1, 1, 30, 40)
    dx, dy = gradient(blur(step, 2.0))
    ridge = suppress((dx.square() + dy.square()).sqrt(), dx, dy)
    assert ((ridge[0, 0] > 0.01).sum(dim=1) == 1).all()


def test_pen_keeps_the_place_of_a_line():
    ink = torch.zeros(1, 1, 21, 40)
    ink[:, :, 10] = 1
    widths = set()
    for seed in range(20):
        profile = pen(ink, rng(seed))[0, 0, :, 20]
        centre = (profile * torch.arange(21)).sum() / profile.sum()
        assert abs(centre - 10) <= 0.51
        widths.add(round(profile.sum().item()))
    assert min(widths) == 1 and max(widths) >= 4


def test_quantile_is_close_to_the_exact_one():
    x = torch.rand(1, 1, 256, 256)
    assert quantile(x, 0.9) == pytest.approx(0.9, abs=0.02)


def test_warp_leaves_paper_outside_and_moves_lines_little():
    ink = torch.ones(1, 1, 65, 97)
    warped = [warp(ink, rng(seed)) for seed in range(30)]
    borders = [torch.cat([w[0, 0, 0], w[0, 0, -1], w[0, 0, :, 0], w[0, 0, :, -1]]).min().item() for w in warped]
    assert min(borders) == 0  # what comes from outside the picture is paper
    assert all(w.min() >= 0 and w.max() <= 1 + 1e-5 for w in warped)
    assert all(w[:, :, 16:-16, 16:-16].min() > 0.99 for w in warped)


def test_what_is_drawn_again_has_other_proportions():
    """Of a ramp, which tells where each point came from, what no turn, scale and shift explains."""
    x = torch.linspace(0, 1, 96).expand(96, 96)
    affine = torch.stack([x, x.T, torch.ones_like(x)], dim=-1)[24:72, 24:72].reshape(-1, 3)

    def bend(*sheet: float) -> float:
        moved = [warp(x[None, None], rng(seed), *sheet)[0, 0, 24:72, 24:72].reshape(-1, 1) for seed in range(30)]
        left = [points - affine @ torch.linalg.lstsq(affine, points).solution for points in moved]
        return torch.cat(left).square().mean().sqrt().item()

    assert 1.3 * bend() < bend(*ARTISTS_SHEET) < 4 * bend()
