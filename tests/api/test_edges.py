"""GET /v1/edges/{client}/{server}/evidence."""

import pyarrow as pa

from api import schemas

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
