"""`tf.train`: checkpoints, and averages of variables."""

from __future__ import annotations

from tapejit.train import experimental
from tapejit.train.averages import ExponentialMovingAverage
from tapejit.train.checkpoint import Checkpoint
from tapejit.train.manager import CheckpointManager
from tapejit.train.options import CheckpointOptions
from tapejit.train.reader import list_variables, load_checkpoint, load_variable
from tapejit.train.state import get_checkpoint_state, latest_checkpoint

__all__ = [
    "Checkpoint", "CheckpointManager", "CheckpointOptions", "ExponentialMovingAverage", "experimental", "get_checkpoint_state",
    "latest_checkpoint", "list_variables", "load_checkpoint", "load_variable",
]  # fmt: skip
