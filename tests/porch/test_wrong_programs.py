"""Wrong programs, eagerly and traced: the message says what was expected and found, and quotes the line of the user's that did it."""

import pytest

import tapejit as tf

V, I, F, S = tf.Variable([1.0, 2.0]), tf.constant([1, 2]), tf.constant([1.0, 2.0]), tf.constant(3)
M, IM, K = tf.ones([2, 3]), tf.ones([1, 8, 8, 3]), tf.ones([3, 3, 3, 4])
leak = []
tf.function(lambda x: leak.append(x * 2.0), autograph=False)(F)

# fmt: off
WRONG = [  # (what the message says, the program)
    ('Cannot convert 2.5 to EagerTensor of dtype int32; where it', lambda: tf.constant([1,2])*2.5),
    ('Cannot convert 2.5 to EagerTensor of dtype int32; where it', lambda: 2.5*I),
    ("Attempt to convert a value ('abc') with an unsupported type", lambda: tf.constant("abc")),
    ("Attempt to convert a value (['a', 'b']) with an unsupported", lambda: tf.constant(["a","b"])),
    ('Attempt to convert a value (None) with an unsupported type', lambda: tf.constant(None)),
    ("Attempt to convert a value ({'a': 1}) with an unsupported", lambda: tf.constant({"a":1})),
    ("Can't convert non-rectangular Python sequence to Tensor:", lambda: tf.constant([[1,2],[3]])),
    ('Cannot convert 300 to EagerTensor of dtype uint8; it holds', lambda: tf.constant(300, tf.uint8)),
    ('Cannot convert 1.5 to EagerTensor of dtype int32; where it', lambda: tf.constant(1.5, tf.int32)),
    ('Eager execution of tf.constant with unsupported shape.', lambda: tf.constant([1,2,3], shape=[2,2])),
    ('TensorSpec(shape=<unknown>, dtype=tf.float32, name=None) as', lambda: tf.function(lambda x: x, input_signature=[tf.TensorSpec(None)]).get_concrete_function()),
    ("Cannot convert the argument `type_value`: 'flot32' to a", lambda: tf.TensorSpec([2], "flot32")),
    ('the shape of a tf.TensorSpec is a list of sizes, None or', lambda: tf.TensorSpec("abc")),
    ('input depth must be evenly divisible by filter depth: 3 vs 5', lambda: tf.nn.conv2d(IM, tf.ones([3,3,5,4]), 1, "SAME")),
    ('padding must be "SAME", "VALID" or a list of (before,', lambda: tf.nn.conv2d(IM, K, 1, "FULL")),
    ('an input of rank 4 or more is expected, got shape [2, 3];', lambda: tf.nn.conv2d(M, K, 1, "SAME")),
    ('strides must be at least 1, got [0, 0]', lambda: tf.nn.conv2d(IM, K, 0, "SAME")),
    ('kernel must be at least 1, got [0, 0]', lambda: tf.nn.max_pool2d(IM, 0, 1, "SAME")),
    ("data_format must be 'NHWC' or 'NCHW', got 'NHCW'", lambda: tf.nn.max_pool2d(IM, 2, 2, "SAME", data_format="NHCW")),
    ('matmul of f32[2, 3] and f32[2, 3]: the inner sizes 3 and 2', lambda: M @ M),
    ('; write tf.cast(x, tf.float32)', lambda: tf.matmul(M, tf.ones([3,2], tf.float64))),
    ('matmul takes operands of rank 2 or more, got f32[2] and', lambda: tf.matmul(F, F)),
    ('add of f32[2] and f32[3]: sizes 2 and 3 differ', lambda: F + tf.ones([3])),
    ('; write tf.cast(x, tf.float32)', lambda: F + I),
    ("Attempt to convert a value ('a') with an unsupported type", lambda: F + "a"),
    ('Attempt to convert a value (None) with an unsupported type', lambda: F + None),
    ('reshape: f32[2, 3] has 6 elements, shape [4, 2] needs 8;', lambda: tf.reshape(M, [4,2])),
    ('Only one input size may be -1, not both 0 and 1', lambda: tf.reshape(M, [-1,-1])),
    ('reshape: f32[2, 3] has 6 elements, shape [1, 2] needs 2;', lambda: tf.reshape(M, [1.5, 2])),
    ('Invalid reduction dimension: axis 2 is out of range for', lambda: tf.reduce_sum(M, axis=2)),
    ('Invalid reduction dimension: axes [0, 0] name an axis twice', lambda: tf.reduce_sum(M, axis=[0,0])),
    ("an axis is an integer, or a list of them, not 'rows'", lambda: tf.reduce_mean(M, axis="rows")),
    ('Invalid reduction dimension: axis 5 is out of range for', lambda: tf.argmax(M, axis=5)),
    ('concat: axis = 3 not in [-2, 2)', lambda: tf.concat([M,M], axis=3)),
    ('concat: sizes of all inputs should match outside of axis 0:', lambda: tf.concat([M, tf.ones([3,4])], axis=0)),
    ('; write tf.cast(x, tf.float32)', lambda: tf.concat([F, I], axis=0)),
    ('Shapes of all inputs must match: values[0].shape = [2] !=', lambda: tf.stack([F, tf.ones([3])])),
    ('Number of ways to split should evenly divide the split', lambda: tf.split(M, 2, axis=1)),
    ('Determined shape must either match input shape along', lambda: tf.split(M, [1,1], axis=1)),
    ('unstack: num is 3, axis 0 has size 2', lambda: tf.unstack(M, num=3)),
    ('transpose expects a vector of size 2, a permutation of the', lambda: tf.transpose(M, [0,0])),
    ('transpose expects a vector of size 2, a permutation of the', lambda: tf.transpose(M, [0,1,2])),
    ('expand_dims: axis = 4 not in [-3, 3)', lambda: tf.expand_dims(M, 4)),
    ('Can not squeeze dim[0], expected a dimension of 1, got 2', lambda: tf.squeeze(M, axis=0)),
    ('5 is not in [0, 2)', lambda: tf.gather(F, 5)),
    ('indices must be integers, got float32; write', lambda: tf.gather(F, 0.5)),
    ('gather: axis = 2 not in [-2, 2)', lambda: tf.gather(M, [0], axis=2)),
    ('not index into shape [2, 3]', lambda: tf.gather_nd(M, [[0,7]])),
    ('slice index 5 of dimension 0 out of bounds.', lambda: F[5]),
    ('slice index [0, 0]: too many indices, 2 for a tensor of', lambda: F[0,0]),
    ('Only integers, slices (`:`), ellipsis (`...`), tf.newaxis', lambda: F[1.5]),
    ('Only integers, slices (`:`), ellipsis (`...`), tf.newaxis', lambda: F["a"]),
    ('a tensor does not support item assignment: write x =', lambda: F.__setitem__(0, 1.0)),
    ('slice step must be non-zero: strides[...] must be non-zero', lambda: F[::0]),
    ('Expected size[0] in [0, 1], but got 5; begin[0] is 1, the', lambda: tf.slice(F, [1], [5])),
    ('Dimension -2 must be >= 0 in shape [-2]', lambda: tf.one_hot(I, -2)),
    ('tf.range: Requires delta != 0: 0', lambda: tf.range(0, 5, 0)),
    ("Cannot convert the argument `type_value`: 'flaot32' to a", lambda: tf.cast(F, "flaot32")),
    ('Cannot convert the argument `type_value`: None to a tapejit', lambda: tf.cast(F, None)),
    ('Dimension -1 must be >= 0 in shape [-1, 2]', lambda: tf.zeros([-1, 2])),
    ('a shape is a list of sizes, an int or an integer tensor,', lambda: tf.zeros("ab")),
    ('a size of the shape is None; write -1 in tf.reshape, or', lambda: tf.ones([None, 2])),
    ('value must be a scalar, got shape [2]', lambda: tf.fill([2], [1,2])),
    ('Dimension -1 must be >= 0 in shape [-1]', lambda: tf.eye(-1)),
    ('Requires num > 0: 0', lambda: tf.linspace(0.0, 1.0, 0)),
    ('tf.where: condition must be bool, got float32; write a', lambda: tf.where(F, F, F)),
    ('select of bool[3] and f32[2] and f32[2]: sizes 3 and 2', lambda: tf.where([True,False,True], F, F)),
    ('The truth value of a tensor with shape (2,) is ambiguous;', lambda: tf.cond(F, lambda: 1, lambda: 2)),
    ('The loop body must return as many values as there are loop', lambda: tf.while_loop(lambda i: i < 3, lambda i: (i+1, i), [tf.constant(0)])),
    ("module 'tapejit' has no attribute 'reduce_summ'; did you", lambda: tf.reduce_summ(F)),
    ("module 'tapejit.nn' has no attribute 'reluu'; did you mean", lambda: tf.nn.reluu(F)),
    ("Cannot assign value to variable 'Variable:0': Shape", lambda: V.assign([1.0,2.0,3.0])),
    ('Variable:0 has dtype float32 and cannot be assigned a int32', lambda: V.assign(tf.constant([1,2]))),
    ("Attempt to convert a value ('a') with an unsupported type", lambda: V.assign_add("a")),
    ("a tensor has no attribute 'assign': tensors are immutable;", lambda: F.assign(F)),
    ("<tf.Tensor 'mul_:0' shape=(2,) dtype=float32> is out of", lambda: leak[0] + 1.0),
    ('Argument `target` should be a list or nested structure of', lambda: tf.GradientTape().gradient(None, V)),
    ('axis 4 is out of range for rank 2; write an axis from -2 to', lambda: tf.nn.softmax(M, axis=4)),
    ('`labels.shape` must equal `logits.shape` except for the', lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.constant([0,1,2]), logits=M)),
    ('`labels.shape.rank` must equal `logits.shape.rank - 1`.', lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(I, F)),
    ('labels must be integers, got float32; write tf.cast(labels,', lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=F, logits=M)),
    ('9 is not in [0, 3)', lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.constant([0,9]), logits=M)),
    ('mul of f32[2, 4] and f32[2, 3]: sizes 4 and 3 differ', lambda: tf.nn.softmax_cross_entropy_with_logits(labels=tf.ones([2,4]), logits=M)),
    ('`rate` must be a scalar tensor or a float in the range [0,', lambda: tf.nn.dropout(F, 1.5)),
    ("Attempt to convert a value ('a') with an unsupported type", lambda: tf.clip_by_value(F, "a", 1.0)),
    ('`t_list` should be a sequence of tensors. Received <class', lambda: tf.clip_by_global_norm(F, 1.0)),
    ("einsum 'ij,jk->ik': axis 'j': sizes 3 and 2 differ", lambda: tf.einsum("ij,jk->ik", M, M)),
    ("einsum 'ij,jk=ik': 'jk=ik' must be letters and at most one", lambda: tf.einsum("ij,jk=ik", M, M)),
    ('tensordot: axis 1 of [2, 3] against axis 0 of [2, 3]: sizes', lambda: tf.tensordot(M, M, 1)),
    ('cholesky: Input matrix must be square, got f32[2, 3]', lambda: tf.linalg.cholesky(M)),
    ('Input is not invertible.', lambda: tf.linalg.inv(tf.zeros([2,2]))),
    ('solve: the matrix f32[2, 2] has 2 rows, the right-hand side', lambda: tf.linalg.solve(tf.eye(2), tf.ones([3,1]))),
    ('input must be at least 2-dim, received shape: []', lambda: tf.linalg.diag_part(tf.constant(1.0))),
    ('Dimension -2 must be >= 0 in shape [-2]', lambda: tf.random.normal([-2])),
    ('Argument `dtype` got invalid value int32: expected a', lambda: tf.random.normal([2], dtype=tf.int32)),
    ('Must specify maxval for integer dtype int32; write for', lambda: tf.random.uniform([2], dtype=tf.int32)),
    ('seed must have shape [2], not [3]', lambda: tf.random.stateless_normal([2], seed=[1,2,3])),
    ('tile of f32[2, 3]: multiples need 2 entries, got 1', lambda: tf.tile(M, [2])),
    ('The first dimension of paddings must be the rank of inputs:', lambda: tf.pad(M, [[1,1]])),
    ("Value of argument `mode` expected to be one of 'CONSTANT',", lambda: tf.pad(M, [[1,1],[1,1]], "MIRROR")),
    ('reverse: axis = 3 not in [-2, 2)', lambda: tf.reverse(M, [3])),
    ('roll: axis = 5 not in [-2, 2)', lambda: tf.roll(M, 1, 5)),
    ('input must have at least k columns. Had 2, needed 5', lambda: tf.math.top_k(F, k=5)),
    ("Argument `direction` should be one of 'ASCENDING' or", lambda: tf.sort(F, direction="UP")),
    ('segment ids are not increasing; write', lambda: tf.math.segment_sum(F, [1,0])),
    ('data.shape = [2] does not start with segment_ids.shape = [3]', lambda: tf.math.unsorted_segment_sum(F, [0,1,2], 2)),
    ('not index into shape [3]', lambda: tf.scatter_nd([[5]], [1.0], [3])),
    ('not index into shape [2]', lambda: tf.tensor_scatter_nd_update(F, [[7]], [1.0])),
    ('Invalid reduction dimension: axis 3 is out of range for', lambda: tf.cumsum(F, axis=3)),
    ('boolean_mask: Shapes [2] and [1] are incompatible', lambda: tf.boolean_mask(F, [True])),
    ('shape [2] cannot be broadcast to [3]', lambda: tf.broadcast_to(F, [3])),
    ('Shape of tensor [2] is not compatible with expected shape', lambda: tf.ensure_shape(F, [3])),
    ('The truth value of a tensor with shape (2,) is ambiguous;', lambda: bool(F)),
    ('; write tf.', lambda: 1 if F > 1.0 else 2),
    ('only tensors with one element can be converted to a Python', lambda: int(F)),
    ('only tensors with one element can be converted to a Python', lambda: float(F)),
    ('Cannot iterate over a scalar tensor; write tf.range(x) to', lambda: list(S)),
    ('Scalar tensor has no `len()`; tf.size(x) is 1', lambda: len(S)),
    ('bitwise_and is not defined for float32; it takes integers,', lambda: tf.bitwise.bitwise_and(F, F)),
    ('logical_and is not defined for float32; it takes bool', lambda: tf.logical_and(F, F)),
    ('sqrt is not defined for int32; it takes floating-point,', lambda: tf.sqrt(I)),
    ('exp is not defined for bool; it takes floating-point,', lambda: tf.exp(tf.constant(True))),
    ("Attempt to convert a value ('abc') with an unsupported type", lambda: tf.reduce_mean("abc")),
    ('; write tf.cast(x, tf.float32)', lambda: tf.pow(F, I)),
    ('tf.map_fn: elements in elems must be 1+ dimensional', lambda: tf.map_fn(lambda x: x, S)),
    ('\n  at ', lambda: tf.scan(lambda a,x: tf.stack([a,x]), F)),
    ("'ord' must be a supported vector norm, got abc", lambda: tf.norm(F, ord="abc")),
    ('mul of f32[2, 3] and f32[2]: sizes 3 and 2 differ', lambda: tf.nn.batch_normalization(M, F, F, None, None, 1e-3)),
    ('7 is not in [0, 2)', lambda: tf.nn.embedding_lookup(M, [7])),
    ("'images' must have either 3 or 4 dimensions, got shape (2,)", lambda: tf.image.resize(F, [2,2])),
    ('input has 3 channels, the depthwise filter [3, 3, 5, 1] is', lambda: tf.nn.depthwise_conv2d(IM, tf.ones([3,3,5,1]), [1,1,1,1], "SAME")),
    ('a filter of rank 3, [*kernel, in_channels, out_channels],', lambda: tf.nn.conv1d(IM, K, 1, "SAME")),
    ('output_shape [1, 8, 8, 9] has 9 channels, the filter [3, 3,', lambda: tf.nn.conv2d_transpose(IM, K, [1,8,8,9], 1)),
    ('Must provide as many biases as the last dimension of the', lambda: tf.nn.bias_add(M, F)),
    ('Invalid reduction dimension: axis 7 is out of range for', lambda: tf.math.l2_normalize(M, axis=7)),
    ('axis 9 is out of range for rank 2; write an axis from -2 to', lambda: tf.nn.moments(M, axes=[9])),
    ('custom, decorated with tf.custom_gradient, must return', lambda: tf.custom_gradient(lambda x: x)(F)),
    ('Binding inputs to tf.function failed due to `missing a', lambda: tf.function(lambda x: x)()),
    ('Binding inputs to tf.function failed due to `Can not cast', lambda: tf.function(lambda x: x, input_signature=[tf.TensorSpec([3])])(F)),
    ('To be compatible with tf.function, Python functions must', lambda: tf.function(lambda x: object())(F)),
    ('initial_value must be specified: tf.Variable(0.0) or', lambda: tf.Variable(None)),
    ("The initial value's shape ((1,)) is not compatible with the", lambda: tf.Variable([1.0], shape=[2])),
]
# fmt: on


