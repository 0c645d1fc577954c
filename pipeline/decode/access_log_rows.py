"""Columns of access logs to rows, and who told them to rows of ``resources``."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.intern import id_of
from pipeline.model.tables import ACCESS_LOGS, RESOURCES

NAMES: Final = {
    "service_namespace": "service.namespace",
    "service_name": "service.name",
    "service_instance_id": "service.instance.id",
    "workload": "k8s.workload.name",
    "cluster": "k8s.cluster.name",
    "system": "telemetry.system",
}
"""Columns of ``resources`` that a line can tell, and the attributes they are kept as."""


def access_log_rows(
    columns: Mapping[str, pa.Array], good: NDArray[np.bool_] | None = None
) -> pa.Table:
    """Rows of ``access_logs``; a column that is not given is null.

    Args:
        columns: at least one column.
        good: which rows are to be kept; all when not given.
    """
    unknown = columns.keys() - set(ACCESS_LOGS.names)
    if unknown:
        raise KeyError(*unknown)
    count = len(next(iter(columns.values())))
    arrow = ACCESS_LOGS.arrow
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(count, field.type)
        for field in arrow
    ]
    rows = pa.table(arrays, arrow)
    return rows if good is None or good.all() else rows.filter(pa.array(good))


def reporters(told: Mapping[str, pa.Array]) -> tuple[pa.Array, pa.Table]:
    """The ``resource_id`` of each line, and the rows of ``resources`` they refer to.

    Args:
        told: columns out of ``NAMES``; a line that tells nothing but its system refers to the
            system's row, in which nobody is named.
    """
    lines = pl.DataFrame(
        {name: pl.Series(name, told[name], pl.String) for name in NAMES if name in told}
    )
    speakers = lines.unique(maintain_order=True)
    rows = [_resource(row) for row in speakers.iter_rows(named=True)]
    speakers = speakers.with_columns(
        pl.Series("resource_id", [row["resource_id"] for row in rows], pl.String)
    )
    ids = lines.join(
        speakers, on=lines.columns, how="left", nulls_equal=True, maintain_order="left"
    )["resource_id"]
    return ids.to_arrow().cast(pa.string()), pa.Table.from_pylist(rows, RESOURCES.arrow)


def _resource(row: Mapping[str, str | None]) -> dict[str, str | None]:
    attributes = {NAMES[name]: value for name, value in row.items() if value is not None}
    canonical = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)
    return {"resource_id": id_of(canonical), **row, "attributes": canonical.decode()}
