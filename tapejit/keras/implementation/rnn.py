"""Recurrent layers on tapejit: loops over time steps."""

from typing import Any


def rnn(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError."""
    raise NotImplementedError("recurrent layers")


def cudnn_ok(*args: Any, **kwargs: Any) -> bool:
    """Whether cuDNN would compute this layer: never."""
    return False


def lstm(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: the layer then goes by `rnn`."""
    raise NotImplementedError("an LSTM as one kernel")


def gru(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: the layer then goes by `rnn`."""
    raise NotImplementedError("a GRU as one kernel")


def bidirectional_lstm(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: the layer then goes by `rnn`."""
    raise NotImplementedError("a bidirectional LSTM as one kernel")


def bidirectional_gru(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: the layer then goes by `rnn`."""
    raise NotImplementedError("a bidirectional GRU as one kernel")
