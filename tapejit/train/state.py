"""The file `checkpoint` of a folder, which says what checkpoints there are and which is the latest; in TensorFlow's format."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapejit.train import files

_STATE = "checkpoint"


@dataclass
class CheckpointState:
    """What the state file of a folder says: paths, those within the folder relative to it in the file but not here."""

    model_checkpoint_path: str = ""
    all_model_checkpoint_paths: list[str] = field(default_factory=list)
    all_model_checkpoint_timestamps: list[float] = field(default_factory=list)
    last_preserved_timestamp: float = 0.0


def get_checkpoint_state(checkpoint_dir: Any, latest_filename: str | None = None) -> CheckpointState | None:
    """The state that a folder's file `checkpoint` holds, None if there is none (`tf.train.get_checkpoint_state`)."""
    folder = Path(checkpoint_dir)
    try:
        text = (folder / (latest_filename or _STATE)).read_text()
    except OSError:
        return None
    state = CheckpointState()
    for name, value in re.findall(r"^(\w+): (.+)$", text, re.MULTILINE):
        read = ast.literal_eval(value)
        if name.endswith(("path", "paths")):
            read = str(folder / read)
        if isinstance(getattr(state, name, None), list):
            getattr(state, name).append(read)
        elif hasattr(state, name):
            setattr(state, name, read)
    return state if state.model_checkpoint_path else None


def write_state(folder: Path, state: CheckpointState) -> None:
    """Replace the state file of a folder."""

    def relative(path: str) -> str:
        return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else str(Path(path).absolute())

    lines = [f'model_checkpoint_path: "{relative(state.model_checkpoint_path)}"']
    lines += [f'all_model_checkpoint_paths: "{relative(p)}"' for p in state.all_model_checkpoint_paths]
    lines += [f"all_model_checkpoint_timestamps: {t!r}" for t in state.all_model_checkpoint_timestamps]
    lines += [f"last_preserved_timestamp: {state.last_preserved_timestamp!r}"]
    text = "\n".join([*lines, ""]).encode()
    files.replace(folder / _STATE, lambda file: file.write(text))


def record_latest(path: str) -> None:
    """Note in its folder that the checkpoint at `path` is the latest."""
    write_state(Path(path).parent, CheckpointState(path, [path]))


def latest_checkpoint(checkpoint_dir: Any, latest_filename: str | None = None) -> str | None:
    """The path of the latest checkpoint of a folder, None if there is none (`tf.train.latest_checkpoint`)."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    return state.model_checkpoint_path if state is not None and path_of(state.model_checkpoint_path).exists() else None


def path_of(prefix: Any) -> Path:
    """The file that a checkpoint called `prefix` is in."""
    text = str(prefix)
    return Path(text if text.endswith(files.SUFFIX) else text + files.SUFFIX)
