"""The root `config.json` of a saved model."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

CONFIG_NAME = "config.json"


@dataclass(frozen=True)
class PSPConfig:
    """What a saved model is, beside its encoder and generator (which have configs of their own).

    Args:
        task: name of the task, a key of `psp_hub.tasks.TASKS` or your own.
        input_kind: how pictures are prepared for the encoder, a key of `psp_hub.preprocessing.PREPARATIONS`.
        base_generator: built-in generator that the styles are for; None if it is saved in `generator/`.

    Raises:
        ValueError: a value of another type.
    """

    task: str
    input_kind: str = "drawing"
    base_generator: str | None = None

    def __post_init__(self):
        for name, value in asdict(self).items():
            if not isinstance(value, str) and (name, value) != ("base_generator", None):
                raise ValueError(f"{name} is {value!r}, expected a text")

    def save(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / CONFIG_NAME).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PSPConfig":
        """Read `config.json` in `folder`.

        Raises:
            ValueError: no such file, not JSON, unknown or missing keys, or values of another type.
        """
        path = folder / CONFIG_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ValueError(f"{folder} is not a saved model: it has no {CONFIG_NAME}") from error
        except ValueError as error:  # JSONDecodeError or UnicodeDecodeError
            raise ValueError(f"{path} is not valid JSON: {error}") from error
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) - known or "task" not in values:
            raise ValueError(f"{path} has {values!r:.200}, expected `task` and some of {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