def tape_used_twice():
    with tf.GradientTape() as tape:
        y = V * 2.0
    tape.gradient(y, V)
    return tape.gradient(y, V)


def watched_text():
    with tf.GradientTape() as tape:
        tape.watch("x")


def source_of_text():
    with tf.GradientTape() as tape:
        y = V * 2.0
    return tape.gradient(y, "v")


def output_gradients_of_another_shape():
    with tf.GradientTape() as tape:
        y = V * 2.0
    return tape.gradient(y, V, output_gradients=tf.ones([3]))


def target_of_none():
    with tf.GradientTape() as tape:
        y = V * 2.0
    return tape.gradient([y, None], V)


def unknown_choice():
    with tf.GradientTape() as tape:
        y = V * 2.0
    return tape.gradient(y, V, unconnected_gradients="nul")


def not_a_number():
    x = tf.constant([1.0, 0.0]) / 0.0
    return tf.debugging.check_numerics(x, "the quotient")


def not_equal():
    tf.debugging.assert_equal(F, F + 1.0)


TAPES = [
    ("tf.GradientTape(persistent=True)", tape_used_twice),
    ("Passed in object x of type 'str'", watched_text),
    ("every element of `sources` must be a tf.Tensor or tf.Variable, got 'v'", source_of_text),
    ("output gradient 0 has shape (3,), its target (2,)", output_gradients_of_another_shape),
    ("every element of `target` must be a tf.Tensor or tf.Variable, got None", target_of_none),
    ("unconnected_gradients: 'nul'", unknown_choice),
    ("the quotient : Tensor had Inf and NaN values", not_a_number),
    ("did not hold element-wise", not_equal),
]


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize(("says", "program"), [pytest.param(*row, id=f"{k}-{row[0][:40]}") for k, row in enumerate(WRONG + TAPES)])
def test_the_message_says_what_is_wrong_and_quotes_the_line(says, program, traced):
    with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError)) as caught:
        tf.function(program, autograph=False)() if traced else program()
    message = str(caught.value)
    assert says in message
    lines = sorted({line for _, _, line in program.__code__.co_lines() if line})
    quoted = [k for k in lines if f"\n  at {__file__}:{k}\n" in message]
    assert quoted, message
    assert message.count(f"{__file__}:{quoted[0]}\n") == 1, "once is enough"


