"""Values of secret and of personal keys in JSON are hidden: the door of JSON formats.

Masked are members of objects by their name, and pairs that an object tells as ``key`` and ``value``
(``vStr`` in Jaeger's), as OTLP and Jaeger write attributes. Letter case does not matter.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from pipeline.decode.kernels.deep_json import written
from pipeline.errors import DecodeError

MASK: Final = "****"

_VALUES: Final = ("value", "vStr")

Hidden = Mapping[str, Callable[[str], str]]
"""By key, in lower case, what is put in the place of its value."""


def stars(_: str) -> str:
    """What is put in the place of a secret."""
    return MASK


def masked_text(text: bytes, keys: Hidden) -> bytes:
    """The same JSON with the values of these keys hidden; one document, or one on each line.

    Text without such keys, and lines that are not JSON, stay as they are.

    Args:
        text: what a sender wrote.
        keys: what is hidden, and how.

    Raises:
        DecodeError: it has such a key, and is nested too deeply to be written again.
    """
    if not may_have(text, keys):
        return text
    try:
        return _masked(text, keys)
    except orjson.JSONDecodeError:
        return b"\n".join(_masked_line(line, keys) for line in text.split(b"\n"))


def mask(value: object, keys: Hidden) -> bool:
    """Hide the values of keys in place; tells whether anything was hidden."""
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


def may_have(text: bytes, keys: Hidden) -> bool:
    """Whether JSON text can have one of the keys at all; most has none, which is quick to see."""
    lowered = text.lower()
    # a key may be spelled with escapes
    return b"\\u" in lowered or any(key.encode() in lowered for key in keys)


def _mask_members(item: dict[str, Any], keys: Hidden) -> bool:
    hidden = {name: keys[name.lower()] for name in item if name.lower() in keys}
    key = item.get("key")
    if isinstance(key, str) and key.lower() in keys:
        hidden |= dict.fromkeys((name for name in _VALUES if name in item), keys[key.lower()])
    changed = False
    for name, hide in hidden.items():
        value = item[name]
        text = value if isinstance(value, str) else written(value)
        shown = hide(text)
        if shown != text:
            item[name] = shown
            changed = True
    return changed


def _masked_line(line: bytes, keys: Hidden) -> bytes:
    try:
        return _masked(line, keys)
    except orjson.JSONDecodeError:
        return line


def _masked(text: bytes, keys: Hidden) -> bytes:
    value = orjson.loads(text)
    if not mask(value, keys):
        return text
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise DecodeError("nested too deeply") from error
