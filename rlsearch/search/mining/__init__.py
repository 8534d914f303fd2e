"""Mining: brute force over every formula, in native code; see ``engine.py``."""

from rlsearch.search.mining.engine import SCREENING as SCREENING
from rlsearch.search.mining.engine import Mined as Mined
from rlsearch.search.mining.engine import check_minable as check_minable
from rlsearch.search.mining.engine import mine as mine
