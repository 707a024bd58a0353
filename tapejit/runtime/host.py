"""The machine this process runs on, as a `Target`: its processor, caches, and how many threads a step may use.

Environment: `TAPEJIT_NUM_THREADS`, else `NUMBA_NUM_THREADS`, else `OMP_NUM_THREADS`; without one, the cores this process may run on.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from pathlib import Path

from tapejit.core.target import Target
from tapejit.runtime import cache, compile

_VARIABLES = ("TAPEJIT_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")


def target(threads: int | None = None) -> Target:
    """The host. `threads` overrides the environment."""
    cpu, features = processor()
    l1, l2 = _caches()
    usable = cores()
    return Target("cpu", cpu, features, _vector_bits(features), usable, threads or num_threads(), l1, l2)


def is_x86() -> bool:
    """Whether this is a 64-bit Intel or AMD processor."""
    return platform.machine().lower() in ("x86_64", "amd64")


def cores() -> int:
    """How many cores this process may run on: its affinity, and the share of processor time its container allows."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return count


_limit = 0


def limit_threads(count: int) -> None:
    """From now on steps are compiled for `count` threads; 0 for as many as the environment says."""
    global _limit
    _limit = count


def thread_limit() -> int:
    """What `limit_threads` was given."""
    return _limit


def num_threads() -> int:
    """How many threads a step may use. ValueError if the environment says something that is no positive number."""
    if _limit:
        return _limit
    for name in _VARIABLES:
        text = os.environ.get(name, "").split(",")[0].strip()  # OMP_NUM_THREADS may list one number per nesting level
        if not text:
            continue
        if not text.isdigit() or int(text) < 1:
            raise ValueError(f"the environment variable {name} is {text!r}; write a number of threads, for example {name}=4")
        return int(text)
    return cores()


@functools.cache
def processor() -> tuple[str, str]:
    """LLVM's name of the CPU and its features. Asking LLVM means loading it, so the answer is kept in the disk cache."""
    store = cache.default()
    key = cache.key("host", _fingerprint(), compile.version())
    known = store.lookup(key)
    if known is not None:
        cpu, _, features = known.decode().partition("\n")
        return cpu, features
    cpu, features = compile.host_cpu()
    store.store(key, "host processor", f"{cpu}\n{features}".encode())
    return cpu, features


def _fingerprint() -> str:
    """Tells this processor from any other; must be cheap and must not load LLVM."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
        lines = [x for x in first.splitlines() if x.split(":")[0].strip() in _IDENTIFYING]
        text = "\n".join(lines)
    except OSError:
        text = ""
    text = text or f"{platform.processor()} {platform.version()}"
    return hashlib.sha256(f"{platform.machine()}\n{text}".encode()).hexdigest()


_IDENTIFYING = {
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "flags",
    "Features",
    "CPU implementer",
    "CPU part",
    "CPU variant",
}


def _vector_bits(features: str) -> int:
    have = set(features.split(","))
    for feature, bits in (("+avx512f", 512), ("+avx2", 256), ("+avx", 256)):
        if feature in have:
            return bits
    return 128


@functools.cache
def _caches() -> tuple[int, int]:
    """Bytes of first-level data and of second-level cache of one core; common values where the system does not say."""
    sizes = {"1": 32 * 1024, "2": 1024 * 1024}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction" and level in sizes and size.endswith("K"):
            sizes[level] = int(size[:-1]) * 1024
    return sizes["1"], sizes["2"]
