"""Names that TensorFlow programs use around their computations: config, devices, dtypes, shapes, specs, errors, initial values, tf.test."""

import logging
import time

import numpy as np
import pytest

import tapejit as tf


def both(function):
    """A function as it is, and traced."""
    return pytest.mark.parametrize("call", [function, tf.function(function)], ids=["eager", "traced"])


# ---------------------------------------------------------------------------------------------- config and devices
def test_devices():
    (cpu,) = tf.config.list_physical_devices()
    assert (cpu.name, cpu.device_type) == ("/physical_device:CPU:0", "CPU")
    assert tf.config.list_physical_devices("GPU") == tf.config.experimental.list_physical_devices("GPU") == []
    assert [d.name for d in tf.config.list_logical_devices("CPU")] == ["/device:CPU:0"]
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_visible_devices(cpu, "CPU")
    for gpu in tf.config.experimental.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    with pytest.raises(ValueError, match="cannot be hidden"):
        tf.config.set_visible_devices([], "CPU")
    with pytest.raises(ValueError, match="Unrecognized"):
        tf.config.set_visible_devices(["GPU:0"])
    assert tf.config.get_logical_device_configuration(cpu) is None
    with pytest.raises(NotImplementedError, match="several"):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.mark.parametrize(
    "name", [None, "/CPU:0", "CPU:0", "/GPU:0", "/device:GPU:1", "/job:localhost/replica:0/task:0/device:CPU:0", "cpu"]
)
def test_tf_device(name):
    with tf.device(name):
        assert "CPU:0" in tf.constant(1.0).device


def test_bad_devices():
    with pytest.raises(ValueError, match="parse device name"):
        tf.device("no device")
    with pytest.raises(RuntimeError, match="functions"):
        tf.device(lambda op: "/CPU:0")
    with tf.device(tf.config.list_logical_devices()[0]):
        pass


def test_threads():
    assert tf.config.threading.get_intra_op_parallelism_threads() == 0
    tf.config.threading.set_intra_op_parallelism_threads(1)
    try:
        assert tf.config.threading.get_intra_op_parallelism_threads() == 1
        from tapejit.runtime import host

        assert host.target().threads == 1
    finally:
        tf.config.threading.set_intra_op_parallelism_threads(0)
    tf.config.threading.set_inter_op_parallelism_threads(3)
    assert tf.config.threading.get_inter_op_parallelism_threads() == 3
    with pytest.raises(ValueError, match="negative"):
        tf.config.threading.set_intra_op_parallelism_threads(-1)


def test_switches_are_kept():
    tf.config.optimizer.set_jit(True)
    assert tf.config.optimizer.get_jit() == "autoclustering"
    tf.config.optimizer.set_experimental_options({"constant_folding": True})
    assert tf.config.optimizer.get_experimental_options()["constant_folding"]
    tf.config.experimental.enable_tensor_float_32_execution(False)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.set_soft_device_placement(False)
    assert not tf.config.get_soft_device_placement()
    tf.config.experimental.enable_op_determinism()
    tf.debugging.disable_traceback_filtering()
    assert not tf.debugging.is_traceback_filtering_enabled()
    tf.debugging.enable_traceback_filtering()
    tf.debugging.set_log_device_placement(True)
    assert tf.debugging.get_log_device_placement()


# ------------------------------------------------------------------------------------------------ small functions
@both(lambda: tf.timestamp())
def test_timestamp(call):
    before = time.time()
    first, second = float(call()), float(call())
    assert before <= first < second <= time.time()
    assert call().dtype is tf.float64


def test_static_values():
    assert tf.get_static_value(tf.constant([1, 2])).tolist() == [1, 2]
    found = {}

    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def f(x):
        found["unknown"] = tf.get_static_value(x)
        found["whole"] = tf.get_static_value(tf.shape(x))
        found["part"] = tf.get_static_value(tf.shape(x), partial=True)
        found["last"] = tf.get_static_value(tf.shape(x)[1])
        return x

    f(tf.zeros([2, 3]))
    assert found["unknown"] is None
    assert found["whole"] is None
    assert found["part"].tolist() == [None, 3]
    assert found["last"] == 3


def test_the_logger():
    tf.get_logger().setLevel("ERROR")
    assert logging.getLogger("tapejit").level == logging.ERROR
    tf.get_logger().setLevel(logging.NOTSET)


def test_no_op_does_nothing():
    assert tf.no_op() is None


