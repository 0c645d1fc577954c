"""The lines of an exposition: one compiled pass over the text finds where everything lies.

Read is what the Prometheus text format 0.0.4 and OpenMetrics 1.0 have in common, names in quotes
(``{"http.server"}``) included, and what only one of them has: several blanks in a row, exemplars.
The values of labels lose their escapes where they stand, so all that is found are slices.
Sources: https://prometheus.io/docs/instrumenting/exposition_formats/,
https://prometheus.io/docs/specs/om/open_metrics_spec/, prometheus ``model/textparse``.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING
from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.lines.lines import Lines
from pipeline.decode.wire.declaration import HEADER, PARENT
from pipeline.decode.wire.otlp_common import STRING
from pipeline.decode.wire.walk import Rows
from pipeline.model.scrape import STALE_PREFIX

Truths = NDArray[np.bool_]

COMMENT, SAMPLE, STALE, TYPE, UNIT, EOF = range(6)
"""What a line is; help texts are comments."""

REASONS: Final = (
    "",
    "no metric name",
    "a name with a character that no name has",
    "labels that are not name=\"value\", with commas between",
    "a label value without its closing quote",
    "no value",
    "something behind the value that is no timestamp",
    "an exemplar that is not {labels} value",
    "a TYPE or UNIT line that does not say which of what",
)  # fmt: skip
"""Why a line could not be read; the first stands for nothing."""

_NO_NAME, _BAD_NAME, _BAD_LABELS, _OPEN_QUOTE, _NO_VALUE, _BAD_END, _BAD_EXEMPLAR, _BAD_NOTE = (
    range(1, len(REASONS))
)

_LABEL_CELLS: Final = {"key": HEADER, "value": HEADER + 1, "type": HEADER + 2}
_EXEMPLAR_CELLS: Final = {"value": HEADER, "time": HEADER + 1}
_NAME, _VALUE, _TIME, _LINE = range(4)
_SMALLEST_LABEL: Final = 5
"""Bytes of a label that has a value: ``a="b"``."""

_SPACE, _TAB, _QUOTE, _BACKSLASH, _HASH = 0x20, 0x09, 0x22, 0x5C, 0x23
_OPEN, _CLOSE, _COMMA, _EQUALS, _COLON = 0x7B, 0x7D, 0x2C, 0x3D, 0x3A
_SAMPLES, _LABELS, _EXEMPLARS, _MORE, _QUOTED = range(5)
"""Places of the state of a scan: rows so far in each table, and the name told in quotes."""

_STALE: Final = np.frombuffer(STALE_PREFIX, np.uint8)
_WORDS: Final = np.frombuffer(b"TYPEUNITEOF ", np.uint8)


def _classes() -> Bytes:
    """1 for what may begin the name of a label, 2 for what may follow."""
    classes = np.zeros(256, np.uint8)
    letters = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_", np.uint8)
    classes[letters] = 3
    classes[np.frombuffer(b"0123456789", np.uint8)] = 2
    return classes


_CLASS: Final = _classes()


class _Room(NamedTuple):
    """Tables that a scan writes to, and how far it came."""

    samples: Ints
    labels: Ints
    exemplars: Ints
    more: Ints
    notes: Ints
    kinds: Bytes
    faults: Bytes
    state: Ints


@dataclass(frozen=True, slots=True)
class Scan:
    """What the lines hold.

    Attributes:
        kinds: what each line is.
        faults: of each line the number of the reason why it could not be read; 0 where it could.
        samples: the number of the line of each sample, in order; stale series are among them.
        names: of each sample the slice of its name.
        values: of each sample the slice of its value; ``NOTHING`` of stale series.
        times: of each sample the slice of its timestamp, or ``NOTHING``.
        labels: labels that are not empty; cells ``key``, ``value``, ``type``; parents are samples.
        exemplars: cells ``value``, ``time`` (slices, as of samples); parents are samples.
        exemplar_labels: the same as labels; parents are exemplars.
        notes: of each line of the kinds TYPE and UNIT the slice of the metric's name.
        told: of each line of the kinds TYPE and UNIT the slice of what it says.
    """

    kinds: Bytes
    faults: Bytes
    samples: Ints
    names: Ints
    values: Ints
    times: Ints
    labels: Rows
    exemplars: Rows
    exemplar_labels: Rows
    notes: Ints
    told: Ints

    def some(self, kept: Truths) -> "Scan":
        """What remains when only these samples are kept."""
        if kept.all():
            return self
        number = np.cumsum(kept) - 1
        exemplars = kept[self.exemplars.parents]
        return replace(
            self,
            samples=self.samples[kept],
            names=self.names[kept],
            values=self.values[kept],
            times=self.times[kept],
            labels=_of(self.labels, kept, number),
            exemplars=_of(self.exemplars, kept, number),
            exemplar_labels=_of(self.exemplar_labels, exemplars, np.cumsum(exemplars) - 1),
        )


def _of(rows: Rows, kept: Truths, number: Ints) -> Rows:
    """The rows whose parents are kept, under the new numbers of these."""
    cells = np.ascontiguousarray(rows.cells[kept[rows.parents]])
    cells[:, PARENT] = number[cells[:, PARENT]]
    return Rows(cells, rows.names)


def scan(lines: Lines) -> Scan:
    """Find samples, labels and the types of metrics; takes the escapes out of the buffer."""
    count, source = len(lines), lines.buffer
    most = min(
        int(np.count_nonzero(source.data[: source.size] == _EQUALS)), source.size // _SMALLEST_LABEL
    )
    room = _Room(
        np.empty((count, 4), np.int64),
        np.empty((most, HEADER + len(_LABEL_CELLS)), np.int64),
        np.empty((count, HEADER + len(_EXEMPLAR_CELLS)), np.int64),
        np.empty((most, HEADER + len(_LABEL_CELLS)), np.int64),
        np.full((count, 2), NOTHING, np.int64),
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint8),
        np.zeros(5, np.int64),
    )
    _scan(source, lines.slices, room)
    samples, labels, exemplars, more = room.state[:_QUOTED].tolist()
    return Scan(
        room.kinds,
        room.faults,
        room.samples[:samples, _LINE],
        room.samples[:samples, _NAME],
        room.samples[:samples, _VALUE],
        room.samples[:samples, _TIME],
        Rows(room.labels[:labels], _LABEL_CELLS),
        Rows(room.exemplars[:exemplars], _EXEMPLAR_CELLS),
        Rows(room.more[:more], _LABEL_CELLS),
        room.notes[:, 0],
        room.notes[:, 1],
    )


@kernel
def _scan(source: Buffer, slices: Ints, room: _Room) -> None:
    state = room.state
    for line in range(len(slices)):
        at = slices[line] >> OFFSET_BITS
        end = at + (slices[line] & LENGTH_MASK)
        kind = SAMPLE
        if source.data[at] == _HASH:
            kind, at = _comment(source, at, end)
        room.kinds[line] = kind
        if kind in (TYPE, UNIT):
            room.faults[line] = _note(source, at, end, room.notes, line)
        elif kind in (SAMPLE, STALE):
            labels, exemplars, more = state[_LABELS], state[_EXEMPLARS], state[_MORE]
            fault = _sample(source, at, end, room, line)
            room.faults[line] = fault
            if fault:
                state[_LABELS], state[_EXEMPLARS], state[_MORE] = labels, exemplars, more
            else:
                state[_SAMPLES] += 1


@kernel
def _comment(source: Buffer, at: int, end: int) -> tuple[int, int]:
    """What a line is that begins with ``#``, and where its contents begin."""
    if end - at >= len(_STALE):
        stale = True
        for index in range(len(_STALE)):
            stale &= source.data[at + index] == _STALE[index]
        if stale:
            return STALE, at + len(_STALE)
    begin = _past_blanks(source, at + 1, end)
    at = begin
    while at < end and not _is_blank(source.data[at]):
        at += 1
    for word in range(3):
        length = 4 - int(word == 2)
        same = at - begin == length
        for index in range(length):
            same &= source.data[begin + index] == _WORDS[4 * word + index]
        if same:
            return TYPE + word, _past_blanks(source, at, end)
    return COMMENT, at


