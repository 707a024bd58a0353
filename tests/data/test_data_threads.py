"""Prefetching and parallel maps: order, errors, and threads that end."""

import gc
import os
import threading
import time

import numpy as np
import pytest

import tapejit as tf
from tapejit.data import threads

D = tf.data.Dataset


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Threads begin as soon as anything has been measured."""
    monkeypatch.setattr(threads, "_LONG", -1.0)
    monkeypatch.setattr(threads, "_HANDOVER", -1.0)


def ours():
    return [t for t in threading.enumerate() if t.name.startswith("tapejit.data")]


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def slow(x):
    return tf.py_function(lambda v: time.sleep(0.002) or v * 2, [x], tf.int64)


def test_the_order_stays():
    ds = D.range(30).map(slow, num_parallel_calls=4, deterministic=False).prefetch(3)
    assert [int(x) for x in ds] == [2 * k for k in range(30)]


def test_prefetching_runs_ahead_and_no_further():
    made = []

    def generator():
        for k in range(100):
            made.append(k)
            yield k

    it = iter(D.from_generator(generator, output_signature=tf.TensorSpec([], tf.int32)).prefetch(3))
    for _ in range(2):
        next(it)
    assert wait_for(lambda: len(made) >= 5)
    time.sleep(0.02)
    assert len(made) <= 2 + 3 + 1


@pytest.mark.parametrize("stage", [lambda d: d.prefetch(2), lambda d: d.map(slow, num_parallel_calls=2)], ids=["prefetch", "map"])
def test_threads_end_when_the_iterator_is_dropped(stage):
    assert wait_for(lambda: not ours())
    it = iter(stage(D.range(1000).map(slow)))
    for _ in range(5):
        next(it)
    assert ours()
    del it
    gc.collect()
    assert wait_for(lambda: not ours())


def test_what_a_thread_raises_is_raised_in_its_place():
    def failing(v):
        if int(v) == 5:
            raise KeyError("mine")
        return v

    for ds in (
        D.range(10).map(lambda x: tf.py_function(failing, [x], tf.int64), num_parallel_calls=3),
        D.range(10).map(lambda x: tf.py_function(failing, [x], tf.int64)).prefetch(2),
    ):
        got = []
        with pytest.raises(KeyError, match="mine") as raised:
            got.extend(int(x) for x in ds)
        assert got == [0, 1, 2, 3, 4]
        assert any(entry.path.name == "test_data_threads.py" and entry.name == "failing" for entry in raised.traceback)


def test_an_error_before_a_parallel_map_comes_after_what_was_before_it():
    def generator():
        yield from range(4)
        raise KeyError("source")

    ds = D.from_generator(generator, output_signature=tf.TensorSpec([], tf.int64)).map(slow, num_parallel_calls=4)
    got = []
    with pytest.raises(KeyError, match="source"):
        got.extend(int(x) for x in ds)
    assert got == [0, 2, 4, 6]


def test_iterators_in_several_threads():
    ds = D.range(200).shuffle(200, seed=1, reshuffle_each_iteration=False).batch(7).prefetch(2)
    wanted = [b.tolist() for b in ds.as_numpy_iterator()]
    got = {}

    def run(k):
        got[k] = [b.tolist() for b in ds.as_numpy_iterator()]

    workers = [threading.Thread(target=run, args=(k,)) for k in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert got == {k: wanted for k in range(3)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_iterator_with_threads_does_not_hang_in_a_forked_child():
    ds = D.range(100).map(slow).prefetch(2)
    it = iter(ds)
    for _ in range(3):
        next(it)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            next(it)
        except RuntimeError as e:
            code = 0 if "child" in str(e) and int(next(iter(ds))) == 0 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_training_loop_over_a_prefetched_dataset():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32)
    w = tf.Variable(tf.zeros([3, 1]))

    @tf.function
    def step(xb, yb):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((xb @ w - yb) ** 2)
        w.assign_sub(0.2 * tape.gradient(loss, w))
        return loss

    ds = D.from_tensor_slices((x, y)).shuffle(64).batch(16).repeat(30).prefetch(tf.data.AUTOTUNE)
    for xb, yb in ds:
        loss = step(xb, yb)
    assert float(loss) < 1e-3
