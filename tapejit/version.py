"""The version, read by packaging and by the cache's keys."""

__version__ = "0.1.0"
