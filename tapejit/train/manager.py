"""`tf.train.CheckpointManager`: one checkpoint after another in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tapejit.core import places
from tapejit.train.checkpoint import Checkpoint
from tapejit.train.state import CheckpointState, get_checkpoint_state, latest_checkpoint, path_of, write_state


class CheckpointManager:
    """Saves a checkpoint again and again into one folder and keeps the last `max_to_keep` (`tf.train.CheckpointManager`).

    With `keep_checkpoint_every_n_hours` one in so many hours stays besides. With `checkpoint_interval` only steps of `step_counter` that
    lie that far apart are saved. A manager of a folder goes on where the last one stopped. ValueError for arguments that do not fit.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: Any,
        max_to_keep: int | None,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str = "ckpt",
        step_counter: Any = None,
        checkpoint_interval: int | None = None,
        init_fn: Callable[[], Any] | None = None,
    ) -> None:
        if max_to_keep is not None and max_to_keep <= 0:
            raise ValueError(places.with_place(f"Expected a positive integer or `None` for `max_to_keep`, got {max_to_keep}."))
        if checkpoint_interval is not None and step_counter is None:
            raise ValueError(places.with_place("`step_counter` should be passed if `checkpoint_interval` is not None."))
        self._checkpoint, self._folder, self._name = checkpoint, Path(directory), checkpoint_name
        self._max_to_keep, self._hours = max_to_keep, keep_checkpoint_every_n_hours
        self._step_counter, self._interval, self._init = step_counter, checkpoint_interval, init_fn
        self._last_step: int | None = None
        state = get_checkpoint_state(directory)
        listed = [] if state is None else list(zip(state.all_model_checkpoint_paths, _times(state), strict=True))
        self._kept = {path: when for path, when in listed if path_of(path).exists()}
        self._preserved = state.last_preserved_timestamp if state is not None and state.last_preserved_timestamp else time.time()
        self._latest = latest_checkpoint(directory)

    @property
    def directory(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def checkpoint(self) -> Checkpoint:
        """What is saved."""
        return self._checkpoint

    @property
    def checkpoint_interval(self) -> int | None:
        """The steps between two checkpoints."""
        return self._interval

    @property
    def checkpoints(self) -> list[str]:
        """The paths of the checkpoints that are kept, oldest first."""
        return list(self._kept)

    @property
    def latest_checkpoint(self) -> str | None:
        """The path of the latest checkpoint."""
        return self._latest

    def save(self, checkpoint_number: Any = None, check_interval: bool = True, options: Any = None) -> str | None:
        """Save; the path, or None where the interval has not passed. A checkpoint is removed only when the new one is on the disk."""
        if self._interval is not None:
            step = int(self._step_counter)
            if check_interval and self._last_step is not None and step - self._last_step < self._interval:
                return None
            self._last_step = step
        if checkpoint_number is None:
            checkpoint_number = self._checkpoint.save_counter.assign_add(1)
        path = self._checkpoint.write(str(self._folder / f"{self._name}-{int(checkpoint_number)}"))
        self._kept.pop(path, None)
        self._kept[path] = time.time()
        self._latest = path
        self._record()
        self._sweep()
        return path

    def _record(self) -> None:
        assert self._latest is not None
        write_state(self._folder, CheckpointState(self._latest, list(self._kept), list(self._kept.values()), self._preserved))

    def _sweep(self) -> None:
        """Remove the oldest, but for those to be preserved, which are kept no longer in the list."""
        removed = []
        while self._max_to_keep is not None and len(self._kept) > self._max_to_keep:
            path = next(iter(self._kept))
            when = self._kept.pop(path)
            if self._hours is not None and when - self._hours * 3600 >= self._preserved:
                self._preserved = when
            else:
                removed.append(path)
        if removed:
            self._record()
        for path in removed:
            path_of(path).unlink(missing_ok=True)

    def restore_or_initialize(self) -> str | None:
        """Restore the latest checkpoint and give its path; without one call `init_fn` and give None."""
        if self._latest is not None:
            self._checkpoint.restore(self._latest)
            if self._interval is not None:
                self._last_step = int(self._step_counter)
            return self._latest
        if self._init is not None:
            self._init()
        return None


def _times(state: CheckpointState) -> list[float]:
    missing = len(state.all_model_checkpoint_paths) - len(state.all_model_checkpoint_timestamps)
    return [time.time()] * missing + state.all_model_checkpoint_timestamps
