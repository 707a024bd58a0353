"""tf.data.Dataset: what each method gives, element specs and cardinalities."""

import collections

import numpy as np
import pytest

import tapejit as tf

D = tf.data.Dataset


def listed(ds):
    """The elements as nested lists."""
    return [tf.nest.map_structure(lambda x: x.tolist() if hasattr(x, "tolist") else x, e) for e in ds.as_numpy_iterator()]


# ------------------------------------------------------------------------------------------------- sources
def test_from_tensor_slices_of_structures():
    Point = collections.namedtuple("Point", "x y")
    ds = D.from_tensor_slices({"a": [1, 2], "p": Point([1.0, 2.0], ([5, 6], None))})
    first = next(iter(ds))
    assert sorted(first) == ["a", "p"]
    assert isinstance(first["p"], Point)
    assert first["p"].y[1] is None
    assert float(first["p"].x) == 1.0
    assert ds.element_spec["p"].x == tf.TensorSpec([], tf.float32)


def test_later_changes_of_the_arrays_do_not_show():
    x = np.arange(3.0)
    ds = D.from_tensor_slices(x)
    x[:] = -1
    assert listed(ds) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("bad", [3.0, (np.ones(3), np.ones(4)), (np.ones(3), 1.0)])
def test_slices_need_rows_of_one_number(bad):
    with pytest.raises(ValueError, match=r"rank >= 1|not compatible"):
        D.from_tensor_slices(bad)


def test_lists_are_tensors_and_tuples_structures():
    assert D.from_tensors(([1, 2], 3)).element_spec == (tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.int32))
    assert listed(D.from_tensors([1, 2])) == [[1, 2]]


def test_range():
    assert listed(D.range(5, 0, -2)) == [5, 3, 1]
    assert D.range(3, output_type=tf.float32).element_spec == tf.TensorSpec([], tf.float32)
    assert listed(D.counter(10, -1).take(2)) == [10, 9]
    with pytest.raises(ValueError, match="between 1 and 3"):
        D.range()
    with pytest.raises(tf.errors.InvalidArgumentError, match="zero"):
        D.range(0, 5, 0)


def test_from_generator():
    def numbers(stop, scale):
        for k in range(stop):
            yield {"n": k, "x": [k * scale] * k}

    ds = D.from_generator(
        numbers, args=(3, 2.0), output_signature={"n": tf.TensorSpec([], tf.int64), "x": tf.TensorSpec([None], tf.float32)}
    )
    assert listed(ds) == [{"n": 0, "x": []}, {"n": 1, "x": [2.0]}, {"n": 2, "x": [4.0, 4.0]}]
    assert ds.cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert listed(ds) == listed(ds)


def test_from_generator_with_types():
    ds = D.from_generator(lambda: iter([(1, [2.0]), (3, [4.0])]), output_types=(tf.int32, tf.float32))
    assert ds.element_spec[1].shape.rank is None
    assert listed(ds.map(lambda a, b: b * tf.cast(a, tf.float32))) == [[2.0], [12.0]]
    ds = D.from_generator(lambda: iter([1, 2]), tf.int32, tf.TensorShape([]))
    assert listed(ds.batch(2)) == [[1, 2]]
    ds = D.from_generator(lambda: iter([([1], 2)]), (tf.int32, tf.int32), ([None], []))
    assert [s.shape.as_list() for s in ds.element_spec] == [[None], []]


@pytest.mark.parametrize(
    ("yielded", "says"),
    [({"b": 1}, "structure"), ({"a": [1, 2]}, "shape"), ({"a": "text"}, "converted")],
    ids=["structure", "shape", "dtype"],
)
def test_a_generator_that_yields_something_else(yielded, says):
    ds = D.from_generator(lambda: iter([yielded]), output_signature={"a": tf.TensorSpec([], tf.int32)})
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        list(ds)


def test_what_a_generator_raises_comes_out():
    def generator():
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(D.from_generator(generator, output_signature=tf.TensorSpec([], tf.int32)).batch(2))
    with pytest.raises(TypeError, match="callable"):
        D.from_generator([1], output_types=tf.int32)
    with pytest.raises(TypeError, match="output_signature"):
        D.from_generator(generator)


# ---------------------------------------------------------------------------------------- order and selection
def generated(values):
    """The same numbers from a generator: a source without arrays."""
    return D.from_generator(lambda: iter(values), output_signature=tf.TensorSpec([], tf.int64))


@pytest.fixture(params=["rows", "elements"])
def ten(request):
    return D.range(10) if request.param == "rows" else generated(range(10))


