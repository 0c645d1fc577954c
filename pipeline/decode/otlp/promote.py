"""Attributes that become columns: found by name, checked, converted, and taken out of the rest."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import Offsets, mark_valid, string_array
from pipeline.decode.kernels.hashing import hashes_of, same
from pipeline.decode.kernels.json_text import Values, objects, owners_bounds, repeated, values_of
from pipeline.decode.kernels.kernel import (
    Buffer,
    Bytes,
    Ints,
    buffer_of,
    empty_buffer,
    inlined,
    kernel,
)
from pipeline.decode.kernels.text import (
    LENGTH_MASK,
    LONGEST_MENDED,
    OFFSET_BITS,
    copy_text,
    decimal,
    slices_of,
)
from pipeline.decode.otlp.attributes import Promoted
from pipeline.decode.wire.declaration import PARENT
from pipeline.decode.wire.otlp_common import INT, STRING
from pipeline.decode.wire.walk import Rows

_TEXT, _NUMBER, _FLAG = range(3)
_KINDS: Final = {"text": _TEXT, "number": _NUMBER, "flag": _FLAG}
_COLUMN, _RANK, _KIND, _MOST, _LITERAL = range(5)
_LONGEST_NUMBER: Final = 20
_SLASH: Final = ord("/")

Chosen = NDArray[np.int32]


class _Names(NamedTuple):
    """What kernels know of the promoted attributes.

    Attributes:
        text: all names and literals.
        slices: where in ``text`` each name is.
        hashes: the hash of each name.
        table: open addressing by hash: the number of the name, or -1.
        meaning: for each name its column, its rank there, and the column's kind, most and literal.
    """

    text: Buffer
    slices: Ints
    hashes: Ints
    table: Ints
    meaning: Ints


class Promotion:
    """Promoted attributes, compiled.

    Args:
        columns: for each column the attributes that fill it.
    """

    def __init__(self, columns: Mapping[str, Promoted]) -> None:
        self.columns = columns
        self.numbers = {column: number for number, column in enumerate(columns)}
        self._names = _compiled(columns)

    def find(self, source: Buffer, rows: Rows, owners: int) -> "Found":
        """Find the promoted attributes among attribute rows that belong to so many owners."""
        values = values_of(rows)
        hashes = hashes_of(source, rows.column("key"))
        skip = repeated(source, values, owners_bounds(rows.cells, owners), hashes)
        chosen = np.full((len(self.columns), owners), -1, np.int32)
        ranks = np.empty((len(self.columns), owners), np.int8)
        counts = np.zeros(len(self.columns), np.int64)
        _find(source, values, hashes, self._names, skip, Choice(chosen, ranks, counts))
        return Found(self, source, rows, skip, Choice(chosen, ranks, counts))


class Choice(NamedTuple):
    """Which attribute row fills each column of each owner.

    Attributes:
        rows: by column and owner the number of the row, or -1.
        ranks: how good its name is; 0 is best.
        counts: how many owners have the column at all, or had at some time.
    """

    rows: Chosen
    ranks: NDArray[np.int8]
    counts: Ints


class Found:
    """The promoted attributes of a table of attributes."""

    def __init__(
        self, promotion: Promotion, source: Buffer, rows: Rows, skip: Bytes, choice: Choice
    ) -> None:
        self._promotion = promotion
        self._source = source
        self._rows = rows
        self._values = values_of(rows)
        self._skip = skip
        self._choice = choice

    def chosen(self, column: str) -> Chosen:
        """The attribute row that fills the column of each owner, or -1."""
        rows: Chosen = self._choice.rows[self._promotion.numbers[column]]
        return rows

    def join(self, column: str, prefix: str) -> None:
        """Put ``prefix`` in front of ``column`` with a slash; where there is none, it stays behind.

        Nothing is put in front of a value that has a slash of its own.
        """
        _join(self._source, self._values, self.chosen(column), self.chosen(prefix), self._skip)

    def texts(self, column: str, prefix: str | None = None) -> pa.Array:
        """The column as strings, with the joined ``prefix`` in front."""
        rows = self.chosen(column)
        if not self._choice.counts[self._promotion.numbers[column]]:
            return pa.nulls(len(rows), pa.string())
        before = self.chosen(prefix) if prefix else np.empty(0, np.int32)
        offsets = np.zeros(len(rows) + 1, np.int32)
        validity = np.zeros((len(rows) + 7) // 8, np.uint8)
        room = _measure(self._values, rows) + (_measure(self._values, before) if prefix else 0)
        out = empty_buffer(LONGEST_MENDED * room)
        nulls = _texts(self._source, self._values, rows, before, out, offsets, validity)
        return string_array(out, offsets, validity, nulls)

    def numbers(self, column: str, kind: pa.DataType) -> pa.Array:
        """The column as numbers of an Arrow type."""
        rows = self.chosen(column)
        if not self._choice.counts[self._promotion.numbers[column]]:
            return pa.nulls(len(rows), kind)
        cells = np.zeros(len(rows), np.int64)
        _numbers(self._source, self._values, rows, cells)
        return pa.array(cells.astype(kind.to_pandas_dtype()), kind, mask=rows < 0)

    def ranks(self, column: str) -> NDArray[np.int8]:
        """By which of the column's names each owner told it; -1 where it did not."""
        number = self._promotion.numbers[column]
        ranks: NDArray[np.int8] = np.where(
            self._choice.rows[number] >= 0, self._choice.ranks[number], np.int8(-1)
        )
        return ranks

    def flags(self, column: str) -> NDArray[np.bool_]:
        """Which owners have the column's literal."""
        return self.chosen(column) >= 0

    def rest(self) -> pa.Array:
        """All other attributes: one JSON object for each owner, or null."""
        owners = self._choice.rows.shape[1]
        return objects(self._source, self._rows, owners, skip=self._skip)


