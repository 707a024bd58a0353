"""tapejit as a backend of Keras 3.15: what `keras.src.backend` imports of a backend, under the names it imports."""

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
