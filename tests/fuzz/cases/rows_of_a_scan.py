# rows of what is scanned go through an op that needs them in memory
#: b = [-1.5, -2.25, 0.5]
#: i = [[3, 0], [1, 1]]
def f(b: f32[3], i: i32[2, 2]) -> f32[3, 2, 2]:
    def body(row: f32, i_1: i32[2, 2]) -> f32[2, 2]:
        h: f32[2, 4] = broadcast_to(row, shape=(2, 4))
        g: f32[2, 2] = gather(h, i_1, axis=1, batch_dims=1)
        return g
    out: f32[3, 2, 2] = scan(b, i, body=body, carried=0, scanned=1, length=3, reverse=True)
    return out
