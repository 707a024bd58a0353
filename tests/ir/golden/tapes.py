def step(x: f32[3], g: f32) -> (f32[3], f32[3]):  # gan.py:3
    state.v: f32[3]
    with gen_tape, disc_tape:
        gen_tape.watch(x)                         # gan.py:4
        disc_tape.watch(state.v)
        v: f32[3] = state.v
        y_1: f32[3] = x * v
        y: f32 = sum(y_1, axis=(0,))
    z: f32 = square(y)
    with disc_tape:
        w: f32 = y + 1.0
    dx, = gen_tape.gradient([y], [x])
    dv, dy = disc_tape.gradient([w, y], [state.v, y], output_gradients=[None, g])
    dx_1, = gen_tape.gradient([y], [x], output_gradients=[2.0])
    return dx, dv
