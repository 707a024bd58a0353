"""`tf.print` and `tf.strings.format`: tensors as text, printed at once or whenever the traced function runs.

The text is TensorFlow's: brackets and blanks, the first and last `summarize` elements of each axis, floats in their shortest form.
"""

from __future__ import annotations

import logging
import pprint
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.ops.operand import Operand
from tapejit.tensor import convert_to_tensor

__all__ = ["print"]

_MARK = "\N{OBJECT REPLACEMENT CHARACTER}"
_LEVELS: dict[Any, str] = {logging.debug: "debug", logging.info: "info", logging.warning: "warning", logging.error: "error"}
_log = logging.getLogger("tapejit")


def element(value: Any) -> str:
    """One number as TensorFlow prints it: `1`, `0.1`, `1e-05`, `nan`; bools as 1 and 0."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, complex | np.complexfloating):
        return f"({element(value.real)},{element(value.imag)})"
    array = np.asarray(value)
    if array.dtype.kind in "iu":
        return str(int(value))
    if np.isnan(value):
        return "nan"
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    few, many = (15, 17) if array.dtype == np.float64 else (6, 9)
    if array.dtype.itemsize == 2:
        return f"{float(value):.{few}g}"
    short = f"{float(value):.{few}g}"
    return short if array.dtype.type(float(short)) == value else f"{float(value):.{many}g}"


def array_text(array: np.ndarray, summarize: int) -> str:
    """An array as nested brackets, `summarize` elements at both ends of each axis (all for -1)."""
    ends = summarize if summarize >= 0 else max(array.shape, default=0) + 1

    def nested(part: Any, axis: int) -> str:
        if axis == array.ndim:
            return element(part)
        inner = axis == array.ndim - 1
        between = " " if inner else "\n" * (array.ndim - axis - 1) + " " * (axis + 1)
        n = len(part)
        shown = [nested(part[i], axis + 1) for i in range(min(ends, n))]
        if n > 2 * ends:
            shown.append("...")
        shown += [nested(part[i], axis + 1) for i in range(max(ends, n - ends), n)]
        return f"[{between.join(shown)}]"

    return nested(array if array.ndim else array[()], 0)


def filled(template: str, mark: str, arrays: tuple[Any, ...], summarize: int) -> str:
    """`template` with each mark replaced by the text of an array."""
    pieces = template.split(mark)
    out = pieces[0]
    for piece, array in zip(pieces[1:], arrays, strict=True):
        out += array_text(np.asarray(array), summarize) + piece
    return out


def _write(text: str, stream: str) -> None:
    if stream.startswith("file://"):
        with open(stream[len("file://") :], "a", encoding="utf-8") as file:
            file.write(text)
    elif stream in ("stdout", "stderr"):
        to = sys.stdout if stream == "stdout" else sys.stderr
        to.write(text)
        to.flush()
    else:
        getattr(_log, stream)(text.rstrip("\n"))


class Print(Op):
    """Writes `template`, its marks replaced by the operands, to `stream`."""

    name = "print"
    effect = True
    no_gradient = True

    def infer(self, *operands: Type, template: str, stream: str = "stderr", summarize: int = 3, end: str = "\n") -> tuple[Type, ...]:
        return ()

    def eager(self, *arrays: Any, template: str, stream: str = "stderr", summarize: int = 3, end: str = "\n") -> tuple[Any, ...]:
        _write(filled(template, _MARK, arrays, summarize) + end, stream)
        return ()


_print = register(Print())


def _stream(to: Any) -> str:
    if to is None or to is sys.stderr:
        return "stderr"
    if to is sys.stdout:
        return "stdout"
    if isinstance(to, str) and (to.startswith("file://") or to in ("stdout", "stderr")):
        return to
    if to in _LEVELS:
        return _LEVELS[to]
    raise ValueError(
        places.with_place(
            f"tf.print: output_stream must be sys.stdout, sys.stderr, a logging function such as logging.info, or 'file://path', got {to!r}"
        )
    )


def template_of(inputs: tuple[Any, ...], sep: str, mark: str) -> tuple[str, list[Any]]:
    """The text of `inputs` with a mark for every tensor in them, and the tensors."""
    import optree

    tensors: list[Any] = []

    def marked(x: Any) -> Any:
        if isinstance(x, Operand) or hasattr(x, "to_tensor"):
            tensors.append(x if isinstance(x, Operand) else convert_to_tensor(x))
            return mark
        return x

    parts = []
    for given in inputs:
        held: Callable[..., Any] = optree.tree_map
        shown = given if isinstance(given, str) else held(marked, given, none_is_leaf=True)
        parts.append(shown if isinstance(shown, str) else pprint.pformat(shown))
    return sep.join(parts).replace(f"'{mark}'", mark), tensors


def print(
    *inputs: Any, output_stream: Any = None, summarize: int | None = 3, sep: str = " ", end: str = "\n", name: str | None = None
) -> None:
    """Print strings, tensors and nested structures of them to `output_stream` (standard error).

    In a traced function it prints each time the function runs, in program order.
    """
    text, tensors = template_of(inputs, sep, _MARK)
    _print(*tensors, template=text, stream=_stream(output_stream), summarize=-1 if summarize is None else int(summarize), end=end)
