"""The command that runs Keras' own tests: what it keeps, reads and counts; and what a part of them comes to."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from tests.keras import peers, suite
from tests.keras.page import page

JUNIT = """<testsuites><testsuite>
<testcase classname="dense_test.DenseTest" name="test_a" file="somewhere/dense_test.py"/>
<testcase classname="core.deep_test.DeepTest" name="test_b_('int8', 'bool')"><failure message="m">t</failure></testcase>
<testcase classname="dense_test.DenseTest" name="test_d_[0.5, 1]_x]" file="somewhere/dense_test.py"/>
<testcase classname="dense_test" name="test_c"><skipped message="m"/></testcase>
<testcase classname="" name="core.broken_test"><error message="collection failure"/></testcase>
</testsuite></testsuites>"""


def test_ids_are_found_in_junit_files(tmp_path):
    (tmp_path / "src/layers/core").mkdir(parents=True)
    (tmp_path / "layers.xml").write_text(JUNIT)
    assert peers.from_junit(tmp_path / "layers.xml", tmp_path / "src") == {
        "layers/dense_test.py::DenseTest::test_a": "passed",
        "layers/core/deep_test.py::DeepTest::test_b_('int8', 'bool')": "failed",
        "layers/dense_test.py::DenseTest::test_d_[0.5, 1]_x": "passed",
        "layers/dense_test.py::test_c": "skipped",
        "layers/core/broken_test.py": "failed",
    }


def test_what_is_recorded_is_read_and_replaces_what_was_asked_for_alone(tmp_path):
    assert peers.read("jax", tmp_path) == {}
    peers.record(
        "jax",
        {"ops/a_test.py::A::x": "passed", "ops/b_test.py::B::y": "failed", "layers/c_test.py::z": "skipped"},
        ["ops", "layers"],
        tmp_path,
    )
    peers.record("jax", {"ops/b_test.py::B::y y": "passed"}, ["ops/b_test.py"], tmp_path)
    assert peers.read("jax", tmp_path) == {
        "ops/a_test.py::A::x": "passed",
        "ops/b_test.py::B::y y": "passed",
        "layers/c_test.py::z": "skipped",
    }


@pytest.mark.parametrize("backend", [b for b in peers.BACKENDS if peers.path_of(b).exists()])
def test_the_kept_lists_are_whole(backend):
    found = peers.read(backend)
    assert set(found.values()) <= set(peers.OUTCOMES)
    assert all(".py" in test for test in found)
    assert list(found) == sorted(found)


def test_a_share_counts_what_others_pass():
    jax = {"ops/a_test.py::x": "passed", "ops/a_test.py::y": "failed", "ops/a_test.py::z": "passed", "layers/b_test.py::u": "passed"}
    numpy = {"ops/a_test.py::y": "passed", "layers/b_test.py::u": "skipped"}
    ours = {"ops/a_test.py::x": "passed", "ops/a_test.py::y": "failed", "layers/b_test.py::u": "passed", "ops/a_test.py::more": "passed"}
    found = suite.shares(ours, [jax, numpy], ["ops", "layers"], 1)
    assert found["ops"] == peers.Share(3, ("ops/a_test.py::y", "ops/a_test.py::z"))
    assert found["layers"] == peers.Share(1, ())
    assert found["all"].wanted == 4
    assert suite.shares(ours, [jax, numpy], ["ops/a_test.py"], 1)["all"].wanted == 3
    assert suite.shares(ours, [jax, numpy], ["random"], 1)["all"] == peers.Share(0, ())


def test_a_share_leaves_out_what_needs_libraries_that_are_not_there():
    jax = dict.fromkeys(["ops/a_test.py::x", "ops/a_test.py::y", "ops/b_test.py::z"], "passed")
    ours = {"ops/a_test.py::x": "passed", "ops/a_test.py::y": "absent", "ops/b_test.py": "absent"}
    assert suite.shares(ours, [jax], ["ops"], 1)["ops"] == peers.Share(1, ())


def test_the_page_lists_what_is_not_passed_by_its_reason():
    ours = {"ops/a_test.py::x": "passed", "ops/a_test.py::sparse": "skipped", "ops/a_test.py::y": "failed", "random/b_test.py::z": "passed"}
    jax = dict.fromkeys(ours, "passed")
    said = {"ops/a_test.py::sparse": "Skipped: does not support sparse tensors", "ops/a_test.py::y": "ValueError: odd"}
    text = page("3.15.1", {"tapejit": ours, "jax": jax}, suite.shares(ours, [jax], ["ops", "random"], 1), said)
    assert "| ops | 1/1/1 | 3/0/0 | 3 | 1 | 33.33 % |" in text
    assert "| random | 1/0/0 | 1/0/0 | 1 | 1 | 100.00 % |" in text
    assert "\n1: there are no such sparse tensors\n\n- `ops/a_test.py::sparse`\n" in text
    assert "\n1: `ValueError: odd`\n\n- `ops/a_test.py::y`\n" in text


def test_samples_are_disjoint_from_nothing_and_much_smaller():
    ids = [f"ops/a_test.py::A::test_{k}" for k in range(4000)]
    drawn = [i for i in ids if peers.in_sample(i, 8)]
    assert 350 < len(drawn) < 650
    assert all(peers.in_sample(i, 1) for i in ids)


@pytest.fixture
def small(tmp_path):
    """A folder like keras/src with a test that passes, one that fails, one that is skipped, one that ends its process, and one after it."""
    (tmp_path / "src/ops").mkdir(parents=True)
    (tmp_path / "src/ops/some_test.py").write_text(
        "import os\nimport pytest\nfrom conftest import skip_if_backend\n"
        "def test_a(): pass\n"
        "def test_b(): assert 1 == 2\n"
        "@skip_if_backend('tapejit', 'no reason')\ndef test_c(): pass\n"
        "def test_d(): os._exit(7)\n"
        "@pytest.mark.requires_trainable_backend\ndef test_e(): pass\n"
        "@pytest.mark.multi_device\ndef test_f(): pass\n"
    )
    (tmp_path / "src/ops/broken_test.py").write_text("import no_such_module\n")
    return tmp_path


def test_a_run_goes_on_after_a_test_that_ends_the_process(small):
    found = suite.run("ops", small / "src", small / "log.jsonl", sys.executable, "tapejit", 1, 300.0)
    assert found.outcomes == {
        "ops/broken_test.py": "failed",
        "ops/some_test.py::test_a": "passed",
        "ops/some_test.py::test_b": "failed",
        "ops/some_test.py::test_c": "skipped",
        "ops/some_test.py::test_d": "failed",
        "ops/some_test.py::test_e": "passed",
        "ops/some_test.py::test_f": "skipped",
    }
    assert found.reasons["ops/some_test.py::test_d"] == suite.DIED
    assert "assert 1 == 2" in found.reasons["ops/some_test.py::test_b"]
    assert "no_such_module" in found.reasons["ops/broken_test.py"]
    assert found.reasons["ops/some_test.py::test_c"].endswith("no reason")


def test_files_that_import_what_is_not_installed_are_run_as_far_as_they_go(tmp_path):
    (tmp_path / "src/trainers").mkdir(parents=True)
    (tmp_path / "src/trainers/some_test.py").write_text(
        "import grain\nfrom torch.utils import data\nfrom keras.src import backend\nfrom keras.src.utils import module_utils\n"
        "def test_a(): assert not module_utils.grain.available\n"
        "def test_b(): grain.MapDataset\n"
        "def test_c(): import torch\n"
    )
    (tmp_path / "src/trainers/other_test.py").write_text("import torch\nclass Net(torch.nn.Module): pass\ndef test_d(): pass\n")
    (tmp_path / "src/trainers/trainer_test.py").write_text(
        "from keras.src import backend\n"
        "class TestPyDataset:\n"
        "    def __getitem__(self, k):\n"
        "        CPU_DEVICES = {'tensorflow': 'CPU:0', 'jax': 'cpu:0', 'torch': 'cpu'}\n"
        "        return CPU_DEVICES[backend.backend()]\n"
        "def test_e(): assert TestPyDataset()[0] == 'cpu'\n"
    )
    found = suite.run("trainers", tmp_path / "src", tmp_path / "log.jsonl", sys.executable, "tapejit", 1, 300.0)
    absent = "absent" if find_spec("grain") is None and find_spec("torch") is None else "failed"
    assert found.outcomes == {
        "trainers/some_test.py::test_a": "passed",
        "trainers/some_test.py::test_b": absent,
        "trainers/some_test.py::test_c": absent,
        "trainers/other_test.py": absent,
        "trainers/trainer_test.py::test_e": "passed",
    }


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed, so Keras' tests import it")
def test_files_that_import_tensorflow_get_tapejit_where_that_is_not_installed(tmp_path):
    (tmp_path / "src/ops").mkdir(parents=True)
    (tmp_path / "src/ops/some_test.py").write_text(
        "import tensorflow as tf\nfrom tensorflow import data as tf_data\nfrom keras.src.utils import module_utils\n"
        "def test_a(): assert float(tf.reduce_sum(tf.ones([3]))) == len(list(tf_data.Dataset.range(3)))\n"
        "def test_b(): assert not module_utils.tensorflow.available\n"
        "def test_c():\n    import tensorflow as tf\n    assert tf.__name__ == 'tapejit'\n"
        "def test_d():\n    import tensorflow.compiler.tf2xla\n"
    )
    found = suite.run("ops", tmp_path / "src", tmp_path / "log.jsonl", sys.executable, "tapejit", 1, 300.0)
    outcomes = {"a": "passed", "b": "passed", "c": "passed", "d": "absent"}
    assert found.outcomes == {f"ops/some_test.py::test_{name}": outcome for name, outcome in outcomes.items()}, found.reasons


def test_functions_that_spell_sparse_tensors_or_gradients_spell_tapejits(tmp_path):
    (tmp_path / "src/ops").mkdir(parents=True)
    (tmp_path / "src/ops/some_test.py").write_text(
        "from keras.src import backend\n"
        "def make():\n"
        "    if backend.backend() == 'tensorflow':\n"
        "        import tensorflow as tf\n"
        "        return tf.SparseTensor([[0]], [2.0], [3])\n"
        "    elif backend.backend() == 'jax':\n"
        "        import jax.experimental.sparse as jax_sparse\n"
        "        return jax_sparse.BCOO(([2.0], [[0]]), shape=(3,))\n"
        "def slope():\n"
        "    if backend.backend() == 'tensorflow':\n"
        "        import tensorflow as tf\n"
        "        x = tf.Variable(3.0)\n"
        "        with tf.GradientTape() as tape: y = x * x\n"
        "        return tape.gradient(y, x)\n"
        "def test_a(): assert type(make()).__module__ == 'tapejit.sparse_tensor' and float(slope()) == 6\n"
        "def test_b(): assert backend.backend() == 'tapejit'\n"
    )
    found = suite.run("ops", tmp_path / "src", tmp_path / "log.jsonl", sys.executable, "tapejit", 1, 300.0)
    assert found.outcomes == {"ops/some_test.py::test_a": "passed", "ops/some_test.py::test_b": "passed"}, found.reasons


SUBSET = [  # what takes longest first
    "ops", "layers/core", "layers/rnn", "layers/convolutional", "models", "saving", "layers/reshaping", "layers/attention",
    "layers/pooling", "layers/normalization", "layers/regularization", "layers/activations", "layers/merging", "layers/layer_test.py",
    "metrics", "optimizers", "trainers/trainer_test.py", "losses", "dtype_policies", "activations", "constraints", "initializers",
    "random", "regularizers",
]  # fmt: skip


def test_we_pass_what_others_pass(tmp_path):
    """The groups and folders of which next to nothing needs TensorFlow's strings: some minutes on two cores."""
    ours = suite.run_all(SUBSET, suite.source_of(sys.executable), tmp_path, sys.executable, "tapejit", sample=1, patience=300.0, jobs=2)
    share = suite.shares(ours.outcomes, [peers.read(backend) for backend in peers.BACKENDS], SUBSET, 1)["all"]
    print(share, "of", share.wanted)
    assert share.wanted > 5000, "most of what others pass was left out: is it for want of a library?"
    assert share.percent >= 98, "\n".join(suite.lines(share.missing, ours))
