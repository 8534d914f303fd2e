"""rlsearch: find better activation functions with reinforcement learning.

The public names are loaded when they are first used, so that ``import rlsearch`` stays light: it loads neither torch
nor stable-baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlsearch.api import check as check
    from rlsearch.api import compare as compare
    from rlsearch.api import confirm as confirm
    from rlsearch.api import evaluate as evaluate
    from rlsearch.api import mine as mine
    from rlsearch.api import refine as refine
    from rlsearch.api import report as report
    from rlsearch.api import resume as resume
    from rlsearch.api import train as train
    from rlsearch.api import transfer as transfer
    from rlsearch.errors import RlsearchError as RlsearchError
    from rlsearch.exports.export import export as export
    from rlsearch.formula import Formula as Formula
    from rlsearch.formula import Grammar as Grammar
    from rlsearch.formula import Vocabulary as Vocabulary
    from rlsearch.formula.replacing import replace_activations as replace_activations
    from rlsearch.kernels.fused import fused_module as fused_module
    from rlsearch.runs.config import Config as Config
    from rlsearch.runs.config import load_config as load_config
    from rlsearch.runs.events import RunEvents as RunEvents
    from rlsearch.runs.overview import runs_in as runs_in
    from rlsearch.runs.read import top as top
    from rlsearch.runs.sample import sample as sample
    from rlsearch.runs.sample import save_policy as save_policy
    from rlsearch.studies.discovered import discovered as discovered
    from rlsearch.studies.retrain import Options as Options

__version__ = "0.1.0"

_HOMES = {
    "Config": "rlsearch.runs.config",
    "load_config": "rlsearch.runs.config",
    "RlsearchError": "rlsearch.errors",
    "Formula": "rlsearch.formula",
    "Grammar": "rlsearch.formula",
    "Vocabulary": "rlsearch.formula",
    "replace_activations": "rlsearch.formula.replacing",
    "fused_module": "rlsearch.kernels.fused",
    "discovered": "rlsearch.studies.discovered",
    "check": "rlsearch.api",
    "evaluate": "rlsearch.api",
    "RunEvents": "rlsearch.runs.events",
    "export": "rlsearch.exports.export",
    "sample": "rlsearch.runs.sample",
    "save_policy": "rlsearch.runs.sample",
    "top": "rlsearch.runs.read",
    "RewardResult": "rlsearch.rewards.base",
    "Status": "rlsearch.rewards.base",
    "resume": "rlsearch.api",
    "train": "rlsearch.api",
    "mine": "rlsearch.api",
    "confirm": "rlsearch.api",
    "transfer": "rlsearch.api",
    "refine": "rlsearch.api",
    "report": "rlsearch.api",
    "compare": "rlsearch.api",
    "Options": "rlsearch.studies.retrain",
    "runs_in": "rlsearch.runs.overview",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rlsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
