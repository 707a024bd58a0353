"""What Keras asks of every backend first: variables, conversion, control flow and the shapes of results.

The functions and their arguments are those of `keras.src.backend.*.core`; tensors are tapejit's, eager or of a function being traced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras.src import tree
from keras.src.backend.common import KerasVariable, global_state, standardize_dtype
from keras.src.backend.common.dtypes import result_type
from keras.src.backend.common.keras_tensor import KerasTensor
from keras.src.backend.common.name_scope import name_scope as name_scope  # noqa: PLC0414  Keras reads it here
from keras.src.backend.common.stateless_scope import StatelessScope, in_stateless_scope
from keras.src.backend.common.symbolic_scope import SymbolicScope

import tapejit as tf
from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.graph import Graph
from tapejit.record.recorder import Recorder, recording
from tapejit.tensor import GraphTensor

SUPPORTS_SPARSE_TENSORS = False
SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_COMPLEX_DTYPES = True
IS_THREAD_SAFE = True


class Variable(KerasVariable):
    """A Keras variable; `handle` is the `tapejit.Variable` that holds its value, which tapes, traced functions and checkpoints see."""

    def _initialize(self, value: Any) -> None:
        if isinstance(value, tf.Variable):
            self._value = value
            return
        with tf.init_scope():
            self._value = tf.Variable(value, dtype=self._dtype, trainable=self._trainable, name=self._name)

    def _initialize_with_initializer(self, initializer: Callable[..., Any]) -> None:
        with tf.init_scope():
            self._initialize(convert_to_tensor(initializer(self._shape, dtype=self._dtype), self._dtype))

    def _direct_assign(self, value: Any) -> None:
        self._value.assign(cast(value, self._dtype))

    def _convert_to_tensor(self, value: Any, dtype: Any = None) -> Any:
        return convert_to_tensor(value, dtype=dtype)

    @property
    def handle(self) -> tf.Variable:
        """The variable that holds the value."""
        return self._value

    # what an op asks of its operands
    @property
    def dims(self) -> tuple[Dim, ...]:
        return tuple(self._shape)

    def read_tensor(self) -> Any:
        """The current value as a tensor, in the dtype of the autocast scope; within a stateless scope that scope's."""
        value = self.value
        return value.read_tensor() if isinstance(value, tf.Variable) else value

    def numpy(self) -> np.ndarray:
        return convert_to_numpy(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Any:
    """`x` as a tensor of `dtype`; without one, of the dtype it has, Python numbers of Keras' own."""
    if sparse:
        raise ValueError("`sparse=True` is not supported with the tapejit backend")
    if ragged:
        raise ValueError("`ragged=True` is not supported with the tapejit backend")
    if hasattr(x, "read_tensor"):
        x = x.read_tensor()
    elif hasattr(x, "to_tensor"):
        x = x.to_tensor()
    if isinstance(x, tf.Tensor):
        return x if dtype is None else _cast(x, dtype)
    if dtype is None:
        if isinstance(x, np.ndarray | np.generic):
            dtype = standardize_dtype(x.dtype)
        else:
            dtype = result_type(*[getattr(item, "dtype", type(item)) for item in tree.flatten(x)])
    if isinstance(x, list | tuple) and any(tf.is_tensor(leaf) for leaf in tree.flatten(x)):
        return tf.stack([convert_to_tensor(part, dtype) for part in x])
    return tf.constant(np.asarray(x).astype(dtypes.as_dtype(standardize_dtype(dtype)).np))


def _cast(x: Any, dtype: Any) -> Any:
    wanted = dtypes.as_dtype(standardize_dtype(dtype))
    return x if x.dtype is wanted else tf.cast(x, wanted)


def cast(x: Any, dtype: Any) -> Any:
    return convert_to_tensor(x, dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    return np.array(x.read_tensor() if hasattr(x, "read_tensor") else x)


def is_tensor(x: Any) -> bool:
    return isinstance(x, tf.Tensor)


def shape(x: Any) -> tuple[Any, ...]:
    """The shape as a tuple of ints, with scalars of the graph where a size is open."""
    if isinstance(x, KerasTensor):
        return x.shape
    x = convert_to_tensor(x)
    if all(isinstance(d, int) for d in x.dims):
        return tuple(x.dims)
    open_sizes = tf.shape(x)
    return tuple(d if isinstance(d, int) else open_sizes[k] for k, d in enumerate(x.dims))


def compute_output_spec(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `fn` returns for inputs of which only the types are known: it is recorded into a graph that nobody runs."""
    with StatelessScope(), SymbolicScope():
        recorder = Recorder(Graph("output_spec"))

        def entered(x: Any) -> Any:
            if not isinstance(x, KerasTensor):
                return x
            dims = tuple(sizes.named(recorder.new_size("N")) if d is None else d for d in x.shape)
            return GraphTensor(recorder.builder.parameter("x", Type(dtypes.as_dtype(x.dtype), dims)), recorder)

        def left(x: Any) -> Any:
            if hasattr(x, "read_tensor"):
                x = x.read_tensor()
            return KerasTensor(x.shape.as_list(), standardize_dtype(x.dtype)) if is_tensor(x) else x

        with recording(recorder):
            args, kwargs = tree.map_structure(entered, (args, kwargs))
            return tree.map_structure(left, fn(*args, **kwargs))


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    return tf.cond(convert_to_tensor(pred, "bool"), true_fn, false_fn)


def vectorized_map(function: Callable[..., Any], elements: Any) -> Any:
    return tf.vectorized_map(function, tree.map_structure(convert_to_tensor, elements))


def stop_gradient(variable: Any) -> Any:
    return tf.stop_gradient(convert_to_tensor(variable))


def random_seed_dtype() -> str:
    return "int64"


def device_scope(device_name: str) -> Any:
    return tf.device(device_name)
