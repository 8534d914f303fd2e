"""The inner loops of mining, compiled by numba; ``table.py`` says what they work on.

Functions have values on two grids:

* the grid of the keys, by which functions are told apart;
* the grid of screening, with slopes, which only a new function is worth.
"""

import sys
from typing import Any, NamedTuple

import numpy as np

from rlsearch.formula import rules
from rlsearch.formula.rules import HAS_INPUT
from rlsearch.kernels import numba_functions
from rlsearch.kernels.compiled import Compiler
from rlsearch.kernels.numba_functions import _bits, _from_bits, where
from rlsearch.search.mining import table as shared
from rlsearch.search.mining.source import load_operators
from rlsearch.search.mining.table import FETCHED, FIT, ROWS, STORED, TESTED, UNFIT, UNIQUE

_operators = load_operators()
apply_values, apply_slopes = _operators.apply_values, _operators.apply_slopes

# The name of the generated module contains a digest of what that depends on.
compiled = Compiler("mining", sys.modules[__name__], numba_functions, rules, shared, _operators.__name__)

BATCH = 256  # formulas looked up together

# How a float is rounded in its bits.
_OFFSET = np.float32(1)
_ZERO = np.int32(0x3F800000)  # the bits of the offset, which are those of 0 plus it
_SHIFT = np.int32(11)  # a step is 2^-12: of the value, or of the offset near 0
_HALF = np.int32(1 << 10)
_MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits but the sign
_INFINITE = np.int32(0x7F800000)


class Batch(NamedTuple):
    """Formulas that were computed and are still to be looked up."""

    operator: Any  # int16
    left: Any  # int32
    right: Any  # int32
    flags: Any  # uint8
    cost: Any  # float32
    key: Any  # int64


@compiled(inline="always")
def place_of(known: Any, key: Any) -> Any:
    """Where a key is, or the empty place where it would be.

    Args:
        known: int64 ``[a power of two, 2]``: a hash table with open addressing, each place a key and its row. Key and
            row lie side by side, since every look is a miss of the cache.
        key: Not 0, which is an empty place.
    """
    mask = np.int64(known.shape[0] - 1)
    at = key & mask
    while known[at, 0] != 0 and known[at, 0] != key:
        at = (at + 1) & mask
    return at


@compiled()
def move(old: Any, new: Any) -> None:
    """Puts the keys of a table into a larger one."""
    for i in range(old.shape[0]):
        if old[i, 0] != 0:
            new[place_of(new, old[i, 0])] = old[i]


@compiled(inline="always")
def _mixed(number: Any) -> Any:
    """A number different from 0 all of whose bits depend on all of the argument's (SplitMix64's last step)."""
    x: Any = np.uint64(number)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = np.int64(x ^ (x >> np.uint64(31)))
    return x if x != 0 else np.int64(1)


@compiled()
def key_of(values: Any, factors: Any) -> Any:
    """Hashes a function's rounded values.

    Where a value lies on the edge of a step, rounding errors of float32 give two spellings different hashes: seen in
    one of five hundred functions of seven tokens, which then are found twice.
    """
    total = np.int64(0)
    for i in range(values.size):
        value = values[i]
        # Added to 1, small numbers are rounded to a step and large ones to a share of themselves.
        size = _bits(_OFFSET + _from_bits(_bits(value) & _MAGNITUDE))
        size = where(value == value, size, _MAGNITUDE)
        sign = _bits(value) >> np.int32(31)  # 0, or -1 for a negative number
        code = ((size + _HALF) >> _SHIFT) - (_ZERO >> _SHIFT)
        total += np.int64((code ^ sign) - sign) * factors[i]
    return _mixed(total)


@compiled(inline="always")
def part_of(screened: Any, language: Any, i: Any) -> Any:
    """The values of a function and its slopes by input number ``i``, of all that is known of it for screening."""
    length = screened.size // language.inputs
    return screened[i * length : (i + 1) * length]


@compiled()
def is_fit(screened: Any, language: Any, limits: Any) -> Any:
    """Whether a function is finite, not constant and not too steep; as ``rewards.screening.why_unfit``."""
    fit = True
    for i in range(language.inputs):
        fit = fit and _is_fit_along(part_of(screened, language, i), limits)
    return fit


