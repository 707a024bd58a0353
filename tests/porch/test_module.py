"""tf.Module and tf.name_scope."""

import copy
import pickle

import pytest

import tapejit as tf


class Dense(tf.Module):
    def __init__(self, size, name=None):
        super().__init__(name=name)
        with self.name_scope:
            self.w = tf.Variable(tf.ones([size, size]), name="w")
            self.b = tf.Variable(tf.zeros([size]), name="b")

    def __call__(self, x):
        return x @ self.w + self.b


class Net(tf.Module):
    def __init__(self):
        super().__init__()
        self.layers = [Dense(2), Dense(3, name="last")]
        self.table = {"z": tf.Variable(1.0), "a": (tf.Variable(2, trainable=False), [Dense(4)])}
        self.again = self.layers[0]
        self.text = "not a variable"


def test_variables_are_found_in_structures_each_once():
    net = Net()
    assert len(net.variables) == 8
    assert len(net.trainable_variables) == 7
    assert [int(v) for v in net.non_trainable_variables] == [2]
    assert [type(m).__name__ for m in net.submodules] == ["Dense"] * 3
    assert net.submodules[0] is net.again


def test_own_variables_come_before_those_of_submodules():
    class Outer(tf.Module):
        def __init__(self):
            super().__init__()
            self.a = Dense(1)
            self.z = tf.Variable(5.0)

    outer = Outer()
    assert outer.variables[0] is outer.z


def test_names():
    assert Net().name == "net"
    assert type("MultiHeadAttention2D", (tf.Module,), {})().name == "multi_head_attention2_d"
    net = Net()
    assert [v.name for v in net.layers[1].variables] == ["last/b:0", "last/w:0"]
    with pytest.raises(ValueError, match="valid module name"):
        tf.Module(name="not a name")


def test_modules_made_in_a_scope_carry_it():
    with tf.name_scope("outer") as scope:
        assert scope == "outer/"
        inner = Dense(1, name="inner")
        with tf.name_scope("deeper"):
            assert tf.Variable(0.0, name="v").name == "outer/deeper/v:0"
    assert inner.w.name == "outer/inner/w:0"
    assert tf.Variable(0.0).name == "Variable:0"


def test_with_name_scope():
    class Lazy(tf.Module):
        @tf.Module.with_name_scope
        def __call__(self, x):
            if not hasattr(self, "w"):
                self.w = tf.Variable(tf.ones([int(x.shape[-1]), 2]), name="w")
            return x @ self.w

    lazy = Lazy()
    assert lazy(tf.ones([1, 3])).shape == (1, 2)
    assert lazy.w.name == "lazy/w:0"
    assert lazy.variables[0] is lazy.w


def test_a_traced_method_that_makes_its_variable():
    class Lazy(tf.Module):
        w = None

        @tf.function
        def __call__(self, x):
            if self.w is None:
                self.w = tf.Variable(tf.ones([2]), name="w")
            return x * self.w

    lazy = Lazy()
    assert lazy(tf.constant([1.0, 2.0])).numpy().tolist() == [1.0, 2.0]
    assert len(lazy.trainable_variables) == 1


def test_without_super_init_the_scope_says_so():
    class Bad(tf.Module):
        def __init__(self):
            pass

    with pytest.raises(ValueError, match="super"):
        _ = Bad().name_scope


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_have_variables_of_their_own(copied):
    net = Dense(2)
    other = copied(net)
    other.b.assign([5.0, 5.0])
    assert net.b.numpy().tolist() == [0.0, 0.0]
    with tf.name_scope("elsewhere"):
        assert copied(net).w.name == "dense/w:0"


def test_a_bad_scope_name():
    with pytest.raises(ValueError, match="string"):
        tf.name_scope(None)
