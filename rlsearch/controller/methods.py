"""The table of search methods; what else there is to know of a method, its class says."""

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from rlsearch.controller.ppo import PPOSearch
from rlsearch.search.base import SearchMethod
from rlsearch.search.evolution import EvolutionSearch
from rlsearch.search.exhaustive import ExhaustiveSearch
from rlsearch.search.mining.method import MiningSearch
from rlsearch.search.random import RandomSearch
from rlsearch.search.settings import SearchSettings

METHODS: dict[str, type[SearchMethod]] = {}
"""Every search method by its name."""


def add_method(method: type[SearchMethod]) -> type[SearchMethod]:
    """Adds a search method to the table; also as a decorator of its class.

    Raises:
        ValueError: If another one has its name.
    """
    if METHODS.setdefault(method.name, method) is not method:
        raise ValueError(f"there is a search method {method.name!r} already: {METHODS[method.name].__qualname__}")
    return method


def checked_method(search: SearchSettings) -> SearchSettings:
    """Checks that the method is in the table; a validator of the settings that hold ``search``."""
    if search.method in METHODS:
        return search
    *others, last = (repr(name) for name in METHODS)
    wrong = InitErrorDetails(
        type="literal_error",
        loc=("method",),
        input=search.method,
        ctx={"expected": f"{', '.join(others)} or {last}"},
    )
    raise ValidationError.from_exception_data("search", [wrong])


for _method in (PPOSearch, RandomSearch, EvolutionSearch, ExhaustiveSearch, MiningSearch):
    add_method(_method)