@compiled(inline="always")
def _is_fit_along(values_and_slopes: Any, limits: Any) -> Any:
    """Whether it is, by its values and its slopes by one input."""
    points = values_and_slopes.size // 2
    values = values_and_slopes[:points]
    slopes = values_and_slopes[points:]
    # In whole numbers that are in the order of the floats, since a loop over these stands in vector instructions.
    lowest, highest = _MAGNITUDE, -_MAGNITUDE
    largest = steepest = np.int32(0)
    for i in range(points):
        bits = _bits(values[i])
        ordered = bits ^ ((bits >> np.int32(31)) & _MAGNITUDE)
        lowest = min(lowest, ordered)
        highest = max(highest, ordered)
        largest = max(largest, bits & _MAGNITUDE)
        steepest = max(steepest, _bits(slopes[i]) & _MAGNITUDE)
    if largest >= _INFINITE or steepest >= _INFINITE:
        return False
    low = _from_bits(lowest ^ ((lowest >> np.int32(31)) & _MAGNITUDE))
    high = _from_bits(highest ^ ((highest >> np.int32(31)) & _MAGNITUDE))
    spread = np.float64(high) - np.float64(low)
    return spread > limits.min_spread and np.float64(_from_bits(steepest)) <= limits.max_slope


@compiled(inline="always")
def _form(table: Any, left: Any, right: Any) -> Any:
    """Which operand is a constant everywhere: 0 none, 1 the right, 2 the left."""
    if right < 0:
        return 0
    if not table.flags[right] & HAS_INPUT and table.flags[left] & HAS_INPUT:
        return 1
    return 2 if not table.flags[left] & HAS_INPUT and table.flags[right] & HAS_INPUT else 0


@compiled(inline="always")
def _apply(
    operator: Any, table: Any, store: Any, language: Any, left: Any, right: Any, keyed: Any, screened: Any
) -> None:
    """Computes an operator on two stored rows: on the grid of keys if ``keyed`` has room, else on that of screening."""
    form = _form(table, left, right)
    opcode = language.opcode[operator, form]
    a = table.place[left]
    b = table.place[right] if right >= 0 else a
    constant = store.keyed[b if form == 1 else a, 0]
    if keyed.size:
        apply_values(opcode, store.keyed[a], store.keyed[b], constant, keyed)
        return
    # The values are computed once for each input, which takes no operators of another form.
    for i in range(language.inputs):
        first, second = part_of(store.screened[a], language, i), part_of(store.screened[b], language, i)
        apply_slopes(opcode, first, second, constant, part_of(screened, language, i))


@compiled(inline="always")
def marks_of(table: Any, language: Any, row: Any) -> Any:
    """The marks of a row: the inherited ones are among its flags, the root's belong to its token."""
    return (np.int64(table.flags[row]) & language.inherited) | language.own[table.operator[row]]


@compiled(inline="always")
def _union(table: Any, language: Any, left: Any, right: Any) -> Any:
    """The marks of both operands together."""
    union = marks_of(table, language, left)
    if right >= 0:
        union |= marks_of(table, language, right)
    return union


@compiled(inline="always")
def _is_legal(operator: Any, language: Any, union: Any) -> Any:
    """Whether an operator may stand on operands with these marks; as ``MarkTable.allows``."""
    needed = language.needed[operator]
    return union & language.refused[operator] == 0 and union & needed == needed


@compiled()
def _enter(
    batch: Any,
    size: Any,
    level: Any,
    storing: Any,
    counting: Any,
    table: Any,
    store: Any,
    language: Any,
    known: Any,
    limits: Any,
    counts: Any,
    screened: Any,
) -> None:
    """Enters the new functions of a batch into the table; see :func:`expand`."""
    mask = known.shape[0] - 1
    # Fetches what the next loop reads, many at a time; it would wait for each.
    for i in range(size):
        counts[FETCHED] ^= known[batch.key[i] & mask, 0]
    nothing = np.empty(0, np.float32)
    for i in range(size):
        operator, left, right = np.int64(batch.operator[i]), np.int64(batch.left[i]), np.int64(batch.right[i])
        flags, cost = batch.flags[i], batch.cost[i]
        marks = np.int64(flags) | language.own[operator]
        place = place_of(known, batch.key[i])
        head = known[place, 1] if known[place, 0] != 0 else np.int64(-1)
        # Of the rows of this function, is there one that the rules see as this one?
        same, last, other = np.int64(-1), np.int64(-1), np.int64(-1)
        at = head
        while at >= 0:
            if marks_of(table, language, at) == marks:
                same = at
            if table.flags[at] & HAS_INPUT:
                other = at
            last, at = at, np.int64(table.next[at])
        if same >= 0:
            if same >= level and cost < table.cost[same]:
                table.operator[same] = operator
                table.left[same] = left
                table.right[same] = right
                table.cost[same] = cost
            continue
        row = counts[ROWS]
        counts[ROWS] += 1
        if head >= 0:
            table.next[last] = row
        else:
            known[place, 0] = batch.key[i]
            known[place, 1] = row
        table.operator[row] = operator
        table.left[row] = left
        table.right[row] = right
        table.cost[row] = cost
        table.place[row] = -1
        table.next[row] = -1
        is_new = bool(flags & HAS_INPUT) and other < 0
        if is_new or storing:
            _apply(operator, table, store, language, left, right, nothing, screened)
        if is_new:
            fit = is_fit(screened, language, limits)
            if fit and counting:
                flags |= np.uint8(FIT)
            counts[UNIQUE] += counting
            counts[UNFIT] += counting and not fit
        elif flags & HAS_INPUT and other >= 0:
            flags |= table.flags[other] & np.uint8(FIT)  # perhaps a cheaper spelling
        table.flags[row] = flags
        if storing:
            stored = counts[STORED]
            counts[STORED] += 1
            table.place[row] = stored
            _apply(operator, table, store, language, left, right, store.keyed[stored], nothing)
            store.screened[stored] = screened


