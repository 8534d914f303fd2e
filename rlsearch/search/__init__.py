"""The search methods under one interface, each a way to propose formulas; the PPO controller is another."""

from rlsearch.search.base import SearchMethod as SearchMethod
