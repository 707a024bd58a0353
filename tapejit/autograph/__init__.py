"""`tf.autograph`: Python's control flow in traced functions."""

from tapejit.autograph.convert import converted, do_not_convert

__all__ = ["converted", "do_not_convert"]
