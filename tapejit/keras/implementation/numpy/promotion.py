"""Operands brought to the dtype that Keras' rules give them, and the families of functions that differ in their op only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor

Function = Callable[..., Any]


# ----------------------------------------------------------------------------------------------------- dtypes
def is_number(x: Any) -> bool:
    """Whether `x` is a Python number, which takes the dtype of the tensors it meets."""
    return type(x) in (int, float)


def dtype_of(x: Any) -> Any:
    """The dtype of a tensor by name, or the type of a Python number, as `result_type` takes them."""
    return type(x) if is_number(x) else x.dtype.name


def _given(xs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x if is_number(x) else convert_to_tensor(x) for x in xs)


def _common(xs: tuple[Any, ...], *more: Any) -> str:
    """The dtype in which `xs` meet; a 64-bit integer keeps its width, as in TensorFlow."""
    kinds = [*(dtype_of(x) for x in xs), *more]
    out = result_type(*kinds)
    return _WIDE[out] if _WIDE.get(out) in kinds else out


_WIDE = {"int32": "int64", "uint32": "uint64"}


def alike(*xs: Any, at_least: Any = bool) -> list[Any]:
    """`xs` as tensors of one dtype, not below `at_least`; a Python number stays one where a tensor brings the dtype."""
    given = _given(xs)
    dtype, bare = _common(given, at_least), all(is_number(x) for x in given)
    return [x if is_number(x) and not bare else convert_to_tensor(x, dtype) for x in given]


def tensors(*xs: Any) -> list[Any]:
    """`xs` as tensors of one dtype, Python numbers too."""
    xs = _given(xs)
    return [convert_to_tensor(x, _common(xs)) for x in xs]


def floating(x: Any) -> Any:
    """`x` as a tensor of floating-point or complex dtype: integers and bools become Keras' default."""
    x = convert_to_tensor(x)
    return x if x.dtype.is_floating or x.dtype.is_complex else cast(x, result_type(x.dtype.name, float))


def all_floating(*xs: Any) -> list[Any]:
    """`xs` as tensors of one floating-point or complex dtype."""
    xs = _given(xs)
    dtype = _common(xs, float)
    return [convert_to_tensor(x, dtype) for x in xs]


def numeric(x: Any) -> Any:
    """`x` as a tensor of numbers: bools become int32."""
    x = convert_to_tensor(x)
    return cast(x, "int32") if x.dtype.is_bool else x


def all_numeric(*xs: Any) -> list[Any]:
    """`xs` as `alike`, bools as int32."""
    given = alike(*xs)
    return [cast(x, "int32") for x in given] if any_bool(given) else given


def any_bool(xs: Any) -> bool:
    """Whether there is a tensor of bools among `xs`."""
    return any(hasattr(x, "dtype") and x.dtype.is_bool for x in xs)


def wide(x: Any) -> Any:
    """Floats of 16 bits as float32, in which sums of many do not overflow."""
    return cast(x, "float32") if x.dtype.is_floating and x.dtype.size == 2 else x


# --------------------------------------------------------------------------------------------------- families
def unary(op: Function) -> Function:
    """A function of one tensor of any dtype."""
    return lambda x: op(convert_to_tensor(x))


def unary_numeric(op: Function) -> Function:
    """A function of one tensor of numbers."""
    return lambda x: op(numeric(x))


def unary_floating(op: Function) -> Function:
    """A function of one tensor, whose result is floating-point."""
    return lambda x: op(floating(x))


def unary_whole(op: Function) -> Function:
    """A function of one tensor that leaves whole numbers as they are."""

    def function(x: Any) -> Any:
        x = convert_to_tensor(x)
        return op(x) if x.dtype.is_floating else x

    return function


def test(op: Function, of_integers: bool) -> Function:
    """A predicate of floating-point numbers, which holds for all integers or for none."""

    def function(x: Any) -> Any:
        x = convert_to_tensor(x)
        return op(x) if x.dtype.is_floating or x.dtype.is_complex else tf.fill(x.dims, of_integers)

    return function


def binary(op: Function, of_bools: Function | None = None) -> Function:
    """A function of two tensors in their common dtype; on bools `of_bools` if there is one, else the function of them as int32."""

    def function(x1: Any, x2: Any) -> Any:
        x1, x2 = alike(x1, x2)
        if any_bool((x1, x2)):
            return op(cast(x1, "int32"), cast(x2, "int32")) if of_bools is None else of_bools(x1, x2)
        return op(x1, x2)

    return function


def binary_floating(op: Function) -> Function:
    """A function of two tensors in their common floating-point dtype."""

    def function(x1: Any, x2: Any) -> Any:
        return op(*alike(x1, x2, at_least=float))

    return function


def logical(op: Function) -> Function:
    """A function of two tensors of bools; numbers count as true unless they are 0."""

    def function(x1: Any, x2: Any) -> Any:
        return op(cast(x1, "bool"), cast(x2, "bool"))

    return function
