"""Programs over sequences that grow or are cut to sizes that only the data knows."""

import itertools

import numpy as np
from programs.traced import both

import tapejit as tf

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
