"""What a formula can be exported as, one file per format.

``rlsearch.export`` is the function in ``export.py``; a room of that name would hide it.
"""
