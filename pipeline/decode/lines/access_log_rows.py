"""Columns of access logs to rows, and who told them to rows of ``resources``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.lines.container_lines import is_error
from pipeline.decode.lines.lines import Lines
from pipeline.decode.wire.intern import id_of
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.pods import ContainerLog, service_of_pod
from pipeline.model.tables import ACCESS_LOGS, RESOURCES

WHO: Final = {
    "service_namespace": "service.namespace",
    "service_name": "service.name",
    "service_version": "service.version",
    "service_instance_id": "service.instance.id",
    "workload": "k8s.workload.name",
    "cluster": "k8s.cluster.name",
    "zone": "cloud.availability_zone",
    "system": "system",
}
"""Columns of ``resources`` that lines can fill, and the attributes they are kept as."""

_LOG: Final = "log"
"""Column of the frame of reporters: the number of the log that a line is in."""
_ON_ERROR: Final = '"log.iostream":"stderr"'
"""What is kept of the stream: access logs go to the other one, of which nothing is said."""


@dataclass(frozen=True, slots=True)
class Told:
    """What lines told, one value for each line, good or bad.

    Attributes:
        times: when each request began.
        fields: columns by the names that the format has for them.
        attributes: JSON objects of what has no column.
        bad: of each line the number of what is wrong with it; 0 nothing.
        refused: what is told of the bad ones.
        lines: the lines themselves, where it matters how and by whom they were kept.
    """

    times: pa.Array
    fields: Mapping[str, pa.Array]
    attributes: pa.Array
    bad: NDArray[np.integer]
    refused: tuple[Refusal, ...] = ()
    lines: Lines | None = None


def decoded(
    told: Told,
    columns: Sequence[pl.Expr | str],
    who: Sequence[pl.Expr] = (),
    *,
    by: Sequence[pl.Expr | str] = (),
) -> Decoded:
    """The rows of the good lines.

    Args:
        told: the lines.
        columns: columns of ``access_logs``, in terms of the format's fields; those that are not
            given are null.
        who: columns out of ``WHO``, in terms of ``by``; none where lines never tell. A line that
            tells nothing but its system refers to a resource in which nobody is named. What a line
            does not tell of these, the pod does in whose log it is.
        by: what ``who`` needs, of which there are few different values.
    """
    good = told.bad == 0
    if not good.any():
        return Decoded(refused=told.refused)
    arrays = {**told.fields, "start_time": told.times, "attributes": _attributes(told)}
    lines = pl.DataFrame({name: pl.Series(name, array) for name, array in arrays.items()})
    logs = told.lines.logs if told.lines else ()
    if told.lines and logs:
        lines = lines.with_columns(pl.Series(_LOG, told.lines.log))
    if not good.all():
        lines = lines.filter(pl.Series(good))
    rows = lines.select("start_time", "attributes", *columns)
    if not (who or logs):
        return Decoded({ACCESS_LOGS.name: access_log_rows(rows)}, told.refused)
    ids, resources = reporters(lines.select(*by, *([_LOG] if logs else [])), who, logs)
    batches = {
        ACCESS_LOGS.name: access_log_rows(rows.with_columns(ids)),
        RESOURCES.name: resources,
    }
    return Decoded(batches, told.refused)


def access_log_rows(columns: pl.DataFrame) -> pa.Table:
    """Rows of ``access_logs``; a column that is not given is null.

    Raises:
        KeyError: there is no such column.
    """
    unknown = set(columns.columns) - set(ACCESS_LOGS.names)
    if unknown:
        raise KeyError(*unknown)
    arrow = ACCESS_LOGS.arrow
    arrays = [
        columns[field.name].to_arrow().cast(field.type)
        if field.name in columns.columns
        else pa.nulls(len(columns), field.type)
        for field in arrow
    ]
    return pa.table(arrays, arrow)


def reporters(
    lines: pl.DataFrame, who: Sequence[pl.Expr], logs: Sequence[ContainerLog] = ()
) -> tuple[pl.Series, pa.Table]:
    """The ``resource_id`` of each line, and the rows of ``resources`` that they refer to.

    Args:
        lines: what tells who wrote each line.
        who: columns out of ``WHO``, in terms of these.
        logs: whose logs the lines are in, by the numbers in their column ``log``.
    """
    different = lines.unique(maintain_order=True)
    rows = [_resource(row, logs) for row in _named(different, who)]
    ids = pl.Series("resource_id", [row["resource_id"] for row in rows], pl.String)
    told = {row["resource_id"]: row for row in rows}
    resources = pa.Table.from_pylist(list(told.values()), RESOURCES.arrow)
    if len(told) == 1:
        return ids.new_from_index(0, len(lines)), resources
    found = lines.join(
        different.with_columns(ids),
        on=lines.columns,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    return found["resource_id"], resources


def _named(different: pl.DataFrame, who: Sequence[pl.Expr]) -> Iterator[dict[str, Any]]:
    logs = [_LOG] if _LOG in different.columns else []
    return different.select(*who, *logs).iter_rows(named=True)


def _resource(told: Mapping[str, Any], logs: Sequence[ContainerLog]) -> dict[str, str | None]:
    row = {name: value for name, value in told.items() if name in WHO}
    number = told.get(_LOG, -1)
    log = logs[number] if number >= 0 else None
    if log:
        row |= _of_pod(row, log)
    attributes = {WHO[name]: value for name, value in row.items() if value is not None}
    if log:
        attributes |= log.attributes
    canonical = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)
    return {"resource_id": id_of(canonical), **row, "attributes": canonical.decode()}


def _of_pod(row: Mapping[str, str | None], log: ContainerLog) -> dict[str, str | None]:
    """Columns that a line did not tell: the pod's. A name is told with its namespace or not."""
    workload = pl.select(service_of_pod(pl.lit(log.pod))).item()
    name = row.get("service_name")
    return {
        "service_namespace": row.get("service_namespace") if name else log.namespace,
        "service_name": name or workload,
        "service_instance_id": row.get("service_instance_id") or log.pod,
        "workload": row.get("workload") or workload,
    }


def _attributes(told: Told) -> pa.Array:
    """The attributes, with the stream where that says something."""
    if told.lines is None or not (on_error := is_error(told.lines.buffer, told.lines.stamps)).any():
        return told.attributes
    lines = pl.DataFrame({"told": pl.from_arrow(told.attributes), "on_error": on_error})
    kept = pl.col("told").str.strip_suffix("}") + f",{_ON_ERROR}}}"
    alone = pl.lit(f"{{{_ON_ERROR}}}")
    both = pl.when("on_error").then(pl.coalesce(kept, alone)).otherwise("told")
    return lines.select(both).to_series().to_arrow().cast(pa.string())


def http_version(told: pl.Expr) -> pl.Expr:
    """The version as Envoy writes it: ``HTTP/2`` for ``HTTP/2.0``."""
    return told.str.replace(r"^(HTTP/[23])\.0$", "${1}")
