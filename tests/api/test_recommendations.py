"""GET /v1/recommendations."""

import orjson
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from api import schemas
from api.app import create_app
from pipeline.store import open_store
from tests.api.conftest import context_for, fill
from tests.api.mesh_rows import calls


@pytest.fixture(scope="module")
def busy(tmp_path_factory, ledger):
    """Twenty minutes of 1,800 requests, all healthy."""
    store = open_store(tmp_path_factory.mktemp("busy"))
    fill(store, calls(1800, client="frontend", server="cart", every=0.6))
    with TestClient(create_app(context_for(store, ledger))) as client:
        yield client
    store.close()


def test_a_timeout_is_advised_with_evidence_and_documents(busy):
    body = busy.get("/v1/recommendations").json()
    schemas.Recommendations.model_validate(body)
    (advice,) = body["items"]
    assert advice["target"] == {"server": "shop/cart", "client": "shop/frontend", "route": None}
    assert advice["policy"]["kind"] == "timeout"
    assert 0.02 < advice["policy"]["per_try_seconds"] < advice["policy"]["request_seconds"]
    assert advice["evidence"]
    assert set(advice["rendered"]) == {"envoy", "istio"}
    assert "shop" in advice["rendered"]["istio"]["document"]


def test_too_little_history_gives_no_advice(http):
    assert http.get("/v1/recommendations").json()["items"] == []


def test_advice_is_an_arrow_stream_when_asked(busy):
    answer = busy.get(
        "/v1/recommendations", headers={"accept": "application/vnd.apache.arrow.stream"}
    )
    (advice,) = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    (same,) = busy.get("/v1/recommendations").json()["items"]
    assert advice["id"] == same["id"]
    assert orjson.loads(advice["policy"]) == same["policy"]