@compiled()
def expand(
    operators: Any,
    lefts: Any,
    rights: Any,
    triangle: Any,
    start: Any,
    most_pairs: Any,
    level: Any,
    storing: Any,
    counting: Any,
    table: Any,
    store: Any,
    language: Any,
    known: Any,
    limits: Any,
    factors: Any,
    counts: Any,
) -> Any:
    """Tests operators on pairs of rows; returns how many pairs are done in all.

    Args:
        operators: Numbers of the operators, all of one arity.
        lefts: Rows of the left operand.
        rights: Rows of the right one, or -1 alone.
        triangle: Whether only pairs with the left before or at the right one count, as for a + b and b + a.
        start: Pairs done before.
        most_pairs: After which to return. Table, store and keys have room for what they may bring.
        level: The first row of the size under way: only such a row is spelled anew where a cheaper way is found.
        storing: Whether new rows are operands of others.
        counting: Whether new functions count: shorter ones than the grammar allows are operands only.
        table: The rows.
        store: Their values.
        language: The operators.
        known: The functions found, by key; see :func:`place_of`.
        limits: What is fit.
        factors: Of the hash, one per point.
        counts: Of what was tested and found.
    """
    nothing = np.empty(0, np.float32)
    keyed = np.empty(store.keyed.shape[1], np.float32)
    screened = np.empty(store.screened.shape[1], np.float32)
    room = BATCH + operators.size
    batch = Batch(
        np.empty(room, np.int16),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room, np.uint8),
        np.empty(room, np.float32),
        np.empty(room, np.int64),
    )
    size = 0
    spare = store.keyed.shape[0] - 1  # the last place is for an operand whose values are not stored
    recomputed = np.int64(-1)
    end = min(start + most_pairs, lefts.size * rights.size)
    for pair in range(start, end):
        left = np.int64(lefts[pair // rights.size])
        right = np.int64(rights[pair % rights.size])
        if triangle and left > right:
            continue
        if table.place[left] < 0:
            _enter(batch, size, level, storing, counting, table, store, language, known, limits, counts, screened)
            size = 0
            if recomputed >= 0:
                table.place[recomputed] = -1
            a, b = np.int64(table.left[left]), np.int64(table.right[left])
            _apply(table.operator[left], table, store, language, a, b, store.keyed[spare], nothing)
            _apply(table.operator[left], table, store, language, a, b, nothing, store.screened[spare])
            table.place[left] = spare
            recomputed = left
        union = _union(table, language, left, right)
        for operator in operators:
            if not _is_legal(operator, language, union):
                continue
            counts[TESTED] += 1
            _apply(operator, table, store, language, left, right, keyed, nothing)
            flags = np.uint8((union | language.own[operator]) & language.inherited)
            cost = np.float32(0)
            if flags & HAS_INPUT:
                cost = language.cost[operator] + table.cost[left] + (table.cost[right] if right >= 0 else np.float32(0))
            batch.operator[size] = operator
            batch.left[size] = left
            batch.right[size] = right
            batch.flags[size] = flags
            batch.cost[size] = cost
            batch.key[size] = key_of(keyed, factors)
            size += 1
        if size >= BATCH:
            _enter(batch, size, level, storing, counting, table, store, language, known, limits, counts, screened)
            size = 0
    _enter(batch, size, level, storing, counting, table, store, language, known, limits, counts, screened)
    if recomputed >= 0:
        table.place[recomputed] = -1
    return end
