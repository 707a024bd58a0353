"""`tf.types`: the types that programs of one's own may build on. `tf.types.experimental` has the protocol of the trace cache."""

from __future__ import annotations

from types import SimpleNamespace

from tapejit.concrete import ConcreteFunction
from tapejit.function import Function
from tapejit.tensor import Tensor
from tapejit.trace_type import TraceType

__all__ = ["experimental"]

experimental = SimpleNamespace(
    TraceType=TraceType,
    Callable=Function,
    ConcreteFunction=ConcreteFunction,
    GenericFunction=Function,
    PolymorphicFunction=Function,
    Tensor=Tensor,
)
