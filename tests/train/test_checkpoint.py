"""tf.train.Checkpoint: what is saved, how it is matched, deferred values, statuses and errors."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import tapejit as tf


class Dense(tf.Module):
    def __init__(self, size):
        super().__init__()
        self.w = tf.Variable(tf.random.normal([size, size]))
        self.b = tf.Variable(tf.zeros([size]))


class Net(tf.Module):
    def __init__(self):
        super().__init__()
        self.layers = [Dense(2), Dense(3)]
        self.table = {"scale": tf.Variable(2.0), "pair": (tf.Variable(1), None)}
        self.same = self.layers[0]
        self.note = "text"


def values(x):
    return [v.numpy().tolist() for v in x.variables]


def zeroed(x):
    for v in x.variables:
        v.assign(tf.zeros_like(v))
    return x


# ------------------------------------------------------------------------------------------------- round trips
def test_a_round_trip_of_nested_objects(tmp_path):
    net, step = Net(), tf.Variable(7, dtype=tf.int64)
    inner = tf.train.Checkpoint(step=step)
    path = tf.train.Checkpoint(net=net, inner=inner, extra=[net.layers[1]]).write(tmp_path / "a")
    assert path == str(tmp_path / "a")
    wanted = values(net)
    other, other_step = zeroed(Net()), tf.Variable(0, dtype=tf.int64)
    status = tf.train.Checkpoint(net=other, inner=tf.train.Checkpoint(step=other_step), extra=[other.layers[1]]).read(path)
    status.assert_consumed()
    assert values(other) == wanted
    assert int(other_step) == 7


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint16", "int64", "float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_every_dtype_and_shape(dtype, shape, tmp_path):
    want = (np.arange(np.prod(shape)).reshape(shape) * (1 + 1j if "complex" in dtype else 1)).astype(tf.as_dtype(dtype).np)
    v, w = tf.Variable(want), tf.Variable(np.ones_like(want))
    tf.train.Checkpoint(v=v, odd=tf.Variable(np.int8(3))).write(tmp_path / "a")
    tf.train.Checkpoint(v=w).read(tmp_path / "a").assert_existing_objects_matched()
    np.testing.assert_array_equal(w.numpy(), want)
    assert w.dtype.name == dtype
    assert tf.train.load_variable(tmp_path / "a", "v/.ATTRIBUTES/VARIABLE_VALUE").dtype == want.dtype


def test_the_file_is_one_that_safetensors_reads(tmp_path):
    from safetensors.numpy import load_file, save_file

    v = tf.Variable([[1.0, 2.0]])
    tf.train.Checkpoint(layer={"w": v}).write(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a.safetensors"]
    assert load_file(tmp_path / "a.safetensors")["layer/w/.ATTRIBUTES/VARIABLE_VALUE"].tolist() == [[1.0, 2.0]]
    save_file({"layer/w": np.array([[5.0, 6.0]], np.float32)}, tmp_path / "b.safetensors")  # names alone will do
    tf.train.Checkpoint(layer={"w": v}).read(tmp_path / "b").assert_consumed()
    assert v.numpy().tolist() == [[5.0, 6.0]]


def test_save_counts_and_names(tmp_path):
    v = tf.Variable(1.0)
    ckpt = tf.train.Checkpoint(v=v)
    assert ckpt.save(tmp_path / "ck") == str(tmp_path / "ck-1")
    assert ckpt.save(str(tmp_path / "ck")) == str(tmp_path / "ck-2")
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "ck-2")
    fresh = tf.train.Checkpoint(v=tf.Variable(0.0))
    fresh.restore(tmp_path / "ck-2").assert_consumed()
    assert int(fresh.save_counter) == 2
    assert fresh.save(tmp_path / "ck").endswith("ck-3")
    assert ckpt.v is v
    ckpt.v = tf.Variable(9.0)
    ckpt.restore(tmp_path / "ck-1")
    assert float(ckpt.v) == 1.0


def test_root(tmp_path):
    net = Net()
    tf.train.Checkpoint(root=net).write(tmp_path / "a")
    names = [name for name, _ in tf.train.list_variables(tmp_path / "a")]
    assert "layers/1/w/.ATTRIBUTES/VARIABLE_VALUE" in names
    assert "same/w/.ATTRIBUTES/VARIABLE_VALUE" in names  # the shortest way to layers[0]
    other = zeroed(Net())
    tf.train.Checkpoint(other).read(tmp_path / "a").assert_consumed()
    assert values(other) == values(net)


def test_objects_reached_in_several_ways_are_stored_once(tmp_path):
    net = Net()
    tf.train.Checkpoint(net=net, first=net.layers[0]).write(tmp_path / "a")
    assert len(tf.train.list_variables(tmp_path / "a")) == len(net.variables)
    alone = zeroed(Dense(2))
    tf.train.Checkpoint(net=alone).read(tmp_path / "a").expect_partial()
    part = tf.train.Checkpoint(first=alone)
    part.read(tmp_path / "a").assert_existing_objects_matched()  # found along the other way
    assert values(alone) == values(net.layers[0])


def test_generators_and_python_state(tmp_path):
    class Count(tf.train.experimental.PythonState):
        def __init__(self, n):
            self.n = n

        def serialize(self):
            return str(self.n)

        def deserialize(self, string_value):
            self.n = int(string_value)

    generator, count = tf.random.Generator.from_seed(3), Count(5)
    ckpt = tf.train.Checkpoint(generator=generator, count=count)
    ckpt.write(tmp_path / "a")
    first, count.n = generator.normal([3]).numpy(), 0
    ckpt.read(tmp_path / "a").assert_consumed()
    np.testing.assert_array_equal(generator.normal([3]).numpy(), first)
    assert count.n == 5


def test_an_iterator_goes_on_where_it_was(tmp_path):
    def pipeline():
        return iter(tf.data.Dataset.range(100).shuffle(100).map(lambda x: x * 2).batch(3).repeat(2))

    it = pipeline()
    for _ in range(40):
        next(it)
    tf.train.Checkpoint(iterator=it).write(tmp_path / "a")
    wanted = [next(it).numpy().tolist() for _ in range(5)]
    other = pipeline()
    next(other)
    tf.train.Checkpoint(iterator=other).read(tmp_path / "a").assert_consumed()
    assert [next(other).numpy().tolist() for _ in range(5)] == wanted


def test_objects_that_wrap_variables(tmp_path):
    class Wrapped:
        def __init__(self, value):
            self._value = tf.Variable(value)

    class Layer:
        def __init__(self, value):
            self._kernel = Wrapped(value)
            self.losses = [1.0]

        @property
        def variables(self):
            return [self._kernel]

    first, second = Layer([1.0, 2.0]), Layer([0.0, 0.0])
    tf.train.Checkpoint(layer=first, alone=Wrapped(3.0)).write(tmp_path / "a")
    assert [n for n, _ in tf.train.list_variables(tmp_path / "a")][1] == "layer/_kernel/.ATTRIBUTES/VARIABLE_VALUE"
    alone = Wrapped(0.0)
    tf.train.Checkpoint(layer=second, alone=alone).read(tmp_path / "a").assert_consumed()
    assert second._kernel._value.numpy().tolist() == [1.0, 2.0]
    assert float(alone._value) == 3.0


# ---------------------------------------------------------------------------------------------- deferred values
def test_variables_made_later_get_their_values(tmp_path):
    net = Net()
    tf.train.Checkpoint(net=net, late=[tf.Variable(4.0)]).write(tmp_path / "a")

    class Lazy(tf.Module):
        def __init__(self):
            super().__init__()
            self.layers = []

    lazy = Lazy()
    ckpt = tf.train.Checkpoint(net=lazy, late=[])
    status = ckpt.read(tmp_path / "a")
    with pytest.raises(AssertionError, match=r"\(root\)\.net\.layers\[1\]\.w"):
        status.assert_consumed()
    status.assert_existing_objects_matched()
    lazy.layers.append(Dense(2))
    assert values(lazy.layers[0]) == values(net.layers[0])
    v = tf.Variable(0.0)
    ckpt.late.append(v)
    assert float(v * 1.0) == 4.0
    other = tf.Variable(1.0)  # of no concern
    assert float(other) == 1.0
    lazy.layers.append(Dense(3))
    lazy.table = {"scale": tf.Variable(0.0), "pair": (tf.Variable(0), None)}
    status.assert_consumed()
    assert values(lazy) == values(net)


def test_a_later_assignment_wins_over_a_deferred_value(tmp_path):
    tf.train.Checkpoint(v=tf.Variable(4.0)).write(tmp_path / "a")

    class Holder(tf.Module):
        pass

    holder = Holder()
    tf.train.Checkpoint(holder).read(tmp_path / "a")
    holder.v = tf.Variable(0.0)
    holder.v.assign(9.0)
    assert float(holder.v) == 9.0
    holder.v.assign_add(1.0)
    assert float(holder.v) == 10.0


def test_a_variable_made_in_a_traced_function_gets_its_value(tmp_path):
    class Lazy(tf.Module):
        w = None

        @tf.function
        def __call__(self, x):
            if self.w is None:
                self.w = tf.Variable([1.0, 1.0])
            return x * self.w

    first = Lazy()
    first(tf.ones([2]))
    first.w.assign([5.0, 6.0])
    tf.train.Checkpoint(lazy=first).write(tmp_path / "a")
    second = Lazy()
    tf.train.Checkpoint(lazy=second).read(tmp_path / "a")
    assert second(tf.ones([2])).numpy().tolist() == [5.0, 6.0]


# ------------------------------------------------------------------------------------------- statuses and errors
def test_statuses(tmp_path):
    tf.train.Checkpoint(a=tf.Variable(1.0), b=tf.Variable([2.0])).write(tmp_path / "a")
    part = tf.train.Checkpoint(a=tf.Variable(0.0))
    status = part.read(tmp_path / "a")
    assert status.expect_partial() is status
    assert status.assert_existing_objects_matched() is status
    status.assert_nontrivial_match()
    with pytest.raises(AssertionError, match=r"\(root\)\.b: float32\[1\]"):
        status.assert_consumed()
    more = tf.train.Checkpoint(a=tf.Variable(0.0), c=tf.Variable(0.0, name="mine"))
    with pytest.raises(AssertionError, match=r"not bound to checkpointed values(.|\n)*\(root\)\.c: .*mine"):
        more.read(tmp_path / "a").assert_existing_objects_matched()
    with pytest.raises(AssertionError, match="Nothing except the root"):
        tf.train.Checkpoint(z=tf.Variable(0.0)).read(tmp_path / "a").assert_nontrivial_match()
    with pytest.raises(AssertionError, match="No checkpoint specified"):
        more.restore(None).assert_consumed()
    more.restore(None).expect_partial()


@pytest.mark.parametrize("wrong", [np.zeros(3, np.float32), np.zeros(2, np.float64)], ids=["shape", "dtype"])
def test_a_value_that_does_not_fit_changes_nothing(wrong, tmp_path):
    tf.train.Checkpoint(a=tf.Variable(1.0), net=[tf.Variable([2.0, 3.0])]).write(tmp_path / "ck")
    a = tf.Variable(0.0)
    with pytest.raises(ValueError, match=r"(?s)shape \(2,\) and dtype float32.*\(root\)\.net\[0\].*net/0/.*test_checkpoint\.py"):
        tf.train.Checkpoint(a=a, net=[tf.Variable(wrong)]).restore(tmp_path / "ck")
    assert float(a) == 0.0


def test_missing_and_damaged_files(tmp_path):
    ckpt = tf.train.Checkpoint(v=tf.Variable(tf.zeros([100])))
    with pytest.raises(tf.errors.NotFoundError, match="Failed to find any matching files"):
        ckpt.restore(tmp_path / "none")
    ckpt.write(tmp_path / "a")
    whole = (tmp_path / "a.safetensors").read_bytes()
    for cut in (0, 5, 60, len(whole) - 1):
        (tmp_path / "a.safetensors").write_bytes(whole[:cut])
        with pytest.raises(tf.errors.DataLossError, match="safetensors"):
            ckpt.read(tmp_path / "a")


def test_what_cannot_be_saved():
    with pytest.raises(ValueError, match=r"expecting step to be a trackable object.*tf\.Variable"):
        tf.train.Checkpoint(step=3)

    @tf.function
    def saves(x):
        tf.train.Checkpoint(v=tf.Variable(1.0)).write("never")
        return x

    with pytest.raises(NotImplementedError, match="traced function"):
        saves.get_concrete_function(1.0)


def test_reading_by_name(tmp_path):
    tf.train.Checkpoint(a=tf.Variable([1, 2]), **{"b": {"x/y.z": tf.Variable(3.0)}}).save(tmp_path / "ck")
    reader = tf.train.load_checkpoint(tmp_path)
    assert reader.get_variable_to_shape_map() == {
        "a/.ATTRIBUTES/VARIABLE_VALUE": [2],
        "b/x.Sy..z/.ATTRIBUTES/VARIABLE_VALUE": [],
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE": [],
    }
    assert reader.get_variable_to_dtype_map()["a/.ATTRIBUTES/VARIABLE_VALUE"] is tf.int32
    assert reader.get_tensor("a/.ATTRIBUTES/VARIABLE_VALUE").tolist() == [1, 2]
    assert not reader.has_tensor("a")
    assert b"float32" in reader.debug_string()
    with pytest.raises(tf.errors.NotFoundError, match="Key a not found"):
        reader.get_tensor("a")
    with pytest.raises(ValueError, match="Couldn't find"):
        tf.train.load_checkpoint(tmp_path.parent)


# --------------------------------------------------------------------------------------------- killed while writing
WRITER = """
import sys, tapejit as tf
folder, = sys.argv[1:]
n = tf.Variable(0)
big = tf.Variable(tf.zeros([500_000]))
ckpt = tf.train.Checkpoint(n=n, big=big)
manager = tf.train.CheckpointManager(ckpt, folder, max_to_keep=2)
manager.restore_or_initialize()
print("ready", flush=True)
while True:
    n.assign_add(1)
    big.assign(tf.fill([500_000], tf.cast(n, tf.float32)))
    manager.save()
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_nothing_is_lost_when_a_writer_is_killed(tmp_path):
    folder = tmp_path / "ck"
    delays = np.random.default_rng(1).uniform(0.0, 0.08, size=5)
    latest = 0
    for delay in delays:
        environment = {**os.environ, "PYTHONPATH": str(Path(tf.__file__).parent.parent)}
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, env=environment)
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        n, big = tf.Variable(0), tf.Variable(tf.zeros([500_000]))
        ckpt = tf.train.Checkpoint(n=n, big=big)
        path = tf.train.latest_checkpoint(folder)
        if path is None:
            continue
        ckpt.restore(path).assert_consumed()
        assert int(n) >= latest
        latest = int(n)
        assert (big.numpy() == int(n)).all()
    manager = tf.train.CheckpointManager(ckpt, folder, max_to_keep=2)
    manager.save()
    assert not list(folder.glob(".*.tmp"))  # what the killed ones left
    assert latest > 0


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    v = tf.Variable(1.0)
    ckpt = tf.train.Checkpoint(v=v)
    ckpt.write(tmp_path / "a")
    v.assign(2.0)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ckpt.write(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a.safetensors"]
    ckpt.read(tmp_path / "a")
    assert float(v) == 1.0


def test_bfloat16_values(tmp_path):
    v = tf.Variable(np.array([1.5, 2.5], ml_dtypes.bfloat16))
    tf.train.Checkpoint(v=v).write(tmp_path / "a")
    v.assign(v * 0)
    tf.train.Checkpoint(v=v).read(tmp_path / "a")
    assert v.numpy().tolist() == [1.5, 2.5]
