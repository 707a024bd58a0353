"""`tf.train.CheckpointOptions`: accepted, without effect: checkpoints are written by the process itself."""

from __future__ import annotations

from typing import Any


class CheckpointOptions:
    """TensorFlow's settings of saving."""

    def __init__(
        self,
        experimental_io_device: str | None = None,
        experimental_enable_async_checkpoint: bool = False,
        experimental_write_callbacks: Any = None,
        enable_async: bool = False,
        experimental_skip_slot_variables: bool = False,
        experimental_sharding_callback: Any = None,
    ) -> None:
        self.experimental_io_device, self.experimental_write_callbacks = experimental_io_device, experimental_write_callbacks
        self.experimental_enable_async_checkpoint = self.enable_async = enable_async or experimental_enable_async_checkpoint
        self.experimental_skip_slot_variables, self.experimental_sharding_callback = (
            experimental_skip_slot_variables,
            experimental_sharding_callback,
        )
