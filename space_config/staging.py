"""Put together the files of the Space, and check that it can run from them alone."""

import ast
import functools
import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from huggingface_hub import SpaceCard, SpaceHardware
from huggingface_hub.constants import REPOCARD_NAME
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from psp_hub.config import CONFIG_NAME, GeneratorReference

ROOT = Path(__file__).parents[1]
MAX_FILE_SIZE = 24 * 2**20
MAX_DESCRIPTION = 60  # characters of `short_description` that the Hub accepts
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")  # that the Hub accepts
# Beside the package: file in the project -> file in the Space.
FILES = {
    "app.py": "app.py",
    "LICENSE": "LICENSE",
    "space_config/README.md": REPOCARD_NAME,
    "space_config/requirements.txt": "requirements.txt",
}
STUDY_FILES = {
    "space_config/study/app.py": "app.py",
    "LICENSE": "LICENSE",
    "space_config/study/README.md": REPOCARD_NAME,
    "space_config/requirements.txt": "requirements.txt",
    "training/__init__.py": "training/__init__.py",
}
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
GENERATOR_FILES = (CONFIG_NAME, "diffusion_pytorch_model.safetensors")


def stage(folder: Path, generator: GeneratorReference | None = None, preload: bool = True) -> None:
    """Write all files of the Space into `folder`.

    Args:
        generator: repository with the generator, at a commit; None for the one that the first start fetches.
        preload: have the Hub download that repository while it builds the Space, which only works with a public one.

    Raises:
        ValueError: the Space would not run, see `check_staged`.
    """
    copy_files(FILES, folder)
    shutil.copytree(ROOT / "psp_hub", folder / "psp_hub", ignore=LEFT_OUT)
    if generator:
        name_generator(folder, generator, preload)
    check_staged(folder)


def stage_study(folder: Path, kinds: Sequence[Path]) -> None:
    """Write all files of a Space that holds a blind study into `folder`: its page, and the pictures of each kind.

    Raises:
        ValueError: no folder of that name, or the Space would not run, see `check_staged`.
    """
    copy_files(STUDY_FILES, folder)
    starters = ROOT / "psp_hub" / "starters"
    shutil.copytree(
        ROOT / "psp_hub",
        folder / "psp_hub",
        ignore=lambda path, names: names if Path(path) == starters else LEFT_OUT(path, names),
    )
    shutil.copytree(ROOT / "training" / "voting", folder / "training" / "voting", ignore=LEFT_OUT)
    for kind in kinds:
        if not kind.is_dir():
            raise ValueError(f"there is no folder {kind}")
        shutil.copytree(kind, folder / "study" / kind.resolve().name, ignore=LEFT_OUT)
    check_staged(folder)


def copy_files(files: Mapping[str, str], folder: Path) -> None:
    for source, target in files.items():
        if not (ROOT / source).is_file():
            raise ValueError(f"{source} is missing in {ROOT}")
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, folder / target)


def name_generator(folder: Path, generator: GeneratorReference, preload: bool) -> None:
    """Make the starters of a staged Space, and its card, name a repository instead of the built-in generator."""
    for path in sorted((folder / "psp_hub" / "starters").glob(f"*/{CONFIG_NAME}")):
        config = json.loads(path.read_text(encoding="utf-8"))
        if "base_generator" in config:
            config["base_generator"] = vars(generator)
            path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    card = SpaceCard.load(folder / REPOCARD_NAME)
    card.data.models = [str(generator)]
    if preload:
        card.data.preload_from_hub = [f"{generator} {','.join(GENERATOR_FILES)} {generator.revision}"]
    card.save(folder / REPOCARD_NAME)


def list_files(folder: Path) -> dict[str, Path]:
    """Name in the Space -> staged file."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def check_staged(folder: Path) -> None:
    """Make sure that a staged Space can run.

    Raises:
        ValueError: a file over 24 MiB, a card that the Hub would refuse, a requirement that only this machine can
            install, or an import of something that is neither staged nor required.
    """
    files = list_files(folder)
    for name, path in files.items():
        if path.stat().st_size > MAX_FILE_SIZE:
            size = path.stat().st_size / 2**20
            raise ValueError(f"{name} has {size:.1f} MiB, expected at most {MAX_FILE_SIZE // 2**20} MiB")
    check_card(folder)
    # gradio has the card's sdk_version, and brings the server along that it is made of.
    required = read_requirements(folder) | {"gradio", "starlette"}
    for name, path in files.items():
        for imported in find_imports(path) if path.suffix == ".py" else ():
            if not is_there(imported, folder, required):
                raise ValueError(f"{name} imports {imported}, which is neither in the Space nor in its requirements")


def check_card(folder: Path) -> None:
    """Check the settings at the top of the card, which tell the Hub how to run the Space."""
    try:
        card = SpaceCard.load(folder / REPOCARD_NAME).data.to_dict()
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"the settings of the Space's card are not valid YAML: {error}") from error
    expected = {
        "title": r".+",
        "emoji": r"\W+",
        "colorFrom": "|".join(COLOURS),
        "colorTo": "|".join(COLOURS),
        "sdk": "gradio",
        "sdk_version": r"\d+\.\d+\.\d+",
        "python_version": r"3\.\d+(\.\d+)?",
        "short_description": f".{{1,{MAX_DESCRIPTION}}}",
        "license": ".+",
        "suggested_hardware": "|".join(SpaceHardware),
    }
    for name, pattern in expected.items():
        if not re.fullmatch(pattern, value := str(card.get(name, ""))):
            raise ValueError(f"{name} of the Space's card is {value!r}, expected something like {pattern}")
    app = card.get("app_file")
    if not isinstance(app, str) or not (folder / app).is_file():
        raise ValueError(f"app_file of the Space's card is {app!r}, expected a file of the Space")


def read_requirements(folder: Path) -> set[str]:
    """Names of the required distributions, as package indexes compare them.

    Raises:
        ValueError: a line that is not a name with lower or upper bounds: a path, an index, or a build for one machine.
    """
    names = set()
    for line in (folder / "requirements.txt").read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        expected = f"requirements.txt has {text!r}, expected a name with bounds, such as torch>=2.8"
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ValueError(expected) from error
        if requirement.url or requirement.marker or any("+" in bound.version for bound in requirement.specifier):
            raise ValueError(expected)
        names.add(canonicalize_name(requirement.name))
    return names


def find_imports(path: Path) -> Iterator[str]:
    """What a Python file cannot do without, as dotted names: `from a.b import c` is `a.b.c`.

    What is imported in a `try` that expects an ImportError is optional.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), path)
    optional = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any("ImportError" in ast.unparse(h.type) for h in node.handlers if h.type):
            optional |= {id(child) for statement in node.body for child in ast.walk(statement)}
    for node in ast.walk(tree):
        if id(node) in optional:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_there(imported: str, folder: Path, required: set[str]) -> bool:
    """Whether a dotted name can be imported in the Space."""
    top = imported.split(".")[0]
    if top in sys.stdlib_module_names:
        return True
    if (folder / top).is_dir() or (folder / f"{top}.py").is_file():
        path = folder / imported.replace(".", "/")
        owner = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
        defined = owner.is_file() and re.search(rf"\b{path.name}\b", owner.read_text(encoding="utf-8"))
        return path.is_dir() or path.with_suffix(".py").is_file() or bool(defined)
    return not required.isdisjoint(map(canonicalize_name, find_providers().get(top, [top])))


@functools.cache  # reading what is installed takes a third of a second
def find_providers() -> Mapping[str, list[str]]:
    """Name to import -> the installed distributions that have it."""
    return importlib.metadata.packages_distributions()
