"""Errors are problem documents that say what was found and what is allowed."""

import pytest
from starlette.testclient import TestClient

from api import schemas
from api.app import create_app
from pipeline.errors import StoreBusy
from tests.api.conftest import context_for


def refused(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    schemas.Problem.model_validate(body)
    assert body["status"] == status
    return body


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ("start=yesterday", "start", "RFC 3339"),
        ("end=2026-11-23", "end", "RFC 3339"),
        ("start=now&end=-1h", "start", "before end"),
        ("start=", "start", "RFC 3339"),
        ("group_by=pod", "group_by", "'version', 'namespace' or 'consumer'"),
        ("depth=0", "depth", "greater than or equal to 1"),
        ("depth=many", "depth", "integer"),
        ("focus=shop/ghost", "focus", "shop/cart"),
        ("focus=", "focus", "at least 1 character"),
        ("part=both", "part", "'nodes' or 'edges'"),
        ("strat=-1h", "strat", "did you mean start"),
        ("zzz=1", "zzz", "depth, end, focus, group_by, part, start"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(http, query, field, allowed):
    body = refused(http.get(f"/v1/graph?{query}"), 400)
    (fault,) = body["errors"]
    assert fault["field"] == field
    assert allowed in fault["allowed"]
    assert fault["allowed"] in body["detail"]


@pytest.mark.parametrize(
    "path",
    ["/livez", "/readyz", "/metrics", "/v1/services", "/v1/ingest", "/v1/traces/" + "0" * 32],
)
def test_unknown_parameters_are_refused_everywhere(http, path):
    body = refused(http.get(path, params={"nonsense": "1"}), 400)
    assert body["errors"][0]["field"] == "nonsense"


def test_what_is_echoed_is_bounded(http):
    body = refused(http.get("/v1/graph", params={"focus": "x" * 1000}), 400)
    assert len(str(body["errors"][0]["found"])) <= 201


def test_a_path_that_is_not_there_is_a_problem(http):
    assert "/openapi.json" in refused(http.get("/v1/nothing"), 404)["detail"]


def test_a_method_that_is_not_possible_is_a_problem(http):
    answer = http.post("/v1/graph")
    refused(answer, 405)
    assert answer.headers["allow"] == "GET"


def test_what_nobody_can_answer_in_is_a_problem(http):
    refused(http.get("/v1/graph", headers={"accept": "text/html"}), 406)


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, application/vnd.apache.arrow.stream;q=0.5", "application/json"),
        ("*/*, application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("application/vnd.apache.arrow.stream;q=0, */*;q=0.1", "application/json"),
    ],
)
def test_the_preferred_form_is_answered(http, accept, answered):
    answer = http.get("/v1/graph", headers={"accept": accept})
    assert answer.headers["content-type"] == answered
    assert answer.headers["vary"] == "Accept"


class BrokenStore:
    """A store whose answers fail."""

    def __init__(self, error):
        self.error = error

    def ask(self, _question, **_):
        """Fail."""
        raise self.error


def broken(ledger, error):
    app = create_app(context_for(BrokenStore(error), ledger))
    return TestClient(app, raise_server_exceptions=False)


def test_a_busy_store_says_when_to_come_back(ledger):
    answer = broken(ledger, StoreBusy("too slow", retry_after=4)).get("/v1/graph")
    assert "too slow" in refused(answer, 503)["detail"]
    assert answer.headers["retry-after"] == "4"


def test_an_error_nobody_foresaw_tells_nothing_of_the_inside(ledger):
    answer = broken(ledger, RuntimeError("the secret inside")).get("/v1/graph")
    body = refused(answer, 500)
    assert "secret" not in answer.text
    assert "log" in body["detail"]


def test_readiness_tells_why_not(mesh, ledger):
    app = create_app(context_for(mesh, ledger, unready=lambda: "starting receivers"))
    with TestClient(app) as client:
        assert refused(client.get("/readyz"), 503)["detail"] == "starting receivers"
        assert client.get("/livez").status_code == 200
        assert "meshweir_ready 0" in client.get("/metrics").text


def test_ready_and_alive_are_plain_answers(http):
    assert http.get("/livez").text == "ok\n"
    assert http.get("/readyz").status_code == 200
