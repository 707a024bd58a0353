"""Models on several devices: not there, and said so by name. Keras' NumPy backend has no such part, so `tapejit.keras.seat` puts it where Keras looks."""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise NotImplementedError("keras.distribution is not there with tapejit: a model runs in one process, on one device")


list_devices = get_device_count = initialize = distribute_tensor = _to_backend_mesh = _to_backend_layout = _refuse
