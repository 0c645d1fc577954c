"""Cuts bodies of lines into bodies of a bounded size, between records and never inside one."""

from collections.abc import Iterator

import orjson

from pipeline.model.pods import POD_PREFIX


def line_parts(text: bytes, *, size: int) -> Iterator[bytes]:
    """Whole lines in parts of at most ``size`` bytes; a line that is longer is a part by itself.

    Text that is one JSON value, such as an array of records or a record over several lines, has
    every record put on a line of its own first. A line that says whose log the others are is before
    the lines of every part.
    """
    head = text[: text.find(b"\n") + 1] if text.startswith(POD_PREFIX) else b""
    for part in _parts(_on_lines(text[len(head) :]), max(1, size - len(head))):
        yield head + part


def _parts(lines: bytes, size: int) -> Iterator[bytes]:
    at = 0
    while at < len(lines):
        end = len(lines) if len(lines) - at <= size else lines.rfind(b"\n", at, at + size) + 1
        if end <= at:
            end = lines.find(b"\n", at) + 1 or len(lines)
        yield lines[at:end]
        at = end


def _on_lines(text: bytes) -> bytes:
    try:
        value = orjson.loads(text)
        records = value if isinstance(value, list) else [value]
        return b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in records)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text  # several values, each on its line; or nested more deeply than can be written
