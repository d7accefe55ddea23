"""Photos of a sheet of paper: where it lies on the table, its ruled lines, and its light."""

import numpy as np
from PIL import Image

from psp_hub.images.sheet_outline import CLOSED, as_image, border, closed, find_sheet

SIDE = 256  # px of the copy that is looked at
EVEN_BORDER, BRIGHT_BORDER = 6 / 255, 0.06  # a clean page: an even border, as bright as anything on it

INSET = 0.006  # of its sides is left out, where the edge is blurred
MAX_SHEET = 2048  # px

SHADOW = (0.4, 0.85)  # as bright as this, compared with smoothly shaded paper, is what lies in a shadow
SHADOW_BORDER = 0.12  # and so much of the border
SMOOTH, MOSTLY = 0.06, 0.7  # most of it differs from paper without lines by less: hatched hair has lines

DIPS = 4  # so many lines reach both borders of ruled paper
RULE_SIDE = 1024  # px of the copy in which lines are removed
MAX_TURN, TURN_STEP = 5.0, 0.5  # degrees
FAINTEST_RULE, FULL_RULE = 0.03, 0.7  # darkness of a line, and how much of the width it covers
REGULAR, SPACING = 0.7, 0.15  # so many of the gaps are as wide as the usual one, or twice, but for this part of it
DARKER = 0.2  # a stroke on a line is darker than the line by this, or goes on above or below it


def flat_page(grey: Image.Image) -> Image.Image:
    """A page as if it had been scanned: without the table that it lies on, and without ruled or squared lines.

    A page with an even border, as bright as anything on it, which no lines cross, comes back as it is.

    Args:
        grey: mode "L".
    """
    values = small_copy(grey)
    if is_clean(values) and not may_be_ruled(values):
        return grey
    if (corners := find_sheet(values)) is not None:
        grey = cut_sheet(grey, corners * np.divide(grey.size, values.shape[::-1]))
        values = small_copy(grey)
    return remove_rules(grey) if may_be_ruled(values) else grey


def small_copy(grey: Image.Image) -> np.ndarray:
    """[H, W] in [0, 1], its longer side `SIDE` px."""
    size = [max(1, round(length * SIDE / max(grey.size))) for length in grey.size]
    return np.asarray(grey.resize(size, Image.Resampling.BOX), np.float32) / 255


def is_clean(values: np.ndarray) -> bool:
    low, middle, high = np.quantile(border(values), (0.1, 0.5, 0.9))
    return bool(high - low <= EVEN_BORDER and middle >= values.max() - BRIGHT_BORDER)


# The sheet on the table


def cut_sheet(grey: Image.Image, corners: np.ndarray) -> Image.Image:
    """The quadrilateral with these corners, upright."""
    centre = corners.mean(axis=0)
    corners = centre + (corners - centre) * (1 - 2 * INSET)
    down, right, up, left = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    size = np.array([(right + left) / 2, (down + up) / 2])
    width, height = np.maximum(np.round(size * min(1.0, MAX_SHEET / size.max())), 8).astype(int).tolist()
    data = tuple(corners.ravel().tolist())
    return grey.transform((width, height), Image.Transform.QUAD, data, Image.Resampling.BICUBIC)


# Its light


def in_shadow(values: np.ndarray) -> bool:
    """Whether enough of a border, relative to the paper, is as dark as a shadow, and neither paper nor ink."""
    around = border(values)
    return bool(((around > SHADOW[0]) & (around < SHADOW[1])).mean() >= SHADOW_BORDER)


def local_paper(values: np.ndarray, surface: np.ndarray | float) -> np.ndarray | None:
    """Grey of the paper at each place, where a shadow with an edge lies on it; None if a smooth surface describes it.

    Args:
        values: the page, [H, W] in [0, 1].
        surface: the smooth one.
    """
    height, width = values.shape
    if min(height, width) < 4 * CLOSED or not in_shadow(values / surface):
        return None
    scale = SIDE / max(height, width)
    image = as_image(values)
    if scale < 1:  # a rank filter takes as long as its window is large
        image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BOX)
    paper = closed(image, 15).resize((width, height), Image.Resampling.BILINEAR)
    levels = np.asarray(paper, np.float32) / 255
    around, lines = border(levels / surface), border((levels - values) / surface)
    is_dark = (around > SHADOW[0]) & (around < SHADOW[1])
    if is_dark.mean() < SHADOW_BORDER or (lines[is_dark] < SMOOTH).mean() < MOSTLY:
        return None
    return levels.clip(SHADOW[0] * float(np.quantile(levels, 0.95)))