def test_initial_values():
    assert tf.zeros_initializer()([2], tf.int32).numpy().tolist() == [0, 0]
    assert tf.ones_initializer()((2, 1)).numpy().tolist() == [[1.0], [1.0]]
    assert tf.constant_initializer(2.5)([2]).numpy().tolist() == [2.5, 2.5]
    assert tf.constant_initializer([1, 2, 3, 4])([2, 2], tf.float64).numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(TypeError, match="unsupported shape"):
        tf.constant_initializer([1, 2, 3])([2, 2])
    normal = tf.random_normal_initializer(1.0, 0.5, seed=1)
    assert abs(float(tf.reduce_mean(normal([1000]))) - 1.0) < 0.1
    uniform = tf.random_uniform_initializer(2.0, 3.0)([1000])
    assert 2.0 <= float(tf.reduce_min(uniform)) <= float(tf.reduce_max(uniform)) < 3.0
    again = tf.random_normal_initializer.from_config(normal.get_config())
    assert again.get_config() == {"mean": 1.0, "stddev": 0.5, "seed": 1}


def test_variables_take_their_settings():
    v = tf.Variable(1.0, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.SUM)
    assert v.aggregation is tf.VariableAggregation.SUM
    assert tf.Variable(1.0).synchronization is tf.VariableSynchronization.AUTO


# --------------------------------------------------------------------------------------------------- dtypes
def test_the_namespace_of_dtypes():
    for name in ("float32", "int64", "bool", "bfloat16", "half", "double", "complex64"):
        assert getattr(tf.dtypes, name) is getattr(tf, name)
    assert tf.dtypes.as_dtype("float32") is tf.float32
    assert tf.dtypes.cast(1.5, tf.dtypes.int32).dtype is tf.int32
    assert isinstance(tf.float32, tf.dtypes.DType)
    assert not tf.float32.is_quantized
    assert tf.float32.limits == (0, 1)  # of images


# --------------------------------------------------------------------------------------------------- shapes
def test_shapes_that_are_merged_and_compared():
    shape = tf.TensorShape([None, 3])
    assert shape.merge_with([2, None]) == [2, 3]
    assert shape.with_rank_at_least(2) is shape
    assert shape.is_subtype_of([None, None])
    assert not shape.is_subtype_of([2, 3])
    assert shape.most_specific_compatible_shape([2, 3]) == [None, 3]
    assert shape.most_specific_compatible_shape([3]).rank is None
    assert shape.most_specific_common_supertype([tf.TensorShape([4, 4])]) == [None, None]
    assert shape.concatenate(5) == [None, 3, 5]
    assert tf.TensorShape([2, 3]).num_elements() == 6
    assert tf.TensorShape([]).num_elements() == 1


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda s: s.with_rank(3), "must have rank 3"),
        (lambda s: s.with_rank_at_least(3), "rank at least 3"),
        (lambda s: s.with_rank_at_most(1), "rank at most 1"),
        (lambda s: s.assert_has_rank(1), "rank 1"),
        (lambda s: s.assert_same_rank([1]), "same rank"),
        (lambda s: s.assert_is_fully_defined(), "not fully defined"),
        (lambda s: s.assert_is_compatible_with([2, 4]), "incompatible"),
        (lambda s: s.merge_with([2, 4]), "incompatible"),
    ],
)
def test_shapes_that_do_not_fit(check, says):
    with pytest.raises(ValueError, match=says):
        check(tf.TensorShape([None, 3]))


def test_unknown_rank():
    unknown = tf.TensorShape(None)
    assert unknown[0] is None
    assert unknown[1:].rank is None
    assert unknown.num_elements() is None
    assert unknown.with_rank(2).as_list() == [None, None]
    assert unknown.is_compatible_with([1, 2])
    assert not unknown
    for use in (lambda: unknown.as_list(), lambda: len(unknown), lambda: list(unknown)):
        with pytest.raises(ValueError, match="unknown TensorShape"):
            use()


