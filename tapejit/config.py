"""`tf.config`: switches of the process."""

from __future__ import annotations

from tapejit.function import functions_run_eagerly, run_functions_eagerly

__all__ = ["functions_run_eagerly", "run_functions_eagerly"]
