"""Pages of lists: cursors, opaque to clients, and the encoding of one page."""

import base64
import binascii
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

import orjson
import polars as pl

from api.encode import Format, arrow_of, json_of
from api.times import EPOCH, LATEST, Window, format_time
from pipeline.errors import InvalidInput

ALL_TIME = Window(EPOCH, LATEST)
"""The window of lists that are asked for without one."""


class Cursor(NamedTuple):
    """Where a list goes on.

    Attributes:
        query: what the list was asked for; a cursor of one list does not fit another.
        window: the window of the first page, so that relative times do not move between pages.
        offset: how many items came before.
    """

    query: str
    window: Window = ALL_TIME
    offset: int = 0


class Slot(NamedTuple):
    """What part of a list to answer, and in which form."""

    at: Cursor
    limit: int
    form: Format


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
    cursor = _parse(text)
    if cursor is None or cursor.query != query:
        raise InvalidInput(
            "cursor", found=text, allowed="the value of `next` of an answer to the same request"
        )
    return cursor


def _parse(text: str) -> Cursor | None:
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        query, start, end, offset = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        window = Window(datetime.fromisoformat(start), datetime.fromisoformat(end))
        sound = EPOCH <= window.start < window.end <= LATEST
    except (ValueError, TypeError, binascii.Error):
        return None
    if sound and isinstance(query, str) and isinstance(offset, int) and 0 <= offset < 2**53:
        return Cursor(query, window, offset)
    return None


def encode_page(
    head: dict[str, object],
    items: pl.DataFrame,
    slot: Slot,
    *,
    nested: Collection[str] = (),
    total: int | None = None,
) -> bytes:
    """One page of a list.

    Args:
        head: members that stand before the items.
        items: all items; those of the page are cut out here.
        slot: which of them, and whether as JSON or as an Arrow stream, whose schema's metadata
            carries everything but the items.
        nested: columns of JSON text, which JSON carries as values.
        total: how many items there are in all, where ``items`` holds those of the page only.
    """
    at, limit, form = slot
    following = at.offset + limit
    more = following < (items.height if total is None else total)
    told = dict(head)
    if at.window != ALL_TIME:
        told |= {"start": format_time(at.window.start), "end": format_time(at.window.end)}
    told["next"] = write_cursor(at._replace(offset=following)) if more else None
    page = items.slice(at.offset, limit) if total is None else items
    if form == "arrow":
        return arrow_of(page, told)
    return json_of(told, {"items": page}, nested=nested)
