"""GET /v1/edges/{client}/{server}/evidence."""

import asyncio
from datetime import timedelta

import pyarrow as pa

from api import evidence, schemas
from api.times import Window
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.tables import ACCESS_LOGS, RESOURCES
from pipeline.store import open_store
from tests.api.mesh_rows import START, START_NS, calls, resource, tables

PATH = "/v1/edges/shop%2Ffrontend/shop%2Fcart/evidence"


def test_it_names_the_rule_the_yield_and_who_told(http):
    body = http.get(PATH).json()
    schemas.Evidence.model_validate(body)
    assert (body["client"], body["server"]) == ("shop/frontend", "shop/cart")
    assert "parent span id" in body["pairing_rule"]
    assert body["tellings"] == 180
    assert body["unpaired_ratio"] == 0
    assert body["reporters"] == [
        {"reporter": end, "requests": 90, "signals": [{"signal": "spans", "requests": 90}]}
        for end in ("client", "server")
    ]


def test_it_shows_the_raw_rows_with_all_attributes(http):
    call, served = http.get(PATH, params={"limit": 2}).json()["items"]
    assert (call["reporter"], served["reporter"]) == ("client", "server")
    assert (call["service"], served["service"]) == ("shop/frontend", "shop/cart")
    assert call["trace_id"] == served["trace_id"] == "4bf92f3577b34da60000000000000001"
    assert served["outcome"] == "server_error"
    assert served["attributes"] == {
        "http.request.method": "GET",
        "http.response.status_code": 500,
        "http.route": "/things/{id}",
        "user.tier": "gold",
    }
    assert served["resource"]["service.name"] == "cart"


def test_the_pages_hold_each_row_once(http):
    seen, parameters = [], {"limit": 70}
    while True:
        body = http.get(PATH, params=parameters).json()
        seen += [(row["trace_id"], row["span_id"]) for row in body["items"]]
        if body["next"] is None:
            break
        parameters = {"limit": 70, "cursor": body["next"]}
    assert len(seen) == len(set(seen)) == 180


def test_the_first_hop_has_evidence_too(http):
    body = http.get("/v1/edges/clients/shop%2Ffrontend/evidence").json()
    assert body["tellings"] == len(body["items"]) == 90
    assert {row["service"] for row in body["items"]} == {"shop/frontend"}


def test_an_edge_that_is_not_there_is_not_found(http):
    answer = http.get("/v1/edges/shop%2Fcart/shop%2Ffrontend/evidence")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_rows_are_an_arrow_stream_when_asked(http):
    answer = http.get(PATH, headers={"accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.num_rows == 100
    assert table.schema.metadata[b"tellings"] == b"180"


def test_the_hop_behind_a_gateway_rests_on_what_both_tell(tmp_path):
    mesh = calls(5, client="orders", server="stock")
    for row in mesh:
        row["parent_span_id"] = row["parent_span_id"] or 99
    entries = [gateway_entry(trace=number, at_ns=START_NS) for number in range(1, 6)]
    gateway = resource("api-gateway", namespace="edge") | {"system": "kong"}
    batches = tables(mesh) | {"access_logs": pa.Table.from_pylist(entries, ACCESS_LOGS.arrow)}
    named = pa.Table.from_pylist([gateway], RESOURCES.arrow)
    batches["resources"] = pa.concat_tables([batches["resources"], named])
    store = open_store(tmp_path)
    store.write(batches, expected={}, positions={})
    asyncio.run(MinutesJob(store).settle())
    window = Window(START, START + timedelta(hours=1))
    edge = evidence.edge_of(store, "edge/api-gateway", "shop/orders", window)
    rows = evidence.rows_of(store, edge, offset=0, limit=100)
    store.close()
    told = rows.group_by("signal", "reporter", "service").len().sort("signal").rows()
    assert told == [
        ("access_logs", "gateway", "edge/api-gateway", 5),
        ("spans", "server", "shop/orders", 5),
    ]
    assert edge.unpaired_ratio == 0


def gateway_entry(*, trace, at_ns):
    return dict.fromkeys(ACCESS_LOGS.names) | {
        "start_time": at_ns,
        "duration_ns": 1_000_000,
        "resource_id": "edge.api-gateway.v1",
        "log_type": 0,
        "trace_id_high": 0x4BF92F3577B34DA6,
        "trace_id_low": trace,
        "upstream_cluster": "orders",
        "http_response_status_code": 200,
        "attributes": "{}",
    }
