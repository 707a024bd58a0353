"""The worker threads: every index once, failures, loops within loops, two callers, fork, and the end of the process."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import steps

from tapejit.runtime import call, compile, load, native, threads

pytestmark = pytest.mark.skipif(not threads.available(), reason="no POSIX threads")


@pytest.fixture(scope="module")
def library():
    return native.Library(steps)


@pytest.fixture(scope="module")
def visit(library):
    """visit(n, grain, fail=-1): how often each index was visited, and the status."""
    parallel_for = threads.parallel_for()
    assert threads.start(3) >= 3
    step = call.plain(library.address("visit"))

    def run(n, grain, fail=-1):
        seen = np.zeros(n + 1, np.int64)
        status = step(np.array([seen.ctypes.data, fail, parallel_for, n, grain]))
        assert seen[n] == 0
        return seen[:n], status

    return run


@pytest.mark.parametrize("grain", [1, 3, 100, 10**6])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000, 4097])
def test_every_index_once(visit, n, grain):
    for _ in range(20):
        seen, status = visit(n, grain)
        assert status == 0
        assert (seen == 1).all()


def test_sleeping_workers_wake(visit):
    for pause in (0, 0.003, 0.03):
        time.sleep(pause)
        seen, _ = visit(10_000, 1)
        assert (seen == 1).all()


def test_status_of_a_failing_piece(visit):
    for _ in range(50):
        seen, status = visit(5000, 10, fail=3210)
        assert status == 100 + 3210
        assert seen.max() == 1
    assert visit(5000, 10)[1] == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_workers_without_a_core_are_left_out(visit):
    """With one core for all threads most loops run on their callers alone; whoever runs them, every index is visited once."""
    allowed = os.sched_getaffinity(0)
    for task in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(task), {min(allowed)})
    try:
        for _ in range(3000):
            seen, status = visit(4000, 1)
            assert status == 0
            assert (seen == 1).all()
    finally:
        for task in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(task), allowed)


def test_loop_in_a_loop(library):
    n = 40
    seen = np.zeros((n, n), np.int64)
    step = call.plain(library.address("visit_rows"))
    assert step(np.array([seen.ctypes.data, -1, threads.parallel_for(), n])) == 0
    assert (seen == 1).all()


def test_two_python_threads_at_once(visit):
    wrong = []

    def work():
        for _ in range(300):
            seen, status = visit(2000, 10)
            if status or not (seen == 1).all():
                wrong.append(seen)

    callers = [threading.Thread(target=work) for _ in range(3)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_runs_serially(visit):
    visit(1000, 1)
    child = os.fork()
    if child == 0:
        try:
            good = all((visit(1000, 1)[0] == 1).all() for _ in range(10)) and threads.start(5) >= 3 and visit(1000, 1)[1] == 0
        finally:
            os._exit(0 if good else 3)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    assert (done, status) == (child, 0)
    assert (visit(1000, 1)[0] == 1).all()


def test_process_with_workers_ends():
    code = textwrap.dedent("""
        import time
        from tapejit.runtime import threads
        threads.parallel_for(); threads.start(3)
        time.sleep(0.05)
    """)
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_compiled_step_is_linked_with_it():
    text = textwrap.dedent("""
        declare i64 @tapejit_parallel_for(ptr, ptr, i64, i64)
        define internal i64 @k(ptr %c, i64 %lo, i64 %hi) {
          %p = getelementptr i64, ptr %c, i64 %lo
          store i64 5, ptr %p
          ret i64 0
        }
        define i64 @step(ptr %t) {
          %x = load ptr, ptr %t
          %r = call i64 @tapejit_parallel_for(ptr @k, ptr %x, i64 1, i64 1)
          ret i64 %r
        }
    """)
    module = load.Module(compile.object_code(text), [threads.SYMBOL], {threads.SYMBOL: threads.parallel_for()})
    x = np.zeros(1, np.int64)
    assert call.plain(module.address("step"))(np.array([x.ctypes.data])) == 0
    assert x[0] == 5
