"""tf.train.CheckpointManager, the state file, and averages of variables."""

import os

import numpy as np
import pytest

import tapejit as tf
from tapejit.train import manager as module


@pytest.fixture
def step():
    return tf.Variable(0)


def names(paths):
    return [os.path.basename(p) for p in paths]


def test_the_last_ones_are_kept(tmp_path, step):
    ckpt = tf.train.Checkpoint(step=step)
    manager = tf.train.CheckpointManager(ckpt, tmp_path / "new" / "folder", max_to_keep=2)
    assert manager.latest_checkpoint is None
    assert manager.checkpoints == []
    for k in range(4):
        step.assign(10 + k)
        assert manager.save().endswith(f"ckpt-{k + 1}")
    assert names(manager.checkpoints) == ["ckpt-3", "ckpt-4"]
    assert sorted(os.listdir(manager.directory)) == ["checkpoint", "ckpt-3.safetensors", "ckpt-4.safetensors"]
    assert tf.train.latest_checkpoint(manager.directory) == manager.latest_checkpoint
    ckpt.restore(manager.checkpoints[0])
    assert int(step) == 12


def test_a_new_manager_goes_on(tmp_path, step):
    ckpt = tf.train.Checkpoint(step=step)
    tf.train.CheckpointManager(ckpt, tmp_path, 3).save()
    other = tf.train.Checkpoint(step=tf.Variable(-1))
    manager = tf.train.CheckpointManager(other, tmp_path, 3, init_fn=lambda: pytest.fail("there is a checkpoint"))
    assert names([manager.restore_or_initialize()]) == ["ckpt-1"]
    assert int(other.step) == 0
    assert names([manager.save()]) == ["ckpt-2"]
    assert names(manager.checkpoints) == ["ckpt-1", "ckpt-2"]
    state = tf.train.get_checkpoint_state(tmp_path)
    assert names(state.all_model_checkpoint_paths) == ["ckpt-1", "ckpt-2"]
    assert names([state.model_checkpoint_path]) == ["ckpt-2"]


def test_without_a_checkpoint_init_fn_is_called(tmp_path, step):
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(step=step), tmp_path, 1, init_fn=lambda: step.assign(5))
    assert manager.restore_or_initialize() is None
    assert int(step) == 5
    assert tf.train.latest_checkpoint(tmp_path) is None


def test_intervals(tmp_path, step):
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(step=step), tmp_path, None, checkpoint_name="m", step_counter=step, checkpoint_interval=3
    )
    saved = []
    for k in range(8):
        step.assign(k)
        saved.append(manager.save() is not None)
    assert saved == [True, False, False, True, False, False, True, False]
    assert manager.save(check_interval=False) is not None
    assert names([manager.save(checkpoint_number=100, check_interval=False)]) == ["m-100"]
    assert manager.checkpoint_interval == 3


def test_one_in_so_many_hours_stays(tmp_path, step, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0] + 1.0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(step=step), tmp_path, 1, keep_checkpoint_every_n_hours=2)
    for _ in range(6):
        now[0] += 3600
        manager.save()
    left = sorted(f for f in os.listdir(tmp_path) if f.endswith(".safetensors"))
    assert left == ["ckpt-2.safetensors", "ckpt-4.safetensors", "ckpt-6.safetensors"]
    assert names(manager.checkpoints) == ["ckpt-6"]


def test_moved_folders(tmp_path, step):
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(step=step), tmp_path / "a", 2)
    manager.save()
    os.rename(tmp_path / "a", tmp_path / "b")
    assert tf.train.latest_checkpoint(tmp_path / "b") == str(tmp_path / "b" / "ckpt-1")


def test_bad_arguments(tmp_path, step):
    ckpt = tf.train.Checkpoint(step=step)
    with pytest.raises(ValueError, match="max_to_keep"):
        tf.train.CheckpointManager(ckpt, tmp_path, 0)
    with pytest.raises(ValueError, match="step_counter"):
        tf.train.CheckpointManager(ckpt, tmp_path, 1, checkpoint_interval=2)


@pytest.mark.parametrize("traced", [False, True])
def test_moving_averages(traced):
    v, w = tf.Variable([1.0, 2.0]), tf.Variable(3.0)
    average = tf.train.ExponentialMovingAverage(0.9)
    apply = tf.function(lambda: average.apply([v, w])) if traced else lambda: average.apply([v, w])
    apply()
    v.assign([2.0, 4.0])
    apply()
    np.testing.assert_allclose(average.average(v).numpy(), [1.1, 2.2], rtol=1e-6)
    np.testing.assert_allclose(average.average(w).numpy(), 3.0, rtol=1e-6)
    assert average.average(tf.Variable(0.0)) is None


def test_moving_averages_that_count():
    v = tf.Variable(1.0)
    average = tf.train.ExponentialMovingAverage(0.9, num_updates=1)
    average.apply([v])
    v.assign(2.0)
    average.apply([v])
    np.testing.assert_allclose(average.average(v).numpy(), 1 + 9 / 11, rtol=1e-6)
    average = tf.train.ExponentialMovingAverage(0.5, zero_debias=True)
    average.apply([v])
    np.testing.assert_allclose(average.average(v).numpy(), 2.0, rtol=1e-6)
    with pytest.raises(TypeError, match="floating"):
        average.apply([tf.Variable(1)])