# Its lines


def may_be_ruled(values: np.ndarray) -> bool:
    """Whether rows of lines reach the left and the right border, or the upper and the lower one."""
    if min(values.shape) < 2 * CLOSED:
        return False
    for across in (values, values.T):
        dips = []
        for edge in (across[:, 1], across[:, -2]):
            dark = edge < np.median(edge) - FAINTEST_RULE / 2
            dips.append(int((dark[1:] & ~dark[:-1]).sum()))
        if min(dips) >= DIPS:
            return True
    return False


def remove_rules(grey: Image.Image) -> Image.Image:
    """Take out lines that are long, straight and regular, and turn the page level by them; without any, as it is."""
    small = grey.copy()
    small.thumbnail((RULE_SIDE, RULE_SIDE), Image.Resampling.BOX)
    turn = lines_turned_by(darkness(small))
    if turn:
        small = small.rotate(turn, Image.Resampling.BICUBIC, fillcolor=int(np.median(np.asarray(small))))
    ink = darkness(small)
    without = without_rules(without_rules(ink).T).T
    if (without == ink).all():
        return grey
    paper = np.asarray(closed(small), np.float32)
    return Image.fromarray((paper * (1 - without)).clip(0, 255).round().astype(np.uint8))


def darkness(grey: Image.Image) -> np.ndarray:
    """Of thin lines, against the paper beside them: [H, W] in [0, 1]."""
    paper = np.maximum(np.asarray(closed(grey), np.float32), 1)
    return (1 - np.asarray(grey, np.float32) / paper).clip(0, 1)


def lines_turned_by(ink: np.ndarray) -> float:
    """Degrees by which a picture is turned until most of its lines are level or upright."""
    image = as_image(ink).resize((SIDE, SIDE), Image.Resampling.BOX)

    def sharpness(angle: float) -> float:
        turned = np.asarray(image.rotate(angle, Image.Resampling.BILINEAR), np.float32)[32:-32, 32:-32]
        return float(max(turned.mean(axis=0).std(), turned.mean(axis=1).std()))

    angles = np.arange(-MAX_TURN, MAX_TURN + TURN_STEP / 2, TURN_STEP).tolist()
    best = float(max(angles, key=sharpness))
    return best if sharpness(best) > 1.1 * sharpness(0.0) else 0.0


def without_rules(ink: np.ndarray) -> np.ndarray:
    """The ink [H, W] without level lines that cover most of the width, if they are regular; strokes on them stay."""
    thirds = np.stack([part.mean(axis=1) for part in np.array_split(ink > FAINTEST_RULE, 3, axis=1)])
    covered = (thirds.mean(axis=0) >= FULL_RULE) & (thirds.min(axis=0) >= FULL_RULE / 2)
    starts = (np.flatnonzero(covered[1:] & ~covered[:-1]) + 1).tolist()
    ends = [start + int(np.argmin(np.append(covered[start:], False))) for start in starts]
    if len(starts) <= DIPS:
        return ink
    gaps = np.diff(np.add(starts, ends) / 2)
    usual = float(np.median(gaps))
    near = np.minimum(np.abs(gaps / usual - 1), np.abs(gaps / usual - 2))
    if (near < SPACING).mean() < REGULAR or np.subtract(ends, starts).max() > usual / 2:
        return ink
    answer = ink.copy()
    for start, end in zip(starts, ends, strict=True):
        first, last = max(start - 1, 0), min(end + 1, len(ink))
        around = np.maximum(ink[max(first - 1, 0)], ink[min(last, len(ink) - 1)])
        rows = ink[first:last]
        is_rule = rows <= np.median(rows, axis=1, keepdims=True) + DARKER
        answer[first:last] = np.where(is_rule, np.minimum(rows, around), rows)
    return answer
