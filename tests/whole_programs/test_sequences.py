"""Programs over sequences that grow or are cut to sizes that only the data knows."""

import itertools

import numpy as np

import tapejit as tf
from tests.whole_programs.traced import both

RNG = np.random.default_rng(0)


def test_beam_search_with_sequences_that_grow():
    count, width, length = 5, 5**3, 4
    scores = RNG.normal(size=(count, count)).astype(np.float32)

    def build(wrap):
        transitions = tf.nn.log_softmax(tf.constant(scores))

        @wrap
        def search(start):
            sequences = tf.fill([width, 1], start)
            total = tf.concat([[0.0], tf.fill([width - 1], -np.inf)], 0)

            def body(i, sequences, total):
                candidates = total[:, None] + tf.gather(transitions, sequences[:, -1])
                best, at = tf.math.top_k(tf.reshape(candidates, [-1]), k=width)
                sequences = tf.concat([tf.gather(sequences, at // count), (at % count)[:, None]], axis=1)
                return i + 1, sequences, best

            i = tf.constant(0)
            shapes = [i.shape, tf.TensorShape([width, None]), total.shape]
            _, sequences, total = tf.while_loop(lambda i, *_: i < length, body, [i, sequences, total], shape_invariants=shapes)
            return sequences[0], total[0]

        return search(tf.constant(0))

    sequence, total = both(build)
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))

    def score(path):
        return sum(log_p[a, b] for a, b in itertools.pairwise(path))

    best = max(((0, *rest) for rest in itertools.product(range(count), repeat=length)), key=score)
    assert tuple(sequence.numpy()) == best
    np.testing.assert_allclose(total, score(best), rtol=1e-5)


def test_function_with_masks_in_a_loop_that_other_functions_call():
    def build(wrap):
        @wrap
        def above(x):
            total = tf.constant(0.0)
            for i in tf.range(3):
                kept = tf.boolean_mask(x, x > tf.cast(i, tf.float32))
                total += tf.reduce_sum(kept * kept[::-1]) + kept[0]
            return total

        @wrap
        def twice(x):
            return above(x) + above(2.0 * x)

        return twice(tf.constant([1.0, 4.0, 2.0, 3.0, 5.0]))

    def above(x):
        return sum((m * m[::-1]).sum() + m[0] for m in (x[x > i] for i in range(3)))

    x = np.array([1.0, 4.0, 2.0, 3.0, 5.0])
    np.testing.assert_allclose(both(build), above(x) + above(2 * x))


def test_edit_distance_row_by_row():
    one, other = [[ord(c) for c in text] for text in ("kitten sitting", "sitting kitten")]

    def build(wrap):
        @wrap(input_signature=[tf.TensorSpec([None], tf.int32)] * 2)
        def distance(a, b):
            row = tf.range(tf.shape(b)[0] + 1)
            for i in tf.range(tf.shape(a)[0]):
                left = i + 1
                cells = tf.TensorArray(tf.int32, size=tf.shape(row)[0]).write(0, left)
                for j in tf.range(tf.shape(b)[0]):
                    left = tf.minimum(tf.minimum(left, row[j + 1]) + 1, row[j] + tf.cast(a[i] != b[j], tf.int32))
                    cells = cells.write(j + 1, left)
                row = cells.stack()
            return row[-1]

        return distance(tf.constant(one), tf.constant(other)), distance(tf.constant([1, 2, 3]), tf.constant([1, 3]))

    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    assert [int(d) for d in both(build)] == [row[-1], 1]


def test_chain_of_labels_summed_and_decoded():
    batch, length, labels = 2, 4, 3
    fits = RNG.normal(size=(batch, length, labels)).astype(np.float32)
    moves = RNG.normal(size=(labels, labels)).astype(np.float32)
    lengths = [4, 2]

    def build(wrap):
        between = tf.Variable(moves)

        @wrap
        def partition(fits, lengths):
            with tf.GradientTape() as tape:
                tape.watch(fits)
                total = fits[:, 0]
                for t in tf.range(1, length):
                    onward = tf.reduce_logsumexp(total[:, :, None] + between[None], axis=1) + fits[:, t]
                    total = tf.where((t < lengths)[:, None], onward, total)
                z = tf.reduce_logsumexp(total, axis=-1)
            return z, *tape.gradient(z, [fits, between])

        @wrap
        def decode(fits):
            best = fits[:, 0]
            came = tf.TensorArray(tf.int32, length - 1)
            for t in tf.range(1, length):
                ways = best[:, :, None] + between
                came = came.write(t - 1, tf.argmax(ways, axis=1, output_type=tf.int32))
                best = tf.reduce_max(ways, 1) + fits[:, t]
            at = tf.argmax(best, 1, output_type=tf.int32)
            path = tf.TensorArray(tf.int32, length).write(length - 1, at)
            for t in tf.range(length - 2, -1, -1):
                at = tf.gather(came.read(t), at, batch_dims=1)
                path = path.write(t, at)
            return tf.transpose(path.stack())

        return partition(tf.constant(fits), tf.constant(lengths)), decode(tf.constant(fits))

    (z, share, _), paths = both(build)

    def score(b, path):
        return sum(fits[b, t, k] for t, k in enumerate(path)) + sum(moves[a, c] for a, c in itertools.pairwise(path))

    for b, n in enumerate(lengths):
        every = [score(b, p) for p in itertools.product(range(labels), repeat=n)]
        np.testing.assert_allclose(z[b], np.log(np.sum(np.exp(every))), rtol=1e-5)
        assert tuple(paths[b].numpy()) == max(itertools.product(range(labels), repeat=length), key=lambda p, b=b: score(b, p))
    np.testing.assert_allclose(np.sum(share, (1, 2)), lengths, rtol=1e-5)  # of each step, the probabilities of its labels
