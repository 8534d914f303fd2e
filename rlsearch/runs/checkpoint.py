"""Checkpoints: everything that decides how a run goes on, in one file that holds tensors and numbers only.

Taken at the start of a round: the last moment before which nothing of it is decided.
"""

from pathlib import Path
from typing import Any

import torch

from rlsearch.common.files import replacing
from rlsearch.errors import RunError, StorageError, why


def save_checkpoint(path: Path, round_number: int, method: dict[str, Any]) -> None:
    """Writes the state at the start of round ``round_number``; the file is replaced at once or not at all.

    Args:
        path: The file.
        round_number: From 0.
        method: What the search method's ``state()`` returned.

    Raises:
        StorageError: If it cannot be written.
    """
    state = {"round": round_number, "method": method}
    try:
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        raise StorageError(f"{path} cannot be written: {why(error)}. Resume the run later.") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint. Only tensors, numbers and texts are read: a file that holds code is refused.

    Raises:
        RunError: If the file is missing, damaged, or not one of ours.
    """
    if not path.exists():
        raise RunError(f"{path} does not exist: the run has not begun its first round")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises many kinds of errors for a file that is not its own.
        reason = (str(error) or repr(error)).splitlines()[0]
        raise RunError(f"{path} is not a checkpoint of rlsearch: {reason}") from error
    if not isinstance(state, dict) or not isinstance(state.get("round"), int) or "method" not in state:
        raise RunError(f"{path} is not a checkpoint of rlsearch: its contents are of another kind")
    return state
