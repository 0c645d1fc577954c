"""``google.protobuf.Struct`` and its kin as plain values; they are few, small and nested.

Identities of proxies and metadata of filters come as Structs. The same bytes come again and again,
so what they mean is remembered.
"""

import base64
import math
from functools import lru_cache
from typing import TypeAlias

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.wrappers_pb2 import StringValue

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

STRUCT_TYPE = "google.protobuf.Struct"
STRING_TYPE = "google.protobuf.StringValue"


class NotAStruct(ValueError):
    """Bytes that are no Struct."""


def struct_of(data: bytes) -> dict[str, Json]:
    """The fields of a serialised Struct; raises NotAStruct."""
    try:
        return _fields(Struct.FromString(data))
    except ProtobufError as problem:
        raise NotAStruct(str(problem)) from problem


@lru_cache(maxsize=4096)
def any_of(type_url: str, data: bytes) -> Json:
    """The value inside an Any: Structs and strings as they are, others as type and base64."""
    name = type_url.rpartition("/")[2] if "/" in type_url else ""
    try:
        if name == STRUCT_TYPE:
            return struct_of(data)
        if name == STRING_TYPE:
            return StringValue.FromString(data).value
    except (NotAStruct, ProtobufError):
        pass  # it is not what it says it is: kept as the bytes that it is
    return {"type": type_url, "value": base64.b64encode(data).decode()}


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
