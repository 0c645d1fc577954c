"""Access records of Apigee X, hybrid and Edge: MessageLogging and exports of analytics.

Apigee has no access log of its own: a MessageLogging policy writes what its template says, as JSON
to Cloud Logging (alone or inside of a ``LogEntry``) or behind a syslog header. Names are those of
the flow variables (flat keys with dots), of the fact table of analytics, and the short ones of the
template in ``docs/systems/apigee.md``. An export of analytics is JSON lines or CSV with a row for
each request. Values may all be text; what is not told is empty or ``(not set)``; times are
milliseconds, -1 for a phase that did not run. Source: Apigee's flow variable reference, analytics
reference, and ``message-logging-policy``.
"""

import csv
import re
from collections.abc import Sequence
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.lines.lines import Checked, LineFormat
from pipeline.decode.lines.trace_ids import trace_ids
from pipeline.decode.otlp.consumers import consumers
from pipeline.decode.privacy.pseudonyms import hashed
from pipeline.decode.records.gateway_records import (
    BAD_CSV,
    MILLISECONDS,
    NO_UPSTREAM,
    RATE_LIMITED,
    REFUSED,
    UNEVEN,
    UPSTREAM_FAILED,
    UPSTREAM_TIMEOUT,
    Judged,
    Mask,
    address,
    between,
    cells_of,
    decoded,
    first_that_holds,
    first_time,
    int64,
    iso_times,
    judged,
    mask_of,
    matches,
    members,
    refused_record,
    repeated,
    resources_of,
    where,
)
from pipeline.decode.records.record_cells import Cells
from pipeline.decode.records.record_plan import Path, Records
from pipeline.model.decoded import Decoded


def named(*names: str) -> list[Path]:
    """Keys of a record, alone or as the payload of a ``LogEntry``."""
    return [(*holder, name) for name in names for holder in ((), ("jsonPayload",))]


def header(*names: str) -> list[Path]:
    """A request header under the names that templates give it."""
    return named(
        *(f"{prefix}{name}" for name in names for prefix in ("", "request.header.", "request."))
    )


RECORDS: Final = Records(
    cells={
        "begin": named("client.received.start.timestamp", "client_received_start_timestamp", "ts"),
        "end": named("client.sent.end.timestamp", "client_sent_end_timestamp", "client_end"),
        "system_time": named("system.timestamp"),
        "logged_at": [("timestamp",)],
        "total": named("total_response_time", "totalLatency"),
        "target_begin": named(
            "target.sent.start.timestamp", "target_sent_start_timestamp", "target_start"
        ),
        "target_end": named(
            "target.received.end.timestamp", "target_received_end_timestamp", "target_end"
        ),
        "target_total": named("target_response_time", "targetLatency"),
        "request_processing": named("request_processing_latency"),
        "response_processing": named("response_processing_latency"),
        "id": named("messageid", "gateway_flow_id", "message.id"),
        "x_request_id": header("x-request-id"),
        "traceparent": header("traceparent"),
        "b3": header("x-b3-traceid", "b3"),
        "cloud_trace": header("x-cloud-trace-context"),
        "organization": named("organization.name", "organization", "org"),
        "environment": named("environment.name", "environment", "env"),
        "proxy": named("apiproxy.name", "proxy.name", "apiproxy", "proxy"),
        "revision": named("apiproxy.revision", "proxy.revision", "apiproxy_revision", "rev"),
        "region": named("system.region.name", "region", "ax_dn_region"),
        "base_path": named("proxy.basepath", "proxy_basepath", "basepath"),
        "suffix": named("proxy.pathsuffix", "proxy_pathsuffix", "suffix"),
        "operation": named(
            "apiproduct.operation.resource", "apiproduct.operation", "flow_resource", "operation"
        ),
        "path": named("request.path", "request_path"),
        "uri": named("request.uri", "request_uri"),
        "method": named("request.verb", "request_verb", "verb"),
        "status": named("response.status.code", "response_status_code", "status"),
        "target_status": named(
            "target_response_code", "target.response.status.code", "target_status"
        ),
        "target_host": named("target.host", "target_host"),
        "target": named("loadbalancing.targetserver", "target.name", "target"),
        "target_ip": named("target.ip", "target_ip"),
        "target_port": named("target.port"),
        "host": header("host"),
        "user_agent": [*header("user-agent"), *named("useragent")],
        "http_version": named("request.httpversion"),
        "request_size": named(
            "request_size", "request.content-length", "request.header.content-length"
        ),
        "response_size": named(
            "response_size", "response.content-length", "response.header.content-length"
        ),
        "app": named("developer.app.name", "app.name", "developer_app", "app"),
        "product": named("apiproduct.name", "api_product", "product"),
        "developer": named("developer.email", "developer_email", "developer.id", "developer"),
        "client_ip": named("client.ip", "client_ip", "ax_resolved_client_ip", "client.resolved.ip"),
        "client_cn": named("client.cn"),
        "error": named("is.error", "is_error", "error"),
        "fault": named("fault.name", "fault", "ax_edge_execution_fault_code"),
        "fault_policy": named("ax_execution_fault_policy_name"),
        "cache_hit": named("cachehit", "cache_hit"),
        "log_name": [("logName",)],
        "refused": [(REFUSED,)],
    },
    counts={},
    needed=("begin", "system_time", "logged_at", "refused"),
)