@kernel
def _note(source: Buffer, at: int, end: int, notes: Ints, line: int) -> int:
    """The name and the word of a TYPE or UNIT line; returns a fault."""
    if at < end and source.data[at] == _QUOTE:
        name, at = _quoted(source, at, end)
        if at < 0:
            return _BAD_NOTE
    else:
        begin = at
        while at < end and not _is_blank(source.data[at]):
            at += 1
        name = begin << OFFSET_BITS | (at - begin)
    at = _past_blanks(source, at, end)
    if name & LENGTH_MASK == 0 or at == end:
        return _BAD_NOTE
    notes[line, 0] = name
    notes[line, 1] = at << OFFSET_BITS | (end - at)
    return 0


@kernel
def _sample(source: Buffer, at: int, end: int, room: _Room, line: int) -> int:
    """Write the rows of one sample; returns a fault."""
    data, state, row = source.data, room.state, room.samples[room.state[_SAMPLES]]
    begin = at
    while at < end and (_CLASS[data[at]] or data[at] == _COLON):
        at += 1
    name = begin << OFFSET_BITS | (at - begin)
    if at > begin and not (_CLASS[data[begin]] & 1 or data[begin] == _COLON):
        return _BAD_NAME
    at = _past_blanks(source, at, end)
    if at < end and data[at] == _OPEN:
        state[_QUOTED] = name
        at = _labels(source, at + 1, end, room.labels, state, _LABELS, state[_SAMPLES])
        if at < 0:
            return -at
        name = state[_QUOTED]
    elif at == begin + (name & LENGTH_MASK) and at < end:
        return _BAD_NAME if at > begin else _NO_NAME
    if name & LENGTH_MASK == 0:
        return _NO_NAME
    row[_NAME], row[_LINE], row[_VALUE], row[_TIME] = name, line, NOTHING, NOTHING
    if room.kinds[line] == STALE:
        return 0 if _past_blanks(source, at, end) == end else _BAD_END
    return _measured(source, at, end, room, row)


