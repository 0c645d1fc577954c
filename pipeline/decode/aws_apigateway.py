"""Access logs of AWS API Gateway: REST, HTTP and WebSocket APIs, written as JSON.

Nothing in such a record is fixed: the operator writes the keys and puts ``$context`` variables
behind them. Known here are the names of the variables (with dots, nested, joined, with underscores)
and those of the console's own formats. Values are text, ``-`` where there is none; latencies and
``requestTimeEpoch`` are milliseconds. Also read: subscription payloads of CloudWatch Logs and
Firehose, see ``cloudwatch``. Source: API Gateway developer guide,
``api-gateway-variables-for-access-logging``.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decode import cloudwatch
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.lines.lines import Checked, LineFormat
from pipeline.decode.lines.trace_ids import trace_ids
from pipeline.decode.otlp.consumers import consumers
from pipeline.decode.privacy.pseudonyms import hashed
from pipeline.decode.records.gateway_records import (
    EARLIEST_NS,
    MILLISECONDS,
    RATE_LIMITED,
    REFUSED,
    UPSTREAM_TIMEOUT,
    Judged,
    Mask,
    cells_of,
    decoded,
    first_that_holds,
    first_time,
    int64,
    iso_times,
    judged,
    matches,
    members,
    repeated,
    resources_of,
    unix_nanoseconds,
)
from pipeline.decode.records.record_cells import Cells
from pipeline.decode.records.record_plan import Path, Records
from pipeline.model.decoded import Decoded, Refusal

_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def spelled(*names: str) -> list[Path]:
    """Every way in which variables are written as keys, dots as nesting among them."""
    found: dict[Path, None] = {}
    for name in names:
        *holders, last = name.split(".")
        words = [word.lower() for part in name.split(".") for word in _WORD.findall(part)]
        for separator in ("", "_", "-", "."):
            found[(separator.join(words),)] = None
        found[(name.lower(),)] = None
        found[(f"context.{name.lower()}",)] = None
        if holders:
            found[(*(holder.lower() for holder in holders), last.lower())] = None
    return list(found)


RECORDS: Final = Records(
    cells={
        "epoch": spelled("requestTimeEpoch", "timeEpoch"),
        "time": spelled("requestTime", "time", "timestamp"),
        "refused": [(REFUSED,)],
        "logged_at": [("cloudwatch.timestamp",)],
        "log_group": [("cloudwatch.log_group",)],
        "log_stream": [("cloudwatch.log_stream",)],
        "owner": [("cloudwatch.owner",)],
        "extended_id": spelled("extendedRequestId"),
        "request_id": spelled("requestId"),
        "account": spelled("accountId"),
        "api": spelled("apiId"),
        "stage": spelled("stage"),
        "domain": spelled("domainName"),
        "method": spelled("httpMethod", "method"),
        "resource_path": spelled("resourcePath"),
        "route_key": spelled("routeKey"),
        "path": spelled("path"),
        "protocol": spelled("protocol"),
        "status": spelled("status"),
        "response_length": spelled("responseLength"),
        "data_processed": spelled("dataProcessed"),
        "latency": spelled("responseLatency"),
        "integration_latency": spelled("integration.latency", "integrationLatency"),
        "integration_status": spelled("integration.status", "integrationStatus"),
        "service_status": spelled("integration.integrationStatus", "lambdaStatus"),
        "integration_error": spelled("integration.error", "integrationErrorMessage"),
        "integration_id": spelled("integration.requestId", "awsEndpointRequestId"),
        "upstream": spelled("upstream", "backend", "integrationTarget", "integration.target"),
        "error_type": spelled("error.responseType", "errorType", "errorResponseType"),
        "error_message": spelled("error.message", "error.messageString", "errorMessage"),
        "api_key_id": spelled("identity.apiKeyId", "apiKeyId"),
        "principal": spelled("authorizer.principalId", "principalId", "user", "identity.user"),
        "subject": [
            *spelled("authorizer.claims.sub", "claims.sub", "sub"),
            ("authorizer", "claims", "sub"),
            ("authorizer", "jwt", "claims", "sub"),
        ],
        "user_arn": spelled("identity.userArn", "userArn", "caller", "identity.caller"),
        "source_ip": spelled("identity.sourceIp", "sourceIp", "ip"),
        "user_agent": spelled("identity.userAgent", "userAgent"),
        "subject_dn": spelled("identity.clientCert.subjectDN", "clientCertSubjectDN"),
        "waf": spelled("wafResponseCode", "waf"),
        "xray": spelled("xrayTraceId", "xAmznTraceId"),
        "traceparent": spelled("traceparent"),
        "connection_id": spelled("connectionId"),
        "event_type": spelled("eventType"),
        "canary": spelled("isCanaryRequest"),
        "deployment": spelled("deploymentId"),
    },
    counts={},
    needed=("epoch", "time", "logged_at", "refused"),
)

_JUDGED: Final = RECORDS.only("request_id", "extended_id")
"""The cells that say whether a record is taken; those that are needed belong to them."""

ATTRIBUTES: Final = {
    "request_id": "aws.request_id",
    "integration_id": "aws.integration.request_id",
    "service_status": "aws.integration.service_status",
    "integration_error": "aws.integration.error",
    "error_message": "error.message",
    "data_processed": "aws.apigateway.data_processed",
    "waf": "aws.waf.response_code",
    "connection_id": "aws.apigateway.connection_id",
    "event_type": "aws.apigateway.event_type",
    "canary": "aws.apigateway.canary",
    "deployment": "aws.apigateway.deployment_id",
    "subject_dn": "tls.client.subject",
    "log_stream": "aws.log.stream.name",
}

DEFAULT_STAGE: Final = "$default"
_LIMITED: Final = "^(THROTTLED|QUOTA_EXCEEDED)$"
_TIMED_OUT: Final = "^INTEGRATION_TIMEOUT$"
_CLF_TIME: Final = r"^(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{1,2}:\d{2}:\d{2}) ?([+-]\d{4})$"
_MONTHS: Final = {
    "Jan": "01", "Feb": "02", "Mar": "03", "Apr": "04", "May": "05", "Jun": "06",
    "Jul": "07", "Aug": "08", "Sep": "09", "Oct": "10", "Nov": "11", "Dec": "12",
}  # fmt: skip
_ROUTE_KEY: Final = r"^(?:[A-Z]+ )?(.+)$"
_ROUTE_METHOD: Final = r"^([A-Z]+) "
_IDS: Final = r"/(?:\d[^/]*|[0-9a-fA-F]{8,}[^/]*|[^/]{24,}|[^/]*[@=+:%][^/]*)"
"""Segments of a path that look like ids of something or somebody."""


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode access logs of API Gateway, bare or as CloudWatch Logs and Firehose deliver them."""
    lines = [opened(message) for message in messages]
    cells = cells_of(lines, RECORDS)
    errors = cells.texts("error_type")
    columns = {
        **_request(cells),
        **trace_ids([cells.texts("traceparent"), cells.texts("xray")]),
        "duration_ns": int64(cells.numbers("latency", scale=MILLISECONDS)),
        "upstream_duration_ns": int64(cells.numbers("integration_latency", scale=MILLISECONDS)),
        "upstream_response_status_code": cells.column("integration_status", pa.uint16()),
        "upstream_cluster": cells.texts("upstream"),
        "response_code_details": errors,
        "response_flags": first_that_holds(
            (matches(errors, _LIMITED), RATE_LIMITED),
            (matches(errors, _TIMED_OUT), UPSTREAM_TIMEOUT),
        ),
        "consumer": consumers("aws", cells.first),
        "downstream_remote_address": hashed(cells.texts("source_ip")),
        "attributes": cells.attributes(ATTRIBUTES),
    }
    found = decoded(cells, columns, _judged(cells), _gateways(cells))
    return Decoded(found.batches, _in_wrapping(found.refused, lines, messages))


