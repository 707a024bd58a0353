"""`tf.debugging` and `tf.Assert`: checks that raise InvalidArgumentError, at once or when the traced function runs.

What is known without values (ranks, sizes, dtypes) is checked while a function is traced and raises ValueError or TypeError there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.dtypes import as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.types import Type
from tapejit.explain.numerics import disable_check_numerics, enable_check_numerics
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.nest import Accumulator, If, Stmt, Update
from tapejit.ops import elementwise as e
from tapejit.ops.batching import leading
from tapejit.ops.gathering import fail, loops
from tapejit.ops.slicing import scalar_of
from tapejit.output import array_text
from tapejit.tensor import convert_to_tensor, is_tensor

__all__ = [
    "Assert", "assert_all_finite", "assert_equal", "assert_greater", "assert_greater_equal", "assert_integer", "assert_less",
    "assert_less_equal", "assert_near", "assert_negative", "assert_non_negative", "assert_non_positive", "assert_none_equal",
    "assert_positive", "assert_proper_iterable", "assert_rank", "assert_rank_at_least", "assert_rank_in", "assert_same_float_dtype",
    "assert_scalar", "assert_shapes", "assert_type", "check_numerics", "disable_check_numerics", "disable_traceback_filtering",
    "enable_check_numerics", "enable_traceback_filtering", "get_log_device_placement", "is_numeric_tensor",
    "is_traceback_filtering_enabled", "set_log_device_placement",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------------ ops
class AssertTrue(Op):
    """InvalidArgumentError with `message` and the other operands' values unless every element of the first one holds."""

    name = "assert_true"
    batch = leading
    effect = True
    no_gradient = True

    def infer(self, condition: Type, *data: Type, message: str, summarize: int = 3) -> tuple[Type, ...]:
        if condition.dtype.kind != "b":
            raise TypeError(f"an assertion takes a bool, got {condition}")
        return ()

    def eager(self, condition: Any, *data: Any, message: str, summarize: int = 3) -> tuple[Any, ...]:
        if not np.all(condition):
            shown = "".join(f"\n{array_text(np.asarray(d), summarize)}" for d in data)
            raise InvalidArgumentError(f"{message}{shown}")
        return ()


class CheckNumerics(Op):
    """The operand itself; InvalidArgumentError with `message` if it holds NaN or an infinity (`tf.debugging.check_numerics`)."""

    name = "check_numerics"
    batch = leading
    effect = True
    told = ("message",)

    def infer(self, x: Type, *, message: str) -> Type:
        if x.dtype.kind != "f":
            raise TypeError(f"check_numerics takes floating-point tensors, got {x}")
        return x

    def eager(self, x: Any, *, message: str) -> Any:
        wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
        if not np.isfinite(wide).all():
            raise InvalidArgumentError(self.failure(np.isinf(wide).any(), np.isnan(wide).any(), message=message))
        return x

    def failure(self, infinite: Any, nan: Any, *, message: str) -> str:
        """What went wrong, from whether there were infinities and NaNs."""
        kinds = [what for what, found in (("Inf", infinite), ("NaN", nan)) if found]
        return f"{message} : Tensor had {' and '.join(kinds)} values"

    def kernel(self, outs: Any, ins: Any, work: Any, *, message: str) -> tuple[Stmt, ...]:
        (x,), (out,) = ins, outs
        tests = {"infinite": "isinf", "nan": "isnan"}
        infinite, nan = (expr.Var(dtypes.bool_, name) for name in tests)

        def look(index: tuple[expr.Expr, ...]) -> tuple[Stmt, ...]:
            found = (Update(name, "or", expr.call(test, x[index], dtype=dtypes.bool_)) for name, test in tests.items())
            return *found, out.store(index, x[index])

        none = expr.as_expr(False, dtypes.bool_)
        return (
            *(Accumulator(name, none) for name in tests),
            *loops("i", x.dims, look, inner="vector"),
            If(infinite | nan, (fail(infinite, nan),)),
        )

    def vjp(self, g: Any, z: Any, x: Any, *, message: str) -> tuple[Any, ...]:
        return (lambda: g,)

    def samples(self, draw: Any) -> Any:
        for shape in ((3,), (2, 2), (), (0,)):
            yield (draw(shape),), {"message": "checked"}


_assert_true, _check_numerics = register(AssertTrue()), register(CheckNumerics())


