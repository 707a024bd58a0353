"""Launchers, native and in Python: arguments, sizes, cells, results, failures, memory. Both are held to the same tests."""

import ctypes
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
import steps

from tapejit.core import sizes
from tapejit.runtime import launcher as launching
from tapejit.runtime import native
from tapejit.runtime.call import PlainCall
from tapejit.runtime.launcher import Launcher
from tapejit.runtime.plan import Argument, Cell, Give, GiveArgument, Literal, Made, Owner, Plan, Result, Same

I = np.dtype("int64")
F = np.dtype("float32")
N, M = sizes.named("N"), sizes.named("M")


class Tensor:
    __slots__ = ("__weakref__", "_array")

    def __init__(self, array):
        self._array = array


class Variable:
    __slots__ = ("__weakref__", "_value", "other")

    def __init__(self, value):
        self._value = Tensor(np.array(value, I))


def t(*values):
    return Tensor(np.array(values, I))


@pytest.fixture(scope="module")
def library():
    return native.Library(steps)


def plain(plan, fallback=None, on_error=None):
    call = PlainCall(plan, fallback, on_error)
    return Launcher(call, call.error, False, call.counter)


@pytest.fixture(params=["native", "plain"])
def make(request, library):
    """Builds a launcher for a step of `steps`."""

    def build(step, table, *args, fallback=None, on_error=None, **plan):
        built = Plan(library.address(step), table.split(), Tensor, *args, keep=(library,), **plan)
        return (launching.launcher if request.param == "native" else plain)(built, fallback, on_error)

    build.native = request.param == "native"
    if build.native and launching.supported():
        pytest.skip(launching.supported())
    return build


@pytest.fixture
def increment(make):
    return make("increment", "x y N", [Argument("x", I, (N,))], results=[Result("y", I, (N,))], returns=Give(0), sizes=["N"])


def test_native_launcher_is_used_here():
    assert (
        sys.implementation.name != "cpython"
        or sys.platform == "win32"
        or not hasattr(sys, "_is_gil_enabled")
        or launching.supported() is None
    )


# ---------------------------------------------------------------------------------------------- arguments
def test_call_makes_a_tensor(increment):
    for n in (0, 1, 5, 3000):
        y = increment.call(Tensor(np.arange(n)))
        assert type(y) is Tensor
        assert y._array.dtype == I
        np.testing.assert_array_equal(y._array, np.arange(n) + 1)
    assert increment.calls == 4


def test_bare_arrays_where_allowed(make, increment):
    np.testing.assert_array_equal(increment.call(np.arange(3))._array, [1, 2, 3])
    strict = make("increment", "x y N", [Argument("x", I, (N,), raw=False)], results=[Result("y", I, (N,))], returns=Give(0), sizes=["N"])
    assert strict.call(np.arange(3)) is NotImplemented


class Sub(np.ndarray):
    pass


@pytest.mark.parametrize(
    "wrong",
    [
        (), (t(1), t(2)), (None,), (3,), ([1, 2],), (Tensor(None),), (Tensor([1]),), (object(),),
        (Tensor(np.zeros(3, "f")),), (Tensor(np.zeros((3, 1), I)),), (Tensor(np.zeros((), I)),), (Tensor(np.arange(6)[::2]),),
        (Tensor(np.arange(3).astype(">i8")),), (np.int64(3),), (Tensor(np.int64(3)),), (np.arange(3).view(Sub),),
        (Tensor(np.frombuffer(bytes(25), np.uint8)[1:].view(I)),),
    ],
)  # fmt: skip
def test_other_calls_are_not_for_the_plan(increment, wrong):
    assert increment.call(*wrong) is NotImplemented
    assert increment.calls == 0


def test_unset_slot_is_not_for_the_plan(increment):
    assert increment.call(Tensor.__new__(Tensor)) is NotImplemented


