"""The access log of Istio's ztunnel, as text or JSON: one line for each connection that ended.

Traps of the format, which its authors call unstable:

* the time is that of the connection's end, so that it began a duration earlier;
* bytes are told from the side of the proxy that writes: what the source's sends is the request,
  what the destination's sends is the response;
* ``dst.addr`` with port 15008 is the tunnel; where the connection went to is ``dst.hbone_addr``;
* identities are told only where both sides proved theirs (mutual TLS);
* ``connection opened`` repeats what the end will tell, and is set aside like all other log lines;
* an error is a text. At the source, with nothing received, it means that there was no connection:
  the flag ``UF``, as Envoy says it.

Who writes is the workload at its side of the connection. A workload is told as the name of its pod.
Sources: istio/ztunnel ``src/proxy/metrics.rs``, ``src/telemetry.rs``, README.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.kernels.columns import NOTHING, texts, times
from pipeline.decode.kernels.text import OFFSET_BITS
from pipeline.decode.lines import access_log_rows
from pipeline.decode.lines.access_log_rows import Told
from pipeline.decode.lines.flat_json import (
    BAD_NUMBER,
    REASONS as JSON_REASONS,
    FlatJson,
    Read,
    merged,
)
from pipeline.decode.lines.lines import LineFormat, Lines, lines_of
from pipeline.decode.lines.pairs import pairs
from pipeline.decode.lines.text_values import durations, of_texts, rfc3339, whole_numbers
from pipeline.model.decoded import Decoded
from pipeline.model.pods import service_of_pod

TEXTS: Final = (
    "time", "level", "scope", "message", "src.addr", "src.workload", "src.namespace",
    "src.identity", "src.cluster", "dst.addr", "dst.hbone_addr", "dst.service", "dst.workload",
    "dst.namespace", "dst.identity", "dst.cluster", "direction", "duration", "error",
)  # fmt: skip
NUMBERS: Final = {"bytes_sent": (1 << 63) - 1, "bytes_recv": (1 << 63) - 1}
_PAIRS: Final = (*TEXTS[4:], *NUMBERS)

REASONS: Final = (
    *JSON_REASONS,
    "not a line of ztunnel's access log",
    "a connection that was opened, told again when it ends",
    "the time is not RFC 3339, or the duration is none",
)
_NOT_ACCESS, _OPENED, _BAD_TIME = (len(JSON_REASONS) + number for number in range(3))

_HEAD: Final = r"^(\S+)\s+(\S+)\s+(access):?\s+(connection \S+)$"
_LINE: Final = re.compile(rb'\d{4}-\S+\s+\S+\s+access:?\s+connection |\{.*"scope":"access"')
_SERVICE: Final = r"^([^.]+)\.([^.]+)\.svc(?:\..*)?$"

LINES: Final = LineFormat(lambda line: _LINE.match(line) is not None)

FORMAT: Final = FlatJson(TEXTS, NUMBERS, {})


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode lines into rows of ``access_logs``."""
    lines = lines_of(messages)
    if not len(lines):
        return Decoded()
    read = _read(lines)
    fields = read.fields
    ended = rfc3339(*of_texts(fields["time"]))
    took = durations(*of_texts(fields["duration"]))
    message = pl.Series(fields["message"])
    access = (pl.Series(fields["scope"]) == "access").fill_null(value=False)
    opened = (message == "connection opened").fill_null(value=False)
    timed = ended.good & (took.good | fields["duration"].is_null().to_numpy(zero_copy_only=False))
    bad = np.select(
        [_broken(read), ~access.to_numpy(), opened.to_numpy(), read.bad != 0, ~timed],
        [read.bad.astype(np.int64), _NOT_ACCESS, _OPENED, BAD_NUMBER, _BAD_TIME],
        0,
    )
    columns = {**fields, "duration_ns": took.array(pa.int64())}
    told = Told(
        times(ended.values - took.values),
        columns,
        read.attributes,
        bad,
        lines.refusals(REASONS, bad),
    )
    by = ("direction", "src.workload", "src.namespace", "src.cluster", "dst.service",
          "dst.workload", "dst.namespace", "dst.cluster")  # fmt: skip
    return access_log_rows.decoded(told, _columns(), _reporter(), by=by)


def _broken(read: Read) -> NDArray[np.bool_]:
    """Which lines are not even JSON objects, though they begin like one."""
    broken: NDArray[np.bool_] = (read.bad != 0) & (read.bad != BAD_NUMBER)
    return broken


