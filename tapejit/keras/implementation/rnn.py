"""Recurrent layers on tapejit: loops over time steps, which a traced function runs natively."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.src import tree

import tapejit as tf
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.core import scan
from tapejit.keras.implementation.numpy.promotion import alike


def _swapped(x: Any) -> Any:
    """Batch and time exchanged."""
    return tf.transpose(x, (1, 0, *range(2, len(x.dims))))


def _shaped(mask: Any, like: Any) -> Any:
    """[batch, 1] with as many axes as `like`."""
    return tf.reshape(mask, [mask.dims[0], *[1] * (len(like.dims) - 1)])


def rnn(
    step_function: Callable[..., Any],
    inputs: Any,
    initial_states: Any,
    go_backwards: bool = False,
    mask: Any = None,
    constants: Any = None,
    unroll: bool = False,
    input_length: Any = None,
    time_major: bool = False,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Any, Any, Any]:
    """`step_function(input, states) -> (output, states)` for every time step; (last output, outputs of all steps, last states).

    Inputs are [batch, time, ...], or with `time_major` [time, batch, ...], and may be nested; so are the outputs, those of the last step
    first with `go_backwards`. Where `mask` [batch, time] is false a step leaves the states as they are and repeats the output, which is the
    first state, or gives 0. `constants` follow the states that each step is given. ValueError for `unroll` without a known number of steps.
    """
    inputs = tree.map_structure(convert_to_tensor, inputs)
    inputs = inputs if time_major else tree.map_structure(_swapped, inputs)
    states = tree.map_structure(convert_to_tensor, initial_states)
    constants = tuple(constants or ())
    if mask is not None:
        mask = convert_to_tensor(mask, "bool")
        mask = tf.expand_dims(mask, -1) if len(mask.dims) == 2 else mask
        mask = mask if time_major else _swapped(mask)

    rows = (inputs,) if mask is None else (inputs, mask)

    def step(states: Any, given: Any) -> tuple[Any, Any]:
        x, known = given if mask is not None else (*given, None)
        output, new = step_function(x, (*states, *constants))
        if known is None:
            return tree.pack_sequence_as(states, tree.flatten(new)), output
        known = tf.reduce_any(known, -1)
        before = tf.zeros_like(output) if zero_output_for_mask else _previous_output(states)
        output = tf.where(_shaped(known, output), output, before)
        kept = [tf.where(_shaped(known, s), n, s) for s, n in zip(tree.flatten(states), tree.flatten(new), strict=True)]
        return tree.pack_sequence_as(states, kept), output

    if unroll:
        return _unrolled(step, states, rows, go_backwards, time_major, return_all_outputs)
    states, outputs = scan(step, states, rows, reverse=go_backwards)
    if go_backwards:
        outputs = tree.map_structure(lambda y: tf.reverse(y, [0]), outputs)
    last = tree.map_structure(lambda y: y[-1], outputs)
    return last, outputs if time_major else tree.map_structure(_swapped, outputs), states


def _previous_output(states: Any) -> Any:
    """The first state; of stacked cells that of the last cell."""
    return states[-1][0] if tree.is_nested(states[0]) else states[0]


def _unrolled(
    step: Callable[..., Any], states: Any, rows: Any, go_backwards: bool, time_major: bool, return_all_outputs: bool
) -> tuple[Any, Any, Any]:
    """The steps one by one."""
    count = tree.flatten(rows)[0].dims[0]
    if not isinstance(count, int) or not count:
        raise ValueError("Unrolling requires a fixed number of timesteps.")
    outputs = []
    for t in range(count - 1, -1, -1) if go_backwards else range(count):
        states, output = step(states, tree.map_structure(lambda x: x[t], rows))
        outputs.append(output)
    last = outputs[-1]
    stacked = tree.map_structure(lambda *ys: tf.stack(ys), *(outputs if return_all_outputs else outputs[-1:]))
    return last, stacked if time_major else tree.map_structure(_swapped, stacked), states


# ---------------------------------------------------------------------------------------------------- cells with one kernel for all steps
def _projected(inputs: Any, kernel: Any, bias: Any) -> Any:
    """Inputs times kernel for all time steps at once: [time, batch, ...]."""
    out = tf.matmul(*alike(_swapped(convert_to_tensor(inputs)), convert_to_tensor(kernel)))
    return out if bias is None else out + bias


def _run(
    step: Callable[..., Any], states: list[Any], projected: Any, return_sequences: bool, go_backwards: bool
) -> tuple[Any, Any, list[Any]]:
    """`rnn` of cells whose first state is their output, with the outputs that a layer is to return: of all steps, or the last one with a
    time axis, for which no others are kept."""
    _, outputs, (last, *others) = rnn(step, projected, states, go_backwards, time_major=True)
    return last, _swapped(outputs) if return_sequences else tf.expand_dims(last, 1), [last, *others]


def lstm(
    inputs: Any,
    initial_state_h: Any,
    initial_state_c: Any,
    mask: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    activation: Callable[[Any], Any],
    recurrent_activation: Callable[[Any], Any],
    return_sequences: bool = False,
    go_backwards: bool = False,
    unroll: bool = False,
) -> tuple[Any, Any, list[Any]]:
    """A layer of LSTM cells, its inputs times `kernel` in one product.

    NotImplementedError to unroll, and for a mask, as what a masked step gives is not told here: the layer then goes by `rnn`.
    """
    if unroll or mask is not None:
        raise NotImplementedError("an unrolled or masked LSTM as one kernel")
    recurrent_kernel = convert_to_tensor(recurrent_kernel)

    def step(x: Any, states: Any) -> tuple[Any, list[Any]]:
        h, c = states
        i, f, g, o = tf.split(x + tf.matmul(h, recurrent_kernel), 4, axis=-1)
        c = recurrent_activation(f) * c + recurrent_activation(i) * activation(g)
        h = recurrent_activation(o) * activation(c)
        return h, [h, c]

    return _run(step, [initial_state_h, initial_state_c], _projected(inputs, kernel, bias), return_sequences, go_backwards)


def gru(
    inputs: Any,
    initial_state: Any,
    mask: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    activation: Callable[[Any], Any],
    recurrent_activation: Callable[[Any], Any],
    return_sequences: bool = False,
    go_backwards: bool = False,
    unroll: bool = False,
    reset_after: bool = True,
) -> tuple[Any, Any, list[Any]]:
    """A layer of GRU cells, its inputs times `kernel` in one product.

    NotImplementedError to unroll, for a mask, and with a reset gate before the product: the layer then goes by `rnn`.
    """
    if unroll or mask is not None or not reset_after:
        raise NotImplementedError("an unrolled or masked GRU, or one with its reset gate before the product, as one kernel")
    recurrent_kernel = convert_to_tensor(recurrent_kernel)
    input_bias, recurrent_bias = (None, None) if bias is None else tf.unstack(convert_to_tensor(bias))

    def step(x: Any, states: Any) -> tuple[Any, list[Any]]:
        (h,) = states
        inner = tf.matmul(h, recurrent_kernel)
        inner = inner if recurrent_bias is None else inner + recurrent_bias
        (xz, xr, xh), (hz, hr, hh) = (tf.split(v, 3, axis=-1) for v in (x, inner))
        z = recurrent_activation(xz + hz)
        h = z * h + (1 - z) * activation(xh + recurrent_activation(xr + hr) * hh)
        return h, [h]

    state = initial_state[0] if isinstance(initial_state, list | tuple) else initial_state
    return _run(step, [state], _projected(inputs, kernel, input_bias), return_sequences, go_backwards)


def cudnn_ok(*args: Any, **kwargs: Any) -> bool:
    """Whether cuDNN would compute this layer: never."""
    return False


def bidirectional_lstm(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: the layer then runs one way and the other."""
    raise NotImplementedError("a bidirectional LSTM as one kernel")


def bidirectional_gru(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: the layer then runs one way and the other."""
    raise NotImplementedError("a bidirectional GRU as one kernel")
