"""Files and folders in, files and folders out: which become which, found out before any work."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from PIL import Image

from psp_hub.images.folder import find_pictures
from psp_hub.images.part_masks import group_parts
from psp_hub.images.png import save_png
from psp_hub.staging import staged_file

LATENTS_SUFFIX = ".safetensors"

Jobs = dict[Path, list[Path]]  # each input, and the files that are made of it
Inputs = dict[Path, list[Path]]  # each input, and the files that it is made of: itself, or the masks of a face


def find_inputs(source: Path) -> Inputs:
    """A picture, or those in a folder itself; masks of the parts of one face are one input (`images.part_masks`).

    In a folder that holds none itself, such masks are looked for in those of its folders whose names are numbers, as
    the 15 of CelebAMask-HQ-mask-anno.

    Raises:
        ValueError: there are none.
    """
    if not source.is_dir():
        return {source: [source]}
    try:
        return group_parts(find_pictures(source))
    except ValueError:
        inputs: Inputs = {}
        for folder in sorted(path for path in source.iterdir() if path.is_dir() and path.name.isdecimal()):
            with suppress(ValueError):  # an empty one
                inputs |= {name: masks for name, masks in group_parts(find_pictures(folder)).items() if len(masks) > 1}
        if not inputs:
            raise
        return inputs


def check_parts(inputs: Inputs, input_kind: str, label_order: str | None) -> None:
    """Raise ValueError if masks of the parts of faces are given to a model of other pictures, or with an order."""
    parts = [files for files in inputs.values() if len(files) > 1]
    if parts and input_kind != "labels":
        raise ValueError(
            f"{parts[0][0]} is the mask of a part of a face, and there are {len(parts[0]) - 1} more of it: "
            "together they are a label map, for --task segmentation"
        )
    if parts and label_order is not None:
        raise ValueError("--label-order is for maps of numbers, but masks of parts say by their names what they are")


def find_latents(folder: Path) -> list[Path]:
    """Files of latents in `folder` itself, by suffix, sorted; hidden ones are left out.

    Raises:
        ValueError: there are none.
    """
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = sorted(path for path in files if path.suffix.lower() == LATENTS_SUFFIX)
    if not found:
        raise ValueError(f"there are no latents in the folder {folder}; expected names that end in {LATENTS_SUFFIX}")
    return found


def find_partners(partners: Path, inputs: Iterable[Path], noun: str) -> dict[Path, Path]:
    """The picture that goes with each input: a file for all, or those of the same names in a folder, suffixes apart.

    Args:
        noun: what messages call such a picture.

    Raises:
        ValueError: no such file or folder, or an input without exactly one picture.
    """
    if not partners.exists():
        raise ValueError(f"there is no {noun} file or folder {partners}")
    if partners.is_file():
        return dict.fromkeys(inputs, partners)
    by_name: dict[str, list[Path]] = {}
    for partner in find_pictures(partners):
        by_name.setdefault(partner.stem, []).append(partner)
    for source in inputs:
        if len(found := by_name.get(source.stem, [])) != 1:
            said = ", ".join(map(str, found)) or "none"
            raise ValueError(f"the {noun}s of {source} in {partners} are {said}, expected one named {source.stem}")
    return {source: by_name[source.stem][0] for source in inputs}


def file_id(path: Path) -> tuple[int, int] | None:
    """The same for two names of one file; None for a link to nothing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def check_outputs(jobs: Jobs, others: Iterable[Path] = ()) -> None:
    """Raise ValueError if two inputs become the same file, or a file to be written is an input or one of `others`."""
    inputs = {file_id(source) for source in (*jobs, *others)}
    sources: dict[str, Path] = {}
    for source, targets in jobs.items():
        for target in targets:
            # Many file systems take Face.png and face.png for the same.
            other = sources.setdefault(str(target).casefold(), source)
            if other != source:
                raise ValueError(f"{other} and {source} would both become {target}; rename one of them")
            if target.exists() and file_id(target) in inputs:
                raise ValueError(f"the output {target} is an input and would be lost; choose another output")


def plan(
    source: Path,
    output: Path,
    find: Callable[[Path], Iterable[Path]],
    count: Callable[[Path], int] = lambda source: 1,
) -> Jobs:
    """Which files become which: everything that can be wrong with names is found before any work.

    Args:
        source: a file, or a folder.
        output: a .png file, or a folder.
        find: the inputs in a folder.
        count: how many pictures an input becomes; several are numbered.

    Raises:
        ValueError: no such input, none in the folder, an output that does not fit, or the errors of `check_outputs`.
    """
    if not source.exists():
        raise ValueError(f"there is no file or folder {source}")
    if source.is_dir():
        if output.exists() and not output.is_dir():
            raise ValueError(f"the output {output} is a file, expected a folder, as {source} is one")
        names = {file: output / f"{file.stem}.png" for file in find(source)}
    elif output.is_dir():
        names = {source: output / f"{source.stem}.png"}
    elif output.suffix.lower() == ".png":
        names = {source: output}
    else:
        raise ValueError(f"the output is {output}, expected a name that ends in .png, or an existing folder")
    jobs = {}
    for file, name in names.items():
        number = count(file)
        ends = [f"-{i}.png" for i in range(number)]
        jobs[file] = [name] if number == 1 else [name.with_name(name.stem + end) for end in ends]
    check_outputs(jobs)
    return jobs


def write_png(image: Image.Image, path: Path) -> None:
    """Write a PNG that has its name only once it is complete."""
    with staged_file(path) as stage:
        save_png(image, stage)
