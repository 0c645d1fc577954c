"""Personal data in records of JSON is hidden in place, whatever the record's layout.

As in ``text_masking`` the text is looked at and not its structure, since a record that cannot be
read goes on the bus with the others: what follows the name of a personal field, and e-mail
addresses, also with ``%40``.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from pipeline.decode.kernels.blocks import BLOCK, block_test, lowest
from pipeline.decode.kernels.kernel import Buffer, Bytes, Ints, buffer_of, inlined, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS, slices_of
from pipeline.decode.privacy.name_memory import (
    name_begin,
    no_names,
    remember,
    row_of,
    verdict_on,
)
from pipeline.decode.privacy.persons import Hider, Persons, hide, hide_number
from pipeline.decode.privacy.secret_names import plain
from pipeline.model.personal_fields import PERSONAL_FIELDS, PersonalData, PersonalFields

_NO_NAME, _KEPT, _WORD, _WHOLE, _PATH, _URI = range(6)
"""What a known name does: nothing, never personal, personal anywhere in a name, personal as last
words, or so in part. Of those that fit, the longest counts."""

_NEWLINE, _QUOTE, _BACKSLASH, _COLON, _PERCENT, _AT = 0x0A, 0x22, 0x5C, 0x3A, 0x25, 0x40
_SLASH, _QUESTION, _DOT, _STAR, _SPACE = 0x2F, 0x3F, 0x2E, 0x2A, 0x20
_LONGEST_LOCAL: Final = 128
_LONG_SEGMENT: Final = 24
_LONG_HEX: Final = 8

_ALPHANUMERIC, _LOCAL, _DOMAIN, _NUMBER, _MARK, _HEX = 1, 2, 4, 8, 16, 32


def _classes() -> Bytes:
    classes = np.zeros(256, np.uint8)
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for text, kind in (
        (letters, _ALPHANUMERIC | _LOCAL | _DOMAIN),
        (b"._%+-", _LOCAL),
        (b".-", _DOMAIN),
        (bytes(range(128, 256)), _LOCAL | _DOMAIN),
        (b"0123456789+-.eE", _NUMBER),
        (b"@=+:%", _MARK),
        (b"0123456789abcdefABCDEF", _HEX),
    ):
        classes[np.frombuffer(text, np.uint8)] |= kind
    return classes


_CLASS: Final = _classes()
_marks = block_test(b":@%")
"""What stands behind the name of a member, or in an address."""


class _Names(NamedTuple):
    """Names as kernels take them, in lower case with ``-`` for ``_``, by their last byte.

    Attributes:
        text: all names.
        slices: where each is.
        kinds: what each does.
        bounds: by byte the first of the names that end with it, and the first after them.
    """

    text: Buffer
    slices: Ints
    kinds: Ints
    bounds: Ints


class TextPersons:
    """Hides the persons in records of one format.

    Args:
        format: name of the format.
        persons: how they are hidden, and further names.
    """

    def __init__(self, format: str, persons: Persons) -> None:
        fields = PERSONAL_FIELDS.get(format, PersonalFields())
        kept = persons.how is PersonalData.KEEP or (
            format not in PERSONAL_FIELDS and not persons.fields
        )
        self._persons = None if kept else persons
        self._emails = format in PERSONAL_FIELDS
        self._names = _compiled(fields, persons.fields)

    def hide(self, data: bytes) -> bytes:
        """The text with pseudonyms for persons; of the same length."""
        if self._persons is None:
            return data
        buffer = buffer_of([data])
        hider = self._persons.hider()
        if not _hide_all(buffer, self._names, self._emails, hider, no_names()):
            return data
        return buffer.data[: buffer.size].tobytes()


def _compiled(fields: PersonalFields, more: Iterable[str]) -> _Names:
    told = [
        (name.lower().replace("_", "-").encode(), kind)
        for names, kind in (
            (fields.words, _WORD),
            (fields.kept, _KEPT),
            ((*fields.names, *more), _WHOLE),
            (fields.paths, _PATH),
            (fields.uris, _URI),
        )
        for name in names
    ]
    told.sort(key=lambda one: (one[0][-1], -len(one[0])))
    texts = [name for name, _ in told]
    lasts = np.array([name[-1] for name in texts], np.int64)
    sides = [np.searchsorted(lasts, np.arange(256), side=side) for side in ("left", "right")]
    return _Names(
        buffer_of(texts),
        slices_of(texts),
        np.array([kind for _, kind in told], np.int64),
        np.ascontiguousarray(np.stack(sides, axis=1), np.int64),
    )


@kernel
def _hide_all(source: Buffer, names: _Names, emails: bool, hider: Hider, seen: Ints) -> int:  # noqa: FBT001 - kernels have no keyword arguments
    """Hide all persons; returns how many."""
    at, hidden = 0, 0
    while at < source.size:
        block, marks = at, _marks(source.data, at)
        at += BLOCK
        while marks:
            place = block + lowest(marks)
            marks &= marks - np.uint64(1)
            if place >= source.size:
                break
            if _hide_at(source, place, names, emails, hider, seen):
                hidden += 1
                at = place + 1
                break
    return hidden


@inlined
def _hide_at(
    source: Buffer,
    at: int,
    names: _Names,
    emails: bool,  # noqa: FBT001 - kernels have no keyword arguments
    hider: Hider,
    seen: Ints,
) -> int:
    """Hide what is personal behind or around the mark at ``at``; returns how much there was."""
    byte, data = source.data[at], source.data
    if byte == _COLON:
        kind = _kind(source, at, names, seen)
        return _hide_value(source, at + 1, kind, hider) if kind > _KEPT else 0
    if not emails:
        return 0
    if byte == _AT:
        return _email(source, at, at + 1, hider)
    encoded = data[at + 1] == ord("4") and data[at + 2] == ord("0")
    return _email(source, at, at + 3, hider) if encoded else 0


@inlined
def _kind(source: Buffer, colon: int, names: _Names, seen: Ints) -> int:
    """What the name of a member before a colon does; ``_KEPT`` also when it is none."""
    data, end = source.data, colon
    while end > 0 and data[end - 1] == _SPACE:
        end -= 1
    if end == 0 or data[end - 1] != _QUOTE:
        return _NO_NAME
    end -= 1
    end -= int(end > 0 and data[end - 1] == _BACKSLASH)
    begin = name_begin(source, end)
    row = row_of(source, begin, end)
    kind = verdict_on(source, begin, end, seen, row)
    if kind < 0:
        kind = _kind_of(source, begin, end, names)
        remember(begin, end, kind, seen, row)
    return kind


@kernel
def _kind_of(source: Buffer, begin: int, end: int, names: _Names) -> int:
    """What a name does."""
    found, longest = _NO_NAME, 0
    for last in range(end, begin, -1):
        first, after = names.bounds[plain(source.data[last - 1])]
        for index in range(first, after):
            kind, size = names.kinds[index], names.slices[index] & LENGTH_MASK
            if not _fits(source, begin, last - size, last == end, names, index):
                continue
            if kind == _KEPT:
                return _KEPT
            if size > longest:
                found, longest = kind, size
    return found


@inlined
def _fits(source: Buffer, begin: int, place: int, ends: bool, names: _Names, index: int) -> bool:  # noqa: FBT001 - kernels have no keyword arguments
    """Whether a known name stands at a place in the name of a member, as it must to count."""
    kind = names.kinds[index]
    if place < begin or not (ends or kind == _WORD) or not _same(source, place, names, index):
        return False
    within = place > begin and _CLASS[source.data[place - 1]] & _ALPHANUMERIC
    return kind <= _WORD or not within


@inlined
def _same(source: Buffer, place: int, names: _Names, index: int) -> bool:
    known = names.slices[index] >> OFFSET_BITS
    for step in range(names.slices[index] & LENGTH_MASK):
        if plain(source.data[place + step]) != names.text.data[known + step]:
            return False
    return True


@kernel
def _hide_value(source: Buffer, at: int, kind: int, hider: Hider) -> int:
    """Hide the value that begins after a colon; returns how much there was to hide."""
    data = source.data
    while at < source.size and data[at] in (_SPACE, 0x09, 0x0A, 0x0D):
        at += 1
    byte = data[at]
    whole = kind in (_WORD, _WHOLE)
    if byte == _QUOTE or (byte == _BACKSLASH and data[at + 1] == _QUOTE):
        begin = at + 1 + int(byte == _BACKSLASH)
        return _hide_text(source, begin, _string_end(source, begin), kind, hider)
    if whole and (byte == ord("-") or ord("0") <= byte <= ord("9")):
        return hide_number(source, at, _number_end(source, at), hider)
    if whole and byte in (ord("["), ord("{")):
        return _hide_nested(source, at, hider)
    return 0


@kernel
def _hide_nested(source: Buffer, at: int, hider: Hider) -> int:
    """Hide all values in an array or object; names stay. A line that begins a record ends it."""
    data, depth, hidden = source.data, 0, 0
    while at < source.size:
        byte = data[at]
        if byte == _NEWLINE and data[at + 1] == ord("{"):
            break
        if byte == _QUOTE:
            end = _string_end(source, at + 1)
            after = end + 1 + int(data[end] == _BACKSLASH)
            while after < source.size and data[after] == _SPACE:
                after += 1
            if data[after] != _COLON:
                hidden += _hide_text(source, at + 1, end, _WHOLE, hider)
            at = max(after, at + 1)
            continue
        if byte == ord("-") or ord("0") <= byte <= ord("9"):
            end = _number_end(source, at)
            hidden += hide_number(source, at, end, hider)
            at = end
            continue
        depth += int(byte in (ord("["), ord("{"))) - int(byte in (ord("]"), ord("}")))
        at += 1
        if depth == 0:
            break
    return hidden


@kernel
def _string_end(source: Buffer, at: int) -> int:
    """The quote that ends a string, or the backslash before it in an inner one, or the line end."""
    data = source.data
    inner = at >= 2 and data[at - 2] == _BACKSLASH
    while at < source.size and data[at] not in (_QUOTE, _NEWLINE):
        if data[at] == _BACKSLASH:
            if inner and data[at + 1] == _QUOTE:
                return at
            at += int(at + 1 < source.size and data[at + 1] != _NEWLINE)
        at += 1
    return min(at, source.size)


@kernel
def _number_end(source: Buffer, at: int) -> int:
    while at < source.size and _CLASS[source.data[at]] & _NUMBER:
        at += 1
    return at


@kernel
def _hide_text(source: Buffer, begin: int, end: int, kind: int, hider: Hider) -> int:
    """Hide a text, or the part of it that is personal."""
    if _says_nothing(source, begin, end):
        return 0
    if kind == _PATH:
        return _hide_ids(source, begin, end, hider)
    if kind == _URI:
        return _drop_query(source, begin, end)
    return hide(source, begin, end, hider)


@inlined
def _says_nothing(source: Buffer, begin: int, end: int) -> bool:
    """Whether it is ``-`` or in parentheses, as ``(not set)``: what gateways write for nothing."""
    if end - begin < 2:
        return end <= begin or source.data[begin] == ord("-")
    return bool(source.data[begin] == ord("(") and source.data[end - 1] == ord(")"))


@kernel
def _hide_ids(source: Buffer, begin: int, end: int, hider: Hider) -> int:
    """Hide segments of a path that look like ids of something or somebody."""
    data, hidden = source.data, 0
    while begin < end and data[begin] != _QUESTION:
        stop, mark, hexadecimal = begin, 0, 0
        while stop < end and data[stop] not in (_SLASH, _QUESTION):
            mark |= _CLASS[data[stop]] & _MARK
            hexadecimal += int(hexadecimal == stop - begin and _CLASS[data[stop]] & _HEX > 0)
            stop += 1
        long = hexadecimal >= _LONG_HEX or stop - begin >= _LONG_SEGMENT
        if mark or long or (stop > begin and ord("0") <= data[begin] <= ord("9")):
            hidden += hide(source, begin, stop, hider)
        begin = stop + int(stop < end and data[stop] == _SLASH)
    return hidden


@kernel
def _drop_query(source: Buffer, begin: int, end: int) -> int:
    """Put stars for what follows the question mark of a URI."""
    data, dropped = source.data, 0
    while begin < end and data[begin] != _QUESTION:
        begin += 1
    for index in range(begin + 1, end):
        dropped |= int(data[index] != _STAR)
        data[index] = _STAR
    return dropped


@kernel
def _email(source: Buffer, at: int, domain: int, hider: Hider) -> int:
    """Hide the e-mail address around the sign at ``at``, if there is one; tells whether."""
    data, begin, end = source.data, at, domain
    while begin > 0 and at - begin < _LONGEST_LOCAL and _CLASS[data[begin - 1]] & _LOCAL:
        begin -= 1
    dot = -1
    while end < source.size and _CLASS[data[end]] & _DOMAIN:
        if data[end] == _DOT and end > domain:
            dot = end
        end += 1
    letter = data[dot + 1] if dot >= 0 else 0
    if begin == at or end - dot < 3 or dot < 0 or ord("0") <= letter <= ord("9"):
        return 0
    return hide(source, begin, end, hider)
