"""The root `config.json` of a saved model."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

CONFIG_NAME = "config.json"
MAX_SEED = 2**32 - 1
# A variant is a second set of weights beside the plain one; it has the dtype that its name says, of torch.
VARIANTS = {"fp16": "float16", "bf16": "bfloat16"}
# Raise it when older versions of this package could no longer read what is saved.
FORMAT_VERSION = 1
MAX_PASSES = 20
ENCODER_SIZE = 256  # px: side of the pictures that an encoder takes
FACE_SIZES = (16, 32, 64, 128, ENCODER_SIZE)


@dataclass(frozen=True)
class GeneratorReference:
    """A generator in a repository of its own; the field names are those of diffusers' component references.

    Args:
        pretrained_model_name_or_path: repository on the Hub, `owner/name`.
        revision: branch, tag or (so that nothing changes by itself) commit; None for the newest on `main`.
        subfolder: folder in the repository; None for its root.
        variant: of the weights, such as `fp16`; None for the plain ones.

    Raises:
        ValueError: a value that is not a string.
    """

    pretrained_model_name_or_path: str
    revision: str | None = None
    subfolder: str | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, str) and (name == "pretrained_model_name_or_path" or value is not None):
                raise ValueError(f"{name} is {value!r}, expected a string")

    def __str__(self) -> str:
        return self.pretrained_model_name_or_path


@dataclass(frozen=True)
class PSPConfig:
    """What a saved model is, beside its encoder and generator (which have configs of their own).

    Args:
        task: name of the task, a key of `psp_hub.tasks.TASKS` or your own.
        input_kind: how pictures are prepared for the encoder, a key of `psp_hub.images.preprocessing.PREPARATIONS`.
        base_generator: generator that the styles are for: the name of a built-in one, a reference to a repository
            (or a dict of its fields), or None if it is saved in `generator/`.
        num_passes: how often the encoder looks (see `psp_hub.passes`); from 2 on, it also sees the face so far.
        face_size: pixels of that face, a power of two up to 256; fewer take less time.
        format_version: layout of the saved folder.

    Raises:
        ValueError: a value of another type, or a newer format.
    """

    task: str
    input_kind: str = "drawing"
    base_generator: str | GeneratorReference | None = None
    num_passes: int = 1
    face_size: int = ENCODER_SIZE
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if isinstance(self.base_generator, dict):
            reference = read_fields(GeneratorReference, self.base_generator, "base_generator")
            object.__setattr__(self, "base_generator", reference)
        for name in ("task", "input_kind"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected a string")
        if not isinstance(self.base_generator, str | GeneratorReference | None):
            raise ValueError(f"base_generator is {self.base_generator!r}, expected a name, a reference or null")
        if type(self.num_passes) is not int or not 1 <= self.num_passes <= MAX_PASSES:
            raise ValueError(f"num_passes is {self.num_passes!r}, expected 1 to {MAX_PASSES}")
        if self.face_size not in FACE_SIZES:
            raise ValueError(f"face_size is {self.face_size!r}, expected one of {', '.join(map(str, FACE_SIZES))}")
        if type(self.format_version) is not int or not 1 <= self.format_version <= FORMAT_VERSION:
            raise ValueError(f"format_version is {self.format_version!r}, expected 1 to {FORMAT_VERSION}")

    def save(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / CONFIG_NAME).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PSPConfig":
        """Read `config.json` in `folder`.

        Raises:
            ValueError: no such file, not JSON, saved by a newer version of this package, unknown or missing keys, or
                values of another type.
        """
        path = folder / CONFIG_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ValueError(f"{folder} is not a saved model: it has no {CONFIG_NAME}") from error
        except ValueError as error:  # JSONDecodeError or UnicodeDecodeError
            raise ValueError(f"{path} is not valid JSON: {error}") from error
        version = values.get("format_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:  # before its keys, which nobody here can know
            raise ValueError(
                f"{path} has format_version {version}, this psp-hub reads up to {FORMAT_VERSION}: "
                "update it with `pip install -U psp-hub`"
            )
        try:
            return read_fields(cls, values, "it")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def read_fields(cls: type, values: Any, name: str) -> Any:
    """Build the dataclass `cls` from a dict that has its first field, and no others than its fields.

    Raises:
        ValueError: unknown or missing keys; the message calls the dict `name`.
    """
    known = [field.name for field in fields(cls)]
    if not isinstance(values, dict) or set(values) - set(known) or known[0] not in values:
        raise ValueError(f"{name} has {values!r:.200}, expected `{known[0]}` and some of {', '.join(sorted(known))}")
    return cls(**values)
