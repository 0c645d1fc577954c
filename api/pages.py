"""Cursors: where the next page of a list begins, opaque to clients."""

import base64
import binascii
from datetime import datetime
from typing import NamedTuple

import orjson

from api.times import Window, format_time
from pipeline.errors import InvalidInput


class Cursor(NamedTuple):
    """Where a list goes on.

    Attributes:
        query: what the list was asked for; a cursor of one list does not fit another.
        window: the window of the first page, so that relative times do not move between pages.
        offset: how many items came before.
    """

    query: str
    window: Window
    offset: int


def write_cursor(cursor: Cursor) -> str:
    """A cursor as text."""
    start, end = (format_time(time) for time in cursor.window)
    content = orjson.dumps([cursor.query, start, end, cursor.offset])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_cursor(text: str, *, query: str) -> Cursor:
    """The cursor that ``write_cursor`` wrote.

    Raises:
        InvalidInput: it is no cursor, or one of another list.
    """
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        found, start, end, offset = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        window = Window(datetime.fromisoformat(start), datetime.fromisoformat(end))
        whole = isinstance(offset, int) and 0 <= offset < 2**53 and window.start < window.end
    except (ValueError, TypeError, binascii.Error):
        whole = False
    if not whole or found != query:
        raise InvalidInput(
            "cursor", found=text, allowed="the value of `next` of an answer to the same request"
        )
    return Cursor(query, window, offset)
