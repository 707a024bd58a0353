"""The worker threads, in the native subset (see `native`): `tapejit_parallel_for`, which compiled steps call.

Workers are plain threads that never touch Python. Between loops they spin for a while, because waking a sleeping thread costs
more than most kernels, then sleep. The caller works too, and does not wait for workers that have not woken by the end. One loop at a
time: a loop inside a loop, or from a second Python thread meanwhile, runs on its caller alone. Only the process that started the
workers uses them: a forked child runs serially.

Workers that take no part in loop after loop, or let a caller wait much longer than it worked itself, have no core to run on: others have
it. They cost more than they bring, and what they spin is taken from the share of the processor that the system allows this process. So
loops then run on their callers alone, and the workers sleep, for a time, and for longer if they fail again when it is over.
"""

from __future__ import annotations

from tapejit.runtime.native import address, atomic_add, atomic_load, atomic_replace, atomic_store, c, call, i64, pause, stack, static

STATE = static(1024)  # each word on a cache line of its own where different threads write it
BUSY = 0  # 1 while a loop runs
GENERATION = 64  # how many loops there were; workers wait for it to change
NEXT = 128  # first index that nobody has taken
JOINED = 192  # workers that take part in the present loop, plus CLOSED where no more may
STATUS = 256  # first status other than 0
ASLEEP = 320  # workers that sleep
KERNEL = 384
CONTEXT = 392
LENGTH = 400
CHUNK = 408
WORKERS = 448  # how many there are
PROCESS = 456  # who started them
SPIN = 464  # how many times a worker looks before it sleeps
CLOCK = 472  # which of the system's clocks never goes back
ALONE = 480  # until when loops run on their callers alone, 0 if they need not
UNHELPED = 488  # for how many nanoseconds loops have run of which the callers have done all
HELPED = 496  # for how many nanoseconds loops have run of which the callers have not done all, since help failed
DOUBT = 504  # how often in a row it failed before there was enough of it
CLOSED = 1 << 40
MUTEX = 512  # pthread_mutex_t, at most 64 bytes
CONDITION = 576  # pthread_cond_t, at most 64 bytes

CHUNKS_PER_THREAD = 4
PATIENCE = 20_000  # nanoseconds in which a worker that spins takes notice of a loop in any case
WAKING = 300_000  # nanoseconds in which one that sleeps does
ENOUGH = 1_000_000  # nanoseconds of loops with help after which its end is a mishap
RESPITE = 1_000_000  # nanoseconds for which loops run alone after a mishap
DOUBTS = 9  # how many times that is doubled while help fails again at once


def tapejit_parallel_for(kernel: int, context: int, length: int, grain: int) -> int:
    """Call kernel(context, start, stop) on pieces of 0..length of at least `grain`; the first status other than 0, else 0."""
    workers = i64[STATE + WORKERS]
    if length <= grain or workers == 0:
        return call(kernel, context, 0, length) if length > 0 else 0
    alone = atomic_load(STATE + ALONE)
    if alone != 0:
        if _now() < alone:
            return call(kernel, context, 0, length)
        atomic_store(STATE + ALONE, 0)
    if c.getpid() & 0xFFFFFFFF != i64[STATE + PROCESS] or not atomic_replace(STATE + BUSY, 0, 1):
        return call(kernel, context, 0, length)
    pieces = (workers + 1) * CHUNKS_PER_THREAD
    chunk = length // pieces
    if chunk < grain:
        chunk = grain
    i64[STATE + KERNEL] = kernel
    i64[STATE + CONTEXT] = context
    i64[STATE + LENGTH] = length
    i64[STATE + CHUNK] = chunk
    atomic_store(STATE + STATUS, 0)
    atomic_store(STATE + NEXT, 0)
    atomic_store(STATE + JOINED, 0)
    atomic_add(STATE + GENERATION, 1)
    asleep = atomic_load(STATE + ASLEEP)
    if asleep != 0:
        c.pthread_mutex_lock(STATE + MUTEX)
        c.pthread_cond_broadcast(STATE + CONDITION)
        c.pthread_mutex_unlock(STATE + MUTEX)
    began = _now()
    done = _work()
    ended = _now()
    atomic_add(STATE + JOINED, CLOSED)  # workers that are still waking up are not waited for
    looked = 0
    while atomic_load(STATE + JOINED) != CLOSED:
        looked += 1
        if looked & 1023 == 0:
            c.sched_yield()
        pause()
    lost = _now() - ended if looked > 0 else 0
    unhelped = i64[STATE + UNHELPED]
    unhelped = unhelped + ended - began if done >= length else unhelped // 2
    i64[STATE + UNHELPED] = unhelped
    doubt = i64[STATE + DOUBT]
    if (lost > PATIENCE and lost > 2 * (ended - began)) or unhelped > (PATIENCE if asleep == 0 else WAKING):
        doubt = 0 if i64[STATE + HELPED] > ENOUGH else doubt
        atomic_store(STATE + ALONE, ended + lost + (RESPITE << doubt))
        i64[STATE + DOUBT] = doubt + 1 if doubt < DOUBTS else doubt
        i64[STATE + UNHELPED] = 0
        i64[STATE + HELPED] = 0
    elif done < length:
        i64[STATE + HELPED] += ended - began
    status = atomic_load(STATE + STATUS)
    atomic_store(STATE + BUSY, 0)
    return status