def check(messages: Sequence[bytes]) -> Checked:
    """What ``decode`` would do with messages."""
    lines = [opened(message) for message in messages]
    records, refused = _judged(cells_of(lines, _JUDGED)).checked
    return Checked(records, _in_wrapping(refused, lines, messages))


def _judged(cells: Cells) -> Judged:
    unknown = ~(cells.told("request_id") | cells.told("extended_id"))
    return judged(cells, _start(cells), [(unknown, "no request id")])


def _in_wrapping(
    refused: Sequence[Refusal], lines: Sequence[bytes], messages: Sequence[bytes]
) -> tuple[Refusal, ...]:
    """What is told of lines; where they were wrapped, nobody knows at which byte they stood."""
    return tuple(
        told if lines[told.message] is messages[told.message] else replace(told, offset=None)
        for told in refused
    )


def _start(cells: Cells) -> tuple[Ints, Mask]:
    """When requests began: to the millisecond where that is told, else to the second."""
    moment, told = cells.numbers("epoch", scale=MILLISECONDS)
    epoch = moment, told & (moment >= EARLIEST_NS)
    if epoch[1].all():
        return epoch
    written = cells.texts("time")
    logged = cells.numbers("logged_at", scale=MILLISECONDS)
    return first_time(epoch, clf_times(written), iso_times(written), logged)


