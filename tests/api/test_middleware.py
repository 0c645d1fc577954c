"""Paths as they were written, and tokens, through a real server."""

import contextlib
import threading
import time

import httpx2 as httpx
import pytest
import uvicorn

from api.app import create_app
from tests.api.conftest import context_for

TOKEN = "s3cret-token"


@contextlib.contextmanager
def served(app):
    """The application behind a real uvicorn on a free port."""
    config = uvicorn.Config(app, port=0, http="httptools", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        (listener,) = server.servers[0].sockets
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def url(mesh, ledger):
    with served(create_app(context_for(mesh, ledger))) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(mesh, ledger):
    with served(create_app(context_for(mesh, ledger), token=TOKEN)) as address:
        yield address


def test_an_encoded_slash_stays_in_its_segment(url):
    answer = httpx.get(f"{url}/v1/services/shop%2Fcart")
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == "shop/cart"


def test_both_ids_of_an_edge_may_hold_slashes(url):
    answer = httpx.get(f"{url}/v1/edges/shop%2Ffrontend/shop%2fcart/evidence")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["client"], answer.json()["server"]) == ("shop/frontend", "shop/cart")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a%252Fb", "a%2Fb"),
        ("100%25", "100%"),
        ("%C3%BC", "ü"),
        ("db:orders", "db:orders"),
        ("a%20b", "a b"),
        ("..%2F..%2Fetc", "../../etc"),
        ("a%3Fb%23c", "a?b#c"),
    ],
)
def test_an_id_is_decoded_once(url, written, read):
    answer = httpx.get(f"{url}/v1/services/{written}")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["found"] == read


@pytest.mark.parametrize("path", ["/v1/graph", "/metrics", "/openapi.json", "/nothing"])
def test_without_the_token_nothing_is_told(guarded, path):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        answer = httpx.get(guarded + path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_whether_it_lives_needs_no_token(guarded, path):
    assert httpx.get(guarded + path).status_code == 200


@pytest.mark.parametrize("path", ["/%6civez", "/v1/../livez", "//livez", "/livez%2F"])
def test_no_other_spelling_of_an_open_path_opens_another(guarded, path):
    answer = httpx.get(guarded + path)
    assert answer.status_code in {200, 401}
    if answer.status_code == 200:
        assert answer.text == "ok\n"


def test_with_the_token_everything_is(guarded):
    headers = {"authorization": f"bearer {TOKEN}"}
    assert httpx.get(f"{guarded}/v1/graph", headers=headers).status_code == 200
    document = httpx.get(f"{guarded}/openapi.json", headers=headers).json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