def test_fallback_gets_the_call_as_it_was(make):
    def fallback(*args, **keywords):
        return args, keywords

    f = make(
        "increment", "x y N", [Argument("x", I, (N,))], results=[Result("y", I, (N,))], returns=Give(0), sizes=["N"], fallback=fallback
    )
    assert f.call(1, 2, a=3) == ((1, 2), {"a": 3})
    assert f.call(None) == ((None,), {})
    assert f.call(t(1))._array[0] == 2

    def failing(*args):
        raise KeyError("slow way")

    f = make("nothing", "", fallback=failing)
    assert f.call() is None
    with pytest.raises(KeyError, match="slow way"):
        f.call(1)


def test_launchers_chain_by_shape(make):
    def exact(n, fallback):
        return make(
            "increment", "x y N", [Argument("x", I, (n,))], results=[Result("y", I, (n,))], returns=Give(0),
            addresses={"N": n}, fallback=fallback,
        )  # fmt: skip

    two, three = exact(2, None), None
    three = exact(3, two.call)
    assert [x._array.tolist() for x in (three.call(t(1, 2, 3)), three.call(t(4, 5)))] == [[2, 3, 4], [5, 6]]
    assert three.call(t(1)) is NotImplemented
    assert (three.calls, two.calls) == (1, 1)


class Token:
    def __eq__(self, other):
        raise RuntimeError("never equal")

    __hash__ = None


TOKEN = Token()


@pytest.mark.parametrize(
    ("value", "good", "bad"),
    [
        (True, [True], [1, 1.0, False, None, "True"]),
        (None, [None], [0, False]),
        (3, [3], [3.0, 4, True]),
        (10**30, [10**30], [10**30 + 1]),
        (0.0, [0.0], [-0.0, 0, float("nan")]),
        (float("nan"), [float("nan")], [1.0]),
        ("adam", ["adam", "".join("adam")], ["sgd", b"adam"]),
        ((1, "a"), [(1, "a")], [(1, "b"), [1, "a"]]),
        (TOKEN, [TOKEN], [None]),
    ],
)
def test_literal_arguments(make, value, good, bad):
    f = make("nothing", "", [Literal(value)], returns="ran")
    assert [f.call(x) for x in good] == ["ran"] * len(good)
    assert [f.call(x) for x in bad] == [NotImplemented] * len(bad)


def test_literal_whose_comparison_fails_is_not_for_the_plan(make):
    if make.native:
        f = make("nothing", "", [Literal(TOKEN)])
        assert f.call(Token()) is NotImplemented


def test_literal_by_identity(make):
    value = "some text"
    f = make("nothing", "", [Literal(value, equal=False)], returns=1)
    assert f.call(value) == 1
    assert f.call("".join(list(value))) is NotImplemented


def test_nested_arguments(make):
    f = make(
        "increment", "x y n", [Literal(1), {"a": (Argument("x", I, (2,)), [Literal("s")]), 5: Argument(None, I, ())}],
        results=[Result("y", I, (2,))], returns=(Give(0), GiveArgument(3), GiveArgument(0)), addresses={"n": 2},
    )  # fmt: skip
    x, z = t(1, 2), Tensor(np.array(0))
    y, back, one = f.call(1, {5: z, "a": (x, ["s"])})
    assert y._array.tolist() == [2, 3]
    assert back is z
    assert one == 1
    for wrong in (
        {},
        {"a": (x, ["s"])},
        {"a": (x, ["t"]), 5: z},
        {"a": [x, ["s"]], 5: z},
        {"a": (x, ["s"]), 6: z},
        {"a": (x, []), 5: z},
        None,
        x,
    ):
        assert f.call(1, wrong) is NotImplemented
    assert f.call({5: z, "a": (x, ["s"])}) is NotImplemented


def test_arguments_by_name(make):
    f = make("nothing", "", [Literal(1), Literal(True), Argument(None, I, ())], keywords=["training", "x"], returns=GiveArgument(1))
    x = Tensor(np.array(0))
    assert f.call(1, training=True, x=x) is True
    for args, keywords in (((1, True, x), {}), ((1, True), {"x": x}), ((1,), {"training": False, "x": x}), ((1,), {"train": True, "x": x})):
        assert f.call(*args, **keywords) is NotImplemented
    assert f.call(1, training=True, x=None) is NotImplemented