def _now() -> int:
    """Nanoseconds since some moment."""
    time = stack(16)
    c.clock_gettime(i64[STATE + CLOCK], time)
    return i64[time] * 1_000_000_000 + i64[time + 8]


def _work() -> int:
    """Take chunks until none is left; how many indices they had."""
    done = 0
    kernel = i64[STATE + KERNEL]
    context = i64[STATE + CONTEXT]
    length = i64[STATE + LENGTH]
    chunk = i64[STATE + CHUNK]
    start = atomic_add(STATE + NEXT, chunk)
    while start < length:
        stop = start + chunk if start + chunk < length else length
        status = call(kernel, context, start, stop)
        if status != 0:
            atomic_replace(STATE + STATUS, 0, status)
            atomic_store(STATE + NEXT, length)
            return done
        done += stop - start
        start = atomic_add(STATE + NEXT, chunk)
    return done


def _worker(seen: int) -> int:
    """A worker's life."""
    while True:
        looked = 0
        while atomic_load(STATE + GENERATION) == seen:
            looked += 1
            if looked < i64[STATE + SPIN] and atomic_load(STATE + ALONE) == 0:
                pause()
            else:
                c.pthread_mutex_lock(STATE + MUTEX)
                atomic_add(STATE + ASLEEP, 1)
                while atomic_load(STATE + GENERATION) == seen:
                    c.pthread_cond_wait(STATE + CONDITION, STATE + MUTEX)
                atomic_add(STATE + ASLEEP, -1)
                c.pthread_mutex_unlock(STATE + MUTEX)
        seen = atomic_load(STATE + GENERATION)
        joined = atomic_load(STATE + JOINED)
        while joined < CLOSED:
            if atomic_replace(STATE + JOINED, joined, joined + 1):
                _work()
                atomic_add(STATE + JOINED, -1)
                break
            joined = atomic_load(STATE + JOINED)


def start(workers: int, spin: int, clock: int) -> int:
    """Start workers so that there are as many; how many there are (threads are not ended, and a forked child has none of its own)."""
    if i64[STATE + PROCESS] == 0:
        i64[STATE + PROCESS] = c.getpid() & 0xFFFFFFFF
        c.pthread_mutex_init(STATE + MUTEX, 0)
        c.pthread_cond_init(STATE + CONDITION, 0)
        atomic_store(STATE + JOINED, CLOSED)
    if c.getpid() & 0xFFFFFFFF != i64[STATE + PROCESS] or not atomic_replace(STATE + BUSY, 0, 1):
        return i64[STATE + WORKERS]
    i64[STATE + SPIN] = spin
    i64[STATE + CLOCK] = clock
    thread = stack(8)
    signals = stack(128)
    before = stack(128)
    c.sigfillset(signals)
    c.pthread_sigmask(2, signals, before)  # SIG_SETMASK: signals are for Python's threads
    while i64[STATE + WORKERS] < workers:
        if c.pthread_create(thread, 0, address(_worker), i64[STATE + GENERATION]) & 0xFFFFFFFF != 0:
            break
        c.pthread_detach(i64[thread])
        i64[STATE + WORKERS] += 1
    c.pthread_sigmask(2, before, 0)
    atomic_store(STATE + BUSY, 0)
    return i64[STATE + WORKERS]


def idle(rounds: int) -> int:
    """What a waiting worker does, so many times."""
    looked = 0
    while atomic_load(STATE + ASLEEP) >= 0 and looked < rounds:
        looked += 1
        pause()
    return looked
