"""tapejit as a backend of Keras 3.15: what `keras.src.backend` imports of a backend, under the names it imports."""

import inspect
from typing import Any

from tapejit.keras.implementation import core, image, linalg, math, nn, numpy, random
from tapejit.keras.implementation.core import (
    IS_THREAD_SAFE,
    SUPPORTS_COMPLEX_DTYPES,
    SUPPORTS_RAGGED_TENSORS,
    SUPPORTS_SPARSE_TENSORS,
    Variable,
    cast,
    compute_output_spec,
    cond,
    convert_to_numpy,
    convert_to_tensor,
    device_scope,
    is_tensor,
    name_scope,
    random_seed_dtype,
    scatter,
    shape,
    stop_gradient,
    vectorized_map,
)
from tapejit.keras.implementation.rnn import bidirectional_gru, bidirectional_lstm, cudnn_ok, gru, lstm, rnn


def _without_types(module: Any) -> None:
    """Signatures of our functions as Keras declares its own, which its tests compare for equality: without annotations."""
    for function in vars(module).values():
        if inspect.isfunction(function) and function.__module__.startswith(__name__):
            plain = inspect.signature(function)
            names = [p.replace(annotation=inspect.Parameter.empty) for p in plain.parameters.values()]
            function.__signature__ = plain.replace(parameters=names, return_annotation=inspect.Signature.empty)  # type: ignore[attr-defined]


for _module in (core, image, linalg, math, nn, numpy, random):
    _without_types(_module)
