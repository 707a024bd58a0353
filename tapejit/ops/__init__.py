"""Floor 2: one row per op. Importing this package fills the table `ir.op.OPS`."""

from tapejit.ops import broadcasting, elementwise, matmul, reductions, shapes  # noqa: F401
