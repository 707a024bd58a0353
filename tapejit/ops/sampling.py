"""Samples from distributions that no formula transforms a uniform number into: gamma, Poisson, binomial, and the slope of gamma samples.

Each element has one block of a draw (see `ops.random`) and goes through rounds of its own, round t reading the block's words in the
stream 2^32 t further on; so elements stay independent of one another, of their number and of threads. A `Way` says in scalar texts
what a round does. The same texts are computed by NumPy on arrays and make up the kernels, all in float64.

G. Marsaglia, W. Tsang, "A simple method for generating gamma variables", 2000. W. Hoermann, "The transformed rejection method for generating
Poisson random variables" and "The generation of binomial random variates", 1993. Derivatives of gamma samples by their distribution
function: M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients", 2018.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from tapejit.core import dtypes, sizes, types
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr, scalar
from tapejit.loops.expr import Call, Const, Expr, Var
from tapejit.loops.nest import Accumulator, For, If, Let, Stmt, Update, While
from tapejit.ops.batching import aligned
from tapejit.ops.broadcasting import broadcast_index, stretches, unbroadcast
from tapejit.ops.random import STATE, block_words, joined, joined_expr, state_lets
from tapejit.ops.shapes import unravel

f64, i64, u32 = dtypes.float64, dtypes.int64, dtypes.uint32

Texts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Way:
    """How elements whose parameters satisfy `when` are sampled: rounds while `more` holds, at most `limit`; the result is `value`.

    `before` are scalars computed once, `carried` those that rounds change, with their first values; a round computes `steps`, then
    `updates` all at once. Texts speak of the parameters, of earlier scalars, and of uniform numbers in (0, 1) made of the block's words:
    `u0` to `u3` of 32 bits each, `u01` and `u23` of 53. With `fresh` every round has new ones.
    """

    when: str
    carried: Texts
    updates: Texts
    more: str
    value: str
    before: Texts = ()
    steps: Texts = ()
    fresh: bool = True
    limit: int = 256


_ROOM = 2.0**-32
_UNIFORMS: dict[str, Callable[..., Any]] = {
    **{f"u{k}": lambda w, k=k: (w[k].astype(np.float64) + 0.5) * _ROOM for k in range(4)},
    **{f"u{k}{k + 1}": lambda w, k=k: (joined(w[k], w[k + 1]) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54 for k in (0, 2)},
}


def _uniform_lets(w: tuple[Expr, ...], used: set[str]) -> list[Stmt]:
    """The uniform numbers of a block as local scalars."""
    lets: list[Stmt] = [Let(f"u{k}", (expr.cast(w[k], f64) + 0.5) * _ROOM) for k in range(4) if f"u{k}" in used]
    for k in (0, 2):
        if f"u{k}{k + 1}" in used:
            lets.append(Let(f"u{k}{k + 1}", expr.cast(expr.cast(joined_expr(w[k], w[k + 1]) >> 11, i64), f64) * 2.0**-53 + 2.0**-54))
    return lets


# ------------------------------------------------------------------------------------------------ texts
@functools.cache
def _parsed(text: str) -> Expr:
    """A text about float64 scalars; every name in it is a variable."""
    import ast

    tree = ast.parse(text)
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - called - scalar.NUMBERS.keys()
    return scalar.parse(text, f64, **{n: Var(f64, n) for n in names})


def _names(way: Way) -> set[str]:
    texts = [way.when, way.more, way.value, *(t for _, t in (*way.before, *way.carried, *way.steps, *way.updates))]
    return {e.name for t in texts for e in expr.walk(_parsed(t)) if isinstance(e, Var)}


def _computed(e: Expr, env: Mapping[str, Any]) -> Any:
    """The value of a scalar expression for arrays in place of its variables."""
    if isinstance(e, Var):
        return env[e.name]
    if isinstance(e, Const):
        return e.dtype.np.type(e.value)
    assert isinstance(e, Call)
    args = [_computed(a, env) for a in e.args]
    if e.fn == "cast":
        return np.asarray(args[0]).astype(e.dtype.np)
    return np.where(*args) if e.fn == "select" else scalar.FUNCTIONS[e.fn].reference(*args)


def _sampled(ways: tuple[Way, ...], parameters: Mapping[str, np.ndarray], state: np.ndarray | None) -> np.ndarray:
    """Samples for flat arrays of parameters; NaN where no way is meant for them."""
    (size,) = next(iter(parameters.values())).shape
    out = np.full(size, np.nan)
    with np.errstate(all="ignore"):
        for way in ways:
            left = np.flatnonzero(np.broadcast_to(_computed(_parsed(way.when), parameters), size))
            env: dict[str, Any] = {n: p[left] for n, p in parameters.items()}
            uniforms = [n for n in _UNIFORMS if n in _names(way)]

            def draw(env: dict[str, Any], left: np.ndarray, trial: int, uniforms: list[str] = uniforms) -> None:
                if state is not None and uniforms:
                    words = block_words(state, left, trial)
                    env |= {n: _UNIFORMS[n](words) for n in uniforms}

            draw(env, left, 0)
            for name, text in (*way.before, *way.carried):
                env[name] = np.broadcast_to(_computed(_parsed(text), env), left.shape)
            for trial in range(way.limit):
                go_on = np.broadcast_to(_computed(_parsed(way.more), env), left.shape)
                out[left[~go_on]] = np.broadcast_to(_computed(_parsed(way.value), env), left.shape)[~go_on]
                left, env = left[go_on], {n: v[go_on] for n, v in env.items()}
                if not left.size:
                    break
                if way.fresh and trial:
                    draw(env, left, trial)
                for name, text in way.steps:
                    env[name] = np.broadcast_to(_computed(_parsed(text), env), left.shape)
                env |= {n: np.broadcast_to(v, left.shape) for n, v in {n: _computed(_parsed(t), env) for n, t in way.updates}.items()}
            out[left] = _computed(_parsed(way.value), env)
    return out


def _nest(ways: tuple[Way, ...], parameters: Mapping[str, Any], state: Any, out: Any) -> tuple[Stmt, ...]:
    """The loop over elements: a sample each, stored in `out`."""
    number = Var(i64, "element")
    index = unravel(number, out.dims)
    lets, block = state_lets(state) if state is not None else ((), None)
    body: list[Stmt] = [Let(n, expr.cast(p[broadcast_index(index, p.dims)], f64)) for n, p in parameters.items()]
    body.append(Accumulator("sample", Const(f64, math.nan)))
    for k, way in enumerate(ways):
        used = _names(way)
        draws = block is not None and bool(used & set(_UNIFORMS))
        trial = Var(u32, f"trial{k}")

        def words(prefix: str, trial: Expr | None, used: set[str] = used) -> list[Stmt]:
            assert block is not None
            statements, w = block(prefix, number, trial)
            return [*statements, *_uniform_lets(w, used)]

        inner: list[Stmt] = words(f"w{k}", None) if draws and not way.fresh else []
        inner += [Let(n, _parsed(t)) for n, t in way.before]
        inner += [Accumulator(n, _parsed(t)) for n, t in way.carried]
        inner.append(Accumulator(trial.name, Const(u32, 0)))
        rounds: list[Stmt] = words(f"w{k}", trial) if draws and way.fresh else []
        rounds += [Let(n, _parsed(t)) for n, t in way.steps]
        rounds += [Let(f"new_{n}", _parsed(t)) for n, t in way.updates]
        rounds += [Update(n, "set", Var(f64, f"new_{n}")) for n, _ in way.updates]
        rounds.append(Update(trial.name, "add", Const(u32, 1)))
        inner.append(While(_parsed(way.more) & (trial < way.limit), tuple(rounds)))
        inner.append(Update("sample", "set", _parsed(way.value)))
        body.append(If(_parsed(way.when), tuple(inner)))
    body.append(out.store(index, expr.cast(Var(f64, "sample"), out.dtype)))
    return (*lets, For(number.name, sizes.product(out.dims), "parallel", tuple(body)))


def _flat(parameters: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {n: np.broadcast_to(p, shape).astype(np.float64).reshape(-1) for n, p in parameters.items()}


# ------------------------------------------------------------------------------------------------ the ops
class Sampler(Op):
    """`dtype[shape]` drawn from `state`, with parameters that broadcast to `shape`. NaN for parameters that the distribution does not have."""

    no_gradient = True
    parameters: tuple[str, ...]
    ways: tuple[Way, ...]
    kinds = "fi"

    def infer(self, state: Type, *parameters: Type, shape: tuple[Dim, ...], dtype: DType) -> Type:
        if state.dtype is not i64 or state.shape != (3,):
            raise ValueError(f"{self.name} takes a state int64[3] (counter, stream, key), got {state}")
        if dtype.kind not in self.kinds:
            raise TypeError(f"{self.name} does not make {dtype.name}")
        for name, p in zip(self.parameters, parameters, strict=True):
            if p.dtype.kind != "f":
                raise TypeError(f"{self.name} takes a floating-point {name}, got {p}; write tf.cast({name}, tf.float32)")
            if not stretches(p.shape, shape):
                raise ValueError(f"{self.name}: {name} of shape {list(p.shape)} does not broadcast to {list(shape)}")
        return Type(dtype, shape)

    def eager(self, state: Any, *parameters: Any, shape: tuple[int, ...], dtype: DType) -> Any:
        out = _sampled(self.ways, _flat(dict(zip(self.parameters, parameters, strict=True)), shape), state)
        with np.errstate(all="ignore"):
            return out.astype(dtype.np).reshape(shape)

    def kernel(self, outs: Any, ins: Any, work: Any, *, shape: tuple[Dim, ...], dtype: DType) -> tuple[Stmt, ...]:
        return _nest(self.ways, dict(zip(self.parameters, ins[1:], strict=True)), ins[0], outs[0])

    def cases(self) -> Iterator[tuple[Any, ...]]:
        """Parameters for samples."""
        raise NotImplementedError(f"{self.name}.cases")

    def samples(self, draw: Any) -> Iterator[Any]:
        # float32 only: a sample is no smooth function of float64 parameters along which to take differences
        for parameters in self.cases():
            arrays = tuple(np.asarray(p, np.float32) for p in parameters)
            tail = np.broadcast_shapes(*(a.shape for a in arrays))
            for lead in ((), (5,), (0,)):
                yield (STATE, *arrays), {"shape": (*lead, *tail), "dtype": dtypes.float32}


class RandomGamma(Sampler):
    """Gamma samples of shape `alpha` and scale 1. Their derivative is that at which the distribution function stays the same."""

    name = "random_gamma"
    no_gradient = False
    constant_operands = frozenset({0})
    parameters = ("alpha",)
    kinds = "f"
    ways = (
        Way(
            when="alpha > 0",
            before=(("d", "(alpha + 1 if alpha < 1 else alpha) - 1 / 3"), ("c", "1 / sqrt(9 * d)")),
            carried=(("s", "-1"),),
            steps=(
                ("x", "sqrt(-2 * log(u0)) * cos(6.283185307179586 * u1)"),
                ("v", "1 + c * x"),
                ("v3", "v * v * v"),
                ("boost", "exp(log(u3) / alpha) if alpha < 1 else 1"),
            ),
            updates=(("s", "d * v3 * boost if v > 0 and log(u2) < 0.5 * x * x + d - d * v3 + d * log(v3) else -1"),),
            more="s < 0",
            value="s",
        ),
        Way(when="alpha == 0", carried=(("none", "0"),), updates=(), more="none > 0", value="alpha"),
    )

    def vjp(self, g: Any, z: Any, state: Any, alpha: Any, *, shape: tuple[Dim, ...], dtype: DType) -> tuple[Any, ...]:
        return None, lambda: unbroadcast(g * random_gamma_slope(alpha, z), alpha)

    def cases(self) -> Iterator[tuple[Any, ...]]:
        yield ([0.02, 0.3, 1.0, 2.5, 40.0, 1e5],)
        yield (1.5,)
        yield ([[0.5], [3.0]],)
        yield ([0.0, -1.0],)


class RandomGammaSlope(Op):
    """The derivative with respect to `alpha` of gamma samples `z`: -dP/d(alpha) / (dP/dz), P the distribution function at z.

    By the series of P, whose terms relative to the density are z^(n+1) / (alpha (alpha + 1) ... (alpha + n)).
    """

    name = "random_gamma_slope"
    batch = aligned
    same_dtype = (0, 1)
    constant_operands = frozenset()
    ways = (
        Way(
            when="z > 0",
            before=(("logarithm", "log(z)"),),
            carried=(("term", "z / alpha"), ("n", "1"), ("psi", "digamma(alpha + 1)"), ("total", "0")),
            steps=(("part", "term * (logarithm - psi)"),),
            updates=(
                ("total", "total - part"),
                ("term", "term * z / (alpha + n)"),
                ("psi", "psi + 1 / (alpha + n)"),
                ("n", "n + 1"),
            ),
            more="alpha + n < z + 2 or term * (1 + abs(logarithm - psi)) > 1e-17 * abs(total)",
            value="total",
            limit=1 << 20,
        ),
        Way(when="z == 0", carried=(("none", "0"),), updates=(), more="none > 0", value="z"),
    )

    def infer(self, alpha: Type, z: Type) -> Type:
        if alpha.dtype is not z.dtype or z.dtype.kind != "f":
            raise TypeError(f"random_gamma_slope takes floating-point operands of one dtype, got {alpha} and {z}")
        return Type(z.dtype, types.broadcast(alpha.shape, z.shape))

    def eager(self, alpha: Any, z: Any) -> Any:
        shape = np.broadcast_shapes(alpha.shape, z.shape)
        return _sampled(self.ways, _flat({"alpha": alpha, "z": z}, shape), None).astype(z.dtype).reshape(shape)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        return _nest(self.ways, {"alpha": ins[0], "z": ins[1]}, None, outs[0])

    def vjp(self, g: Any, z: Any, *operands: Any) -> tuple[Any, ...]:
        def rule() -> NoReturn:
            raise NotImplementedError("second derivatives of tf.random.gamma with respect to alpha")

        return rule, rule

    def samples(self, draw: Any) -> Iterator[Any]:
        alpha = np.array([0.1, 0.7, 1.0, 3.0, 50.0], np.float32)
        yield (alpha, alpha), {}
        yield (alpha, np.array([[1e-3], [0.0], [2.0]], np.float32)), {}
        yield (np.float32(2.0), np.zeros((0,), np.float32)), {}


class RandomPoisson(Sampler):
    """Poisson counts of rate `rate`: by the distribution function below 10, by transformed rejection above."""

    name = "random_poisson"
    parameters = ("rate",)
    ways = (
        Way(
            when="rate >= 0 and rate < 10",
            carried=(("k", "0"), ("p", "exp(-rate)"), ("s", "exp(-rate)")),
            steps=(("next", "p * rate / (k + 1)"),),
            updates=(("k", "k + 1"), ("p", "next"), ("s", "s + next")),
            more="u01 > s",
            value="k",
            fresh=False,
        ),
        Way(
            when="rate >= 10 and rate < inf",
            before=(
                ("log_rate", "log(rate)"),
                ("b", "0.931 + 2.53 * sqrt(rate)"),
                ("a", "-0.059 + 0.02483 * b"),
                ("log_alpha", "log(1.1239 + 1.1328 / (b - 3.4))"),
                ("enough", "0.9277 - 3.6224 / (b - 2)"),
            ),
            carried=(("count", "-1"),),
            steps=(
                ("u", "u01 - 0.5"),
                ("us", "0.5 - abs(u)"),
                ("tried", "floor((2 * a / us + b) * u + rate + 0.43)"),
                ("inside", "f64(us >= 0.07 and u23 <= enough)"),
                ("outside", "f64(tried < 0 or us < 0.013 and u23 > us)"),
                ("height", "log(u23) + log_alpha - log(a / (us * us) + b)"),
                ("below", "tried * log_rate - rate - lgamma(tried + 1)"),
            ),
            updates=(("count", "tried if inside > 0 or outside == 0 and height <= below else -1"),),
            more="count < 0",
            value="count",
        ),
    )

    def cases(self) -> Iterator[tuple[Any, ...]]:
        yield ([0.0, 0.2, 3.0, 9.99, 10.0, 25.0, 1e4],)
        yield (4.0,)
        yield ([[12.0], [-1.0]],)


class RandomBinomial(Sampler):
    """How many of `trials` succeed with probability `chance`: by the distribution function where fewer than 10 are expected on the rarer
    side, by transformed rejection elsewhere."""

    name = "random_binomial"
    parameters = ("trials", "chance")
    ways = (
        Way(
            when="trials >= 0 and chance >= 0 and chance <= 1 and trials * min(chance, 1 - chance) < 10",
            before=(("rare", "min(chance, 1 - chance)"), ("odds", "rare / (1 - rare)")),
            carried=(("k", "0"), ("p", "exp(trials * log1p(-rare))"), ("s", "exp(trials * log1p(-rare))")),
            steps=(("next", "p * odds * (trials - k) / (k + 1)"),),
            updates=(("k", "k + 1"), ("p", "next"), ("s", "s + next")),
            more="u01 > s and k < trials",
            value="k if chance <= 0.5 else trials - k",
            fresh=False,
        ),
        Way(
            when="trials >= 0 and chance >= 0 and chance <= 1 and trials * min(chance, 1 - chance) >= 10",
            before=(
                ("rare", "min(chance, 1 - chance)"),
                ("deviation", "sqrt(trials * rare * (1 - rare))"),
                ("b", "1.15 + 2.53 * deviation"),
                ("a", "-0.0873 + 0.0248 * b + 0.01 * rare"),
                ("log_alpha", "log((2.83 + 5.1 / b) * deviation)"),
                ("enough", "0.92 - 4.2 / b"),
                ("mode", "floor((trials + 1) * rare)"),
                ("top", "lgamma(mode + 1) + lgamma(trials - mode + 1)"),
                ("log_odds", "log(rare / (1 - rare))"),
            ),
            carried=(("count", "-1"),),
            steps=(
                ("u", "u01 - 0.5"),
                ("us", "0.5 - abs(u)"),
                ("tried", "floor((2 * a / us + b) * u + trials * rare + 0.5)"),
                ("possible", "f64(tried >= 0 and tried <= trials)"),
                ("inside", "f64(us >= 0.07 and u23 <= enough)"),
                ("height", "log(u23) + log_alpha - log(a / (us * us) + b)"),
                ("below", "top - lgamma(tried + 1) - lgamma(trials - tried + 1) + (tried - mode) * log_odds"),
            ),
            updates=(("count", "tried if possible > 0 and (inside > 0 or height <= below) else -1"),),
            more="count < 0",
            value="count if chance <= 0.5 else trials - count",
        ),
    )

    def cases(self) -> Iterator[tuple[Any, ...]]:
        yield [0.0, 5.0, 20.0, 100.0, 100.0, 1e5], [0.5, 0.3, 0.9, 0.4, 0.7, 0.001]
        yield [[10.0], [1000.0]], [0.0, 1.0, 0.5]
        yield 7.0, 0.25
        yield -1.0, 0.5


random_gamma, random_gamma_slope = register(RandomGamma()), register(RandomGammaSlope())
random_poisson, random_binomial = register(RandomPoisson()), register(RandomBinomial())
