"""Paths become route templates: by shape, by document, by count; bounded, in any order."""

import random

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.analyze import route
from pipeline.analyze.minutes import derive
from pipeline.analyze.openapi import Paths
from pipeline.analyze.route import BRANCHES, DEEPEST, ID, collapsed, template
from tests.pipeline.analyze.traffic import SERVER, access_logs, resources, spans

GOLDEN = {
    "/": "/",
    "/users": "/users",
    "/users/": "/users",
    "/users/42": "/users/{id}",
    "/users/42/orders/7/": "/users/{id}/orders/{id}",
    "/users/1/2/3": "/users/{id}/{id}/{id}",
    "/v1/users/42": "/v1/users/{id}",
    "/api/v2beta1/items": "/api/v2beta1/items",
    "/oauth2/token": "/oauth2/token",
    "/users/550e8400-e29b-41d4-a716-446655440000": "/users/{id}",
    "/objects/507f1f77bcf86cd799439011": "/objects/{id}",
    "/commits/a94a8fe5": "/commits/{id}",
    "/feedback/deadbeef/facade": "/feedback/deadbeef/facade",
    "/orders/2026-11-23": "/orders/{id}",
    "/logs/2026-11-23T10:15:33Z": "/logs/{id}",
    "/orders/order-12345": "/orders/{id}",
    "/orders/ORD20261123": "/orders/{id}",
    "/images/1234.png": "/images/{id}",
    "/t/eyJhbGciOiJIUzI1NiJ9": "/t/{id}",
    "/files/AKIAIOSFODNN7EXAMPLE": "/files/{id}",
    "/users/bob@example.com/mail": "/users/{id}/mail",
    "/users/bob%40example.com": "/users/{id}",
    "/users/@aB3-x": "/users/{id}",
    "/shop.Cart/AddItem": "/shop.Cart/AddItem",
    "/items:batchGet": "/items:batchGet",
    "/users/{id}/orders": "/users/{id}/orders",
    "/users/{userId}": "/users/{userId}",
    "/a//b": "/a/b",
    "/a?x=1#y": "/a",
    "/a/b/c/d/e/f/g/h": "/a/b/c/d/e/f/g/h",
    "/a/b/c/d/e/f/g/h/i/j": "/a/b/c/d/e/f/g/h/{...}",
    "/static/how-to-make-a-very-long-title-of-a-page": "/static/{id}",
    "/a?x\ny": "/a",
    "/a/b/c/d/e/f/g/h/i\nj": "/a/b/c/d/e/f/g/h/{...}",
    "*": None,
    "example.com:443": None,
}


def template_of(*paths):
    frame = pl.DataFrame({"path": paths}, schema={"path": pl.String})
    return frame.select(template(pl.col("path"))).to_series().to_list()


@pytest.mark.parametrize(("path", "wanted"), GOLDEN.items())
def test_paths_become_templates_by_the_shapes_of_their_segments(path, wanted):
    assert template_of(path) == [wanted]


SEGMENTS = st.sampled_from(
    [
        "users",
        "42",
        "{id}",
        "v1",
        "a94a8fe5",
        "x" * 40,
        "",
        "b@c",
        "ord-1234",
        "2026-11-23",
        "{...}",
    ]
) | st.text(st.characters(exclude_characters="/?#", exclude_categories=["Cs"]), max_size=20)
PATHS = st.lists(SEGMENTS, max_size=12).map(lambda parts: "/" + "/".join(parts))


@settings(max_examples=200)
@given(PATHS)
def test_a_template_is_its_own_template_and_no_deeper_than_allowed(path):
    (once,) = template_of(path)
    assert template_of(once) == [once]
    assert once.count("/") <= DEEPEST + 1


@given(st.lists(PATHS, max_size=10))
def test_a_template_depends_on_its_path_alone(paths):
    assert template_of(*paths) == [template_of(path)[0] for path in paths]


def shown(*routes, most=BRANCHES):
    frame = pl.DataFrame({"route": routes}, schema={"route": pl.String})
    return dict(collapsed(frame, most=most).rows())


def test_names_that_are_too_many_are_ids():
    names = [f"GET /users/{name}/orders" for name in "abcdefgh"]
    told = shown(*names, "GET /health", "POST /users/a/orders", most=4)
    assert {told[name] for name in names} == {"GET /users/{id}/orders"}
    assert told["GET /health"] == "GET /health"
    assert told["POST /users/a/orders"] == "POST /users/a/orders"


