# a branch uses a value from outside, in a function without any tape, and one that is a gradient
#: c = true
#: x = [0.5, -1.0]
def f(c: bool, x: f32[2]) -> (f32[2], f32[2]):
    def then() -> f32[2]:
        t: f32[2] = tanh(x)
        return t
    def otherwise() -> f32[2]:
        z: f32[2] = full(shape=(2,), value=0.5, dtype=f32)
        return z
    y: f32[2] = cond(c, then=then, otherwise=otherwise)
    tape.watch(x)
    with tape:
        s: f32[2] = square(x)
    dx, = tape.gradient([s], [x])
    def then_1() -> f32[2]:
        e: f32[2] = exp(dx)
        return e
    def otherwise_1() -> f32[2]:
        n: f32[2] = neg(dx)
        return n
    w: f32[2] = cond(c, then=then_1, otherwise=otherwise_1)
    return y, w