# ------------------------------------------------------------------------------------------------- sizes
def test_sizes_are_bound_compared_and_computed(make):
    f = make(
        "add_sizes", "x y out N M", [Argument("x", I, (N,)), Argument("y", I, (M,)), Argument(None, I, (N, 2))],
        results=[Result("out", I, (N + M,))], returns=Give(0), sizes=["N", "M"],
    )  # fmt: skip
    assert f.call(t(1, 2), t(3), np.zeros((2, 2), I))._array.tolist() == [1, 2, 3]
    assert f.call(t(1), t(3, 4), np.zeros((1, 2), I))._array.tolist() == [1, 3, 4]
    assert f.call(t(1, 2), t(3), np.zeros((1, 2), I)) is NotImplemented


def test_guards(make):
    f = make(
        "nothing",
        "",
        [Argument(None, I, (N * 2,)), Argument(None, I, (N,)), Argument(None, I, (M,))],
        guards=[(M, sizes.minimum(N, 3))],
        returns=1,
    )
    z = lambda n: np.zeros(n, I)
    assert f.call(z(4), z(2), z(2)) == 1
    assert f.call(z(20), z(10), z(3)) == 1
    assert f.call(z(5), z(2), z(2)) is NotImplemented
    assert f.call(z(20), z(10), z(10)) is NotImplemented


@pytest.mark.parametrize(
    "dim", ["N + M", "2 * N * M - 3", "N // 3", "(N - 7) // 3 + 4", "max(N, M)", "min(N * N, M + 1)", "(N * M) // (M + 1)", "M * (N // 2)"]
)
def test_computed_sizes(make, dim):
    d = sizes.parse(dim)
    f = make("nothing", "out", [Argument(None, I, (N,)), Argument(None, I, (M,))], results=[Result("out", I, (d, 2))], returns=Give(0))
    for n, m in ((1, 2), (6, 5), (9, 1), (2, 11)):
        assert f.call(np.zeros(n, I), np.zeros(m, I))._array.shape == (sizes.evaluate(d, {"N": n, "M": m}), 2)


# ------------------------------------------------------------------------------------------------- cells
def accumulate(make, v, **more):
    return make(
        "accumulate", "x v w total same n", [Argument("x", I, (3,))], [Cell(v, "_value", I, (3,), "v", "w", **more)],
        [Result("total", I, ()), Result("same", I, ())], (Give(0), Give(1)), addresses={"n": 3},
    )  # fmt: skip


def test_cell_is_written_in_place_where_nobody_sees_it(make):
    v = Variable([1, 2, 3])
    f = accumulate(make, v, in_place=True)
    before = id(v._value)
    total, same = f.call(t(1, 1, 1))
    assert v._value._array.tolist() == [2, 3, 4]
    assert int(total._array) == 9
    if make.native:
        assert int(same._array) == 1
        assert id(v._value) == before


@pytest.mark.parametrize(
    "holder", [lambda v: v._value, lambda v: v._value._array, lambda v: v._value._array[1:], lambda v: memoryview(v._value._array)]
)
def test_cell_that_somebody_holds_gets_another_array(make, holder):
    v = Variable([1, 2, 3])
    f = accumulate(make, v, in_place=True)
    kept = holder(v)
    shown = np.array(kept._array if isinstance(kept, Tensor) else kept).tolist()
    _, same = f.call(t(1, 1, 1))
    assert int(same._array) == 0
    assert v._value._array.tolist() == [2, 3, 4]
    assert np.array(kept._array if isinstance(kept, Tensor) else kept).tolist() == shown
    del kept
    _, same = f.call(t(1, 1, 1))
    assert v._value._array.tolist() == [3, 4, 5]
    if make.native:
        assert int(same._array) == 1


def test_cell_given_as_argument_is_not_overwritten(make):
    v = Variable([1, 2, 3])
    f = accumulate(make, v, in_place=True)
    f.call(v._value)
    assert v._value._array.tolist() == [2, 4, 6]


