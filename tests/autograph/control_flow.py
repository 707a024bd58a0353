"""Programs with Python control flow, each with the arguments it is run on: eagerly and traced they must agree."""

from __future__ import annotations

import numpy as np

import tapejit as tf

PROGRAMS = []
NUMBERS = tf.data.Dataset.range(5)


def runs(*arguments):
    """Enter a program with the tuples of arguments it is run on."""

    def enter(f):
        PROGRAMS.append((f, arguments))
        return f

    return enter


def vector(*values):
    return tf.constant(values, tf.float32)


def scalar(x):
    return tf.constant(x)


# ------------------------------------------------------------------------------------------------- branches
@runs((vector(1, 2),), (vector(-1, -2),))
def one_side(x):
    if tf.reduce_sum(x) > 0:
        x = x * 2.0
    return x


@runs((scalar(-2.0),), (scalar(0.0),), (scalar(3.0),))
def three_ways(x):
    if x < 0:
        y = -x
        z = y * 2.0
    elif x == 0:
        y = x + 10.0
        z = y
    else:
        z = x
        y = z + 1.0
    return y, z


@runs((scalar(1.0),), (scalar(-1.0),))
def local_of_one_side(x):
    if x > 0:
        t = x * 3.0
        y = t + 1.0
    else:
        y = x
    return y


@runs((scalar(1.0),), (scalar(-1.0),))
def locals_that_need_no_match(x):
    _kind = "before"
    if x > 0:
        _kind, scratch = "above", 1
        y = x * scratch
    else:
        _kind, scratch = ["below"], x
        y = scratch
    scratch = y + 1.0
    return scratch


@runs((scalar(1), scalar(1)), (scalar(1), scalar(2)))
def equalities(a, b):
    if not a == b or a != b:  # noqa: SIM201 (the forms are what is tried)
        a = a + 10
    return a == b, a != b, not (a == b), 1 if a != b else 2  # noqa: SIM201


@runs((scalar(1.0),), (scalar(-1.0),))
def nested_structures(x):
    state = {"a": x, "b": (x, [x + 1.0])}
    if x > 0:
        state = {"a": -x, "b": (x * 2.0, [x])}
    return state


@runs((scalar(5),), (scalar(-5),), (scalar(50),))
def returns_early(n):
    if n < 0:
        return n - 1
    if n > 10:
        return n + 1
    m = n * 2
    return m


@runs((scalar(2.0), True), (scalar(2.0), False), (scalar(-2.0), True))
def python_and_tensor_conditions(x, flag):
    if flag:
        x = x + 1.0
        if x > 0:
            return x
    return x * 10.0


@runs((scalar(1.0),), (scalar(-1.0),))
def attributes_and_elements(x):
    class Box:
        pass

    box, table = Box(), {"k": x}
    box.value = x
    if x > 0:
        box.value = box.value + 1.0
        table["k"] = x * 5.0
    else:
        table["k"] = x * 7.0
    return box.value, table["k"]


@runs((scalar(1.0), None), (scalar(1.0), scalar(4.0)), (scalar(-1.0), scalar(4.0)))
def none_is_python(x, y):
    if y is None:
        return x
    if y is not None and x > 0:
        x = x + y
    return x


@runs((scalar(1), scalar(2)), (scalar(-1), scalar(5)), (scalar(20), scalar(-3)), (scalar(9), scalar(9)))
def logic(a, b):
    if (a > 0 and b > 0) or not a < 10:
        c = a + b
    else:
        c = a - b
    return c, a < b, 0 < a < 10, -5 < a <= b < 100, not (a > 0 or b > 0)


@runs((vector(1, 2, 3), scalar(1)), (vector(1, 2, 3), scalar(7)))
def and_is_lazy(x, i):
    if i < 3 and x[i] > 1.0:
        return x[i]
    return tf.constant(-1.0)


@runs((scalar(3.0),), (scalar(-3.0),))
def ternaries(x):
    y = x if x > 0 else -x
    return (y + 1.0 if y > 2.0 and x > 0 else y - 1.0) if x < 100.0 else x


@runs((scalar(3.0),), (scalar(-3.0),))
def shared_after(x):
    acc = []
    y = tf.constant(0.0)
    if x > 0:
        y = x
    acc.append(y)
    for k in range(3):
        if x > float(k):
            y = y + 1.0
        acc.append(y)
    return tf.stack(acc)


# ---------------------------------------------------------------------------------------------------- loops
@runs((scalar(5),), (scalar(0),))
def factorial(n):
    r = tf.constant(1)
    while n > 1:
        r *= n
        n -= 1
    return r


@runs((vector(1, 2, 3),), (vector(4),))
def over_a_tensor(xs):
    total = 0.0
    for x in xs:
        total += x * x
    return total


