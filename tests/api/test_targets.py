"""GET /v1/scrape/targets."""

import pytest
from starlette.testclient import TestClient

from api import schemas
from api.app import create_app
from api.targets import Targets
from collectors.scrape.standing import Standing, TargetReport
from tests.api.conftest import context_for

REPORTS = [
    TargetReport(
        "kong", "b:1", "http://b:1/metrics", Standing("timeout", 1_795_428_000.5, 1.0), 15.0
    ),
    TargetReport("kong", "a:1", "http://a:1/metrics", Standing("", 1_795_428_001.0, 0.25, 7), 15.0),
    TargetReport("kong", "c:1", "http://c:1/metrics", Standing(), 15.0),
    TargetReport("envoy", None, "x/y", Standing("left alone: no address"), None),
]


@pytest.fixture
def http(mesh, ledger):
    targets = Targets()
    with TestClient(create_app(context_for(mesh, ledger, targets=targets))) as client:
        assert client.get("/v1/scrape/targets").json() == {"items": [], "next": None}
        targets.follow(lambda: REPORTS)
        yield client


def test_every_target_is_told_with_how_it_stands(http):
    body = http.get("/v1/scrape/targets").json()
    schemas.ScrapeTargets.model_validate(body)
    envoy, good, bad, new = body["items"]
    assert good == {
        "job": "kong",
        "instance": "a:1",
        "url": "http://a:1/metrics",
        "up": True,
        "error": None,
        "last_scrape": "2026-11-23T10:00:01Z",
        "last_scrape_duration_seconds": 0.25,
        "samples": 7,
        "interval_seconds": 15.0,
    }
    assert (bad["up"], bad["error"]) == (False, "timeout")
    assert (new["up"], new["error"], new["last_scrape"], new["samples"]) == (None,) * 4
    assert (envoy["url"], envoy["up"], envoy["error"]) == ("x/y", None, "left alone: no address")


def test_it_comes_in_pages(http):
    first = http.get("/v1/scrape/targets?limit=3").json()
    rest = http.get("/v1/scrape/targets", params={"limit": 3, "cursor": first["next"]}).json()
    assert [one["url"] for one in first["items"] + rest["items"]] == [
        "x/y", "http://a:1/metrics", "http://b:1/metrics", "http://c:1/metrics",
    ]  # fmt: skip
    assert rest["next"] is None
