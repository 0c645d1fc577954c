"""Log records of OTLP that are access logs, as rows of ``access_logs``.

Envoy's OpenTelemetry access logger writes what its configuration says: a line of text in the body
(Istio's default), operators as attributes, or as members of the body; so they are read as the lines
and JSON that Envoy writes to files. Kong writes attributes of its own. The record's own time and
trace id are better than those of a line. Envoy names itself in resource attributes (``node_name``,
``cluster_name``, ``zone_name``, ``log_name``), or an operator names it with ``service.name``.

Source: envoyproxy/envoy ``source/extensions/access_loggers/open_telemetry``, seen on 1.40.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import orjson
import polars as pl
import pyarrow as pa

from pipeline.decode import envoy_json, envoy_text, kong_json
from pipeline.decode.envoy.node import EnvoyNode, attributes as node_attributes, columns
from pipeline.decode.lines.access_log_rows import WHO, access_log_rows
from pipeline.decode.otlp import kong_otlp
from pipeline.decode.wire.intern import UNKNOWN_SERVICE, InternedRow, Json, id_of, resource_row
from pipeline.model.decoded import Decoded
from pipeline.model.tables import ACCESS_LOGS, RESOURCES

_READ: Final = ("time", "trace_id_high", "trace_id_low", "resource_id", "body", "attributes")
_LINE: Final = r'^\[\d{4}-\d\d-\d\dT[^\]\n]+\] "[^\n]+$'
_STATUS: Final = r'"response_code"\s*:'
_ENVOYS: Final = r'"(?:upstream_(?:cluster|host)|response_flags)"\s*:'
"""What tells Envoy's operators from an application's own ``response_code``."""

_MARKS: Final = (b'] "', b"response_code", b"kong.request.id")

_BORROWED: Final = "%Y-%m-%dT%H:%M:%S%.9fZ"
_LABELS: Final = ("log_name", "node_name", "cluster_name", "zone_name")
"""Envoy's own resource attributes: of the log, and of the node."""

_IDENTITY: Final = tuple(name for name in WHO if name != "system")


def may_have(request: bytes) -> bool:
    """Whether a serialised request can have access logs at all; quick to see."""
    return any(mark in request for mark in _MARKS)


def access_logs(logs: pa.Table, resources: Sequence[InternedRow]) -> dict[str, pa.Table]:
    """The rows of ``access_logs`` that log records are, and the resources they refer to.

    Args:
        logs: rows of ``logs``.
        resources: the rows of ``resources`` that these refer to.

    Returns:
        Both tables; nothing where no record is an access log.
    """
    told = {str(row["resource_id"]): _attributes(row) for row in resources}
    records = _candidates(cast("pl.DataFrame", pl.from_arrow(logs.select(_READ))), told)
    if records.is_empty():
        return {}
    lines, proxies = _decoded(records)
    if lines.is_empty():
        return {}
    rows = lines.join(records, on="record", suffix="_told", maintain_order="left")
    pairs = rows.select("resource_id_told", "resource_id").unique(maintain_order=True)
    reporters = [_reporter(told[own], proxies[line]) for own, line in pairs.iter_rows()]
    names = pl.Series("reporter", [row["resource_id"] for row in reporters], pl.String)
    logs_of = {one: _text(attributes, "log_name") or None for one, attributes in told.items()}
    rows = rows.join(
        pairs.with_columns(names),
        on=("resource_id_told", "resource_id"),
        how="left",
        maintain_order="left",
    ).with_columns(
        pl.when("kong").then("start_time").otherwise(pl.coalesce("time", "start_time")),
        pl.coalesce("trace_id_high_told", "trace_id_high").alias("trace_id_high"),
        pl.coalesce("trace_id_low_told", "trace_id_low").alias("trace_id_low"),
        pl.col("reporter").alias("resource_id"),
        pl.col("resource_id_told")
        .replace_strict(logs_of, return_dtype=pl.String, default=None)
        .alias("log_name"),
    )
    distinct = {str(row["resource_id"]): row for row in reporters}
    return {
        ACCESS_LOGS.name: access_log_rows(rows.select(ACCESS_LOGS.names)),
        RESOURCES.name: pa.Table.from_pylist(list(distinct.values()), RESOURCES.arrow),
    }


