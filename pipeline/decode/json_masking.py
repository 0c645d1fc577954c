"""Values of secret keys in JSON are masked before anything is stored: the door of JSON formats.

Masked are members of objects by their name, and pairs that an object tells as ``key`` and ``value``
(``vStr`` in Jaeger's), as OTLP and Jaeger write attributes. Letter case does not matter.
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final

import orjson

from pipeline.errors import DecodeError

MASK: Final = "****"

_VALUES: Final = ("value", "vStr")


def masked_text(text: bytes, keys: AbstractSet[str]) -> bytes:
    """The same JSON with the values of these keys masked; one document, or one on each line.

    Text without such keys, and lines that are not JSON, stay as they are.

    Args:
        text: what a sender wrote.
        keys: keys in lower case.

    Raises:
        DecodeError: it has such a key, and is nested too deeply to be written again.
    """
    if not may_have(text, keys):
        return text
    try:
        return _masked(text, keys)
    except orjson.JSONDecodeError:
        return b"\n".join(_masked_line(line, keys) for line in text.split(b"\n"))


def mask(value: object, keys: AbstractSet[str]) -> bool:
    """Mask the values of keys in place; tells whether there were any."""
    found = False
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            found |= _mask_members(item, keys)
            waiting.extend(inner for inner in item.values() if isinstance(inner, list | dict))
    return found


def may_have(text: bytes, keys: AbstractSet[str]) -> bool:
    """Whether JSON text can have one of the keys at all; most has none, which is quick to see."""
    lowered = text.lower()
    # a key may be spelled with escapes
    return b"\\u" in lowered or any(key.encode() in lowered for key in keys)


def _mask_members(item: dict[str, Any], keys: AbstractSet[str]) -> bool:
    secret = [name for name in item if name.lower() in keys]
    key = item.get("key")
    if isinstance(key, str) and key.lower() in keys:
        secret += [name for name in _VALUES if name in item]
    for name in secret:
        item[name] = MASK
    return bool(secret)


def _masked_line(line: bytes, keys: AbstractSet[str]) -> bytes:
    try:
        return _masked(line, keys)
    except orjson.JSONDecodeError:
        return line


def _masked(text: bytes, keys: AbstractSet[str]) -> bytes:
    value = orjson.loads(text)
    if not mask(value, keys):
        return text
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise DecodeError("nested too deeply") from error
