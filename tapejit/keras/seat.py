"""The seat in Keras that tapejit takes: Keras has no plug-in point for backends, so ours is served under its NumPy backend's name.

In: an interpreter in which Keras has not been imported. Out: the real `keras`, whose backend is `tapejit.keras.implementation`. A finder on
`sys.meta_path` answers imports of `keras.src.backend.numpy` and its submodules with our modules; no code of Keras is copied.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SEAT = "keras.src.backend.numpy"
API = "keras._tf_keras.keras"  # what TensorFlow gives as tf.keras: Keras, with some names of its own
HOME = "tapejit.keras.implementation"
SUPPORTED = (3, 15)
_ON_TENSORFLOW = (  # modules of Keras that speak to TensorFlow whatever the backend is
    "legacy.backend",  # K.mean and its kin
    "utils.rng_utils",  # set_random_seed, which seeds tf.random as well
    "saving.serialization_lib",  # shapes, dtypes and specs within a config
)
INSTALL = "pip install 'tapejit[keras]'"


class Lender(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A finder that answers imports of `borrowed` and its submodules with `home` and its submodules, the same objects."""

    def __init__(self, borrowed: str, home: str) -> None:
        self._borrowed, self._home = borrowed, home
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._borrowed and not name.startswith(self._borrowed + "."):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = self._home + spec.name.removeprefix(self._borrowed)
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name) from None
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:  # the import system has just put the borrowed name's spec into a module that has one of its own
            module.__spec__ = self._specs.pop(spec.name)


class _AsTensorFlow:
    """tapejit for what Keras writes on TensorFlow; it also asks whether tensors are ragged, which none is."""

    class RaggedTensor:
        """What no tensor is."""

    available = True

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(importlib.import_module("tapejit"), name)
        except AttributeError:
            raise ImportError(
                f"this part of Keras uses tf.{name} of TensorFlow, which tapejit does not have: pip install tensorflow"
            ) from None


@cache
def take() -> ModuleType:
    """The real `tf.keras` with tapejit in the seat.

    Raises ImportError if Keras is not installed, is of another version, has been imported with another backend, or if the environment
    asks for another backend.
    """
    chosen = os.environ.get("KERAS_BACKEND", "")
    if chosen not in ("", "tapejit"):
        raise ImportError(
            f"KERAS_BACKEND is {chosen!r}, but tf.keras of tapejit runs Keras on tapejit; write before the imports:\n"
            "    import os; os.environ['KERAS_BACKEND'] = 'tapejit'\n    import tapejit as tf"
        )
    present = sys.modules.get("keras")
    if present is not None:
        raise ImportError(
            "keras was imported before tapejit could give it its backend; write in this order:\n"
            "    import tapejit as tf\n    keras = tf.keras"
        )
    _check_version()
    finder = Lender(SEAT, HOME)
    sys.meta_path.insert(0, finder)
    os.environ["KERAS_BACKEND"] = "numpy"
    try:
        keras = importlib.import_module("keras")
    except BaseException:
        sys.meta_path.remove(finder)
        for name in [n for n in sys.modules if n == "keras" or n.startswith(("keras.", HOME))]:
            del sys.modules[name]
        raise
    finally:
        if chosen:
            os.environ["KERAS_BACKEND"] = chosen
        else:
            del os.environ["KERAS_BACKEND"]
    vars(importlib.import_module("keras.src.backend.config"))["_BACKEND"] = "tapejit"  # what keras.backend.backend() answers
    importlib.import_module("tapejit.keras.implementation.optimizer").install(keras.optimizers.Optimizer)
    distribution = importlib.import_module("tapejit.keras.implementation.distribution")
    vars(importlib.import_module("keras.src.distribution.distribution_lib"))["distribution_lib"] = distribution
    _lead_to_ours(importlib.import_module("keras.src.utils.backend_utils").DynamicBackend, importlib.import_module("keras.src.backend"))
    _stand_for_tensorflow()
    importlib.import_module(API + ".saving")  # which it does not import itself
    for name, module in list(sys.modules.items()):  # names that only Keras itself has, such as losses.mean_squared_error
        if name.startswith("keras.") and API + name.removeprefix("keras") in sys.modules:
            there = vars(sys.modules[API + name.removeprefix("keras")])
            there.update({k: v for k, v in vars(module).items() if not k.startswith("_") and k not in there})
    return importlib.import_module(API)


def _stand_for_tensorflow() -> None:
    """Have parts of Keras that are written on TensorFlow, whatever its backend, find tapejit where it has what they use."""
    if find_spec("tensorflow") is None:  # datasets from arrays; lookup layers, which ask first, need TensorFlow's tables
        lazy = importlib.import_module("keras.src.utils.module_utils").tensorflow
        lazy.module, lazy._available = _AsTensorFlow(), False
    for part in _ON_TENSORFLOW:
        vars(importlib.import_module("keras.src." + part))["tf"] = _AsTensorFlow()


def _lead_to_ours(dynamic: type, backend: ModuleType) -> None:
    """Have Keras' preprocessing layers, which may switch to TensorFlow's backend in its pipelines, find ours by its name."""
    others = dynamic.__getattr__  # type: ignore[attr-defined]

    def found(self: Any, name: str) -> Any:
        return getattr(backend, name) if self._backend == "tapejit" else others(self, name)

    dynamic.__getattr__ = found  # type: ignore[attr-defined]


def _check_version() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("keras")
    except PackageNotFoundError:
        raise ImportError(f"tf.keras needs Keras, which is not installed: {INSTALL}") from None
    if tuple(int(part) for part in found.split(".")[:2]) != SUPPORTED:
        wanted = ".".join(map(str, SUPPORTED))
        raise ImportError(f"tf.keras needs Keras {wanted}, but {found} is installed: {INSTALL}")
