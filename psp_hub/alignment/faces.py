"""Find the faces in any photo, and cut one out as those of the training pictures were: alignment of FFHQ.

A detector finds faces, and where their eyes and mouths are, roughly. The face parser looks at each of them again: it
says whether it is one, and where these are more exactly.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageFilter

from psp_hub.alignment.face_detector import FaceDetector
from psp_hub.alignment.ffhq_crop import QUICK, Corners, Points, crop_corners, picture_corners, warp
from psp_hub.config import ENCODER_SIZE
from psp_hub.face_parser import FaceParser
from psp_hub.images.face_classes import CLASS_NAMES
from psp_hub.images.pictures import open_image


def class_numbers(*names: str) -> list[int]:
    return [CLASS_NAMES.index(name) for name in names]


EYE_CLASSES, MOUTH_CLASSES = class_numbers("l_eye", "r_eye"), class_numbers("mouth", "u_lip", "l_lip")
# What shows that there is a face: with how many pixels of an aligned one of 256 px at least. A hand or a mask may hide
# one of these.
PARTS = ((class_numbers("l_eye", "r_eye", "glasses"), 50), (class_numbers("nose"), 400), (MOUTH_CLASSES, 120))
SKIN_CLASSES, MIN_SKIN = class_numbers("skin", "nose"), 0.1  # and the least share of skin

DETECTOR_SIDES = (640, 1600)  # longer side of the copy that is searched; the second, upright, if the first shows none
SMALL_SIDE = 256  # a smaller picture is enlarged to this
MAX_FACES = 12  # the largest ones: the parser looks at each
MIN_CROP = 32  # px of the photo across the square that is cut out: of smaller faces, some are missed
SAME = 0.08  # of the side: a photo whose corners are as near to those found is aligned already
# If the only face that the detector sees is as sure, and its corners as near, no second look would say otherwise.
SURE, CLOSE = 0.99, 0.05
TURNS = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180)

USUAL_POINTS = np.array([[96.6, 122.0], [159.6, 122.0], [128.1, 188.5]])  # in aligned faces of 256 px

MIN_EYE, MIN_MOUTH = 40, 120  # pixels of one eye, and of the mouth, to say where they are
EYE_REACH, MOUTH_REACH = 40, 60  # px from where they are looked for
UNSEEN, CLEAR = 15.0, 8.0  # px of doubt: most upright faces stay below 4, what lies on its side is beyond 10
PARSER_SHARE = 0.5  # of the answer where detector and parser differ: their errors have little to do with each other


@dataclass(frozen=True)
class Face:
    """A face in a photo; coordinates are pixels of the photo, x before y.

    Attributes:
        points: left eye, right eye, mouth, [3, 2].
        corners: of the square to cut out, [4, 2], as in `ffhq_crop`.
        score: how sure the detector is, 0 to 1; 0 if only the parser saw the face.
        doubt: how far apart detector and parser see eyes and mouth, in pixels of an aligned face of 256: their mean,
            in which one that the parser does not see counts as UNSEEN.
        hidden: how many of the three the parser does not see.
    """

    points: Points
    corners: Corners
    score: float
    doubt: float = 0.0
    hidden: int = 0

    @property
    def side(self) -> float:
        """Of the square to cut out, which shows hair and chin, too."""
        return float(np.linalg.norm(self.corners[3] - self.corners[0]))


@dataclass(frozen=True)
class Aligned:
    """What `align_face` answers.

    Attributes:
        image: RGB, square, with the face where those of the training pictures are.
        faces: how many were found in the photo.
        face: the one that was cut out.
        corners: of the part of the photo that the image shows, as `paste_back` takes them: those of the face, or of
            the whole photo if that was aligned already.
    """

    image: Image.Image
    faces: int
    face: Face
    corners: Corners


@cache
def default_parser() -> FaceParser:
    return FaceParser.from_starter().requires_grad_(False)


def find_faces(
    photo: Image.Image, *, missing: Image.Image | None = None, parser: FaceParser | None = None
) -> list[Face]:
    """The faces in a photo, largest first; at most MAX_FACES.

    Where none is clearly upright, the photo is turned by 90, 270 and 180 degrees: in a face that lies on its side,
    detector and parser see eyes and mouth in different places. A picture that is nothing but a face which the
    detector does not know, or not for sure, such as a damaged one, is left to the parser alone; one that is nothing
    but an aligned face of which it is sure, to the detector alone.

    Args:
        photo: picture of any mode and size.
        missing: mode "L", of the same size, 255 where the photo is to be filled from what is around before it is
            searched: scratches and holes hide faces.
        parser: the one that ships unless given.

    Raises:
        ValueError: not a picture that can be used, or `missing` of another size.
    """
    photo = open_image(photo).convert("RGB")
    if missing is not None:
        photo = fill(photo, missing)
    parser = parser or default_parser()
    for side in DETECTOR_SIDES:
        doubtful: list[list[Face]] = []
        for turn in TURNS if side == DETECTOR_SIDES[0] else TURNS[:1]:
            seen = search(photo, side, turn)[:MAX_FACES]
            if turn is None and len(seen) == 1 and fills(photo, seen[0]):
                return seen
            faces = [face for face in (look_closer(photo, face, parser) for face in seen) if face]
            faces.sort(key=lambda face: face.side, reverse=True)
            if any(face.doubt <= CLEAR for face in faces):
                return faces
            doubtful += [faces] if faces else []
        if doubtful or max(photo.size) <= side:
            break
    whole = look_closer(photo, whole_picture(photo), parser)
    doubtful += [[whole]] if whole else []
    return min(doubtful, key=lambda faces: min(face.doubt for face in faces), default=[])


def align_face(
    photo: Image.Image, face: Face | None = None, size: int = ENCODER_SIZE, *, parser: FaceParser | None = None
) -> Aligned:
    """Cut a face out of a photo, upright, where the faces of FFHQ and CelebA-HQ are.

    What lies outside of the photo is its reflection, more and more blurred, as in FFHQ. A photo that is aligned
    already comes back as it is, resized.

    Args:
        photo: picture of any mode and size.
        face: one of `find_faces`; the largest unless given.
        size: side of the answer in pixels.
        parser: the one that ships unless given.

    Raises:
        ValueError: not a picture that can be used; no face; one that is too small, or cut off at the border.
    """
    photo = open_image(photo).convert("RGB")
    count = 1
    if face is None:
        faces = find_faces(photo, parser=parser)
        if not faces:
            advice = "Take one in which a face is large, well lit, and looks at the camera."
            raise ValueError(f"No face was found in this photo. {advice}")
        face, count = faces[0], len(faces)
    aligned = is_aligned(photo, face)
    side = max(photo.size) if aligned else face.side
    if side < MIN_CROP:
        got = f"{side:.0f} pixels with hair and chin, at least {MIN_CROP} expected"
        raise ValueError(f"The face is too small: {got}. Take a closer or a larger photo.")
    if (face.points < 0).any() or (face.points > photo.size).any():
        raise ValueError(
            "The face is cut off at the border of the photo. Take one that shows both eyes and the mouth."
        )
    if aligned:
        image, corners = photo.resize((size, size), Image.Resampling.LANCZOS), picture_corners(photo.size)
    else:
        image, corners = warp(photo, face.corners, size), face.corners
    return Aligned(image, count, face, corners)


def is_aligned(photo: Image.Image, face: Face) -> bool:
    """Whether the whole photo is the square to cut out, as exactly as that can be known: less so with hidden parts."""
    return distance_to_whole(photo, face) <= SAME * (1 + face.hidden)


def distance_to_whole(photo: Image.Image, face: Face) -> float:
    """The largest distance of a corner from that of the photo, relative to the photo's longer side."""
    away = np.linalg.norm(face.corners - picture_corners(photo.size), axis=1)
    return float(away.max()) / max(photo.size)