def test_what_is_behind_an_id_is_counted_together():
    names = [f"GET /{name}/{name}{name}" for name in "abcde"]
    assert set(shown(*names, most=3).values()) == {"GET /{id}/{id}"}


def test_routes_that_are_no_paths_stay():
    told = shown("shop.Cart/AddItem", None, "overflow", "GET cart", "/a")
    assert told == {
        "shop.Cart/AddItem": "shop.Cart/AddItem", "overflow": "overflow", "GET cart": "GET cart",
        "/a": "/a",
    }  # fmt: skip


WORDS = st.sampled_from(["a", "b", "c", "d", "e", "f", "{id}", "{...}"])
ROUTES = st.lists(WORDS, max_size=4).map(lambda parts: "GET /" + "/".join(parts))


@given(st.lists(ROUTES, max_size=40), st.randoms(use_true_random=False))
def test_what_is_collapsed_is_bounded_and_knows_no_order(routes, chance: random.Random):
    told = shown(*routes, most=3)
    again = routes * 2
    chance.shuffle(again)
    assert shown(*again, most=3) == told
    stay = shown(*told.values(), most=3)
    assert all(one == other for one, other in stay.items())
    for depth in range(1, 6):
        behind = {}
        for one in told.values():
            parts = one.split("/")
            if len(parts) > depth:
                behind.setdefault(tuple(parts[:depth]), set()).add(parts[depth])
        assert all(len(segments - {"", ID, "{...}"}) <= 3 for segments in behind.values())


def rows_of(logs=(), told=(), documents=None):
    names = {str(row["resource_id"]) for row in [*logs, *told]}
    tables = derive(
        spans(told), access_logs(logs), resources(*sorted(names)), units=[(1, 9)],
        documents=documents or {},
    )  # fmt: skip
    minutes = pl.DataFrame(tables["node_minutes"])
    return {
        (row["node"], row["route"]): row["requests"] // 10**6
        for row in minutes.group_by("node", "route").agg(pl.col("requests").sum()).to_dicts()
    }


def log(number, path, **more):
    return {
        "request_id": f"r{number}", "resource_id": "shop/cart", "log_name": "inbound",
        "http_request_method": "GET", "url_path": path, "start_time": number, **more,
    }  # fmt: skip


def test_minutes_of_nodes_are_by_template():
    logs = [
        log(1, "/users/1"),
        log(2, "/users/2"),
        log(3, "/users/3", route_name="users"),
        log(4, "/users/4", route_name="default"),
    ]
    told = [
        {"trace_id_low": 1, "span_id": 1, "resource_id": "shop/web", "kind": SERVER,
         "http_request_method": "GET", "url_path": "/pages/7"},
        {"trace_id_low": 2, "span_id": 2, "resource_id": "shop/web", "kind": SERVER,
         "http_request_method": "GET", "url_path": "/pages/7", "http_route": "/pages/:page"},
    ]  # fmt: skip
    assert rows_of(logs, told) == {
        ("shop/cart", "GET /users/{id}"): 3,
        ("shop/cart", "GET users"): 1,
        ("shop/web", "GET /pages/{id}"): 1,
        ("shop/web", "GET /pages/:page"): 1,
    }


def test_a_document_of_the_service_comes_before_shapes():
    logs = [log(1, "/people/ann"), log(2, "/people/bob"), log(3, "/other/42"), log(4, None)]
    for name in ("shop/cart", "cart"):
        assert rows_of(logs, documents={name: Paths(["/people/{name}"])}) == {
            ("shop/cart", "GET /people/{name}"): 2,
            ("shop/cart", "GET /other/{id}"): 1,
            ("shop/cart", None): 1,
        }


def test_only_the_largest_routes_of_a_minute_are_told_apart(monkeypatch):
    monkeypatch.setattr(route, "KEPT_PER_MINUTE", 2)
    logs = [log(number, f"/{name}") for number, name in enumerate("aaabcd")]
    assert rows_of(logs) == {
        ("shop/cart", "GET /a"): 3, ("shop/cart", "GET /b"): 1, ("shop/cart", route.OTHER): 2,
    }  # fmt: skip
