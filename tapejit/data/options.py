"""`tf.data.Options`: TensorFlow's settings of pipelines. They are kept, and change nothing: pipelines here have one way to run."""

from __future__ import annotations

import copy
from typing import Any

_GROUPS = {
    "autotune": ("autotune_algorithm", "cpu_budget", "enabled", "initial_parallelism", "min_parallelism", "ram_budget"),
    "experimental_distribute": ("auto_shard_policy", "num_devices"),
    "experimental_optimization": (
        "apply_default_optimizations", "filter_fusion", "filter_parallelization", "inject_prefetch", "map_and_batch_fusion",
        "map_and_filter_fusion", "map_fusion", "map_parallelization", "noop_elimination", "parallel_batch", "seq_interleave_prefetch",
        "shuffle_and_repeat_fusion",
    ),
    "experimental_service": ("pinned",),
    "threading": ("max_intra_op_parallelism", "private_threadpool_size"),
}  # fmt: skip
_OWN = ("dataset_name", "deterministic", "experimental_deterministic", "experimental_slack", "experimental_symbolic_checkpoint",
        "experimental_threading", "experimental_warm_start", "framework_type")  # fmt: skip


class _Settings:
    """Names that may be set. AttributeError for any other."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.__dict__.update(dict.fromkeys(names))

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"Cannot set the property {name} on {type(self).__name__}; there are {', '.join(self.__dict__)}")
        self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]


class Options(_Settings):
    """`tf.data.Options()`: set attributes, give it to `Dataset.with_options`."""

    def __init__(self) -> None:
        super().__init__(_OWN)
        self.__dict__.update({group: _Settings(names) for group, names in _GROUPS.items()})

    def merge(self, options: Options) -> Options:
        """These options, with what is set in others in their place."""
        out = copy.deepcopy(self)
        for name, value in options.__dict__.items():
            if isinstance(value, _Settings):
                getattr(out, name).__dict__.update({k: v for k, v in value.__dict__.items() if v is not None})
            elif value is not None:
                out.__dict__[name] = value
        return out