def fills(photo: Image.Image, face: Face) -> bool:
    """Whether a face that the detector sees is surely the whole photo, aligned already.

    It then needs no second look, which takes most of the time.
    """
    return face.score >= SURE and distance_to_whole(photo, face) <= CLOSE


def fill(photo: Image.Image, missing: Image.Image) -> Image.Image:
    """Put means of what is around where `missing` is 255; narrow gaps get those of close pixels.

    Raises:
        ValueError: the sizes differ.
    """
    if missing.size != photo.size:
        sizes = "{} x {} pixels, the photo {} x {}".format(*missing.size, *photo.size)
        raise ValueError(f"What is missing has {sizes}: the same size is expected.")
    known = missing.convert("L").point(lambda value: 255 if value < 128 else 0)
    kept = Image.composite(photo, Image.new("RGB", photo.size), known)
    answer, filled, radius = photo.copy(), np.asarray(known) > 0, 2
    while not filled.all() and radius <= max(photo.size):
        share = np.asarray(known.filter(ImageFilter.BoxBlur(radius)), np.float32)[..., None] / 255
        near = ~filled & (share[..., 0] > 0.05)
        means = np.asarray(kept.filter(ImageFilter.BoxBlur(radius)), np.float32) / np.maximum(share, 0.05)
        answer.paste(Image.fromarray(means.clip(0, 255).astype(np.uint8)), mask=Image.fromarray(near))
        filled, radius = filled | near, 2 * radius
    return answer


