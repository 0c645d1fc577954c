"""Configured aliases and conflicts, from the file and the store to the answer."""

import asyncio
from datetime import timedelta

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from api.aliases import LARGEST_FILE, IdentitySettings
from api.app import create_app
from pipeline.errors import InvalidInput
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.ledger import Ledger
from pipeline.model.tables import ACCESS_LOGS, RESOURCES
from pipeline.store import open_store
from tests.api.conftest import context_for
from tests.api.mesh_rows import START, START_NS, resource

UPSTREAM = "10.0.0.9:8080"


def entry(of, request, **more):
    return dict.fromkeys(ACCESS_LOGS.names) | {
        "start_time": START_NS,
        "duration_ns": 1_000_000,
        "resource_id": f"shop.{of}.v1",
        "log_type": 6,
        "request_id": request,
        "http_response_status_code": 200,
        "attributes": "{}",
        **more,
    }


def call(server, request):
    """A call of front, by an address that ``server`` answers at."""
    return [
        entry("front", request, log_name="outbound", upstream_remote_address=UPSTREAM,
              upstream_cluster="default"),
        entry(server, request, log_name="inbound", downstream_local_address=UPSTREAM),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("identities"))
    unanswered = entry("front", "4", log_name="outbound", upstream_cluster="legacy")
    rows = [*call("cart", "1"), *call("cart", "2"), *call("stock", "3"), unanswered]
    names = [resource(name) for name in ("front", "cart", "stock")]
    store.write(
        {
            "access_logs": pa.Table.from_pylist(rows, ACCESS_LOGS.arrow),
            "resources": pa.Table.from_pylist(names, RESOURCES.arrow),
        },
        expected={},
        positions={},
    )
    asyncio.run(MinutesJob(store).settle())
    yield store
    store.close()


def asked(store, path, aliases=None, **parameters):
    app = create_app(context_for(store, Ledger(), aliases=aliases or {}))
    with TestClient(app) as http:
        return http.get(path, params=parameters).json()


ALL_TIME = {"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}


def test_an_address_that_stood_for_two_services_is_listed(store):
    items = asked(store, "/v1/identities/conflicts", **ALL_TIME)["items"]
    found = {(item["client"], item["alias"]): item for item in items}
    assert set(found) == {
        ("shop/front", "default"), (None, UPSTREAM), (None, "10.0.0.9"),
    }  # fmt: skip
    default = found[("shop/front", "default")]
    assert (default["node"], default["seen"]) == ("shop/cart", 3)
    assert default["nodes"] == [{"node": "shop/cart", "seen": 2}, {"node": "shop/stock", "seen": 1}]


def test_what_did_not_arrive_in_the_window_is_not(store):
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    assert asked(store, "/v1/identities/conflicts", **window)["items"] == []


def test_what_is_configured_is_settled(store):
    aliases = {"default": "shop/cart", "10.0.0.9": "shop/cart"}
    assert asked(store, "/v1/identities/conflicts", aliases, **ALL_TIME)["items"] == []


def test_a_configured_name_is_in_every_answer(store):
    window = {"start": START.isoformat(), "end": (START + timedelta(hours=1)).isoformat()}
    aliases = {"legacy": "finance/billing"}
    plain = asked(store, "/v1/graph", **window)
    told = asked(store, "/v1/graph", aliases, **window)
    assert ("shop/front", "external:legacy") in ends(plain)
    assert ("shop/front", "finance/billing") in ends(told)
    services = asked(store, "/v1/services", aliases, **window)["items"]
    assert "finance/billing" in [one["id"] for one in services]
    path = "/v1/edges/shop%2Ffront/finance%2Fbilling/evidence"
    assert asked(store, path, aliases, **window)["tellings"] == 1
    assert asked(store, path, **window)["status"] == 404


def ends(graph):
    return [(edge["client"], edge["server"]) for edge in graph["edges"]]


def test_a_file_of_aliases_is_read(tmp_path):
    file = tmp_path / "aliases.yaml"
    file.write_text('"10.1.2.3": finance/billing\n"spiffe://a/ns/b/sa/c": ci/runner\n')
    assert IdentitySettings(aliases=file).configured() == {
        "10.1.2.3": "finance/billing",
        "spiffe://a/ns/b/sa/c": "ci/runner",
    }
    file.write_text("")
    assert IdentitySettings(aliases=file).configured() == {}
    assert IdentitySettings().configured() == {}


@pytest.mark.parametrize(
    "content",
    [
        "- a\n- b\n",
        "a: 1\n",
        "1: a\n",
        'a: ""\n',
        "a: {b: c}\n",
        "a: [\n",
        "\x00",
        "a: !!python/object/apply:os.system [true]\n",
        "a: " + "x" * LARGEST_FILE,
    ],
)
def test_a_file_that_is_no_mapping_of_names_is_refused(tmp_path, content):
    file = tmp_path / "aliases.yaml"
    file.write_text(content)
    with pytest.raises(InvalidInput, match="identity_aliases"):
        IdentitySettings(aliases=file).configured()


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="identity_aliases"):
        IdentitySettings(aliases=tmp_path / "none").configured()