def test_one_buffer_read_and_written(make):
    v = Variable([1, 2, 3])
    g = make("increment_here", "v n", cells=[Cell(v, "_value", I, (3,), "v", "v", True)], addresses={"n": 3})
    g.call()
    kept = v._value
    g.call()
    assert kept._array.tolist() == [2, 3, 4]
    assert v._value._array.tolist() == [3, 4, 5]


def test_view_and_read_only_array_are_not_written(make):
    v = Variable([0, 0, 0])
    owner = np.zeros(5, I)
    v._value = Tensor(owner[:3])
    f = accumulate(make, v, in_place=True)
    f.call(t(1, 1, 1))
    assert owner.tolist() == [0] * 5
    assert v._value._array.tolist() == [1, 1, 1]
    frozen = np.frombuffer(bytes(24), I)
    v._value = Tensor(frozen)
    del frozen
    f.call(t(1, 1, 1))
    assert v._value._array.tolist() == [1, 1, 1]


def test_swapping_uses_two_arrays_in_turn(make):
    v = Variable([1, 2, 3])
    f = accumulate(make, v)
    arrays = set()
    for _ in range(6):
        total, same = f.call(t(1, 1, 1))
        assert int(same._array) == 0
        arrays.add(v._value._array.ctypes.data)
    assert v._value._array.tolist() == [7, 8, 9]
    assert int(total._array) == 24
    if make.native:
        assert len(arrays) == 2


def test_kept_old_values_stay(make):
    v = Variable([0, 0, 0])
    f = accumulate(make, v)
    history = []
    for _ in range(5):
        history.append(v._value)
        f.call(t(1, 2, 3))
    assert [h._array.tolist() for h in history] == [[k, 2 * k, 3 * k] for k in range(5)]


@pytest.mark.parametrize("value", [None, "text", Tensor(np.zeros(4, I)), Tensor(np.zeros(3, "f")), Tensor(None)])
def test_cell_with_another_value_is_not_for_the_plan(make, value):
    v = Variable([1, 2, 3])
    f = accumulate(make, v)
    v._value = value
    assert f.call(t(1, 1, 1)) is NotImplemented
    assert v._value is value
    del v._value
    assert f.call(t(1, 1, 1)) is NotImplemented


def test_scalars_of_numpy_are_read(make):
    v = Variable(4)
    v._value = Tensor(np.int64(5))
    f = make(
        "accumulate", "x v w total same n", [Argument("x", I, ())], [Cell(v, "_value", I, (), "v", "w", True)],
        [Result("total", I, ()), Result("same", I, ())], Give(0), addresses={"n": 1},
    )  # fmt: skip
    assert int(f.call(Tensor(np.int64(2)))._array) == 7
    assert int(f.call(np.int64(2))._array) == 9
    assert int(f.call(Tensor(np.array(1)))._array) == 10
    assert int(v._value._array) == 10


def test_failing_step_leaves_cells(make):
    v = Variable(1)
    table, cells = "x v w error", [Cell(v, "_value", I, (), "v", "w")]
    f = make("fail_negative", table, [Argument("x", I, ())], cells)
    assert f.call(Tensor(np.array(5))) is None
    assert int(v._value._array) == 5
    before = v._value
    assert f.call(Tensor(np.array(-3))) == 7
    assert v._value is before
    assert int(before._array) == 5
    assert f.error[:3].tolist() == [6, 1, -3]
    assert f.call(Tensor(np.array(6))) is None
    assert int(v._value._array) == 6

    def on_error(status):
        raise ArithmeticError(status)

    g = make("fail_negative", table, [Argument("x", I, ())], cells, on_error=on_error)
    with pytest.raises(ArithmeticError, match="7"):
        g.call(Tensor(np.array(-3)))
    assert int(v._value._array) == 6


def test_gate(make):
    gate = np.zeros(1, np.int64)
    f = make("nothing", "", gate=gate, returns="ran")
    assert f.call() == "ran"
    gate[0] = 2
    assert f.call() is NotImplemented
    gate[0] = 0
    assert f.call() == "ran"


