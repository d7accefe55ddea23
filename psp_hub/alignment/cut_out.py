"""The face of a photo that a task is about, cut out as the task takes it."""

from PIL import Image

from psp_hub.alignment.faces import align_face, find_faces
from psp_hub.images.pictures import ENCODER_SIZE


def cut_out(photo: Image.Image, small: bool = False) -> tuple[Image.Image, int]:
    """The largest face of a photo, aligned, and how many faces there are.

    Args:
        photo: of any mode and size.
        small: cut it out with as many pixels as it has, if fewer than 256, as super-resolution wants it.

    Raises:
        ValueError: no face, one that is too small or cut off, or a picture that cannot be used.
    """
    faces = find_faces(photo)
    face = faces[0] if faces else None
    size = min(ENCODER_SIZE, max(1, round(face.side))) if small and face else ENCODER_SIZE
    return align_face(photo, face, size).image, len(faces)
