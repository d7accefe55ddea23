"""Generators by name. A new one is one module with the interface of `base.py` and one row here."""

import json
from pathlib import Path

from diffusers import ModelMixin

from psp_hub.generators.fetch import load_random_face
from psp_hub.generators.mobile_stylegan import MobileStyleGAN
from psp_hub.loading import load_component

# Generators that need no repository: each function returns the network, ready to draw.
BUILTIN = {"mobilestylegan-ffhq": load_random_face}
# Classes that a saved folder can hold, by the `_class_name` of its config.json.
GENERATORS = {"MobileStyleGAN": MobileStyleGAN}


def load_generator(name_or_path: str | Path) -> ModelMixin:
    """Load a generator by its built-in name or from a folder written by `save_pretrained`.

    Raises:
        ValueError: neither a known name nor a folder with a generator.
    """
    if name_or_path in BUILTIN:
        return BUILTIN[name_or_path]()
    config_path = Path(name_or_path, "config.json")
    if not config_path.is_file():
        raise ValueError(
            f"generator {str(name_or_path)!r} is neither a folder with a config.json nor one of {', '.join(BUILTIN)}"
        )
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError or UnicodeDecodeError
        raise ValueError(f"{config_path} is not valid JSON: {error}") from error
    class_name = config.get("_class_name") if isinstance(config, dict) else None
    if class_name not in GENERATORS:
        raise ValueError(f"{config_path} names the class {class_name!r}, expected one of {', '.join(GENERATORS)}")
    return load_component(GENERATORS[class_name], name_or_path)
