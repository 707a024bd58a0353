"""The host function: every kind of step, and what happens when one fails."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from running import CALLBACK, Native, program_of, run_python

from tapejit.codegen import llvm, numba
from tapejit.core.target import Target
from tapejit.loops import parser, printer, reference

KERNELS = """\
def double(x: f32[B, 4], y: out[f32[B, 4]], B: size):
    for i in parallel(B):
        for j in vector(4):
            y[i, j] = x[i, j] * 2.0

def count(x: f32[B, 4], n: out[i64], B: size):
    total: i64 = 0
    for i in serial(B):
        total += i64(x[i, 0] > 0.0)
    n[()] = total

def pick(x: f32[B, 4], y: out[f32[K]], B: size, K: size):
    at: i64 = 0
    for i in serial(B):
        if x[i, 0] > 0.0:
            y[at] = x[i, 0]
            at += 1

def small(n: inout[i64], c: out[bool], limit: i64):
    n[()] = n[()] * 2
    c[()] = n[()] < limit[()]

def positive(x: f32[B, 4], B: size):
    for i in serial(B):
        if x[i, 0] < 0.0:
            fail(11, x[i, 0], f64(i))

"""


def program(text: str):
    return parser.program(KERNELS + text)


X = np.array([[1, 2, 3, 4], [-1, 0, 1, 2], [5, 6, 7, 8]], "f4")


def both(text: str, arrays: dict[str, np.ndarray], named: dict[str, int], callback=None) -> tuple[Native, dict[str, np.ndarray], int]:
    """Run natively and by the reference, which must agree on the status and on every array."""
    p = program(text)
    want = {k: v.copy() for k, v in arrays.items()}
    got = {k: v.copy() for k, v in arrays.items()}
    python = None if callback is None else (lambda index, buffers, dims: callback(index, buffers, dims))
    expected = reference.run(p, want, named, python)
    native = Native(p)

    def called(index: int, addresses: int, dims: int) -> int:
        (step,) = [s for s in p.steps if getattr(s, "index", None) == index]
        views = []
        for k, name in enumerate(step.buffers):
            address = ctypes.c_void_p.from_address(addresses + 8 * k).value
            shape = got[name].shape
            views.append(np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), shape))
        return callback(index, views, [ctypes.c_int64.from_address(dims + 8 * k).value for k in range(len(step.sizes))])

    status = native(got, named, CALLBACK(called) if callback else None)
    assert status == expected
    for name in arrays:
        np.testing.assert_array_equal(got[name], want[name])
    native.delivered = {k: v for k, v in want.items() if k not in arrays}
    return native, got, status


def test_arena_and_copy() -> None:
    text = """\
