"""Trainings of proxies as tests ask for them."""

from dataclasses import replace

from rlsearch.common.pool import InProcess
from rlsearch.proxies.schedule import train_populations


def of_the_package(registry):
    """The names in a table of what the package has itself; tests add more."""
    return [name for name in registry if type(registry[name]).__module__.startswith("rlsearch.")]


def trained_scores(trainer, members):
    """What a proxy or a trainer says of each member of a population: its score, or None."""
    return [None if outcome is None else outcome.score for outcome in trainer.train(members)]


def outcomes(proxy, members, part="validation", pool=None, **more):
    """What came of members in order, whatever proxy and part they name; from this process unless a pool is given."""
    wanted = [replace(member, proxy=proxy.name, part=part) for member in members]
    found = []
    for population in train_populations({proxy.name: proxy}, wanted, pool or InProcess(), **more):
        found += population.outcomes
    return found


def scores(proxy, members, part="validation", pool=None):
    """The scores of members in order; see :func:`outcomes`."""
    return [getattr(outcome, "score", None) for outcome in outcomes(proxy, members, part, pool)]
