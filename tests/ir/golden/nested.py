def power(x: f32[B], n: i32, flag: bool) -> (f32[B], f32[B], i32):  # power.py:5
    state.calls: i32
    const.table: f32[4]
    B = size(x, 0)
    table_1: f32[4] = const.table
    def until(i: i32, p: f32[B]) -> bool:                           # power.py:7
        done: bool = i >= n                                         # power.py:7
        return done
    def step(i_1: i32, p_1: f32[B]) -> (i32, f32[B]):               # power.py:8
        calls: i32 = state.calls
        calls_1: i32 = calls + 1
        state.calls = calls_1
        def yes() -> f32[B]:
            p_2: f32[B] = p_1 * x                                   # power.py:9
            return p_2
        def no() -> f32[B]:
            return p_1
        p_3: f32[B] = choose(flag, yes=yes, no=no)                  # power.py:9
        i_2: i32 = i_1 + 1                                          # power.py:10
        return i_2, p_3
    count_1, result = repeat(n, x, until=until, step=step)          # power.py:7
    total_1: f32 = sum(table_1, axis=(0,))
    note(total_1, text='the  # table:3')                            # power.py:12
    note(result)
    up, down = both(result, x)                                      # power.py:13
    calls_2: i32 = state.calls
    return result, up, calls_2
