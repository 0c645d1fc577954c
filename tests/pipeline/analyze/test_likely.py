"""Who probably called, from access logs without ids."""

import polars as pl
import pytest

from pipeline.analyze.likely import CALLERS, likely_callers
from tests.pipeline.analyze.traffic import access_logs, resources

SECOND = 1_000_000_000
NO_IDS = {"request_id": None, "trace_id_low": None}
NO_ALIASES = {"client": None, "alias": None, "node": None, "kind": None, "workload": None,
              "version": None, "seen": None}  # fmt: skip


def call(caller, at, took, to="outbound|80||b.shop.svc.cluster.local"):
    return {"resource_id": caller, "log_name": "outbound", "upstream_cluster": to,
            "start_time": at, "duration_ns": took, **NO_IDS}  # fmt: skip


def entry(at, took, **more):
    return {"resource_id": "shop/b", "log_name": "inbound", "start_time": at,
            "duration_ns": took, **NO_IDS, **more}  # fmt: skip


def likely(rows):
    aliases = pl.DataFrame(
        schema={name: pl.Int64 if name == "seen" else pl.String for name in NO_ALIASES}
    )
    found = likely_callers(access_logs(rows), resources("shop/a", "shop/c", "shop/b"), aliases)
    assert found.schema == CALLERS
    return {(row["client"], row["server"]): row for row in found.to_dicts()}


def test_a_request_is_of_the_call_it_lies_in():
    rows = []
    for n in range(60):
        caller = "shop/a" if n % 3 else "shop/c"
        rows += [call(caller, n * SECOND, 1000), entry(n * SECOND + 100, 800)]
    found = likely(rows)
    assert {ends: row["requests"] for ends, row in found.items()} == {
        ("shop/a", "shop/b"): 40,
        ("shop/c", "shop/b"): 20,
    }
    assert found[("shop/a", "shop/b")]["link_confidence"] == 1.0


def test_who_calls_from_outside_stays_unknown():
    found = likely([call("shop/a", 0, 1000), entry(100, 800), entry(5 * SECOND, 800)])
    assert found[(None, "shop/b")]["requests"] == 1
    assert found[(None, "shop/b")]["link_confidence"] is None


def test_a_caller_that_a_certificate_names_is_not_guessed():
    known = {"tls_peer_identity": "spiffe://demo/ns/shop/sa/c"}
    assert likely([call("shop/a", 0, 1000), entry(100, 800, **known)]) == {}


def test_a_call_to_another_service_is_none():
    other = "outbound|80||d.shop.svc.cluster.local"
    found = likely([call("shop/a", 0, 1000, other), entry(100, 800)])
    assert list(found) == [(None, "shop/b")]


def test_calls_in_flight_together_make_the_answer_less_sure():
    rows = [call("shop/a", n * SECOND, 1000) for n in range(60)]
    rows += [entry(n * SECOND + 100, 800) for n in range(60)]
    rows += [call("shop/a", 99 * SECOND, 1000), call("shop/c", 99 * SECOND + 5, 1000)]
    rows += [entry(99 * SECOND + 102, 800), entry(99 * SECOND + 103, 800)]
    found = likely(rows)
    assert found[("shop/c", "shop/b")]["requests"] == 1
    assert found[("shop/c", "shop/b")]["link_confidence"] < 0.9


def test_nothing_is_linked_where_there_is_nothing():
    assert likely([]) == {}
    assert (
        pytest.approx(1.0)
        == likely([call("shop/a", 0, 10), entry(1, 5)])[("shop/a", "shop/b")]["link_confidence"]
    )
