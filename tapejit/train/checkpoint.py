"""`tf.train.Checkpoint`: the values of a graph of objects to a file and back."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tapejit.context import init_scope
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.ir.op import thread
from tapejit.train import files, objects
from tapejit.train.objects import Node
from tapejit.train.state import path_of, record_latest
from tapejit.variable import Variable, listen, unlisten

_GRAPH = "tapejit.objects"


class Checkpoint:
    """Objects whose variables are saved together (`tf.train.Checkpoint`).

    Keyword arguments are variables, modules, other checkpoints, generators, iterators over datasets, lists, tuples and dicts of them,
    and anything with `variables`; they become attributes. The attributes of `root`, if given, are saved as if they were this object's.
    ValueError for anything else.
    """

    def __init__(self, root: Any = None, **kwargs: Any) -> None:
        for name, value in [("root", root), *kwargs.items()]:
            if not objects.is_trackable(value) and not (name == "root" and value is None):
                raise ValueError(
                    places.with_place(
                        f"`Checkpoint` was expecting {name} to be a trackable object (an object derived from `Trackable`), got {value!r}; "
                        "write tf.Variable(...) around a number that is to be saved"
                    )
                )
        self._self_root = root
        self._save_counter: Variable | None = None
        self.__dict__.update(kwargs)

    def _trackable_children(self) -> dict[str, Any]:
        own = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        if self._save_counter is not None:
            own["save_counter"] = self._save_counter
        if self._self_root is None:
            return own
        return {**dict(objects.children(self._self_root)), **own}

    @property
    def save_counter(self) -> Variable:
        """How often `save` has been called, an int64 variable that is saved too."""
        return self._counter()

    def _counter(self) -> Variable:
        if self._save_counter is None:
            with init_scope():
                self._save_counter = Variable(0, trainable=False, name="save_counter", dtype=dtypes.int64)
        return self._save_counter

    # --------------------------------------------------------------------------------------- saving
    def write(self, file_prefix: Any, options: Any = None) -> str:
        """Save to exactly `file_prefix` (one file, `.safetensors` appended); returns it. All or nothing, whatever happens meanwhile."""
        _outside("write")
        nodes, found = objects.graph_of(self)
        values = {n.key: objects.value_of(x) for n, x in zip(nodes, found, strict=True) if n.key is not None}
        files.write(path_of(file_prefix), values, {_GRAPH: objects.text_of(nodes)})
        return str(file_prefix)

    def save(self, file_prefix: Any, options: Any = None) -> str:
        """Save to `file_prefix-N`, N counting the calls, and note that as the latest checkpoint of its folder; returns it."""
        _outside("save")
        self.save_counter.assign_add(1)
        path = self.write(f"{file_prefix}-{int(self.save_counter)}")
        record_latest(path)
        return path

    # ------------------------------------------------------------------------------------- restoring
    def read(self, save_path: Any, options: Any = None) -> Status:
        """Give the variables the values of a file that `write` wrote. See `restore`."""
        _outside("read")
        return self._restored(Path(save_path))

    def restore(self, save_path: Any, options: Any = None) -> Status | Nothing:
        """Give the variables the values of a file that `save` or `write` wrote; what is made later gets its value when it is first used.

        NotFoundError if there is no such file, InvalidArgumentError (a ValueError) naming the variable whose shape or dtype does not fit: then
        none is changed. The result can be asked whether everything fitted. None as path restores nothing.
        """
        _outside("restore")
        if save_path is None:
            return Nothing()
        self._counter()
        return self._restored(Path(save_path))

    def _restored(self, path: Path) -> Status:
        restore = Restore(self, files.Arrays(path_of(path)))
        restore.match()
        return Status(self, restore)


def _outside(what: str) -> None:
    if thread.recorder is not None:
        raise NotImplementedError(places.with_place(f"Checkpoint.{what} in a traced function; call it outside"))


class Restore:
    """The values of a file on their way to objects, also to those that are made later. It keeps no object alive."""

    def __init__(self, root: Any, arrays: files.Arrays) -> None:
        self.arrays = arrays
        text = arrays.metadata.get(_GRAPH)
        self.nodes = objects.from_names(iter(arrays)) if text is None else objects.parsed(text)
        self.paths = _paths(self.nodes)
        self.matched: set[int] = set()  # numbers of nodes that have met an object
        self._root = weakref.ref(root)
        self._below = {edge: ref for edge, child in objects.children(root) if (ref := _weak(child)) is not None}

    def match(self) -> None:
        """Restore what has appeared since the last time. InvalidArgumentError, and nothing changed, for a value that does not fit."""
        pairs = [(k, x) for k, x in self.met() if k not in self.matched]
        new = [(self.nodes[k].key or "", k, x) for k, x in pairs if self.nodes[k].key is not None and objects.is_leaf(x)]
        for key, k, x in new:
            self._check(key, self.paths[k], x)
            if isinstance(x, _Awaiting):
                _settled(x)
        with init_scope():
            for key, _, x in new:
                if isinstance(x, Variable):
                    x.assign(self.arrays[key])
                else:
                    x.restore_state(self.arrays[key])
        self.matched.update(k for k, x in pairs if self.nodes[k].key is None or objects.is_leaf(x))
        if self.unused():
            listen(self)
        else:
            unlisten(self)

    def met(self) -> Iterator[tuple[int, Any]]:
        """Pairs of a node and the object that lies along the same edges."""
        root, edges = self._root(), self.nodes[0].edges
        known = {e: x for e, ref in self._below.items() if (x := ref()) is not None} if root is None else dict(objects.children(root))
        yield from [] if root is None else [(0, root)]
        met = {0}
        waiting: deque[tuple[int, Any]] = deque()
        while True:
            for edge, child in known.items():
                to = edges.get(edge)
                if to is not None and to not in met and objects.is_trackable(child):
                    met.add(to)
                    waiting.append((to, child))
            if not waiting:
                return
            k, x = waiting.popleft()
            yield k, x
            edges, known = self.nodes[k].edges, dict(objects.children(x))

    def _check(self, key: str, path: str, x: Any) -> None:
        if not isinstance(x, Variable):
            return
        shape, dtype = self.arrays.shape(key), self.arrays.dtype(key)
        if not x.shape.is_compatible_with(shape) or dtype is not x.dtype:
            raise InvalidArgumentError(
                places.with_place(
                    f"Received incompatible tensor with shape {TensorShape(shape)} and dtype {dtype.name} when attempting to restore variable with "
                    f"shape {x.shape}, dtype {x.dtype.name} and name {x.name} ({path}, stored as {key!r} in {self.arrays.path})"
                )
            )

    def unused(self) -> list[int]:
        """The numbers of the values that no object has taken."""
        return [k for k, node in enumerate(self.nodes) if node.key is not None and k not in self.matched]

    def made(self, variable: Variable) -> None:
        """A variable has been made; its value is looked up when it is first asked for, since only then it is known where it belongs."""
        if self._root() is None and all(ref() is None for ref in self._below.values()):
            unlisten(self)
        elif type(variable) is Variable:
            _await(variable, [self])
        elif type(variable) is _Awaiting:
            variable.__dict__["_self_awaits"][0].append(self)


def _weak(x: Any) -> Any:
    try:
        return weakref.ref(x)
    except TypeError:  # lists and the like live with the checkpoint that lists them
        return None


class Status:
    """What became of the values of a checkpoint: what `restore` and `read` return."""

    def __init__(self, root: Any, restore: Restore) -> None:
        self._root, self._restore = root, restore

    def assert_consumed(self) -> Status:
        """AssertionError unless every value found its object and every variable its value."""
        restore = self._restore
        restore.match()
        unused = [k for k in restore.unused() if k != _counter(restore.nodes)]
        if unused:
            listed = "\n".join(f"  {restore.paths[k]}: {self._described(restore.nodes[k].key or '')}" for k in unused[:10])
            raise AssertionError(
                f"Unresolved object in checkpoint {restore.arrays.path}: {len(unused)} of its values found no variable:\n{listed}"
            )
        return self.assert_existing_objects_matched()

    def _described(self, key: str) -> str:
        arrays = self._restore.arrays
        return f"{arrays.dtype(key).name}{list(arrays.shape(key))}, stored as {key!r}"

    def assert_existing_objects_matched(self) -> Status:
        """AssertionError unless every variable there is now found its value."""
        self._restore.match()
        missing = self._without_value()
        if missing:
            listed = "\n".join(f"  {text}" for text in missing[:10])
            raise AssertionError(
                f"Found {len(missing)} Python objects that were not bound to checkpointed values in {self._restore.arrays.path}, likely due to "
                f"changes in the Python program. Showing {min(10, len(missing))} of {len(missing)} unmatched objects:\n{listed}"
            )
        return self

    def _without_value(self) -> list[str]:
        """The variables that are not in the checkpoint."""
        nodes, found = objects.graph_of(self._root)
        taken = {id(x) for k, x in self._restore.met() if self._restore.nodes[k].key is not None}
        where, own = _paths(nodes), getattr(self._root, "_save_counter", None)
        return [
            f"{path}: {x!r}"
            for path, n, x in zip(where, nodes, found, strict=True)
            if n.key is not None and id(x) not in taken and x is not own
        ]

    def assert_nontrivial_match(self) -> Status:
        """AssertionError unless at least one value found its variable."""
        restore = self._restore
        restore.match()
        if not any(restore.nodes[k].key is not None for k in restore.matched):
            raise AssertionError(f"Nothing except the root object matched a checkpointed value in {restore.arrays.path}.")
        return self

    def expect_partial(self) -> Status:
        """The status itself: nobody is told of what was not used."""
        return self

    def initialize_or_restore(self, session: Any = None) -> None:
        """Nothing: values are restored already."""

    run_restore_ops = initialize_or_restore


def _counter(nodes: list[Node]) -> int | None:
    """The number of the counter of `save`, which `read` has no place for."""
    return nodes[0].edges.get("save_counter")


def _paths(nodes: list[Node]) -> list[str]:
    """How each node is reached, as Python would write it."""
    out = ["" for _ in nodes]
    out[0] = "(root)"
    waiting = deque([0])
    while waiting:
        at = waiting.popleft()
        for edge, child in nodes[at].edges.items():
            if not out[child]:
                out[child] = f"{out[at]}.{edge}" if edge.isidentifier() else f"{out[at]}[{edge if edge.isdigit() else repr(edge)}]"
                waiting.append(child)
    return out


class Nothing:
    """The status of `restore(None)`."""

    def assert_consumed(self) -> Nothing:
        """AssertionError: there was no checkpoint."""
        raise AssertionError("No checkpoint specified (save_path=None); nothing is being restored.")

    assert_existing_objects_matched = assert_nontrivial_match = assert_consumed

    def expect_partial(self) -> Nothing:
        """The status itself."""
        return self

    def initialize_or_restore(self, session: Any = None) -> None:
        """Nothing."""

    run_restore_ops = initialize_or_restore


# ------------------------------------------------------------------------------------- variables made after a restore
_TRIES = 2  # how often a variable looks whether it has been attached to something by now


class _Awaiting(Variable):
    """A variable made while a restored checkpoint has values left: before the first use of its value it looks whether one is its own.

    Only then it can be known where it belongs: it is made first and attached to an object afterwards.
    """

    __slots__ = ()

    @property
    def _value(self) -> Any:  # type: ignore[override]
        self._look()
        return _held.__get__(self)

    @_value.setter
    def _value(self, value: Any) -> None:
        self._look()
        _held.__set__(self, value)

    def _look(self) -> None:
        restores, tries = _settled(self)
        before = _held.__get__(self)
        for restore in restores:
            restore.match()
        if _held.__get__(self) is before and tries > 1:
            _await(self, restores, tries - 1)


_held: Any = Variable.__dict__["_value"]  # where the value is, also while `_Awaiting` hides it


def _await(variable: Variable, restores: list[Restore], tries: int = _TRIES) -> None:
    variable.__dict__["_self_awaits"] = restores, tries
    variable.__class__ = _Awaiting


def _settled(variable: Variable) -> tuple[list[Restore], int]:
    """Have a variable wait no longer; what it waited for."""
    variable.__class__ = Variable
    return variable.__dict__.pop("_self_awaits", ([], 0))