def test_a_branch_or_loop_that_changes_its_type_is_refused_where_it_is_traced():
    @tf.function
    def branches():
        return tf.cond(S > 2, lambda: F, lambda: I)

    @tf.function
    def grows():
        return tf.while_loop(lambda x: tf.reduce_sum(x) < 10.0, lambda x: tf.concat([x, x], 0), [F])

    for program, says in (
        (branches, "dtype float32 in true_fn, but dtype int32 in false_fn"),
        (grows, "shape (2,) before the loop, but shape (4,)"),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            program()
        assert says in str(caught.value)
        assert f"\n  at {__file__}:" in str(caught.value)


def test_filters_of_open_size():
    step = tf.function(
        lambda x, k: tf.nn.conv2d(x, k, 1, "VALID"), input_signature=[tf.TensorSpec([1, 8, 8, 3]), tf.TensorSpec([None, None, 3, 4])]
    )
    assert step(IM, K).shape == (1, 6, 6, 4)
    grouped = tf.function(
        lambda x, k: tf.nn.depthwise_conv2d(x, k, [1, 1, 1, 1], "SAME"),
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None, None, 3, 2])],
    )
    assert grouped(IM, tf.ones([3, 3, 3, 2])).shape == (1, 8, 8, 6)
    unknown = tf.function(
        lambda x, k: tf.nn.depthwise_conv2d(x, k, [1, 1, 1, 1], "SAME"),
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 4)],
    )
    with pytest.raises(NotImplementedError, match="number of channels must be known"):
        unknown(IM, tf.ones([3, 3, 3, 2]))