def _compiled(columns: Mapping[str, Promoted]) -> _Names:
    named = [
        (name, number, rank, promoted)
        for number, promoted in enumerate(columns.values())
        for rank, name in enumerate(promoted.names)
    ]
    words = [name.encode() for name, *_ in named]
    literals = [promoted.literal.encode() for *_, promoted in named]
    text = buffer_of(words + literals)
    slices = slices_of(words + literals)
    hashes = hashes_of(text, slices[: len(words)])
    table = np.full(1 << (4 * len(words)).bit_length(), -1, np.int64)
    for number, value in enumerate(hashes.tolist()):
        spot = value & (len(table) - 1)
        while table[spot] >= 0:
            spot = (spot + 1) & (len(table) - 1)
        table[spot] = number
    meaning = [
        (column, rank, _KINDS[promoted.kind], promoted.most, slices[len(words) + index])
        for index, (_, column, rank, promoted) in enumerate(named)
    ]
    return _Names(text, slices[: len(words)], hashes, table, np.array(meaning, np.int64))


@kernel
def _find(
    source: Buffer, values: Values, hashes: Ints, names: _Names, skip: Bytes, choice: Choice
) -> None:
    cells = values.cells
    for row in range(len(cells)):
        owner = cells[row, PARENT]
        if owner < 0 or skip[row]:
            continue
        name = _name_of(source, cells[row, values.key], hashes[row], names)
        if name < 0:
            continue
        column = names.meaning[name, _COLUMN]
        rank = names.meaning[name, _RANK]
        fit = _fits(source, values, row, names, name)
        if fit < 0:
            skip[row] = 1
        if fit <= 0:
            continue
        other = choice.rows[column, owner]
        if other >= 0 and choice.ranks[column, owner] < rank:
            continue
        if other >= 0:
            skip[other] = 0
        choice.rows[column, owner] = row
        choice.ranks[column, owner] = rank
        choice.counts[column] += 1
        skip[row] = 1


