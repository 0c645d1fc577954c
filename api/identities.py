"""Who names stand for: what an operator configured, what was seen, and where that disagrees."""

from collections.abc import Mapping

import polars as pl

from api.times import Window
from pipeline.analyze import alias
from pipeline.store.port import Store


def known_aliases(store: Store, configured: Mapping[str, str]) -> pl.DataFrame:
    """What nodes are known by: as configured, and as seen; blocks."""
    return alias.configured(store.ask("aliases"), configured)


def conflicts(store: Store, window: Window, configured: Mapping[str, str]) -> pl.DataFrame:
    """Aliases that stood for several nodes in what arrived in a window; blocks.

    Columns as ``alias.CONFLICTS``; what is configured is settled, and no conflict.
    """
    told = store.ask("aliases_between", start=window.start, end=window.end)
    host = pl.col("alias").str.extract(r"^(.+):\d+$")
    settled = pl.col("alias").is_in(list(configured)) | host.is_in(list(configured))
    return alias.conflicts(told).filter(~settled.fill_null(value=False))
