"""A program as the text of one LLVM IR module.

In: a `Program` of the loop IR and the `Target`; out: a `Source` whose symbol `entry` is the native step. Plain text: nothing here
needs LLVM. Fast-math flags: `reassoc contract` where accumulators of reductions are updated, `contract` on other arithmetic,
`nsz` on minima and maxima, and nothing more, so that inf, NaN and -0.0 are as in NumPy.
"""

from __future__ import annotations

from tapejit.codegen import numba
from tapejit.codegen.llvm_host import HostPrinter, carried_buffers
from tapejit.codegen.llvm_kernel import Promise, is_small, print_kernel
from tapejit.codegen.llvm_parts import parts
from tapejit.codegen.llvm_text import Function, Module, symbol
from tapejit.core.source import Source
from tapejit.core.target import Target
from tapejit.loops.nest import Kernel
from tapejit.loops.program import Branch, Launch, Program, Repeat, Step


def module(program: Program, target: Target, pool: bool = False, polls: bool = False) -> Source:
    """The program's native step for `target`. NotImplementedError names what has no native code.

    With `pool`, kernels that are one parallel loop are handed to `int64 tapejit_parallel_for(chunk, context, n, grain)`, which must
    call `int64 chunk(context, lo, hi)` for parts of 0..n (of `grain` or more, from any thread) and return the first status that is
    not 0; otherwise they run in the calling thread. With `polls`, loops of steps call `int64 tapejit_poll(int64 state[3])` every now and
    then, which must return how many iterations to run till the next call, or 0 to end the step with status -2.
    """
    if target.kind != "cpu":
        raise NotImplementedError(f"LLVM code for a target of kind {target.kind!r}; expected 'cpu'")
    text = Module()
    launches = _launches(program.steps)
    carried = set(carried_buffers(program))
    near = {s.kernel.name for s in launches if not carried.isdisjoint(s.buffers)}
    for kernel in program.kernels():
        print_kernel(text, kernel, target, _promises(program, kernel, launches), kernel.name in near and is_small(kernel))
    entry = symbol(program.name)
    host = Function(text, f"define i64 @{entry}(ptr nofree noundef %table) #0")
    HostPrinter(text, host, program, pool, polls).write()
    text.functions[entry] = host.text()
    wide = f' "prefer-vector-width"="{target.vector_bits}"' if target.vector_bits >= 256 else ""
    comment, attributes = f"; {program.name}: {', '.join(program.table)}", f"attributes #0 = {{ nounwind{wide} }}"
    ll = text.text(comment, attributes)
    cut = parts(text, entry, comment, attributes) if target.threads > 1 else (ll,)
    return Source(program.name, entry, ll, numba.module(program), tuple(text.symbols), program.table, cut)


def _launches(steps: tuple[Step, ...]) -> list[Launch]:
    found: list[Launch] = []
    for s in steps:
        if isinstance(s, Launch):
            found.append(s)
        elif isinstance(s, Branch):
            found += _launches(s.then) + _launches(s.otherwise)
        elif isinstance(s, Repeat):
            found += _launches(s.test) + _launches(s.body)
    return found


def _promises(program: Program, kernel: Kernel, launches: list[Launch]) -> tuple[Promise, ...]:
    """What holds for each parameter at every launch."""
    used = [s.buffers for s in launches if s.kernel.name == kernel.name]

    def distinct(k: int, names: tuple[str, ...]) -> bool:
        same = [p for p, name in zip(kernel.params, names) if name == names[k]]
        return len(same) == 1 or all(p.mode == "in" for p in same)

    return tuple(
        Promise(
            all(program.buffers[names[k]].home in ("arena", "heap") for names in used),
            all(distinct(k, names) for names in used),
        )
        for k in range(len(kernel.params))
    )
