"""Floor 7: compiles, caches, loads and calls; the only floor that imports numba and llvmlite.binding."""
