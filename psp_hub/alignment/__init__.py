"""Faces in photos: found, cut out as the faces of the training pictures are, and put back."""

from psp_hub.alignment.faces import Aligned, Face, align_face, find_faces
from psp_hub.alignment.pasting import paste_back

__all__ = ["Aligned", "Face", "align_face", "find_faces", "paste_back"]
