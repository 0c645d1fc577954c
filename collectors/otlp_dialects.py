"""OTLP/JSON as other tools write it, made into OTLP/JSON as the specification has it.

Recordings come from tools that name things as older versions of OTLP did, wrap the document, or
write ids in base64 as plain protobuf JSON does (Tempo, Kiali). Only the import of files is so
lenient; the receivers keep to the specification.
"""

import base64
import binascii
import string
from collections.abc import Iterator
from typing import Any, Final

_OLD_NAMES: Final = {
    "batches": "resourceSpans",
    "instrumentationLibrarySpans": "scopeSpans",
    "instrumentationLibraryMetrics": "scopeMetrics",
    "instrumentationLibraryLogs": "scopeLogs",
    "instrumentationLibrary": "scope",
}
_ID_BYTES: Final = {
    "traceId": 16, "trace_id": 16, "spanId": 8, "span_id": 8,
    "parentSpanId": 8, "parent_span_id": 8,
}  # fmt: skip
_SENDERS_OWN: Final = frozenset({"attributes", "body", "filteredAttributes", "filtered_attributes"})
"""Keys whose content is the sender's: no name in there is one of OTLP's."""
_HEX: Final = frozenset(string.hexdigits)


def standard(value: object) -> tuple[object, bool]:
    """The document as the specification has it, and whether anything had to be changed.

    The value may be changed in place.
    """
    changed = False
    if isinstance(value, dict) and isinstance(value.get("trace"), dict):
        value, changed = value["trace"], True
    for holder in _objects(value):
        for old in _OLD_NAMES.keys() & holder.keys():
            holder.setdefault(_OLD_NAMES[old], holder.pop(old))
            changed = True
        for key in _ID_BYTES.keys() & holder.keys():
            found = _hex_of(holder[key], _ID_BYTES[key])
            if found is not None:
                holder[key] = found
                changed = True
    return value, changed


def _objects(value: object) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            yield item
            waiting.extend(
                inner
                for key, inner in item.items()
                if key not in _SENDERS_OWN and isinstance(inner, dict | list)
            )


def _hex_of(value: object, size: int) -> str | None:
    """The id in hexadecimal when it is written in base64, else None."""
    if not isinstance(value, str) or _HEX.issuperset(value):
        return None
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found.hex() if len(found) == size else None
