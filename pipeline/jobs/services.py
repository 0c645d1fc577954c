"""A bound on distinct services: past it, new names are counted under one."""

from collections.abc import Mapping
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.model.tables import RAW, RESOURCES
from pipeline.model.topology import OVERFLOW

OVERFLOW_ID: Final = "overflow-00"
"""Resource id of the service that stands for the rest; no hash in base64url spells it."""


class ServiceLimit:
    """Knows the services of the store and admits new ones up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[tuple[str | None, str | None]] = set()

    def learn(self, resources: pl.DataFrame) -> None:
        """Count the services that are in the store already."""
        self._seen.update(
            resources.select("service_namespace", "service_name").unique().iter_rows()
        )

    def apply(self, batches: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], int]:
        """Put rows of services past the limit under one name.

        Args:
            batches: what the decoders gave.

        Returns:
            The batches, and how many rows were put under the one name. The message as received,
            with the true name, stays on the bus for as long as that keeps it.
        """
        kept = dict(batches)
        if RESOURCES.name not in kept:
            return kept, 0
        resources = pl.DataFrame(pl.from_arrow(kept[RESOURCES.name]))
        over = self._past_limit(resources)
        if over.is_empty():
            return kept, 0
        row = dict.fromkeys(RESOURCES.names) | {
            "resource_id": OVERFLOW_ID,
            "service_name": OVERFLOW,
            "system": "otel",
            "attributes": "{}",
        }
        kept[RESOURCES.name] = pa.concat_tables(
            [
                _without(kept[RESOURCES.name], over),
                pa.Table.from_pylist([row], schema=RESOURCES.arrow),
            ]
        )
        moved = 0
        for table in RAW:
            if table.name in kept:
                kept[table.name], rows = _moved(kept[table.name], over)
                moved += rows
        return kept, moved

    def _past_limit(self, resources: pl.DataFrame) -> pl.Series:
        """Resource ids whose service is new and does not fit any more."""
        names = resources.select("service_namespace", "service_name").unique(maintain_order=True)
        new = [name for name in names.iter_rows() if name not in self._seen]
        room = max(self._limit - len(self._seen), 0)
        self._seen.update(new[:room])
        past = pl.DataFrame(
            new[room:], schema=["service_namespace", "service_name"], orient="row",
            schema_overrides={"service_namespace": pl.String, "service_name": pl.String},
        )  # fmt: skip
        return resources.join(
            past, on=["service_namespace", "service_name"], how="semi", nulls_equal=True
        )["resource_id"].unique()


def _without(resources: pa.Table, over: pl.Series) -> pa.Table:
    frame = pl.DataFrame(pl.from_arrow(resources))
    kept = frame.filter(~pl.col("resource_id").is_in(over.implode()))
    return kept.to_arrow().cast(resources.schema)


def _moved(rows: pa.Table, over: pl.Series) -> tuple[pa.Table, int]:
    ids = pl.Series("resource_id", rows["resource_id"])
    past = ids.is_in(over.implode())
    moved = pl.select(pl.when(past).then(pl.lit(OVERFLOW_ID)).otherwise(ids)).to_series()
    place = rows.schema.get_field_index("resource_id")
    column = pa.chunked_array(moved.to_arrow()).cast(pa.string())
    return rows.set_column(place, rows.schema.field(place), column), int(past.sum())
