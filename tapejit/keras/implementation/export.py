"""Exported models: not there yet, and said so by name."""

from typing import Any


class TapejitExportArchive:
    """The backend's part of `keras.export.ExportArchive`."""

    def track(self, resource: Any) -> None:
        """NotImplementedError: see `add_endpoint`."""
        raise NotImplementedError(
            "model.export and keras.export.ExportArchive are not supported with tapejit; write model.save('model.keras')"
        )

    def add_endpoint(self, name: str, fn: Any, input_signature: Any = None, **kwargs: Any) -> None:
        """NotImplementedError: models are kept with `model.save`."""
        self.track(fn)


NumpyExportArchive = TapejitExportArchive  # the name that is asked for in the seat
