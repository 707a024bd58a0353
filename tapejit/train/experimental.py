"""`tf.train.experimental`: Python state in checkpoints."""

from __future__ import annotations

import abc

import numpy as np

__all__ = ["PythonState"]


class PythonState(abc.ABC):
    """An object that a checkpoint stores as the text or bytes it makes of itself (`tf.train.experimental.PythonState`)."""

    @abc.abstractmethod
    def serialize(self) -> str | bytes:
        """Everything there is to know, as text or bytes."""

    @abc.abstractmethod
    def deserialize(self, string_value: bytes) -> None:
        """Become what `serialize` described, given as bytes."""

    def saved_state(self) -> np.ndarray:
        """What the checkpoint holds: the bytes."""
        text = self.serialize()
        return np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)

    def restore_state(self, array: np.ndarray) -> None:
        """Become what a checkpoint holds."""
        self.deserialize(array.tobytes())
