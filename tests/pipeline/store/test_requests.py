"""The view ``requests``: consumers under one name, whoever told of them."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.model.tables import ACCESS_LOGS, SPANS
from pipeline.store import open_store

TIME = datetime(2026, 11, 23, 10, tzinfo=UTC).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("consumer", "peer", "shown"),
    [
        (None, None, None),
        ("app:mobile", None, "app:mobile"),
        ("app:mobile", "spiffe://a/ns/shop/sa/web", "app:mobile"),
        (None, "spiffe://cluster.local/ns/shop/sa/web", "principal:shop/web"),
        (None, "spiffe://1-2.consul/ns/default/dc/dc1/svc/web", "principal:default/web"),
        (
            None,
            "web.shop.serviceaccount.identity.linkerd.cluster.local",
            "principal:shop/web",
        ),
        (None, "partner.example.com", "principal:partner.example.com"),
    ],
)
def test_the_consumer_of_an_access_log(tmp_path: Path, consumer, peer, shown) -> None:
    row = {"start_time": TIME, "log_type": 6, "consumer": consumer, "tls_peer_identity": peer}
    assert consumers(tmp_path, ACCESS_LOGS, row) == [shown]


def test_the_consumer_of_a_span(tmp_path: Path) -> None:
    row = {"trace_id_low": 1, "span_id": 1, "kind": 2, "start_time": TIME, "consumer": "user:a"}
    assert consumers(tmp_path, SPANS, row) == ["user:a"]


def consumers(directory: Path, table, row):
    store = open_store(directory)
    raw = pa.Table.from_pylist([dict.fromkeys(table.names) | row], schema=table.arrow)
    store.write({table.name: raw}, expected={}, positions={})
    with store._database.session() as session:
        found = [told for (told,) in session.rows("SELECT consumer FROM requests")]
    store.close()
    return found
