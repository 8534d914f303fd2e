"""``python -m rlsearch`` is the command ``rlsearch``."""

from rlsearch.cli import main

main()
