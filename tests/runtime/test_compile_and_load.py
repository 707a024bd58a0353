"""Text to object code to a call; symbols; what the warm path imports."""

import gc
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import numpy as np
import pytest

from tapejit.runtime import call, compile, host, link, load

ADD = textwrap.dedent("""
    define i64 @step(ptr noalias %t) {
    entry:
      %a = load ptr, ptr %t
      %s1 = getelementptr i64, ptr %t, i64 1
      %b = load ptr, ptr %s1
      br label %loop
    loop:
      %i = phi i64 [0, %entry], [%i1, %loop]
      %p = getelementptr float, ptr %a, i64 %i
      %q = getelementptr float, ptr %b, i64 %i
      %x = load float, ptr %p
      %y = fadd float %x, 1.0
      store float %y, ptr %q
      %i1 = add nuw nsw i64 %i, 1
      %c = icmp slt i64 %i1, 1000
      br i1 %c, label %loop, label %done
    done:
      ret i64 7
    }
""")


@pytest.fixture(params=["own", "llvm"])
def linker(request, monkeypatch):
    """Link by ourselves, and by LLVM."""

    def refuse(*args):
        raise link.Unsupported("by order of the test")

    if request.param == "llvm":
        monkeypatch.setattr(load, "Image", refuse)
    elif not host.is_x86() or sys.platform != "linux":
        pytest.skip("x86-64 Linux only")
    else:
        monkeypatch.setattr(load, "_by_llvm", refuse)


def table(*arrays):
    return np.array([a.ctypes.data for a in arrays], np.int64)


@pytest.mark.parametrize("release", [True, False])
def test_compile_load_call(release, linker):
    module = load.Module(compile.object_code(ADD))
    step = call.plain(module.address("step"), release_gil=release)
    x, y = np.arange(1000, dtype="f"), np.zeros(1000, "f")
    assert step(table(x, y)) == 7
    np.testing.assert_array_equal(y, x + 1)


def test_table_must_be_int64():
    module = load.Module(compile.object_code(ADD))
    with pytest.raises(TypeError, match="int64"):
        call.plain(module.address("step"))(np.zeros(2, "f"))


def test_assembly_uses_the_widest_vectors():
    register = {512: "zmm", 256: "ymm", 128: "xmm"}[host.target().vector_bits]
    attributes = ADD.replace("%t) {", f'%t) "prefer-vector-width"="{host.target().vector_bits}" {{')
    if "znver" in host.target().cpu or "512" not in str(host.target().vector_bits):
        attributes = ADD
    assert register in compile.assembly(attributes)


def test_optimized_text_is_vectorised():
    assert " x float>" in compile.optimized(ADD)
    assert " x float>" not in compile.optimized(ADD, options=compile.Options(vectorize=False))


def test_broken_text_is_quoted():
    with pytest.raises(compile.CompileError, match="ret i32 0") as caught:
        compile.object_code("define i64 @f() {\n ret i32 0\n}")
    assert "define i64 @f()" in caught.value.text


def test_unknown_symbols_are_refused(linker):
    code = compile.object_code(ADD)
    with pytest.raises(LookupError, match="no_such_function_anywhere"):
        load.Module(code, ["no_such_function_anywhere"])
    with pytest.raises(LookupError, match="dnothing"):
        load.Module(code, ["lapack:dnothing"])
    with pytest.raises(LookupError, match="cuda"):
        load.Module(code, ["cuda:x"])
    with pytest.raises(LookupError, match="walk"):
        load.Module(code).address("walk")


def test_lapack_and_libm_are_called(linker):
    text = textwrap.dedent("""
        declare void @"lapack:dpotrf"(ptr, ptr, ptr, ptr, ptr)
        declare double @cos(double)
        declare ptr @malloc(i64)
        declare void @free(ptr)
        @uplo = private constant i8 76
        define i64 @step(ptr %t) {
          %a = load ptr, ptr %t
          %s1 = getelementptr i64, ptr %t, i64 1
          %n = load ptr, ptr %s1
          %info = call ptr @malloc(i64 8)
          call void @"lapack:dpotrf"(ptr @uplo, ptr %n, ptr %a, ptr %n, ptr %info)
          %r = load i32, ptr %info
          call void @free(ptr %info)
          %x = load double, ptr %a
          %c = call double @cos(double %x)
          store double %c, ptr %a
          %w = sext i32 %r to i64
          ret i64 %w
        }
    """)
    module = load.Module(compile.object_code(text), ["lapack:dpotrf", "cos", "malloc", "free"])
    a, n = np.array([[4.0, 2.0], [2.0, 5.0]]), np.array([2], np.int32)
    assert call.plain(module.address("step"))(table(a, n)) == 0
    np.testing.assert_allclose(a.ravel()[[0, 1, 3]], [np.cos(2.0), 1.0, 2.0])


def test_modules_with_the_same_names_live_side_by_side_and_go(linker):
    steps = []
    for value in range(5):
        module = load.Module(compile.object_code(f"define i64 @step(ptr %t) {{\n ret i64 {value}\n}}"))
        steps.append((module, call.plain(module.address("step"))))
    assert [step(np.zeros(1, np.int64)) for _, step in steps] == [0, 1, 2, 3, 4]
    gone = weakref.ref(steps[0][0])
    del module, steps[0]
    gc.collect()
    assert gone() is None
    assert [step(np.zeros(1, np.int64)) for _, step in steps] == [1, 2, 3, 4]


