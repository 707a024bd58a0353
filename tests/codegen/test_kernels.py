"""Every kernel of the table gives the same through the reference, LLVM, and the printed Python."""

from __future__ import annotations

import ctypes
import dataclasses
import mmap
import sys

import numpy as np
import pytest
from kernel_cases import CASES
from running import Native, program_of, run_python

from tapejit.codegen import numba
from tapejit.core import sizes
from tapejit.core.target import Target
from tapejit.loops import parser, reference
from tapejit.loops.nest import Kernel
from tapejit.runtime import host


def arrays(kernel: Kernel, named: dict[str, int], special: bool = False) -> dict[str, np.ndarray]:
    """Random inputs, and results filled with what must be overwritten. `special` mixes in NaN, inf and -0.0."""
    r = np.random.default_rng(7)
    out = {}
    for p in kernel.params:
        shape = tuple(sizes.evaluate(d, named) for d in p.shape)
        if p.dtype.kind == "f":
            a = r.normal(size=shape)
            if special and a.size:
                a.reshape(-1)[: 5 * 7 : 7] = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0])[: len(a.reshape(-1)[: 5 * 7 : 7])]
        elif p.dtype.kind == "b":
            a = r.integers(0, 2, shape)
        else:
            low = -1000 if p.dtype.kind == "i" else 0
            a = r.integers(max(low, int(p.dtype.min)), min(100_000, int(p.dtype.max)), shape)
            if a.size > 5:
                a.reshape(-1)[3:5] = 0
        out[p.name] = np.asarray(a).astype(p.dtype.np).reshape(shape)
    return out


def same(got: dict[str, np.ndarray], want: dict[str, np.ndarray], loose: float = 1.0) -> None:
    for name, w in want.items():
        g = got[name]
        if w.dtype.kind in "biu":
            np.testing.assert_array_equal(g, w, err_msg=name)
        else:
            precision = {2: 1e-2, 4: 2e-5, 8: 1e-12}[w.dtype.itemsize] * loose
            np.testing.assert_allclose(g.astype("f8"), w.astype("f8"), rtol=precision, atol=precision, err_msg=name)


def expected(name: str, special: bool = False) -> tuple[Kernel, dict[str, int], dict[str, np.ndarray], dict[str, np.ndarray]]:
    text, named = CASES[name]
    kernel = parser.kernel(text)
    before = arrays(kernel, named, special)
    want = {k: v.copy() for k, v in before.items()}
    assert reference.run_kernel(kernel, want, named) == 0
    return kernel, named, before, want


@pytest.mark.parametrize("name", CASES)
def test_native_is_the_reference(name: str) -> None:
    kernel, named, before, want = expected(name)
    got = {k: v.copy() for k, v in before.items()}
    assert Native(program_of(kernel))(got, named) == 0
    same(got, want)


@pytest.mark.parametrize("name", ["elementwise", "activations", "inner_sum", "softmax", "rounding", "bools", "product_symbolic_29_11_53"])
def test_native_keeps_nan_inf_and_zeros(name: str) -> None:
    kernel, named, before, want = expected(name, special=True)
    got = {k: v.copy() for k, v in before.items()}
    assert Native(program_of(kernel))(got, named) == 0
    same(got, want)


@pytest.mark.parametrize("name", CASES)
def test_python_text_is_the_reference(name: str) -> None:
    kernel, named, before, want = expected(name)
    program = program_of(kernel)
    got = {k: v.copy() for k, v in before.items()}
    assert run_python(numba.module(program), program, got, named, compiled=False) == 0
    same(got, want)


FEW = ["activations", "all_reductions", "pad", "integers", "bools", "product_epilogue", "scatter"]


@pytest.mark.parametrize("name", [n if n in FEW else pytest.param(n, marks=pytest.mark.sweep) for n in CASES if "half" not in n])
def test_numba_is_the_reference(name: str) -> None:
    kernel, named, before, want = expected(name)
    program = program_of(kernel)
    got = {k: v.copy() for k, v in before.items()}
    assert run_python(numba.module(program), program, got, named, compiled=True) == 0
    same(got, want)


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("product")])
def test_products_on_narrower_vectors(name: str, bits: int) -> None:
    kernel, named, before, want = expected(name)
    here = host.target(threads=1)
    if bits > here.vector_bits:
        pytest.skip("the processor has narrower vectors")
    got = {k: v.copy() for k, v in before.items()}
    assert Native(program_of(kernel), dataclasses.replace(here, vector_bits=bits))(got, named) == 0
    same(got, want)


def test_text_for_a_processor_without_vectors_compiles() -> None:
    kernel, named, before, want = expected("product_epilogue")
    if not host.target().cpu.startswith(("znver", "x86", "skylake", "haswell", "icelake", "sapphire", "cascade")):
        pytest.skip("an x86 processor is needed")
    got = {k: v.copy() for k, v in before.items()}
    assert Native(program_of(kernel), Target("cpu", "x86-64-v2", "", 128))(got, named) == 0
    same(got, want)


def test_text_says_what_sizes_are_constant() -> None:
    native = Native(program_of(expected("product_8_5_32")[0]))
    assert "icmp slt i64 %k.1, 5" in native.source.text


def fenced(a: np.ndarray) -> np.ndarray:
    """A copy of `a` that ends where memory that may not be touched begins."""
    page = mmap.PAGESIZE
    whole = max(1, -(-a.nbytes // page)) * page
    region = mmap.mmap(-1, whole + page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(region))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(base + whole), ctypes.c_size_t(page), 0) == 0
    out = np.frombuffer(region, a.dtype, a.size, whole - a.nbytes).reshape(a.shape)
    out[...] = a
    return out


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages the way Linux does")
@pytest.mark.parametrize("bits", [256, 512])
@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("product") or n in ("pad", "softmax", "half", "strided")])
def test_nothing_beyond_the_buffers_is_touched(name: str, bits: int) -> None:
    here = host.target(threads=1)
    if bits > here.vector_bits:
        pytest.skip("the processor has narrower vectors")
    kernel, named, before, want = expected(name)
    got = {k: fenced(v) for k, v in before.items()}
    assert Native(program_of(kernel), dataclasses.replace(here, vector_bits=bits))(got, named) == 0
    same(got, want)