@runs((tf.constant(np.arange(6.0).reshape(3, 2)),))
def over_rows(rows):
    last = rows[0]
    total = tf.zeros([2], tf.float64)
    for row in rows:
        total = total + row * last
        last = row
    return total, last, row


@runs((scalar(5),), (scalar(100),), (scalar(0),))
def break_and_continue(n):
    s = tf.constant(0)
    for i in tf.range(n):
        if i % 2 == 1:
            continue
        if i > 7:
            break
        s += i
    return s


@runs((scalar(5),), (scalar(12),))
def returns_from_a_loop(n):
    for i in tf.range(10):
        if i * i > n:
            return i, n * 2
        n = n + 1
    return n, n


@runs((scalar(5),), (scalar(100),), (scalar(-3),))
def returns_from_nested_loops(n):
    if n < 0:
        return tf.constant(-1)
    for i in tf.range(8):
        j = tf.constant(0)
        while j < i:
            if i * j == n:
                return i * 100 + j
            if j > 5:
                break
            j += 1
    return n


@runs((scalar(7),), (scalar(0),))
def nested_loops(n):
    c = tf.constant(0)
    for i in tf.range(n):
        j = tf.constant(0)
        while j < i:
            if (i + j) % 3 == 0 and j != 1:
                c += 1
            j += 1
    return c


@runs((scalar(27),))
def collatz(n):
    steps = tf.constant(0)
    while tf.not_equal(n, 1):
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@runs((scalar(10),), (scalar(0),))
def fibonacci(n):
    a, b = tf.constant(0), tf.constant(1)
    for _ in range(n):
        a, b = b, a + b
    return a


@runs((scalar(3.0), 4), (scalar(3.0), 0))
def unrolled(x, k):
    out = []
    for i in range(k):
        x = x + float(i)
        out.append(x)
    return x, out


@runs((scalar(10.0),), (scalar(1000.0),))
def tensor_break_in_a_python_loop(x):
    count = 0
    for i in range(6):
        if x > 100.0:
            break
        x = x * 2.0
        count = i
    else:
        x = x + 0.5
    return x, tf.convert_to_tensor(count)


@runs((scalar(10.0),), (scalar(1000.0),))
def tensor_return_in_a_python_loop(x):
    for i in [1.0, 2.0, 3.0]:
        if x > 100.0:
            return x + i
        x = x * 4.0
    return x


@runs((scalar(1.0),), (scalar(60.0),))
def while_true(x):
    n = tf.constant(0)
    while True:
        x = x * 1.5
        n += 1
        if x > 50.0:
            break
    return x, n


@runs((scalar(1.0),), (scalar(60.0),))
def while_true_returns(x):
    while True:
        x = x * 1.5
        if x > 50.0:
            return x


@runs((scalar(3),))
def condition_becomes_a_tensor(n):
    i = 0
    while i < 5:
        i = i + n
    return i


@runs((scalar(0),), (scalar(4),), (scalar(9),))
def else_of_loops(n):
    out = tf.constant(0)
    i = tf.constant(0)
    while i < 5:
        if i == n:
            break
        i += 1
    else:
        out += 10
    for k in tf.range(6):
        if k == n:
            break
    else:
        out += 100
    return out + i


@runs((vector(1, 2, 3), vector(10, 20, 30)))
def enumerate_and_zip(xs, ys):
    total = tf.constant(0.0)
    for i, (x, y) in enumerate(zip(xs, ys)):
        total += tf.cast(i, tf.float32) * x * y
    for k, x in enumerate([xs, ys], 1):
        total += tf.reduce_sum(x) * k
    return total


@runs((scalar(5),), (scalar(1),))
def tensor_array(n):
    ta = tf.TensorArray(tf.int32, size=n)
    for i in tf.range(n):
        ta = ta.write(i, i * i)
    return ta.stack()


@runs((scalar(6),), (scalar(2),))
def growing_array(n):
    ta = tf.TensorArray(tf.int32, size=0, dynamic_size=True)
    for i in tf.range(n):
        if i % 2 == 0:
            ta = ta.write(ta.size(), i * 10)
    return ta.stack()


@runs((scalar(4),))
def defined_in_the_loop(n):
    for i in tf.range(n):
        last = i * 2
        scratch = last + 1
        del scratch
    return last


@runs((scalar(4), True), (scalar(4), False))
def none_before_the_loop(n, counting):
    last, pair, never, kept = None, None, None, None
    for i in tf.range(n):
        last = i * 2
        if counting:
            kept = i
        for j in range(2):
            pair = (last, {"j": i * j})
        if i == 2:
            break
    steps = None
    while n > 0:
        n -= 1
        steps = n + last
    return last, pair, steps, kept if counting else never is None


@runs((scalar(3),))
def unused_after(n):
    total = tf.constant(0)
    for i in tf.range(n):
        scratch = [i, i + 1]
        total += scratch[0] * scratch[1]
    return total


