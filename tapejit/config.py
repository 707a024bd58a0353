"""`tf.config`: switches of the process. There is one device, so what chooses among devices says so or does nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tapejit.core import places
from tapejit.devices import CPU, LogicalDevice, LogicalDeviceConfiguration, PhysicalDevice
from tapejit.function import functions_run_eagerly, run_functions_eagerly

__all__ = [
    "LogicalDevice", "LogicalDeviceConfiguration", "PhysicalDevice", "experimental", "experimental_functions_run_eagerly",
    "experimental_run_functions_eagerly", "functions_run_eagerly",
    "get_logical_device_configuration", "get_soft_device_placement", "get_visible_devices", "list_logical_devices", "list_physical_devices",
    "optimizer", "run_functions_eagerly", "set_logical_device_configuration", "set_soft_device_placement", "set_visible_devices", "threading",
]  # fmt: skip

experimental_functions_run_eagerly, experimental_run_functions_eagerly = functions_run_eagerly, run_functions_eagerly
_settings: dict[str, Any] = {"inter": 0, "soft": True, "jit": False, "tf32": True, "deterministic": False}
_options: dict[str, Any] = {}


# ---------------------------------------------------------------------------------------------------------- devices
def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The CPU, if it is of `device_type`."""
    return [CPU] if device_type in (None, "CPU") else []


def list_logical_devices(device_type: str | None = None) -> list[LogicalDevice]:
    """The CPU, if it is of `device_type`."""
    return [LogicalDevice("/device:CPU:0", "CPU")] if device_type in (None, "CPU") else []


def get_visible_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The CPU, if it is of `device_type`."""
    return list_physical_devices(device_type)


def set_visible_devices(devices: Any, device_type: str | None = None) -> None:
    """Nothing, for the CPU or for none of another type. ValueError for any other device, and where the CPU would be hidden."""
    listed = (
        []
        if devices is None
        else list(devices)
        if isinstance(devices, list | tuple) and not isinstance(devices, PhysicalDevice)
        else [devices]
    )
    for d in listed:
        _known(d)
    if not listed and device_type in (None, "CPU"):
        raise ValueError(places.with_place("the CPU cannot be hidden: it is the only device"))


def _known(device: Any) -> None:
    if device != CPU:
        raise ValueError(places.with_place(f"Unrecognized device: {device!r}; there is {CPU}"))


def get_logical_device_configuration(device: Any) -> list[LogicalDeviceConfiguration] | None:
    """None: the CPU is not divided."""
    _known(device)
    return None


def set_logical_device_configuration(device: Any, logical_devices: Any) -> None:
    """Nothing for one part. NotImplementedError for several."""
    _known(device)
    if len(logical_devices or []) > 1:
        raise NotImplementedError(places.with_place("several logical devices: operations run on one"))


def get_soft_device_placement() -> bool:
    """What `set_soft_device_placement` was given; operations on devices that are not there run on the CPU in any case."""
    return _settings["soft"]


def set_soft_device_placement(enabled: bool) -> None:
    """Kept, without effect."""
    _settings["soft"] = bool(enabled)


# ---------------------------------------------------------------------------------------------------------- threads
def _set_intra(num_threads: int) -> None:
    """How many threads a step that is compiled from now on may use; 0 for as many as the environment says."""
    if int(num_threads) < 0:
        raise ValueError(places.with_place(f"num_threads must not be negative, got {num_threads}"))
    from tapejit.runtime import host

    host.limit_threads(int(num_threads))


def _intra() -> int:
    from tapejit.runtime import host

    return host.thread_limit()


def _set_inter(num_threads: int) -> None:
    """Kept, without effect: the operations of a step run one after another."""
    _settings["inter"] = int(num_threads)


threading = SimpleNamespace(
    get_intra_op_parallelism_threads=_intra,
    set_intra_op_parallelism_threads=_set_intra,
    get_inter_op_parallelism_threads=lambda: _settings["inter"],
    set_inter_op_parallelism_threads=_set_inter,
)


# -------------------------------------------------------------------------------------------------------- optimizer
def _set_options(options: dict[str, Any]) -> None:
    """Kept, without effect: there is one way to compile."""
    _options.update(options)


def _set_jit(enabled: Any) -> None:
    """Kept, without effect: every function is compiled."""
    _settings["jit"] = enabled


def _get_jit() -> str:
    """What `set_jit` was given, as TensorFlow gives it back."""
    return "autoclustering" if _settings["jit"] in (True, "autoclustering") else ""


optimizer = SimpleNamespace(
    get_experimental_options=lambda: dict(_options), set_experimental_options=_set_options, get_jit=_get_jit, set_jit=_set_jit
)


# ----------------------------------------------------------------------------------------------------- experimental
def _no_memory(device: Any) -> Any:
    raise ValueError(places.with_place(f"memory of {device!r} is not counted: there is only the CPU"))


def _set(name: str, value: Any) -> None:
    _settings[name] = value


experimental = SimpleNamespace(
    VirtualDeviceConfiguration=LogicalDeviceConfiguration,
    enable_op_determinism=lambda: _set("deterministic", True),
    enable_tensor_float_32_execution=lambda enabled: _set("tf32", bool(enabled)),
    tensor_float_32_execution_enabled=lambda: _settings["tf32"],
    get_device_details=lambda device: {},
    get_memory_growth=_no_memory,
    get_memory_info=_no_memory,
    get_memory_usage=_no_memory,
    reset_memory_stats=_no_memory,
    set_memory_growth=lambda device, enable: _known(device),
    get_synchronous_execution=lambda: True,
    set_synchronous_execution=lambda enable: None,
    get_virtual_device_configuration=get_logical_device_configuration,
    set_virtual_device_configuration=set_logical_device_configuration,
    get_visible_devices=get_visible_devices,
    set_visible_devices=set_visible_devices,
    list_logical_devices=list_logical_devices,
    list_physical_devices=list_physical_devices,
    functions_run_eagerly=functions_run_eagerly,
    run_functions_eagerly=run_functions_eagerly,
)