# ------------------------------------------------------------------------------------------------ results
def test_structure_of_returns(make):
    f = make(
        "increment", "x y n", [Argument("x", I, (2,))], results=[Result("y", I, (2,))], addresses={"n": 2},
        returns={"loss": Give(0), "more": [GiveArgument(0), (None, "c", ())], "again": Give(0)},
    )  # fmt: skip
    x = t(1, 2)
    out = f.call(x)
    assert list(out) == ["loss", "more", "again"]
    assert out["loss"]._array.tolist() == [2, 3]
    assert out["again"] is out["loss"]
    assert out["more"][0] is x
    assert out["more"][1] == (None, "c", ())
    assert type(out["more"]) is list
    assert type(out["more"][1]) is tuple


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "int8", "uint64", "bool", "complex64", "complex128"])
def test_scalar_results(make, name):
    f = make("nothing", "y", results=[Result("y", np.dtype(name), ())], returns=Give(0))
    y = f.call()._array
    assert y.dtype == name
    assert y.shape == ()


def test_scalar_results_hold_the_value(make):
    f = make("increment", "x y n", [Argument("x", I, ())], results=[Result("y", I, ())], returns=Give(0), addresses={"n": 1})
    many = [f.call(Tensor(np.array(k))) for k in range(100)]
    assert [int(y._array) for y in many] == list(range(1, 101))


def test_results_of_size_known_only_to_the_step(make):
    fail = np.zeros(1, I)
    f = make(
        "positive", "x out out.0 N fail", [Argument("x", I, (N,))], results=[Result("out", I, (sizes.named("K"),), delivered=True)],
        returns=Give(0), sizes=["N"], addresses={"fail": 0},
    )  # fmt: skip
    assert f.call(t(1, -2, 3, 0, 5))._array.tolist() == [1, 3, 5]
    assert f.call(t(-1))._array.shape == (0,)
    assert f.call(Tensor(np.arange(5000)))._array.tolist() == list(range(1, 5000))
    g = make(
        "positive", "x out out.0 N fail", [Argument("x", I, (N,))], results=[Result("out", I, (sizes.named("K"),), delivered=True)],
        returns=Give(0), sizes=["N"], addresses={"fail": 1},
    )  # fmt: skip
    assert g.call(t(1, 2)) == 3
    assert fail[0] == 0


@pytest.mark.parametrize("delivered", [True, False])
def test_a_cell_is_given_a_result_of_another_size(make, delivered):
    v = Variable([1, 2])
    cells = [Cell(v, "_value", I, (M,), None, result=0)]
    if delivered:
        result = Result("out", I, (sizes.named("K"),), delivered=True)
        f = make(
            "positive", "x out out.0 N fail", [Argument("x", I, (N,))], cells, [result], None, sizes=["N"], addresses={"fail": 0}
        )  # fmt: skip
    else:
        f = make("increment", "x out N", [Argument("x", I, (N,))], cells, [Result("out", I, (N,))], Give(0), sizes=["N"])
    first = v._value
    out = f.call(t(1, -2, 3, 0, 5))
    assert v._value._array.tolist() == ([1, 3, 5] if delivered else [2, -1, 4, 1, 6])
    assert first._array.tolist() == [1, 2]
    assert delivered or out is v._value
    f.call(t(-1))
    assert v._value._array.tolist() == ([] if delivered else [0])


def test_a_failing_step_gives_a_cell_nothing(make):
    v = Variable([1, 2])
    result = Result("out", I, (sizes.named("K"),), delivered=True)
    f = make(
        "positive", "x out out.0 N fail", [Argument("x", I, (N,))], [Cell(v, "_value", I, (M,), None, result=0)], [result], None,
        sizes=["N"], addresses={"fail": 1},
    )  # fmt: skip
    before = v._value
    assert f.call(t(1, 2)) == 3
    assert v._value is before


def test_constants_reach_the_step(make):
    f = make("increment", "x y n", constants={"x": np.array([10, 20])}, results=[Result("y", I, (2,))], returns=Give(0), addresses={"n": 2})
    gc.collect()
    assert f.call()._array.tolist() == [11, 21]


# ------------------------------------------------------------------------------------ arenas, callbacks, threads
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


