"""Mining's brute force: every formula up to a size or of a form, screened, each function once, the cheapest first."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.progress import Events
from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Formula, Grammar
from rlsearch.formula.formula import fingerprint_grid
from rlsearch.formula.mirrors import exchange_key
from rlsearch.formula.rules import HAS_INPUT
from rlsearch.formula.template import WILDCARDS, parts_of
from rlsearch.kernels.choice import INSTALL
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.screening import screening_grid
from rlsearch.rewards.settings import ScreeningSettings
from rlsearch.search.mining.table import (
    FIT,
    KEY_POINTS,
    N_COUNTS,
    ROWS,
    STORED,
    TABLE_TYPES,
    TESTED,
    UNFIT,
    UNIQUE,
    Language,
    Limits,
    Store,
    Table,
    check_minable,
)

# Pairs tested between two looks at the clock, with at most 26 operators each. Fewer where the values of what is found
# are kept, so that room for them is a few megabytes.
_PAIRS_PER_CALL = 1 << 14
_STORED_PAIRS_PER_CALL = 1 << 10

# At most so many of the formulas tested are functions not seen before; seen with the default language: two thirds.
_SHARE_OF_NEW_FUNCTIONS = 0.75

_SORTING_BYTES_PER_ROW = 10  # while the cheapest are sought
_MAX_HASH_LOAD = 0.6  # above it, searching the hash table slows down
_FIRST_PLACES = 1 << 10  # of a hash table
_WATCH_SECONDS = 1.0

SCREENING = "screening"
"""What listeners are told is going on."""

IntArray = NDArray[np.int32]
Pairs = tuple[
    IntArray, IntArray, IntArray, bool
]  # operators, left and right operands, whether the operator is commutative


@dataclass(frozen=True, slots=True)
class Mined:
    """What mining found.

    Attributes:
        tested: Formulas tried: an operator on functions that have one spelling each. Of ``a + b`` and ``b + a`` one is;
            in a template only if both operands have the same form. A template's different parts are counted too.
        unique: Functions among them that the grammar's lengths allow, or that fill a template's whole, told apart by
            rounded float32 values.
        fit: Those that pass screening.
        formulas: The cheapest of them.
        complete: Whether there was memory for all; if not, of the last size, or of the template, only a part is there.
    """

    tested: int
    unique: int
    fit: int
    formulas: list[Formula]
    complete: bool


def mine(
    grammar: Grammar,
    template: Sequence[str] | None,
    screening: ScreeningSettings,
    costs: LatencyCosts,
    keep: int,
    *,
    events: Events = Events(),
    memory_bytes: int = 2**32,
) -> Mined:
    """Screens every formula of a grammar or a form.

    What an operator makes of a function does not depend on how that function is spelled. So of all expressions with
    the same values that the grammar's rules cannot tell apart only one is built on: no function is lost by it, and the
    work is that of the functions. Of the spellings of one size the cheapest stands.

    Args:
        grammar: What can be written, of one input or several.
        template: A form in prefix order (see ``rlsearch.formula.template``), to which the grammar's lengths do not
            apply; None for every form.
        screening: What is fit.
        costs: Their sum over the operators as written chooses the functions; they are returned in order of
            :meth:`LatencyCosts.ratio`.
        keep: The most functions that are returned.
        events: Told about once a second how many formulas are tested and how many are expected in all.
        memory_bytes: After which no more functions are taken in. What was found until then is returned.

    Raises:
        ConfigError: If the template is no form, the grammar's rules have too many marks, or numba is not installed.
    """
    check_minable(grammar, template)
    expansion = _Expansion(grammar, screening, costs, memory_bytes, events)
    complete = expansion.grow() if template is None else expansion.fill(template)
    tested, unique, unfit = expansion.counts[[TESTED, UNIQUE, UNFIT]].tolist()
    return Mined(tested, unique, unique - unfit, expansion.cheapest(keep), complete)


class _Expansion:
    """The functions found so far, and how to find more; see ``table.py`` for what the arrays mean."""

    def __init__(
        self,
        grammar: Grammar,
        screening: ScreeningSettings,
        costs: LatencyCosts,
        memory_bytes: int,
        events: Events,
    ) -> None:
        self.grammar = grammar
        self.costs, self.gated_only = costs, screening.gated_only
        self.events, self.memory_bytes = events, memory_bytes
        self.loops = _load()
        self.names, self.inputs = list(grammar.vocabulary.operators), grammar.vocabulary.inputs
        self.language = Language.of(grammar, costs)
        self.limits = Limits(np.float64(screening.max_slope), np.float64(screening.min_spread))
        self.factors = np.random.default_rng(0).integers(-(2**62), 2**62, KEY_POINTS) | 1
        self.counts = np.zeros(N_COUNTS, np.int64)
        numbers = len(grammar.vocabulary.inputs) * 2 * screening.points
        self.store = Store(np.empty((1, KEY_POINTS), np.float32), np.empty((1, numbers), np.float32))
        self.table = Table(*(np.zeros(1, kind) for kind in TABLE_TYPES))
        self.known = _empty(_FIRST_PLACES)
        self.leaves = self._add_leaves(screening)
        self.expected = 0
        self._told = time.monotonic()

    def operators(self, place: str, commutative: bool | None = None) -> IntArray:
        """The numbers of the operators that may stand in a place of a form, or of one kind of these."""
        chosen = [
            i
            for i, name in enumerate(self.names)
            if (name == place or OPERATORS[name].arity == WILDCARDS.get(place))
            and commutative in (None, OPERATORS[name].commutative)
        ]
        return np.array(chosen, np.int32)

    def grow(self) -> bool:
        """Tests everything up to the grammar's longest; tells whether there was memory for all."""
        longest = self.grammar.max_length
        self._know(self.leaves, counting=self.grammar.min_length <= 1)
        of_size = [np.empty(0, np.int32), self.leaves]
        for size in range(2, longest + 1):
            level = int(self.counts[ROWS])
            self.expected = _expected([len(rows) for rows in of_size], longest, self.operators)
            storing = size <= longest - 2
            options = {"level": level, "storing": storing, "counting": size >= self.grammar.min_length}
            todo = list(self._pairs("unary", of_size[size - 1]))
            for left in range(1, size - 1):
                right = size - 1 - left
                todo += self._pairs("binary", of_size[left], of_size[right], mirrored=left > right)
            # Room at once for what there probably will be: rehashing by doubling took a quarter of the time.
            probably = int(_SHARE_OF_NEW_FUNCTIONS * sum(map(_tests, todo)))
            while probably and not self._make_room(probably, storing):
                probably //= 2
            for pairs in todo:
                if not self._expand(pairs, **options):
                    return False
            of_size.append(np.arange(level, self.counts[ROWS], dtype=np.int32))
        self._tell(end=True)
        return True

    def fill(self, template: Sequence[str]) -> bool:
        """Tests everything of a form; tells whether there was memory for all."""
        rows: dict[tuple[str, ...], IntArray] = {}
        for part, operands in parts_of(template, self.grammar.vocabulary).items():
            self.known = _empty(_FIRST_PLACES)  # what was found in another part is new in this one
            level, whole = int(self.counts[ROWS]), len(part) == len(template)
            sides = [rows[operand] for operand in operands]
            if sides:
                taken = sides[0] if part[0] == "unary" else self.leaves[:0]
            else:
                taken = self.leaves if part[0] == "leaf" else self.leaves[[self.inputs.index(part[0])]]
            self._know(taken, counting=whole)
            todo = list(self._pairs(part[0], *sides))
            self.expected = int(self.counts[TESTED]) + sum(map(_tests, todo))
            for pairs in todo:
                if not self._expand(pairs, level=level, storing=not whole, counting=whole):
                    return False
            grown = np.arange(level, self.counts[ROWS], dtype=np.int32)
            rows[part] = np.concatenate([taken, grown])
        self._tell(end=True)
        return True

    def _pairs(self, place: str, *sides: IntArray, mirrored: bool = False) -> Iterator[Pairs]:
        """Yields all that a place makes of its operands; ``mirrored`` if they came the other way round before."""
        if len(sides) == 1:
            yield self.operators(place), sides[0], np.array([-1], np.int32), False
        if len(sides) == 2:
            yield self.operators(place, commutative=False), *sides, False
            if not mirrored:
                yield self.operators(place, commutative=True), *sides, np.array_equal(*sides)

    def cheapest(self, keep: int) -> list[Formula]:
        """The ``keep`` cheapest fit functions, each once, whatever the order of its inputs."""
        found: dict[str, tuple[float, int, int, Formula]] = {}
        for row in self._cheapest_rows(keep):
            formula = Formula(tuple(self._tokens(row)))
            place, key = (self.costs.ratio(formula), formula.size, row), exchange_key(formula)
            is_wanted = formula.is_gated or not self.gated_only
            if is_wanted and (key not in found or place < found[key][:3]):
                found[key] = (*place, formula)
            if len(found) == keep:
                break
        return [formula for *_, formula in sorted(found.values(), key=lambda entry: entry[:3])]

    def _cheapest_rows(self, count: int) -> Iterator[int]:
        """Yields the rows of fit functions, the cheapest first; only about as many as are wanted are sorted."""
        rows = int(self.counts[ROWS])
        costs = np.where(self.table.flags[:rows] & FIT, self.table.cost[:rows], np.float32(np.inf))
        fit, done = int(np.isfinite(costs).sum()), -np.inf
        while done < np.inf:
            most = np.partition(costs, count - 1)[count - 1] if count < fit else np.inf
            chosen = np.flatnonzero((costs > done) & (costs <= most) & (costs < np.inf))
            yield from chosen[np.argsort(costs[chosen], kind="stable")].tolist()
            count, done = 4 * count, float(most)

    def _tokens(self, row: int) -> Iterator[Any]:
        vocabulary = self.grammar.vocabulary
        yield vocabulary.tokens[self.table.operator[row]]
        for operand in (self.table.left[row], self.table.right[row]):
            if operand >= 0:
                yield from self._tokens(int(operand))

    def _expand(self, pairs: Pairs, **options: Any) -> bool:
        """Tests these; tells whether there was memory for all."""
        operators, lefts, rights, _ = pairs
        done, wanted = 0, len(lefts) * len(rights) if len(operators) else 0
        while done < wanted:
            most = min(_STORED_PAIRS_PER_CALL if options["storing"] else _PAIRS_PER_CALL, wanted - done)
            if not self._make_room(most * len(operators), options["storing"]):
                return False
            done = self.loops.expand(
                *pairs,
                done,
                most,
                table=self.table,
                store=self.store,
                language=self.language,
                known=self.known,
                limits=self.limits,
                factors=self.factors,
                counts=self.counts,
                **options,
            )
            self._tell()
        return True

    def _make_room(self, rows: int, storing: bool) -> bool:
        """Makes room for so many new rows; tells False, and changes nothing, where the memory is not granted."""
        counts = self.counts
        wanted = int(counts[ROWS]) + rows
        stored = int(counts[STORED]) + (rows if storing else 0) + 1
        table, store, places = len(self.table.cost), len(self.store.keyed), len(self.known)
        table = table if wanted <= table else max(wanted, table * 5 // 4)
        store = store if stored <= store else max(stored, store * 5 // 4)
        while wanted > _MAX_HASH_LOAD * places:
            places *= 2
        if (table, store, places) == (len(self.table.cost), len(self.store.keyed), len(self.known)):
            return True
        moved = self.known.nbytes if places > len(self.known) else 0  # the old places are held until they are moved
        needed = (
            table * (_row_bytes(self.table) + _SORTING_BYTES_PER_ROW)
            + store * _row_bytes(self.store)
            + places * _row_bytes((self.known,))
        )
        if needed + moved > self.memory_bytes:
            return False
        for arrays, length in ((self.table, table), (self.store, store)):
            for array in arrays:
                if length > len(array):  # in place, so that large arrays are not held twice
                    array.resize((length, *array.shape[1:]), refcheck=False)
        if moved:
            known = _empty(places)
            self.loops.move(self.known, known)
            self.known = known
        return True

    def _add_leaves(self, screening: ScreeningSettings) -> IntArray:
        """Adds the inputs and the constants, and returns their rows."""
        constants, many = self.grammar.vocabulary.constants, len(self.inputs)
        leaves = many + len(constants)
        self._make_room(leaves, storing=True)
        grid = screening_grid(screening, many)
        screened = self.store.screened[:leaves].reshape(leaves, many, 2, screening.points)
        screened[:, :, 1] = 0.0
        for row in range(leaves):
            if row < many:
                self.store.keyed[row] = fingerprint_grid(self.inputs[row])[:KEY_POINTS]
                screened[row, :, 0], screened[row, row, 1] = grid[row], 1.0
            else:
                self.store.keyed[row] = screened[row, :, 0] = constants[row - many]
            token = len(self.names) + row
            self.table.operator[row] = token
            self.table.left[row] = self.table.right[row] = -1
            self.table.flags[row] = self.language.own[token] & self.language.inherited
            self.table.place[row] = row
        self.counts[[ROWS, STORED]] = leaves
        return np.arange(leaves, dtype=np.int32)

    def _know(self, rows: IntArray, counting: bool) -> None:
        """Notes stored rows as known; where they count, as found too."""
        loops = self.loops
        self._make_room(0, storing=False)
        # Those with an input first, since one counts though it equals a constant.
        for row in sorted(rows.tolist(), key=lambda row: not self.table.flags[row] & HAS_INPUT):
            place = self.table.place[row]
            key = loops.key_of(self.store.keyed[place], self.factors)
            at = loops.place_of(self.known, key)
            before = int(self.known[at, 1]) if self.known[at, 0] else -1
            self.table.next[row] = before
            self.table.flags[row] &= self.language.inherited
            self.known[at] = (key, row)
            if not counting or not self.table.flags[row] & HAS_INPUT:
                continue
            if before >= 0:
                self.table.flags[row] |= self.table.flags[before] & FIT  # perhaps a cheaper spelling
                continue
            is_fit = loops.is_fit(self.store.screened[place], self.language, self.limits)
            self.table.flags[row] |= FIT if is_fit else 0
            is_leaf = bool(self.table.operator[row] >= len(self.names))
            self.counts[[TESTED, UNIQUE, UNFIT]] += is_leaf, 1, not is_fit

    def _tell(self, end: bool = False) -> None:
        if end or time.monotonic() - self._told > _WATCH_SECONDS:
            self._told = time.monotonic()
            tested = int(self.counts[TESTED])
            self.events.on_progress(SCREENING, tested, tested if end else max(tested + 1, self.expected))


def _load() -> ModuleType:
    try:
        from rlsearch.search.mining import native
    except ImportError as error:
        raise ConfigError(f"mining needs numba, which is not installed: {INSTALL['numba']}") from error
    return native


def _empty(places: int) -> NDArray[np.int64]:
    """A hash table without entries; see ``native.place_of``."""
    return np.zeros((places, 2), np.int64)


def _row_bytes(arrays: Sequence[NDArray[Any]]) -> int:
    return sum(array.itemsize * int(np.prod(array.shape[1:])) for array in arrays)


def _tests(pairs: Pairs) -> int:
    """How many formulas that is."""
    operators, lefts, rights, triangle = pairs
    return len(operators) * len(lefts) * (len(lefts) + 1 if triangle else 2 * len(rights)) // 2


def _expected(sizes: Sequence[int], longest: int, operators: Callable[..., IntArray]) -> int:
    """About how many formulas there are to test, given how many functions there are of each size done."""
    counts = [float(count) for count in sizes]
    growth = counts[-1] / counts[-2] if len(counts) > 3 else 14.0
    while len(counts) < longest:
        counts.append(counts[-1] * growth)
    unary, ordered = len(operators("unary")), len(operators("binary", commutative=False))
    free = len(operators("binary", commutative=True))
    pairs = []
    for size in range(3, longest + 1):
        pairs += [counts[left] * counts[size - 1 - left] for left in range(1, size - 1)]
    return int(unary * sum(counts[1:longest]) + (ordered + free / 2) * sum(pairs))
