"""`tf.train.ExponentialMovingAverage`: averages of variables that forget exponentially."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapejit.casting import cast
from tapejit.context import init_scope
from tapejit.core import dtypes, places
from tapejit.ops.elementwise import minimum
from tapejit.variable import Variable


class ExponentialMovingAverage:
    """average = decay * average + (1 - decay) * variable, each time `apply` is called; an average begins at the variable's value.

    With `num_updates`, decay is at most (1 + num_updates) / (10 + num_updates). With `zero_debias`, averages begin at 0 and are divided by
    1 - decay^t.
    """

    def __init__(self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage") -> None:
        self._decay, self._num_updates, self._zero_debias, self._name = decay, num_updates, zero_debias, name
        self._averages: dict[Any, Variable] = {}
        self._biased: dict[Any, tuple[Variable, Variable]] = {}

    @property
    def name(self) -> str:
        """The name of these averages."""
        return self._name

    def _trackable_children(self) -> dict[str, Any]:
        return {
            "averages": {r.deref().name: v for r, v in self._averages.items()},
            "biased": {r.deref().name: pair for r, pair in self._biased.items()},
        }

    def apply(self, var_list: Iterable[Variable]) -> None:
        """Take the values that variables have now into their averages. TypeError for what is no floating-point variable."""
        for v in var_list:
            if not isinstance(v, Variable) or not v.dtype.is_floating:
                raise TypeError(places.with_place(f"an average needs a floating-point tf.Variable, got {v!r}"))
            key = v.ref()
            with init_scope():
                if key not in self._averages:
                    start = v._value * 0 if self._zero_debias else v._value
                    self._averages[key] = Variable(start, trainable=False, name=f"{v._name}/{self._name}")
                    if self._zero_debias:
                        self._biased[key] = Variable(start, trainable=False), Variable(0.0, trainable=False, dtype=v.dtype)
            average = self._averages[key]
            weight = 1 - self._rate(v.dtype)
            if not self._zero_debias:
                average.assign_sub((average - v) * weight)
                continue
            biased, total = self._biased[key]
            biased.assign_sub((biased - v) * weight)
            total.assign_sub((total - 1) * weight)
            average.assign(biased / total)

    def _rate(self, dtype: dtypes.DType) -> Any:
        if self._num_updates is None:
            return self._decay
        updates = cast(self._num_updates, dtype)
        return minimum((1 + updates) / (10 + updates), self._decay)

    def average(self, var: Variable) -> Variable | None:
        """The average of a variable, None if there is none."""
        return self._averages.get(var.ref())

    def average_name(self, var: Variable) -> str:
        """The name under which the average of a variable is known."""
        return f"{var._name}/{self._name}"
