"""Checkpoints: everything that decides how a run goes on, in one file that holds tensors and numbers only.

Taken at the start of a rollout: the last moment before which nothing of the round is decided. (stable-baselines3
has no hook after ``train()``; a state taken at the end of a rollout makes every later round differ.)
"""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO

from rlsearch.errors import RunError, StorageError

_KEYS = {"round", "num_timesteps", "n_updates", "policy", "optimiser", "random_state"}


def save_checkpoint(path: Path, controller: PPO, round_number: int) -> None:
    """Writes the state at the start of round ``round_number``; the file is replaced at once or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    state = {
        "round": round_number,
        "num_timesteps": controller.num_timesteps,
        "n_updates": controller._n_updates,
        "policy": controller.policy.state_dict(),
        "optimiser": controller.policy.optimizer.state_dict(),
        "random_state": _random_state(),
    }
    partial = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise StorageError(f"{path} cannot be written: {error}. Resume the run later.") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint. Only tensors, numbers and texts are read: a file that holds code is refused.

    Raises:
        RunError: If the file is missing, damaged, or not one of ours.
    """
    if not path.exists():
        raise RunError(f"{path} does not exist: the run has not begun its first round")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        reason = (str(error) or repr(error)).splitlines()[0]
        raise RunError(f"{path} is not a checkpoint of rlsearch: {reason}") from error
    if not isinstance(state, dict) or not set(state) >= _KEYS:
        raise RunError(f"{path} is not a checkpoint of rlsearch: its contents are of another kind")
    return state


def restore(controller: PPO, state: dict[str, Any]) -> None:
    """Puts policy, optimiser, counts and all random numbers back to where they were.

    Raises:
        RunError: If the checkpoint does not fit the controller, for instance for another vocabulary.
    """
    restore_policy(controller, state)
    controller.policy.optimizer.load_state_dict(state["optimiser"])
    controller.num_timesteps = state["num_timesteps"]
    controller._n_updates = state["n_updates"]
    stored = state["random_state"]
    torch.set_rng_state(stored["torch"])
    name, _, position, has_gauss, gauss = stored["numpy"]
    np.random.set_state((name, stored["numpy"][1].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, gauss_next = stored["python"]
    random.setstate((version, tuple(words), gauss_next))


def restore_policy(controller: PPO, state: dict[str, Any]) -> None:
    """Puts the policy's weights back.

    Raises:
        RunError: If they do not fit the controller.
    """
    try:
        controller.policy.load_state_dict(state["policy"])
    except (RuntimeError, AttributeError, TypeError) as error:
        raise RunError(f"the checkpoint does not fit the run's config: {error}") from error


def _random_state() -> dict[str, Any]:
    name, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, python_words, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(np.asarray(words).astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(python_words), gauss_next],
    }
