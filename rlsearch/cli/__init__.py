"""The command line: ``verbs.py`` has the program and the shorter verbs, ``tables.py`` what they print."""

from rlsearch.cli.verbs import app, main

__all__ = ["app", "main"]
