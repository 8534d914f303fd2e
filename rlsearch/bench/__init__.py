"""What this machine does: the project's way beside the ordinary way, in turn in one process, and the machine's limits.

One module per verb of ``rlsearch bench``; ``rlsearch.common.timing`` times, ``limits.py`` says what the machine can do
at most, and ``report.py`` is what comes out. The verbs measure; ``rlsearch.cli.bench`` prints.
"""
