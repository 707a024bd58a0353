"""Where operations run: there is one device, the CPU. `tf.device` and the lists of `tf.config`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tapejit.core import places

__all__ = ["device"]


class PhysicalDevice(NamedTuple):
    """A device of the machine (`tf.config.PhysicalDevice`)."""

    name: str
    device_type: str


class LogicalDevice(NamedTuple):
    """A device as programs name it (`tf.config.LogicalDevice`)."""

    name: str
    device_type: str


class LogicalDeviceConfiguration(NamedTuple):
    """How a device would be divided (`tf.config.LogicalDeviceConfiguration`)."""

    memory_limit: int | None = None
    experimental_priority: int | None = None
    experimental_device_ordinal: int | None = None


CPU = PhysicalDevice("/physical_device:CPU:0", "CPU")
_NAME = re.compile(r"/?(?:/?(?:job:\w+|replica:\d+|task:\d+|device:\w+(?::(?:\d+|\*))?|(?:cpu|gpu|tpu)(?::(?:\d+|\*))?))*", re.IGNORECASE)


class device:
    """Within, operations run where they always run, on the CPU (`tf.device`). ValueError for what is no name of a device."""

    def __init__(self, device_name: str | LogicalDevice | None) -> None:
        if callable(device_name):
            raise RuntimeError(places.with_place("tf.device does not support functions when eager execution is enabled."))
        name: Any = device_name.name if isinstance(device_name, LogicalDevice | PhysicalDevice) else device_name
        if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
            raise ValueError(places.with_place(f"Failed to parse device name: {name!r}; write for example '/CPU:0'"))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None
