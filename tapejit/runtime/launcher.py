"""A `Plan` in, a callable out: the fast way to call a compiled step.

On CPython with the interpreter lock the callable is a builtin function whose C code is `launch`, compiled once for all plans;
elsewhere (`supported()` says why) it is a `call.PlainCall`, which does the same in Python.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.sizes import Dim, Extremum, Quotient, Size
from tapejit.runtime import layout as at
from tapejit.runtime.call import PlainCall
from tapejit.runtime.locks import ATTRIBUTE, Seen, groups_of
from tapejit.runtime.plan import Cell, Give, GiveArgument, Leaf, Literal, Made, Owner, Plan, Result, Same, check, is_container

_TP_ALLOC = 47  # Py_tp_alloc of typeslots.h
_FASTCALL_KEYWORDS = 0x0080 | 0x0002


@dataclass(frozen=True)
class Launcher:
    """A plan made callable.

    `call(*arguments)` runs the step and returns what `Plan.returns` describes. Where the call does not fit the plan it returns
    what `fallback(*arguments, **keywords)` returns, or NotImplemented without one. If the step fails, no cell has changed, `error` holds its error
    record, and it returns what `on_error(status)` returns or raises, or the status as an int without one.
    """

    call: Callable[..., Any]
    error: np.ndarray  # int64
    native: bool
    counter: np.ndarray

    @property
    def calls(self) -> int:
        """How often the step ran."""
        return int(self.counter[0])


def launcher(plan: Plan, fallback: Callable[..., Any] | None = None, on_error: Callable[[int], Any] | None = None) -> Launcher:
    """Make a plan callable. ValueError or TypeError for a plan that contradicts itself."""
    check(plan)
    if supported() is None:
        return _native(plan, fallback, on_error)
    plain = PlainCall(plan, fallback, on_error)
    return Launcher(plain, plain.error, False, plain.counter)


def matcher(
    tensor: type, arguments: Sequence[Any], keywords: Sequence[str], wanted: Sequence[Leaf], gate: Any, frozen: Any
) -> Callable[..., Any]:
    """A callable that gives the list of the arguments that `wanted` stand for in `arguments`, or NotImplemented where a call does not fit
    them; `gate` and `frozen` are a plan's."""
    if supported() is not None:
        return lambda *args, **kwargs: NotImplemented
    plan = Plan(_library().address("nothing"), (), tensor, arguments, gate=gate, frozen=frozen, keywords=keywords)
    numbers = {id(leaf): k for k, leaf in enumerate(plan.leaves())}
    return launcher(replace(plan, returns=[GiveArgument(numbers[id(leaf)]) for leaf in wanted])).call


@functools.cache
def supported() -> str | None:
    """None if the native launcher works in this process, else the reason why not. Compares the layout of real objects."""
    if sys.implementation.name != "cpython":
        return f"Python is {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python is free-threaded"
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8 or object.__basicsize__ != 16:
        return "objects of this Python do not begin with a reference count and a class of 8 bytes each"
    if sys.platform == "win32":
        return "the native launcher calls aligned_alloc, which Windows does not have"
    probe = np.zeros((3, 5), np.float32)
    view, alone, pair, number = probe[1:], [np.zeros(1)], ("a", "b"), 1.5

    def word(thing: object, offset: int) -> int:
        return ctypes.c_int64.from_address(id(thing) + offset).value

    dims = word(probe, at.ARRAY_DIMS)
    arrays = (
        ctypes.c_uint32.from_address(id(alone[0]) + at.REFCOUNT).value == 1,
        word(probe, at.TYPE) == id(np.ndarray),
        word(probe, at.ARRAY_DATA) == probe.ctypes.data,
        ctypes.c_int32.from_address(id(probe) + at.ARRAY_RANK).value == 2,
        tuple((ctypes.c_int64 * 2).from_address(dims)) == (3, 5),
        word(probe, at.ARRAY_BASE) == 0 and word(view, at.ARRAY_BASE) == id(probe),
        word(probe, at.ARRAY_DESCR) == id(probe.dtype),
        ctypes.c_int32.from_address(id(probe) + at.ARRAY_FLAGS).value & at.WRITABLE == at.WRITABLE,
    )
    if not all(arrays):
        return "arrays of this NumPy are not laid out as expected"
    others = (
        [word(pair, at.TUPLE_ITEMS + 8 * k) for k in range(2)] == [id(x) for x in pair],
        ctypes.c_int64.from_address(word(alone, at.LIST_ITEMS)).value == id(alone[0]),
        [word(x, at.CONTAINER_SIZE) for x in (pair, alone, {"k": 1})] == [2, 1, 1],
        ctypes.c_double.from_address(id(number) + at.SCALAR_VALUE).value == number,
        word((lambda: pair).__closure__[0], at.CELL_CONTENT) == id(pair),  # type: ignore[index]
        word(weakref.ref(probe), at.WEAK_REFERENT) == id(probe),
    )
    return None if all(others) else "containers and numbers of this Python are not laid out as expected"