@kernel
def _measured(source: Buffer, at: int, end: int, room: _Room, row: Ints) -> int:
    """What stands behind the labels: value, timestamp, exemplar; returns a fault."""
    row[_VALUE], at = _token(source, at, end)
    if row[_VALUE] == NOTHING:
        return _NO_VALUE
    row[_TIME], at = _token(source, at, end)
    if at == end:
        return 0
    return _exemplar(source, at, end, room) if source.data[at] == _HASH else _BAD_END


@kernel
def _exemplar(source: Buffer, at: int, end: int, room: _Room) -> int:
    """Write the rows of an exemplar, which begins with ``#``; returns a fault."""
    state, row = room.state, room.exemplars[room.state[_EXEMPLARS]]
    at = _past_blanks(source, at + 1, end)
    if at == end or source.data[at] != _OPEN:
        return _BAD_EXEMPLAR
    state[_QUOTED] = 0
    at = _labels(source, at + 1, end, room.more, state, _MORE, state[_EXEMPLARS])
    if at < 0:
        return _BAD_EXEMPLAR
    row[PARENT] = state[_SAMPLES]
    row[HEADER], at = _token(source, at, end)
    row[HEADER + 1], at = _token(source, at, end)
    if row[HEADER] == NOTHING or at != end:
        return _BAD_EXEMPLAR
    state[_EXEMPLARS] += 1
    return 0


@kernel
def _labels(
    source: Buffer, at: int, end: int, rows: Ints, state: Ints, table: int, parent: int
) -> int:
    """Write labels up to the closing brace; returns where it ends, or minus a fault."""
    data = source.data
    at = _past_blanks(source, at, end)
    while at < end and data[at] != _CLOSE:
        at = _label(source, at, end, rows, state, table, parent)
        if at < 0:
            return at
        if at < end and data[at] == _COMMA:
            at = _past_blanks(source, at + 1, end)
        elif at == end or data[at] != _CLOSE:
            return -_BAD_LABELS
    return at + 1 if at < end else -_BAD_LABELS


@kernel
def _label(
    source: Buffer, at: int, end: int, rows: Ints, state: Ints, table: int, parent: int
) -> int:
    """Write one label, or remember a name in quotes; returns where it ends, or minus a fault."""
    data, quoted = source.data, source.data[at] == _QUOTE
    key, at = _quoted(source, at, end) if quoted else _plain(source, at, end)
    if at < 0:
        return -_OPEN_QUOTE if quoted else -_BAD_LABELS
    at = _past_blanks(source, at, end)
    if at == end or data[at] != _EQUALS:
        if not quoted or state[_QUOTED] & LENGTH_MASK:
            return -_BAD_LABELS
        state[_QUOTED] = key
        return at
    at = _past_blanks(source, at + 1, end)
    if at == end or data[at] != _QUOTE:
        return -_BAD_LABELS
    value, at = _quoted(source, at, end)
    if at < 0:
        return -_OPEN_QUOTE
    if value & LENGTH_MASK:
        row = rows[state[table]]
        row[0], row[1], row[2], row[3], row[4] = parent, 0, key, value, STRING
        state[table] += 1
    return _past_blanks(source, at, end)


@inlined
def _plain(source: Buffer, at: int, end: int) -> tuple[int, int]:
    """The name of a label without quotes, and where it ends; -1 when there is none."""
    begin = at
    while at < end and _CLASS[source.data[at]]:
        at += 1
    good = at > begin and _CLASS[source.data[begin]] & 1
    return begin << OFFSET_BITS | (at - begin), at if good else -1


@kernel
def _quoted(source: Buffer, at: int, end: int) -> tuple[int, int]:
    """A text in quotes, its escapes undone in place, and where it ends; -1 when it does not."""
    data, begin = source.data, at + 1
    at, out = begin, begin
    while at < end and data[at] != _QUOTE:
        byte = data[at]
        if byte == _BACKSLASH and at + 1 < end:
            following = data[at + 1]
            if following in (_BACKSLASH, _QUOTE):
                at += 1
                byte = following
            elif following == ord("n"):
                at += 1
                byte = np.uint8(0x0A)
        if out != at:
            data[out] = byte
        out += 1
        at += 1
    return begin << OFFSET_BITS | (out - begin), at + 1 if at < end else -1


@inlined
def _token(source: Buffer, at: int, end: int) -> tuple[int, int]:
    """The word at a place, and where the next begins; ``NOTHING`` before a ``#`` or at the end."""
    begin = _past_blanks(source, at, end)
    at = begin
    while at < end and not _is_blank(source.data[at]) and source.data[begin] != _HASH:
        at += 1
    word = begin << OFFSET_BITS | (at - begin) if at > begin else NOTHING
    return word, _past_blanks(source, at, end)


@inlined
def _past_blanks(source: Buffer, at: int, end: int) -> int:
    while at < end and _is_blank(source.data[at]):
        at += 1
    return at


@inlined
def _is_blank(byte: int) -> bool:
    return byte in (_SPACE, _TAB)
