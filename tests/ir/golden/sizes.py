def sizes(x: f32[2 * B + 1, 3], y: f32[B * C], z: f32[C]) -> (f32[K], f32[B, C], f32[K + 2], i64):
    state.m: f32[D, 4]
    B = (size(x, 0) - 1) // 2
    C = size(z, 0)
    D = size(state.m, 0)
    assert B == D
    n: i32 = dim(2 * B * C - B + 1)
    n_1: f32 = dim(-C, dtype=f32)
    n_2: i64 = dim((2 * B + 1) // 3, dtype=i64)
    n_3: i32 = dim(max(B, C) + min(2, B))
    y_1: f32[B, C] = reshape(y, shape=(B, C))
    mask: bool[C] = z > 0.0
    K: i32 = count(mask)
    z_1: f32[K] = kept(z, mask, size=K)
    e: f32[K + 2] = full(shape=(K + 2,), value=0.5, dtype=f32)
    e_1: i32 = dim(K // 2 + min(3, K))
    top: f32[3] = max(x, axis=(0,))
    m: f32[D, 4] = state.m
    m_1: f32[4, D] = transpose(m, perm=(1, 0))
    m_2: f32[3, D] = full(shape=(3, D), value=1.0, dtype=f32)
    h: f32[3, B] = full(shape=(3, B), value=2.0, dtype=f32)
    h_1: f32[3, D] = m_2 * h
    return z_1, y_1, e, n_2