def test_selection(ten):
    assert listed(ten.take(3)) == [0, 1, 2]
    assert listed(ten.take(-1)) == listed(ten)
    assert listed(ten.take(0)) == []
    assert listed(ten.skip(7)) == [7, 8, 9]
    assert listed(ten.skip(-1)) == listed(ten.skip(20)) == []
    assert listed(ten.shard(4, 1)) == [1, 5, 9]
    assert listed(ten.batch(3).unbatch().shard(3, 2)) == [2, 5, 8]
    assert listed(ten.repeat(2)) == [*range(10), *range(10)]
    assert listed(ten.repeat().take(12)) == [*range(10), 0, 1]
    assert listed(ten.repeat(0)) == []
    assert listed(ten.concatenate(D.range(20, 22)).batch(6)) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 20, 21]]
    assert listed(ten.enumerate(5).take(2)) == [(5, 0), (6, 1)]
    assert listed(ten.filter(lambda x: x > 7)) == [8, 9]
    assert listed(ten.take_while(lambda x: x < 2)) == [0, 1]
    assert listed(ten.map(lambda x: x % 3).unique()) == [0, 1, 2]


def test_repeating_nothing_ends():
    assert listed(D.range(0).repeat()) == []
    assert D.range(0).repeat().cardinality() == 0


def test_zip_ends_with_the_shortest(ten):
    ds = D.zip({"a": ten, "b": (D.range(3), D.from_tensor_slices(np.ones([4, 2])))})
    assert listed(ds)[2] == {"a": 2, "b": (2, [1.0, 1.0])}
    assert len(listed(ds)) == 3
    assert ds.element_spec["b"][1] == tf.TensorSpec([2], tf.float64)
    with pytest.raises(TypeError, match="datasets"):
        D.zip((ten, [1, 2]))


@pytest.mark.parametrize("buffer", [1, 3, 10, 100])
def test_shuffle_is_a_permutation_within_the_buffer(ten, buffer):
    tf.random.set_seed(4)
    order = listed(ten.shuffle(buffer))
    assert sorted(order) == list(range(10))
    assert all(value < position + buffer for position, value in enumerate(order))
    assert (order == list(range(10))) == (buffer == 1)


def test_a_buffer_for_everything(ten):
    got = listed(ten.filter(lambda x: True).shuffle(tf.data.UNKNOWN_CARDINALITY, seed=2))
    assert sorted(got) == list(range(10))
    assert got != list(range(10))


def test_shuffle_across_tables():
    ds = D.range(1000).concatenate(generated(range(1000, 1100))).concatenate(D.range(2000, 3000))
    got = listed(ds.shuffle(50, seed=1))
    assert sorted(got) == listed(ds)
    assert got != listed(ds)


def test_shuffle_repeats_with_the_seed():
    def orders(**options):
        tf.random.set_seed(7)
        ds = D.range(30).shuffle(30, **options)
        return [listed(ds), listed(ds)]

    for options in ({}, {"seed": 3}):
        first, second = orders(**options)
        assert first != second
        assert orders(**options) == [first, second]
    first, second = orders(seed=3, reshuffle_each_iteration=False)
    assert first == second
    tf.random.set_seed(8)
    assert listed(D.range(30).shuffle(30, seed=3, reshuffle_each_iteration=False)) != first


def test_every_repetition_is_shuffled_anew():
    got = listed(D.range(20).shuffle(20).repeat(2))
    assert sorted(got[:20]) == list(range(20))
    assert got[:20] != got[20:]


def test_a_shuffle_draws_uniformly():
    counts = np.zeros((6, 6))
    ds = D.range(6).shuffle(6, seed=1)
    for _ in range(600):
        for position, value in enumerate(listed(ds)):
            counts[position, value] += 1
    assert np.abs(counts / 600 - 1 / 6).max() < 0.07


def test_rows_of_several_columns_stay_together():
    n = 500
    x = np.arange(n * 3).reshape(n, 3)
    pairs = D.zip((D.from_tensor_slices((x, x[:, 0])), D.from_tensor_slices(x[:, 1])))
    for buffer in (50, n):
        seen = []
        for (row, first), second in pairs.shuffle(buffer).repeat(2).batch(64):
            np.testing.assert_array_equal(row[:, 0], first)
            np.testing.assert_array_equal(row[:, 1], second)
            seen += first.numpy().tolist()
        assert sorted(seen) == sorted(2 * x[:, 0].tolist())


