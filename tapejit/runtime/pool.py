"""The worker threads, in the native subset (see `native`): `tapejit_parallel_for`, which compiled steps call.

Workers are plain threads that never touch Python. Between loops they spin for a while, because waking a sleeping thread costs
more than most kernels, then sleep. The caller works too, and does not wait for workers that have not woken by the end. One loop at a time: a loop inside a loop, or from a second Python
thread meanwhile, runs on its caller alone. Only the process that started the workers uses them: a forked child runs serially.
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
CLOSED = 1 << 40
MUTEX = 512  # pthread_mutex_t, at most 64 bytes
CONDITION = 576  # pthread_cond_t, at most 64 bytes

CHUNKS_PER_THREAD = 4


def tapejit_parallel_for(kernel: int, context: int, length: int, grain: int) -> int:
    """Call kernel(context, start, stop) on pieces of 0..length of at least `grain`; the first status other than 0, else 0."""
    workers = i64[STATE + WORKERS]
    if length <= grain or workers == 0:
        return call(kernel, context, 0, length) if length > 0 else 0
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
    if atomic_load(STATE + ASLEEP) != 0:
        c.pthread_mutex_lock(STATE + MUTEX)
        c.pthread_cond_broadcast(STATE + CONDITION)
        c.pthread_mutex_unlock(STATE + MUTEX)
    _work()
    atomic_add(STATE + JOINED, CLOSED)  # workers that are still waking up are not waited for
    looked = 0
    while atomic_load(STATE + JOINED) != CLOSED:
        looked += 1
        if looked & 1023 == 0:
            c.sched_yield()
        pause()
    status = atomic_load(STATE + STATUS)
    atomic_store(STATE + BUSY, 0)
    return status


def _work() -> int:
    """Take chunks until none is left."""
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
            return 0
        start = atomic_add(STATE + NEXT, chunk)
    return 0


def _worker(seen: int) -> int:
    """A worker's life."""
    while True:
        looked = 0
        while atomic_load(STATE + GENERATION) == seen:
            looked += 1
            if looked < i64[STATE + SPIN]:
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


def start(workers: int, spin: int) -> int:
    """Start workers so that there are as many; how many there are (threads are not ended, and a forked child has none of its own)."""
    if i64[STATE + PROCESS] == 0:
        i64[STATE + PROCESS] = c.getpid() & 0xFFFFFFFF
        c.pthread_mutex_init(STATE + MUTEX, 0)
        c.pthread_cond_init(STATE + CONDITION, 0)
        atomic_store(STATE + JOINED, CLOSED)
    if c.getpid() & 0xFFFFFFFF != i64[STATE + PROCESS] or not atomic_replace(STATE + BUSY, 0, 1):
        return i64[STATE + WORKERS]
    i64[STATE + SPIN] = spin
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
