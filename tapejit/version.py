"""The version, read by packaging and by the cache's keys."""

__version__ = "0.1.0"

VERSION = __version__
GIT_VERSION = COMPILER_VERSION = "unknown"
