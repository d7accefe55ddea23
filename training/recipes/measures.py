"""What can be measured of a generated face from its picture and its label map alone, without any other network.

The measures are relative: to the width of the face, or to where its eyes and mouth are. A part that is not there
makes its measures NaN, and the face is then left out where they are needed.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from psp_hub.images.face_classes import CLASS_NAMES

NUMBERS = {name: i for i, name in enumerate(CLASS_NAMES)}
EYES, BROWS, LIPS = ("l_eye", "r_eye"), ("l_brow", "r_brow"), ("u_lip", "l_lip", "mouth")
FACE = ("skin", "nose", "glasses", *EYES, *BROWS, *LIPS)
MIN_PIXELS = 12  # of 65,536: fewer are noise of the parser
NAN = float("nan")

Mask = NDArray[np.bool_]


class Face:
    """A picture with its label map, and where the parts are: x and y from 0 (left, top) to 1.

    Args:
        image: [3, H, W] in [-1, 1].
        labels: [H, W], 0 to 18.
    """

    def __init__(self, image: Tensor, labels: Tensor):
        self.labels = labels.numpy()
        self.rgb = ((image + 1) / 2).numpy()  # [3, H, W] in [0, 1]
        self.light = np.tensordot((0.299, 0.587, 0.114), self.rgb, 1)  # [H, W], luma of BT.601
        self.size = self.labels.shape[0]
        self.eyes, self.brows, self.nose, self.lips = map(self.centre, (EYES, BROWS, ("nose",), LIPS))
        self.mask = self.part(*FACE)

    def part(self, *names: str) -> Mask:
        return np.isin(self.labels, [NUMBERS[name] for name in names])

    def area(self, *names: str) -> float:
        """Share of the picture."""
        return float(self.part(*names).mean())

    def share(self, *names: str) -> float:
        """Area in parts of the face's, NaN where there is no face."""
        return self.area(*names) / self.area(*FACE) if self.mask.sum() >= MIN_PIXELS else NAN

    def centre(self, names: tuple[str, ...]) -> tuple[float, float]:
        """(x, y) of the middle of parts, NaN if they are not there."""
        y, x = np.nonzero(self.part(*names))
        if len(x) < MIN_PIXELS:
            return NAN, NAN
        return (x.mean() + 0.5) / self.size, (y.mean() + 0.5) / self.size

    def rows(self, low: float, high: float) -> slice:
        """The rows of pixels from `low` to `high`; none if one of them is NaN."""
        if np.isnan(low) or np.isnan(high):
            return slice(0, 0)
        return slice(int(np.clip(low, 0, 1) * self.size), int(np.clip(high, 0, 1) * self.size))

    def edges(self, y: float) -> tuple[float, float]:
        """Left and right edge of the face around height `y`."""
        columns = np.nonzero(self.mask[self.rows(y - 0.02, y + 0.02)].any(axis=0))[0]
        return (columns[0] / self.size, (columns[-1] + 1) / self.size) if len(columns) else (NAN, NAN)

    def mean(self, values: NDArray, mask: Mask) -> float:
        return float(values[mask].mean()) if mask.sum() >= MIN_PIXELS else NAN


def yaw(face: Face) -> float:
    """Where the nose is between the edges of the face: -1 at the left one, 1 at the right one."""
    left, right = face.edges(face.nose[1])
    return (2 * face.nose[0] - left - right) / (right - left)


def pitch(face: Face) -> float:
    """How far down the nose is on the way from the eyes to the mouth."""
    return (face.nose[1] - face.eyes[1]) / (face.lips[1] - face.eyes[1])


def smile(face: Face) -> float:
    """How much higher the corners of the mouth are than its middle, in parts of its width."""
    mask = face.part(*LIPS)
    columns = np.nonzero(mask.any(axis=0))[0]
    if mask.sum() < MIN_PIXELS or columns[-1] - columns[0] < 8:
        return NAN
    y, x = np.nonzero(mask)
    place = (x - columns[0]) / (columns[-1] - columns[0])
    corners, middle = (place < 0.1) | (place > 0.9), (place > 0.35) & (place < 0.65)
    if not corners.any() or not middle.any():
        return NAN
    return float(y[middle].mean() - y[corners].mean()) / float(columns[-1] - columns[0])


def mouth_width(face: Face) -> float:
    """In parts of the width of the face."""
    columns = np.nonzero(face.part(*LIPS).any(axis=0))[0]
    left, right = face.edges(face.lips[1])
    return float(columns[-1] - columns[0]) / face.size / (right - left) if len(columns) else NAN