def step(x, r, arena, B):
    sizes(B)
    arena = 64 * ((16 * B + 63) // 64) + 16 * B
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    h: arena[f32[B, 4]] = 0
    g: arena[f32[B, 4]] = 64 * ((16 * B + 63) // 64)
    double(x, h)
    double(h, g)
    copy(r, g)
"""
    _, got, status = both(text, {"x": X, "r": np.zeros_like(X)}, {"B": 3})
    assert status == 0
    np.testing.assert_array_equal(got["r"], 4 * X)


HEAP = """\
def step(x, arena, B, error, kept):
    sizes(B)
    arena = 64
    x: argument[f32[B, 4]]
    n: arena[i64] = 0
    k: heap[f32[K]]
    t: heap[f32[K, B]]
    count(x, n)
    K = size(n)
    allocate(k)
    allocate(t)
    pick(x, k)
    free(t)
    deliver(k, kept)
"""


def test_results_of_unknown_size_are_delivered() -> None:
    native, _, status = both(HEAP, {"x": X}, {"B": 3})
    assert status == 0
    at = native.program.table.index("kept")
    address, size = native.last_table[at : at + 2]
    assert size == 2
    assert address % 64 == 0
    view = np.ctypeslib.as_array(ctypes.cast(int(address), ctypes.POINTER(ctypes.c_float)), (2,)).copy()
    np.testing.assert_array_equal(view, native.delivered["kept"])
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free(int(address))


def test_a_failure_stops_the_step_and_says_what_failed() -> None:
    text = """\
def step(x, r, B, error):
    sizes(B)
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    k: heap[f32[B]]
    allocate(k)
    positive(x)
    double(x, r)
"""
    native, got, status = both(text, {"x": X, "r": np.zeros_like(X)}, {"B": 3})
    assert status == 12
    assert not got["r"].any()
    assert native.error[:2].tolist() == [11, 2]
    assert native.error[2:4].view("f8").tolist() == [-1.0, 1.0]


def test_what_was_allocated_is_freed_on_failure() -> None:
    text = """\
def step(x, B, error):
    sizes(B)
    x: argument[f32[B, 4]]
    k: heap[f32[B, 1000000]]
    allocate(k)
    positive(x)
    free(k)
"""
    native = Native(program(text))
    arrays = {"x": X}
    for _ in range(20_000):  # 80 GB if nothing were freed: address space that this process does not have
        assert native(arrays, {"B": 3}) == 12


def test_sizes_are_checked() -> None:
    text = """\
def step(x, r, B, C, error):
    sizes(B, C)
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    check_size(4, B + 1, C)
    double(x, r)
"""
    arrays = {"x": X, "r": np.zeros_like(X)}
    assert both(text, arrays, {"B": 3, "C": 4})[2] == 0
    native, _, status = both(text, arrays, {"B": 3, "C": 9})
    assert status == 5
    assert native.error[:2].tolist() == [4, 2]
    assert native.error[2:4].view("f8").tolist() == [4.0, 9.0]


@pytest.mark.parametrize("truth", [False, True])
def test_branches(truth: bool) -> None:
    text = """\
def step(x, r, c, arena, B):
    sizes(B)
    arena = 16 * B
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    c: argument[bool]
    h: arena[f32[B, 4]] = 0
    if c:
        double(x, h)
        double(h, r)
    else:
        copy(r, x)
"""
    _, got, _ = both(text, {"x": X, "r": np.zeros_like(X), "c": np.array(truth)}, {"B": 3})
    np.testing.assert_array_equal(got["r"], X * (4 if truth else 1))


def test_repetition() -> None:
    text = """\
def step(n, limit, x, r, arena, B):
    sizes(B)
    arena = 64 + 16 * B
    n: cell[i64]
    limit: argument[i64]
    x: argument[f32[B, 4]]
    r: cell[f32[B, 4]]
    c: arena[bool] = 0
    h: arena[f32[B, 4]] = 64
    while True:
        small(n, c, limit)
        if not c:
            break
        double(r, h)
        copy(r, h)
"""
    _, got, _ = both(text, {"n": np.array(1), "limit": np.array(20), "x": X, "r": X}, {"B": 3})
    assert got["n"] == 32
    np.testing.assert_array_equal(got["r"], 16 * X)


@pytest.mark.parametrize("answer", [0, 1])
def test_calls_back_into_python(answer: int) -> None:
    text = """\
def step(x, r, B, callback):
    sizes(B)
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    host_call(3, 6, [x, r], [B, 2 * B])
    double(r, x)
"""
    seen = []

    def callback(index, buffers, dims) -> int:
        seen.append((index, list(dims)))
        buffers[1][...] = buffers[0] + 1
        return answer

    _, got, status = both(text, {"x": X, "r": np.zeros_like(X)}, {"B": 3}, callback)
    assert status == (7 if answer else 0)
    assert seen == [(3, [3, 6])] * 2
    np.testing.assert_array_equal(got["r"], X + 1)
    np.testing.assert_array_equal(got["x"], X if answer else 2 * (X + 1))


FACTORS = """\
def factor(a: f64[B, 3, 3], w: inout[f64[B, 3, 3]], sums: inout[f64[B, 3, 3]], B: size):
    for b in parallel(B):
        for i in serial(3):
            for j in serial(3):
                w[b, i, j] = a[b, j, i]
        info: i32 = lapack.dpotrf(b'U', 3, w[b, 0, 0], 3)
        if info != 0:
            fail(4, f64(b), f64(info))
        blas.dgemm(b'N', b'N', 3, 3, 3, f64(2.0), a[b, 0, 0], 3, w[b, 0, 0], 3, f64(0.0), sums[b, 0, 0], 3)
"""


@pytest.mark.parametrize("broken", [False, True])
def test_routines_of_libraries_get_everything_by_address(broken: bool) -> None:
    program = program_of(parser.kernel(FACTORS))
    assert printer.kernel(program.kernels()[0]) == FACTORS
    a = np.array([[4.0, 2, 0], [2, 5, 1], [0, 1, 3]])
    a = np.stack([a, a + np.eye(3)])
    if broken:
        a[1, 2, 2] = -7
    found = []
    for run in ("native", "reference", "python"):
        arrays = {"a": a.copy(), "w": np.zeros_like(a), "sums": np.zeros_like(a)}
        if run == "native":
            native = Native(program)
            status = native(arrays, {"B": 2})
            if broken:
                assert list(native.error[:2]) == [4, 2]
                assert list(native.error[2:4].view(np.float64)) == [1.0, 3.0]
        elif run == "reference":
            status = reference.run(program, arrays, {"B": 2})
        else:
            status = run_python(numba.module(program), program, arrays, {"B": 2}, compiled=False)
        assert status == (5 if broken else 0)
        found.append(arrays)
    if not broken:
        for arrays in found:
            np.testing.assert_allclose(np.tril(arrays["w"]), np.linalg.cholesky(a))
            np.testing.assert_allclose(arrays["sums"], 2 * arrays["w"] @ a, rtol=1e-12)


def test_parallel_loops_go_through_the_pool_when_there_are_threads() -> None:
    chunks = []

    @ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    def pool(chunk, context, n, grain) -> int:
        run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(chunk)
        chunks.append((n, grain))
        return run(context, n // 2, n) or run(context, 0, n // 2)

    text = """\
def step(x, r, B):
    sizes(B)
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    double(x, r)
"""
    address = ctypes.cast(pool, ctypes.c_void_p).value
    arrays = {"x": X.copy(), "r": np.zeros_like(X)}
    native = Native(program(text), None, {"tapejit_parallel_for": address}, pool=True)
    assert native(arrays, {"B": 3}) == 0
    np.testing.assert_array_equal(arrays["r"], 2 * X)
    assert chunks == [(3, 4096)]


def test_the_printed_python_runs_a_whole_step() -> None:
    p = program(HEAP.replace("K, B", "K").replace("double", "double"))
    arrays = {"x": X.copy()}
    status, kept = run_python(numba.module(p), p, arrays, {"B": 3}, compiled=False)
    assert status == 0
    np.testing.assert_array_equal(kept, [1, 5])


def test_one_kernel_launched_twice_is_printed_once() -> None:
    text = """\
def step(x, r, arena, B):
    sizes(B)
    arena = 16 * B
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    h: arena[f32[B, 4]] = 0
    double(x, h)
    double(h, r)
"""
    source = llvm.module(program(text), Target())
    assert source.text.count("define internal i64 @kernel.double(") == 1
    assert source.python.count("def double(") == 1
    assert source.symbols == ()


def test_a_name_twice_in_the_table_is_refused() -> None:
    p = program("def step(x, x_, B):\n    sizes(B)\n    x: argument[f32[B, 4]]\n")
    bad = type(p)(p.name, p.buffers, p.steps, ("x", "x", "B"), 0, ("B",))
    with pytest.raises(ValueError, match="names x twice"):
        llvm.module(bad, Target())


def test_what_has_no_native_code_is_named() -> None:
    kernel = parser.kernel("def f(x: f32[3], y: out[f32[3]]):\n    for i in serial(3):\n        y[i] = ndtri(x[i])\n")
    from tapejit.loops.scalar_math import DEFINITIONS

    if ("ndtri", "f32") in DEFINITIONS:
        assert Native(program_of(kernel))({"x": np.full(3, 0.5, "f4"), "y": np.zeros(3, "f4")}) == 0
    else:
        with pytest.raises(NotImplementedError, match="ndtri"):
            llvm.module(program_of(kernel), Target())
    with pytest.raises(NotImplementedError, match="cuda"):
        llvm.module(program_of(kernel), Target("cuda"))


def test_a_buffer_under_two_names_may_be_written_through_one() -> None:
    text = """\
def shift(x: f32[8], y: inout[f32[8]]):
    for i in serial(7):
        y[i + 1] = x[i] + y[i + 1]

def step(x):
    x: cell[f32[8]]
    shift(x, x)
"""
    p = parser.program(text)
    arrays = {"x": np.ones(8, "f4")}
    want = {"x": np.ones(8, "f4")}
    reference.run(p, want)
    assert want["x"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    native = Native(p)
    assert "noalias" not in native.source.text
    assert native(arrays) == 0
    np.testing.assert_array_equal(arrays["x"], want["x"])
