"""Where a sheet of paper lies in a photo of it: the corners of a bright quadrilateral on a darker table."""

import numpy as np
from PIL import Image, ImageDraw

from psp_hub.images.main_part import connected

BORDER = 2  # px of the copy that is looked at
CLOSED, OPENED = 9, 7  # px: thinner lines and gaps are not seen when the sheet is looked for
TABLE_CONTRAST, CORNER_CONTRAST = 0.12, 0.3  # between sheet and table; if the sheet ends beyond two of the borders
FREE = 0.05  # less than this part of a border is sheet, where the table is seen
TABLE_BORDER = 0.4  # so much of the picture's border is table
SHEET_SHARE = (0.12, 0.89)  # of the picture; a black frame around a drawing is thinner than a table
FILLED = 0.55  # of the quadrilateral: dark hair is not paper ...
OUTSIDE = 0.08  # ... and of what is bright, so much may lie outside: spots of light are no quadrilaterals
SIDES = 0.6  # opposite sides are as long, seen from above
AROUND = 0.3  # of a side's length: so far inside and outside of it the edge of the paper is looked for
SAMPLES = 43  # of the edge, along each side
WAVY, STRAIGHT = 0.015, (0.5, 0.7)  # a side is straight but for this part of its length, in so many: at least, mostly
CELL = 4  # px: bright things that touch are told apart as coarsely


def border(values: np.ndarray) -> np.ndarray:
    """The outermost pixels on each side."""
    n = BORDER
    return np.concatenate([part.ravel() for part in (values[:n], values[-n:], values[:, :n], values[:, -n:])])


def as_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))


def closed(image: Image.Image, size: int = CLOSED) -> Image.Image:
    """Without dark lines that are thinner than `size` px."""
    return extreme(extreme(image, size, np.maximum), size, np.minimum)


