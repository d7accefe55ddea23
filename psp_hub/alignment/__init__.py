"""Faces in photos: found, and cut out as the faces of the training pictures are."""

from psp_hub.alignment.faces import Aligned, Face, align_face, find_faces

__all__ = ["Aligned", "Face", "align_face", "find_faces"]
