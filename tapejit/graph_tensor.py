"""Symbolic tensors: what stands for a value while a function is traced, with TensorFlow's manners.

In: values of the graph being recorded; out: `GraphTensor`s, which refuse what only a tensor with a value can give, and say what to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.errors import OperatorNotAllowedInGraphError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.explain import printed
from tapejit.record.recorder import SymbolicTensor
from tapejit.record.sizes import as_dim
from tapejit.tensor import ASSIGNMENTS, Reference, assignment


class GraphTensor(SymbolicTensor):
    """A symbolic tensor as users see it inside a traced function."""

    __slots__ = ("_origin",)
    _origin: Any

    def known_dim(self) -> Dim | None:
        """This integer scalar as a dim, where it is known what it was computed from."""
        known: Any = self.elements
        return known[()] if known is not None and known.ndim == 0 else None

    def as_dim(self, base: str = "N") -> Dim:
        """This integer scalar as a dim: known, or a size called `base` that the graph binds here."""
        return as_dim(self, base)

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self.dims)

    @property
    def ndim(self) -> int:
        return len(self.dims)

    @property
    def name(self) -> str:
        return self.value.name

    @property
    def graph(self) -> Any:
        return self.recorder.root.graph

    def get_shape(self) -> TensorShape:
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """ValueError if `shape` contradicts what is known; sizes it adds are checked when the function runs."""
        self.shape.assert_is_compatible_with(shape)

    def ref(self) -> Reference:
        return Reference(self)

    def _refuse(self, what: str, instead: str) -> str:
        return places.with_place(
            f"{what} a symbolic tensor ({self.value.name}: {self.value.type}) is not possible while a function is traced; {instead}"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise NotImplementedError(
            self._refuse(
                "Cannot convert a symbolic tf.Tensor to a numpy array: reading the value of",
                "use tf functions instead of NumPy's, or tf.numpy_function",
            )
        )

    def __bool__(self) -> bool:
        raise OperatorNotAllowedInGraphError(self._refuse("Using as a Python `bool`", "write tf.cond or tf.where"))

    def __iter__(self) -> Iterator[Any]:
        if not self.dims:
            raise TypeError(places.with_place("Cannot iterate over a scalar tensor; write tf.range(x) to count up to it"))
        if not isinstance(self.dims[0], int):
            raise OperatorNotAllowedInGraphError(self._refuse("Iterating over", "write tf.map_fn, tf.scan or tf.while_loop"))
        return (self[i] for i in range(self.dims[0]))

    def __len__(self) -> int:
        if not self.dims:
            raise TypeError(places.with_place("Scalar tensor has no `len()`; tf.size(x) is 1"))
        if not isinstance(self.dims[0], int):
            raise TypeError(self._refuse("len() of", "write tf.shape(x)[0]"))
        return self.dims[0]

    def __float__(self) -> float:
        raise TypeError(self._refuse("float() of", "keep the tensor, or return it from the function"))

    def __int__(self) -> int:
        raise TypeError(self._refuse("int() of", "write tf.cast(x, tf.int32), or return it from the function"))

    def __index__(self) -> int:
        if self.elements is not None and self.elements.ndim == 0 and isinstance(self.elements[()], int):
            return self.elements[()]
        raise TypeError(self._refuse("Using as a Python index", "write tf.gather, or tf.range for a loop"))

    def __getattr__(self, name: str) -> Any:
        if name in ("numpy", "item", "tolist"):
            raise AttributeError(self._refuse(f"`.{name}()` of", "return the tensor and call it outside, use tf.print, or tf.py_function"))
        if name in ASSIGNMENTS:
            return assignment(self, name)
        raise AttributeError(f"'SymbolicTensor' object has no attribute {name!r}")

    def __hash__(self) -> int:
        raise TypeError(places.with_place("Tensor is unhashable. Instead, use tensor.ref() as the key."))

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.value.name}:0' shape={self.shape} dtype={self.dtype.name}>"

    def __str__(self) -> str:
        printed.symbolic(self.value.name)
        return f'Tensor("{self.value.name}:0", shape={self.shape}, dtype={self.dtype.name})'


SymbolicTensor.wrap = GraphTensor