# ------------------------------------------------------------------------------------------------ the native one
@functools.cache
def _library() -> Any:
    from tapejit.runtime import launch, native

    library = native.Library(launch)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))  # arrays from the pool call into it until the very end of the process
    return library


@functools.cache
def _definition() -> Any:
    """The PyMethodDef that all launchers share; builtin functions point at it, so it is never freed."""

    class PyMethodDef(ctypes.Structure):
        _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))

    return PyMethodDef(b"step", _library().address("launch"), _FASTCALL_KEYWORDS, b"A compiled step.")


@functools.cache
def _capi() -> Any:
    api = ctypes.pythonapi
    api.PyCFunction_NewEx.restype = ctypes.py_object
    api.PyCFunction_NewEx.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
    api.PyType_GetSlot.restype, api.PyType_GetSlot.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_int]
    api.PyCapsule_GetPointer.restype, api.PyCapsule_GetPointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return api


@functools.cache
def _new_array() -> int:
    """The address of PyArray_NewFromDescr: entry 94 of NumPy's table of C functions."""
    table = _capi().PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
    return ctypes.c_int64.from_address(table + 8 * 94).value


def _allocator(cls: type) -> int:
    return _capi().PyType_GetSlot(cls, _TP_ALLOC)


@functools.cache
def slot_offset(cls: type, attribute: str) -> int:
    """Where objects of a class keep an attribute of `__slots__`. TypeError if it is none."""
    probe: Any = object.__new__(cls)
    mark = object()
    try:
        setattr_ = next(k.__dict__[attribute] for k in cls.__mro__ if attribute in k.__dict__).__set__
        setattr_(probe, mark)
    except (StopIteration, AttributeError):
        raise TypeError(f"{cls.__name__}.{attribute} is not an attribute of __slots__") from None
    for offset in range(16, cls.__basicsize__, 8):
        if ctypes.c_int64.from_address(id(probe) + offset).value == id(mark):
            return offset
    raise TypeError(f"{cls.__name__}.{attribute} does not lie in the object")


@functools.cache
def _scalar_class(dtype: np.dtype) -> type | None:
    """The class of NumPy scalars of a dtype if they keep their value where we look for it."""
    if dtype.hasobject or dtype.kind not in "biufcV":
        return None
    array = np.ones((), dtype)
    scalar = array[()]
    if type(scalar) is not dtype.type or dtype.type.__basicsize__ < at.SCALAR_VALUE + dtype.itemsize:
        return None
    return dtype.type if ctypes.string_at(id(scalar) + at.SCALAR_VALUE, dtype.itemsize) == array.tobytes() else None


class _Address(int):
    """An offset into the plan that becomes an address."""


