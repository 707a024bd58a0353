"""Memory: every intermediate gets a place in one arena by its lifetime; sizes known only inside the call live on the heap.

In: the steps in order and the buffers. Out: steps with allocations, buffers with offsets, and the arena's size in bytes.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.loops.program import Allocate, BindSize, Branch, Buffer, Copy, Deliver, Free, HostCall, Launch, Repeat, Step

ALIGN = 64


def touched(step: Step) -> set[str]:
    """Names of the buffers a step reads or writes."""
    match step:
        case Launch(_, buffers) | HostCall(_, _, buffers):
            return set(buffers)
        case Copy(a, b):
            return {a, b}
        case BindSize(_, source):
            return {source}
        case Deliver(buffer, _):
            return {buffer}
        case Branch(condition, then, otherwise):
            return {condition}.union(*(touched(s) for s in (*then, *otherwise)))
        case Repeat(test, condition, body):
            return {condition}.union(*(touched(s) for s in (*test, *body)))
    return set()


def nbytes(b: Buffer) -> Dim:
    """Bytes of a buffer, rounded up to the alignment."""
    size = sizes.product(b.shape) * b.dtype.size
    return sizes.floordiv(size + (ALIGN - 1), ALIGN) * ALIGN


def arena(steps: list[Step], buffers: dict[str, Buffer], late: tuple[str, ...]) -> tuple[list[Step], dict[str, Buffer], Dim]:
    """Places buffers with home "arena" and inserts Allocate, Free and Deliver for those with home "heap"."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for k, s in enumerate(steps):
        for touched_name in touched(s):
            first.setdefault(touched_name, k)
            last[touched_name] = k
    placed: dict[str, Buffer] = {}
    live: list[tuple[int, int, int]] = []  # (offset, bytes, last step) of buffers of known size
    top = 0
    symbolic: Dim = 0
    pending: list[str] = []
    for name, b in sorted(buffers.items(), key=lambda item: first.get(item[0], -1)):
        if b.home != "arena":
            placed[name] = b
            continue
        if name not in first:
            continue
        size = nbytes(b)
        if isinstance(size, sizes.Size):
            pending.append(name)
            continue
        live = [x for x in live if x[2] >= first[name]]
        offset = _gap(live, size)
        live.append((offset, size, last[name]))
        top = max(top, offset + size)
        placed[name] = replace(b, offset=offset)
    for name in pending:  # symbolic sizes go behind the known ones, one after the other
        placed[name] = replace(buffers[name], offset=top + symbolic)
        symbolic = symbolic + nbytes(buffers[name])
    heap = {n for n, b in buffers.items() if b.home == "heap" and n in first}
    out = allocated(steps, heap, placed, set(late))
    out += [Deliver(n, f"{n}.address") for n in late]
    return out, placed, top + symbolic


def allocated(steps: list[Step], heap: set[str], buffers: dict[str, Buffer], kept: set[str]) -> list[Step]:
    """The steps with an Allocate before the first use of each heap buffer and a Free after its last, unless it is `kept`.

    A buffer whose size is bound inside a branch or a loop lives there.
    """
    uses: dict[str, list[int]] = {n: [k for k, s in enumerate(steps) if n in touched(s)] for n in heap}
    inner: dict[int, set[str]] = {}
    for n, at in uses.items():
        if len(at) == 1 and isinstance(steps[at[0]], Branch | Repeat) and sizes_of(buffers[n]) & bound(steps[at[0]]):
            inner.setdefault(at[0], set()).add(n)
    own = {n for n, at in uses.items() if at} - set().union(*inner.values())
    out: list[Step] = []
    for k, s in enumerate(steps):
        out += [Allocate(n) for n in sorted(own) if uses[n][0] == k]
        if k in inner:
            s = _inside(s, inner[k], buffers)
        out.append(s)
        out += [Free(n) for n in sorted(own) if uses[n][-1] == k and n not in kept]
    return out


def _inside(s: Step, heap: set[str], buffers: dict[str, Buffer]) -> Step:
    if isinstance(s, Branch):
        return replace(
            s,
            then=tuple(allocated(list(s.then), heap, buffers, set())),
            otherwise=tuple(allocated(list(s.otherwise), heap, buffers, set())),
        )
    assert isinstance(s, Repeat)
    return replace(s, test=tuple(allocated(list(s.test), heap, buffers, set())), body=tuple(allocated(list(s.body), heap, buffers, set())))


def sizes_of(b: Buffer) -> set[str]:
    """The named sizes in the shape of a buffer."""
    return {n for d in b.shape for n in sizes.names(d)}


def bound(step: Step) -> set[str]:
    """The sizes that a step, or one inside it, gives a value."""
    match step:
        case BindSize(name, _):
            return {name}
        case Branch(_, then, otherwise):
            return set().union(*(bound(s) for s in (*then, *otherwise)))
        case Repeat(test, _, body):
            return set().union(*(bound(s) for s in (*test, *body)))
    return set()


def _gap(live: list[tuple[int, int, int]], size: int) -> int:
    """The lowest offset at which `size` bytes are free."""
    offset = 0
    for start, length, _ in sorted(live):
        if offset + size <= start:
            break
        offset = max(offset, start + length)
    return offset
