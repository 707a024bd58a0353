"""Sizes against plain integer arithmetic: random expressions, their normal form, their text, and what is decided about them."""

import random

import pytest

from tapejit.core import sizes
from tapejit.core.sizes import Size, evaluate, floordiv, maximum, minimum, named, parse, solve, substitute, unify

NAMES = ("B", "C", "K")


def expression(rng: random.Random, depth: int):
    """A random dim, and the Python text of the expression it was made by."""
    if depth == 0 or rng.random() < 0.2:
        if rng.random() < 0.5:
            n = rng.choice(NAMES)
            return named(n), n
        k = rng.randint(-4, 6)
        return k, f"({k})"
    (a, s), (b, t) = expression(rng, depth - 1), expression(rng, depth - 1)
    kind = rng.choice(["+", "-", "*", "//", "%", "min", "max", "neg"])
    if kind in ("//", "%"):
        k = rng.choice([-3, -2, 1, 2, 3, 4])
        return (floordiv(a, k) if kind == "//" else a % k), f"(({s}) {kind} ({k}))"
    if kind == "neg":
        return -a, f"(-({s}))"
    if kind in ("min", "max"):
        return (minimum if kind == "min" else maximum)(a, b), f"{kind}({s}, {t})"
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b}[kind](), f"(({s}) {kind} ({t}))"


@pytest.mark.parametrize("seed", range(300))
def test_random_expressions(seed):
    rng = random.Random(seed)
    d, text = expression(rng, 4)
    env = {n: rng.randint(0, 9) for n in NAMES}
    expected = eval(text, {}, env)
    assert evaluate(d, env) == expected
    assert eval(str(d), {}, env) == expected  # the text is Python and means the same
    assert parse(str(d)) == d
    assert hash(parse(str(d))) == hash(d)
    assert sizes.names(d) <= set(NAMES)
    step = substitute(d, {"B": env["B"]})
    assert "B" not in sizes.names(step)
    assert evaluate(step, env) == expected
    assert evaluate(substitute(d, {"C": named("B") + 1}), env) == evaluate(d, env | {"C": env["B"] + 1})
    if sizes.nonnegative(d):
        assert expected >= 0


@pytest.mark.parametrize("seed", range(100))
def test_normal_form_is_one_form(seed):
    rng = random.Random(seed)
    (a, _), (b, _), (c, _) = (expression(rng, 2) for _ in range(3))
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) * c == a * c + b * c
    assert a - a == 0
    assert (a + b) - b == a
    assert minimum(a, b) == minimum(b, a)
    assert isinstance(a + b, int | Size)


def test_known_sizes_are_plain_ints():
    b = named("B")
    assert type(b - b + 3) is int
    assert type(floordiv(4 * b, b)) is int
    assert type(b * 0) is int
    assert type(maximum(b, b + 2) - b) is int


def test_division_by_a_size():
    b, c = named("B"), named("C")
    assert floordiv(6 * b * c, b) == 6 * c
    assert floordiv(6 * b * c + 4 * b, 2 * b) == 3 * c + 2
    assert str(floordiv(b + 1, c)) == "(B + 1) // C"
    assert parse("(B + 1) // C") == floordiv(b + 1, c)
    assert str(floordiv(7, b + 1)) == "7 // (B + 1)"
    with pytest.raises(ZeroDivisionError):
        floordiv(b, 0)


def test_text_of_a_negated_quotient():
    d = -floordiv(named("B"), 2)  # -B // 2 would round the other way
    assert str(d) == "-(B // 2)"
    assert evaluate(parse(str(d)), {"B": 3}) == -1


def test_text():
    b, c = named("B"), named("C")
    assert str(2 * b * c - b + 1) == "2 * B * C - B + 1"
    assert str(floordiv(b + 1, 2) * c) == "((B + 1) // 2) * C"
    assert str(maximum(b, c) + 1) == "max(B, C) + 1"


@pytest.mark.parametrize("text", ["True", "'a'", "B.T", "f(B)", "B / 2", "B ** 2", "min(B)", "1.5", "B @ C"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="not a size"):
        parse(text)


def test_solve():
    b, c = named("B"), named("C")
    assert solve(2 * b + 1, 7, {}) == ("B", 3)
    assert solve(b * c, 6, {"B": 2}) == ("C", 3)
    assert solve(b * c, 6, {}) is None
    assert solve(b + c, 6, {}) is None
    assert solve(floordiv(b, 2) + b, 6, {}) is None
    assert solve(b, 6, {"B": 6}) is None
    with pytest.raises(ValueError, match="no whole solution"):
        solve(2 * b, 7, {})
    with pytest.raises(ValueError, match="no whole solution"):
        solve(b + 1, 0, {})


def test_unify():
    b, c = named("B"), named("C")
    assert unify(b, b) == b
    assert unify(3, 3) == 3
    for x, y in [(3, 4), (b, b + 1)]:
        with pytest.raises(ValueError, match="differ"):
            unify(x, y)
    with pytest.raises(ValueError, match="not known to be equal"):
        unify(b, c)
    with sizes.assuming() as taken:
        assert unify(b, 3) == 3
        assert unify(3, b) == 3
        assert unify(b, c) == c
        with sizes.assuming() as inner:
            unify(c, 5)
        assert inner == [(c, 5)]
        with pytest.raises(ValueError, match="differ"):
            unify(b, b + 1)
    assert taken == [(b, 3), (3, b), (b, c)]
    with pytest.raises(ValueError, match="not known"):
        unify(b, c)


def test_evaluate_names_what_is_missing():
    with pytest.raises(KeyError, match="C"):
        evaluate(named("B") + named("C"), {"B": 1})


def test_a_size_is_no_python_number():
    with pytest.raises(TypeError, match="run time"):
        bool(named("B") + 1)
    with pytest.raises(TypeError):
        range(named("B"))


def test_quotients_and_extrema_are_equal_by_value():
    assert floordiv(named("B"), 2) == floordiv(named("B"), 2)
    assert len({minimum(named("B"), 5), minimum(5, named("B"))}) == 1
    assert minimum(0, named("B")) == 0
    assert maximum(named("B") * named("C"), 0) == named("B") * named("C")
