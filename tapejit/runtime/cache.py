"""A disk cache: any string as key, bytes as payload, a name for people. Keeps object code and compiled programs between processes.

Layout: one file per entry in one directory, named by the SHA-256 of its key. A file is written beside its place and renamed
into it, so readers and concurrent writers never see half of one; its header carries a checksum of all that follows, so a file
that a crash or a bad disk damaged is a miss, and is removed. Losing an entry costs a compilation and nothing else, therefore
nothing is flushed to the disk by force, and every failure of the file system means "no cache", announced once.

Environment: `TAPEJIT_CACHE_DIR` (default: `tapejit` in the platform's cache folder; empty: no cache) and `TAPEJIT_CACHE_MB`
(default 512; 0: no cache). Beyond the limit the entries that were not used for longest go first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".tapejit"
_MAGIC = b"tapejit1"
_HEADER = struct.Struct("<8s32sIQ")  # magic, checksum of the rest, bytes of the name, bytes of the payload
_STALE_SECONDS = 3600.0  # a temporary file as old as this was left by a writer that died
_EVICT_TO = 0.8  # fraction of the limit that eviction leaves, so that not every store evicts


@dataclass(frozen=True)
class Entry:
    """One cached item: `name` as the writer gave it, `bytes` on disk, `age` in seconds since it was last used."""

    name: str
    bytes: int
    age: float
    path: Path


class Cache:
    """The cache in one directory. Safe to use from several threads and processes at once."""

    def __init__(self, directory: str | os.PathLike[str], limit: int = 512 * 2**20) -> None:
        self.directory = Path(directory)
        self.limit = limit
        self._estimate: int | None = None  # bytes in the directory, as far as this process knows
        self._off = limit <= 0
        self._warned = False

    def lookup(self, key: str) -> bytes | None:
        """The payload stored under `key`, or None. A hit counts as a use."""
        if self._off:
            return None
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        read = _unpack(content)
        if read is None or not self._trusted(path):
            self._discard(path)
            return None
        with contextlib.suppress(OSError):  # read-only: it works, it only cannot be told apart from entries nobody uses
            os.utime(path)
        return read[1]

    def store(self, key: str, name: str, payload: bytes) -> bool:
        """Keep `payload` under `key`; `name` is shown by `ls`. False if the file system does not allow it or it is over the limit."""
        content = _pack(name, payload)
        if self._off or len(content) > self.limit:
            return False
        import tempfile

        path = self._path(key)
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.directory, prefix=path.stem[:16] + ".", suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.replace(temporary, path)
            except BaseException:
                self._discard(Path(temporary))
                raise
        except OSError as error:
            self._warn(error)
            return False
        if self._estimate is not None:
            self._estimate += len(content)
        if self._estimate is None or self._estimate > self.limit:
            self._evict()
        return True

    def ls(self) -> list[Entry]:
        """All entries, the one used last first."""
        now, found = time.time(), []
        for path, stat in self._files():
            if path.suffix == SUFFIX:
                found.append(Entry(_read_name(path), stat.st_size, max(0.0, now - stat.st_mtime), path))
        return sorted(found, key=lambda e: e.age)

    def clear(self) -> int:
        """Remove every entry; how many there were."""
        paths = [path for path, _ in self._files()]
        for path in paths:
            self._discard(path)
        self._estimate = None
        return sum(path.suffix == SUFFIX for path in paths)

    def _path(self, key: str) -> Path:
        return self.directory / (hashlib.sha256(key.encode()).hexdigest() + SUFFIX)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            with os.scandir(self.directory) as found:
                for item in found:
                    if item.name.endswith((SUFFIX, ".tmp")):
                        try:
                            yield Path(item.path), item.stat()
                        except OSError:
                            continue  # removed by another process meanwhile
        except OSError:
            return

    def _evict(self) -> None:
        now, kept, total = time.time(), [], 0
        for path, stat in self._files():
            if path.suffix == ".tmp":
                if now - stat.st_mtime > _STALE_SECONDS:
                    self._discard(path)
                continue
            kept.append((stat.st_mtime, stat.st_size, path))
            total += stat.st_size
        if total > self.limit:
            for _, size, path in sorted(kept, key=lambda item: item[0]):
                self._discard(path)
                total -= size
                if total <= self.limit * _EVICT_TO:
                    break
        self._estimate = total

    @staticmethod
    def _discard(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()

    @staticmethod
    def _trusted(path: Path) -> bool:
        """The payload is going to be executed: it must be ours (or root's) and nobody else may have been able to write it."""
        if not hasattr(os, "getuid"):
            return True
        try:
            stat = path.stat()
        except OSError:
            return False
        return stat.st_uid in (os.getuid(), 0) and not stat.st_mode & 0o022

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"tapejit cannot write its cache in {self.directory} ({error.strerror or error}); programs are compiled anew in every "
                "process. Set TAPEJIT_CACHE_DIR to a folder you can write to, or to an empty string to do without.",
                RuntimeWarning,
                stacklevel=3,
            )


def default() -> Cache:
    """The process's cache, as the environment names it now."""
    setting = (os.environ.get("TAPEJIT_CACHE_DIR"), os.environ.get("TAPEJIT_CACHE_MB", "512"))
    if setting not in _defaults:
        directory, megabytes = setting
        try:
            limit = int(float(megabytes) * 2**20)
        except ValueError:
            raise ValueError(f"TAPEJIT_CACHE_MB is {megabytes!r}; write a number of megabytes, for example 512") from None
        _defaults[setting] = Cache(_platform_directory() if directory is None else directory, 0 if directory == "" else limit)
    return _defaults[setting]


_defaults: dict[tuple[str | None, str], Cache] = {}


def key(*parts: object) -> str:
    """One string out of several things that must all agree; no two different lists of parts give the same one."""
    return "".join(f"{len(text)}:{text}" for text in map(str, parts))


@functools.cache
def sources() -> str:
    """Changes when any file of this package does: what was compiled by other code than the present is no hit.

    Sizes and times of the files, not their contents: about a millisecond.
    """
    found, folders = [], [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    while folders:
        with os.scandir(folders.pop()) as items:
            for item in items:
                if item.is_dir() and not item.name.startswith(("__", ".")):
                    folders.append(item.path)
                elif item.name.endswith(".py"):
                    stat = item.stat()
                    found.append((item.path, stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def _platform_directory() -> Path:
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "tapejit"


def _pack(name: str, payload: bytes) -> bytes:
    label = name.encode()
    checksum = hashlib.sha256(label + payload).digest()
    return _HEADER.pack(_MAGIC, checksum, len(label), len(payload)) + label + payload


def _unpack(content: bytes) -> tuple[str, bytes] | None:
    """Name and payload, or None if the content is not what was written."""
    if len(content) < _HEADER.size:
        return None
    magic, checksum, label, payload = _HEADER.unpack_from(content)
    rest = content[_HEADER.size :]
    if magic != _MAGIC or len(rest) != label + payload or hashlib.sha256(rest).digest() != checksum:
        return None
    return rest[:label].decode(), rest[label:]


def _read_name(path: Path) -> str:
    """The name in the header, without reading the payload."""
    try:
        with open(path, "rb") as file:
            _, _, label, _ = _HEADER.unpack(file.read(_HEADER.size))
            return file.read(min(label, 4096)).decode(errors="replace")
    except (OSError, struct.error):
        return "(damaged)"
