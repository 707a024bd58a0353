# the slot that holds the address of the arena is aligned like any other of the table, however the arena itself is aligned
#: batch = [0.1, 0.2, 0.3, 0.4]
#: rows = [[0.1, 0.2, 0.3, 0.4],[0.1, 0.2, 0.3, 0.4],[0.1, 0.2, 0.3, 0.4],[0.1, 0.2, 0.3, 0.4],[0.1, 0.2, 0.3, 0.4],[0.1, 0.2, 0.3, 0.4]]
#: x_2 = []
#: z = [-1.25, -0.5, -2.75]
#: call_ = [[0.5, -2.5, 2.0], [1.75, -1.5, 2.25]]
#: ensure_shape_ = []
#: x_5 = [[-1.25, -0.5, -2.75], [-1.25, -0.5, -2.75]]
def step(batch: f32[B], rows: f32[N, B], x_2: f64[0, 2, 2], z: f32[N // 2], call_: f32[2, 3], ensure_shape_: i64[0], x_5: f16[2, 3]) -> (f64[0, 2, 2], i64[0], f32[2, 3], f16[2, 3]):  # fuzz.py:1
    B = size(batch, 0)
    N = size(rows, 0)
    inv_: f64[0, 2, 2] = inv(x_2)          # fuzz.py:48
    x_4: f16[N // 2] = cast(z, dtype=f16)  # fuzz.py:99
    return inv_, ensure_shape_, call_, x_5
