"""A small mesh as rows of the raw tables: what a store holds after its telemetry came in."""

from datetime import UTC, datetime

import orjson
import pyarrow as pa

from pipeline.model.tables import RESOURCES, SPANS

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
"""When the first request began."""

START_NS = int(START.timestamp()) * 1_000_000_000
SECOND = 1_000_000_000

SERVER, CLIENT = 2, 3


def resource(name, namespace="shop", version="v1"):
    return dict.fromkeys(RESOURCES.names) | {
        "resource_id": f"{namespace}.{name}.{version}",
        "service_namespace": namespace,
        "service_name": name,
        "service_version": version,
        "workload": f"{name}-deployment",
        "system": "otel",
        "attributes": orjson.dumps({"service.name": name, "service.namespace": namespace}).decode(),
    }


def span(number, *, of, kind, trace, parent=None, at_ns, seconds, status=200, **more):
    return dict.fromkeys(SPANS.names) | {
        "trace_id_high": 0x4BF92F3577B34DA6,
        "trace_id_low": trace,
        "span_id": number,
        "parent_span_id": parent,
        "resource_id": f"shop.{of}.v1",
        "name": "GET /things",
        "kind": kind,
        "start_time": at_ns,
        "duration_ns": int(seconds * SECOND),
        "status_code": 2 if status >= 500 else 0,
        "http_request_method": "GET",
        "http_response_status_code": status,
        "http_route": "/things/{id}",
        "is_proxy": False,
        "attributes": orjson.dumps({"user.tier": "gold"}).decode(),
        **more,
    }


def calls(requests, *, client, server, first_trace=1, seconds=0.010, failing=0, every=1.0):
    """Spans of requests: somebody unknown calls ``client``, which calls ``server``."""
    rows = []
    for index in range(requests):
        trace = first_trace + index
        at = START_NS + int(index * every * SECOND)
        status = 500 if index < failing else 200
        ids = (trace * 10 + 1, trace * 10 + 2, trace * 10 + 3)
        rows += [
            span(ids[0], of=client, kind=SERVER, trace=trace, at_ns=at, seconds=seconds * 3),
            span(
                ids[1], of=client, kind=CLIENT, trace=trace, parent=ids[0], at_ns=at + 1000,
                seconds=seconds * 2, status=status,
            ),
            span(
                ids[2], of=server, kind=SERVER, trace=trace, parent=ids[1], at_ns=at + 2000,
                seconds=seconds, status=status,
                events=orjson.dumps([{"name": "cache.miss"}]).decode(),
            ),
        ]  # fmt: skip
    return rows


def tables(rows):
    """Rows as the batches a store takes."""
    names = sorted({row["resource_id"].split(".")[1] for row in rows})
    return {
        "spans": pa.Table.from_pylist(rows, schema=SPANS.arrow),
        "resources": pa.Table.from_pylist([resource(name) for name in names], RESOURCES.arrow),
    }
