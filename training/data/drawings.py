"""Drawings made from photos: a wide family of styles, so that what people draw by hand falls inside it.

A drawing is made in three steps: a line detector turns the photo into ink, `degrade` damages the ink as hands, pens
and scanners do, and `warp` displaces it. Ink is [1, 1, H, W] in [0, 1], 1 = black; the result is paper, 1 = white.
Every random choice comes from the `numpy.random.Generator` that is passed in.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.settings.data import LINE_ART_SHARE

RED_GREEN_BLUE = (0.299, 0.587, 0.114)
GREY_SHARE = 0.3
ARTISTS_SHEET = 0.025, 5  # how far `warp` stretches what is drawn again, and in how many cells


def draw_photo(
    image: Tensor,
    rng: np.random.Generator,
    line_art: Tensor | None = None,
    style: str | None = None,
    line_art_share: float = LINE_ART_SHARE,
    of_heads: bool = True,
) -> Tensor:
    """Make one drawing of a photo.

    Args:
        image: the photo, [3, H, W] in [-1, 1].
        rng: source of every random choice.
        line_art: ink [1, H, W] of a learned edge detector, if there is one; adds the `line_art` style.
        style: one of `STYLES` or `line_art`; by default drawn at random.
        line_art_share: how often that is `line_art`, where there is some.
        of_heads: some lack what is outside of a head in the middle.

    Returns:
        [1, H, W] in [0, 1], dark lines on white.
    """
    grey = to_grey(image)
    ink = clean_ink(grey, rng, line_art, style, line_art_share)
    ink = degrade(ink, rng, of_heads)
    if rng.random() < 0.15:  # soft pencil shading below the lines
        ink = torch.maximum(ink, shading(grey, rng))
    if rng.random() < 0.7:
        ink = warp(ink, rng)
    paper = 1 - ink.clamp(0, 1)
    if rng.random() < 0.15:
        noise = torch.from_numpy(rng.normal(0, rng.uniform(0.01, 0.05), paper.shape)).float()
        paper = (paper + noise).clamp(0, 1)
    return paper[0]


def redraw(paper: Tensor, rng: np.random.Generator) -> Tensor:
    """A finished drawing as another hand, pen or scanner might have left it; [1, H, W] in [0, 1], dark on white.

    The hand errs as artists do: cheeks too wide, eyes too high.
    """
    return 1 - warp(degrade(1 - paper[None], rng), rng, *ARTISTS_SHEET).clamp(0, 1)[0]


def draw_gently(
    image: Tensor,
    rng: np.random.Generator,
    line_art: Tensor | None = None,
    line_art_share: float = LINE_ART_SHARE,
    of_heads: bool = True,
) -> Tensor:
    """A drawing for the first steps of training: nothing is damaged or displaced, and some are the grey photo.

    What an encoder learns from these carries over to the others, and it learns it faster.
    Arguments and result are those of `draw`.
    """
    grey = to_grey(image)
    if rng.random() < GREY_SHARE:
        return grey[0]
    return 1 - clean_ink(grey, rng, line_art, None, line_art_share).clamp(0, 1)[0]


def to_grey(image: Tensor) -> Tensor:
    """[3, H, W] in [-1, 1] -> [1, 1, H, W] in [0, 1]."""
    weights = torch.tensor(RED_GREEN_BLUE)
    return ((image[None] + 1) / 2 * weights[:, None, None]).sum(1, keepdim=True)


def clean_ink(
    grey: Tensor, rng: np.random.Generator, line_art: Tensor | None, style: str | None, line_art_share: float
) -> Tensor:
    """Ink of one style, undamaged; see `draw`."""
    if style is None:
        learned = line_art is not None and rng.random() < line_art_share
        style = "line_art" if learned else str(rng.choice(list(STYLES)))
    return learned_lines(line_art[None], rng) if style == "line_art" else STYLES[style](grey, rng)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [1, 1, H, W] with reflected borders."""
    radius = max(1, int(3 * sigma + 0.5))
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights = (weights / (2 * weights.sum() - weights[0])).tolist()
    for dim in (2, 3):
        # A sum of shifted pictures: `conv2d` with one channel is slower on a CPU.
        padded, size = pad(x, dim, radius, radius, "reflect"), x.shape[dim]
        x = padded.narrow(dim, radius, size) * weights[0]
        for d in range(1, radius + 1):
            x.add_(padded.narrow(dim, radius - d, size) + padded.narrow(dim, radius + d, size), alpha=weights[d])
    return x


def pad(x: Tensor, dim: int, before: int, after: int, mode: str) -> Tensor:
    """Pad one side of [1, 1, H, W]."""
    return F.pad(x, (0, 0, before, after) if dim == 2 else (before, after, 0, 0), mode=mode)