_JUDGED: Final = RECORDS.only("proxy", "id")
"""The cells that say whether a record is taken; those that are needed belong to them."""

ATTRIBUTES: Final = {
    "product": "apigee.api_product",
    "target": "apigee.target",
    "error": "apigee.is_error",
    "fault_policy": "apigee.fault_policy",
    "cache_hit": "apigee.cache_hit",
    "request_processing": "apigee.request_processing_latency",
    "response_processing": "apigee.response_processing_latency",
    "client_cn": "tls.client.subject",
    "log_name": "gcp.log_name",
}

_LIMITED: Final = r"SpikeArrestViolation|QuotaViolation"
_SYSLOG: Final = re.compile(rb"(?m)^<\d{1,3}>[^{\r\n]*(?=\{)")
_NOTHING: Final = ("", "(not set)")
_REASONS_TOLD: Final = 1000
"""For how many bad rows of a message the reason is told; each takes more room than the row."""
_COLUMNS: Final = frozenset(
    {"apiproxy", "client_received_start_timestamp", "response_status_code", "request_verb"}
)
_PROXIES: Final = frozenset({"apiproxy.name", "proxy.name", "apiproxy", "proxy"})
_TYPICAL: Final = frozenset(
    {
        "messageid", "gateway_flow_id", "proxy.basepath", "proxy_basepath", "basepath",
        "client.received.start.timestamp", "client_received_start_timestamp",
        "environment.name", "environment", "env", "response.status.code", "response_status_code",
        "request.verb", "request_verb", "apiproxy.revision", "apiproxy_revision",
    }
)  # fmt: skip


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode records of Apigee."""
    cells = cells_of([opened(message) for message in messages], RECORDS)
    begin = _time(cells, "begin")
    end = _time(cells, "end")
    target_begin, target_end = _time(cells, "target_begin"), _time(cells, "target_end")
    called = target_begin[1] | cells.told("target_status") | cells.told("target_ip")
    columns = {
        **_request(cells),
        **_target(cells, called),
        **trace_ids([cells.texts(name) for name in ("traceparent", "b3", "cloud_trace")]),
        "duration_ns": int64(
            first_time(between(begin, end), cells.numbers("total", scale=MILLISECONDS))
        ),
        "upstream_duration_ns": int64(
            first_time(
                between(target_begin, target_end), cells.numbers("target_total", scale=MILLISECONDS)
            )
        ),
        "consumer": consumers("apigee", cells.first),
        "downstream_remote_address": hashed(cells.texts("client_ip")),
        "response_code_details": cells.texts("fault"),
        "response_flags": _flags(cells),
        "attributes": cells.attributes(ATTRIBUTES),
    }
    return decoded(cells, columns, _judged(cells), _gateways(cells))


def check(messages: Sequence[bytes]) -> Checked:
    """What ``decode`` would do with messages."""
    return _judged(cells_of([opened(message) for message in messages], _JUDGED)).checked


def _judged(cells: Cells) -> Judged:
    logged = iso_times(cells.texts("logged_at"))
    start = first_time(_time(cells, "begin"), _time(cells, "system_time"), logged)
    unknown = ~(cells.told("proxy") | cells.told("id"))
    return judged(cells, start, [(unknown, "not a record of Apigee")])


def opened(message: bytes) -> bytes:
    """A message as JSON: CSV is turned into JSON lines, and a syslog header is blanked out."""
    if message.startswith(b"<") or b"\n<" in message:
        message = _SYSLOG.sub(lambda found: b" " * len(found[0]), message)
    first = message[: message.find(b"\n") + 1] or message
    return _from_csv(message) if is_csv_header(first) else message


def fits(line: bytes) -> bool:
    """Whether a line looks like a record of Apigee, with or without what stands around it."""
    if is_csv_header(line):
        return True
    told = members(_SYSLOG.sub(b"", line))
    payload = told.get("jsonpayload")
    names = {name.lower() for name in payload} if isinstance(payload, dict) else told.keys()
    return bool(names & _PROXIES) and len(names & _TYPICAL) >= 2


def is_csv_header(line: bytes) -> bool:
    """Whether a line is the header of an export of analytics as CSV."""
    if line.lstrip()[:1] in (b"{", b"["):
        return False
    return (
        len(
            _COLUMNS
            & {name.strip(' "\r\n\ufeff') for name in line.decode("utf-8", "replace").split(",")}
        )
        >= 2
    )


def _from_csv(message: bytes) -> bytes:
    """Rows of CSV as JSON lines; the header may stand there again where files were put together."""
    first, *rest = message.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    columns = [name.strip() for name in _fields(first)]
    lines: list[bytes] = []
    bad = 0
    for line in rest:
        if line.strip() and line != first:
            row, reason = _row(columns, _fields(line))
            bad += bool(reason)
            told = reason and bad <= _REASONS_TOLD
            lines.append(refused_record(reason) if told else row)
    return b"\n".join((*lines, b""))


def _row(columns: Sequence[str], fields: Sequence[str]) -> tuple[bytes, str]:
    """A row as a JSON object of what it tells, or why it is none, and what stands for it then."""
    if len(fields) != len(columns):
        return b"-", UNEVEN if fields else BAD_CSV
    told = zip(columns, fields, strict=True)
    return orjson.dumps({name: field for name, field in told if field not in _NOTHING}), ""


def _fields(line: str) -> list[str]:
    """The fields of one line of CSV; none when it is no CSV. A field never goes on in the next."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


