"""Which model a name means. Nothing here imports torch: the command line asks before it does anything else."""

from pathlib import Path

from psp_hub.config import CONFIG_NAME

STARTERS = Path(__file__).parent / "starters"
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".pkl", ".ckpt", ".bin")


def starter_names() -> list[str]:
    """The models that ship with the package; beside them is the face parser, which is none."""
    return sorted(path.parent.name for path in STARTERS.glob("*/encoder") if (path.parent / CONFIG_NAME).is_file())


def starter_folder(name: str) -> Path:
    """Where a starter is.

    Raises:
        ValueError: there is none of that name.
    """
    names = starter_names()
    if name not in names:
        raise ValueError(f"no starter {name!r}, expected one of {', '.join(names)}")
    return STARTERS / name


def find_model(name: str | Path) -> str | Path:
    """Which model a name means: a saved folder, a starter, or a repository on the Hub, in this order.

    Returns:
        What `PSPModel.from_pretrained` takes.

    Raises:
        ValueError: it is none of them, such as a checkpoint that has to be converted first.
    """
    from psp_hub.hub.transfer import is_repo_id

    path, names = Path(name), starter_names()
    if (path / CONFIG_NAME).is_file():
        return name
    if str(name) in names:
        return STARTERS / name
    if path.suffix.lower() in CHECKPOINT_SUFFIXES and not path.is_dir():
        folder = path.with_suffix("").name
        raise ValueError(f"{name} is a checkpoint; make a model of it first: psp-hub convert {name} {folder}")
    if not is_repo_id(name):
        expected = f"a saved folder, owner/name on the Hub, or one of {', '.join(names)}"
        raise ValueError(f"{name} is not a saved model: expected {expected}")
    return name
