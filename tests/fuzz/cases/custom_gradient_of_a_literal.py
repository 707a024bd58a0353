# what the gradient is given for turned out to be a number, and is still a result
#: z = 0.25
#: i = 2
def f(z: f32, i: i32) -> (f32, i32):
    with tape:
        tape.watch(z)
        y: f32 = z * 1.0
    d, = tape.gradient([z], [z])
    def backward(g: f32) -> f32:
        h: f32 = g * 0.5
        return h
    out: f32 = custom_gradient(d, d, backward=backward, results=1, inputs=1)
    def inner(j: i32) -> i32:
        return j
    k: i32 = call(i32(3), body=inner)
    return out, k
