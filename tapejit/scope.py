"""`tf.name_scope`: a prefix for the names of the variables and modules made within it."""

from __future__ import annotations

import threading

__all__ = ["get_current_name_scope", "name_scope"]


class _Thread(threading.local):
    prefix: str = ""


_thread = _Thread()


def scoped(name: str) -> str:
    """`name` with the scopes around it."""
    return _thread.prefix + name


def get_current_name_scope() -> str:
    """The scopes around, joined by "/", without one at the end; "" outside all."""
    return _thread.prefix.removesuffix("/")


class name_scope:
    """Within, names begin with `name/` and those of the scopes around; a name that ends in "/" replaces these (`tf.name_scope`).

    `with tf.name_scope("a") as scope` gives the whole prefix, "a/". ValueError for a name that is no string.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise ValueError("name for name_scope must be a string.")
        self._name = name
        self._before: list[str] = []  # one object may be entered several times

    @property
    def name(self) -> str:
        """The name as given."""
        return self._name

    def __enter__(self) -> str:
        self._before.append(_thread.prefix)
        if not self._name:
            _thread.prefix = ""
        elif self._name.endswith("/"):
            _thread.prefix = self._name
        else:
            _thread.prefix += f"{self._name}/"
        return _thread.prefix

    def __exit__(self, *error: object) -> None:
        _thread.prefix = self._before.pop()
