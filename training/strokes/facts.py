"""What the stroke writer knows of a face: its parts from the label map, and what it is said to have."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from psp_hub.images.label_maps import CLASS_NAMES

# What a drawing can say of a face. Each is 1 (it has it), 0 (it does not) or NaN (not known).
ATTRIBUTES = (
    "glasses",
    "hat",
    "beard",
    "moustache",
    "bald",
    "long_hair",
    "woman",
    "smile",
    "open_mouth",
    "old",
)
NUMBERS = {name: i for i, name in enumerate(CLASS_NAMES)}
FACE = ("skin", "nose", "glasses", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
LIPS = ("u_lip", "l_lip", "mouth")
MIN_PIXELS = 12  # fewer are noise of the parser
ANGLES = 72  # rays from the middle of the face, clockwise from the right: a quarter of them points down
RAYS = 96  # steps along each
USUAL = {"l_eye": (0.37, 0.47), "r_eye": (0.63, 0.47), "nose": (0.5, 0.58), "lips": (0.5, 0.71)}

Points = NDArray[np.float64]  # [N, 2], x and y from 0 (left, top) to 1


@dataclass(frozen=True)
class Facts:
    """What is known of a face, and what of it a drawing says.

    Args:
        labels: [256, 256], 0 to 18.
        attributes: [len(ATTRIBUTES)], chances from 0 to 1, NaN where not known.
    """

    labels: NDArray[np.uint8]
    attributes: NDArray[np.float32]


@dataclass(frozen=True)
class Box:
    """Where a part is: its middle, width and height."""

    x: float
    y: float
    width: float
    height: float


@lru_cache(maxsize=4)
def ray_table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Angles [ANGLES], radii [RAYS], and unit vectors [ANGLES, 2]."""
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    return angles, np.linspace(0.0, 1.0, RAYS), np.stack([np.cos(angles), np.sin(angles)], axis=1)


@dataclass
class Face:
    """The places of the parts of a face in its label map; a part that is not there is None.

    Args:
        facts: the label map and the attributes.
    """

    facts: Facts
    boxes: dict[str, Box | None] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = self.facts.labels
        self.said = dict(zip(ATTRIBUTES, self.facts.attributes.tolist(), strict=True))
        rows, columns = np.arange(256), np.arange(256)
        counts = {name: self.labels == number for name, number in NUMBERS.items()}
        counts["lips"] = counts["u_lip"] | counts["l_lip"] | counts["mouth"]
        self.masks = counts
        self.boxes = {name: box_of(counts[name], rows, columns) for name in (*NUMBERS, "lips")}
        face = np.isin(self.labels, [NUMBERS[name] for name in FACE])
        skin = box_of(face, rows, columns) or Box(0.5, 0.55, 0.5, 0.65)
        self.centre = np.array([skin.x, skin.y])
        self.width, self.height = skin.width, skin.height
        self.outline = smoothed(self.reach(face))  # radius at each angle, [ANGLES]
        if not self.outline.min() > 0.05:
            self.outline = np.full(ANGLES, 0.3)
        self.hair_reach = np.maximum(self.reach(counts["hair"]), 0)
        self.hat_reach = self.reach(counts["hat"])

    def reach(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How far from the middle a part reaches in each direction; 0 where it is not."""
        _, radii, directions = ray_table()
        places = (self.centre + radii[None, :, None] * directions[:, None]) * 256  # [ANGLES, RAYS, 2]
        x, y = places[..., 0].astype(int), places[..., 1].astype(int)
        inside = (x >= 0) & (x < 256) & (y >= 0) & (y < 256)
        hit = mask[y.clip(0, 255), x.clip(0, 255)] & inside
        return np.where(hit.any(axis=1), radii[RAYS - 1 - hit[:, ::-1].argmax(axis=1)], 0.0)

    def place(self, name: str) -> Box:
        """Where a part is, or where it usually is."""
        found = self.boxes[name]
        if found is not None:
            return found
        other = {"l_eye": "r_eye", "r_eye": "l_eye"}.get(name)
        twin = self.boxes[other] if other else None
        if twin is not None:  # mirrored
            nose = self.boxes["nose"]
            return Box(2 * (nose.x if nose else self.centre[0]) - twin.x, twin.y, twin.width, twin.height)
        x, y = USUAL.get(name, (0.5, 0.5))
        sizes = {"l_eye": (0.1, 0.04), "r_eye": (0.1, 0.04), "nose": (0.14, 0.2), "lips": (0.2, 0.06)}
        return Box(x, y, *sizes.get(name, (0.1, 0.05)))

    def smile_bend(self) -> float:
        """How much higher the corners of the mouth are than its middle, in parts of its width."""
        y, x = np.nonzero(self.masks["lips"])
        if len(x) < 40:
            return 0.0
        place = (x - x.min()) / max(1, x.max() - x.min())
        corners, middle = (place < 0.12) | (place > 0.88), (place > 0.35) & (place < 0.65)
        if not corners.any() or not middle.any():
            return 0.0
        return float(y[middle].mean() - y[corners].mean()) / float(max(1, x.max() - x.min()))


def box_of(mask: NDArray[np.bool_], rows: NDArray[np.int_], columns: NDArray[np.int_]) -> Box | None:
    """The box of all but the outermost pixels of a part."""
    by_row, by_column = mask.sum(axis=1), mask.sum(axis=0)
    total = int(by_row.sum())
    if total < MIN_PIXELS:
        return None
    low, high = 0.01 * total, 0.99 * total
    top, bottom = np.searchsorted(np.cumsum(by_row), (low, high))
    left, right = np.searchsorted(np.cumsum(by_column), (low, high))
    return Box((left + right + 1) / 512, (top + bottom + 1) / 512, (right - left + 1) / 256, (bottom - top + 1) / 256)


def smoothed(radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed outline without its teeth."""
    around = np.concatenate([radii[-2:], radii, radii[:2]])
    return np.convolve(around, np.array([0.1, 0.2, 0.4, 0.2, 0.1]), "valid")
