"""Pictures in a data set of the `datasets` library: on the Hub, or a local folder of pictures or parquet files."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

SAVED = ("state.json", "dataset_dict.json")  # what `save_to_disk` writes


def load_table(name: str, config_name: str | None, split: str, cache_dir: Path | None = None) -> "Dataset":
    """One split of a data set, with its pictures as they are stored.

    Args:
        name: a repository on the Hub, a folder of pictures or parquet files, or one of `Dataset.save_to_disk`.
        config_name: for those that have several configurations.
        split: its name; `datasets` also understands parts, such as `train[:1000]`.

    Raises:
        ImportError: the `datasets` library is missing.
        ValueError: no such data set, configuration or split.
    """
    try:
        import datasets
    except ImportError as error:
        message = "--dataset_name needs the library `datasets`: pip install datasets"
        raise ImportError(message) from error
    try:
        if any(Path(name, file).exists() for file in SAVED):
            saved = datasets.load_from_disk(name)
            return saved[split] if isinstance(saved, datasets.DatasetDict) else saved
        return datasets.load_dataset(name, config_name, split=split, cache_dir=cache_dir)
    except KeyError as error:
        raise ValueError(f"the data set {name} has no split {split!r}, expected one of {', '.join(saved)}") from error
    except (OSError, ValueError, datasets.exceptions.DatasetGenerationError) as error:
        raise ValueError(f"the data set {name} cannot be loaded (split {split!r}): {error}") from error


class TablePictures:
    """One column of a data set.

    Args:
        table: from `load_table`.
        column: its name.
        table_name: for messages.

    Raises:
        ValueError: no rows, no such column, or one that holds no pictures.
    """

    def __init__(self, table: "Dataset", column: str, table_name: str):
        from datasets import Image

        if not len(table):
            raise ValueError(f"the data set {table_name} has no rows")
        pictures = [name for name, feature in table.features.items() if isinstance(feature, Image)]
        if column not in table.features:
            raise ValueError(
                f"the data set {table_name} has no column {column!r}, expected one of {', '.join(table.features)} "
                f"(pictures: {', '.join(pictures) or 'none'})"
            )
        try:
            self.table = table.select_columns([column]).cast_column(column, Image(decode=False))
            self.table[0]
        except (TypeError, ValueError, NotImplementedError) as error:  # of pyarrow, too
            raise ValueError(
                f"the column {column!r} of the data set {table_name} holds no pictures ({table.features[column]}), "
                f"expected one of {', '.join(pictures) or 'none'}"
            ) from error
        self.column, self.table_name = column, table_name

    def __len__(self) -> int:
        return len(self.table)

    def file(self, i: int) -> Path | io.BytesIO:
        """
        Raises:
            ValueError: the cell is empty.
        """
        cell = self.table[i][self.column]
        if not cell or not (cell["bytes"] or cell["path"]):
            raise ValueError("there is no picture in this row")
        return io.BytesIO(cell["bytes"]) if cell["bytes"] else Path(cell["path"])

    def name(self, i: int) -> str:
        path = (self.table[i][self.column] or {}).get("path")
        return f"row {i} of {self.table_name}, column {self.column}" + (f" ({path})" if path else "")