def _candidates(logs: pl.DataFrame, told: Mapping[str, Mapping[str, Json]]) -> pl.DataFrame:
    """The records that may be access logs, with what is to be read of each.

    The columns ``line``, ``flat`` and ``kongs``; a record may have the first two.
    """
    body, attributes = pl.col("body"), pl.col("attributes")
    labelled = [one for one, names in told.items() if "node_name" in names and "log_name" in names]
    by_envoy = pl.col("resource_id").is_in(labelled)

    def operators(text: pl.Expr) -> pl.Expr:
        return text.str.contains(_STATUS) & (by_envoy | text.str.contains(_ENVOYS))

    return (
        logs.with_row_index("record")
        .with_columns(
            pl.when(body.str.contains(_LINE)).then(body).alias("line"),
            pl.when(body.str.starts_with("{") & operators(body))
            .then(body)
            .when(operators(attributes))
            .then(attributes)
            .alias("flat"),
            pl.when(attributes.str.contains(kong_otlp.MARK, literal=True))
            .then(attributes)
            .alias("kongs"),
        )
        .filter(pl.any_horizontal(pl.col("line", "flat", "kongs").is_not_null()))
        .with_columns(
            pl.col("time").dt.strftime(_BORROWED).alias("borrowed"),
            pl.col("time").cast(pl.Int64).alias("time_ns"),
        )
        .drop("body", "attributes")
    )


def _decoded(records: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, InternedRow]]:
    """Rows of ``access_logs`` with their ``record``, and the resources that the lines tell of."""
    parts = [
        _read(records, "line", envoy_text.decode, _line),
        _read(records, "flat", envoy_json.decode, _with_time),
        _read(records, "kongs", kong_json.decode, _of_kong),
    ]
    rows = pl.concat([part for part, _ in parts])
    # what a line does not tell, operators may
    once = rows.group_by("record", maintain_order=True).agg(
        pl.exclude("record", "log_type").drop_nulls().first(), pl.col("log_type").max()
    )
    proxies = {
        row["resource_id"]: row
        for _, decoded in parts
        for table in (decoded.batches.get(RESOURCES.name),)
        if table is not None
        for row in table.to_pylist()
    }
    return once.sort("record"), proxies


def _read(
    records: pl.DataFrame,
    column: str,
    decode: Callable[[Sequence[bytes]], Decoded],
    written: Callable[[Mapping[str, object]], bytes],
) -> tuple[pl.DataFrame, Decoded]:
    """Records with something in a column, decoded each as one line; bad ones are left out."""
    some = records.drop_nulls(column)
    decoded = decode([written(row) for row in some.iter_rows(named=True)])
    bad = [refusal.message for refusal in decoded.refused]
    good = some["record"].to_frame().with_row_index("number").filter(~pl.col("number").is_in(bad))
    table = decoded.batches.get(ACCESS_LOGS.name, ACCESS_LOGS.arrow.empty_table())
    rows = cast("pl.DataFrame", pl.from_arrow(table))
    kong = pl.Series("kong", [column == "kongs"], pl.Boolean).new_from_index(0, len(rows))
    return rows.with_columns(good["record"], kong), decoded


def _line(row: Mapping[str, object]) -> bytes:
    return str(row["line"]).encode()


def _with_time(row: Mapping[str, object]) -> bytes:
    """The operators, with the time of the record where none tells the time."""
    flat = str(row["flat"])
    if '"start_time"' in flat or row["borrowed"] is None:
        return flat.encode()
    return f'{{"start_time":"{row["borrowed"]}",{flat[1:]}'.encode()


def _of_kong(row: Mapping[str, object]) -> bytes:
    attributes = orjson.loads(str(row["kongs"]))
    return orjson.dumps(kong_otlp.record(attributes, cast("int | None", row["time_ns"])))


def _reporter(told: Mapping[str, Json], line: InternedRow) -> InternedRow:
    """Who wrote a record: what its resource says, what its node's name says, what its line says."""
    node = EnvoyNode(
        _text(told, "node_name"), _text(told, "cluster_name"), zone=_text(told, "zone_name")
    )
    named = columns(node) if node.id or node.cluster else {}
    own = {**resource_row(told)}
    if own["service_name"] == UNKNOWN_SERVICE:
        own["service_name"] = None
    identity = {name: own.get(name) or named.get(name) or line.get(name) for name in _IDENTITY}
    if identity["service_name"] is None:
        return line
    system = named.get("system")
    identity["system"] = line["system"] if system in (None, "envoy") else system
    others = {name: value for name, value in told.items() if name not in _LABELS}
    attributes = {**node_attributes(node), **others, "system": identity["system"]}
    text = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)
    canonical = orjson.dumps([identity, attributes], option=orjson.OPT_SORT_KEYS)
    return {"resource_id": id_of(canonical), **identity, "attributes": text.decode()}


def _attributes(row: InternedRow) -> Mapping[str, Json]:
    attributes: Mapping[str, Json] = orjson.loads(row["attributes"] or "{}")
    return attributes


def _text(attributes: Mapping[str, Json], name: str) -> str:
    value = attributes.get(name)
    return value if isinstance(value, str) else ""