def _read(lines: Lines) -> Read:
    """Lines as columns, whichever of the two ways they are written in."""
    first = lines.buffer.data[lines.slices >> OFFSET_BITS]
    json, text = np.flatnonzero(first == ord("{")), np.flatnonzero(first != ord("{"))
    if not len(text):
        return FORMAT.read(lines)
    if not len(json):
        return _read_text(lines)
    parts = (FORMAT.read(lines.some(json)), _read_text(lines.some(text)))
    return merged(parts, np.argsort(np.concatenate((json, text))))


def _read_text(lines: Lines) -> Read:
    source = lines.buffer
    found = pairs(lines, _PAIRS)
    cells = dict(zip(_PAIRS, np.ascontiguousarray(found.cells.T), strict=True))
    heads = pl.Series(texts(source, np.where(found.whole != 0, found.heads, NOTHING)))
    head = {
        "time": heads.str.extract(_HEAD, 1),
        "level": heads.str.extract(_HEAD, 2).str.to_lowercase(),
        "scope": heads.str.extract(_HEAD, 3),
        "message": heads.str.extract(_HEAD, 4),
    }
    fields = {name: told.to_arrow().cast(pa.string()) for name, told in head.items()}
    fields |= {name: texts(source, cells[name]) for name in TEXTS[4:]}
    wrong = np.zeros(len(lines), np.bool_)
    for name in NUMBERS:
        numbers = whole_numbers(source, cells[name])
        wrong |= (cells[name] != NOTHING) & ~numbers.good
        fields[name] = numbers.array(pa.int64())
    nothing = pa.nulls(len(lines), pa.string())
    return Read(fields, nothing, np.where(wrong, BAD_NUMBER, 0).astype(np.uint8))


def _columns() -> tuple[pl.Expr | str, ...]:
    outbound = pl.col("direction") == "outbound"
    inbound = pl.col("direction") == "inbound"
    target = pl.coalesce("dst.hbone_addr", "dst.addr")
    port = target.str.extract(r":(\d+)$")
    sent, received = pl.col("bytes_sent"), pl.col("bytes_recv")
    failed = outbound & pl.col("error").is_not_null() & (received.fill_null(0) == 0)
    cluster = pl.format("outbound|{}||{}", port, pl.col("dst.service"))
    return (
        pl.lit(0, pl.UInt8).alias("log_type"),
        pl.lit("tcp").alias("protocol"),
        pl.format("ztunnel {}", "direction").alias("log_name"),
        "duration_ns",
        # as Istio's sidecars spell it, so that it means the same
        pl.when(outbound & pl.col("dst.service").str.contains(_SERVICE))
        .then(cluster)
        .alias("upstream_cluster"),
        pl.when(inbound).then(received).otherwise(sent).alias("request_bytes"),
        pl.when(inbound).then(sent).otherwise(received).alias("response_bytes"),
        pl.when(failed).then(pl.lit("UF")).alias("response_flags"),
        pl.col("error").alias("response_code_details"),
        pl.col("src.addr").alias("downstream_remote_address"),
        pl.col("src.addr").alias("downstream_direct_remote_address"),
        pl.when(outbound).then(target).alias("upstream_remote_address"),
        pl.when(inbound).then(target).alias("downstream_local_address"),
        pl.when(inbound).then("src.identity").alias("tls_peer_identity"),
        pl.when(inbound).then("dst.identity").otherwise("src.identity").alias("tls_local_identity"),
    )


def _reporter() -> tuple[pl.Expr, ...]:
    """The workload on whose side the proxy stands: the source's, or the service that was called."""
    inbound = pl.col("direction") == "inbound"
    side = {
        name: pl.when(inbound).then(f"dst.{name}").otherwise(f"src.{name}")
        for name in ("workload", "namespace", "cluster")
    }
    workload = service_of_pod(side["workload"])
    service = pl.when(inbound).then(pl.col("dst.service").str.extract(_SERVICE, 1))
    return (
        pl.coalesce(
            pl.when(inbound).then(pl.col("dst.service").str.extract(_SERVICE, 2)),
            side["namespace"],
        ).alias("service_namespace"),
        pl.coalesce(service, workload).alias("service_name"),
        workload.alias("workload"),
        side["workload"].alias("service_instance_id"),
        side["cluster"].alias("cluster"),
        pl.lit("istio").alias("system"),
    )
