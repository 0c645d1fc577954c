"""GET /v1/services and /v1/services/{id}."""

from datetime import datetime

import pyarrow as pa
import pytest

from api import service_schemas

ARROW = {"accept": "application/vnd.apache.arrow.stream"}


def test_the_list_holds_services_and_gateways_by_id(http):
    body = http.get("/v1/services").json()
    service_schemas.Services.model_validate(body)
    assert [node["id"] for node in body["items"]] == ["shop/cart", "shop/frontend", "shop/stock"]
    assert body["next"] is None


def test_a_list_goes_on_at_its_cursor_in_the_same_window(http):
    first = http.get("/v1/services", params={"limit": 2, "start": "-1h"}).json()
    assert [node["id"] for node in first["items"]] == ["shop/cart", "shop/frontend"]
    rest = http.get("/v1/services", params={"limit": 2, "cursor": first["next"]}).json()
    assert [node["id"] for node in rest["items"]] == ["shop/stock"]
    assert rest["next"] is None
    assert (rest["start"], rest["end"]) == (first["start"], first["end"])


@pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "WzEsMiwzLDRd", "ü", "////"])
def test_a_cursor_nobody_gave_is_refused(http, cursor):
    answer = http.get("/v1/services", params={"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "cursor"


def test_a_cursor_of_another_list_is_refused(http):
    cursor = http.get("/v1/services", params={"limit": 1}).json()["next"]
    answer = http.get("/v1/services/shop%2Fcart", params={"cursor": cursor})
    assert answer.status_code == 400


def test_a_service_is_a_series_of_minutes(http):
    body = http.get("/v1/services/shop%2Fcart").json()
    service_schemas.Service.model_validate(body)
    assert (body["id"], body["namespace"], body["name"]) == ("shop/cart", "shop", "cart")
    assert body["kind"] == "service"
    assert body["reporter"] == "server"
    assert [minute["time"] for minute in body["items"]] == [
        "2026-11-23T10:00:00Z",
        "2026-11-23T10:01:00Z",
    ]
    first, second = body["items"]
    assert first["requests"] == 90  # 60 of frontend, 30 of nobody known
    assert first["requests_per_second"] == pytest.approx(1.5)
    assert first["errors"] == {"client_error": 0, "server_error": 9, "connection": 0}
    assert first["error_ratio"] == pytest.approx(0.1)
    assert second["requests"] == 30
    assert second["latency_seconds"]["p95"] == pytest.approx(0.010, rel=0.011)


def test_minutes_come_in_pages_too(http):
    body = http.get("/v1/services/shop%2Fcart", params={"limit": 1}).json()
    rest = http.get("/v1/services/shop%2Fcart", params={"limit": 1, "cursor": body["next"]}).json()
    assert [minute["time"] for minute in rest["items"]] == ["2026-11-23T10:01:00Z"]


def test_a_service_nobody_told_of_is_not_found(http):
    answer = http.get("/v1/services/shop%2Fghost")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"] == [
        {
            "field": "service",
            "found": "shop/ghost",
            "allowed": "a service that served requests in the window; /v1/services lists them",
        }
    ]


def test_an_id_whose_slash_is_not_encoded_is_not_found_with_the_reason(http):
    answer = http.get("/v1/services/shop/cart")
    assert answer.status_code == 404
    assert "%2F" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["/v1/services", "/v1/services/shop%2Fcart", "/v1/services/shop%2Fcart/routes"],
)
def test_lists_are_arrow_streams_when_asked(http, path):
    answer = http.get(path, headers=ARROW)
    assert answer.headers["content-type"] == ARROW["accept"]
    table = pa.ipc.open_stream(answer.content).read_all()
    body = http.get(path).json()
    assert table.num_rows == len(body["items"])
    assert set(table.column_names) == set(body["items"][0])
    assert table.schema.metadata[b"next"] == b"null"


def test_a_service_has_routes(http):
    body = http.get("/v1/services/shop%2Fcart/routes").json()
    service_schemas.ServiceRoutes.model_validate(body)
    assert (body["id"], body["reporter"]) == ("shop/cart", "server")
    (found,) = body["items"]
    assert found["route"] == "GET /things/{id}"
    assert found["requests"] == 120
    assert found["errors"] == {"client_error": 0, "server_error": 9, "connection": 0}
    start, end = (datetime.fromisoformat(body[name]) for name in ("start", "end"))
    assert found["requests_per_second"] == pytest.approx(120 / (end - start).total_seconds())


def test_routes_of_a_service_nobody_told_of_are_not_found(http):
    assert http.get("/v1/services/shop%2Fghost/routes").status_code == 404
