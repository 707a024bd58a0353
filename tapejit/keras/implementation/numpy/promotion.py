"""Operands brought to the dtype that Keras' rules give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.src.backend.common.dtypes import result_type

from tapejit.keras.implementation.core import convert_to_tensor


def is_number(x: Any) -> bool:
    """Whether `x` is a Python number, which takes the dtype of the tensors it meets."""
    return type(x) in (int, float)


def _joint(*kinds: Any) -> str:
    """The common dtype; a 64-bit integer keeps its width, as in TensorFlow."""
    out = result_type(*kinds)
    wide = {"int32": "int64", "uint32": "uint64"}.get(out)
    return wide if wide is not None and wide in kinds else out


def alike(*xs: Any) -> list[Any]:
    """`xs` as tensors of one dtype; a Python number stays one where a tensor brings the dtype."""
    xs = tuple(x if is_number(x) else convert_to_tensor(x) for x in xs)
    dtype = _joint(*(type(x) if is_number(x) else x.dtype.name for x in xs))
    if all(is_number(x) for x in xs):
        return [convert_to_tensor(x, dtype) for x in xs]
    return [x if is_number(x) else convert_to_tensor(x, dtype) for x in xs]


def floating(x: Any) -> Any:
    """`x` as a tensor of floating-point or complex dtype: integers and bools become Keras' default."""
    x = convert_to_tensor(x)
    return x if x.dtype.is_floating or x.dtype.is_complex else convert_to_tensor(x, result_type(x.dtype.name, float))


def all_floating(*xs: Any) -> list[Any]:
    """`xs` as tensors of one floating-point dtype."""
    xs = tuple(x if is_number(x) else convert_to_tensor(x) for x in xs)
    dtype = result_type(*(type(x) if is_number(x) else x.dtype.name for x in xs), float)
    return [convert_to_tensor(x, dtype) for x in xs]


def unary(op: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of one tensor of any dtype."""
    return lambda x: op(convert_to_tensor(x))


def unary_floating(op: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of one tensor, whose result is floating-point."""
    return lambda x: op(floating(x))


def binary(op: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of two tensors in their common dtype."""

    def function(x1: Any, x2: Any) -> Any:
        return op(*alike(x1, x2))

    return function


def binary_floating(op: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of two tensors in their common floating-point dtype."""

    def function(x1: Any, x2: Any) -> Any:
        return op(*all_floating(x1, x2))

    return function


def logical(op: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of two tensors of bools; numbers count as true unless they are 0."""

    def function(x1: Any, x2: Any) -> Any:
        return op(convert_to_tensor(x1, "bool"), convert_to_tensor(x2, "bool"))

    return function
