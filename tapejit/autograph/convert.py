"""Which functions are converted, and what converted code calls in place of what it names.

In: a function, method or callable object. Out: its converted form, made once per code object; it shares the globals, defaults and closure
cells of the original. Functions of tapejit, Keras, NumPy, the standard library and others that are known to need it run as they are, and so
do those whose source cannot be found (with a warning).
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, MethodType, SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from tapejit.autograph import branches, loops
from tapejit.autograph.builtins import REPLACED
from tapejit.autograph.source import Found, NoSource, find
from tapejit.autograph.values import UNDEFINED
from tapejit.core.places import is_ours

_log = logging.getLogger("tapejit.autograph")
_AS_THEY_ARE = {
    "tapejit",
    "keras",
    "numpy",
    "scipy",
    "pytest",
    "_pytest",
    "pluggy",
    "IPython",
    "optree",
    "numba",
    "rich",
    *sys.stdlib_module_names,
}
_AS_THEY_ARE.discard("__main__")
_GENERATES = 0x20 | 0x80 | 0x100 | 0x200  # flags of generators and coroutines

_CALLERS = {  # functions that call what they are given while a function is traced
    *(f"builtins.{n}" for n in ("map", "filter")), "_functools.reduce", "tapejit.nest.map_structure",
    *(f"tapejit.control.{n}" for n in ("cond", "case", "switch_case", "while_loop")),
    *(f"tapejit.functional.{n}" for n in ("map_fn", "scan", "foldl", "foldr")), "tapejit.functional.vectorized_map",
    *(f"tapejit.gradients.{n}" for n in ("custom_gradient", "recompute_grad")),
}  # fmt: skip

_codes: dict[tuple[CodeType, str], CodeType | None] = {}  # by the file as well, which equal codes may differ in; None: it runs as it is
_converted: set[CodeType] = set()
_functions: WeakKeyDictionary[FunctionType, FunctionType] = WeakKeyDictionary()
_lock = threading.RLock()


def converted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The converted form of a function, method, partial application or callable object; itself where there is nothing to convert."""
    kind = type(function)
    if kind is FunctionType:
        return _function(function)  # type: ignore[arg-type]
    if kind is MethodType:
        method: Any = function
        inner = converted(method.__func__)
        return function if inner is method.__func__ else MethodType(inner, method.__self__)
    if kind is functools.partial:
        partial: Any = function
        inner = converted(partial.func)
        return function if inner is partial.func else functools.partial(inner, *partial.args, **partial.keywords)
    if hasattr(kind, "converted_by"):  # an object of ours around a function
        return function.converted_by(converted)  # type: ignore[attr-defined]
    if isinstance(function, type) or str(kind.__module__).partition(".")[0] in _AS_THEY_ARE:
        return function
    call = next((vars(c)["__call__"] for c in kind.__mro__ if "__call__" in vars(c)), None)
    if type(call) is not FunctionType:
        return function
    inner = _function(call)
    return function if inner is call else MethodType(inner, function)


def callee(function: Any) -> Any:
    """What to call where converted code calls `function`."""
    try:
        ours = REPLACED.get(function, function)
    except TypeError:  # it has no hash
        return converted(function)
    if f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}" in _CALLERS:
        return functools.partial(_calling_converted, ours)
    return converted(function) if ours is function else ours


def _calling_converted(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function that calls others, with those among its arguments converted."""
    return function(*map(_argument, args), **{k: _argument(v) for k, v in kwargs.items()})


def _argument(x: Any) -> Any:
    if isinstance(x, dict) and any(map(callable, x.values())):
        return {k: _argument(v) for k, v in x.items()}
    if type(x) in (list, tuple) and any(callable(v) or type(v) is tuple for v in x):
        return type(x)(map(_argument, x))
    return converted(x) if callable(x) else x


def do_not_convert(func: Callable[..., Any] | None = None) -> Any:
    """Mark a function to run as it is in traced functions, and what it calls with it (`tf.autograph.experimental.do_not_convert`)."""
    if func is None:
        return do_not_convert

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    wrapper.__autograph__ = False  # type: ignore[attr-defined]
    return functools.update_wrapper(wrapper, func)


def _function(function: FunctionType) -> FunctionType:
    code = function.__code__
    if code in _converted:
        return function
    found = _functions.get(function)
    if found is None and hasattr(function, "__wrapped__") and excluded(function):
        found = _functions[function] = _around_converted(function)
    if found is None:
        with _lock:
            key = code, code.co_filename
            if key not in _codes:
                _codes[key] = _code(function)
            new = _codes[key]
            found = function if new is None else _with_code(function, new)
            if new is not None:
                _functions[function] = found
    return found


def _around_converted(function: FunctionType) -> FunctionType:
    """What a decorator of tapejit's or Python's own has made, with the converted form of the function that it wraps."""
    wrapped = function.__wrapped__  # type: ignore[attr-defined]
    inner = converted(wrapped) if getattr(function, "__autograph__", True) else wrapped
    cells = function.__closure__ or ()
    if inner is wrapped or not any(c.cell_contents is wrapped for c in cells):
        return function
    closure = tuple(CellType(inner) if c.cell_contents is wrapped else c for c in cells)
    new = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, closure)
    new.__kwdefaults__ = function.__kwdefaults__
    return functools.update_wrapper(new, function)  # type: ignore[return-value]


def excluded(function: FunctionType) -> bool:
    """Whether a function runs as it is."""
    module = (function.__globals__.get("__name__") or "").partition(".")[0]
    return module in _AS_THEY_ARE or is_ours(function.__code__) or bool(function.__code__.co_flags & _GENERATES)


def _code(function: FunctionType) -> CodeType | None:
    """The converted code of a function; None if it runs as it is."""
    if excluded(function):
        return None
    from tapejit.autograph import transform

    try:
        new = transform.convert(find(function), function.__code__)
    except NoSource as cause:
        _log.warning(
            "AutoGraph could not transform %r and will run it as-is.\nCause: %s\n"
            "To silence this warning, decorate the function with @tf.autograph.experimental.do_not_convert",
            function,
            cause,
        )
        return None
    _log.info("converted %s", function.__qualname__)
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%s", transform.converted_text(find(function)))
    _converted.update(transform.nested_codes(new))
    return new


def _with_code(function: FunctionType, code: CodeType) -> FunctionType:
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(_OPERATORS if name == ".ag" else cells[name] for name in code.co_freevars)
    new = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    new.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(new, function)
    del new.__wrapped__  # type: ignore[attr-defined]
    return new


def definition(function: Any) -> Found:
    """The definition of a function in its file. NoSource if it cannot be found."""
    return find(getattr(function, "__func__", function))


_OPERATORS = CellType(
    SimpleNamespace(
        UNDEFINED=UNDEFINED,
        If=branches.If,
        While=loops.While,
        For=loops.For,
        and_=branches.and_,
        or_=branches.or_,
        not_=branches.not_,
        if_exp=branches.if_exp,
        compare=branches.compare,
        asserted=branches.asserted,
        clear=branches.clear,
        recorder=branches.recorder,
        resume=branches.resume,
        callee=callee,
        comprehension=loops.comprehension,
    )
)
