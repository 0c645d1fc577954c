"""``google.protobuf.Struct`` and its kin as plain values; they are few, small and nested.

Identities of proxies and metadata of filters come as Structs. The same bytes come again and again,
so what they mean is remembered.
"""

import base64
import math
from functools import lru_cache
from typing import Final, TypeAlias

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.wrappers_pb2 import StringValue

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

LONGEST_REMEMBERED: Final = 4096
"""Bytes; longer ones are read anew each time, so that memory stays bounded."""

STRUCT_TYPE: Final = "google.protobuf.Struct"
STRING_TYPE: Final = "google.protobuf.StringValue"


class NotAStruct(ValueError):
    """Bytes that are no Struct."""


def struct_of(data: bytes) -> dict[str, Json]:
    """The fields of a serialised Struct; raises NotAStruct."""
    try:
        return _fields(Struct.FromString(data))
    except ProtobufError as problem:
        raise NotAStruct(str(problem)) from problem


def struct_or_raw(data: bytes) -> Json:
    """The fields of a Struct; the bytes in base64 when they are none."""
    return _known_struct(data) if len(data) <= LONGEST_REMEMBERED else _struct_or_raw(data)


def any_of(type_url: str, data: bytes) -> Json:
    """The value inside an Any: Structs and strings as they are, others as type and base64."""
    short = len(type_url) + len(data) <= LONGEST_REMEMBERED
    return _known_any(type_url, data) if short else _any_of(type_url, data)


def _struct_or_raw(data: bytes) -> Json:
    try:
        return struct_of(data)
    except NotAStruct:
        return base64.b64encode(data).decode()


def _any_of(type_url: str, data: bytes) -> Json:
    name = type_url.rpartition("/")[2] if "/" in type_url else ""
    try:
        if name == STRUCT_TYPE:
            return struct_of(data)
        if name == STRING_TYPE:
            return StringValue.FromString(data).value
    except (NotAStruct, ProtobufError):
        pass  # it is not what it says it is: kept as the bytes that it is
    return {"type": type_url, "value": base64.b64encode(data).decode()}


_known_struct = lru_cache(maxsize=4096)(_struct_or_raw)
_known_any = lru_cache(maxsize=4096)(_any_of)


def _fields(struct: Struct) -> dict[str, Json]:
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> Json:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _fields(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "number_value":
            return _number(value.number_value)
        case _:
            return None


def _number(value: float) -> Json:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
