"""`tf.autograph`: Python's control flow in traced functions. See `transform` for how a function is converted, and `convert` for which."""

from __future__ import annotations

import logging
from typing import Any

from tapejit.autograph import experimental
from tapejit.autograph.convert import converted, definition, do_not_convert

__all__ = ["converted", "do_not_convert", "experimental", "set_verbosity", "to_code", "to_graph", "trace"]


def to_code(entity: Any, recursive: bool = True, experimental_optional_features: Any = None) -> str:
    """The converted form of a function as Python text. It says what runs; what runs keeps the places of the original."""
    from tapejit.autograph.transform import converted_text

    return converted_text(definition(getattr(entity, "python_function", entity)))


def to_graph(entity: Any, recursive: bool = True, experimental_optional_features: Any = None) -> Any:
    """The converted form of a function; what it calls is converted when it calls it."""
    return converted(getattr(entity, "python_function", entity))


def set_verbosity(level: int, alsologtostdout: bool = False) -> None:
    """How much the log says of conversions: 0 only warnings, from 1 on each function that is converted, from 3 on its converted text."""
    logging.getLogger("tapejit.autograph").setLevel(logging.INFO if level < 3 else logging.DEBUG)
    if level <= 0:
        logging.getLogger("tapejit.autograph").setLevel(logging.WARNING)
    if alsologtostdout:
        import sys

        logging.getLogger("tapejit.autograph").addHandler(logging.StreamHandler(sys.stdout))


def trace(*args: Any) -> None:
    """Print arguments while a function is traced."""
    print(*args)