def opened(message: bytes) -> bytes:
    """A message as log lines: without what CloudWatch Logs and Firehose wrap around them."""
    return cloudwatch.unwrap(message) if cloudwatch.is_wrapped(message) else message


def fits(line: bytes) -> bool:
    """Whether a line looks like an access log of API Gateway, or a payload of CloudWatch Logs."""
    told = members(line)
    if "awslogs" in told or {"messagetype", "logevents"} <= told.keys():
        return True
    if _carries(told.get("records")):
        return True
    return bool(told.keys() & _IDS_TOLD) and len(told.keys() & _TYPICAL) >= 2


def _carries(records: object) -> bool:
    """Whether records are those of Firehose or Kinesis."""
    first = records[0] if isinstance(records, list) and records else None
    return isinstance(first, dict) and ("data" in first or "kinesis" in first)


_IDS_TOLD: Final = frozenset(path[0] for path in spelled("requestId", "extendedRequestId"))
_TYPICAL: Final = frozenset(
    path[0]
    for path in spelled(
        "requestTime", "requestTimeEpoch", "routeKey", "resourcePath", "apiId", "stage",
        "httpMethod", "responseLength", "integrationLatency", "integration", "identity",
    )
    if len(path) == 1
)  # fmt: skip

LINES: Final = LineFormat(fits, json=True, opened=opened, check=check)


def clf_times(text: pa.Array) -> tuple[Ints, Mask]:
    """Times as in Apache's logs (``12/Mar/2020:19:03:58 +0000``), the space left out or not."""
    series = pl.Series("time", pl.from_arrow(text), pl.String)
    if series.null_count() == len(series):
        return np.zeros(len(series), np.int64), np.zeros(len(series), np.bool_)
    parts = series.str.extract_groups(_CLF_TIME).struct.unnest()
    local = parts.select(
        pl.format(
            "{}-{}-{}T{}",
            pl.col("3"),
            pl.col("2").replace_strict(_MONTHS, default=None, return_dtype=pl.String),
            pl.col("1"),
            pl.col("4").str.zfill(8),
        )
        .str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="ns", strict=False)
        .alias("local")
    )["local"]
    return unix_nanoseconds(local, parts["5"])


def _request(cells: Cells) -> dict[str, pa.Array]:
    keys = cells.texts("route_key")
    method = pc.coalesce(cells.texts("method"), _extracted(keys, _ROUTE_METHOD))
    route = pc.coalesce(cells.texts("resource_path"), _extracted(keys, _ROUTE_KEY))
    return {
        "protocol": repeated("http", len(cells)),
        "protocol_version": cells.texts("protocol"),
        "request_id": cells.first("extended_id", "request_id"),
        "stream_id": cells.first("extended_id", "request_id"),
        "http_request_method": method,
        "authority": cells.texts("domain"),
        "url_path": without_ids(cells.paths("path")),
        "route_name": route,
        "http_response_status_code": cells.column("status", pa.uint16()),
        "response_bytes": cells.column("response_length", pa.int64()),
        "user_agent": cells.texts("user_agent"),
    }


def _extracted(keys: pa.Array, pattern: str) -> pa.Array:
    """A part of each route key; there are few different ones."""
    encoded = keys.dictionary_encode()
    found = [re.search(pattern, key) for key in encoded.dictionary.to_pylist()]
    parts = pa.array([match[1] if match else None for match in found], pa.string())
    return parts.take(encoded.indices)


def without_ids(paths: pa.Array) -> pa.Array:
    """Paths with ``{id}`` for segments that look like ids: they may name persons and things."""
    if paths.null_count == len(paths):
        return paths
    encoded = paths.dictionary_encode()
    names = pl.Series("path", pl.from_arrow(encoded.dictionary), pl.String)
    clean = names.str.replace_all(_IDS, "/{id}").to_arrow().cast(pa.string())
    return clean.take(encoded.indices)


def _gateways(cells: Cells) -> tuple[pa.Array, pa.Table]:
    keys = [cells.texts(name) for name in ("api", "stage", "account", "owner", "log_group")]
    return resources_of(keys, _gateway)


def _gateway(told: Sequence[str]) -> dict[str, str | None]:
    api, stage, account, owner, group = told
    return {
        "service_namespace": stage if stage != DEFAULT_STAGE else None,
        "service_name": api or group.removesuffix("/Canary") or "aws-api-gateway",
        "system": "aws",
        "cloud.provider": "aws",
        "cloud.account.id": account or owner,
        "aws.apigateway.api_id": api,
        "aws.apigateway.stage": stage,
        "aws.log.group.name": group,
    }
