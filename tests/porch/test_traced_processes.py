"""What a step costs beside its arithmetic: no Python while it runs, no compiler in a warm process, and calls from several threads."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import tapejit as tf


def frames_during(f):
    """Names of the Python functions entered while `f` is called."""
    entered = []

    def profile(frame, event, arg):
        if event == "call":
            entered.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        f()
    finally:
        sys.setprofile(None)
    return entered


def train_step():
    w, m, n = tf.Variable(np.ones((3, 2), "float32")), tf.Variable(np.zeros((3, 2), "float32")), tf.Variable(0)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.tanh(x @ w) - y))
        g = tape.gradient(loss, w)
        m.assign(0.9 * m + g)
        w.assign_sub(0.1 * m)
        n.assign_add(1)
        return {"loss": loss, "norm": tf.norm(g)}, [n + 0]

    return step, w


def test_no_python_runs_during_a_step():
    step, _ = train_step()
    x, y = tf.ones([5, 3]), tf.zeros([5, 2])
    for _ in range(3):
        step(x, y)
    entered = frames_during(lambda: step(x, y))
    assert entered[0].endswith("<lambda>")
    assert entered[1:] in ([], ["Function.__call__"]), entered


def test_one_callback_is_the_only_python_of_a_step_with_one():
    seen = []

    def look(x):
        seen.append(float(x))

    @tf.function
    def f(x):
        tf.py_function(look, [x], [])
        return x * 2.0

    for _ in range(3):
        f(tf.constant(2.0))
    entered = frames_during(lambda: f(tf.constant(3.0)))
    assert entered.count(f"{look.__qualname__}") == 1
    assert seen == [2.0, 2.0, 2.0, 3.0]


PROGRAM = """
    import sys
    import numpy as np
    import tapejit as tf

    w = tf.Variable(np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3))

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            logits = tf.nn.relu(x) @ w
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        w.assign_sub(0.5 * tape.gradient(loss, w))
        return loss

    x, y = tf.constant(np.ones((6, 4), "float32")), tf.constant([0, 1, 2, 0, 1, 2])
    print([float(step(x, y)) for _ in range(4)])
    print(sorted(m for m in ("numba", "llvmlite", "llvmlite.binding", "scipy", "networkx", "rich") if m in sys.modules))
"""


def test_a_second_process_starts_warm(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    env = os.environ | {"TAPEJIT_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    runs = [
        subprocess.run([sys.executable, str(program)], env=env, capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(2)
    ]
    assert runs[0][0] == runs[1][0]
    assert "numba" not in runs[1][1]
    assert "llvmlite.binding" not in runs[1][1]


def together(count, work):
    """Run `work(k)` in `count` threads that start at once; raises what any of them raised."""
    barrier, errors = threading.Barrier(count), []

    def run(k):
        try:
            barrier.wait()
            work(k)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("warm", [False, True])
def test_threads_call_one_function(warm):
    traces = []

    @tf.function
    def f(x):
        traces.append(1)
        h = tf.tanh(x @ tf.transpose(x))
        return tf.reduce_sum(h, 1) + tf.reduce_max(x)

    inputs = [np.random.default_rng(k).normal(size=(17, 5)).astype("float32") for k in range(6)]
    wanted = [np.tanh(x @ x.T).sum(1) + x.max() for x in inputs]
    if warm:
        f(tf.constant(inputs[0]))

    def work(k):
        x = tf.constant(inputs[k])
        for _ in range(30):
            np.testing.assert_allclose(f(x), wanted[k], rtol=1e-4, atol=1e-5)

    together(6, work)
    assert len(traces) == 1


def test_threads_trace_different_functions_at_once():
    def work(k):
        v = tf.Variable(float(k))

        @tf.function
        def f(x):
            with tf.GradientTape() as t:
                y = tf.reduce_sum(x * v) + float(k)
            v.assign_add(1.0)
            return y, t.gradient(y, v)

        for n in range(1, 6):
            y, g = f(tf.ones([n]))
            assert (float(y), float(g)) == (n * (k + n - 1) + k, n)

    together(4, work)


def test_threads_update_one_variable_without_tearing_it():
    v = tf.Variable(np.zeros(1000, "float32"))
    step = tf.function(lambda: v.assign_add(tf.ones([1000])))
    step()

    def work(k):
        for _ in range(50):
            x = v.numpy()
            assert (x == x[0]).all()
            step()

    together(3, work)
    x = v.numpy()
    assert (x == x[0]).all()
    assert 1 < x[0] <= 151


def test_tracing_in_one_thread_does_not_record_what_another_does():
    inside, done = threading.Event(), threading.Event()

    @tf.function
    def f(x):
        inside.set()
        assert done.wait(10)
        return x + 1.0

    results = []

    def other():
        inside.wait(10)
        y = tf.constant(2.0) * 3.0
        results.append(isinstance(y, tf.EagerTensor) and float(y))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert float(f(tf.constant(1.0))) == 2.0
    thread.join()
    assert results == [6.0]
