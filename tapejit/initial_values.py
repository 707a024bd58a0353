"""Functions that make initial values: `tf.zeros_initializer()(shape, dtype)` and its kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit import creation, random
from tapejit.core import dtypes
from tapejit.tensor import constant, dims_of

__all__ = ["constant_initializer", "ones_initializer", "random_normal_initializer", "random_uniform_initializer", "zeros_initializer"]


class _Initializer:
    """`__call__(shape, dtype)` makes a tensor; `get_config` and `from_config` give and take the arguments."""

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """An initializer with these arguments."""
        return cls(**{k: v for k, v in config.items() if k != "dtype"})


class zeros_initializer(_Initializer):
    """Zeros."""

    def __call__(self, shape: Any, dtype: Any = dtypes.float32, **kwargs: Any) -> Any:
        return creation.zeros(shape, dtype)


class ones_initializer(_Initializer):
    """Ones."""

    def __call__(self, shape: Any, dtype: Any = dtypes.float32, **kwargs: Any) -> Any:
        return creation.ones(shape, dtype)


class constant_initializer(_Initializer):
    """A number everywhere, or the elements of an array. TypeError if these do not fill the shape."""

    def __init__(self, value: Any = 0, support_partition: bool = False) -> None:
        if not (np.isscalar(value) or isinstance(value, list | tuple | np.ndarray)):
            raise TypeError(
                f"Invalid type for initial value={value} of type: {type(value).__name__}. Expected Python scalar, list, tuple or array."
            )
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        return constant(self.value, dtype, shape=dims_of(shape))


class random_normal_initializer(_Initializer):
    """Normal values."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(self, shape: Any, dtype: Any = dtypes.float32, **kwargs: Any) -> Any:
        return random.normal(shape, self.mean, self.stddev, dtype, self.seed)


class random_uniform_initializer(_Initializer):
    """Uniform values."""

    def __init__(self, minval: Any = -0.05, maxval: Any = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def __call__(self, shape: Any, dtype: Any = dtypes.float32, **kwargs: Any) -> Any:
        return random.uniform(shape, self.minval, self.maxval, dtype, self.seed)
