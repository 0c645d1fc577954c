"""Who probably called, where access logs carry no id: asked for, and shown as what it is."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import polars as pl

from api.identities import known_aliases
from api.times import Window
from pipeline.analyze.likely import likely_callers
from pipeline.store.port import Store

MOST_ENTRIES: Final = 50_000
"""Entries that are linked at most, the oldest of the window."""

LINKED_BY: Final = "statistics"


class Links(NamedTuple):
    """Probable callers, and whether all entries of the window were looked at.

    Attributes:
        items: columns ``client`` (null: none was found), ``server``, ``requests``, ``linked_by``
            (null with no client) and ``link_confidence``.
        entries: how many entries were read.
        complete: false when there were more.
    """

    items: pl.DataFrame
    entries: int
    complete: bool


def links(store: Store, window: Window, configured: Mapping[str, str]) -> Links:
    """Link the entries of a window that carry no id; blocks."""
    logs = store.ask("nameless_logs", start=window.start, end=window.end, limit=MOST_ENTRIES + 1)
    complete = logs.height <= MOST_ENTRIES
    logs = logs.head(MOST_ENTRIES)
    found = likely_callers(logs, store.ask("resources"), known_aliases(store, configured))
    linked = pl.when(pl.col("client").is_not_null()).then(pl.lit(LINKED_BY))
    items = found.select(
        "client", "server", "requests", linked.alias("linked_by"), "link_confidence"
    )
    return Links(items, logs.height, complete)