def through_arena(make, callback=None, **more):
    address = ctypes.cast(callback, ctypes.c_void_p).value if callback else 0
    return make(
        "copy_through_arena", "x y arena callback N", [Argument("x", I, (N,))], results=[Result("y", I, (N,))], returns=Give(0),
        sizes=["N"], addresses={"callback": address}, arena=N * 8, **more,
    )  # fmt: skip


def test_arena_grows_with_the_sizes(make):
    f = through_arena(make)
    for n in (1, 1000, 5, 100_000, 0):
        np.testing.assert_array_equal(f.call(np.arange(n))._array, np.arange(n))


def test_reentry_gets_another_arena(make):
    inner = []

    @CALLBACK
    def callback(arena):
        if len(inner) < 3:
            inner.append(arena)
            f.call(np.arange(10) + 100 * len(inner))
        return 0

    f = through_arena(make, callback, calls_back=True)
    np.testing.assert_array_equal(f.call(np.arange(10))._array, np.arange(10))
    assert len(set(inner)) == 3


@pytest.mark.parametrize("release", [True, False])
def test_failing_callback(make, release):
    @CALLBACK
    def callback(arena):
        return 5

    f = through_arena(make, callback, release_gil=release, calls_back=True)
    assert f.call(np.arange(3)) == 5
    assert f.call(np.arange(3)) == 5


def test_what_a_step_reads_outlives_its_tensors(make):
    """The callback drops the last other reference to the variable's value while the step still reads it."""
    v = Variable([1, 2, 3])
    gone = []

    @CALLBACK
    def callback(arena):
        watched = weakref.ref(v._value._array)
        v._value = Tensor(np.zeros(3, I))
        gc.collect()
        gone.append(watched() is None)
        return 0

    address = ctypes.cast(callback, ctypes.c_void_p).value
    f = make(
        "copy_through_arena", "x y arena callback n", cells=[Cell(v, "_value", I, (3,), "x")], results=[Result("y", I, (3,))],
        returns=Give(0), addresses={"callback": address, "n": 3}, arena=24, calls_back=True,
    )  # fmt: skip
    assert f.call()._array.tolist() == [1, 2, 3]
    assert gone == [False]