# ------------------------------------------------------------------------------------------------- by value
def Assert(condition: Any, data: Any, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError with the values of `data` unless all of `condition` holds."""
    c = convert_to_tensor(condition)
    _assert_true(
        c,
        *map(convert_to_tensor, _no_text(data)),
        message="assertion failed: " + _texts(data),
        summarize=3 if summarize is None else int(summarize),
    )


def _no_text(data: Iterable[Any]) -> list[Any]:
    return [d for d in data if not isinstance(d, str)]


def _texts(data: Iterable[Any]) -> str:
    return " ".join(d for d in data if isinstance(d, str))


def _holds(condition: Any, what: str, message: str | None, summarize: int | None, **operands: Any) -> None:
    shown = ", ".join(operands)
    text = f"{message}\n" if message else ""
    _assert_true(
        condition,
        *operands.values(),
        message=places.with_place(f"{text}Condition {what} did not hold element-wise ({shown}):"),
        summarize=3 if summarize is None else int(summarize),
    )


def _two(x: Any, y: Any) -> tuple[Any, Any]:
    first = convert_to_tensor(x) if hasattr(x, "dims") or not hasattr(y, "dims") else convert_to_tensor(x, y.dtype)
    return first, convert_to_tensor(y) if hasattr(y, "dims") else convert_to_tensor(y, first.dtype)


def _compared(op: Any, what: str, x: Any, y: Any, message: str | None, summarize: int | None) -> None:
    a, b = _two(x, y)
    try:
        hit = op(a, b)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{message + chr(10) if message else ''}{error}") from None
    _holds(hit, what, message, summarize, x=a, y=b)


def assert_equal(x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x == y everywhere."""
    _compared(e.equal, "x == y", x, y, message, summarize)


def assert_none_equal(x: Any, y: Any, summarize: int | None = None, message: str | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x != y everywhere."""
    _compared(e.not_equal, "x != y", x, y, message, summarize)


def assert_less(x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x < y everywhere."""
    _compared(e.less, "x < y", x, y, message, summarize)


def assert_less_equal(x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x <= y everywhere."""
    _compared(e.less_equal, "x <= y", x, y, message, summarize)


def assert_greater(x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x > y everywhere."""
    _compared(e.greater, "x > y", x, y, message, summarize)


def assert_greater_equal(x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x >= y everywhere."""
    _compared(e.greater_equal, "x >= y", x, y, message, summarize)


def _against_zero(op: Any, what: str, x: Any, message: str | None, summarize: int | None) -> None:
    a = convert_to_tensor(x)
    _holds(op(a, 0), what, message, summarize, x=a)


def assert_positive(x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x > 0 everywhere."""
    _against_zero(e.greater, "x > 0", x, message, summarize)


def assert_negative(x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x < 0 everywhere."""
    _against_zero(e.less, "x < 0", x, message, summarize)


def assert_non_negative(x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x >= 0 everywhere."""
    _against_zero(e.greater_equal, "x >= 0", x, message, summarize)


def assert_non_positive(x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """InvalidArgumentError unless x <= 0 everywhere."""
    _against_zero(e.less_equal, "x <= 0", x, message, summarize)


def assert_near(
    x: Any, y: Any, rtol: Any = None, atol: Any = None, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """InvalidArgumentError unless |x - y| <= atol + rtol * |y| everywhere; both tolerances are 10 units in the last place by default."""
    a, b = _two(x, y)
    unit = 10 * float(np.finfo(a.dtype.np if a.dtype.bits > 16 else np.float16).eps)
    relative, absolute = (unit if t is None else t for t in (rtol, atol))
    _holds(e.less_equal(e.abs_(a - b), absolute + relative * e.abs_(b)), "x and y are near", message, summarize, x=a, y=b)


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Any:
    """The tensor itself. InvalidArgumentError `message : Tensor had NaN values` (or Inf) if it is not finite everywhere."""
    return _check_numerics(convert_to_tensor(tensor), message=message)


def assert_all_finite(x: Any, message: str, name: str | None = None) -> Any:
    """The tensor itself. InvalidArgumentError with `message` if it is not finite everywhere."""
    return check_numerics(x, message)


# ------------------------------------------------------------------------------------------- by type and shape
def _said(message: str | None, text: str) -> str:
    return places.with_place(f"{message}. {text}" if message else text)


def _ranked(x: Any, holds: Callable[[int], bool], wanted: str, message: str | None) -> None:
    rank = len(convert_to_tensor(x).dims)
    if not holds(rank):
        raise ValueError(_said(message, f"Tensor must have rank {wanted}. Received rank {rank}"))


def assert_rank(x: Any, rank: Any, message: str | None = None, name: str | None = None) -> None:
    """ValueError unless `x` has `rank`."""
    _ranked(x, lambda r: r == int(rank), str(int(rank)), message)


def assert_rank_at_least(x: Any, rank: Any, message: str | None = None, name: str | None = None) -> None:
    """ValueError unless `x` has `rank` or more."""
    _ranked(x, lambda r: r >= int(rank), f"at least {int(rank)}", message)


def assert_rank_in(x: Any, ranks: Iterable[Any], message: str | None = None, name: str | None = None) -> None:
    """ValueError unless `x` has one of `ranks`."""
    listed = [int(r) for r in ranks]
    _ranked(x, lambda r: r in listed, f"in {listed}", message)


def assert_scalar(tensor: Any, message: str | None = None, name: str | None = None) -> Any:
    """The tensor. ValueError unless it has rank 0."""
    x = convert_to_tensor(tensor)
    if x.dims:
        raise ValueError(_said(message, f"Expected scalar shape, saw shape: {x.shape}."))
    return x


def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> None:
    """TypeError unless `tensor` has dtype `tf_type`."""
    x = convert_to_tensor(tensor)
    if x.dtype is not as_dtype(tf_type):
        raise TypeError(_said(message, f"tensor must be of type {as_dtype(tf_type)!r}; got {x.dtype!r}"))


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> None:
    """TypeError unless `x` is of integers."""
    t = convert_to_tensor(x)
    if not t.dtype.is_integer:
        raise TypeError(_said(message, f"Expected `x` to be integer type. Found {t.dtype!r}"))


def assert_proper_iterable(values: Any) -> None:
    """TypeError for a tensor, an array, a string or what cannot be iterated over."""
    if is_tensor(values) or isinstance(values, np.ndarray | str | bytes) or not hasattr(values, "__iter__"):
        raise TypeError(f"Expected argument 'values' to be a 'proper' iterable. Found: {type(values)}")


def assert_same_float_dtype(tensors: Any = None, dtype: Any = None) -> Any:
    """The one floating dtype of all `tensors` and `dtype` (float32 without any). ValueError if they differ."""
    wanted = None if dtype is None else as_dtype(dtype)
    for t in tensors or ():
        have = convert_to_tensor(t).dtype
        if wanted is not None and have is not wanted:
            raise ValueError(f"Expected {wanted!r} but got {have!r} of {t!r}")
        wanted = have
    wanted = wanted or dtypes.float32
    if not wanted.is_floating:
        raise ValueError(f"Expected floating point type, got {wanted!r}.")
    return wanted


_traceback_filtering = True


def enable_traceback_filtering() -> None:
    """Kept, without effect: errors quote your line in any case."""
    global _traceback_filtering
    _traceback_filtering = True


def disable_traceback_filtering() -> None:
    """Kept, without effect: tracebacks are whole in any case."""
    global _traceback_filtering
    _traceback_filtering = False


def is_traceback_filtering_enabled() -> bool:
    """Which of the two was called last."""
    return _traceback_filtering


_log_devices = False


def set_log_device_placement(enabled: bool) -> None:
    """Kept, without effect: operations run on the CPU."""
    global _log_devices
    _log_devices = bool(enabled)


def get_log_device_placement() -> bool:
    """What `set_log_device_placement` was given."""
    return _log_devices


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether it is a tensor of numbers."""
    return is_tensor(tensor) and tensor.dtype.is_numeric


def assert_shapes(shapes: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None) -> None:
    """ValueError (InvalidArgumentError for sizes known at run time only) unless the tensors have the shapes given.

    `shapes` is a dict or a list of pairs of tensor and shape, whose entries are sizes, names that stand for one size throughout, or
    None; a leading or trailing `...` (or "*") stands for any axes.
    """
    named: dict[Any, Any] = {}
    pairs = list(shapes.items()) if isinstance(shapes, dict) else list(shapes)
    for tensor, wanted in pairs:
        tensor = tensor.deref() if hasattr(tensor, "deref") else tensor
        x = tensor if hasattr(tensor, "dims") else convert_to_tensor(tensor)
        listed = [wanted] if isinstance(wanted, int) else list(wanted)
        dims = list(x.dims)
        if listed and listed[0] in (Ellipsis, "*"):
            listed = listed[1:]
            dims = dims[len(dims) - len(listed) :] if len(dims) >= len(listed) else dims
        elif listed and listed[-1] in (Ellipsis, "*"):
            listed = listed[:-1]
            dims = dims[: len(listed)]
        if len(dims) != len(listed):
            raise ValueError(
                _said(
                    message,
                    f"Tensor of shape {x.shape} must have rank {len(listed)}, as {tuple(wanted) if not isinstance(wanted, int) else wanted} says",
                )
            )
        for k, (have, want) in enumerate(zip(dims, listed, strict=True)):
            if want is None or (isinstance(want, str) and want in (".", "_")):
                continue
            if isinstance(want, str) and not want.isdigit():
                want = named.setdefault(want, have)
            want = int(want) if isinstance(want, str) else want
            if have == want:
                continue
            if isinstance(have, int) and isinstance(want, int):
                raise ValueError(
                    _said(
                        message,
                        f"Specified by tensor of shape {x.shape} dimension {k}: tensor has size {have}, expected {listed[k]} = {want}",
                    )
                )
            from_sizes = [convert_to_tensor(d) if isinstance(d, int) else scalar_of(d, dtypes.int32) for d in (have, want)]
            _holds(e.equal(*from_sizes), f"size of axis {k} == {listed[k]}", message, summarize, x=from_sizes[0], y=from_sizes[1])
