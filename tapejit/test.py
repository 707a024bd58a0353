"""`tf.test`: `unittest` with assertions on tensors, and gradients against finite differences."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapejit import nest
from tapejit.core import dtypes
from tapejit.random import set_seed
from tapejit.tape import GradientTape
from tapejit.tensor import convert_to_tensor, is_tensor

__all__ = ["TestCase", "compute_gradient", "gpu_device_name", "is_built_with_cuda", "is_built_with_gpu_support", "is_gpu_available", "main"]

main = unittest.main


def is_built_with_cuda() -> bool:
    """False."""
    return False


is_built_with_gpu_support = is_built_with_cuda


def is_gpu_available(cuda_only: bool = False, min_cuda_compute_capability: Any = None) -> bool:
    """False."""
    return False


def gpu_device_name() -> str:
    """The empty string: there is none."""
    return ""


class TestCase(unittest.TestCase):
    """`unittest.TestCase` for tensors (`tf.test.TestCase`). Each test begins with the seed 87654321."""

    def setUp(self) -> None:
        super().setUp()
        set_seed(87654321)
        np.random.seed(87654321)

    def evaluate(self, tensors: Any) -> Any:
        """The structure with arrays for tensors and variables."""
        return nest.map_structure(lambda x: x.numpy() if is_tensor(x) else x, tensors)

    def _array(self, x: Any) -> np.ndarray:
        array = np.asarray(x.numpy() if is_tensor(x) else self.evaluate(x) if isinstance(x, list | tuple) else x)
        return array.astype(np.float32) if array.dtype == dtypes.bfloat16.np else array

    def assertAllClose(self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, msg: str | None = None) -> None:
        """Structures of arrays of equal shapes with |a - b| <= atol + rtol * |b| (at least 1e-3 for 16-bit floats)."""
        if isinstance(a, dict) or isinstance(b, dict):
            self.assertEqual(set(a), set(b), msg)
            for key in a:
                self.assertAllClose(a[key], b[key], rtol, atol, msg)
            return
        try:
            x, y = self._array(a), self._array(b)
        except ValueError:  # ragged: compare item by item
            self.assertEqual(len(a), len(b), msg)
            for one, other in zip(a, b, strict=True):
                self.assertAllClose(one, other, rtol, atol, msg)
            return
        self.assertEqual(x.shape, y.shape, f"Shape mismatch: expected {y.shape}, got {x.shape}. {msg or ''}")
        if any(is_tensor(v) and v.dtype.is_floating and v.dtype.size == 2 for v in (a, b)) or np.float16 in (x.dtype, y.dtype):
            rtol, atol = max(rtol, 1e-3), max(atol, 1e-3)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=msg or "")

    def assertNotAllClose(self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, msg: str | None = None) -> None:
        """Not `assertAllClose`."""
        try:
            self.assertAllClose(a, b, rtol, atol, msg)
        except AssertionError:
            return
        self.fail(msg or "The two values are close at all elements")

    def assertAllCloseAccordingToType(
        self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, float_rtol: float = 1e-6, float_atol: float = 1e-6,
        half_rtol: float = 1e-3, half_atol: float = 1e-3, bfloat16_rtol: float = 1e-2, bfloat16_atol: float = 1e-2, msg: str | None = None,
    ) -> None:  # fmt: skip
        """`assertAllClose` with the tolerances of the less precise dtype."""
        kinds = {x.dtype.name if is_tensor(x) else self._array(x).dtype.name for x in (a, b)}
        for kind, r, t in (
            ("float32", float_rtol, float_atol),
            ("float16", half_rtol, half_atol),
            ("bfloat16", bfloat16_rtol, bfloat16_atol),
        ):
            if kind in kinds:
                rtol, atol = max(rtol, r), max(atol, t)
        self.assertAllClose(a, b, rtol, atol, msg)

    def assertAllEqual(self, a: Any, b: Any, msg: str | None = None) -> None:
        """Arrays of equal shapes and elements; NaN equals NaN."""
        np.testing.assert_array_equal(self._array(a), self._array(b), err_msg=msg or "", strict=False)
        self.assertEqual(self._array(a).shape, self._array(b).shape, msg)

    def assertNotAllEqual(self, a: Any, b: Any, msg: str | None = None) -> None:
        """At least one element differs."""
        self.assertFalse(np.array_equal(self._array(a), self._array(b)), msg)

    def _every(self, a: Any, holds: Callable[[np.ndarray], Any], what: str) -> None:
        x = self._array(a)
        self.assertTrue(bool(np.all(holds(x))), f"not every element is {what}: {x}")

    def assertAllGreater(self, a: Any, comparison_target: Any) -> None:
        """Every element is greater."""
        self._every(a, lambda x: x > comparison_target, f"greater than {comparison_target}")

    def assertAllGreaterEqual(self, a: Any, comparison_target: Any) -> None:
        """Every element is greater or equal."""
        self._every(a, lambda x: x >= comparison_target, f"at least {comparison_target}")

    def assertAllLess(self, a: Any, comparison_target: Any) -> None:
        """Every element is less."""
        self._every(a, lambda x: x < comparison_target, f"less than {comparison_target}")

    def assertAllLessEqual(self, a: Any, comparison_target: Any) -> None:
        """Every element is less or equal."""
        self._every(a, lambda x: x <= comparison_target, f"at most {comparison_target}")

    def assertAllInRange(
        self, target: Any, lower_bound: Any, upper_bound: Any, open_lower_bound: bool = False, open_upper_bound: bool = False
    ) -> None:
        """Every element lies between the bounds."""
        (self.assertAllGreater if open_lower_bound else self.assertAllGreaterEqual)(target, lower_bound)
        (self.assertAllLess if open_upper_bound else self.assertAllLessEqual)(target, upper_bound)

    def assertAllInSet(self, target: Any, expected_set: Any) -> None:
        """Every element is one of a set."""
        self._every(target, lambda x: np.isin(x, list(expected_set)), f"in {expected_set}")

    def assertNear(self, f1: Any, f2: Any, err: float, msg: str | None = None) -> None:
        """|f1 - f2| <= err."""
        self.assertTrue(f1 == f2 or abs(float(f1) - float(f2)) <= err, msg or f"{f1} != {f2} +/- {err}")

    def assertShapeEqual(self, input_a: Any, input_b: Any, msg: str | None = None) -> None:
        """Arrays or tensors of equal shapes."""
        self.assertEqual(tuple(input_a.shape), tuple(input_b.shape), msg)

    def assertDTypeEqual(self, target: Any, expected_dtype: Any) -> None:
        """The dtype is the one expected."""
        self.assertEqual(dtypes.as_dtype(target.dtype), dtypes.as_dtype(expected_dtype))

    def assertLen(self, container: Any, expected_len: int, msg: str | None = None) -> None:
        """So many items."""
        self.assertEqual(len(container), expected_len, msg)

    def assertEmpty(self, container: Any, msg: str | None = None) -> None:
        """No items."""
        self.assertLen(container, 0, msg)

    def assertNotEmpty(self, container: Any, msg: str | None = None) -> None:
        """At least one item."""
        self.assertGreater(len(container), 0, msg)


def compute_gradient(f: Callable[..., Any], x: Sequence[Any], delta: float | None = None) -> tuple[Any, Any]:
    """Jacobians of the tensor `f(*x)`: by the tape, and by central differences with steps of `delta`, one [results, operands] matrix per operand."""
    operands = [convert_to_tensor(v) for v in x]
    by_tape, by_differences = [], []
    for k, operand in enumerate(operands):
        step = delta if delta is not None else 1 / 1024
        with GradientTape(persistent=True) as tape:
            tape.watch(operand)
            y = f(*operands)
        jacobian = tape.jacobian(y, operand, unconnected_gradients="zero")
        by_tape.append(jacobian.numpy().reshape(y.numpy().size, operand.numpy().size))
        columns = []
        for i in range(operand.numpy().size):
            ends = []
            for sign in (1, -1):
                moved = operand.numpy().reshape(-1).copy()
                moved[i] += sign * step
                given = [*operands[:k], convert_to_tensor(moved.reshape(operand.shape.as_list())), *operands[k + 1 :]]
                ends.append(f(*given).numpy().astype(np.float64).ravel())
            columns.append((ends[0] - ends[1]) / (2 * step))
        by_differences.append(np.stack(columns, 1).astype(operand.dtype.np) if columns else by_tape[-1])
    return by_tape, by_differences
