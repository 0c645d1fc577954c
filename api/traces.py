"""One trace: its spans as received, every attribute under the name of its semantic convention."""

import re
from collections.abc import Iterator
from typing import Final

import orjson
import polars as pl

from api.problems import NotFound
from pipeline.model.tables import SPANS
from pipeline.store.port import Store

KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES: Final = ("unset", "ok", "error")
JSON_COLUMNS: Final = ("attributes", "resource", "events", "links")


def _attribute_names() -> Iterator[tuple[str, str]]:
    """Promoted column and the attribute it was, as the declaration of the column says."""
    promoted = False
    for column in SPANS:
        promoted = promoted or column.name == "http_request_method"
        if column.name == "is_proxy":
            return
        if promoted:
            named = re.match(r"`([a-z_.]+)`", column.meaning)
            yield column.name, named[1] if named else column.name


ATTRIBUTES: Final = dict(_attribute_names())
"""Promoted column of a span to the name of the attribute it carries."""


def spans_of(store: Store, trace_id: str) -> pl.DataFrame:
    """The spans of a trace, by start time; blocks.

    Args:
        store: where to ask.
        trace_id: 32 hexadecimal digits.

    Raises:
        NotFound: the store holds no span of it.
    """
    rows = store.ask(
        "trace_spans",
        trace_id_high=int(trace_id[:16], 16),
        trace_id_low=int(trace_id[16:], 16),
    )
    if rows.is_empty():
        raise NotFound(
            "trace",
            field="trace_id",
            found=trace_id,
            allowed="the id of a trace that was received and is still kept",
        )
    return spans_as_answered(rows)


def spans_as_answered(rows: pl.DataFrame) -> pl.DataFrame:
    """Spans in the shape of their JSON; ``JSON_COLUMNS`` hold JSON text."""
    name = pl.col("service_name")
    namespaced = pl.format("{}/{}", "service_namespace", "service_name")
    return rows.select(
        _hex("trace_id_high", "trace_id_low").alias("trace_id"),
        _hex("span_id").alias("span_id"),
        _hex("parent_span_id").alias("parent_span_id"),
        pl.col("name").fill_null(""),
        _named("kind", KINDS),
        pl.when(pl.col("service_namespace").is_null()).then(name).otherwise(namespaced).alias(
            "service"
        ),
        pl.col("start_time").alias("start"),
        (pl.col("start_time") + pl.duration(nanoseconds="duration_ns")).alias("end"),
        (pl.col("duration_ns") / 1e9).alias("duration_seconds"),
        _named("status_code", STATUSES).alias("status"),
        "status_message",
        pl.Series("attributes", list(map(_attributes, rows.select(
            "attributes", *ATTRIBUTES).iter_rows(named=True))), pl.String),
        _json("resource_attributes", b"{}").alias("resource"),
        _json("events", b"[]"),
        _json("links", b"[]"),
    )  # fmt: skip


def _hex(*halves: str) -> pl.Expr:
    """Unsigned numbers as lower-case hexadecimal, 16 digits each."""
    return pl.concat_str(
        pl.col(half).map_elements(_sixteen_digits, return_dtype=pl.String) for half in halves
    )


def _sixteen_digits(number: int) -> str:
    return f"{number:016x}"


def _named(column: str, names: tuple[str, ...]) -> pl.Expr:
    known = dict(enumerate(names))
    return pl.col(column).replace_strict(known, default=names[0], return_dtype=pl.String)


def _attributes(row: dict[str, object]) -> str:
    told = as_json(row.pop("attributes"), b"{}")
    merged = {ATTRIBUTES[name]: value for name, value in row.items() if value is not None}
    return orjson.dumps(merged | orjson.loads(told)).decode()


def as_json(text: object, missing: bytes) -> bytes:
    """Stored JSON text, checked; ``missing`` for none, an object that holds what is no JSON."""
    if not isinstance(text, str) or not text:
        return missing
    try:
        return orjson.dumps(orjson.loads(text))
    except orjson.JSONDecodeError:
        return orjson.dumps({"unreadable": text})


def _json(column: str, missing: bytes) -> pl.Expr:
    return pl.col(column).map_elements(
        lambda text: as_json(text, missing).decode(), return_dtype=pl.String, skip_nulls=False
    )