def test_other_threads_run_while_a_step_that_releases_does(make):
    """Two steps wait for each other: that ends only if they run at the same time."""
    seen = np.zeros(1, I)
    f = make("spin", "rounds seen", addresses={"rounds": 20_000_000_000}, constants={"seen": seen}, release_gil=True)
    said = []
    threads = [threading.Thread(target=lambda: said.append(f.call())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert said == [None, None]


def test_threads_share_a_plan(make):
    f = through_arena(make, release_gil=True)
    wrong = []

    def work(seed):
        x = np.arange(500) * seed
        for _ in range(200):
            if not np.array_equal(f.call(x)._array, x):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ------------------------------------------------------------------------------------------------- memory
@pytest.fixture
def only_native(library):
    if launching.supported():
        pytest.skip(launching.supported())

    def build(step, table, *args, fallback=None, on_error=None, **plan):
        return launching.launcher(Plan(library.address(step), table.split(), Tensor, *args, keep=(library,), **plan), fallback, on_error)

    build.native = True
    return build


@pytest.mark.sweep
def test_hundred_thousand_calls_leave_nothing(only_native):
    check_counts(only_native, 100_000)


def test_counts_are_exact(only_native):
    check_counts(only_native, 5_000)


def check_counts(make, calls):
    v, w = Variable([1, 2, 3]), Variable([1, 2, 3])
    const = object()
    f = make(
        "accumulate", "x v w total same n", [Argument("x", I, (3,)), Literal("mode")],
        [Cell(v, "_value", I, (3,), "v", "w", True), Cell(w, "_value", I, (3,), None)],
        [Result("total", I, ()), Result("same", I, ()), Result("w", I, (3,))][:2],
        {"a": (Give(0), [Give(1)]), "b": GiveArgument(0), "c": const, "d": None}, addresses={"n": 3},
    )  # fmt: skip
    failing = make("fail_negative", "x v w error", [Argument("x", I, ())], [Cell(Variable(1), "_value", I, (), "v", "w")])
    bad = Tensor(np.array(-1))
    resized = Variable([1])
    resizing = make(
        "increment", "x out N", [Argument("x", I, (N,))], [Cell(resized, "_value", I, (M,), None, result=0)], [Result("out", I, (N,))], Give(0),
        sizes=["N"],
    )  # fmt: skip
    x = t(0, 0, 0)
    swapping = accumulate(make, w)
    watched = [
        x,
        x._array,
        I,
        np.int64,
        np.ndarray,
        Tensor,
        const,
        None,
        v,
        w,
        "mode",
        NotImplemented,
        bad,
        bad._array,
        v._value,
        v._value._array,
    ]
    f.call(x, "mode")
    swapping.call(x)
    resizing.call(x)
    gc.collect()
    before, blocks = [sys.getrefcount(o) for o in watched], sys.getallocatedblocks()
    for _ in range(calls):
        f.call(x, "mode")
        f.call(x, "other")
        f.call(x, mode=1)
        failing.call(bad)
        swapping.call(x)
        resizing.call(x)
    gc.collect()
    after, blocks_after = [sys.getrefcount(o) for o in watched], sys.getallocatedblocks()
    assert [b - a for a, b in zip(before, after, strict=True) if abs(b - a) > 5] == []
    assert abs(blocks_after - blocks) < 100


def test_large_results_reuse_memory(only_native):
    launching.drain()
    f = only_native("nothing", "y", results=[Result("y", F, (300, 1000))], returns=Give(0))
    first = f.call()
    where = first._array.ctypes.data
    assert where % 64 == 0
    assert launching.pooled() == 0
    view = first._array[10:]
    del first
    assert launching.pooled() == 0
    del view
    assert launching.pooled() == 1_200_000
    again = f.call()
    assert again._array.ctypes.data == where
    assert launching.pooled() == 0
    other = f.call()
    assert other._array.ctypes.data != where
    del again, other
    assert launching.pooled() == 2_400_000
    launching.drain()
    assert launching.pooled() == 0


def test_pool_with_many_sizes(only_native):
    launching.drain()
    f = only_native("nothing", "y", [Argument(None, I, (N,))], results=[Result("y", I, (N,))], returns=Give(0))
    for n in range(600, 6000, 8):
        y = f.call(np.zeros(n, I))._array
        y[:] = n
        assert y.shape == (n,)
    kept = [f.call(np.zeros(n, I))._array for n in (600, 601, 900, 600)]
    for k, y in enumerate(kept):
        y[:] = k
    assert [set(y.tolist()) for y in kept] == [{0}, {1}, {2}, {3}]
    del kept, y
    launching.drain()


def test_large_cells_swap_in_place_and_spare(only_native):
    v = Variable(np.zeros(3000, I))
    for in_place in (True, False):
        f = only_native(
            "accumulate", "x v w total same n", [Argument("x", I, (3000,))], [Cell(v, "_value", I, (3000,), "v", "w", in_place)],
            [Result("total", I, ()), Result("same", I, ())], Give(1), addresses={"n": 3000},
        )  # fmt: skip
        x = np.ones(3000, I)
        f.call(x), f.call(x)
        assert bool(f.call(x)._array) == in_place
    assert set(v._value._array.tolist()) == {6}


def test_an_argument_may_own_a_cell(make):
    first, again, other = (Owner(Variable, "_value", I, (3,), k) for k in (0, 0, 1))
    f = make(
        "accumulate", "x v w total same n", [Argument("x", I, (3,)), [first, {"k": other}], again], [Cell(other, "_value", I, (3,), "v", "w")],
        [Result("total", I, ()), Result("same", I, ())], Give(0), addresses={"n": 3},
    )  # fmt: skip
    v, w, small = Variable([1, 2, 3]), Variable([10, 20, 30]), Variable([1])
    for a, b in ((v, w), (w, v)):
        assert type(f.call(t(1, 1, 1), [a, {"k": b}], a)) is Tensor
    assert (v._value._array.tolist(), w._value._array.tolist()) == ([2, 3, 4], [11, 21, 31])
    for a, b, c in ((v, w, w), (v, v, v), (v, small, v), (v, t(1, 1, 1), v), (v, None, v)):
        assert f.call(t(1, 1, 1), [a, {"k": b}], c) is NotImplemented
    gone, n = weakref.ref(w), f.calls
    del w, a, b, c
    gc.collect()
    assert (gone(), n) == (None, 2)


def test_an_owner_has_what_it_must_have(make):
    token, v = object(), Variable([1])
    f = make("nothing", "", [Owner(Variable, "_value", I, (1,), having=("other", token))], returns="ran")
    assert f.call(v) is NotImplemented
    v.other = token
    assert f.call(v) == "ran"


def test_an_object_that_must_be_the_same_is_not_kept_alive(make):
    v = Variable([1])
    f = make("nothing", "", [Same(weakref.ref(v))], returns="ran")
    assert f.call(v) == "ran"
    assert f.call(Variable([1])) is NotImplemented
    gone = weakref.ref(v)
    del v
    gc.collect()
    assert gone() is None
    assert f.call(None) is NotImplemented


def test_results_may_be_put_together_by_a_function(make):
    def failing(*parts):
        raise KeyError(*parts)

    two = [Result("y", I, (3,))]
    f = make(
        "increment", "x y N", [Argument("x", I, (3,))], results=two, returns=(1, Made(range, (2, 5)), Made(dict, ())), addresses={"N": 3}
    )
    assert f.call(t(1, 2, 3)) == (1, range(2, 5), {})
    f = make("increment", "x y N", [Argument("x", I, (3,))], results=two, returns=[Give(0), Made(failing, ("no",))], addresses={"N": 3})
    with pytest.raises(KeyError, match="no"):
        f.call(t(1, 2, 3))


def test_launcher_is_collected_with_all_it_holds(make):
    def run():
        v, holder = Variable([1, 2, 3]), []

        def fallback(*args):
            return holder

        f = make(
            "accumulate", "x v w total same n", [Argument("x", I, (3,))], [Cell(v, "_value", I, (3,), "v", "w")],
            [Result("total", I, ()), Result("same", I, ())], addresses={"n": 3}, fallback=fallback,
        )  # fmt: skip
        holder.append(f)  # a circle
        f.call(t(1, 1, 1))
        return weakref.ref(v)

    gone = run()
    gc.collect()
    assert gone() is None


def frames_of(function, *args):
    """The Python functions that run between the call and its return."""
    seen = []
    sys.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name) if event == "call" else None)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return seen


