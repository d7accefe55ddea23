"""Generators by name. A new one is one module with the interface of `base.py` and one row here."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo
from torch import nn

from psp_hub.config import CONFIG_NAME, GeneratorReference
from psp_hub.generators.base import Generator
from psp_hub.generators.fetch import load_random_face
from psp_hub.generators.mobile_stylegan import MobileStyleGAN
from psp_hub.generators.stylegan2 import StyleGAN2
from psp_hub.hub import cards
from psp_hub.hub.components import component_files, load_component, save_component
from psp_hub.hub.transfer import CARD_NAME, Access, is_repo_id, open_source, push_folder

# Generators that need no repository: each function returns the network, ready to draw.
BUILTIN = {"mobilestylegan-ffhq": load_random_face}
# Classes that a saved folder can hold, by the `_class_name` of its config.json.
GENERATORS: dict[str, type[Generator]] = {"MobileStyleGAN": MobileStyleGAN, "StyleGAN2": StyleGAN2}


def load_generator(
    name_or_path: str | Path | GeneratorReference,
    torch_dtype: torch.dtype | None = None,
    variant: str | None = None,
    access: Access | None = None,
) -> Generator:
    """Load a generator by its built-in name, from a repository on the Hub, or from a folder.

    Example:
        >>> generator = load_generator("org/stylegan2-ffhq-1024")
        >>> generator = load_generator(GeneratorReference("org/stylegan2-ffhq-1024", revision="v1"))

    Args:
        torch_dtype: of its weights; None keeps what they were saved in.
        variant: which weights of a folder or repository; a reference has its own.
        access: how to ask the Hub.

    Raises:
        ValueError: not a known name, a folder or a repository with a generator, or weights that do not match.
        OSError: it cannot be fetched or downloaded, see `psp_hub.hub.transfer.open_source`.
    """
    if name_or_path in BUILTIN:
        generator = BUILTIN[name_or_path]()
        if torch_dtype is not None:
            nn.Module.to(generator, dtype=torch_dtype)  # diffusers' own `to` warns
        return generator
    if not isinstance(name_or_path, GeneratorReference):
        if not is_repo_id(name_or_path) and not Path(name_or_path, CONFIG_NAME).is_file():
            raise ValueError(
                f"generator {str(name_or_path)!r} is neither a folder with a config.json nor one of "
                f"{', '.join(BUILTIN)}, nor a repository (owner/name)"
            )
        name_or_path = GeneratorReference(str(name_or_path), variant=variant)
    reference, access = name_or_path, access or Access()
    source = open_source(reference.pretrained_model_name_or_path, access, reference.revision, reference.subfolder)
    folder = source.fetch(component_files(reference.variant))
    with source.named():
        return load_component(GENERATORS[read_class_name(folder)], folder, torch_dtype, reference.variant)


def read_class_name(folder: Path) -> str:
    """The key of `GENERATORS` that a saved generator names.

    Raises:
        ValueError: another class, or its config.json is missing or broken.
    """
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{folder} is not a saved generator: it has no {CONFIG_NAME}") from error
    except ValueError as error:  # JSONDecodeError or UnicodeDecodeError
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    class_name = config.get("_class_name") if isinstance(config, dict) else None
    if class_name not in GENERATORS:
        raise ValueError(f"{path} names the class {class_name!r}, expected one of {', '.join(GENERATORS)}")
    return class_name


def is_saved_generator(folder: str | Path) -> bool:
    try:
        return read_class_name(Path(folder)) in GENERATORS
    except ValueError:
        return False


def pin_generator(
    name_or_path: str | Path | GeneratorReference, access: Access | None = None
) -> str | GeneratorReference | None:
    """What a model's config says of a generator: a built-in name, a repository at its commit of now, or None.

    None stands for a folder on this machine: such a generator is saved with the model.
    """
    if name_or_path in BUILTIN:
        return name_or_path
    reference = name_or_path
    if not isinstance(reference, GeneratorReference):
        reference = GeneratorReference(str(name_or_path))
    if isinstance(name_or_path, Path) or not is_repo_id(reference.pretrained_model_name_or_path):
        return None
    source = open_source(reference.pretrained_model_name_or_path, access or Access(), reference.revision)
    return replace(reference, revision=source.commit)


def push_generator(
    generator: Generator,
    repo_id: str,
    *,
    commit_message: str = "Push a psp-hub generator",
    variant: str | None = None,
    card: str | None = None,
    **options: Any,
) -> CommitInfo:
    """Give a generator a repository of its own, in one commit, for models to refer to.

    Example:
        >>> push_generator(load_generator("mobilestylegan-ffhq"), "org/mobilestylegan-ffhq")
        >>> model = PSPModel.from_pretrained("my-model", generator="org/mobilestylegan-ffhq")
        >>> model.push_to_hub("org/psp-sketch")  # names that repository, at its commit of now

    Args:
        variant, card: as in `PSPModel.push_to_hub`.
        options: `private`, `revision`, `create_pr`, `tag` and `token`, as there.

    Raises:
        ValueError, HfHubHTTPError: as there.
    """
    facts = {
        "Class": f"`{type(generator).__name__}`",
        "Pictures": f"{generator.resolution} x {generator.resolution} pixels",
        "Styles": f"{generator.num_ws} of size {generator.w_dim}",
        "Parameters": f"{generator.num_parameters():,}",
    }
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as name:
        folder = Path(name)
        save_component(generator, folder, variant)
        (folder / CARD_NAME).write_text(card or str(cards.generator_card(repo_id, facts)), encoding="utf-8")
        return push_folder(folder, repo_id, commit_message=commit_message, **options)
