"""Cuts protobuf messages between their records, on the wire: nothing that is whole is parsed.

A format says on which fields its records lie: resource groups, in these scopes, in these spans.
Only a message that is too large is walked, field by field, and only a member of it that is too
large by itself is cut in turn. What stands beside the members (the resource, the scope, fields
nobody knows) is repeated in every part. Fields may come in any order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.errors import DecodeError

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT: Final = 10
_PREFIX: Final = 6  # at most: the tag and the length in front of a member


@dataclass(frozen=True, slots=True)
class Level:
    """Where a message has its members.

    Attributes:
        fields: the numbers of the fields they are; all are messages.
        single: a message has at most one of these fields, though perhaps in pieces, which are put
            together again before anything is cut; else each occurrence is a member.
    """

    fields: frozenset[int]
    single: bool = False


def cut(message: bytes, levels: Sequence[Level], *, size: int) -> Iterator[bytes]:
    """Messages of at most ``size`` bytes that together say what the one said, in its order.

    A part is larger when it has one record only, or what cannot be cut: members of fields of which
    a message may have one only.

    Raises:
        DecodeError: what had to be walked is not protobuf.
    """
    if len(message) <= size or not levels:
        yield message
        return
    level, below = levels[0], levels[1:]
    context, members = _told_apart(message, level)
    if level.single:
        if len({number for number, _ in members}) > 1:
            yield message
            return
        members = [(number, b"".join(body for _, body in members)) for number, _ in members[:1]]
    if not members:
        yield message
        return
    room = size - len(context)
    for run in _runs(_fitting(members, below, room), room):
        yield b"".join((context, *run))


def _told_apart(message: bytes, level: Level) -> tuple[bytes, list[tuple[int, bytes]]]:
    """What is repeated in every part, and the members with the numbers of their fields."""
    context: list[bytes] = []
    members: list[tuple[int, bytes]] = []
    at = 0
    while at < len(message):
        number, kind, begin, end = _field(message, at)
        if kind == _BYTES and number in level.fields:
            members.append((number, message[begin:end]))
        else:
            context.append(message[at:end])
        at = end
    return b"".join(context), members


def _fitting(
    members: Iterable[tuple[int, bytes]], below: Sequence[Level], room: int
) -> Iterator[bytes]:
    for number, body in members:
        for part in cut(body, below, size=room - _PREFIX):
            yield _length_delimited(number, part)


def _runs(parts: Iterable[bytes], room: int) -> Iterator[list[bytes]]:
    """As many parts together as there is room for, at least one."""
    run: list[bytes] = []
    used = 0
    for part in parts:
        if run and used + len(part) > room:
            yield run
            run, used = [], 0
        run.append(part)
        used += len(part)
    if run:
        yield run


def _field(data: bytes, at: int) -> tuple[int, int, int, int]:
    """The field at a place: its number, its wire type, and where its content begins and ends."""
    tag, begin = _varint(data, at)
    number, kind = tag >> 3, tag & 7
    end = begin
    if kind == _VARINT:
        _, end = _varint(data, begin)
    elif kind in _FIXED:
        end += _FIXED[kind]
    elif kind == _BYTES:
        length, begin = _varint(data, begin)
        end = begin + length
    elif kind == _GROUP:
        end = _group_end(data, number, begin)
    else:
        raise DecodeError("malformed protobuf", offset=at)
    if end > len(data):
        raise DecodeError("malformed protobuf", offset=at)
    return number, kind, begin, end


def _group_end(data: bytes, number: int, at: int) -> int:
    """Where a group ends, whose content begins at a place; groups in it are stepped over."""
    opened = [number]
    while opened:
        tag, after = _varint(data, at)
        if tag & 7 == _GROUP:
            opened.append(tag >> 3)
            at = after
        elif tag & 7 == _GROUP_END:
            if opened.pop() != tag >> 3:
                raise DecodeError("malformed protobuf", offset=at)
            at = after
        else:
            at = _field(data, at)[3]
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + _MAX_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise DecodeError("malformed protobuf", offset=at)


def _length_delimited(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
