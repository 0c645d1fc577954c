"""Small traffic written down by hand: rows as the store answers them, with the rest left null."""

from collections.abc import Iterable, Mapping

import polars as pl

from pipeline.model.tables import ACCESS_LOGS, RESOURCES, SPANS

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5

NOT_ASKED = {"scope_id", "name", "status_message", "error_type", "trace_state",
             "attributes", "events", "links"}  # fmt: skip


def _schema(table, without=frozenset()) -> dict[str, pl.DataType]:
    frame = pl.DataFrame(pl.from_arrow(table.arrow.empty_table()))
    schema = {"slice": pl.Int64(), **frame.schema}
    if "start_time" in schema:
        schema["start_time"] = pl.Int64()
    return {name: kind for name, kind in schema.items() if name not in without}


def spans(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Rows as the question ``pair_spans`` answers them, with their homes."""
    filled = [
        {"slice": 1, "trace_id_high": 0, "trace_id_low": 1, "kind": SERVER, "status_code": 0,
         "duration_ns": 1_000_000, "is_proxy": False, "start_time": 0, **row}
        for row in rows
    ]  # fmt: skip
    frame = pl.DataFrame(filled, schema=_schema(SPANS, NOT_ASKED))
    trace = ["trace_id_high", "trace_id_low"]
    return frame.with_columns(home=pl.col("slice").min().over(trace))


def access_logs(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Rows as the question ``pair_access_logs`` answers them, with their homes."""
    filled = [
        {"slice": 1, "request_id": "r", "log_type": 6, "protocol": "http", "start_time": 0,
         "duration_ns": 1_000_000, "http_response_status_code": 200, **row}
        for row in rows
    ]  # fmt: skip
    frame = pl.DataFrame(filled, schema=_schema(ACCESS_LOGS, {"attributes"}))
    return frame.with_columns(home=pl.col("slice").min().over("request_id"))


def resources(*names: str, **attributes: object) -> pl.DataFrame:
    """One resource per name, its id the name; ``namespace/name@version`` is taken apart."""
    rows = []
    for name in names:
        full, _, version = name.partition("@")
        namespace, _, short = full.rpartition("/")
        rows.append(
            {
                "resource_id": name,
                "service_namespace": namespace or None,
                "service_name": short,
                "service_version": version or None,
                "system": "otel",
                "attributes": "{}",
                **attributes,
            }
        )
    schema = pl.DataFrame(pl.from_arrow(RESOURCES.arrow.empty_table())).schema
    return pl.DataFrame(rows, schema=schema)
