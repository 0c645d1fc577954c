"""Exemplars of Prometheus as JSON, as OTLP's are: hex ids, a time, a value, other labels."""

from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import texts
from pipeline.decode.kernels.json_text import double_texts, objects
from pipeline.decode.kernels.kernel import Buffer, Ints
from pipeline.decode.otlp.json_records import Field, arrays, ready_texts
from pipeline.decode.prometheus.samples import Exemplars
from pipeline.decode.wire.declaration import HEADER, PARENT
from pipeline.decode.wire.walk import Rows

TRACE_IDS: Final = ("trace_id", "traceID", "traceId")
SPAN_IDS: Final = ("span_id", "spanID", "spanId")
"""Labels that name the trace and span of an exemplar."""

_CELLS: Final = {"time": HEADER, "trace_id": HEADER + 1, "span_id": HEADER + 2}
_FIELDS: Final = (
    Field("time_unix_nano", "unsigned", "time"),
    Field("value", "json"),
    Field("trace_id", "text", "trace_id"),
    Field("span_id", "text", "span_id"),
    Field("attributes", "json"),
)


def exemplar_texts(source: Buffer, exemplars: Exemplars, rows: Ints, count: int) -> pa.Array:
    """One JSON array for each of ``count`` rows, null where there is no exemplar.

    Args:
        source: what slices point into.
        exemplars: of samples.
        rows: of each sample its row.
        count: how many rows.
    """
    owners = rows[exemplars.samples]
    order = np.argsort(owners, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    labels = exemplars.labels
    of_label = place[labels.parents]
    sorted_labels = labels.cells[np.argsort(of_label, kind="stable")]
    sorted_labels[:, PARENT] = np.sort(of_label)
    others = Rows(sorted_labels, labels.names)
    cells = np.zeros((len(order), HEADER + len(_CELLS)), np.int64)
    cells[:, PARENT] = owners[order]
    cells[:, _CELLS["time"]] = exemplars.times[order]
    keys = np.array(
        texts(source, others.column("key"), empty_is_null=False).to_pylist(), dtype=object
    )
    rest = np.ones(len(others), np.bool_)
    for cell, known in (("trace_id", TRACE_IDS), ("span_id", SPAN_IDS)):
        here = np.isin(keys, known)
        cells[others.parents[here], _CELLS[cell]] = others.column("value")[here]
        rest &= ~here
    told = objects(source, Rows(np.ascontiguousarray(others.cells[rest]), labels.names), len(order))
    text, slices = double_texts(exemplars.values[order].view(np.int64))
    ready = {"value": (text, slices), "attributes": ready_texts(told)}
    return arrays(source, Rows(cells, _CELLS), count, _FIELDS, ready)