def extreme(image: Image.Image, size: int, of_two: np.ufunc) -> Image.Image:
    """The brightest (`numpy.maximum`) or darkest (`numpy.minimum`) pixel in a square of `size` px, odd, around each.

    What Pillow's MaxFilter and MinFilter give, whose time grows with the size: these look at each side alone, and at
    twice as many pixels in every step.
    """
    values = np.pad(np.asarray(image), size // 2, mode="edge")
    for axis in (0, 1):
        values, seen = values.swapaxes(0, axis), 1
        while seen < size:
            step = min(seen, size - seen)
            values, seen = of_two(values[:-step], values[step:]), seen + step
        values = values.swapaxes(0, axis)
    return Image.fromarray(values)


def find_sheet(values: np.ndarray) -> np.ndarray | None:
    """Corners [4, 2] of a bright quadrilateral on a darker table, from the upper left one anticlockwise; or None."""
    if min(values.shape) < 2 * CLOSED:
        return None
    padded = as_image(np.pad(values, CLOSED, mode="edge"))  # a narrow strip of table along the border is no thin line
    image = extreme(extreme(closed(padded), OPENED, np.minimum), OPENED, np.maximum)
    even = np.asarray(image, np.float32)[CLOSED:-CLOSED, CLOSED:-CLOSED] / 255
    # The lower levels come first: a part of the sheet that lies in a shadow may be closer to the table than to the
    # rest.
    for level in levels(even):
        if (corners := quadrilateral(even, largest_part(even > level))) is not None:
            return corners
    return None


def levels(values: np.ndarray) -> list[float]:
    """What tells ink, table, paper in a shadow and paper in the light apart, from dark to bright."""
    middle = threshold(values)
    found, dark, light = {middle}, values[values <= middle], values[values > middle]
    if dark.size:
        found |= {low := threshold(dark)}
        found |= {threshold(dark[dark > low])} if (dark > low).any() else set()
    if light.size:
        found |= {threshold(light)}
    return sorted(found)


def largest_part(bright: np.ndarray) -> np.ndarray:
    """What is bright and connected, without the other bright things on a table."""
    height, width = bright.shape
    cells = np.pad(bright, ((0, -height % CELL), (0, -width % CELL))).reshape(-(-height // CELL), CELL, -1, CELL)
    filled = np.asarray(cells.all(axis=(1, 3)))
    parts = connected(filled, reach=1)
    if not parts:
        return bright
    kept = np.zeros(filled.shape, bool)
    kept[max(parts, key=lambda part: len(part[0]))] = True
    around = np.asarray(extreme(Image.fromarray(kept).convert("L"), 3, np.maximum)) > 0
    return bright & around.repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]


def quadrilateral(even: np.ndarray, bright: np.ndarray) -> np.ndarray | None:
    """Corners of what is bright, [H, W], if it is a sheet."""
    share = float(bright.mean())
    if not SHEET_SHARE[0] <= share <= SHEET_SHARE[1] or 1 - border(bright).mean() < TABLE_BORDER:
        return None
    contrast = float(np.median(even[bright]) - np.median(even[~bright]))
    height, width = bright.shape
    left, right, top, bottom = (
        float(np.mean(edge)) < FREE for edge in (bright[:, 0], bright[:, -1], *bright[[0, -1]])
    )
    sides = left + right + top + bottom  # along which there is table; a fold or a shadow goes from edge to edge
    if contrast < (TABLE_CONTRAST if sides >= 3 else CORNER_CONTRAST) or sides < 2:
        return None
    y, x = np.nonzero(bright)
    ends = [(x + y).argmin(), (x - y).argmin(), (x + y).argmax(), (x - y).argmax()]
    corners = straightened(bright, np.stack([x[ends], y[ends]], axis=1).astype(float))
    if corners is None:
        return None
    lengths = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    if lengths.min() < 1 or any(min(pair) < SIDES * max(pair) for pair in (lengths[::2], lengths[1::2])):
        return None
    inside = Image.new("1", (width, height))
    ImageDraw.Draw(inside).polygon([tuple(corner) for corner in corners.round().tolist()], fill=1)
    mask = np.asarray(inside)
    if mask.mean() > SHEET_SHARE[1] or bright[mask].mean() < FILLED or (bright & ~mask).sum() > OUTSIDE * bright.sum():
        return None
    return corners + np.array([[0, 0], [0, 1], [1, 1], [1, 0]])  # from pixels to their outer corners


def straightened(bright: np.ndarray, corners: np.ndarray) -> np.ndarray | None:
    """Corners [4, 2] where the lines along most of each side meet, or None if its sides are not straight.

    A hand or a cup may lie on the outermost pixels, and a face in a photo is round.
    """
    for _ in range(2):
        lines: list[tuple[np.ndarray, np.ndarray]] = []
        straight: list[float] = []
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            along = end - start
            length = float(np.linalg.norm(along))
            if length < 2 * CLOSED:
                return None
            inward = np.array([along[1], -along[0]]) / length
            at, depths = edge_along(bright, start, along / length, inward, length)
            if len(at) < SAMPLES / 2:
                return None
            pairs = np.subtract.outer(at, at) > 0  # Theil and Sen: the median of all slopes
            slope = float(np.median(np.subtract.outer(depths, depths)[pairs] / np.subtract.outer(at, at)[pairs]))
            offset = float(np.median(depths - slope * at))
            straight.append(float((np.abs(depths - slope * at - offset) < WAVY * length + 1).sum()) / SAMPLES)
            lines.append((start + offset * inward, along / length + slope * inward))
        corners = np.array([crossing(lines[i - 1], lines[i]) for i in range(4)])
    return corners if min(straight) >= STRAIGHT[0] and sum(straight) >= 4 * STRAIGHT[1] else None


def edge_along(
    bright: np.ndarray, start: np.ndarray, along: np.ndarray, inward: np.ndarray, length: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the first bright pixel is, seen from outside: places along a side, and depths, [up to SAMPLES] both."""
    depths = np.arange(-AROUND * length, AROUND * length, 0.5)
    at = np.linspace(0.08, 0.92, SAMPLES) * length
    points = start + at[:, None, None] * along + depths[:, None] * inward  # [SAMPLES, depths, 2]
    columns, rows = (points.round().astype(int)[..., i] for i in (0, 1))
    height, width = bright.shape
    known = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    seen = known & bright[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    found = seen.any(axis=1)
    return at[found], depths[seen.argmax(axis=1)][found]


def crossing(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Where two lines meet, each a point and a direction; the point of the second if they do not."""
    (start, along), (end, across) = one, other
    matrix = np.stack([along, -across], axis=1)
    if abs(np.linalg.det(matrix)) < 0.1:
        return end
    return start + np.linalg.solve(matrix, end - start)[0] * along


def threshold(values: np.ndarray) -> float:
    """Otsu 1979: the level that tells two kinds of pixels apart best."""
    counts, edges = np.histogram(values, bins=64, range=(0, 1))
    levels = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * levels)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nan_to_num(between).argmax()])
