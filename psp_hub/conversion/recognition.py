"""What a file is that is no checkpoint, by its first bytes; and how one that is has to be read."""

import zipfile
from pathlib import Path

LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that old `torch.save` begins with
PICKLE = b"\x80"  # from protocol 2 on
ZIP = b"PK\x03\x04"
HEAD = 512

# How files begin that get the name of a checkpoint by mistake, what they are, and what to do.
MISTAKES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch that with `git lfs pull`"),
    (b"<!doctype html", "a web page, saved under this name: download the file itself, in a browser"),
    (b"<html", "a web page, saved under this name: download the file itself, in a browser"),
    (b"<?xml", "an answer of a server, saved under this name: download the file itself, in a browser"),
    (b"<!--", "a web page, saved under this name: download the file itself, in a browser"),
    (b"{", "a text (JSON), not a checkpoint: the file with the weights lies elsewhere"),
    (b"\x1f\x8b", "packed with gzip: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x89HDF", "an HDF5 file of TensorFlow or Keras, which cannot be converted"),
)


def is_pickle(path: Path) -> bool:
    """Whether a file is to be read as NVIDIA's pickles are, rather than by PyTorch.

    Raises:
        ValueError: no such file, an empty one, or one that is known to be something else.
    """
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder, expected a checkpoint; a saved model is used as it is, without converting"
        )
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise ValueError(f"{path} is damaged: it is empty. Was it downloaded completely?")
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for signature, what in MISTAKES:
        if start.startswith(signature.lower()):
            raise ValueError(f"{path} is {what}")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        raise ValueError(
            f"{path} is a safetensors file, expected a checkpoint of another project; a saved model of this one is "
            "used as it is, by the folder that it lies in"
        )
    if head.startswith(ZIP):
        check_archive(path)
        return False
    return not head.startswith(LEGACY_TORCH) and (head.startswith(PICKLE) or path.suffix.lower() == ".pkl")


def check_archive(path: Path) -> None:
    """Raise ValueError if a ZIP file is not one that `torch.save` writes, or its data is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
            if "constants.pkl" in names or "code/__torch__.py" in names:
                raise ValueError(f"{path} is a TorchScript program; expected a checkpoint, as `torch.save` writes it")
            if "data.pkl" not in names:
                listed = ", ".join(archive.namelist()[:4])
                raise ValueError(f"{path} is an archive with {listed}: unpack it first")
            if packed := [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]:
                raise ValueError(f"{path} is damaged or not a PyTorch file: {packed[0]} in it is compressed")
            if damaged := archive.testzip():  # torch itself does not look at the checksums
                raise ValueError(f"{path} is damaged: {damaged} in it does not match its checksum")
    except (zipfile.BadZipFile, OSError, EOFError, LookupError, RuntimeError, UnicodeError) as error:
        raise ValueError(f"{path} is damaged or not a PyTorch file: {error}") from error
