"""What Python and NumPy values become as tensors, eagerly and within a traced function: dtypes by themselves, beside a tensor, and where asked for."""

import numpy as np
import pytest

import tapejit as tf

BY_THEMSELVES = {
    "float32": (1.5, [1, 2.5], [1, np.float64(2)], [1.0, np.float64(2)], [np.int32(1), np.float64(2)], np.float32(1), [np.float32(2), 1.0]),
    "float64": (np.float64(1), [np.float64(1), 2], [np.float64(1), np.float32(2)], np.ones(2), [np.ones(2), np.ones(2)]),
    "float16": (np.float16(1), [np.float16(1)]),
    "int32": (1, [np.int64(1)], [1, np.int64(2)], [np.uint8(2)], [np.int8(1), np.int64(2)], [[np.int64(1)]], [np.array([1])]),
    "int64": (2**40, [1, 2**40], [np.int64(2**40)], np.int64(1), np.array([1])),
    "uint8": (np.uint8(1), np.array([1], np.uint8)),
    "bool": (True, [True], np.bool_(True), [np.bool_(True)]),
    "complex128": (1j, np.array([1j])),
}
AS_DTYPE = [  # value, dtype, what it becomes
    (True, tf.float32, 1.0),
    ([True, False], tf.int32, [1, 0]),
    (np.array([True, False]), tf.float32, [1.0, 0.0]),
    (np.array([1.5, -2.7]), tf.int32, [1, -2]),
    (np.float64(1.5), tf.int64, 1),
    (np.array([0, 2]), tf.bool, [False, True]),
    (np.array([300]), tf.uint8, [44]),
    (np.ones(2), tf.float32, [1.0, 1.0]),
    (np.array([2]), tf.complex64, [2 + 0j]),
    ([], tf.int32, []),
]
BESIDE = [  # a tensor, what is multiplied with it, the product
    (tf.constant([1.0, 2.0]), True, [1.0, 2.0]),
    (tf.constant([1.0, 2.0]), np.array([True, False]), [1.0, 0.0]),
    (tf.constant([1, 2]), np.array([2.5, 1.0]), [2, 2]),
    (tf.constant([1, 2]), [True, False], [1, 0]),
    (tf.constant([1.0, 2.0]), np.float64(0.5), [0.5, 1.0]),
]
TOO_MUCH = [(1.5, tf.int32), ([1, 2.5], tf.int32), (1, tf.bool), (300, tf.uint8), (-1, tf.uint8), (1j, tf.float32)]


@pytest.mark.parametrize(("value", "dtype"), [(x, dtype) for dtype, values in BY_THEMSELVES.items() for x in values])
def test_dtypes_of_values(value, dtype):
    assert tf.constant(value).dtype.name == dtype
    assert tf.function(lambda: tf.convert_to_tensor(value))().dtype.name == dtype


@pytest.mark.parametrize(("value", "dtype", "wanted"), AS_DTYPE)
def test_values_become_the_dtype_asked_for(value, dtype, wanted):
    makers = (
        tf.constant,
        tf.convert_to_tensor,
        lambda x, d: tf.Variable(x, dtype=d),
        lambda x, d: tf.function(lambda: tf.constant(x, d))(),
    )
    for make in makers:
        made = make(value, dtype)
        assert made.dtype is dtype
        assert made.numpy().tolist() == wanted


@pytest.mark.parametrize(("tensor", "value", "product"), BESIDE)
def test_values_become_the_dtype_of_the_tensor(tensor, value, product):
    for f in (lambda: tensor * value, lambda: value * tensor, tf.function(lambda: tensor * value), lambda: tf.multiply(tensor, value)):
        assert f().dtype is tensor.dtype
        assert f().numpy().tolist() == product


@pytest.mark.parametrize(("value", "dtype"), TOO_MUCH)
def test_python_values_lose_nothing(value, dtype):
    for make in (tf.constant, lambda x, d: tf.function(lambda: tf.constant(x, d))()):
        with pytest.raises(TypeError, match=r"Cannot convert .* to EagerTensor of dtype"):
            make(value, dtype)
