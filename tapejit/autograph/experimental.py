"""`tf.autograph.experimental`: what a user may say about the conversion of functions and loops."""

from __future__ import annotations

import enum
from typing import Any

from tapejit.autograph.convert import do_not_convert

__all__ = ["Feature", "do_not_convert", "set_loop_options"]


class Feature(enum.Enum):
    """Optional parts of TensorFlow's conversion. All that they stand for is done in any case, but for `print`, which runs while tracing."""

    ALL = "ALL"
    AUTO_CONTROL_DEPS = "AUTO_CONTROL_DEPS"
    ASSERT_STATEMENTS = "ASSERT_STATEMENTS"
    BUILTIN_FUNCTIONS = "BUILTIN_FUNCTIONS"
    EQUALITY_OPERATORS = "EQUALITY_OPERATORS"
    LISTS = "LISTS"
    NAME_SCOPES = "NAME_SCOPES"


def set_loop_options(
    parallel_iterations: int | None = None,
    swap_memory: bool | None = None,
    maximum_iterations: Any = None,
    shape_invariants: Any = None,
) -> None:
    """As the first statement of a loop: `shape_invariants`, pairs of a loop variable and a TensorShape, leave sizes open that change.

    At most `maximum_iterations` are done. Where the loop is Python's it says nothing; the other options have no effect.
    """
