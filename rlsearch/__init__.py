"""rlsearch: find better activation functions with reinforcement learning.

The public names are loaded when they are first used, so that ``import rlsearch`` stays light: it loads neither torch
nor stable-baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlsearch.config import Config as Config
    from rlsearch.config import load_config as load_config
    from rlsearch.errors import RlsearchError as RlsearchError
    from rlsearch.formula import Formula as Formula
    from rlsearch.formula import Grammar as Grammar
    from rlsearch.formula import Vocabulary as Vocabulary
    from rlsearch.formula.module import replace_activations as replace_activations
    from rlsearch.results import evaluate as evaluate
    from rlsearch.results import export as export
    from rlsearch.results import sample as sample
    from rlsearch.results import top as top
    from rlsearch.rewards.protocol import RewardResult as RewardResult
    from rlsearch.rewards.protocol import Status as Status
    from rlsearch.training import resume as resume
    from rlsearch.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "Config": "rlsearch.config",
    "load_config": "rlsearch.config",
    "RlsearchError": "rlsearch.errors",
    "Formula": "rlsearch.formula",
    "Grammar": "rlsearch.formula",
    "Vocabulary": "rlsearch.formula",
    "replace_activations": "rlsearch.formula.module",
    "evaluate": "rlsearch.results",
    "export": "rlsearch.results",
    "sample": "rlsearch.results",
    "top": "rlsearch.results",
    "RewardResult": "rlsearch.rewards.protocol",
    "Status": "rlsearch.rewards.protocol",
    "resume": "rlsearch.training",
    "train": "rlsearch.training",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rlsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
