"""Checkpoints read by the names of their values: `tf.train.load_checkpoint`, `list_variables`, `load_variable`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tapejit.core import places
from tapejit.core.errors import NotFoundError
from tapejit.tensor import convert_to_tensor
from tapejit.train import files
from tapejit.train.state import latest_checkpoint, path_of


class CheckpointReader:
    """The values of a checkpoint by name (`tf.train.load_checkpoint`)."""

    def __init__(self, path: Any) -> None:
        self._arrays = files.Arrays(path_of(path))

    def has_tensor(self, name: str) -> bool:
        """Whether there is a value of that name."""
        return name in self._arrays

    def get_tensor(self, name: str) -> Any:
        """The value of that name as an array. NotFoundError if there is none."""
        if name not in self._arrays:
            raise NotFoundError(
                places.with_place(f"Key {name} not found in checkpoint {self._arrays.path}; there are {', '.join(self._arrays)}")
            )
        return convert_to_tensor(self._arrays[name]).numpy()

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Shapes by name."""
        return {name: list(self._arrays.shape(name)) for name in self._arrays}

    def get_variable_to_dtype_map(self) -> dict[str, Any]:
        """Dtypes by name."""
        return {name: self._arrays.dtype(name) for name in self._arrays}

    def debug_string(self) -> bytes:
        """A line for each value."""
        return "\n".join(f"{n} ({self._arrays.dtype(n).name}) {list(self._arrays.shape(n))}" for n in self._arrays).encode()


def load_checkpoint(ckpt_dir_or_file: Any) -> CheckpointReader:
    """A reader of a checkpoint, or of the latest one of a folder. ValueError for a folder without one, NotFoundError for no file."""
    path = ckpt_dir_or_file
    if Path(path).is_dir():
        path = latest_checkpoint(path)
        if path is None:
            raise ValueError(places.with_place(f"Couldn't find 'checkpoint' file or checkpoints in given directory {ckpt_dir_or_file}"))
    return CheckpointReader(path)


def list_variables(ckpt_dir_or_file: Any) -> list[tuple[str, list[int]]]:
    """Names and shapes of the values of a checkpoint, by name (`tf.train.list_variables`)."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: Any, name: str) -> Any:
    """One value of a checkpoint as an array (`tf.train.load_variable`)."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))