@runs((scalar(3), scalar(2.0)))
def attribute_in_a_loop(n, x):
    class Box:
        pass

    box = Box()
    box.value = x
    for _ in tf.range(n):
        box.value = box.value * 2.0
        if box.value > 10.0:
            box.value = box.value - 1.0
    return box.value


@runs((scalar(9),))
def shadowed_names(n):
    total = 0
    for i in tf.range(n):
        squares = [i * i for i in range(3)]
        total += squares[2] + i
    return total


# --------------------------------------------------------------------------------------- functions and scopes
def helper(x):
    if x > 0:
        return x * 2.0
    return x * 3.0


class Layer:
    def __init__(self, scale):
        self.scale = scale
        self.__hidden = 2.0

    def __call__(self, x):
        if x > 0:
            return self.apply(x)
        return x * self.__hidden

    def apply(self, x):
        y = x
        while y < 10.0:
            y = y * self.scale
        return y


class Derived(Layer):
    def apply(self, x):
        if x > 5.0:
            return super().apply(x) + 1.0
        return super().apply(x)


@runs((scalar(1.0),), (scalar(7.0),), (scalar(-1.0),))
def calls(x):
    def inner(v, *, by=2.0):
        nonlocal count
        count += 1
        return v / by if v > 3.0 else v

    count = 0
    layer = Derived(3.0)
    total = helper(x) + layer(x) + inner(x) + inner(x, by=4.0)
    total += (lambda v: v if v > 0 else -v)(x)
    return total, count


@runs((vector(1, -2, 3),))
def through_map_fn(xs):
    return tf.map_fn(helper, xs)


@runs((scalar(4.0),), (scalar(0.5),))
def recursion(x, depth=3):
    if depth == 0:
        return x
    return recursion(x * 2.0, depth - 1) if x > 1.0 else recursion(x + 1.0, depth - 1)


@runs((scalar(3.0),), (scalar(-3.0),))
def exceptions(x):
    try:
        if x > 0:
            y = x
            raise_unless_python(x)
        else:
            y = -x
    except RuntimeError:
        y = x * 100.0
    finally:
        x = x + 1.0
    return x + y


def raise_unless_python(x):
    if not isinstance(x, tf.Tensor):
        raise RuntimeError(x)


# ------------------------------------------------------------------------------------------------- builtins
@runs((vector(3, 1, 2), scalar(2.0)), (vector(-3, 1, -2), scalar(-2.0)))
def builtins(xs, x):
    out = [len(xs), abs(x), max(xs), min(xs), sum(xs), max(x, 1.0), min(x, 0.5, 1.5), sum([x, x, 1.0]), float(x)]
    out += [int(x), sorted(xs), any(xs > 2.0), all(xs > -10.0), any([x > 0, x < -1.0]), all([x > 0, True])]
    return [tf.cast(tf.convert_to_tensor(o), tf.float32) for o in out]


@runs((vector(3, 1, 2),))
def comprehensions(xs):
    doubled = [x * 2.0 if x > 1.0 else x for x in xs]
    return tf.stack(doubled), sum(x * x for x in xs), tf.stack(list(map(helper, xs)))


@runs((vector(3, 1, -2),), (vector(0, 0, 1),))
def sorted_by_keys(xs):
    orders = [sorted(xs, reverse=True), sorted(xs, key=lambda x: -x), sorted(xs, key=abs, reverse=True), sorted(xs, key=None)]
    return [tf.convert_to_tensor(o) for o in orders]


@runs((scalar(3),), (scalar(9),))
def builtins_of_datasets(limit):
    total = tf.cast(limit, tf.int64)
    for x in map(lambda x: x * 2 if x > 1 else -x, NUMBERS):
        total += x
    for x in map(lambda x, y: x * y, NUMBERS, NUMBERS.skip(1)):
        if x > 6:
            break
        total += x * 10
    for x in filter(lambda x: x % 2 == 1 if x > 1 else x < 1, NUMBERS):
        total += x * 100
    for k, (x, y) in enumerate(zip(NUMBERS, NUMBERS.skip(2))):
        total += x * y * tf.cast(k, tf.int64) * 1000
    large, small = NUMBERS.map(lambda x: x > 3), NUMBERS.map(lambda x: x < 9)
    found = [any(large), all(large), any(small), all(small), any(filter(None, large)), all(map(tf.logical_not, large)), len(NUMBERS)]
    return total, [tf.cast(tf.convert_to_tensor(x), tf.int32) for x in found]


@runs((scalar(8),), (scalar(0),))
def ranges_of_tensors(n):
    total = 0
    for i in range(1, n, 3):
        total += i
    for i in range(n, 0, -2):
        total = total * 2 + i
    return total


@runs((scalar(2.0),))
def assertions(x):
    assert x > 0, "positive"
    assert isinstance(x, tf.Tensor)
    return x
