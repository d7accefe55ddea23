"""The main part of a drawing: without a signature, a date, a frame or the holes of a binder, far from it."""

import numpy as np

CELLS = 32  # along each side; ink in cells that touch, or nearly so, belongs together
LITTLE = 0.25  # of the ink of the largest part, at most, is in each part that is left out
MARGIN = (
    0.08  # of the page: frames and rows of holes lie in it as a whole, and may have more ink; and of all these ...
)
FAR = 0.3  # ... each is farther from the rest than this part of the extent of that

Cell = tuple[int, int]


def main_part(ink: np.ndarray) -> tuple[int, int, int, int]:
    """The box of the main part: left, top, right, bottom.

    Args:
        ink: where there is some, [H, W], bool.
    """
    height, width = ink.shape
    step = max(1, -(-max(height, width) // CELLS))
    padded = np.pad(ink, ((0, -height % step), (0, -width % step)))
    counts = padded.reshape(len(padded) // step, step, -1, step).sum(axis=(1, 3))
    parts = sorted(connected(counts > 0), key=lambda part: int(counts[part].sum()), reverse=True)
    if len(parts) < 2:
        return box(ink)
    inner = [part for part in parts if not in_margin(part, counts.shape)]
    first = (inner or parts)[0]
    most = counts[first].sum()
    kept = np.zeros(counts.shape, bool)
    for part in inner or parts:
        kept[part] |= counts[part].sum() > LITTLE * most or part is first
    while True:  # eyes are near the hair, a mouth near the eyes
        left, top, right, bottom = box(kept)
        low, high = np.array([top, left]), np.array([bottom, right]) - 1
        reach = FAR * ((high - low).max() + 1)
        near = [
            part
            for part in parts
            if not kept[part].any()
            and np.maximum(np.maximum(low - np.transpose(part), np.transpose(part) - high), 0).max(axis=1).min()
            <= reach
        ]
        if not near:
            return box(ink & kept.repeat(step, axis=0).repeat(step, axis=1)[:height, :width])
        for part in near:
            kept[part] = True


def box(ink: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is set; all of it if nothing is."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return 0, 0, ink.shape[1], ink.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def in_margin(part: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...]) -> bool:
    """Whether all cells of a part lie along the edges of the page."""
    rows, columns = ((at + 0.5) / side for at, side in zip(part, shape, strict=True))
    return bool((np.minimum.reduce([rows, 1 - rows, columns, 1 - columns]) < MARGIN).all())


def connected(cells: np.ndarray, reach: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    """The parts whose cells are at most `reach` apart (1: they touch): rows and columns of the cells of each."""
    left: set[Cell] = {(int(y), int(x)) for y, x in zip(*np.nonzero(cells), strict=True)}
    parts, around = [], range(-reach, reach + 1)
    while left:
        part: list[Cell] = []
        rest = [left.pop()]
        while rest:
            y, x = rest.pop()
            part.append((y, x))
            near = {(y + dy, x + dx) for dy in around for dx in around} & left
            left -= near
            rest += near
        rows, columns = np.array(part).T
        parts.append((rows, columns))
    return parts