def face_width(face: Face) -> float:
    """At the height of the mouth, in parts of the way from the eyes to the mouth."""
    left, right = face.edges(face.lips[1])
    return (right - left) / (face.lips[1] - face.eyes[1])


def forehead(face: Face) -> float:
    """Share of the area above the brows, up to the top of the face's skin, that hair does not cover."""
    top, left, right = face.brows[1] - 0.2, face.eyes[0] - 0.14, face.eyes[0] + 0.14
    if np.isnan(top + left):
        return NAN
    box = face.labels[face.rows(top, face.brows[1]), int(left * face.size) : int(right * face.size)]
    return float((box == NUMBERS["skin"]).mean()) if box.size else NAN


def long_hair(face: Face) -> float:
    """Share of the picture below the mouth that is hair."""
    below = face.labels[face.rows(face.lips[1], 1)]
    return float((below == NUMBERS["hair"]).mean()) if below.size else NAN


def chin_shadow(face: Face) -> float:
    """How much darker the skin around the mouth is than that of the cheeks: a beard, if it is a lot."""
    skin, wide = face.part("skin"), np.zeros_like(face.mask)
    left, right = face.edges(face.lips[1])
    if np.isnan(left + face.lips[0]):
        return NAN
    middle = slice(int((left + right) / 2 * face.size) - 32, int((left + right) / 2 * face.size) + 32)
    wide[face.rows(face.nose[1] + 0.04, face.lips[1] + 0.12), middle] = True
    cheeks = np.zeros_like(face.mask)
    cheeks[face.rows(face.eyes[1] + 0.04, face.nose[1] + 0.04)] = True
    return face.mean(face.light, skin & cheeks) - face.mean(face.light, skin & wide)


def side_light(face: Face) -> float:
    """How much lighter the skin right of the nose is than that left of it."""
    skin, x = face.part("skin"), (np.arange(face.size) + 0.5)[None] / face.size
    if np.isnan(face.nose[0]):
        return NAN
    return face.mean(face.light, skin & (x > face.nose[0])) - face.mean(face.light, skin & (x < face.nose[0]))


def eye_size(face: Face) -> float:
    """Area of the eyes in parts of the face's; NaN behind glasses."""
    return face.share(*EYES) if face.area("glasses") < 0.005 else NAN


def warmth(face: Face, mask: Mask) -> float:
    """Red less blue."""
    return face.mean(face.rgb[0] - face.rgb[2], mask)


MEASURES: dict[str, Callable[[Face], float]] = {
    "yaw": yaw,
    "pitch": pitch,
    "smile": smile,
    "open_mouth": lambda face: face.share("mouth"),
    "mouth_width": mouth_width,
    "lips": lambda face: face.share("u_lip", "l_lip"),
    "glasses": lambda face: float(face.area("glasses") > 0.005),
    "hat": lambda face: float(face.area("hat") > 0.02),
    "hair": lambda face: face.area("hair"),
    "long_hair": long_hair,
    "forehead": forehead,
    "chin_shadow": chin_shadow,
    "face_width": face_width,
    "eye_size": eye_size,
    "brow_height": lambda face: face.eyes[1] - face.brows[1],
    "brows": lambda face: face.share(*BROWS),
    "nose": lambda face: face.share("nose"),
    "brightness": lambda face: float(face.light.mean()),
    "contrast": lambda face: float(face.light.std()),
    "warmth": lambda face: float((face.rgb[0] - face.rgb[2]).mean()),
    "colourfulness": lambda face: float((face.rgb.max(axis=0) - face.rgb.min(axis=0)).mean()),
    "skin_light": lambda face: face.mean(face.light, face.part("skin")),
    "skin_warmth": lambda face: warmth(face, face.part("skin")),
    "hair_light": lambda face: face.mean(face.light, face.part("hair")),
    "hair_warmth": lambda face: warmth(face, face.part("hair")),
    "background_light": lambda face: face.mean(face.light, face.part("background")),
    "side_light": side_light,
}


def measure_face(image: Tensor, labels: Tensor) -> list[float]:
    """The `MEASURES` of one face in their order: image [3, H, W] in [-1, 1], labels [H, W]; NaN where not seen."""
    with np.errstate(divide="ignore", invalid="ignore"):
        face = Face(image, labels)
        values = np.array([of(face) for of in MEASURES.values()], np.float64)
    return np.where(np.isfinite(values), values, NAN).tolist()