def thicken(ink: Tensor, width: int) -> Tensor:
    """The darkest ink in a square of `width` pixels."""
    for dim in (2, 3):
        padded, size = pad(ink, dim, width // 2, (width - 1) // 2, "constant"), ink.shape[dim]
        ink = padded.narrow(dim, 0, size)
        for d in range(1, width):
            ink = torch.maximum(ink, padded.narrow(dim, d, size))
    return ink


def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel derivatives along x and y."""
    height, width = x.shape[2:]
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    left, right = x[..., :width], x[..., 2:]
    above, below = x[..., :height, :], x[..., 2:, :]
    dx, dy = right - left, below - above  # [1, 1, H + 2, W], [1, 1, H, W + 2]
    dx = (dx[..., :height, :] + 2 * dx[..., 1:-1, :] + dx[..., 2:, :]) / 8
    dy = (dy[..., :width] + 2 * dy[..., 1:-1] + dy[..., 2:]) / 8
    return dx, dy


def difference_of_gaussians(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """XDoG (Winnemoeller et al. 2012): lines, and solid black in dark regions."""
    sigma, sharpness, softness = rng.uniform(0.6, 2.2), rng.uniform(8, 40), rng.uniform(2, 30)
    response = (1 + sharpness) * blur(grey, sigma) - sharpness * blur(grey, 1.6 * sigma)
    # A share of the picture becomes ink, whatever its brightness: artists leave the paper white.
    threshold = quantile(response, rng.uniform(0.03, 0.35))
    return -torch.tanh(softness * (response - threshold).clamp(max=0))


def flat_difference_of_gaussians(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """Difference of Gaussians without the tone: lines alone, on one or both sides of an edge."""
    sigma = rng.uniform(0.7, 2.5)
    response = blur(grey, 1.6 * sigma) - blur(grey, sigma)
    response = response.abs() if rng.random() < 0.3 else response.clamp(min=0)
    return tone(response, rng, q=rng.uniform(0.95, 0.995))


def sobel(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """Gradient magnitude: soft outlines."""
    dx, dy = gradient(blur(grey, rng.uniform(0.5, 2.5)))
    return tone((dx.square() + dy.square()).sqrt(), rng, q=rng.uniform(0.93, 0.99))


def colour_dodge(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """The pencil filter of photo editors: the picture divided by its own blur."""
    ratio = (grey + 0.02) / (blur(grey, rng.uniform(1.5, 8)) + 0.02)
    return ((1 - ratio).clamp(0, 1) * rng.uniform(1.5, 5)).clamp(0, 1)


def thin_edges(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """Canny's idea: one-pixel ridges of the gradient, weak ones left out, then a pen of some width."""
    dx, dy = gradient(blur(grey, rng.uniform(1.0, 3.0)))
    magnitude = (dx.square() + dy.square()).sqrt()
    ridges = suppress(magnitude, dx, dy)
    ink = (ridges > quantile(magnitude, rng.uniform(0.8, 0.95))).float()
    return pen(ink, rng)


def learned_lines(ink: Tensor, rng: np.random.Generator) -> Tensor:
    """Lines of a learned detector: as they are, thresholded, or thinned to a pen of some width."""
    kind = rng.random()
    if kind < 0.3:
        return (ink * rng.uniform(0.8, 2)).clamp(0, 1)
    if kind < 0.5:
        return ((ink - rng.uniform(0.15, 0.6)) * rng.uniform(4, 12)).clamp(0, 1)
    smooth = blur(ink, rng.uniform(0.8, 1.6))
    dx, dy = gradient(smooth)
    # Across a ridge the first derivative vanishes: take the direction from the blurred structure tensor instead.
    xx, yy, xy = (blur(product, 2.0) for product in (dx * dx, dy * dy, dx * dy))
    angle = 0.5 * torch.atan2(2 * xy, xx - yy)
    ridges = suppress(smooth, angle.cos(), angle.sin())
    return pen((ridges > rng.uniform(0.06, 0.4)).float(), rng)


def suppress(magnitude: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Keep `magnitude` where it is the largest along (dx, dy), zero elsewhere (non-maximum suppression)."""
    padded = F.pad(magnitude, (1, 1, 1, 1))
    height, width = magnitude.shape[2:]

    def neighbour(row: int, column: int) -> Tensor:
        return padded[:, :, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    octant = (torch.atan2(dy, dx) * 4 / torch.pi).round().long() % 4
    keep = torch.zeros_like(magnitude, dtype=torch.bool)
    for i, (row, column) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        largest = (magnitude >= neighbour(row, column)) & (magnitude > neighbour(-row, -column))
        keep |= (octant == i) & largest
    return magnitude * keep


def pen(ink: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw one-pixel lines with a pen 1 to 4 pixels wide, with soft edges."""
    width = rng.integers(1, 5)
    if width > 1:
        ink = thicken(ink, int(width))
    return (blur(ink, rng.uniform(0.4, 0.9)) * rng.uniform(1.0, 1.6)).clamp(0, 1)


def tone(response: Tensor, rng: np.random.Generator, q: float) -> Tensor:
    """Scale a response so that its quantile `q` is black, with a random contrast curve."""
    scaled = (response / (quantile(response, q) + 1e-4)).clamp(0, 1)  # in an even picture, rounding is no line
    return scaled ** rng.uniform(0.7, 2.5)


def quantile(x: Tensor, q: float) -> float:
    """Quantile of every 13th value: sorting them all would take most of the time of a drawing."""
    return float(torch.quantile(x.flatten()[::13], q))


def shading(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """Dark regions of the photo in soft pencil."""
    return (rng.uniform(0.4, 0.8) - blur(grey, rng.uniform(1, 5))).clamp(min=0) * rng.uniform(0.5, 1.5)


STYLES: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "difference_of_gaussians": difference_of_gaussians,
    "flat_difference_of_gaussians": flat_difference_of_gaussians,
    "sobel": sobel,
    "colour_dodge": colour_dodge,
    "thin_edges": thin_edges,
}


@lru_cache(maxsize=256)
def bicubic_matrix(size: int, nodes: int) -> Tensor:
    """[size, nodes]: bicubic interpolation along one side, as a matrix."""
    identity = torch.eye(nodes)[None, None]
    return F.interpolate(identity, size=(size, nodes), mode="bicubic", align_corners=True)[0, 0]


def smooth_noise(rng: np.random.Generator, channels: int, cells: int, size: tuple[int, int]) -> Tensor:
    """Random hills of about `cells` per side, [1, channels, H, W], standard normal at the nodes."""
    nodes = torch.from_numpy(rng.standard_normal((1, channels, cells + 1, cells + 1))).float()
    rows, columns = (bicubic_matrix(side, cells + 1) for side in size)
    return rows @ nodes @ columns.T


def degrade(ink: Tensor, rng: np.random.Generator, of_heads: bool = True) -> Tensor:
    """Thicker, lighter, binary, coarse, broken, partly missing, without background: each with its own chance."""
    size = ink.shape[2:]
    if rng.random() < 0.2:
        ink = thicken(ink, 3)
    if rng.random() < 0.2:  # a coarse drawing, enlarged
        small = F.interpolate(ink, scale_factor=float(rng.uniform(0.3, 0.7)), mode="area")
        ink = (F.interpolate(small, size=size, mode="bilinear") * rng.uniform(1, 1.5)).clamp(0, 1)
    if rng.random() < 0.2:
        ink = (ink > rng.uniform(0.25, 0.6)).float()
    if rng.random() < 0.25 and ink.mean() < 0.3:  # broken strokes; not holes in solid black
        ink = ink * ((smooth_noise(rng, 1, int(rng.integers(10, 40)), size) + rng.uniform(0.3, 1.5)) * 4).clamp(0, 1)
    if rng.random() < 0.15:  # missing parts
        ink = ink * ((smooth_noise(rng, 1, int(rng.integers(3, 8)), size) + rng.uniform(0.8, 1.8)) * 4).clamp(0, 1)
    if of_heads and rng.random() < 0.4:
        ink = ink * without_background(rng, size)
    return ink * rng.uniform(0.45, 1.0) ** rng.uniform(0, 1)


def without_background(rng: np.random.Generator, size: tuple[int, int]) -> Tensor:
    """A soft mask around an aligned head, from the face alone to head and shoulders. [1, 1, H, W]"""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    half_width, half_height = rng.uniform(0.65, 1.0), rng.uniform(0.85, 1.2)
    centre = rng.uniform(-0.05, 0.15)
    distance = (x / half_width).square() + ((y - centre) / half_height).square()
    ragged = smooth_noise(rng, 1, 6, size)[0, 0] * 0.08
    return ((1.05 - distance + ragged) * rng.uniform(4, 12)).clamp(0, 1)[None, None]


@lru_cache(maxsize=8)
def pixel_centres(height: int, width: int) -> Tensor:
    """(x, y, 1) of each pixel, [H, W, 3], with the picture's borders at -1 and 1."""
    y, x = (torch.arange(1 - side, side, 2) / side for side in (height, width))
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=2)


def warp(ink: Tensor, rng: np.random.Generator, stretch: float = 0.012, max_cells: int = 8) -> Tensor:
    """Slight rotation, scale, shift and a rubber-sheet deformation of up to a few pixels; outside is paper.

    Args:
        stretch: how far points of the sheet move, in halves of a side (standard deviation of what is drawn for each
            drawing).
        max_cells: of the sheet along a side, 3 or more, that move on their own: few change proportions, many make
            lines uneven.
    """
    angle, scale = rng.normal(0, 0.03), rng.uniform(0.93, 1.07, size=2)
    cos, sin = np.cos(angle), np.sin(angle)
    shift = rng.normal(0, 0.025, size=2)
    matrix = torch.tensor([[cos * scale[0], -sin, shift[0]], [sin, cos * scale[1], shift[1]]]).float()
    grid = (pixel_centres(*ink.shape[2:]) @ matrix.T)[None]  # [1, H, W, 2]
    sheet = smooth_noise(rng, 2, int(rng.integers(3, max_cells + 1)), ink.shape[2:]) * abs(rng.normal(0, stretch))
    return F.grid_sample(ink, grid + sheet.permute(0, 2, 3, 1), align_corners=False)
