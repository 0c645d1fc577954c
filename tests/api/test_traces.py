"""GET /v1/traces/{trace_id}."""

import pytest

from api import schemas

HIGH = "4bf92f3577b34da6"
TRACE = HIGH + "0000000000000001"


def test_a_trace_is_its_spans_by_start_time(http):
    body = http.get(f"/v1/traces/{TRACE}").json()
    schemas.Trace.model_validate(body)
    assert body["trace_id"] == TRACE
    assert body["next"] is None
    assert [(one["service"], one["kind"]) for one in body["items"]] == [
        ("shop/frontend", "server"),
        ("shop/frontend", "client"),
        ("shop/cart", "server"),
    ]


def test_a_span_has_its_ids_times_and_status(http):
    root, call, served = http.get(f"/v1/traces/{TRACE}").json()["items"]
    assert root["parent_span_id"] is None
    assert call["parent_span_id"] == root["span_id"]
    assert served["span_id"] == "000000000000000d"
    assert served["start"] == "2026-11-23T10:00:00.000002Z"
    assert served["end"] == "2026-11-23T10:00:00.010002Z"
    assert served["duration_seconds"] == 0.01
    assert served["status"] == "error"


def test_a_span_has_all_its_attributes_under_their_conventional_names(http):
    served = http.get(f"/v1/traces/{TRACE}").json()["items"][2]
    assert served["attributes"] == {
        "http.request.method": "GET",
        "http.response.status_code": 500,
        "http.route": "/things/{id}",
        "user.tier": "gold",
    }
    assert served["resource"] == {"service.name": "cart", "service.namespace": "shop"}
    assert served["events"] == [{"name": "cache.miss"}]
    assert served["links"] == []


def test_upper_case_is_read(http):
    assert http.get(f"/v1/traces/{TRACE.upper()}").json()["trace_id"] == TRACE


def test_sixteen_digits_are_the_lower_half(http):
    answer = http.get(f"/v1/traces/{HIGH}")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["found"] == "0" * 16 + HIGH


def test_spans_come_in_pages(http):
    first = http.get(f"/v1/traces/{TRACE}", params={"limit": 2}).json()
    rest = http.get(f"/v1/traces/{TRACE}", params={"limit": 2, "cursor": first["next"]}).json()
    assert [len(first["items"]), len(rest["items"])] == [2, 1]


@pytest.mark.parametrize("trace_id", ["x", "12", "g" * 32, "0" * 33])
def test_what_is_no_trace_id_is_refused(http, trace_id):
    answer = http.get(f"/v1/traces/{trace_id}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "trace_id"
