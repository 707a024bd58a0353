"""Exported models: not there yet, and said so by name."""


class TapejitExportArchive:
    """The backend's part of `keras.export.ExportArchive`: NotImplementedError, whatever is asked of it."""

    def __init__(self) -> None:
        raise NotImplementedError(
            "`export_saved_model` only currently supports the tensorflow, jax and torch backends. With tapejit, model.export and "
            "keras.export.ExportArchive are not there; write model.save('model.keras')"
        )


NumpyExportArchive = TapejitExportArchive  # the name that is asked for in the seat
