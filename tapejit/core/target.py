"""The machine that a program is compiled for: what the schedule and the printers need to know of it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from tapejit.core import sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim


@dataclass(frozen=True)
class Target:
    """A processor. `cpu` and `features` are LLVM's names ("znver5", "+avx2,+fma,..."); sizes of caches are bytes per core.

    `threads` is how many threads a step may use. `likely` are values of open sizes, by name, that calls are likely to have; they decide
    what pays, never what is right.
    """

    kind: str = "cpu"
    cpu: str = "x86-64-v3"
    features: str = ""
    vector_bits: int = 256
    cores: int = 1
    threads: int = 1
    l1: int = 32 * 1024
    l2: int = 1024 * 1024
    likely: tuple[tuple[str, int], ...] = ()

    def lanes(self, dtype: DType) -> int:
        """How many elements of `dtype` one vector register holds; half precision is computed as float32."""
        return max(1, self.vector_bits // max(dtype.bits, 32 if dtype.kind == "f" else 8))

    def expected(self, d: Dim) -> int | None:
        """What a dim is or is likely to be; None if that is not known."""
        found = sizes.substitute(d, dict(self.likely))
        return None if isinstance(found, sizes.Size) else found

    def has(self, feature: str) -> bool:
        """Whether `feature` (LLVM's name, as "avx512f") is switched on."""
        return f"+{feature}" in self.features.split(",")
