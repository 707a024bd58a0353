"""Floor 2: one row per op. Importing this package fills the table `ir.op.OPS`."""

from tapejit.ops import broadcasting, elementwise, matmul, reductions, shapes  # noqa: F401
from tapejit.ops import complex, cumulative, special  # noqa: A004, F401
from tapejit.ops import activations, convolution, factorizations, fourier, linalg, picking, pooling, windows  # noqa: F401
from tapejit.ops import creation, gathering, indexing, joining, padding, selecting, slicing, sorting  # noqa: F401
from tapejit.ops import control, random  # noqa: F401