@inlined
def _name_of(source: Buffer, key: int, hash_: int, names: _Names) -> int:
    """The number of the promoted name that a key is, or -1."""
    mask = len(names.table) - 1
    spot = hash_ & mask
    while names.table[spot] >= 0:
        name = names.table[spot]
        if names.hashes[name] == hash_ and same(source, key, names.text, names.slices[name]):
            return int(name)
        spot = (spot + 1) & mask
    return -1


@inlined
def _fits(source: Buffer, values: Values, row: int, names: _Names, name: int) -> int:
    """1 when the value fits its column, -1 when it says that there is none, else 0."""
    kind = names.meaning[name, _KIND]
    literal = names.meaning[name, _LITERAL]
    told = values.cells[row, values.type]
    value = values.cells[row, values.value]
    if kind == _NUMBER:
        number = value if told == INT else -1
        if told == STRING:
            number = _number(source, value)
        return int(0 <= number <= names.meaning[name, _MOST])
    if told == STRING and same(source, value, names.text, literal):
        return 1 if kind == _FLAG else -int(value & LENGTH_MASK > 0)
    if kind == _FLAG:
        return 0
    return int(told == INT or (told == STRING and value & LENGTH_MASK > 0))


@inlined
def _number(source: Buffer, slice_: int) -> int:
    """The number that a string of decimal digits writes, or -1."""
    begin = slice_ >> OFFSET_BITS
    length = slice_ & LENGTH_MASK
    if length == 0 or length > 10:
        return -1
    number = 0
    for index in range(begin, begin + length):
        digit = int(np.int64(source.data[index])) - ord("0")
        if digit < 0 or digit > 9:
            return -1
        number = 10 * number + digit
    return number


@kernel
def _join(source: Buffer, values: Values, rows: Chosen, before: Chosen, skip: Bytes) -> None:
    for owner in range(len(rows)):
        if before[owner] >= 0 and (rows[owner] < 0 or _has_slash(source, values, rows[owner])):
            skip[before[owner]] = 0
            before[owner] = -1


@inlined
def _has_slash(source: Buffer, values: Values, row: int) -> bool:
    if values.cells[row, values.type] != STRING:
        return False
    slice_ = values.cells[row, values.value]
    begin = slice_ >> OFFSET_BITS
    for index in range(begin, begin + (slice_ & LENGTH_MASK)):
        if source.data[index] == _SLASH:
            return True
    return False


@kernel
def _measure(values: Values, rows: Chosen) -> int:
    """How many bytes the chosen values have together, at most."""
    total = 0
    for owner in range(len(rows)):
        if rows[owner] >= 0:
            is_number = values.cells[rows[owner], values.type] == INT
            length = values.cells[rows[owner], values.value] & LENGTH_MASK
            total += 1 + (_LONGEST_NUMBER if is_number else length)
    return total


@kernel
def _texts(
    source: Buffer,
    values: Values,
    rows: Chosen,
    before: Chosen,
    out: Buffer,
    offsets: Offsets,
    validity: Bytes,
) -> int:
    """Write texts, offsets and validity; returns how many are null."""
    at = 0
    nulls = 0
    for owner in range(len(rows)):
        row = rows[owner]
        if row < 0:
            nulls += 1
        else:
            mark_valid(validity, owner)
            if len(before) and before[owner] >= 0:
                at = _text(source, values, before[owner], out, at)
                out.data[at] = _SLASH
                at += 1
            at = _text(source, values, row, out, at)
        offsets[owner + 1] = at
    return nulls


@inlined
def _text(source: Buffer, values: Values, row: int, out: Buffer, at: int) -> int:
    value = values.cells[row, values.value]
    if values.cells[row, values.type] == INT:
        return decimal(value, out, at)
    return copy_text(source, value, out, at)


@kernel
def _numbers(source: Buffer, values: Values, rows: Chosen, cells: Ints) -> None:
    for owner in range(len(rows)):
        row = rows[owner]
        if row >= 0:
            value = values.cells[row, values.value]
            told = values.cells[row, values.type]
            cells[owner] = value if told == INT else _number(source, value)
