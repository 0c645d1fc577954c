"""From the cells of JSON records to Arrow columns.

Senders write numbers as text and text as numbers, so a cell is read as whatever is asked for. What
they write for "nothing" - null, an empty text, ``-`` (AWS), ``(not set)`` (Apigee) - is null, and
never 0.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING, texts
from pipeline.decode.kernels.json_text import Page, written
from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import (
    CLOSE_OBJECT,
    COMMA,
    LENGTH_MASK,
    LONGEST_ESCAPED,
    OFFSET_BITS,
    OPEN_OBJECT,
    copy,
    json_string,
    slices_of,
)
from pipeline.decode.records.record_walk import FALSE, NUMBER, NUMBER_OF, STRING, TRUE, Walked

Mask = NDArray[np.bool_]

_NOT_SET: Final = np.frombuffer(b"(not set)", np.uint8)
_MOST_DIGITS: Final = 18
_NUMBER_ROOM: Final = 32


class Cells:
    """The cells of records by name, as columns.

    Args:
        walked: the records.
        names: the position of every cell.
    """

    def __init__(self, walked: Walked, names: Mapping[str, int]) -> None:
        self.walked = walked
        self._names = names
        # a row of each cell, since whole cells are read, one after the other
        self._cells = np.ascontiguousarray(walked.cells.T)
        self._kinds = np.ascontiguousarray(walked.kinds.T)
        self._slices: dict[str, Ints] = {}

    def __len__(self) -> int:
        return len(self.walked.cells)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def told(self, name: str) -> Mask:
        """Which records tell something by that name."""
        told: Mask = self._told(name) >= 0
        return told

    def texts(self, name: str) -> pa.Array:
        """The cells as text; numbers and truths as they were written."""
        return texts(self.walked.source, self._told(name))

    def first(self, *names: str) -> pa.Array:
        """Of each record the first of these cells that tells something, as text."""
        slices = self._told(names[0])
        for name in names[1:]:
            slices = np.where(slices >= 0, slices, self._told(name))
        return texts(self.walked.source, slices)

    def paths(self, name: str) -> pa.Array:
        """Paths without what follows them: query and fragment may be secret, and are not kept."""
        cut = self._told(name).copy()
        _cut(self.walked.source, cut)
        return texts(self.walked.source, cut)

    def numbers(self, name: str, *, scale: int = 0, most: int = (1 << 63) - 1) -> tuple[Ints, Mask]:
        """The cells as numbers from 0 to ``most``, times ten to the power of ``scale``.

        What is behind the last digit is cut off. Negative numbers are what gateways write for a
        phase that did not happen: they are not told, as is whatever is no number.
        """
        found = np.zeros(len(self), np.int64)
        valid = np.zeros(len(self), np.uint8)
        _numbers(self.walked.source, self._told(name), scale, found, valid)
        mask: Mask = valid.astype(np.bool_) & (found <= most)
        return found, mask

    def column(self, name: str, kind: pa.DataType, *, scale: int = 0) -> pa.Array:
        """The cells as numbers of an Arrow type; null where they do not fit."""
        bits = kind.bit_width - (0 if pa.types.is_unsigned_integer(kind) else 1)
        found, valid = self.numbers(name, scale=scale, most=(1 << min(bits, 63)) - 1)
        return column_of(found, valid, kind)

    def counts(self, name: str) -> Ints:
        """How many elements the array has that the cell counts; -1 where it is not told."""
        place = self._names[name]
        counted: Ints = np.where(self._kinds[place] == NUMBER_OF, self._cells[place], NOTHING)
        return counted

    def raw(self, name: str, rows: Ints) -> list[bytes]:
        """The JSON text of a cell of some records, as it came."""
        walked = self.walked
        messages = walked.messages[rows]
        slices = walked.cells[rows, self._names[name]]
        begins = (slices >> OFFSET_BITS) - walked.starts[messages]
        ends = begins + (slices & LENGTH_MASK)
        places = zip(messages.tolist(), begins.tolist(), ends.tolist(), strict=True)
        return [walked.texts[message][begin:end] for message, begin, end in places]

    def attributes(
        self, labels: Mapping[str, str], added: Mapping[str, pa.Array] | None = None
    ) -> pa.Array:
        """One JSON object for each record; null where there is nothing to tell.

        Args:
            labels: by cell the name of the attribute it becomes: numbers and truths stay what they
                are, texts are texts.
            added: attributes that are no cells, as text.
        """
        own = [name for name in labels if self.told(name).any()]
        more = {name: text for name, text in (added or {}).items() if text.null_count < len(text)}
        names = [*(labels[name] for name in own), *more]
        keys = [orjson.dumps(name) + b":" for name in names]
        slices = np.full((len(self), len(names)), NOTHING, np.int64)
        kinds = np.full((len(self), len(names)), STRING, np.uint8)
        for column, name in enumerate(own):
            slices[:, column] = self._told(name)
            kinds[:, column] = self._kinds[self._names[name]]
        extra, size = [], 0
        for column, text in enumerate(more.values(), len(own)):
            data, slices[:, column] = _slices(text, size)
            extra.append(data)
            size += len(data)
        source, other = self.walked.source, buffer_of(extra)
        label_slices, label_buffer = slices_of(keys), buffer_of(keys)

        def write(page: Page) -> int:
            return _objects(
                source, other, len(own), slices, kinds, label_buffer, label_slices, page
            )

        return written(write, source.size + other.size, len(self))

    def _told(self, name: str) -> Ints:
        """Where the text of each cell is; ``NOTHING`` where nothing is told."""
        if name not in self._slices:
            place = self._names[name]
            told = self._cells[place].copy()
            _blank(self.walked.source, self._kinds[place], told)
            self._slices[name] = told
        return self._slices[name]


def _slices(text: pa.Array, begin: int) -> tuple[bytes, Ints]:
    """The bytes of a column of texts, and where each is when they are put at ``begin``."""
    _, offsets, data = text.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(text) + 1, text.offset * 4).astype(np.int64)
    slices = ((bounds[:-1] + begin) << OFFSET_BITS) | np.diff(bounds)
    slices[pc.is_null(text).to_numpy(zero_copy_only=False)] = NOTHING
    return (b"" if data is None else data.to_pybytes()), slices


def column_of(values: Ints, valid: Mask, kind: pa.DataType) -> pa.Array:
    """Numbers as a column, null where they are not valid.

    ``pa.array`` does the same, but looks for pandas every time, which costs more than the column.
    """
    data = np.where(valid, values, 0).astype(kind.to_pandas_dtype())
    return _of_buffers(kind, len(data), data, None if valid.all() else valid)


def truths(mask: Mask) -> pa.Array:
    """A mask as a column."""
    return _of_buffers(pa.bool_(), len(mask), np.packbits(mask, bitorder="little"), None)


def _of_buffers(
    kind: pa.DataType, size: int, data: NDArray[np.generic], valid: Mask | None
) -> pa.Array:
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, size, [bits, pa.py_buffer(data)])


@kernel
def _blank(source: Buffer, kinds: Bytes, slices: Ints) -> None:
    """Leave only cells that tell something."""
    for row in range(len(slices)):
        if kinds[row] == STRING:
            if _says_nothing(source, slices[row]):
                slices[row] = NOTHING
        elif kinds[row] not in (NUMBER, TRUE, FALSE):
            slices[row] = NOTHING


@inlined
def _says_nothing(source: Buffer, slice_: int) -> bool:
    """Whether a text is empty, ``-`` or ``(not set)``."""
    begin = slice_ >> OFFSET_BITS
    length = slice_ & LENGTH_MASK
    if length < 2:
        return length == 0 or source.data[begin] == ord("-")
    if length != len(_NOT_SET) or source.data[begin] != _NOT_SET[0]:
        return False
    for index in range(length):  # noqa: SIM110 - kernels have no generators
        if source.data[begin + index] != _NOT_SET[index]:
            return False
    return True


@kernel
def _cut(source: Buffer, slices: Ints) -> None:
    """Shorten texts to what stands before the first question mark or number sign."""
    for row in range(len(slices)):
        if slices[row] >= 0:
            begin = slices[row] >> OFFSET_BITS
            length = slices[row] & LENGTH_MASK
            for index in range(length):
                if source.data[begin + index] == ord("?") or source.data[begin + index] == ord("#"):
                    slices[row] = begin << OFFSET_BITS | index
                    break


@kernel
def _numbers(source: Buffer, slices: Ints, scale: int, found: Ints, valid: Bytes) -> None:
    for row in range(len(slices)):
        if slices[row] >= 0:
            begin = slices[row] >> OFFSET_BITS
            value = _number(source, begin, begin + (slices[row] & LENGTH_MASK), scale)
            if value >= 0:
                found[row] = value
                valid[row] = 1


@inlined
def _number(source: Buffer, at: int, end: int, scale: int) -> int:
    """A number with or without fraction and exponent, times 10**scale; -1 when it is none."""
    while at < end and source.data[at] == 32:
        at += 1
    while at < end and source.data[end - 1] == 32:
        end -= 1
    value, digits, shift, point = 0, 0, scale, -1
    begin = at
    while at < end:
        byte = source.data[at]
        if ord("0") <= byte <= ord("9"):
            if digits < _MOST_DIGITS:
                value = value * 10 + int(np.int64(byte)) - 48
                digits += value > 0
                shift -= point >= 0
            else:
                shift += point < 0
        elif byte == ord(".") and point < 0:
            point = at
        else:
            break
        at += 1
    power = _exponent(source, at, end)
    if begin in (at, point) or power < -99:
        return -1
    return _shifted(value, shift + power)


@inlined
def _exponent(source: Buffer, at: int, end: int) -> int:
    """The exponent of a number, 0 for none; -100 when it is none or too large for any use."""
    if at == end:
        return 0
    if source.data[at] | 32 != ord("e") or at + 1 == end or end - at > 4:
        return -100
    sign = 1
    at += 1
    if source.data[at] == ord("-") or source.data[at] == ord("+"):
        sign = -1 if source.data[at] == ord("-") else 1
        at += 1
    value = 0
    if at == end:
        return -100
    while at < end:
        if not ord("0") <= source.data[at] <= ord("9"):
            return -100
        value = value * 10 + int(np.int64(source.data[at])) - 48
        at += 1
    return sign * value


@inlined
def _shifted(value: int, shift: int) -> int:
    """A number times a power of ten; -1 where it does not fit."""
    while shift > 0 and value > 0:
        if value > 922_337_203_685_477_580:
            return -1
        value *= 10
        shift -= 1
    while shift < 0 and value > 0:
        value //= 10
        shift += 1
    return value


@kernel
def _objects(
    source: Buffer, other: Buffer, own: int, slices: Ints, kinds: Bytes, labels: Buffer,
    label_slices: Ints, page: Page,
) -> int:  # fmt: skip
    """Write one object for each record; returns the record there was no room for."""
    first, out, offsets = page
    for row in range(first, len(slices)):
        at = offsets[row]
        need = _NUMBER_ROOM
        for column in range(slices.shape[1]):
            if slices[row, column] >= 0:
                size = slices[row, column] & LENGTH_MASK
                need += (label_slices[column] & LENGTH_MASK) + LONGEST_ESCAPED * size + _NUMBER_ROOM
        if at + need > out.size:
            return row
        begin = at
        for column in range(slices.shape[1]):
            slice_ = slices[row, column]
            if slice_ < 0:
                continue
            out.data[at] = OPEN_OBJECT if at == begin else COMMA
            at = copy(labels, label_slices[column], out, at + 1)
            if column >= own:
                at = json_string(other, slice_, out, at)
            elif kinds[row, column] == STRING:
                at = json_string(source, slice_, out, at)
            else:
                at = copy(source, slice_, out, at)
        if at > begin:
            out.data[at] = CLOSE_OBJECT
            at += 1
        offsets[row + 1] = at
    return len(slices)
