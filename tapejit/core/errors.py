"""The exceptions users meet: TensorFlow's names, each also the Python type one would expect.

`OpError` is the root, as `tf.errors.OpError`. `message` is the text; `place` the user's line if it is known.
"""

from __future__ import annotations

from typing import Any


class OpError(Exception):
    """Something went wrong in an operation. `code` is TensorFlow's error code number."""

    code = 2

    def __init__(self, *args: Any) -> None:
        # TensorFlow's own constructor is (node_def, op, message); a single argument is the message.
        super().__init__(*args[-1:])
        self.node_def: Any = args[0] if len(args) == 3 else None
        self.op: Any = args[1] if len(args) == 3 else None
        self.message = str(args[-1]) if args else ""

    @property
    def error_code(self) -> int:
        return self.code


class CancelledError(OpError):
    code = 1


class UnknownError(OpError):
    code = 2


class InvalidArgumentError(OpError, ValueError):
    """Shapes, dtypes or values that an operation cannot take."""

    code = 3


class DeadlineExceededError(OpError, TimeoutError):
    code = 4


class NotFoundError(OpError, LookupError):
    code = 5


class AlreadyExistsError(OpError):
    code = 6


class PermissionDeniedError(OpError, PermissionError):
    code = 7


class ResourceExhaustedError(OpError, MemoryError):
    code = 8


class FailedPreconditionError(OpError, RuntimeError):
    code = 9


class AbortedError(OpError):
    code = 10


class OutOfRangeError(OpError, IndexError):
    """Past the end, as of a dataset."""

    code = 11


class UnimplementedError(OpError, NotImplementedError):
    code = 12


class InternalError(OpError):
    """A broken promise inside tapejit: a bug of ours, never of the user's program."""

    code = 13


class UnavailableError(OpError):
    code = 14


class DataLossError(OpError):
    code = 15


class UnauthenticatedError(OpError):
    code = 16


class OperatorNotAllowedInGraphError(TypeError):
    """A symbolic tensor was used where Python needs a value (`if`, `for`, `bool`)."""


class InaccessibleTensorError(TypeError):
    """A symbolic tensor was used outside the function, branch or loop that made it."""
