"""The disk cache: what is stored comes back, and nothing a file system or another process does can break that."""

import multiprocessing
import os
import subprocess
import sys
import time
import warnings

import pytest

from tapejit.runtime import cache
from tapejit.runtime.cache import Cache


def test_store_and_lookup(tmp_path):
    c = Cache(tmp_path / "new" / "folder")
    assert c.lookup("k") is None
    assert c.store("k", "a name", b"payload")
    assert c.lookup("k") == b"payload"
    assert Cache(tmp_path / "new" / "folder").lookup("k") == b"payload"
    c.store("k", "a name", b"")
    assert c.lookup("k") == b""


def test_ls_and_clear(tmp_path):
    c = Cache(tmp_path)
    c.store("a", "first", b"x" * 100)
    c.store("b", "zweite Größe", b"y" * 10)
    past = time.time() - 500
    os.utime(c._path("a"), (past, past))
    newest, oldest = c.ls()
    assert (newest.name, oldest.name) == ("zweite Größe", "first")
    assert oldest.bytes > 100
    assert 499 < oldest.age < 600
    assert c.clear() == 2
    assert c.ls() == []
    assert c.lookup("a") is None


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:10], lambda b: b"", lambda b: b[:-3] + b"abc", lambda b: b + b"x", lambda b: b"X" + b[1:]]
)
def test_damaged_file_is_a_miss_and_goes(tmp_path, damage):
    c = Cache(tmp_path)
    c.store("k", "n", b"payload payload")
    path = c._path("k")
    path.write_bytes(damage(path.read_bytes()))
    assert c.lookup("k") is None
    assert not path.exists()
    c.store("k", "n", b"again")
    assert c.lookup("k") == b"again"


def test_least_recently_used_goes_first(tmp_path):
    c = Cache(tmp_path, limit=10_000)
    for i in range(8):
        c.store(str(i), f"entry {i}", bytes(1000))
        past = time.time() - 1000 + i
        os.utime(c._path(str(i)), (past, past))
    assert c.lookup("0") is not None  # now the most recently used
    c.store("8", "entry 8", bytes(1000))
    c.store("9", "entry 9", bytes(1000))
    assert c.lookup("0") is not None
    assert c.lookup("9") is not None
    assert c.lookup("1") is None
    assert sum(e.bytes for e in c.ls()) <= 10_000


def test_entry_over_the_limit_is_not_kept(tmp_path):
    c = Cache(tmp_path, limit=1000)
    c.store("small", "n", b"x")
    assert not c.store("k", "n", bytes(2000))
    assert c.lookup("k") is None
    assert c.lookup("small") == b"x"


def test_left_over_temporary_files_go(tmp_path):
    c = Cache(tmp_path)
    stale, fresh = tmp_path / "a.tmp", tmp_path / "b.tmp"
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (time.time() - 7200,) * 2)
    c.store("k", "n", b"x")
    assert not stale.exists()
    assert fresh.exists()


def test_unusable_directory_warns_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    c = Cache(tmp_path / "file" / "cache")
    with pytest.warns(RuntimeWarning, match="TAPEJIT_CACHE_DIR"):
        assert not c.store("k", "n", b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not c.store("k", "n", b"x")
    assert c.lookup("k") is None
    assert c.ls() == []
    assert c.clear() == 0


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write anywhere")
def test_read_only_directory_still_reads(tmp_path):
    c = Cache(tmp_path)
    c.store("k", "n", b"x")
    tmp_path.chmod(0o500)
    try:
        with pytest.warns(RuntimeWarning):
            assert not Cache(tmp_path).store("other", "n", b"x")
        assert c.lookup("k") == b"x"
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_file_others_could_write_is_not_executed(tmp_path):
    c = Cache(tmp_path)
    c.store("k", "n", b"x")
    c._path("k").chmod(0o666)
    assert c.lookup("k") is None


def test_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TAPEJIT_CACHE_DIR", str(tmp_path / "here"))
    monkeypatch.setenv("TAPEJIT_CACHE_MB", "3")
    assert (cache.default().directory, cache.default().limit) == (tmp_path / "here", 3 * 2**20)
    assert cache.default() is cache.default()
    monkeypatch.setenv("TAPEJIT_CACHE_DIR", "")
    assert not cache.default().store("k", "n", b"x")
    monkeypatch.delenv("TAPEJIT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache._defaults.clear()
    if sys.platform.startswith("linux"):
        assert cache.default().directory == tmp_path / "tapejit"
    monkeypatch.setenv("TAPEJIT_CACHE_MB", "much")
    with pytest.raises(ValueError, match="TAPEJIT_CACHE_MB"):
        cache.default()


def test_key_keeps_parts_apart():
    assert cache.key("ab", "c") != cache.key("a", "bc")
    assert cache.key("a", "") != cache.key("a")


def test_sources_change_with_any_file(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    file = tmp_path / "deep" / "er" / "a.py"
    file.write_text("x = 1\n")
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "runtime" / "cache.py"))
    said = []
    for text in ("x = 1\n", "x = 11\n", "x = 11\n"):
        if file.read_text() != text:
            file.write_text(text)
        cache.sources.cache_clear()
        said.append(cache.sources())
    cache.sources.cache_clear()
    assert said[0] != said[1]
    assert said[1] == said[2]


def _hammer(directory: str, seed: int, failures) -> None:
    c = Cache(directory, limit=60_000)
    for i in range(150):
        k = (i * 7 + seed) % 10
        got = c.lookup(str(k))
        if got is not None and got != bytes([k]) * (1000 * (k + 1)):
            failures.put((seed, i, k))
        c.store(str(k), "n", bytes([k]) * (1000 * (k + 1)))


def test_many_processes_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    workers = [context.Process(target=_hammer, args=(str(tmp_path), seed, failures)) for seed in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
        assert w.exitcode == 0
    assert failures.empty()
    assert not list(tmp_path.glob("*.tmp"))


def test_writer_killed_midway_leaves_no_half_entry(tmp_path):
    code = (
        "import os, sys\nfrom tapejit.runtime.cache import Cache\n"
        "os.replace = lambda a, b: os._exit(9)\n"
        f"Cache({str(tmp_path)!r}).store('k', 'n', b'x' * 1000)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert Cache(tmp_path).lookup("k") is None
