"""What Keras asks of every backend first: variables, conversion, control flow and the shapes of results.

The functions and their arguments are those of `keras.src.backend.*.core`; tensors are tapejit's, eager or of a function being traced.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from keras.src import tree
from keras.src.backend.common import KerasVariable, standardize_dtype
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE, result_type
from keras.src.backend.common.keras_tensor import KerasTensor
from keras.src.backend.common.name_scope import name_scope as name_scope
from keras.src.backend.common.stateless_scope import StatelessScope
from keras.src.backend.common.symbolic_scope import SymbolicScope

import tapejit as tf
from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.functional import along_slices
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.graph import Graph
from tapejit.ops.slicing import scalar_of
from tapejit.record.recorder import Recorder, recording
from tapejit.selection import scattered
from tapejit.variable import paused_tapes

py_slice = slice  # Keras has a function of that name

SUPPORTS_SPARSE_TENSORS = True
SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_COMPLEX_DTYPES = True
SPARSE = (tf.SparseTensor, tf.IndexedSlices)
IS_THREAD_SAFE = False  # a thread for callbacks costs more than they do

BIT64_TO_BIT32_DTYPE.update(float64="float64", complex128="complex128")  # which JAX would narrow, and TensorFlow keeps


class Variable(KerasVariable):
    """A Keras variable; `handle` is the `tapejit.Variable` that holds its value, which tapes, traced functions and checkpoints see."""

    def _initialize(self, value: Any) -> None:
        if isinstance(value, tf.Variable):
            self._value = value
        else:
            self._value = tf.Variable(value, dtype=self._dtype, trainable=self._trainable, name=self._name)

    def _initialize_with_initializer(self, initializer: Callable[..., Any]) -> None:
        with tf.init_scope():
            value = convert_to_tensor(initializer(self._shape, dtype=self._dtype), self._dtype)
        self._initialize(value)

    def _direct_assign(self, value: Any) -> None:
        self._value.assign(cast(value, self._dtype))

    def _convert_to_tensor(self, value: Any, dtype: Any = None) -> Any:
        return dense_tensor(value, dtype)

    @property
    def handle(self) -> tf.Variable:
        """The variable that holds the value."""
        return self._value

    @property
    def shape(self) -> tf.TensorShape:
        """The shape, as TensorFlow's variables tell it."""
        return tf.TensorShape(self._shape)

    # what an op asks of its operands
    @property
    def dims(self) -> tuple[Dim, ...]:
        return tuple(self._shape)

    def read_tensor(self) -> Any:
        """The current value as a tensor, in the dtype of the autocast scope; within a stateless scope that scope's."""
        value = self.value
        return value.read_tensor() if isinstance(value, tf.Variable) else value

    read_value = read_tensor

    def enter_graph(self, recorder: Recorder) -> Any:
        """What a graph being recorded writes for the value."""
        return recorder.operand(self.read_tensor())

    def carry_out(self, op: Any, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """An op on this and other operands, outside traced functions."""
        return self.handle.carry_out(op, operands, attrs)

    def ref(self) -> Any:
        """A hashable stand-in for the variable."""
        return self.handle.ref()

    def numpy(self) -> np.ndarray:
        return convert_to_numpy(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Any:
    """`x` as a tensor of `dtype`; without one, of the dtype it has, Python numbers of Keras' own. A sparse tensor stays one unless `sparse`
    is False."""
    if ragged:
        raise ValueError("`ragged=True` is not supported with the tapejit backend")
    return cast(x, dtype or x.dtype) if isinstance(x, SPARSE) and sparse is not False else dense_tensor(x, dtype)


def dense_tensor(x: Any, dtype: Any = None) -> Any:
    """`x` as a tensor of `dtype` that is not sparse: what functions take that have no rule of their own for sparse tensors."""
    if isinstance(x, tf.SparseTensor):
        x = tf.sparse.to_dense(x)
    elif hasattr(x, "read_tensor"):
        x = x.read_tensor()
    elif hasattr(x, "to_tensor"):
        x = x.to_tensor()
    elif isinstance(x, tf.TensorShape):
        x = x.as_list()
    elif isinstance(x, sizes.Size):
        x = scalar_of(x, dtypes.int32)
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
    """`x` as a tensor of `dtype`; sparse tensors and gradients stay so."""
    return _cast(x, dtype) if isinstance(x, SPARSE) else dense_tensor(x, dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    x = dense_tensor(x) if isinstance(x, tf.SparseTensor) or hasattr(x, "read_tensor") else x
    return np.array(x.numpy_view() if isinstance(x, tf.EagerTensor) else x)


def is_tensor(x: Any) -> bool:
    return isinstance(x, tf.Tensor | tf.Variable | tf.SparseTensor)


def shape(x: Any) -> tuple[Any, ...]:
    """The shape as a tuple of ints, with scalars of the graph where a size is open; of what is no tensor of ours, its own `shape`."""
    if not hasattr(x, "dims") and hasattr(x, "shape"):
        return tuple(x.shape)
    x = convert_to_tensor(x)
    if all(isinstance(d, int) for d in x.dims):
        return tuple(x.dims)
    open_sizes = tf.shape(x)
    return tuple(d if isinstance(d, int) else open_sizes[k] for k, d in enumerate(x.dims))


def compute_output_spec(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `fn` returns for inputs of which only the types are known: it is recorded into a graph that nobody runs."""
    with StatelessScope(), SymbolicScope():
        recorder = Recorder(Graph("output_spec"))
        open_size = sizes.named(recorder.new_size("N"))  # one for all, as an op of two inputs may want theirs to agree

        def parameter(dtype: Any, dims: tuple[Dim, ...]) -> GraphTensor:
            return GraphTensor(recorder.builder.parameter("x", Type(dtypes.as_dtype(dtype), dims)), recorder)

        def entered(x: Any) -> Any:
            if not isinstance(x, KerasTensor | GraphTensor):  # one of a function being traced counts by its type as well
                return x
            dims = tuple(d if isinstance(d, int) else open_size for d in x.shape)
            if not getattr(x, "sparse", False):
                return parameter(x.dtype, dims)
            count = sizes.named(recorder.new_size("K"))
            return tf.SparseTensor(parameter("int64", (count, len(dims))), parameter(x.dtype, (count,)), dims)

        def left(x: Any) -> Any:
            if isinstance(x, tf.SparseTensor):
                return KerasTensor(x.shape.as_list(), standardize_dtype(x.dtype), sparse=True)
            if hasattr(x, "read_tensor"):
                x = x.read_tensor()
            return KerasTensor(x.shape.as_list(), standardize_dtype(x.dtype)) if is_tensor(x) else x

        with recording(recorder), paused_tapes():
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


# ------------------------------------------------------------------------------------------------ loops and branches
def map(f: Callable[..., Any], xs: Any) -> Any:
    """`f` of every slice of `xs` along the first axis, stacked."""
    return scan(lambda carry, x: (carry, f(x)), (), xs)[1]


def scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: int | bool = 1
) -> tuple[Any, Any]:
    """`jax.lax.scan`: `f(carry, x) -> (carry, y)` over the first axis of `xs`; the last carry and the `y` of every step, stacked.

    Raises TypeError if `f` cannot be called, ValueError if neither `xs` nor `length` is given.
    """
    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f}")
    if not isinstance(unroll, bool) and (not isinstance(unroll, int) or unroll < 1):
        raise ValueError(f"`unroll` must be an positive integer or boolean. Received: unroll={unroll}")
    if xs is None and length is None:
        raise ValueError("Got no `xs` to scan over and `length` not provided.")
    init = tree.map_structure(convert_to_tensor, init)
    xs = None if xs is None else tree.map_structure(convert_to_tensor, xs)
    rows, state = tree.flatten(xs) if xs is not None else [], tree.flatten(init)
    made: list[Any] = []

    def step(carried: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        carry, out = f(tree.pack_sequence_as(init, carried), tree.pack_sequence_as(xs, slices) if rows else None)
        if not made:
            made.append(out)
        return [convert_to_tensor(c) for c in tree.flatten(carry)], [convert_to_tensor(y) for y in tree.flatten(out) if y is not None]

    count = rows[0].dims[0] if length is None else int(length)
    ends, stacked = along_slices(step, state, rows, count, reverse)
    return tree.pack_sequence_as(init, ends), tree.pack_sequence_as(made[0], stacked) if made and made[0] is not None else None


def associative_scan(f: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """`jax.lax.associative_scan`: what `f(f(f(e0, e1), e2), ...)` has after every slice along `axis`, in about 2 log n calls of `f`.

    Raises TypeError if `f` cannot be called, ValueError if the sizes along `axis` differ or are not known.
    """
    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f}")
    leaves = [convert_to_tensor(x) for x in tree.flatten(elems)]
    leaves = [tf.reverse(x, [axis]) if reverse else x for x in leaves]
    counts = {x.dims[axis] for x in leaves}
    if len(counts) != 1 or not all(isinstance(n, int) for n in counts):
        raise ValueError(
            f"Array inputs to associative_scan must have the same first dimension (along axis {axis}), which is known. Found: {counts}"
        )

    def joined(a: list[Any], b: list[Any]) -> list[Any]:
        out = f(tree.pack_sequence_as(elems, a), tree.pack_sequence_as(elems, b))
        return [convert_to_tensor(x) for x in tree.flatten(out)]

    out = _scanned(joined, leaves, axis)
    return tree.pack_sequence_as(elems, [tf.reverse(x, [axis]) if reverse else x for x in out])


def _scanned(f: Callable[[list[Any], list[Any]], list[Any]], xs: list[Any], axis: int) -> list[Any]:
    """Pairs joined and scanned, then what lies between them: Blelloch's scan."""
    count = xs[0].dims[axis]
    if count < 2:
        return xs

    def every_other(xs: list[Any], first: int, last: int) -> list[Any]:
        return [x[(*[py_slice(None)] * (axis % len(x.dims)), py_slice(first, last, 2))] for x in xs]

    odd = _scanned(f, f(every_other(xs, 0, count - 1), every_other(xs, 1, count)), axis)
    before = [tf.gather(x, tf.range((count + 1) // 2 - 1), axis=axis) for x in odd]
    even = f(before, every_other(xs, 2, count)) if count > 2 else before
    even = [
        tf.concat([tf.gather(x, [0], axis=axis), e], axis) if count > 2 else tf.gather(x, [0], axis=axis)
        for x, e in zip(xs, even, strict=True)
    ]
    return [_interleaved(e, o, axis) for e, o in zip(even, odd, strict=True)]


def _interleaved(even: Any, odd: Any, axis: int) -> Any:
    """e0, o0, e1, o1, ... along `axis`; there may be one more of `even`."""
    axis %= len(even.dims)
    n = odd.dims[axis]
    head = tf.gather(even, tf.range(n), axis=axis)
    both = tf.stack([head, odd], axis + 1)
    both = tf.reshape(both, [*even.dims[:axis], 2 * n, *even.dims[axis + 1 :]])
    return both if even.dims[axis] == n else tf.concat([both, tf.gather(even, [n], axis=axis)], axis)


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: int | None = None) -> Any:
    several = isinstance(loop_vars, tuple | list)

    def listed(*args: Any) -> tuple[Any, ...]:
        out = body(*args)
        return tuple(out) if several else (out,)

    out = tf.while_loop(cond, listed, tuple(loop_vars) if several else (loop_vars,), maximum_iterations=maximum_iterations)
    return tuple(out) if several else out[0]


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    lower = convert_to_tensor(lower)
    return tf.while_loop(lambda i, val: i < upper, lambda i, val: (i + 1, body_fun(i, val)), (lower, init_val))[1]


def switch(index: Any, branches: Any, *operands: Any) -> Any:
    index = tf.clip_by_value(convert_to_tensor(index, "int32"), 0, len(branches) - 1)
    return tf.switch_case(index, [partial(branch, *operands) for branch in branches])


# ------------------------------------------------------------------------------------------------ parts of tensors
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    return tf.scatter_nd(convert_to_tensor(indices, "int32"), convert_to_tensor(values), shape)


_SCATTERED: dict[str | None, Callable[..., Any]] = {
    None: tf.tensor_scatter_nd_update,
    "add": tf.tensor_scatter_nd_add,
    "max": tf.tensor_scatter_nd_max,
    "min": tf.tensor_scatter_nd_min,
}


def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """`inputs` with the slices that index vectors name replaced by `updates`, or joined with them by "add", "max", "min" or "mul"."""
    inputs, indices = convert_to_tensor(inputs), convert_to_tensor(indices, "int32")
    updates = convert_to_tensor(updates, inputs.dtype)
    if reduction in _SCATTERED:
        return _SCATTERED[reduction](inputs, indices, updates)
    if reduction == "mul":
        return scattered(inputs, indices, updates, "mul")
    raise ValueError(f"Unsupported reduction: {reduction}")


def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    return tf.slice(convert_to_tensor(inputs), start_indices, shape)


def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """`inputs` with a block replaced by `updates`, which begins at `start_indices`, or as much earlier as it needs to fit."""
    inputs = convert_to_tensor(inputs)
    updates = convert_to_tensor(updates, inputs.dtype)
    last = tf.shape(inputs) - tf.shape(updates)
    starts = tf.clip_by_value(tf.stack([convert_to_tensor(s, "int32") for s in _listed(start_indices)]), 0, last)
    rank = len(inputs.dims)
    grids = tf.meshgrid(*(tf.range(d) for d in shape(updates)), indexing="ij")
    places = tf.stack([starts[k] + g for k, g in enumerate(grids)], axis=-1) if rank else tf.zeros([0], tf.int32)
    return tf.tensor_scatter_nd_update(inputs, tf.reshape(places, [-1, rank]), tf.reshape(updates, [-1]))


def _listed(xs: Any) -> list[Any]:
    """Integers, or a vector of them, as a list."""
    return tf.unstack(xs) if hasattr(xs, "dims") else list(xs)


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    return tf.unstack(convert_to_tensor(x), num=num, axis=axis)


# ------------------------------------------------------------------------------------------------ gradients
def custom_gradient(fun: Callable[..., Any]) -> Callable[..., Any]:
    return tf.custom_gradient(fun)


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, whose intermediate results are computed again for the gradient instead of being kept."""
    return tf.recompute_grad(f)
