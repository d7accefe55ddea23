"""What the command line prints."""

from typing import TextIO

from tqdm import tqdm


def say(text: str, file: TextIO) -> None:
    """Print above the progress bar, if there is one. A name that the terminal cannot show is no reason to stop."""
    encoding = file.encoding or "utf-8"
    tqdm.write(text.encode(encoding, "replace").decode(encoding), file=file)
