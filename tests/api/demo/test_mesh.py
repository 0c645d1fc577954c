"""The declaration: its counts worked out by hand, and what it must show."""

from collections import Counter

import pytest

from api.demo.mesh import (
    MESH,
    Asked,
    Call,
    Consumer,
    Endpoint,
    Ends,
    Failures,
    Mesh,
    Service,
    Truth,
    Version,
    truth,
    unplanned,
    visits,
)

SMALL = Mesh(
    namespace="n",
    trust_domain="t",
    gateway="gw",
    entry="a",
    services=(
        Service("a", (Endpoint("/", (Call("b", "/b"), Call("c", "/c"))),)),
        Service("b", (Endpoint("/b", (Call("c", "/c"),)),), (Version("v1"), Version("v2", ("m",)))),
        Service("c", (Endpoint("/c"),), failures=Failures(once=2, lasting=6), retries=1),
    ),
    consumers=(Consumer("w", 1.0, ("/",)), Consumer("m", 1.0, ("/",))),
)


def test_a_request_that_meets_no_failure_is_one_request_and_one_attempt_on_each_of_its_calls():
    edges = truth(SMALL, {Asked("w", "/", 1): 3})
    assert edges == {
        Ends("clients", "n/gw"): Truth(3, 3, 0),
        Ends("n/gw", "n/a"): Truth(3, 3, 0),
        Ends("n/a", "n/b"): Truth(3, 3, 0),
        Ends("n/b", "n/c"): Truth(3, 3, 0),
        Ends("n/a", "n/c"): Truth(3, 3, 0),
    }


def test_a_failure_that_a_retry_mends_is_one_request_with_two_attempts_and_no_error():
    edges = truth(SMALL, {Asked("w", "/", 2): 1})
    assert edges[Ends("n/a", "n/c")] == Truth(1, 2, 0)
    assert edges[Ends("clients", "n/gw")] == Truth(1, 1, 0)


def test_a_lasting_failure_is_an_error_on_every_edge_above_it():
    edges = truth(SMALL, {Asked("w", "/", 0): 1})
    assert edges[Ends("n/b", "n/c")] == Truth(1, 2, 1)
    assert edges[Ends("n/a", "n/b")] == Truth(1, 1, 1)
    assert edges[Ends("clients", "n/gw")] == Truth(1, 1, 1)


def test_failures_that_nothing_declares_are_told_apart():
    asked = {Asked("w", "/", 0): 2, Asked("w", "/", 1): 3}
    assert unplanned(SMALL, asked, failed=2) == 0
    assert unplanned(SMALL, asked, failed=3) == 1


def test_consumers_are_told_apart_by_the_version_that_serves_them():
    edges = truth(SMALL, {Asked("w", "/", 1): 2, Asked("m", "/", 1): 5}, by_version=True)
    assert edges[Ends("n/a@v1", "n/b@v1")].requests == 2
    assert edges[Ends("n/a@v1", "n/b@v2")].requests == 5
    assert edges[Ends("n/b@v2", "n/c@v1")].requests == 5


def test_visits_count_attempts():
    assert visits(SMALL, {Asked("m", "/", 2): 1}) == Counter(
        {("a", "v1"): 1, ("b", "v2"): 1, ("c", "v1"): 4}
    )


def test_the_demo_calls_only_what_it_declares_and_never_in_a_circle():
    def depth(service: str, path: str, above: tuple[str, ...]) -> int:
        assert service not in above, f"{service} is called by itself: {above}"
        calls = MESH.service(service).endpoint(path).calls
        return 1 + max((depth(c.service, c.path, (*above, service)) for c in calls), default=0)

    for consumer in MESH.consumers:
        assert {depth(MESH.entry, path, ()) for path in consumer.paths} <= {2, 3, 4}


def test_the_demo_has_what_a_demo_must_show():
    asked = {
        Asked(consumer.name, path, number): 1
        for consumer in MESH.consumers
        for path in consumer.paths
        for number in range(MESH.period)
    }
    edges = truth(MESH, asked)
    callers = Counter(ends.server for ends in edges)
    assert len(MESH.services) >= 5
    assert len(MESH.consumers) == 2
    assert callers["shop/catalog"] == 3, "a diamond: three ways to one service"
    assert {version for name, version in visits(MESH, asked) if name == "catalog"} == {"v1", "v2"}
    payment = edges[Ends("shop/orders", "shop/payment")]
    assert payment.attempts > payment.requests > payment.server_errors > 0


def test_a_path_that_is_not_declared_is_refused():
    with pytest.raises(KeyError):
        MESH.service("cart").endpoint("/nowhere")
    with pytest.raises(KeyError):
        MESH.service("nobody")
