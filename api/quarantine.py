"""What was set aside: the list, and one entry of it with what was received."""

from typing import Final, NamedTuple

import orjson
import polars as pl

from api.pages import Slot, encode_page
from pipeline.store.port import Store

PAYLOADS_PER_PAGE: Final = 100
"""Items of a page that carries what was received: 64 KiB each, and a third more in base64."""


class QuarantineQuery(NamedTuple):
    """Which entries.

    Attributes:
        reason: only those set aside for it; None for all.
        id: only this message, or this entry; None for all.
        payload: whether they carry what was received.
    """

    reason: str | None = None
    id: str | None = None
    payload: bool = False

    @property
    def key(self) -> str:
        """By what a cursor knows this list."""
        return f"quarantine{orjson.dumps(list(self)).decode()}"


def answer(store: Store, query: QuarantineQuery, slot: Slot) -> bytes:
    """The body of ``GET /v1/quarantine``; blocks."""
    limit = min(slot.limit, PAYLOADS_PER_PAGE) if query.payload else slot.limit
    rows = store.ask(
        "quarantined",
        reason=query.reason,
        ids=None if query.id is None else [query.id],
        payload=query.payload,
        # one more tells that there is a next page
        limit=limit + 1,
        offset=slot.at.offset,
    )
    return encode_page(
        {},
        entries_as_answered(rows.head(limit)),
        slot._replace(limit=limit),
        total=slot.at.offset + rows.height,
    )


def entries_as_answered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the question ``quarantined`` in the shape of their JSON."""
    return rows.select(
        entry_id().alias("id"),
        "received_at",
        "topic",
        "partition",
        pl.col("position").alias("offset"),
        "format",
        "source",
        "reason",
        "byte_offset",
        "records",
        "payload",
    )


def entry_id() -> pl.Expr:
    """``topic/partition/offset``, and a number where a message has several entries."""
    alone = pl.col("of_message") == 1
    return pl.when(alone).then("message").otherwise(pl.format("{}/{}", "message", "number"))
