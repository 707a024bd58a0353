"""The memory of calls, in the native subset (see `native`): blocks for large arrays, given back and used again, and arenas.

In: sizes in bytes; out: addresses. All of it runs under the interpreter's lock. Fresh pages from the system cost more than most steps.
"""

from __future__ import annotations

from tapejit.runtime import layout as at
from tapejit.runtime.native import c, i64, static

POOL = static(2048)  # POOL_BUCKETS pairs: bytes of a block, first free block (which begins with the address of the next)
POOLED = static(8)  # bytes that lie there
ARENAS = static(512)  # ARENA_LIMIT triples, shared by all plans: address, bytes, 1 while a call uses it, nothing


def take(size: int) -> int:
    """A block of `size` bytes: one that was given back, or a new one. (All of the pool runs under the interpreter's lock.)"""
    bucket = POOL
    for _k in range(at.POOL_BUCKETS):
        if i64[bucket] == size:
            block = i64[bucket + 8]
            if block != 0:
                i64[bucket + 8] = i64[block]
                i64[POOLED] -= size
                return block
            break
        if i64[bucket] == 0:
            break
        bucket += 16
    return c.aligned_alloc(64, size)


def release(capsule: int) -> int:
    """The destructor of the capsule that an array from the pool is based on."""
    block = c.PyCapsule_GetPointer(capsule, 0)
    size = c.PyCapsule_GetContext(capsule)
    if i64[POOLED] + size > at.POOL_LIMIT:
        c.free(block)
        return 0
    bucket = POOL
    for _k in range(at.POOL_BUCKETS):
        if i64[bucket] == size or i64[bucket] == 0 or i64[bucket + 8] == 0:
            if i64[bucket] != size:
                i64[bucket + 8] = 0
            i64[bucket] = size
            i64[block] = i64[bucket + 8]
            i64[bucket + 8] = block
            i64[POOLED] += size
            return 0
        bucket += 16
    c.free(block)
    return 0


def pooled() -> int:
    """Bytes that lie in the pool unused."""
    return i64[POOLED]


def drain() -> int:
    """Give the memory of the pool and of all arenas that no call uses back to the system."""
    bucket = POOL
    for _k in range(at.POOL_BUCKETS):
        while i64[bucket + 8] != 0:
            block = i64[bucket + 8]
            i64[bucket + 8] = i64[block]
            c.free(block)
        i64[bucket] = 0
        bucket += 16
    i64[POOLED] = 0
    arena = ARENAS
    for _k in range(at.ARENA_LIMIT):
        if i64[arena + 16] == 0:
            c.free(i64[arena])
            i64[arena] = 0
            i64[arena + 8] = 0
        arena += 32
    return 0


def take_arena(size: int, slot: int) -> int:
    """Put the address of an arena of `size` bytes or more at `slot`; which of the kept ones it is, or 0 if it is to be freed.

    The first that is free serves, and grows as needed: so steps that run one after the other all use the same memory, which the
    processor's caches still hold, and only calls within calls and on other threads take more.
    """
    size = (size + 127) & ~63
    arena = ARENAS
    for _k in range(at.ARENA_LIMIT):
        if i64[arena + 16] == 0:
            if size > i64[arena + 8]:
                c.free(i64[arena])
                i64[arena] = c.aligned_alloc(64, size)
                i64[arena + 8] = size if i64[arena] != 0 else 0
            i64[slot] = i64[arena]
            if i64[arena] == 0:
                return 0
            i64[arena + 16] = 1
            return arena
        arena += 32
    i64[slot] = c.aligned_alloc(64, size)
    return 0