def test_cache_runs_what_is_before_it_once(ten):
    calls = []

    def count(x):
        calls.append(1)
        return x

    ds = ten.map(lambda x: tf.py_function(count, [x], tf.int64)).cache()
    calls.clear()
    list(ds.take(2))  # an iteration that does not reach the end keeps nothing
    assert len(calls) == 2
    assert listed(ds) == listed(ds) == listed(ds.batch(10).unbatch()) == list(range(10))
    assert len(calls) == 12
    with pytest.raises(NotImplementedError, match="file"):
        ten.cache("path")


def test_choosing():
    a, b = D.range(3), D.range(10, 15)
    assert listed(D.choose_from_datasets([a, b], D.from_tensor_slices(np.array([1, 0, 1, 1])))) == [10, 0, 11, 12]
    got = listed(D.sample_from_datasets([a.repeat(), b.repeat()], [0.9, 0.1], seed=1).take(500))
    assert 400 < sum(v < 10 for v in got) < 490
    assert sorted(listed(D.sample_from_datasets([a, b]))) == [0, 1, 2, 10, 11, 12, 13, 14]
    with pytest.raises(ValueError, match="weights"):
        D.sample_from_datasets([a, b], [1.0])


def test_random():
    assert listed(D.random(seed=1).take(3)) == listed(D.random(seed=1).take(3))
    ds = D.random(seed=1, rerandomize_each_iteration=True).take(3)
    assert listed(ds) != listed(ds)
    assert all(0 <= v < 2**32 for v in listed(ds))


# ------------------------------------------------------------------------------------------------ grouping
def test_batches_of_batches(ten):
    ds = ten.batch(2).batch(2, drop_remainder=True)
    assert [np.shape(b) for b in listed(ds)] == [(2, 2), (2, 2)]
    assert ds.element_spec.shape.as_list() == [2, None]
    assert len(listed(ten.batch(4))) == 3


def test_elements_of_unequal_shape_are_no_batch():
    ds = D.range(1, 4).map(lambda n: tf.ones([n]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"different shapes in component 0.*\[1\].*\[2\]"):
        list(ds.batch(2))
    with pytest.raises(ValueError, match="greater than zero"):
        ds.batch(0)


def test_padded_batch():
    ds = D.range(1, 4).map(lambda n: {"a": tf.fill([n], n), "b": tf.cast(n, tf.float32)})
    (batch,) = listed(ds.padded_batch(3))
    assert batch == {"a": [[1, 0, 0], [2, 2, 0], [3, 3, 3]], "b": [1.0, 2.0, 3.0]}
    (batch,) = listed(ds.padded_batch(3, {"a": [5], "b": []}, {"a": tf.constant(-1, tf.int64), "b": None}))
    assert batch["a"][0] == [1, -1, -1, -1, -1]
    one = D.range(1, 4).map(lambda n: tf.ones([n, 2]))
    (batch,) = listed(one.padded_batch(3, padded_shapes=(None, 3), padding_values=9.0))
    assert np.shape(batch) == (3, 3, 3)
    assert one.padded_batch(2, [None, 3]).element_spec.shape.as_list() == [None, None, 3]
    with pytest.raises(tf.errors.InvalidArgumentError, match="size 3 cannot be padded to size 2"):
        list(one.padded_batch(3, [2, 2]))


def test_unbatch_and_rebatch(ten):
    assert listed(ten.batch(4).unbatch()) == list(range(10))
    assert listed(ten.batch(4).rebatch(5)) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    with pytest.raises(ValueError, match="scalar"):
        _ = ten.unbatch().element_spec


@pytest.mark.parametrize(
    ("size", "shift", "stride", "drop"),
    [(3, None, 1, False), (3, 1, 1, True), (2, 3, 2, False), (4, 5, 1, True), (2, 1, 3, True), (1, 4, 1, False)],
)
def test_windows(ten, size, shift, stride, drop):
    starts = range(0, 10, size if shift is None else shift)
    wanted = [list(range(s, min(10, s + (size - 1) * stride + 1), stride)) for s in starts]
    wanted = [w for w in wanted if len(w) == size or not drop]
    ds = ten.window(size, shift, stride, drop)
    assert [[int(x) for x in w] for w in ds] == wanted
    assert listed(ds.flat_map(lambda w: w.batch(size))) == wanted
    if ten.cardinality() == 10:
        assert len(ds) == len(wanted)


def test_windows_of_structures_are_structures_of_datasets():
    ds = D.from_tensor_slices({"a": [1, 2, 3], "b": [4.0, 5.0, 6.0]}).window(2)
    first = next(iter(ds))
    assert [int(x) for x in first["a"]] == [1, 2]
    assert isinstance(ds.element_spec["a"], tf.data.DatasetSpec)
    got = listed(ds.flat_map(lambda w: D.zip((w["a"].batch(2), w["b"].batch(2)))))
    assert got == [([1, 2], [4.0, 5.0]), ([3], [6.0])]


def test_group_by_window(ten):
    ds = ten.group_by_window(lambda x: x % 2, lambda key, group: group.batch(3), window_size=3)
    assert listed(ds) == [[0, 2, 4], [1, 3, 5], [6, 8], [7, 9]]


def test_bucket_by_sequence_length():
    ds = generated([1, 2, 3, 4, 5, 6]).map(lambda n: tf.fill([n], n))
    got = listed(ds.bucket_by_sequence_length(lambda x: tf.shape(x)[0], [3, 5], [2, 2, 2]))
    assert got == [[[1, 0], [2, 2]], [[3, 3, 3, 0], [4, 4, 4, 4]], [[5, 5, 5, 5, 5, 0], [6, 6, 6, 6, 6, 6]]]
    with pytest.raises(ValueError, match="bucket_batch_sizes"):
        ds.bucket_by_sequence_length(lambda x: tf.shape(x)[0], [3], [2])


# ------------------------------------------------------------------------------------------- what a dataset is
@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda d: d, 10),
        (lambda d: d.repeat(3).batch(4), 8),
        (lambda d: d.batch(4, drop_remainder=True), 2),
        (lambda d: d.skip(4).take(20), 6),
        (lambda d: d.repeat(), tf.data.INFINITE_CARDINALITY),
        (lambda d: d.repeat().take(3), 3),
        (lambda d: d.filter(lambda x: x > 1), tf.data.UNKNOWN_CARDINALITY),
        (lambda d: d.filter(lambda x: x > 1).apply(tf.data.experimental.assert_cardinality(8)), 8),
        (lambda d: d.concatenate(d.repeat()), tf.data.INFINITE_CARDINALITY),
        (lambda d: D.zip((d, d.repeat())), 10),
        (lambda d: d.batch(5, drop_remainder=True).unbatch(), 10),
        (lambda d: d.shuffle(3).map(lambda x: x).prefetch(1).cache(), 10),
        (lambda d: d.flat_map(D.from_tensors), tf.data.UNKNOWN_CARDINALITY),
    ],
)
def test_cardinality(make, count):
    ds = make(D.range(10))
    assert ds.cardinality().dtype is tf.int64
    assert int(ds.cardinality()) == int(tf.data.experimental.cardinality(ds)) == count
    if count >= 0:
        assert len(ds) == len(list(ds)) == count
    else:
        with pytest.raises(TypeError, match="infinite" if count == -1 else "unknown"):
            len(ds)
    assert bool(ds)


