"""Text to object code to a call; symbols; what the warm path imports."""

import gc
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest

from tapejit.runtime import call, compile, host, load

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


def table(*arrays):
    return np.array([a.ctypes.data for a in arrays], np.int64)


@pytest.mark.parametrize("release", [True, False])
def test_compile_load_call(release):
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


def test_unknown_symbols_are_refused():
    code = compile.object_code(ADD)
    with pytest.raises(LookupError, match="no_such_function_anywhere"):
        load.Module(code, ["no_such_function_anywhere"])
    with pytest.raises(LookupError, match="dnothing"):
        load.Module(code, ["lapack:dnothing"])
    with pytest.raises(LookupError, match="cuda"):
        load.Module(code, ["cuda:x"])
    with pytest.raises(LookupError, match="walk"):
        load.Module(code).address("walk")


def test_lapack_and_libm_are_called():
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


def test_modules_with_the_same_names_live_side_by_side_and_go():
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


def test_warm_process_needs_neither_numba_nor_a_compiler(tmp_path):
    code = textwrap.dedent("""
        import sys
        import numpy as np
        from tapejit.runtime import cache, call, compile, host, load
        assert "llvmlite" not in sys.modules, "importing the runtime must stay light"
        target = host.target()
        payload = cache.default().lookup("step")
        print("warm" if payload else "cold")
        if payload is None:
            payload = compile.object_code(sys.argv[1], target.cpu, target.features)
            cache.default().store("step", "step", payload)
        module = load.Module(payload)
        x, y = np.ones(1000, "f"), np.zeros(1000, "f")
        assert call.plain(module.address("step"))(np.array([x.ctypes.data, y.ctypes.data])) == 7 and (y == 2).all()
        assert "numba" not in sys.modules and "scipy" not in sys.modules
    """)
    import os

    env = {**os.environ, "TAPEJIT_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code, ADD], env=env, check=True, capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["cold", "warm"]
