"""The type of a value: an element type and a shape of dims. `str` is how the IR writes it: `f32[B, 784]`."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim


@dataclass(frozen=True)
class Type:
    """Element type and shape of a value; the rank is always known, a dim may be symbolic."""

    dtype: DType
    shape: tuple[Dim, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """How many elements."""
        return sizes.product(self.shape)

    def with_shape(self, shape: tuple[Dim, ...]) -> Type:
        return Type(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> Type:
        return Type(dtype, self.shape)

    def __str__(self) -> str:
        return self.dtype.short + (f"[{', '.join(map(str, self.shape))}]" if self.shape else "")


def parse(node: ast.expr | str) -> Type:
    """Read a type printed by `str`. ValueError for anything else."""
    node = ast.parse(node, mode="eval").body if isinstance(node, str) else node
    match node:
        case ast.Name(id=short) if short in dtypes.BY_SHORT:
            return Type(dtypes.BY_SHORT[short])
        case ast.Subscript(value=ast.Name(id=short), slice=dims) if short in dtypes.BY_SHORT:
            listed = dims.elts if isinstance(dims, ast.Tuple) else [dims]
            return Type(dtypes.BY_SHORT[short], tuple(sizes.parse(d) for d in listed))
    raise ValueError(f"not a type: {ast.unparse(node)}")


def broadcast(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """NumPy's broadcasting of shapes. ValueError names the two sizes that do not fit."""
    rank = max(map(len, shapes), default=0)
    out: list[Dim] = []
    for k in range(rank):
        dim: Dim = 1
        for shape in shapes:
            at = k - (rank - len(shape))
            d = shape[at] if at >= 0 else 1
            if isinstance(dim, int) and dim == 1:
                dim = d
            elif not (isinstance(d, int) and d == 1):
                dim = sizes.unify(dim, d)
        out.append(dim)
    return tuple(out)
