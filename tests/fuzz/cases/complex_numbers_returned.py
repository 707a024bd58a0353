# kernels know no complex numbers; constants and arguments that are returned are copied all the same
#: x = [[1.0, 2.0], [0.5, -1.0]]
def f(x: c64[2]) -> (c64[2], c64, c64[2]):
    c: c64 = constant(complex(1.5, 0.25), dtype=c64)
    y: c64[2] = x * c
    return x, c, y
