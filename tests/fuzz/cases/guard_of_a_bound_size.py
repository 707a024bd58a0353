# a size that a line binds is taken to be equal to another one: the text says so behind that line
#: n = 2
#: x = [1.0, 2.0, 3.0]
def f(n: i64, x: f32[3]) -> f32[3]:
    K: i64 = size_of(n)
    assert K + 1 == 3
    z: f32[K + 1] = full(shape=(K + 1,), value=0.5, dtype=f32)
    w: f32[3] = x + z
    return w
