# values that a loop carries and nobody reads afterwards need memory all the same
#: h = 0
def f(h: i32) -> i64:
    def test(i: i32) -> bool:
        going: bool = i < 3
        return going
    def body(i_1: i32) -> i32:
        following: i32 = i_1 + 1
        return following
    last, count = while_loop(h, test=test, body=body, carried=1)
    return count
