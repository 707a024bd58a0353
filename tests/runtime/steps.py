"""Compiled steps for tests, in the native subset. Arrays are int64; what is in the table is said at each."""

from __future__ import annotations

from tapejit.runtime.native import address, atomic_add, atomic_load, c, call, i64, stack, static

SEEN = static(64)


def increment(table: int) -> int:
    """[x, y, n] y = x + 1, n elements"""
    for k in range(i64[table + 16]):
        i64[i64[table + 8] + 8 * k] = i64[i64[table] + 8 * k] + 1
    return 0


def increment_here(table: int) -> int:
    """[v, n] v = v + 1, in place"""
    for k in range(i64[table + 8]):
        i64[i64[table] + 8 * k] += 1
    return 0


def add_sizes(table: int) -> int:
    """[x, y, out, N, M] out (N + M) = x (N), then y (M)"""
    n = i64[table + 24]
    for k in range(n):
        i64[i64[table + 16] + 8 * k] = i64[i64[table] + 8 * k]
    for k in range(i64[table + 32]):
        i64[i64[table + 16] + 8 * (n + k)] = i64[i64[table + 8] + 8 * k]
    return 0


def accumulate(table: int) -> int:
    """[x, v, v', total, same, n] v' = v + x, total = sum(v'), same = whether v and v' are one array"""
    total = 0
    for k in range(i64[table + 40]):
        value = i64[i64[table + 8] + 8 * k] + i64[i64[table] + 8 * k]
        i64[i64[table + 16] + 8 * k] = value
        total += value
    i64[i64[table + 24]] = total
    i64[i64[table + 32]] = i64[table + 8] == i64[table + 16]
    return 0


def fail_negative(table: int) -> int:
    """[x, v, v', error] v' = x; status 7 and an error record (6, 1, x) if x is negative"""
    i64[i64[table + 16]] = i64[i64[table]]
    if i64[i64[table]] < 0:
        i64[i64[table + 24]] = 6
        i64[i64[table + 24] + 8] = 1
        i64[i64[table + 24] + 16] = i64[i64[table]]
        return 7
    return 0


def copy_through_arena(table: int) -> int:
    """[x, y, arena, callback, n] x to the arena, callback, arena to y"""
    arena = i64[table + 16]
    if arena & 63 != 0:
        return 1
    for k in range(i64[table + 32]):
        i64[arena + 8 * k] = i64[i64[table] + 8 * k]
    if i64[table + 24] != 0:
        status = call(i64[table + 24], arena)
        if status != 0:
            return status
    for k in range(i64[table + 32]):
        i64[i64[table + 8] + 8 * k] = i64[arena + 8 * k]
    return 0


def positive(table: int) -> int:
    """[x, out, out size, n, fail] out = the positive elements of x, in memory of its own; status 3 if fail"""
    n = i64[table + 24]
    out = c.malloc(8 * n + 8)
    count = 0
    for k in range(n):
        value = i64[i64[table] + 8 * k]
        if value > 0:
            i64[out + 8 * count] = value
            count += 1
    i64[table + 8] = out
    i64[table + 16] = count
    return 3 if i64[table + 32] != 0 else 0


def spin(table: int) -> int:
    """[rounds, seen] wait until `seen` has been raised by another thread; status 1 if that takes too long"""
    atomic_add(i64[table + 8], 1)
    for _k in range(i64[table]):
        if atomic_load(i64[table + 8]) >= 2:
            return 0
    return 1


def nothing(table: int) -> int:
    """[]"""
    return 0


def arithmetic(a: int, b: int) -> int:
    """Every operator of the subset."""
    result = a + b * 3 - (a // (b + 1)) + a % (b + 1)
    result ^= (a << 2) | (b >> 1) & ~a
    if not (a < b) and (a >= 10 or b == 3) and a != 11:
        result += 1000
    elif a <= b or a > 100:
        result -= 1000
    k = 0
    while True:
        k += 1
        if k % 2 == 0:
            continue
        if k > 9:
            break
        result += k if k != 5 else -k
    for j in range(2, a):
        if j == 7:
            break
        result += j * (a > b)
    return result + (a == b or b > 5)


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def remember(value: int) -> int:
    before = i64[SEEN]
    i64[SEEN] = value
    return before


def mark(context: int, start: int, stop: int) -> int:
    """[seen, fail at] count how often each index is visited; status 100 + index at `fail at`"""
    for k in range(start, stop):
        i64[i64[context] + 8 * k] += 1
        if k == i64[context + 8]:
            return 100 + k
    return 0


def visit(table: int) -> int:
    """[seen, fail at, parallel_for, n, grain] a parallel loop of `mark`"""
    return call(i64[table + 16], address(mark), table, i64[table + 24], i64[table + 32])


def mark_rows(context: int, start: int, stop: int) -> int:
    """A parallel loop within a parallel loop: n rows of n."""
    inner = stack(16)
    for k in range(start, stop):
        i64[inner] = i64[context] + 8 * k * i64[context + 24]
        i64[inner + 8] = -1
        status = call(i64[context + 16], address(mark), inner, i64[context + 24], 1)
        if status != 0:
            return status
    return 0


def visit_rows(table: int) -> int:
    """[seen, -, parallel_for, n]"""
    return call(i64[table + 16], address(mark_rows), table, i64[table + 24], 1)
