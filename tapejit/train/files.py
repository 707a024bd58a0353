"""Arrays by name in one file in the format of safetensors, and how a file is replaced so that no reader ever meets half of it.

A file is written under another name in the same folder, brought to the disk, and renamed: whoever is killed, or loses power, at any
moment leaves the old file or the new one. Complex arrays are stored as their parts along a last axis of 2; the metadata list them.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tapejit.core import dtypes
from tapejit.core.errors import DataLossError, NotFoundError

SUFFIX = ".safetensors"
_CODES = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16", "uint32": "U32",
    "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_NAMES = {code: name for name, code in _CODES.items()}
_COMPLEX = "tapejit.complex"


def replace(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Have `write` fill a file that takes the place of the one at `path`, if any, only once it is whole. Folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync(path.parent)
    _sweep(path)


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _sweep(path: Path) -> None:
    """Remove what processes that were killed left of files like this one."""
    stem = re.sub(r"-\d+$", "", path.name.removesuffix(SUFFIX))
    for left in path.parent.glob(".*.tmp"):
        found = re.fullmatch(r"\.(.+)\.(\d+)\.tmp", left.name)
        if found and re.sub(r"-\d+$", "", found[1].removesuffix(SUFFIX)) == stem and not _runs(int(found[2])):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays and texts to the file at `path`, as a whole or not at all."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[np.ndarray] = []
    split = [name for name, a in arrays.items() if a.dtype.kind == "c"]
    if split:
        header["__metadata__"][_COMPLEX] = json.dumps(split)
    at = 0
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize):  # large elements first keeps all of them aligned
        flat = np.array(array, order="C", copy=None, ndmin=1)
        shape = list(array.shape)
        if array.dtype.kind == "c":
            flat, shape = flat.view(flat.real.dtype), [*shape, 2]
        header[name] = {"dtype": _CODES[dtypes.as_dtype(flat.dtype).name], "shape": shape, "data_offsets": [at, at + flat.nbytes]}
        parts.append(flat)
        at += flat.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def fill(file: BinaryIO) -> None:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for part in parts:
            file.write(part.reshape(-1).view(np.uint8).data)

    replace(path, fill)


class Arrays:
    """The arrays of a file, read one by one. NotFoundError if there is no such file, DataLossError if it is none of ours or damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                (length,) = struct.unpack("<Q", file.read(8))
                if length > size - 8:
                    raise ValueError("it is cut off")
                header = json.loads(file.read(length))
            self.metadata: dict[str, str] = header.pop("__metadata__", {})
            self._begin, self._header = 8 + length, header
            if any(8 + length + entry["data_offsets"][1] > size for entry in header.values()):
                raise ValueError("it is cut off")
        except FileNotFoundError:
            raise NotFoundError(
                f"Failed to find any matching files for {_unsuffixed(path)}: there is no {path.name} in {path.parent}"
            ) from None
        except (ValueError, KeyError, TypeError, struct.error, AttributeError) as e:
            raise DataLossError(f"{path} is no whole safetensors file: {e}") from None
        self._split = set(json.loads(self.metadata.get(_COMPLEX, "[]")))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._header))

    def __contains__(self, name: str) -> bool:
        return name in self._header

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the array `name`."""
        shape = tuple(self._header[name]["shape"])
        return shape[:-1] if name in self._split else shape

    def dtype(self, name: str) -> dtypes.DType:
        """The dtype of the array `name`."""
        found = dtypes.as_dtype(_NAMES[self._header[name]["dtype"]])
        return {dtypes.float32: dtypes.complex64, dtypes.float64: dtypes.complex128}[found] if name in self._split else found

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._header[name]
        begin, end = entry["data_offsets"]
        with open(self.path, "rb") as file:
            file.seek(self._begin + begin)
            data = file.read(end - begin)
        if len(data) != end - begin:
            raise DataLossError(f"{self.path} is cut off within {name}")
        return np.frombuffer(bytearray(data), self.dtype(name).np).reshape(self.shape(name))


def _unsuffixed(path: Path) -> str:
    return str(path).removesuffix(SUFFIX)