def test_a_wrong_assertion_of_the_cardinality():
    with pytest.raises(tf.errors.FailedPreconditionError, match="contain 4 elements but contained 3"):
        list(D.range(3).apply(tf.data.experimental.assert_cardinality(4)))


def test_single_elements():
    assert int(D.range(3, 4).get_single_element()) == 3
    for ds in (D.range(0), D.range(2)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Dataset"):
            ds.get_single_element()


def test_iterators():
    it = iter(D.range(2))
    assert it.element_spec == tf.TensorSpec([], tf.int64)
    assert int(it.get_next()) == 0
    assert bool(it.get_next_as_optional().has_value())
    assert not bool(it.get_next_as_optional().has_value())
    with pytest.raises(tf.errors.OutOfRangeError, match="End of sequence"):
        it.get_next()
    with pytest.raises(StopIteration):
        next(it)
    numpy = next(D.from_tensor_slices(np.ones([1, 2])).as_numpy_iterator())
    numpy[0] = 5.0
    assert isinstance(numpy, np.ndarray)


def test_options_are_kept():
    options = tf.data.Options()
    options.deterministic = False
    options.threading.private_threadpool_size = 3
    ds = D.range(3).with_options(options).map(lambda x: x)
    assert ds.options().deterministic is False
    assert ds.options().threading.private_threadpool_size == 3
    with pytest.raises(AttributeError, match="nonsense"):
        options.nonsense = 1


def test_what_is_no_dataset():
    with pytest.raises(TypeError, match="from_"):
        D([1, 2])
    with pytest.raises(TypeError, match="must return"):
        D.range(2).apply(lambda ds: 3)
    assert "BatchDataset" in repr(D.range(3).batch(2))
    for name in ("TextLineDataset", "TFRecordDataset"):
        assert not hasattr(tf.data, name)