EVERYTHING = textwrap.dedent("""
    declare double @cos(double)
    declare float @expf(float)
    @counter = internal global i64 40
    @zeros = internal global [100 x i64] zeroinitializer
    @shared = global i64 1
    @pointers = internal constant [2 x ptr] [ptr @one, ptr @two]
    @numbers = internal constant [16 x float] [float 1.0, float 2.0, float 3.0, float 4.0, float 5.0, float 6.0, float 7.0, float 8.0, float 9.0,
                                               float 10.0, float 11.0, float 12.0, float 13.0, float 14.0, float 15.0, float 16.0], align 64
    define internal i64 @one(i64 %x) noinline {
      %r = add i64 %x, 1
      ret i64 %r
    }
    define i64 @two(i64 %x) noinline {
      %r = mul i64 %x, 2
      ret i64 %r
    }
    define i64 @choose(i64 %x) noinline {
      switch i64 %x, label %other [ i64 0, label %a
                                    i64 1, label %b
                                    i64 2, label %c
                                    i64 3, label %d
                                    i64 4, label %e ]
    a:
      ret i64 17
    b:
      ret i64 5
    c:
      %r = load i64, ptr @counter
      ret i64 %r
    d:
      ret i64 -4
    e:
      ret i64 99
    other:
      ret i64 0
    }
    define i64 @step(ptr %t) {
      %k = load i64, ptr %t
      %slot = getelementptr [2 x ptr], ptr @pointers, i64 0, i64 %k
      %f = load ptr, ptr %slot
      %i = call i64 %f(i64 10)
      %c = load i64, ptr @counter
      %c1 = add i64 %c, %i
      store i64 %c1, ptr @counter
      %z = getelementptr [100 x i64], ptr @zeros, i64 0, i64 %k
      store i64 %c1, ptr %z
      %s = load i64, ptr @shared
      %n = getelementptr [16 x float], ptr @numbers, i64 0, i64 %c
      %chosen = call i64 @choose(i64 %k)
      %kf = uitofp i64 %k to double
      %cosine = call double @cos(double %kf)
      %kg = uitofp i64 %k to float
      %e = call float @expf(float %kg)
      %ei = fptosi float %e to i64
      %ci = fptosi double %cosine to i64
      %s1 = add i64 %c1, %s
      %s2 = add i64 %s1, %chosen
      %s3 = add i64 %s2, %ei
      %s4 = add i64 %s3, %ci
      ret i64 %s4
    }
""")


@pytest.mark.parametrize("opt", [0, 3])
def test_every_kind_of_reference(linker, opt):
    modules = [load.Module(compile.object_code(EVERYTHING, options=compile.Options(opt=opt))) for _ in range(2)]
    for module in modules:
        step = call.plain(module.address("step"))
        k = np.zeros(1, np.int64)
        assert step(k) == 51 + 1 + 17 + 1 + 1
        k[0] = 1
        assert step(k) == 71 + 1 + 5 + 2 + 0
        assert call.plain(module.address("two"))(np.zeros(1, np.int64)) % 2 == 0
        with pytest.raises(LookupError, match="one"):
            module.address("one_that_is_not")


def test_own_linker_refuses_what_it_does_not_know():
    for code in (b"", b"MZ" + bytes(200), b"\x7fELF" + bytes(200)):
        with pytest.raises(link.Unsupported):
            link.Image(code, lambda name: 0)


def test_linked_memory_is_given_back():
    if not host.is_x86() or sys.platform != "linux":
        pytest.skip("x86-64 Linux only")
    code = compile.object_code(EVERYTHING)

    def mapped():
        return len(Path("/proc/self/maps").read_text().splitlines())

    before = mapped()
    many = [load.Module(code) for _ in range(50)]
    assert mapped() > before
    del many
    gc.collect()
    assert mapped() <= before + 5


def test_warm_process_needs_neither_numba_nor_a_compiler(tmp_path):
    code = textwrap.dedent("""
        import sys
        import numpy as np
        from tapejit.runtime import cache, call, compile, host, load
        assert "llvmlite" not in sys.modules, "importing the runtime must stay light"
        target = host.target()
        payload = cache.default().lookup("step")
        print("warm" if payload else "cold")
        sys.argv.append("warm" if payload and sys.platform == "linux" and host.is_x86() else "cold")
        if payload is None:
            payload = compile.object_code(sys.argv[1], target.cpu, target.features)
            cache.default().store("step", "step", payload)
        module = load.Module(payload)
        x, y = np.ones(1000, "f"), np.zeros(1000, "f")
        assert call.plain(module.address("step"))(np.array([x.ctypes.data, y.ctypes.data])) == 7 and (y == 2).all()
        assert "numba" not in sys.modules and "scipy" not in sys.modules
        assert not payload or sys.argv[2] == "cold" or "llvmlite.binding" not in sys.modules, "a warm process loads no LLVM"
    """)
    import os

    env = {**os.environ, "TAPEJIT_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code, ADD], env=env, check=True, capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["cold", "warm"]


def test_equal_kernels_are_compiled_once():
    text = "\n".join(
        [
            *(f"define internal i64 @k{i}(ptr %p) noinline {{\n  store i64 {v}, ptr %p\n  ret i64 0\n}}" for i, v in enumerate((7, 7, 8))),
            "define i64 @entry(ptr %p) {",
            *(f"  %s{i} = call i64 @k{i}(ptr %p)" for i in range(3)),
            "  ret i64 0\n}",
        ]
    )
    found = compile.optimized(text)
    assert found.count("define internal") == 2
