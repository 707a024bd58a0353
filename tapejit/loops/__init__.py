"""Floor 1: the loop IR. Scalar expressions, loop nests, programs of kernels, and their text."""