def search(photo: Image.Image, side: int, turn: Image.Transpose | None = None) -> list[Face]:
    """What the detector finds in a copy of the photo with this longer side, largest first.

    Args:
        photo: RGB.
        turn: of the copy; the answer is about the photo as it is.
    """
    scale = min(side, max(SMALL_SIDE, *photo.size)) / max(photo.size)
    copy = photo.resize([max(12, round(length * scale)) for length in photo.size], reducing_gap=3.0)
    turned = copy if turn is None else copy.transpose(turn)
    picture = torch.from_numpy(np.array(turned)).permute(2, 0, 1) / 127.5 - 1
    found = FaceDetector.from_starter().detect(picture)
    five = turn_back(found.points.double().numpy(), turned.size, turn) * np.divide(photo.size, copy.size)
    points = np.stack([five[:, 0], five[:, 1], (five[:, 3] + five[:, 4]) / 2], axis=1)  # [N, 3, 2]
    faces = [
        Face(three, crop_corners(three), score) for three, score in zip(points, found.scores.tolist(), strict=True)
    ]
    return sorted(faces, key=lambda face: face.side, reverse=True)


def turn_back(points: np.ndarray, size: tuple[int, int], turn: Image.Transpose | None) -> np.ndarray:
    """Points [..., 2] of a turned picture of this size -> the same places in the picture before."""
    (width, height), x, y = size, points[..., 0], points[..., 1]
    match turn:
        case Image.Transpose.ROTATE_90:
            return np.stack([height - y, x], axis=-1)
        case Image.Transpose.ROTATE_180:
            return np.stack([width - x, height - y], axis=-1)
        case Image.Transpose.ROTATE_270:
            return np.stack([y, width - x], axis=-1)
    return points


def whole_picture(photo: Image.Image) -> Face:
    """The middle of the photo as if it were an aligned face."""
    side = min(photo.size)
    corner = (np.array(photo.size) - side) / 2
    return Face(corner + USUAL_POINTS * side / ENCODER_SIZE, corner + picture_corners((side, side)), 0.0)


def look_closer(photo: Image.Image, face: Face, parser: FaceParser) -> Face | None:
    """Where eyes and mouth are more exactly; None if the parser sees no face.

    Of a face that the detector did not see, the parser has to see all of them, and where they usually are.
    """
    labels = parser.label_map(warp(photo, face.corners, ENCODER_SIZE, QUICK)).numpy()
    if shown_parts(labels) < (2 if face.score else 3):
        return None
    origin, axes = face.corners[0], (face.corners[[3, 1]] - face.corners[0]) / ENCODER_SIZE  # of the crop's x and y
    expected = (face.points - origin) @ np.linalg.inv(axes)
    parsed, seen = parsed_points(labels, expected)
    doubt = float(np.where(seen, np.linalg.norm(parsed - expected, axis=1), UNSEEN).mean())
    if not face.score and (doubt > CLEAR or not seen.all()):
        return None
    share = PARSER_SHARE if face.score else 1.0
    points = origin + (expected + share * (parsed - expected)) @ axes
    return Face(points, crop_corners(points), face.score, doubt, int(3 - seen.sum()))


def shown_parts(labels: np.ndarray) -> int:
    """How many of eyes (or glasses), nose and mouth a label map [256, 256] shows; without skin, none."""
    counts = np.bincount(labels.ravel(), minlength=len(CLASS_NAMES))
    if counts[SKIN_CLASSES].sum() < MIN_SKIN * labels.size:
        return 0
    return sum(int(counts[numbers].sum() >= least) for numbers, least in PARTS)


def parsed_points(labels: np.ndarray, expected: Points) -> tuple[Points, np.ndarray]:
    """Eyes and mouth in a label map [256, 256].

    The mouth is halfway between its corners, for which an open mouth counts as much as a closed one.

    Returns:
        The points, as expected where the map does not show them, and which of the three it shows.
    """
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]] + 0.5
    away = np.hypot(x - expected[:, 0, None, None], y - expected[:, 1, None, None])  # [3, H, W]
    points, eyes, seen = expected.copy(), np.isin(labels, EYE_CLASSES), np.zeros(3, bool)
    for i, other in ((0, 1), (1, 0)):
        eye = eyes & (away[i] < away[other]) & (away[i] < EYE_REACH)
        seen[i] = eye.sum() >= MIN_EYE
        if seen[i]:
            points[i] = x[eye].mean(), y[eye].mean()
    mouth = np.isin(labels, MOUTH_CLASSES) & (away[2] < MOUTH_REACH)
    seen[2] = mouth.sum() >= MIN_MOUTH
    if seen[2]:
        right = (points[1] - points[0]) / max(np.linalg.norm(points[1] - points[0]), 1e-6)
        axes = np.array([right, [-right[1], right[0]]])  # along the eyes and down
        along, down = axes @ np.stack([x[mouth], y[mouth]])
        first, last = np.quantile(along, [0.04, 0.96])
        height = (down[along <= first].mean() + down[along >= last].mean()) / 2
        points[2] = np.array([(along.min() + along.max()) / 2, height]) @ axes
    return points, seen
