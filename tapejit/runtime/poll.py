"""`tapejit_poll`, in the native subset (see `native`): how loops of compiled steps hear of signals without waiting for Python.

`int64 tapejit_poll(int64* state)` returns how many iterations to run till the next call, or 0 where a signal's handler raised. State, zeroed
by the step: iterations between calls, and milliseconds of the clock at the last call and when Python was asked last. The iterations
adapt until calls are some 4 to 20 ms apart, whatever an iteration takes; Python, which means waiting for the interpreter's lock, is
asked every 50 ms.
"""

from __future__ import annotations

from tapejit.runtime.native import c, i64, stack

INTERRUPTED = -2  # the status of a step that was ended so; the exception is set
CLOCK = 6  # CLOCK_MONOTONIC_COARSE of Linux, a few nanoseconds to read; CLOCK_MONOTONIC of macOS
MOST = 1 << 40  # iterations between calls


def tapejit_poll(state: int) -> int:
    time = stack(16)
    c.clock_gettime(CLOCK, time)
    now = i64[time] * 1000 + i64[time + 8] // 1000000
    count = i64[state]
    apart = now - i64[state + 8]
    i64[state + 8] = now
    if count == 0:  # the first call
        count = 1
        apart = 0
        i64[state + 16] = now
    if apart < 4 and count < MOST:
        count *= 4
    elif apart > 20 and count > 1:
        count = count // 2
    i64[state] = count
    if now - i64[state + 16] >= 50:
        i64[state + 16] = now
        lock = c.PyGILState_Ensure()
        raised = c.PyErr_CheckSignals() & 0xFFFFFFFF
        c.PyGILState_Release(lock)
        if raised:
            return 0
    return count
