"""Mining: brute force over every formula, in native code; see ``engine.py``."""

from rlsearch.mining.engine import Mined as Mined
from rlsearch.mining.engine import check_minable as check_minable
from rlsearch.mining.engine import mine as mine
