"""`fit`, `evaluate`, `predict` and their kin: Keras' loops around one compiled step, which takes batches of every size."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from keras.src import callbacks as callbacks_module
from keras.src import metrics as metrics_module
from keras.src import optimizers as optimizers_module
from keras.src import tree
from keras.src.backend import config
from keras.src.trainers import trainer as base_trainer
from keras.src.trainers.data_adapters import data_adapter_utils
from keras.src.utils import traceback_utils
from keras.src.utils.python_utils import pythonify_logs

import tapejit as tf
from tapejit.keras.implementation.batches import Batches, as_arrays, split
from tapejit.keras.implementation.core import convert_to_numpy

_DRAWN = 0.05  # seconds between two looks of a progress bar, which is how often Keras draws it


class Step:
    """A step of a model as a traced function of a batch. The first trace leaves the number of examples open, so that there is but one."""

    def __init__(self, step: Callable[[Any], Any]) -> None:
        self._function = tf.function(step, reduce_retracing=True, on_retrace="ignore", guard="off")
        self._prepared = False

    def __call__(self, batch: Any, fixed: bool = False) -> Any:
        """What the step gives for a batch; if `fixed`, the first trace is for just its size."""
        if not self._prepared:
            self._prepared = True
            if not fixed:
                self._function.get_concrete_function(_open(batch))
        return self._function(batch)


def _open(batch: Any) -> Any:
    """The types of a batch with the number of examples left open, which is one number where the arrays agree in it."""
    sizes = {len(x) for x in tree.flatten(batch) if np.ndim(x)}
    name = "batch" if len(sizes) == 1 else None

    def spec(x: Any) -> Any:
        if isinstance(x, tf.SparseTensor):
            (indices, values, *vector), rest = x.to_parts()
            elements = [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in (indices, values)]
            return tf.SparseTensor.from_parts(rest, (*elements, *(tf.TensorSpec.from_tensor(v) for v in vector)))
        if not hasattr(x, "shape") or not x.shape:
            return x
        return tf.TensorSpec([name, *x.shape[1:]], tf.as_dtype(x.dtype))

    return tree.map_structure(spec, batch)


class TapejitTrainer(base_trainer.Trainer):
    """The backend's part of `keras.Model`."""

    def __init__(self) -> None:
        super().__init__()
        self.train_function: Any = None
        self.test_function: Any = None
        self.predict_function: Any = None

    # ----------------------------------------------------------------------------------------- steps
    def train_step(self, data: Any) -> Any:
        """Loss, gradients and update for one batch; the metrics by name. What users override."""
        x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True) if self._call_has_training_arg else self(x)
            loss = self._loss_of(x, y, y_pred, sample_weight, training=True)
            if self.optimizer is not None:
                loss = self.optimizer.scale_loss(loss)
        if self.trainable_weights:
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def test_step(self, data: Any) -> Any:
        """Loss and metrics for one batch. What users override."""
        x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(data)
        y_pred = self._predicted(x)
        self._loss_of(x, y, y_pred, sample_weight, training=False)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def predict_step(self, data: Any) -> Any:
        """What the model says of one batch. What users override."""
        return self._predicted(data_adapter_utils.unpack_x_y_sample_weight(data)[0])

    def _predicted(self, x: Any) -> Any:
        return self(x, training=False) if self._call_has_training_arg else self(x)

    def _loss_of(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        loss = self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        examples = tf.shape(next(i for i in tree.flatten(x) if i is not None))[0]
        self._loss_tracker.update_state(loss, sample_weight=examples)
        return loss

    # ------------------------------------------------------------------------------- compiled steps
    def _made(self, step: Callable[[Any], Any], join: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """The function of a list of batches that takes the step for each; `join` puts results together."""
        one: Callable[..., Any] = (lambda batch, fixed=False: step(_tensors(batch))) if self.run_eagerly else Step(step)

        def several(batches: list[Any], fixed: bool = False) -> Any:
            out = one(batches[0], fixed)
            for batch in batches[1:]:
                out = join(out, one(batch, fixed))
            return out

        return several

    def make_train_function(self, force: bool = False) -> Any:
        """Have `train_function`, a function of a list of batches."""
        if self.train_function is None or force:
            self.train_function = self._made(self.train_step, _latest)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Have `test_function`, a function of a list of batches."""
        if self.test_function is None or force:
            self.test_function = self._made(self.test_step, _latest)
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Any:
        """Have `predict_function`, a function of a list of batches."""
        if self.predict_function is None or force:
            self.predict_function = self._made(self.predict_step, _joined)
        return self.predict_function

    # ----------------------------------------------------------------------------------------- loops
    @traceback_utils.filter_traceback
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> Any:
        """Keras' `Model.fit`."""
        self._assert_compile_called("fit")
        limit = config.max_epochs()
        if limit and limit < epochs:
            warnings.warn(f"Limiting epochs to {limit}", stacklevel=2)
            epochs = limit
        self._eval_epoch_iterator: Any = None
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split((x, y, sample_weight), validation_split)
        validation: Any = None
        if validation_data is not None:
            validation = dict(zip(("x", "y", "sample_weight"), data_adapter_utils.unpack_x_y_sample_weight(validation_data), strict=True))
            validation["batch_size"] = validation_batch_size or batch_size
        batches = Batches(
            x=x, y=y, sample_weight=sample_weight, batch_size=batch_size, steps_per_epoch=steps_per_epoch, shuffle=shuffle,
            class_weight=class_weight, steps_per_execution=self.steps_per_execution,
        )  # fmt: skip
        batches.reset()
        callbacks = self._listed(callbacks, batches, verbose, epochs, add_history=True)
        self.stop_training = False
        self.make_train_function()
        callbacks.on_train_begin()
        training_logs, logs = None, {}
        for epoch in range(self._initial_epoch or initial_epoch, epochs):
            self.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            with batches.catch_stop_iteration(), _Listeners(callbacks, "train") as listeners:
                for first, last, data in batches:
                    listeners.begin(first)
                    logs = self.train_function(data, batches.fixed)
                    listeners.end(last, logs)
                    if self.stop_training:
                        break
            epoch_logs = dict(self._get_metrics_result_or_logs(logs))
            if validation is not None and self._should_eval(epoch, validation_freq):
                if self._eval_epoch_iterator is None:
                    self._eval_epoch_iterator = Batches(
                        **validation, steps_per_execution=self.steps_per_execution, steps_per_epoch=validation_steps, shuffle=False
                    )
                found = self.evaluate(
                    **validation, steps=validation_steps, callbacks=callbacks, return_dict=True, _use_cached_eval_dataset=True
                )
                epoch_logs.update({f"val_{name}": value for name, value in found.items()})
            callbacks.on_epoch_end(epoch, epoch_logs)
            training_logs = epoch_logs
            if self.stop_training:
                break
        if isinstance(self.optimizer, optimizers_module.Optimizer) and epochs > 0:
            self.optimizer.finalize_variable_values(self.trainable_weights)
        del self._eval_epoch_iterator
        callbacks.on_train_end(logs=training_logs)
        return self.history

    @traceback_utils.filter_traceback
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Keras' `Model.evaluate`."""
        self._assert_compile_called("evaluate")
        cached = kwargs.pop("_use_cached_eval_dataset", False)
        if kwargs:
            raise ValueError(f"Arguments not recognized: {kwargs}")
        batches = (
            self._eval_epoch_iterator
            if cached
            else Batches(
                x=x, y=y, sample_weight=sample_weight, batch_size=batch_size, steps_per_epoch=steps, shuffle=False,
                steps_per_execution=self.steps_per_execution,
            )
        )  # fmt: skip
        batches.reset()
        callbacks = self._listed(callbacks, batches, verbose, 1)
        self.make_test_function()
        self.stop_evaluating = False
        callbacks.on_test_begin()
        logs: Any = {}
        self.reset_metrics()
        with batches.catch_stop_iteration(), _Listeners(callbacks, "test") as listeners:
            for first, last, data in batches:
                listeners.begin(first)
                logs = self.test_function(data, batches.fixed)
                listeners.end(last, logs)
                if self.stop_evaluating:
                    break
        logs = pythonify_logs(self._get_metrics_result_or_logs(logs))
        callbacks.on_test_end(logs)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    @traceback_utils.filter_traceback
    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None, callbacks: Any = None) -> Any:
        """Keras' `Model.predict`: NumPy arrays."""
        batches = Batches(x=x, batch_size=batch_size, steps_per_epoch=steps, shuffle=False, steps_per_execution=self.steps_per_execution)
        callbacks = self._listed(callbacks, batches, verbose, 1)
        self.make_predict_function()
        self.stop_predicting = False
        callbacks.on_predict_begin()
        found: list[Any] = []
        with batches.catch_stop_iteration(), _Listeners(callbacks, "predict") as listeners:
            for first, last, data in batches:
                listeners.begin(first)
                found.append(self.predict_function(data, batches.fixed))
                listeners.end(last, {"outputs": found[-1]})
                if self.stop_predicting:
                    break
        callbacks.on_predict_end()
        return tree.map_structure(lambda *parts: np.concatenate([convert_to_numpy(p) for p in parts]), *found)

    def _listed(self, callbacks: Any, batches: Batches, verbose: Any, epochs: int, add_history: bool = False) -> Any:
        """The callbacks as Keras' list of them, with those that are always there."""
        if isinstance(callbacks, callbacks_module.CallbackList):
            return callbacks
        return callbacks_module.CallbackList(
            callbacks,
            add_history=add_history,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=batches.num_batches,
            model=self,
        )

    # -------------------------------------------------------------------------------- single batches
    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False) -> Any:
        """Keras' `Model.train_on_batch`."""
        self._assert_compile_called("train_on_batch")
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError(
                    "Arguments `sample_weight` and `class_weight` cannot be specified at the same time. "
                    f"Received: sample_weight={sample_weight}, class_weight={class_weight}"
                )
            sample_weight = data_adapter_utils.class_weight_to_sample_weights(as_arrays(y), class_weight)
        self.make_train_function()
        return self._on_batch(self.train_function, (x, y, sample_weight), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Keras' `Model.test_on_batch`."""
        self._assert_compile_called("test_on_batch")
        self.make_test_function()
        return self._on_batch(self.test_function, (x, y, sample_weight), return_dict)

    def _on_batch(self, function: Callable[..., Any], batch: Any, return_dict: bool) -> Any:
        self.reset_metrics()
        logs = pythonify_logs(function([batch]))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """Keras' `Model.predict_on_batch`: NumPy arrays."""
        self.make_predict_function()
        return tree.map_structure(convert_to_numpy, self.predict_function([(x,)]))

    # ------------------------------------------------------------------- what custom steps of old call
    @property
    def compiled_metrics(self) -> Any:
        """An object whose `update_state(y, y_pred, sample_weight=None)` updates all metrics; write `model.compute_metrics` instead."""
        return _CompiledMetrics(self)

    def compiled_loss(self, y: Any, y_pred: Any, sample_weight: Any = None, regularization_losses: Any = None) -> Any:
        """The loss; write `model.compute_loss` instead."""
        warnings.warn(
            "`model.compiled_loss()` is deprecated. Instead, use `model.compute_loss(x, y, y_pred, sample_weight)`.", stacklevel=2
        )
        return self.compute_loss(x=None, y=y, y_pred=y_pred, sample_weight=sample_weight)


NumpyTrainer = TapejitTrainer  # the name that is asked for in the seat


class _CompiledMetrics:
    """What `model.compiled_metrics` is."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update all metrics of the model."""
        warnings.warn("`model.compiled_metrics` is deprecated. Instead, use `model.compute_metrics(x, y, y_pred)`.", stacklevel=2)
        for metric in self._model.metrics:
            if isinstance(metric, metrics_module.Mean):
                metric.update_state(y_pred, sample_weight=sample_weight)
            else:
                metric.update_state(y, y_pred, sample_weight=sample_weight)


class _Listeners:
    """Tells callbacks of batches: all, if any of them listens, but a progress bar alone only as often as it is drawn, and of the last one."""

    def __init__(self, callbacks: Any, phase: str) -> None:
        hooks = ("on_batch_begin", "on_batch_end", f"on_{phase}_batch_begin", f"on_{phase}_batch_end")
        base = callbacks_module.Callback
        found = [c for c in callbacks.callbacks if any(getattr(type(c), h) is not getattr(base, h) or h in vars(c) for h in hooks)]
        self._all, self._bar = any(not isinstance(c, callbacks_module.ProgbarLogger) for c in found), bool(found)
        self._begin, self._end = getattr(callbacks, hooks[2]), getattr(callbacks, hooks[3])
        self._due = 0.0
        self._untold: Any = None

    def begin(self, step: int) -> None:
        """Before a batch."""
        if self._all:
            self._begin(step)

    def end(self, step: int, logs: Any) -> None:
        """After a batch."""
        if self._all:
            self._end(step, logs)
        elif self._bar:
            now = time.perf_counter()
            if now < self._due:
                self._untold = step, logs
            else:
                self._due, self._untold = now + _DRAWN, None
                self._end(step, logs)

    def __enter__(self) -> _Listeners:
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind in (None, StopIteration) and self._untold is not None:
            self._end(*self._untold)


def _latest(before: Any, after: Any) -> Any:
    return after


def _joined(before: Any, after: Any) -> Any:
    return tree.map_structure(lambda a, b: tf.concat([a, b], 0), before, after)


def _tensors(batch: Any) -> Any:
    return tree.map_structure(lambda x: tf.convert_to_tensor(x) if isinstance(x, np.ndarray) else x, batch)