def test_no_python_runs_between_entry_and_return(only_native):
    v = Variable([1, 2, 3])
    f, x = accumulate(only_native, v, in_place=True), t(1, 1, 1)
    assert frames_of(f.call, x) == []
    kept = v._value
    assert frames_of(f.call, x) == []
    assert kept._array.tolist() == [2, 3, 4]
    assert "frames_of" in frames_of(frames_of, f.call, x)


# -------------------------------------------------------------------------------------------- wrong plans
@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"arguments": [Argument("zz", I, ())]}, ValueError, "'zz'"),
        ({"results": [Result("y", I, (N,))]}, ValueError, "N"),
        ({"results": [Result("y", I, (N,), delivered=True)]}, ValueError, "room"),
        ({"returns": Give(0)}, ValueError, "no result 0"),
        ({"sizes": ["y"]}, ValueError, "y"),
        ({"constants": {"x": np.zeros((4, 4))[:, 1]}}, ValueError, "contiguous"),
        ({"gate": np.zeros(1, "f")}, TypeError, "gate"),
    ],
)
def test_plans_that_contradict_themselves(only_native, kwargs, error, match):
    with pytest.raises(error, match=match):
        only_native("nothing", "x y", **kwargs)


def test_cell_needs_a_slot(only_native):
    class Loose:
        def __init__(self):
            self._value = t(1)

    with pytest.raises(TypeError, match="__slots__"):
        only_native("nothing", "x", cells=[Cell(Loose(), "_value", I, (1,), "x")])