# ---------------------------------------------------------------------------------------------------- specs
def test_specs():
    spec = tf.TensorSpec([2, None], tf.float32, "x")
    assert isinstance(spec, tf.TypeSpec)
    assert spec.is_compatible_with(tf.zeros([2, 5]))
    assert not spec.is_compatible_with(tf.zeros([2, 5], tf.int32))
    assert not spec.is_compatible_with("text")
    assert tf.TensorSpec([2, 3]).is_subtype_of(tf.TensorSpec([2, None]))
    assert spec.most_specific_compatible_type(tf.TensorSpec([3, None])).shape == [None, None]
    with pytest.raises(ValueError, match="compatible"):
        spec.most_specific_compatible_type(tf.TensorSpec([2, None], tf.int32))
    assert tf.type_spec_from_value(tf.zeros([2])) == tf.TensorSpec([2], tf.float32)
    assert tf.type_spec_from_value(np.zeros([2])) == tf.TensorSpec([2], tf.float64)
    assert tf.type_spec_from_value(tf.data.Dataset.range(3)).element_spec == tf.TensorSpec([], tf.int64)
    with pytest.raises(TypeError, match="TypeSpec"):
        tf.type_spec_from_value("text")


# ---------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "name", [n for n in tf.errors.__all__ if n.endswith("Error") and n not in ("InaccessibleTensorError", "OperatorNotAllowedInGraphError")]
)
def test_errors_have_messages_and_codes(name):
    kind = getattr(tf.errors, name)
    error = kind(None, None, "what happened")
    assert isinstance(error, tf.errors.OpError)
    assert (error.message, error.op, error.node_def) == ("what happened", None, None)
    assert str(error) == "what happened"
    constant = "".join("_" + c if c.isupper() and k else c for k, c in enumerate(name.removesuffix("Error"))).upper()
    if name != "OpError":
        assert error.error_code == getattr(tf.errors, constant)


# ---------------------------------------------------------------------------------------------------- tf.test
class Example(tf.test.TestCase):
    def test_close(self):
        self.assertAllClose({"a": tf.constant([1.0]), "b": [2.0]}, {"a": np.array([1.0], "f"), "b": [2.0 + 1e-7]})
        self.assertAllEqual(tf.constant([1, 2]), [1, 2])
        self.assertAllInRange(tf.constant([0.0, 1.0]), 0.0, 1.0)
        self.assertAllGreater([1.0], 0.0)
        self.assertAllLessEqual([1.0], 1.0)
        self.assertNotAllClose([1.0], [2.0])
        self.assertNotAllEqual([1], [2])
        self.assertShapeEqual(tf.zeros([2]), np.zeros(2))
        self.assertDTypeEqual(tf.zeros([2]), np.float32)
        self.assertAllCloseAccordingToType(tf.constant([1.0], tf.bfloat16), [1.004])
        assert self.evaluate((tf.constant(1), {"v": tf.Variable(2)})) == (1, {"v": 2})

    def test_not_close(self):
        for check in (
            lambda: self.assertAllClose([1.0], [1.1]),
            lambda: self.assertAllClose([1.0], [[1.0]]),
            lambda: self.assertAllEqual([1], [2]),
            lambda: self.assertAllInRange([2.0], 0.0, 1.0),
            lambda: self.assertNotAllEqual([1], [1]),
            lambda: self.assertNotAllClose([1.0], [1.0]),
            lambda: self.assertAllInSet([3], {1, 2}),
        ):
            with pytest.raises(AssertionError):
                check()


def test_compute_gradient():
    by_tape, by_differences = tf.test.compute_gradient(lambda x, y: x * x * y, [tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])])
    for a, b in zip(by_tape, by_differences, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-2)
    assert by_tape[0].tolist() == [[6.0, 0.0], [0.0, 16.0]]
    assert not tf.test.is_gpu_available()


def test_names_at_the_top():
    tf.assert_equal([1], [1])
    tf.assert_rank([1], 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller"):
        tf.assert_less(2, 1, message="smaller")
    assert tf.get_current_name_scope() == ""
    with tf.name_scope("a"), tf.name_scope("b"):
        assert tf.get_current_name_scope() == "a/b"
    seen = []
    tf.function(lambda x: seen.append(tf.is_symbolic_tensor(x)))(tf.constant(1.0))
    assert [tf.is_symbolic_tensor(tf.constant(1.0)), *seen] == [False, True]
    assert [None if t is None else int(t) for t in tf.tuple([1, None, 2])] == [1, None, 2]
    with pytest.raises(ValueError, match="at least one"):
        tf.tuple([None])
    assert tf.parallel_stack([[1, 2], [3, 4]]).numpy().tolist() == [[1, 2], [3, 4]]
    assert float(tf.realdiv(1.0, 2.0)) == 0.5
