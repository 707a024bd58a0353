"""`tf.bitwise`: the bits of integers, element by element. Operands have one integer dtype and broadcast; InvalidArgumentError otherwise."""

from __future__ import annotations

from typing import Any

from tapejit.math import operand, operands
from tapejit.ops import elementwise as _e

__all__ = ["bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift"]


def bitwise_and(x: Any, y: Any, name: str | None = None) -> Any:
    """`x & y`."""
    return _e.bitwise_and(*operands(x, y))


def bitwise_or(x: Any, y: Any, name: str | None = None) -> Any:
    """`x | y`."""
    return _e.bitwise_or(*operands(x, y))


def bitwise_xor(x: Any, y: Any, name: str | None = None) -> Any:
    """`x ^ y`."""
    return _e.bitwise_xor(*operands(x, y))


def invert(x: Any, name: str | None = None) -> Any:
    """`~x`."""
    return _e.bitwise_not(operand(x))


def left_shift(x: Any, y: Any, name: str | None = None) -> Any:
    """`x << y`; a shift by the width or more gives 0."""
    return _e.left_shift(*operands(x, y))


def right_shift(x: Any, y: Any, name: str | None = None) -> Any:
    """`x >> y`, which keeps the sign."""
    return _e.right_shift(*operands(x, y))
