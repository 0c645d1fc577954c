"""Writes protobuf messages in every way the wire format allows, not only the usual one.

Fields in any order, repeated numbers packed or not, submessages split in two, varints longer than
they need to be, unknown fields in between: all of these mean the same to a correct reader.
"""

import struct
from collections.abc import Iterable
from random import Random

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {
    FieldDescriptor.TYPE_DOUBLE: "<d",
    FieldDescriptor.TYPE_FIXED64: "<Q",
    FieldDescriptor.TYPE_SFIXED64: "<q",
    FieldDescriptor.TYPE_FLOAT: "<f",
    FieldDescriptor.TYPE_FIXED32: "<I",
    FieldDescriptor.TYPE_SFIXED32: "<i",
}
_ZIGZAG = {FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SINT64}


def varint(value: int, padding: int = 0) -> bytes:
    """A varint, with ``padding`` needless bytes as long as ten bytes are not exceeded."""
    value &= (1 << 64) - 1
    digits = []
    while True:
        digits.append(value & 0x7F)
        value >>= 7
        if not value:
            break
    digits += [0] * min(padding, 10 - len(digits))
    return bytes([digit | 0x80 for digit in digits[:-1]] + [digits[-1]])


def tagged(number: int, wire_type: int, payload: bytes) -> bytes:
    """One field: its tag, and its payload with the length in front where the wire type has one."""
    tag = varint(number << 3 | wire_type)
    return tag + (varint(len(payload)) + payload if wire_type == _BYTES else payload)


def encode(message: Message, random: Random | None = None) -> bytes:
    """The bytes of a message; shuffled and padded when ``random`` is given, else descending."""
    return b"".join(_parts(message, random))


def _parts(message: Message, random: Random | None) -> list[bytes]:
    chunks = [
        list(_field(field, _values(message, field), random)) for field, _ in message.ListFields()
    ]
    if random is None:
        return [part for parts in reversed(chunks) for part in parts]
    if not isinstance(message, _Entry) and random.random() < 0.3:
        chunks.append([_unknown(random)])
    written = []
    while chunks:
        written.append(random.choice(chunks).pop(0))
        chunks = [left for left in chunks if left]
    return written


def _values(message: Message, field: FieldDescriptor) -> list[object]:
    value = getattr(message, field.name)
    if not field.is_repeated:
        return [value]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return [_Entry(field.message_type, key, value[key]) for key in value]
    return list(value)


class _Entry:
    """A map entry: as much of a message as ``encode`` needs.

    It gets no unknown fields, as the official library sets aside entries that have some.
    """

    def __init__(self, entry: Descriptor, key: object, value: object) -> None:
        self.key, self.value = key, value
        self._fields = [(entry.fields_by_name[name], None) for name in ("key", "value")]

    def ListFields(self) -> list[tuple[FieldDescriptor, None]]:  # noqa: N802
        """Both fields, as the method of that name of a message lists them."""
        return self._fields


def _field(field: FieldDescriptor, values: list, random: Random | None) -> Iterable[bytes]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        for value in values:
            for payload in _submessage(value, None if field.is_repeated else random, random):
                yield tagged(field.number, _BYTES, payload)
    elif field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
        for value in values:
            payload = value.encode() if isinstance(value, str) else value
            yield tagged(field.number, _BYTES, payload)
    else:
        yield from _numbers(field, values, random)


def _submessage(value: Message, cutter: Random | None, random: Random | None) -> Iterable[bytes]:
    parts = _parts(value, random)
    if cutter and cutter.random() < 0.2:
        cut = cutter.randrange(len(parts) + 1)
        yield b"".join(parts[:cut])
        parts = parts[cut:]
    yield b"".join(parts)


def _numbers(field: FieldDescriptor, values: list, random: Random | None) -> Iterable[bytes]:
    padding = random.choice([0, 0, 0, 1, 3]) if random else 0
    wire_type, scalars = _scalars(field, values, padding)
    packed = field.is_repeated and (field.is_packed if random is None else random.random() < 0.5)
    if not packed:
        for scalar in scalars:
            yield tagged(field.number, wire_type, scalar)
        return
    cut = random.randrange(len(scalars) + 1) if random else len(scalars)
    for part in (scalars[:cut], scalars[cut:]):
        if part:
            yield tagged(field.number, _BYTES, b"".join(part))


def _scalars(field: FieldDescriptor, values: list, padding: int) -> tuple[int, list[bytes]]:
    if field.type in _FIXED:
        code = _FIXED[field.type]
        wire_type = _FIXED64 if struct.calcsize(code) == 8 else _FIXED32
        return wire_type, [struct.pack(code, value) for value in values]
    if field.type in _ZIGZAG:
        values = [(value << 1) ^ (value >> 63) for value in values]
    return _VARINT, [varint(int(value), padding) for value in values]


def _unknown(random: Random) -> bytes:
    number = random.randrange(1000, 5000)
    return random.choice(
        [
            tagged(number, _VARINT, varint(random.getrandbits(64))),
            tagged(number, _FIXED64, random.randbytes(8)),
            tagged(number, _FIXED32, random.randbytes(4)),
            tagged(number, _BYTES, random.randbytes(random.randrange(6))),
        ]
    )