class _Printer:
    """Writes a plan into words."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.words: list[int] = [0] * (at.PLAN_BYTES // 8)
        self.offsets = {name: 8 * k for k, name in enumerate(plan.table)}
        self.template = [0] * len(plan.table)
        self.known: set[str] = set()  # sizes that have a value by now
        self.guards: list[tuple[Dim, Dim]] = list(plan.guards)
        self.derived: list[int] = []  # pairs: where in the table, and the size to put there
        self.unsolved: list[tuple[str, Size]] = []  # a hidden size, and what it is in terms of named ones
        self.alive: list[Any] = [plan.keep, plan.constants, plan.gate, plan.frozen, plan.tensor]

    def place(self, words: Sequence[int]) -> _Address:
        """Append words; where they begin."""
        where = _Address(8 * len(self.words))
        self.words += words
        return where

    def hold(self, thing: Any) -> int:
        """The address of an object that is kept alive."""
        self.alive.append(thing)
        return id(thing)

    # ------------------------------------------------------------------------------------ sizes
    def hidden(self, name: str) -> int:
        """The table entry of a size, added at the end if the step does not ask for it."""
        if name not in self.offsets:
            self.offsets[name] = 8 * len(self.template)
            self.template.append(0)
        return self.offsets[name]

    def expected(self, shape: tuple[Dim, ...]) -> _Address:
        """Dims of what comes in: they are compared, or give sizes their values."""
        words: list[int] = []
        for d in shape:
            if not isinstance(d, Size):
                words += [at.EXACT, d]
                continue
            name = next(iter(sizes.names(d))) if d == _named(d) else f"size {len(self.template)}"
            if name in self.known:
                words += [at.SIZE, self.offsets[name]]
                continue
            words += [at.BIND, self.hidden(name)]
            self.known.add(name)
            if d != _named(d):
                self.guards.append((sizes.named(name), d))
                self.unsolved.append((name, d))
        return self.place(words)

    def solve(self) -> None:
        """Give values to names that are no size by themselves, as N in an argument of N + 1 elements. (That it fits is a guard.)"""
        found = True
        while found:
            found = False
            for hidden, d in self.unsolved:
                unknown = sizes.names(d) - self.known
                if len(unknown) != 1:
                    continue
                name = next(iter(unknown))
                coefficient = d.terms.get((name,))
                rest = d - sizes.named(name) * (coefficient or 0)
                if coefficient is None or coefficient < 0 or name in sizes.names(rest):
                    continue
                where = self.hidden(name)
                self.derived += [where, self.size((sizes.named(hidden) - rest) // coefficient)]
                self.known.add(name)
                found = True

    def wanted(self, shape: tuple[Dim, ...]) -> _Address:
        """Dims of what is made."""
        words: list[int] = []
        for d in shape:
            if not isinstance(d, Size):
                words += [at.EXACT, d]
            elif d == _named(d):
                words += [at.SIZE, self.size_offset(next(iter(sizes.names(d))))]
            else:
                words += [at.COMPUTED, self.size(d)]
        return self.place(words)

    def size_offset(self, name: str) -> int:
        if name not in self.known:
            raise ValueError(f"the size {name} is not the size of any argument or cell")
        return self.offsets[name]

    def size(self, d: Dim) -> _Address:
        """The program of a size."""
        return self.place([*self._postfix(d), at.END])

    def _postfix(self, d: Dim) -> list[int]:
        if not isinstance(d, Size):
            return [at.CONST, d]
        words: list[int] = []
        for k, (monomial, coefficient) in enumerate(d.terms.items()):
            words += [at.CONST, coefficient]
            for atom in monomial:
                if isinstance(atom, str):
                    words += [at.LOAD, self.size_offset(atom)]
                elif isinstance(atom, Quotient):
                    words += [*self._postfix(atom.top), *self._postfix(atom.bottom), at.FLOORDIV]
                else:
                    assert isinstance(atom, Extremum)
                    words += [*self._postfix(atom.a), *self._postfix(atom.b), at.MINIMUM if atom.which == "min" else at.MAXIMUM]
                words.append(at.MUL)
            if k:
                words.append(at.ADD)
        return words

    # ------------------------------------------------------------------------------------ records
    def record(self, fields: dict[int, int]) -> list[int]:
        words = [0] * (at.RECORD_BYTES // 8)
        for offset, value in fields.items():
            words[offset // 8] = value
        return words

    def array(self, slot: str | None, dtype: np.dtype, shape: tuple[Dim, ...], dims: _Address) -> dict[int, int]:
        if len(shape) > at.RANK_LIMIT:
            raise ValueError(f"arrays have at most {at.RANK_LIMIT} axes, found {len(shape)}")
        scalar = _scalar_class(dtype) if not shape else None
        return {
            at.SLOT: -1 if slot is None else self.offsets[slot], at.DESCR: self.hold(dtype), at.RANK: len(shape), at.DIMS: dims,
            at.SCALAR: 0 if scalar is None else self.hold(scalar), at.ITEM_BYTES: dtype.itemsize,
            at.FIXED: int(sizes.is_known(shape)),
        }  # fmt: skip

    def argument(self, a: Any, key: Any = None) -> list[int]:
        words = self._argument(a)
        if key is not None:
            words[at.KEY // 8] = self.hold(key)
        return words

    def _argument(self, a: Any) -> list[int]:
        if is_container(a):
            items = a.items() if isinstance(a, dict) else ((None, item) for item in a)
            inside = self.place([w for key, item in items for w in self.argument(item, key)])
            kind = at.IN_DICT if isinstance(a, dict) else at.IN_LIST if isinstance(a, list) else at.IN_TUPLE
            return self.record({at.KIND: kind, at.OBJECT: self.hold(type(a)), at.RANK: len(a), at.DIMS: inside})
        if isinstance(a, Same):
            return self.record({at.KIND: at.WEAK, at.OBJECT: self.hold(a.reference)})
        if isinstance(a, Owner):
            return self.owner(a)
        if isinstance(a, Literal):
            kind = at.SAME
            if a.equal and type(a.value) is float:
                kind = at.BITS
            elif a.equal and type(a.value) is not bool and a.value is not None:
                kind = at.EQUAL
            return self.record({at.KIND: kind, at.OBJECT: self.hold(a.value)})
        return self.record({at.KIND: at.ARRAY, **self.array(a.slot, a.dtype, a.shape, self.expected(a.shape)), at.ACCEPT_RAW: int(a.raw)})

    def owner(self, o: Owner) -> list[int]:
        alike = [k for k, leaf in enumerate(self.plan.leaves()) if isinstance(leaf, Owner) and leaf.alias == o.alias]
        fields = {at.KIND: at.OWNER, **self.array(None, o.dtype, o.shape, self.expected(o.shape)), at.OBJECT: self.hold(o.cls)}
        fields[at.VALUE_AT], fields[at.LEAF] = slot_offset(o.cls, o.attribute), -1 if o.alias is None else alike[0]
        if o.having is not None:
            fields[at.HAS_AT], fields[at.HAS] = slot_offset(o.cls, o.having[0]), self.hold(o.having[1])
        return self.record(fields)

    def cell(self, c: Cell) -> list[int]:
        kind = at.GIVEN if c.result is not None else at.READ if c.write is None else at.IN_PLACE if c.in_place else at.SWAP
        fields = {at.KIND: kind, **self.array(c.read, c.dtype, c.shape, self.expected(c.shape))}
        if isinstance(c.owner, Owner):
            fields[at.LEAF], fields[at.VALUE_AT] = self.plan.position(c.owner), slot_offset(c.owner.cls, c.attribute)
        else:
            fields[at.OBJECT], fields[at.VALUE_AT] = self.hold(c.owner), slot_offset(c.owner.__class__, c.attribute)
        fields[at.WRITE_SLOT] = c.result if c.result is not None else -1 if c.write is None else self.offsets[c.write]
        return self.record(fields)

    def result(self, r: Result) -> list[int]:
        dims = self.place([]) if r.delivered else self.wanted(r.shape)
        fields = {at.KIND: at.DELIVERED if r.delivered else at.FRESH, **self.array(r.slot, r.dtype, r.shape, dims)}
        scalar = None if r.shape or r.delivered or r.dtype.kind == "b" else _scalar_class(r.dtype)  # NumPy's bools are two shared objects
        fields[at.SCALAR], fields[at.ALLOC] = (0, 0) if scalar is None else (id(scalar), _allocator(scalar))
        return self.record(fields)

    def returned(self, tree: Any, words: list[int]) -> int:
        """Append the program that builds `tree`; how many objects it holds at once."""
        depth = 0
        match tree:
            case Give(result=k):
                if not 0 <= k < len(self.plan.results):
                    raise ValueError(f"there is no result {k}; the plan has {len(self.plan.results)}")
                words += [at.RESULT, k]
            case GiveArgument(argument=k):
                words += [at.ARGUMENT, k]
            case tuple() | list() | dict() if type(tree) in (tuple, list, dict):
                for k, item in enumerate(tree.values() if isinstance(tree, dict) else tree):
                    depth = max(depth, k + self.returned(item, words))
                words += [{tuple: at.TUPLE, list: at.LIST, dict: at.DICT}[type(tree)], len(tree)]
                if isinstance(tree, dict):
                    words += [self.hold(key) for key in tree]
            case Made(function=function, arguments=items):
                for k, item in enumerate(items):
                    depth = max(depth, k + self.returned(item, words))
                words += [at.MADE, len(items), self.hold(function)]
            case _:
                words += [at.OBJECT_ITSELF, self.hold(tree)]
        return max(depth, 1)

    # ------------------------------------------------------------------------------------ the whole
    def header(self, fallback: Any, on_error: Any, error: np.ndarray, spares: list[Any]) -> dict[int, int]:
        plan = self.plan
        arguments = [w for a in plan.arguments for w in self.argument(a)]
        cells = [w for c in plan.cells for w in self.cell(c)]
        self.solve()
        for name in plan.sizes:
            self.size_offset(name)
        results = [w for r in plan.results for w in self.result(r)]
        guards = [w for a, b in self.guards for w in (self.size(a), self.size(b))]
        for name, array in plan.constants.items():
            self.template[plan.slot(name)] = array.ctypes.data
        for name, address in plan.addresses.items():
            self.template[plan.slot(name)] = address
        program: list[int] = []
        depth = self.returned(plan.returns, program)
        program.append(at.END)
        locked = plan.locked()
        groups = groups_of(owner for owner in locked if not isinstance(owner, Owner))
        self.alive += groups
        locks = [g.words.ctypes.data for g in groups]
        passed = [w for o in locked if isinstance(o, Owner) for w in (plan.position(o), slot_offset(o.cls, ATTRIBUTE))]
        gate = 0
        if plan.gate is not None:
            gate = plan.gate.ctypes.data
        frozen = 0
        if plan.frozen is not None:
            frozen = plan.frozen.table.ctypes.data
        return {
            at.STEP: plan.step, at.FLAGS: at.RELEASE_GIL | at.GUARDED if plan.release_gil else at.GUARDED if plan.calls_back else 0,
            at.ARENA_SLOT: self.offsets.get("arena", -1), at.ARENA_SIZE: self.size(plan.arena),
            at.ERROR_SLOT: self.offsets.get("error", -1), at.ERROR: error.ctypes.data,
            at.TABLE: self.place(self.template), at.TABLE_BYTES: 8 * len(self.template),
            at.ARGUMENT_COUNT: len(plan.arguments), at.ARGUMENTS: self.place(arguments),
            at.KEYWORDS: self.hold(tuple(map(sys.intern, plan.keywords))) if plan.keywords else 0, at.LEAF_COUNT: len(plan.leaves()),
            at.DERIVED_COUNT: len(self.derived) // 2, at.DERIVED: self.place(self.derived),
            at.CELL_COUNT: len(plan.cells), at.CELLS: self.place(cells),
            at.RESULT_COUNT: len(plan.results), at.RESULTS: self.place(results),
            at.TENSOR: id(plan.tensor), at.TENSOR_ARRAY: slot_offset(plan.tensor, plan.array), at.TENSOR_ALLOC: _allocator(plan.tensor),
            at.NDARRAY: id(np.ndarray), at.NEW_ARRAY: _new_array(),
            at.FALLBACK: 0 if fallback is None else self.hold(fallback), at.ON_ERROR: 0 if on_error is None else self.hold(on_error),
            at.LOCK_COUNT: len(locks), at.LOCKS: self.place(locks),
            at.PASSED_COUNT: len(passed) // 2, at.PASSED: self.place(passed), at.GROUP_WORDS: slot_offset(Seen, "words"),
            at.RETURN: self.place(program), at.RETURN_DEPTH: depth,
            at.GUARD_COUNT: len(self.guards), at.GUARDS: self.place(guards), at.GATE: gate, at.FROZEN: frozen, at.SPARES: self.hold(spares),
            at.NOT_IMPLEMENTED: id(NotImplemented), at.NONE: id(None), at.CAPSULE: id(type(np._core._multiarray_umath._ARRAY_API)),  # type: ignore[attr-defined]
        }  # fmt: skip

    def finish(self, header: dict[int, int]) -> np.ndarray:
        for offset, value in header.items():
            self.words[offset // 8] = value
        words = np.empty(len(self.words), np.int64)
        base = words.ctypes.data
        words[:] = [base + w if isinstance(w, _Address) else w for w in self.words]
        return words


def _named(d: Size) -> Dim:
    """The size of that name if `d` is nothing but a name; else some other size."""
    found = sizes.names(d)
    return sizes.named(next(iter(found))) if len(found) == 1 else 0


def _native(plan: Plan, fallback: Any, on_error: Any) -> Launcher:
    printer = _Printer(plan)
    error = np.zeros(at.ERROR_BYTES // 8, np.int64)
    words = printer.finish(printer.header(fallback, on_error, error, [None] * len(plan.cells)))
    alive = (error, _library(), *printer.alive)
    # A builtin function keeps (and shows the garbage collector) its self and its module; the second is our list of what must live.
    call = _capi().PyCFunction_NewEx(ctypes.addressof(_definition()), words, alive)
    return Launcher(call, error, True, words[at.CALLS // 8 : at.CALLS // 8 + 1])


def pooled() -> int:
    """Bytes of result memory that are kept for the next large results."""
    return _library()["pooled"]() if supported() is None else 0


def drain() -> None:
    """Give the memory that is kept for large results and intermediates back to the system."""
    if supported() is None:
        _library()["drain"]()