def _time(cells: Cells, name: str) -> tuple[Ints, Mask]:
    """A time in milliseconds, or, in exports, in RFC 3339."""
    told = cells.numbers(name, scale=MILLISECONDS)
    if told[1].sum() == cells.told(name).sum():
        return told
    return first_time(told, iso_times(cells.texts(name)))


def _request(cells: Cells) -> dict[str, pa.Array]:
    base, operation = cells.texts("base_path"), cells.texts("operation")
    below = where(mask_of(pc.starts_with(operation, "/")), operation)
    together = pc.binary_join_element_wise(base, below, "")
    path = pc.binary_join_element_wise(base, cells.paths("suffix"), "")
    version = pc.binary_join_element_wise("HTTP", cells.texts("http_version"), "/")
    return {
        "protocol": repeated("http", len(cells)),
        "protocol_version": version,
        "request_id": cells.first("x_request_id", "id"),
        "stream_id": cells.texts("id"),
        "http_request_method": cells.texts("method"),
        "authority": cells.texts("host"),
        "url_path": pc.coalesce(cells.paths("path"), cells.paths("uri"), path, base),
        "route_name": pc.coalesce(together, base),
        "http_response_status_code": cells.column("status", pa.uint16()),
        "user_agent": cells.texts("user_agent"),
        "request_bytes": cells.column("request_size", pa.int64()),
        "response_bytes": cells.column("response_size", pa.int64()),
    }


def _target(cells: Cells, called: Mask) -> dict[str, pa.Array]:
    """What was called; nothing when the request never left Apigee."""
    return {
        "upstream_cluster": where(called, cells.first("target_host", "target", "target_ip")),
        "upstream_remote_address": address(cells.texts("target_ip"), cells.texts("target_port")),
        "upstream_response_status_code": cells.column("target_status", pa.uint16()),
    }


def _flags(cells: Cells) -> pa.Array:
    """What Apigee's fault codes say that Envoy has response flags for."""
    fault = cells.texts("fault")

    return first_that_holds(
        (matches(fault, _LIMITED), RATE_LIMITED),
        (matches(fault, "GatewayTimeout"), UPSTREAM_TIMEOUT),
        (matches(fault, "NoActiveTargets"), NO_UPSTREAM),
        (matches(fault, "ServiceUnavailable"), UPSTREAM_FAILED),
    )


def _gateways(cells: Cells) -> tuple[pa.Array, pa.Table]:
    names = ("environment", "proxy", "revision", "organization", "region")
    return resources_of([cells.texts(name) for name in names], _gateway)


def _gateway(told: Sequence[str]) -> dict[str, str | None]:
    environment, proxy, revision, organization, region = told
    return {
        # an environment alone may be called like a namespace of Kubernetes
        "service_namespace": "-".join(name for name in (organization, environment) if name),
        "service_name": proxy or "apigee",
        "service_version": revision,
        "system": "apigee",
        "apigee.organization": organization,
        "deployment.environment.name": environment,
        "cloud.region": region,
    }


LINES: Final = LineFormat(fits, json=True, opened=opened, is_header=is_csv_header, check=check)
