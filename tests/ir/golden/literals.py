def literals(b: bool[2], i: i32[2], j: i64[2], u: u8[2], h: f16[2], k: bf16[2], x: f32[2], d: f64[2], z: c64[2]) -> (f32[2], c64[2]):
    b_1: bool[2] = logical_and(b, True)
    i_1: i32[2] = i * -3
    j_1: i64[2] = 9223372036854775807 - j
    u_1: u8[2] = u + 255
    h_1: f16[2] = h * 0.1
    k_1: bf16[2] = 0.1 + k
    x_1: f32[2] = x * 1e-10
    x_2: f32[2] = maximum(x, -inf)
    x_3: f32[2] = x_1 + nan
    x_4: f32[2] = x * -0.0
    x_5: f32[2] = (-2.0) ** x
    x_6: f32[2] = x ** -2.0
    d_1: f64[2] = d * 0.1
    d_2: f64[2] = d + 0.30000000000000004
    z_1: c64[2] = z * complex(1.0, -0.0)
    s: f32[2] = select(b, 1.0, x)
    s_1: i32[2] = select(b, i32(1), i32(2))
    s_2: f32[2] = select(b, 1.5, 2.5)
    s_3: f64[2] = select(b, f64(0.1), f64(-inf))
    t: f32 = add(f32(1.0), 2.0)
    t_1: c64 = complex(f32(1.0), -0.0)
    t_2: c64[2] = z + complex(0.0, -2.0)
    t_3: c64[2] = full(shape=(2,), value=complex(1.0, 2.0), dtype=c64)
    c: f32[3] = constant([0.1, inf, -0.0])
    c_1: i32[2, 2] = constant([[1, 2], [3, -4]])
    c_2: i64[1] = constant([1], dtype=i64)
    c_3: bf16[1] = constant([0.1], dtype=bf16)
    c_4: bool[2] = constant([True, False])
    c_5: f32[0] = constant([])
    c_6: u64 = constant(18446744073709551615, dtype=u64)
    c_7: c64[1] = constant([complex(nan, 2.0)], dtype=c64)
    c_8: f32 = constant(0.1)
    e: bool[2] = x == 0.5
    e_1: bool[2] = 0.5 < x
    f: i32[2] = cast(x, dtype=i32)
    g: f32[2] = full(shape=(2,), value=inf, dtype=f32)
    return s_2, z_1
