"""The messages that all OTLP signals share, declared for the walk.

Source: ``opentelemetry/proto/common/v1/common.proto`` and ``resource/v1/resource.proto``. Tables of
attributes have the cells ``key``, ``value`` and ``type``; ``type`` is one of the constants below, 0
for a value that is empty. Elements of arrays and of key-value lists are rows nested in the row of
the array or list.
"""

from typing import Final

from pipeline.decode.wire.declaration import Check, Enter, Messages, Row, Store

STRING, BOOL, INT, DOUBLE, ARRAY, KEY_VALUES, BYTES = 1, 2, 3, 4, 5, 6, 7
"""Field numbers of AnyValue's alternatives, and so the values of the cell ``type``."""

COMMON: Final[Messages] = {
    "KeyValue": {1: Store("bytes", "key"), 2: Enter("AnyValue")},
    "AnyValue": {
        STRING: Store("bytes", "value", case="type"),
        BOOL: Store("bool", "value", case="type"),
        INT: Store("int64", "value", case="type"),
        DOUBLE: Store("fixed64", "value", case="type"),
        ARRAY: Enter("ArrayValue", case="type"),
        KEY_VALUES: Enter("KeyValueList", case="type"),
        BYTES: Store("bytes", "value", case="type"),
        8: Store("int32", "value", case="type"),
    },
    "ArrayValue": {1: Row("AnyValue")},
    "KeyValueList": {1: Row("KeyValue")},
    "Resource": {1: Row("KeyValue", "resource_attributes"), 3: Check("EntityRef")},
    "EntityRef": {},
    "InstrumentationScope": {
        1: Store("bytes", "name"),
        2: Store("bytes", "version"),
        3: Row("KeyValue", "scope_attributes"),
    },
}
